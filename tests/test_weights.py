"""Weights are read without running anything in them, new files and old, and are fitted or refused."""

import os

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from emodo import weights
from emodo.records import InputError
from released import checkpoint


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=5).eval()


def test_a_file_of_python_2_and_pytorch_0_2_is_read_safely(net, tmp_path):
    file = checkpoint(tmp_path / "resnet_places365.pth.tar", net, "test_resnet")
    raw = file.read_bytes()
    assert b"ctorch.cuda\nFloatStorage\n" in raw  # what makes the file old
    assert b"ctorch._utils\n_rebuild_tensor\n" in raw
    assert not raw.startswith(b"PK")
    found = weights.read(file)
    assert (found["arch"], found["epoch"], found["best_prec1"]) == ("test_resnet", 90, 54.2)
    state = weights.state_dict(found, file)
    assert not any("num_batches" in name for name in state)
    torch.manual_seed(1)
    other = timm.create_model("test_resnet", num_classes=5).eval()
    weights.fit(other, state, file)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(other(image), net(image))


def test_the_counter_may_be_missing_and_nothing_else(net, tmp_path):
    file = tmp_path / "weights.safetensors"
    state = net.state_dict()
    kept = {name: value for name, value in state.items() if not name.endswith(weights.COUNTER)}
    assert 0 < len(kept) < len(state)
    weights.fit(net, kept, file)
    del kept["fc.bias"]
    with pytest.raises(InputError, match=rf"does not fit the scenes: 1 of {len(state)} tensors .* is fc\.bias"):
        weights.fit(net, kept, file, "the scenes")


class Whole(nn.Module):
    """A class of somebody's own, as a whole pickled network holds one."""


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_what_would_run_code_is_named_and_not_run(tmp_path):
    torch.save(Whole(), tmp_path / "whole.pth.tar")
    with pytest.raises(InputError, match=r"asks for \S*Whole\).*once its state dict has been saved") as caught:
        weights.read(tmp_path / "whole.pth.tar")
    assert "\n" not in str(caught.value)
    mark = tmp_path / "was-here"
    torch.save({"state_dict": Evil(str(mark))}, tmp_path / "evil.pth.tar")
    with pytest.raises(InputError, match=r"asks for posix\.mkdir"):
        weights.read(tmp_path / "evil.pth.tar")
    assert not mark.exists()


def test_a_page_that_was_downloaded_in_a_networks_place_is_refused(tmp_path):
    file = tmp_path / "resnet18_places365.pth.tar"
    file.write_text("<!DOCTYPE html><html>not found</html>")
    with pytest.raises(InputError, match="holds no readable weights"):
        weights.read(file)


def test_a_fingerprint_is_of_the_weights_and_not_of_their_file(net, tmp_path):
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, tmp_path / "a.safetensors")
    torch.manual_seed(2)
    again = timm.create_model("test_resnet", num_classes=5)
    before = weights.fingerprint(again)
    weights.fit(again, weights.state_dict(weights.read(tmp_path / "a.safetensors"), tmp_path), tmp_path)
    assert before != weights.fingerprint(again) == weights.fingerprint(net)
    with torch.no_grad():
        again.fc.bias[0] += 1e-6
    assert weights.fingerprint(again) != weights.fingerprint(net)

"""A confounder file is read as it was written, or refused in one sentence."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from emodo import confounders
from emodo.records import Confounder, InputError

PROTOTYPES = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
MADE = {"backbone": "resnet50", "seed": "0"}
SCENES = Confounder(
    "scene", ("beach", "Café | bar", "street"), (0.5, 0.3, 0.2), PROTOTYPES, "k-means of 12 images", MADE
)


def test_a_confounder_is_read_as_it_was_written(tmp_path):
    confounders.save(SCENES, tmp_path / "new" / "scenes.safetensors")
    found = confounders.load(tmp_path / "new" / "scenes.safetensors")
    assert found == SCENES
    assert found.prototypes is not None
    assert torch.equal(found.prototypes, PROTOTYPES)
    assert found.prior == SCENES.prior  # to the last bit
    assert found.how == "k-means of 12 images"
    assert found.provenance == MADE


def test_the_same_confounder_gives_the_same_bytes_and_replaces_the_old_file(tmp_path):
    confounders.save(SCENES, tmp_path / "a")
    (tmp_path / "b").write_text("old")
    confounders.save(SCENES, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_prototypes_of_any_kind_are_stored_as_float32(tmp_path):
    transposed = torch.arange(6, dtype=torch.float64).reshape(3, 2).T
    confounders.save(Confounder("scene", ("a", "b"), (0.5, 0.5), transposed), tmp_path / "file")
    found = confounders.load(tmp_path / "file").prototypes
    assert found is not None
    assert found.dtype == torch.float32
    assert found.tolist() == [[0, 2, 4], [1, 3, 5]]


def damaged(**changes):
    whole = {"column": "scene", "strata": ("a", "b"), "prior": (0.5, 0.5), "prototypes": torch.ones(2, 4)}
    return Confounder(**whole | changes)


WRONG = {
    "one stratum": (damaged(strata=("a",), prior=(1.0,), prototypes=torch.ones(1, 4)), "has 1 strata"),
    "a name twice": (damaged(strata=("a", "a")), "names the stratum 'a' twice"),
    "too few prototypes": (damaged(prototypes=torch.ones(3, 4)), r"shape \(3, 4\) for 2 strata"),
    "flat prototypes": (damaged(prototypes=torch.ones(2)), r"shape \(2,\) for 2 strata"),
    "no width": (damaged(prototypes=torch.ones(2, 0)), r"shape \(2, 0\)"),
    "not a number": (damaged(prototypes=torch.tensor([[0.0], [torch.nan]])), "not finite in the prototype of .* 'b'"),
    "infinite": (damaged(prototypes=torch.tensor([[torch.inf], [1.0]])), "not finite in the prototype of .* 'a'"),
    "prior too short": (damaged(prior=(1.0,)), "a prior of 1 numbers for 2 strata"),
    "prior above one": (damaged(prior=(0.5, 0.6)), "sums to 1.1"),
    "prior of zero": (damaged(prior=(0.0, 1.0)), "its least is 0"),
    "prior of nan": (damaged(prior=(float("nan"), 1.0)), "no distribution"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_dictionary_that_cannot_be_one_is_neither_written_nor_read(case, tmp_path):
    confounder, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        confounders.save(confounder, tmp_path / "file")
    assert not list(tmp_path.iterdir())

    tensors = {"prototypes": confounder.prototypes, "prior": torch.tensor(confounder.prior, dtype=torch.float64)}
    said = {"column": "scene", "strata": confounder.strata, "how": ""}
    save_file(tensors, tmp_path / "file", {confounders.MARK: json.dumps(said)})
    with pytest.raises(InputError, match=message) as caught:
        confounders.load(tmp_path / "file")
    assert str(caught.value).startswith(str(tmp_path / "file"))
    assert "\n" not in str(caught.value)


def test_a_prior_may_miss_one_by_rounding(tmp_path):
    confounders.save(damaged(prior=(0.5, 0.5 + 1e-7)), tmp_path / "file")
    assert sum(confounders.load(tmp_path / "file").prior) == pytest.approx(1)


def test_without_prototypes_there_is_nothing_to_write(tmp_path):
    with pytest.raises(InputError, match="the confounder 'scene' has no prototypes"):
        confounders.save(damaged(prototypes=None), tmp_path / "file")


def other_tensors(file):
    save_file({"weight": torch.ones(2)}, file)


def without_prior(file):
    save_file({"prototypes": torch.ones(2, 2)}, file, {confounders.MARK: '{"column": "c", "strata": ["a"], "how": ""}'})


def without_strata(file):
    tensors = {"prototypes": torch.ones(2, 2), "prior": torch.ones(2) / 2}
    save_file(tensors, file, {confounders.MARK: '{"column": "c"}'})


def no_json(file):
    save_file({"prototypes": torch.ones(2, 2), "prior": torch.ones(2) / 2}, file, {confounders.MARK: "{"})


def list_of_names(file):
    save_file({"prototypes": torch.ones(2, 2), "prior": torch.ones(2) / 2}, file, {confounders.MARK: "[]"})


def half(file):
    confounders.save(SCENES, file)
    file.write_bytes(file.read_bytes()[:-20])


OTHERS = [
    lambda file: file.write_bytes(b""),
    lambda file: file.write_text("scene,prior\nbeach,0.5\n"),
    lambda file: torch.save({"prototypes": torch.ones(2, 2)}, file),
    other_tensors,
    without_prior,
    without_strata,
    no_json,
    list_of_names,
    half,
]


@pytest.mark.parametrize("write", OTHERS)
def test_a_file_that_is_not_ours_is_refused(write, tmp_path):
    write(tmp_path / "file")
    with pytest.raises(InputError, match="file is not a confounder file of emodo") as caught:
        confounders.load(tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for file in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError, match=f"there is no confounder file {file}"):
            confounders.load(file)


def test_the_module_itself_costs_no_torch():
    code = "import sys, emodo.confounders; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

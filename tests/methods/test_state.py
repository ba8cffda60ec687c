"""Several processes agree on what a method keeps beside its weights, and train as one would on all of their images."""

import subprocess
import sys

import torch
from torch import nn

from emodo.methods.state import all_joined, all_sum, row_buffer

TWO = """
import sys
import torch
from torch import distributed
from emodo.methods import GroupDRO, LfF
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, Task, Training

torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
task = Task(("anger", "joy"), Confounder("source", ("a", "b"), (0.5, 0.5)))
images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
emotion, stratum = torch.tensor([0, 1, 0, 1, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 0, 1, 1, 0])
whole = Batch(images, emotion, stratum, torch.arange(8))
training = Training(emotion, stratum, whole.row, lambda: iter([whole]))
mine = Batch(*(field[rank::2] for field in (images, emotion, stratum, whole.row)))

def steps(method, batch, average):
    torch.manual_seed(0)
    method.build(task, Backbone(small_body(), 128, 0, 32))
    method.eval()  # BatchNorm, whose statistics are a process's own, stays as it is
    method.begin(0, 0, training)
    optimizers = {name: torch.optim.SGD(groups, 0.1) for name, groups in method.phases().items()}
    for _ in range(2):
        for phase, terms in method.losses(batch):
            optimizers[phase].zero_grad()
            sum(terms.values()).backward()
            for group in optimizers[phase].param_groups:
                for p in group["params"]:
                    if average:  # as DistributedDataParallel does
                        distributed.all_reduce(p.grad)
                        p.grad /= 2
            optimizers[phase].step()
    return method.state_dict()

together = {kind.__name__: steps(kind(lr=0.1, backbone_lr=0.1), mine, True) for kind in (GroupDRO, LfF)}
distributed.destroy_process_group()
alone = {kind.__name__: steps(kind(lr=0.1, backbone_lr=0.1), whole, False) for kind in (GroupDRO, LfF)}
torch.save((together, alone), f"{folder}/rank{rank}")
"""


def test_two_processes_train_as_one_does_on_all_images(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", TWO, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    (first, alone), (second, _) = (torch.load(tmp_path / f"rank{rank}", weights_only=True) for rank in range(2))
    for name, state in alone.items():
        for key, value in state.items():
            torch.testing.assert_close(first[name][key], second[name][key], rtol=0, atol=0, msg=f"{name} {key}")
            torch.testing.assert_close(first[name][key], value, rtol=1e-4, atol=1e-5, msg=f"{name} {key}")
    assert alone["GroupDRO"]["group_weights"].std() > 0


def test_a_single_process_keeps_its_values():
    values = torch.tensor([1.0, 2.0])
    assert all_sum(values) is values
    assert all_joined(values) is values


def test_a_row_buffer_takes_the_length_and_kind_of_what_is_loaded():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    for module in (first, second):
        row_buffer(module, "seen")
    first.seen = torch.tensor([3, 1, 2])
    nn.Sequential(second).load_state_dict(nn.Sequential(first).state_dict())
    assert torch.equal(second.seen, first.seen)
    assert second.seen is not first.seen

"""On a Ray cluster of two nodes, whose processes have another working folder, a grid gives what this machine gives."""

import os
import subprocess
import sys

import pytest

from emodo import runs
from emodo.parallel import on_ray
from emodo.splitting import split_table1
from emodo.synthetic.faces import generate

SETTINGS = ["backbone=small", "size=32", "augmentation=light", "epochs=2", "batch_size=16", "accelerator=cpu"]
NODE = "__import__('time').sleep(3) or __import__('ray').get_runtime_context().get_node_id()"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    utils = pytest.importorskip("ray.cluster_utils")
    here = os.getcwd()  # noqa: PTH109
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    os.chdir(here)
    yield cluster.address
    cluster.shutdown()


def test_both_nodes_work(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert len({node for _, node in on_ray(eval, [NODE] * 4, 1)}) == 2


def test_a_grid_named_by_relative_paths_is_the_local_one(address, tmp_path):
    split_table1(generate(tmp_path / "faces", subjects=2, size=32), tmp_path / "fold1.csv", fold=1)
    command = [sys.executable, "-m", "emodo", "benchmark", "fold1.csv", "--methods", "ERM", "LogitAdjustment"]
    command += ["--seeds", "0", "1", "--replicates", "100", "--settings", *SETTINGS]
    alike = os.environ | {"OMP_NUM_THREADS": "1", "RAY_ADDRESS": address}
    many = str(len(os.sched_getaffinity(0)))  # so that each computes on one thread, as on Ray
    for more in (["--out", "ray", "--engine", "ray"], ["--out", "local", "--processes", many]):
        done = subprocess.run([*command, *more], cwd=tmp_path, env=alike, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    found = sorted((tmp_path / "ray" / "runs").glob("*/[!.]*"))
    assert len(found) == 4
    for run in found:
        other = tmp_path / "local" / run.relative_to(tmp_path / "ray")
        assert (run / runs.PREDICTIONS).read_bytes() == (other / runs.PREDICTIONS).read_bytes()

"""Generated data that the tests share; small nets, one thread, no network."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start, too

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs deaf to Ctrl-C; it is tested

SMALL = {"backbone": "small", "size": 32, "augmentation": "light", "epochs": 2, "batch_size": 16, "accelerator": "cpu"}


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """Manifest of 108 generated faces, fold 1 of Table 1."""
    from emodo.splitting import split_table1
    from emodo.synthetic.faces import generate

    folder = tmp_path_factory.mktemp("data")
    manifest = generate(folder / "faces", subjects=2, size=32)
    return split_table1(manifest, folder / "faces" / "fold1.csv", fold=1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> list[Path]:
    """Runs of ERM and IERN, two epochs each, on generated faces with validation rows, fold 1 of Table 1."""
    from emodo.methods import ERM, IERN
    from emodo.splitting import split_table1
    from emodo.synthetic.faces import generate
    from emodo.training import train

    folder = tmp_path_factory.mktemp("trained")
    manifest = generate(folder / "faces", subjects=4, size=32)
    fold = split_table1(manifest, folder / "faces" / "fold1.csv", fold=1, validation=0.2)
    methods = (ERM(lr=1e-3, backbone_lr=1e-3), IERN(channels=16, init="default", lr=1e-3, backbone_lr=1e-3))
    return [train(fold, method, run=folder / type(method).__name__, **SMALL) for method in methods]


@pytest.fixture
def small() -> dict:
    """Settings of `train` for a run of seconds."""
    return dict(SMALL)

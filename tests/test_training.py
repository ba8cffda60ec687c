"""A run is whole, repeatable, and continues exactly where it was killed."""

import copy
import csv
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from emodo import runs
from emodo.methods import (
    DACL,
    DANN,
    DFR,
    ERM,
    IERN,
    JTT,
    NWGM,
    Curriculum,
    Disentanglement,
    GroupDRO,
    LfF,
    MixStyle,
    Resampling,
    Reweighting,
)
from emodo.records import InputError
from emodo.splitting import split_table1
from emodo.training import train

IERN_SMALL = {"channels": 16, "init": "default"}


def weights(run):
    return sha256((run / runs.WEIGHTS).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def iern(faces, tmp_path_factory):
    from conftest import SMALL

    return train(faces, IERN(**IERN_SMALL), run=tmp_path_factory.mktemp("runs") / "iern", **SMALL)


@pytest.fixture(scope="module")
def moved(faces, tmp_path_factory):
    """The manifest with every (stratum x emotion) cell filled."""
    return split_table1(faces, tmp_path_factory.mktemp("moved") / "moved.csv", fold=1, moved=0.5, overwrite=True)


def test_a_run_holds_everything_that_comes_after_needs(iern, faces):
    table, scores = runs.predictions(iern), runs.scores(iern)
    frame = pd.read_csv(faces, dtype=str)
    test = frame[frame["split"] == "test"]
    assert list(table["path"]) == list(test["path"])
    assert scores["n"] == len(test)
    assert scores["accuracy"] == (table["predicted"] == table["emotion"]).mean()
    task = runs.task(iern)
    assert task.strata == tuple(sorted(frame["source"].unique()))
    assert task.confounder is not None
    assert sum(task.confounder.prior) == pytest.approx(1)
    given = table[[f"p:anger|{stratum}" for stratum in task.strata]]
    assert ((given >= 0) & (given <= 1)).all(axis=None)
    assert table[[f"p:{emotion}" for emotion in task.emotions]].sum(axis=1).to_numpy() == pytest.approx(1)
    with (iern / runs.METRICS).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert set(rows[0]) == {
        "epoch",
        "emotion_discriminator",
        "context_discriminator",
        "emotion_generator",
        "context_generator",
        "reconstruction",
        "confounder",
        "classifier",
    }


def test_loading_a_run_gives_its_predictions_again(iern, faces):
    from emodo.inference import predict
    from emodo.manifest import load

    frame = load(faces)
    again = predict(runs.load_method(iern), runs.task(iern), frame[frame["split"] == "test"], 32, accelerator="cpu")
    pd.testing.assert_frame_equal(again, runs.predictions(iern), check_exact=False, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(iern, faces, small, tmp_path):
    same = train(faces, IERN(**IERN_SMALL), run=tmp_path / "same", **small)
    other = train(faces, IERN(**IERN_SMALL), run=tmp_path / "other", **small, seed=1)
    assert weights(same) == weights(iern)
    assert weights(other) != weights(iern)


def test_a_stored_configuration_repeats_the_run(iern, tmp_path):
    command = [
        sys.executable,
        "-m",
        "emodo",
        "train",
        "--config",
        str(iern / runs.CONFIG),
        "--run",
        str(tmp_path / "run"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert weights(tmp_path / "run") == weights(iern)


def test_resume_after_an_epoch_ends_bit_identical(iern, faces, small, tmp_path, monkeypatch):
    from emodo import engine

    class Stopped(Exception):
        pass

    say = engine._EveryEpoch._say

    def stop(self, epoch, means):
        say(self, epoch, means)
        raise Stopped

    monkeypatch.setattr(engine._EveryEpoch, "_say", stop)
    with pytest.raises(Stopped):
        train(faces, IERN(**IERN_SMALL), run=tmp_path / "run", **small)
    monkeypatch.undo()
    assert not (tmp_path / "run" / runs.WEIGHTS).exists()
    assert train(resume=tmp_path / "run") == tmp_path / "run"
    assert weights(tmp_path / "run") == weights(iern)
    assert (tmp_path / "run" / runs.METRICS).read_bytes() == (iern / runs.METRICS).read_bytes()


MEMORY = {  # methods that keep more than weights and optimizers, each stopped after the epoch that tells
    "GroupDRO": (GroupDRO(eta=0.5), 1),
    "DANN": (DANN(hidden=16), 1),
    "LfF": (LfF(), 1),
    "JTT, first network": (JTT(identification=1.0), 1),
    "JTT, errors found": (JTT(identification=1.0), 3),
    "DFR, backbone": (DFR(retraining=0.5), 1),
    "DFR, last layer": (DFR(retraining=0.5), 3),
    "NWGM, between two dictionaries": (NWGM(interval=2, prior="data"), 3),
    "DACL": (DACL(), 2),
    "Curriculum, second stage": (Curriculum(), 3),
}


@pytest.mark.parametrize("case", MEMORY)
def test_a_method_with_a_memory_resumes_bit_identically(case, moved, small, tmp_path, monkeypatch):
    from emodo import engine

    method, epochs = MEMORY[case]
    settings = {**small, "epochs": 4, "manifest": moved}

    class Stopped(Exception):
        pass

    def stop(self, epoch, means):
        if epoch == epochs:
            raise Stopped

    whole = train(method=copy.deepcopy(method), run=tmp_path / "whole", **settings)
    with monkeypatch.context() as patched:
        patched.setattr(engine._EveryEpoch, "_say", stop)
        with pytest.raises(Stopped):
            train(method=copy.deepcopy(method), run=tmp_path / "run", **settings)
    train(resume=tmp_path / "run")
    assert weights(tmp_path / "run") == weights(whole)
    assert (tmp_path / "run" / runs.METRICS).read_bytes() == (whole / runs.METRICS).read_bytes()
    assert runs.load_method(whole).state_dict().keys() == runs.load_method(tmp_path / "run").state_dict().keys()


def test_killed_at_random_moments_a_run_ends_bit_identical(iern, faces, small, tmp_path):
    run = tmp_path / "run"
    settings = [f"--{name}={value}" for name, value in small.items()]
    settings += ["--method=IERN", *(f"--method.{name}={value}" for name, value in IERN_SMALL.items())]
    start = [sys.executable, "-m", "emodo", "train", str(faces), f"--run={run}", *settings]
    resume = [sys.executable, "-m", "emodo", "train", "--resume", str(run)]
    moments = random.Random(3)
    for _ in range(2):
        process = subprocess.Popen(
            resume if run.exists() else start, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not run.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 2))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(resume, check=True, capture_output=True)
    assert weights(run) == weights(iern)


def test_ctrl_c_says_how_to_continue(faces, tmp_path):
    command = [sys.executable, "-m", "emodo", "train", str(faces), "--run", str(tmp_path / "run"), "--backbone=small"]
    command += ["--size=32", "--epochs=1000", "--accelerator=cpu", "--augmentation=light"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / runs.METRICS).exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"emodo train: interrupted: continue with `emodo train --resume {tmp_path / 'run'}`" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("method", [ERM(), Disentanglement(**IERN_SMALL)], ids=["ERM", "Disentanglement"])
def test_every_method_trains_by_the_same_loop(method, faces, small, tmp_path):
    run = train(faces, method, run=tmp_path / "run", **small)
    before, after = yaml.safe_load((run / runs.CONFIG).read_text()), runs.scores(run)
    assert before["method"]["class_path"] == f"emodo.methods.{type(method).__name__}"
    assert (after["confounder"] is None) == (type(method) is ERM)


@pytest.mark.parametrize("method", [Resampling(), Reweighting()], ids=["Resampling", "Reweighting"])
def test_methods_of_equal_cells_train_where_every_cell_is_filled(method, moved, small, tmp_path):
    assert runs.scores(train(moved, method, run=tmp_path / "run", **small))["n"] > 0


def test_stages_may_have_losses_of_their_own(moved, small, tmp_path):
    run = train(moved, DFR(retraining=0.5), run=tmp_path / "run", **small)
    with (run / runs.METRICS).open() as file:
        first, last = csv.DictReader(file)
    assert (first["classifier"] != "", first["last_layer"], first["sparsity"]) == (True, "", "")
    assert (last["classifier"], last["last_layer"] != "", last["sparsity"] != "") == ("", True, True)


TWO_PROCESSES = """
import hashlib, os, sys
from pathlib import Path
from emodo import training
from emodo.methods import IERN

fit = training._fit

def fit_and_tell(run, config, frame, task, method, *rest):
    first = fit(run, config, frame, task, method, *rest)
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in method.parameters())).hexdigest()
    Path(sys.argv[2], "rank" + os.environ.get("LOCAL_RANK", "0")).write_text(digest)
    return first

training._fit = fit_and_tell
training.train(Path(sys.argv[1]), IERN(channels=16, init="default"), run=Path(sys.argv[2], "run"), backbone="small",
               size=32, epochs=2, batch_size=8, accelerator="cpu", devices=2)
"""


def free_port(ports):
    for port in ports:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


def test_two_processes_train_the_same_weights(faces, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    # a port that no outgoing connection is given: the store waits for ever on one that is taken in between
    environment = os.environ | {"MASTER_PORT": str(free_port(range(20000, 30000)))}
    command = [sys.executable, str(script), str(faces), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rank0").read_text() == (tmp_path / "rank1").read_text()
    assert runs.scores(tmp_path / "run")["n"] == 36


# ------------------------------------------------------------------------------------------ bad input


def edited(faces, tmp_path, change):
    """A copy of the manifest beside the images, changed by `change`."""
    frame = pd.read_csv(faces, dtype=str)
    frame["path"] = [str(faces.parent / path) for path in frame["path"]]
    frame = change(frame)
    frame.to_csv(tmp_path / "changed.csv", index=False)
    return tmp_path / "changed.csv"


def bad_image(content):
    def change(frame):
        path = frame["path"][4]
        target = path + ".broken.png"
        Path(target).write_bytes(content(Path(path).read_bytes()))
        frame.loc[4, "path"] = target
        return frame

    return change


def huge_header(png):
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    return png[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def drop(column):
    return lambda frame: frame.drop(columns=column)


CASES = {
    "no split": (drop("split"), {}, "has no column `split`"),
    "empty": (lambda frame: frame[:0], {}, "no rows"),
    "emotion without training image": (
        lambda frame: frame[~((frame["emotion"] == "fear") & (frame["split"] == "train"))],
        {},
        "no training image shows fear",
    ),
    "no test rows": (lambda frame: frame[frame["split"] == "train"], {}, "no row whose split is `test`"),
    "empty cell": (lambda frame: frame, {"method": Resampling()}, "Resampling gives .* 6 of 18 have no training image"),
    "empty cell, DFR": (lambda frame: frame, {"method": DFR()}, "DFR gives .* 6 of 18 have no training image"),
    "no early maps": (
        lambda frame: frame,
        {"method": MixStyle(), "backbone": "vit_tiny_patch16_224", "pretrained": False},
        "no feature maps at a quarter",
    ),
    "stratum column missing": (lambda frame: frame, {"method": IERN(), "stratum": "camera"}, "no column 'camera'"),
    "no stratum column": (drop("source"), {"method": IERN()}, "no column 'stratum'"),
    "one stratum": (lambda frame: frame.assign(source="a"), {"method": IERN()}, "one value in the training rows"),
    "stratum gap": (
        lambda frame: frame.assign(camera=[None, *"ab" * 53, "a"]),
        {"method": IERN(), "stratum": "camera"},
        "no value in column 'camera'",
    ),
    "zero bytes": (bad_image(lambda png: b""), {}, "row 5: the image .* is empty"),
    "truncated": (bad_image(lambda png: png[: len(png) // 2]), {}, "row 5: the image .* is truncated"),
    "not an image": (bad_image(lambda png: b"emotion" * 100), {}, "row 5: the image .* is not a readable image"),
    "oversized": (
        bad_image(huge_header),
        {},
        "row 5: the image .* claims over 179 million pixels, more than the limit of 50000000",
    ),
    "unknown backbone": (lambda frame: frame, {"backbone": "resnet51"}, "no backbone is called 'resnet51'"),
    "no epochs": (lambda frame: frame, {"epochs": 0}, "--epochs is 0"),
    "tiny grid": (lambda frame: frame, {"method": IERN(), "size": 16}, "feature map of 1x1 is too small"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_before_anything_is_written(case, faces, small, tmp_path):
    change, settings, message = CASES[case]
    manifest = edited(faces, tmp_path, change)
    with pytest.raises(InputError, match=message):
        train(manifest, run=tmp_path / "runs" / "bad", **small | settings)
    assert not (tmp_path / "runs").exists()


def test_a_run_is_not_overwritten_unless_asked(iern, faces, small, tmp_path):
    copy = shutil.copytree(iern, tmp_path / "run")
    with pytest.raises(InputError, match="exists already"):
        train(faces, run=copy, **small)
    assert weights(copy) == weights(iern)
    train(faces, run=copy, **small, overwrite=True)
    assert weights(copy) != weights(iern)


def test_a_folder_that_is_no_run_is_never_overwritten(faces, small, tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputError, match="is not a run"):
        train(faces, run=tmp_path / "notes", **small, overwrite=True)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/emodo-was-here",)


@pytest.mark.parametrize("content", [{"weights": 1}, Evil(), None], ids=["another's", "pickle", "garbage"])
def test_a_checkpoint_that_is_not_ours_is_refused(content, iern, tmp_path):
    copy = shutil.copytree(iern, tmp_path / "run")
    (copy / runs.SCORES).unlink()
    if content is None:
        (copy / runs.CHECKPOINT).write_bytes(b"garbage" * 100)
    else:
        torch.save(content, copy / runs.CHECKPOINT)
    with pytest.raises(InputError, match="not a checkpoint of emodo"):
        train(resume=copy)
    assert not Path("/tmp/emodo-was-here").exists()


def test_resume_refuses_a_manifest_that_has_changed(faces, small, tmp_path):
    manifest = edited(faces, tmp_path, lambda frame: frame)
    run = train(manifest, run=tmp_path / "run", **small)
    (run / runs.SCORES).unlink()
    edited(faces, tmp_path, lambda frame: frame[::-1])
    with pytest.raises(InputError, match="has changed"):
        train(resume=run)


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(InputError, match="is not a run"):
        train(resume=tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"accelerator": "gpu"}, {"emotions": ["anger", "anger"]}, {"size": 1}, {"max_pixels": 10**9}, {"stratum": "path"}],
    ids=str,
)
def test_a_setting_that_cannot_be_leaves_an_earlier_run_alone(settings, iern, faces, small, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    copy = shutil.copytree(iern, tmp_path / "run")
    with pytest.raises(InputError):
        train(faces, run=copy, **small | settings, overwrite=True)
    assert weights(copy) == weights(iern)

"""10,000 images predicted by a command that is killed at random moments: none is lost, and none comes twice."""

import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd

from emodo.methods import IERN
from emodo.splitting import split_table1
from emodo.synthetic.faces import generate
from emodo.training import train

KILLS, IMAGES, PART = 5, 10_000, 500


def test_killed_five_times_every_image_is_there_once_as_if_undisturbed(tmp_path):
    few = split_table1(generate(tmp_path / "few", subjects=2, size=96), tmp_path / "few" / "fold1.csv", fold=1)
    settings = {"backbone": "small", "size": 96, "epochs": 1, "augmentation": "none", "accelerator": "cpu"}
    run = train(few, IERN(channels=16, init="default"), run=tmp_path / "iern", **settings)
    drawn = pd.read_csv(generate(tmp_path / "faces", subjects=IMAGES // 54 + 1, size=96), dtype=str)
    table = tmp_path / "faces" / "images.csv"
    drawn[["path"]].iloc[:IMAGES].to_csv(table, index=False)

    def start(out):
        command = [sys.executable, "-m", "emodo", "predict", run, table, "--out", out, "--part", str(PART), "--strata"]
        return subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def finish(process):
        _, told = process.communicate()
        assert process.returncode == 0, told
        return told.splitlines()[-2:]

    began = time.monotonic()
    told = finish(start(tmp_path / "undisturbed"))
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s undisturbed; {told}")

    def parts():
        return len(list((tmp_path / "killed").glob("part-*.parquet")))

    moments, done = random.Random(0), []
    for _ in range(KILLS):
        wait, before = moments.uniform(0, 3), parts()  # counted in parts: by the clock, another load would end it first
        process = start(tmp_path / "killed")
        while parts() < before + int(wait):
            time.sleep(0.01)
            assert process.poll() is None
        time.sleep(wait % 1 * seconds * PART / IMAGES)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        done.append(parts())
    print(f"parts done at each kill: {done} of {IMAGES // PART}")
    assert 0 < done[-1] < IMAGES // PART
    print(finish(start(tmp_path / "killed")))

    whole = pd.read_parquet(tmp_path / "undisturbed")
    killed = pd.read_parquet(tmp_path / "killed")
    assert len(killed) == killed["path"].nunique() == IMAGES
    assert killed["error"].isna().all()
    pd.testing.assert_frame_equal(killed, whole, check_exact=True)
    names = sorted(file.name for file in (tmp_path / "undisturbed").glob("part-*"))
    assert len(names) == IMAGES // PART
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()

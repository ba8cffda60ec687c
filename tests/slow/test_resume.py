"""A training killed at random moments, again and again, ends with the weights of one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256

from emodo import runs
from emodo.splitting import split_table1
from emodo.synthetic.faces import generate

KILLS = 10
SETTINGS = {
    "backbone": "small",
    "size": 48,
    "augmentation": "released",
    "epochs": 40,
    "batch_size": 32,
    "workers": 1,
    "accelerator": "cpu",
    "method": "IERN",
    "method.channels": 32,
    "method.init": "default",
}


def weights(run):
    return sha256((run / runs.WEIGHTS).read_bytes()).hexdigest()


def progress(run):
    """The lines of metrics.csv: epochs that are behind."""
    file = run / runs.METRICS
    return len(file.read_text().splitlines()) - 1 if file.is_file() else 0


def test_killed_ten_times_it_ends_bit_identical(tmp_path):
    manifest = split_table1(generate(tmp_path / "faces", subjects=6), tmp_path / "faces" / "fold1.csv", fold=1)
    start = [sys.executable, "-m", "emodo", "train", str(manifest)]
    start += [f"--{name}={value}" for name, value in SETTINGS.items()]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}

    left_alone, killed = tmp_path / "left-alone", tmp_path / "killed"
    began = time.monotonic()
    done = subprocess.run([*start, f"--run={left_alone}"], check=False, **quiet)
    assert done.returncode == 0, done.stderr.decode()
    seconds = time.monotonic() - began

    moments, died = random.Random(0), []
    resume = [sys.executable, "-m", "emodo", "train", "--resume", str(killed)]
    for _ in range(KILLS):
        fresh = not killed.exists()
        process = subprocess.Popen([*start, f"--run={killed}"] if fresh else resume, start_new_session=True, **quiet)
        # somewhere between the imports and a sixth of the training, so that the kills are spread over all of it
        time.sleep(moments.uniform(0, 6 + seconds / 6))
        finished = process.poll() is not None
        if not finished:
            os.killpg(process.pid, signal.SIGKILL)  # the workers, too
        process.communicate()
        assert not finished or process.returncode == 0
        died.append((finished, progress(killed)))
    print(f"{seconds:.0f} s undisturbed; epochs behind at each kill: {[epochs for _, epochs in died]}")
    assert sum(not finished for finished, _ in died) >= KILLS // 2
    assert any(0 < epochs < SETTINGS["epochs"] for _, epochs in died)

    done = subprocess.run(resume if killed.exists() else [*start, f"--run={killed}"], check=False, **quiet)
    assert done.returncode == 0, done.stderr.decode()
    assert weights(killed) == weights(left_alone)
    assert (killed / runs.METRICS).read_bytes() == (left_alone / runs.METRICS).read_bytes()
    assert runs.predictions(killed).equals(runs.predictions(left_alone))
    assert runs.scores(killed) == runs.scores(left_alone)

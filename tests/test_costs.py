"""What a run costs is measured and kept."""

import json
import shutil

import numpy as np
import pytest

from emodo import costs, runs
from emodo.methods import ERM
from emodo.training import train


def test_memory_counts_what_is_held_at_once_since_the_beginning():
    held = np.ones(30_000_000)  # 240 MB
    del held
    told = costs.measured()
    before = told()["memory"]
    held = np.ones(15_000_000)  # 120 MB
    after = told()["memory"]
    del held
    assert after - before > 100e6
    assert told()["memory"] == pytest.approx(after, abs=20e6)  # the peak stays
    assert costs.measured()()["memory"] < after - 60e6  # and another run begins anew
    assert told()["gpu_memory"] is None or told()["gpu_memory"] >= 0


def test_where_the_peak_cannot_be_reset_it_is_that_of_the_process(monkeypatch, tmp_path):
    monkeypatch.setattr(costs, "CLEAR", tmp_path / "none" / "clear_refs")
    assert costs.measured()()["memory"] >= 0.98 * costs._peak()


def test_a_run_keeps_its_cost_and_a_resumed_one_does_not_know_its_seconds(faces, tmp_path, small):
    run = train(faces, ERM(), run=tmp_path / "run", **(small | {"epochs": 1}))
    found = runs.cost(run)
    assert set(found) == {"seconds", "memory", "gpu_memory"}
    assert 0 < found["seconds"] < 600
    assert found["memory"] > 50e6
    assert found["gpu_memory"] is None  # on a CPU
    killed = shutil.copytree(run, tmp_path / "killed")
    for name in (runs.SCORES, runs.COST):
        (killed / name).unlink()
    train(resume=killed)
    assert json.loads((killed / runs.COST).read_text())["seconds"] is None
    assert runs.cost(killed)["memory"] > 50e6


def test_a_run_that_was_made_before_costs_were_kept_has_none(tmp_path):
    assert runs.cost(tmp_path) == {}

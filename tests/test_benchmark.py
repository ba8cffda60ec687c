"""The grid from end to end: what it writes, that nothing is trained twice, and that nothing that fails stops it."""

import contextlib
import csv
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from emodo import claims, comparison, running, runs, tabular, training
from emodo.__main__ import main
from emodo.benchmark import benchmark
from emodo.cells import Cell, Outcome, entries
from emodo.grid import name_folds
from emodo.manifest import load, save
from emodo.parallel import Died
from emodo.records import InputError, Unfinished
from emodo.splits import by_sequence
from emodo.splitting import split_table1

SETTINGS = {
    "backbone": "small",
    "size": 32,
    "augmentation": "light",
    "epochs": 1,
    "batch_size": 32,
    "accelerator": "cpu",
    "method.lr": 5e-3,
    "method.backbone_lr": 5e-3,
}
METHODS = ["ERM", "LogitAdjustment"]


@pytest.fixture(scope="module")
def folds(faces):
    """Two folds of 36 test images each."""
    return [
        faces,
        split_table1(faces.parent / "manifest.csv", faces.parent / "fold2.csv", fold=2, overwrite=True),
    ]


def words(folds, out, *more, methods=METHODS, seeds=(0, 1), settings=SETTINGS):
    """The command as it is typed."""
    given = ["benchmark", *folds, "--methods", *methods, "--out", out, "--seeds", *seeds, "--replicates", 100]
    return [str(word) for word in (*given, "--settings", *(f"{k}={v}" for k, v in settings.items()), *more)]


def in_this_process(function, jobs, processes, gpus=()):
    """What `on_this_machine` does, without the seconds that processes take to start."""
    for at, job in enumerate(jobs):
        yield at, function(job)


@pytest.fixture(scope="module")
def finished(folds, tmp_path_factory):
    """A whole grid, and what it has printed."""
    out, said = tmp_path_factory.mktemp("grid") / "out", io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(said):
        patched.setattr(running, "on_this_machine", in_this_process)
        assert main(words(folds, out)) == 0
    return out, said.getvalue()


@pytest.fixture
def out(finished, tmp_path):
    """A copy of the whole grid, to be changed."""
    return Path(shutil.copytree(finished[0], tmp_path / "out"))


@pytest.fixture
def trained(monkeypatch):
    """The cells that are trained from here on, as METHOD/FOLD-seedN."""
    names = []

    def run(function, jobs, processes, gpus=()):
        for at, result in in_this_process(function, jobs, processes, gpus):
            names.append("/".join(jobs[at].run.parts[-2:]))
            yield at, result

    monkeypatch.setattr(running, "on_this_machine", run)
    return names


def cells(out, *parts):
    return {"/".join(run.parts[-2:]): run for part in parts or ("runs",) for run in out.glob(f"{part}/*/[!.]*")}


def times(*folders):
    """When each file was last written."""
    return {file: file.stat().st_mtime_ns for folder in folders for file in folder.rglob("*") if file.is_file()}


def without_times(table):
    """A table without what may differ: how long the runs took."""
    return json.loads(json.dumps(table), object_hook=lambda found: {k: v for k, v in found.items() if k != "seconds"})


# --------------------------------------------------------------------------------------- the files


def test_every_cell_is_a_normal_run_and_the_table_stands_beside_them(finished, folds):
    out, _ = finished
    names = {path.name for path in out.iterdir()}
    assert names == {"grid.json", "cells.json", "runs", "table.json", "table.csv", "table.md", "benchmark.svg"}
    expected = {f"{method}/fold{fold}-seed{seed}" for method in METHODS for fold in (1, 2) for seed in (0, 1)}
    assert set(cells(out)) == expected
    for name, run in cells(out).items():
        config = runs.config(run)
        assert f"fold{name.split('fold')[1][0]}.csv" in config["manifest"]
        assert config["method"]["class_path"].endswith(name.split("/")[0])
        assert config["method"]["init_args"]["lr"] == 5e-3
        assert str(config["seed"]) == name[-1]
        assert runs.scores(run)["n"] == 36
    told = json.loads((out / "cells.json").read_text())
    assert [each["status"] for each in told] == ["done"] * 8
    assert all(each["seconds"] > 0 for each in told)


def test_the_table_is_made_of_the_runs_predictions(finished):
    out, _ = finished
    table = json.loads((out / "table.json").read_text())
    assert (table["baseline"], table["images"], table["cluster"]) == ("ERM", 72, "sequence")
    assert table["failures"] == []
    for row in table["methods"]:
        of_seeds = [
            pd.concat([runs.predictions(cells(out)[f"{row['name']}/fold{fold}-seed{seed}"]) for fold in (1, 2)])
            for seed in (0, 1)
        ]
        accuracies = [(each["predicted"] == each["emotion"]).mean() for each in of_seeds]
        assert row["accuracy"]["seeds"] == accuracies
        assert row["seconds"] > 0
    assert [row["name"] for row in table["methods"]] == METHODS
    assert (out / "table.md").read_text() == comparison.markdown(table)
    assert (out / "table.csv").read_text() == comparison.comma_separated(table)
    assert [row["method"] for row in csv.DictReader(io.StringIO((out / "table.csv").read_text()))] == METHODS
    ElementTree.parse(out / "benchmark.svg")


def test_stdout_holds_the_table_and_nothing_else(finished):
    out, said = finished
    table = json.loads((out / "table.json").read_text())
    for row in comparison.lines(table):
        assert sum(row[0] in line and row[2] in line for line in said.splitlines()) == 1
    for note in comparison.notes(table):
        assert f"- {note}\n" in said
    assert "run 1/8" not in said


def test_a_narrow_terminal_cuts_nothing_off(finished, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")  # 80 columns, no colours
    table = json.loads((finished[0] / "table.json").read_text())
    tabular.show(comparison.shown(table), comparison.notes(table))
    said = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith("- ")), said


def test_the_verdict_stands_above_the_table_and_is_that_of_compare(finished, capsys):
    out, said = finished
    assert main(["compare", str(out), "--replicates", "100", "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    table = json.loads((out / "table.json").read_text())
    words = claims.sentences(table)
    assert said.splitlines()[: len(words)] == words
    assert [line[2:] for line in (out / "table.md").read_text().splitlines()[: len(words)]] == words
    # a run's own seconds leave out what its process took to start
    assert [each for each in compared["sentences"] if not each.startswith("A run of")] == [
        each for each in words if not each.startswith("A run of")
    ]
    assert any(each.startswith("All 72 test images show an emotion in a stratum (source)") for each in words)
    for ours, theirs in zip(compared["methods"], table["methods"], strict=True):
        assert {name: ours[name] for name in theirs if name != "seconds"} == {
            name: each for name, each in theirs.items() if name != "seconds"
        }
        assert ours["cost"]["memory"] > 50e6


def test_json_is_the_same_table(out, folds, trained, capsys):
    assert main(words(folds, out, "--json")) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "table.json").read_text())
    assert trained == []


def test_a_name_is_shown_as_it_is(folds, tmp_path, trained, capsys):
    methods = {"[bold]a|b[/bold] $x$": {"method": "ERM"}}
    benchmark(folds[:1], methods=methods, out=tmp_path / "out", seeds=[0], settings=SETTINGS, replicates=100)
    assert "[bold]a|b[/bold] $x$" in capsys.readouterr().out
    assert trained == ["bold-a-b-bold-x/fold1-seed0"]


def test_a_configuration_says_the_same(out, folds, trained, tmp_path, capsys):
    config = {
        "manifests": [str(fold) for fold in folds],
        "methods": {
            "ERM": {"lr": 5e-3, "backbone_lr": 5e-3},
            "LogitAdjustment": {"lr": 5e-3, "settings": {"epochs": 1}},
        },
        "settings": {k: v for k, v in SETTINGS.items() if k != "method.lr"},
        "seeds": [0, 1],
        "replicates": 100,
        "out": str(out),
        "json": True,
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(config))
    before = times(out / "runs")
    assert main(["benchmark", "--config", str(tmp_path / "grid.yaml")]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 72
    assert trained == []
    assert times(out / "runs") == before


# -------------------------------------------------------------------------------------- continuing


def test_the_second_call_trains_nothing(out, folds, trained, finished, capsys):
    before = times(out / "runs")
    assert main(words(folds, out)) == 0
    said, progress = capsys.readouterr()
    assert said == finished[1]
    assert "8 of 8 runs are finished already" in progress
    assert trained == []
    assert times(out / "runs") == before


def test_what_is_missing_or_cut_short_is_made_and_the_rest_left_alone(out, folds, trained, finished):
    here, there = cells(out), cells(finished[0])
    gone, cut = "ERM/fold1-seed0", "LogitAdjustment/fold2-seed1"
    shutil.rmtree(here[gone])
    for name in (runs.SCORES, runs.PREDICTIONS, runs.WEIGHTS):
        (here[cut] / name).unlink()
    untouched = [run for name, run in here.items() if name not in (gone, cut)]
    before = times(*untouched)
    assert main(words(folds, out)) == 0
    assert trained == [gone, cut]
    assert times(*untouched) == before
    for name in (gone, cut):
        for file in (runs.WEIGHTS, runs.PREDICTIONS, runs.SCORES):
            assert (here[name] / file).read_bytes() == (there[name] / file).read_bytes()
    again, whole = (json.loads((each / "table.json").read_text()) for each in (out, finished[0]))
    assert without_times(again) == without_times(whole)
    (told,) = [each for each in again["cells"] if f"{each['method']}/{each['fold']}-seed{each['seed']}" == cut]
    assert told["seconds"] is None  # nobody knows how long it took in all


def test_methods_and_seeds_are_added(out, folds, trained):
    assert main(words(folds[:1], out, methods=[*METHODS, "MixStyle"], seeds=(0, 1, 2))) == 0
    assert set(trained) == {f"{method}/fold1-seed2" for method in METHODS} | {
        f"MixStyle/fold1-seed{seed}" for seed in (0, 1, 2)
    }
    table = json.loads((out / "table.json").read_text())
    assert [(row["name"], row["seeds"]) for row in table["methods"]] == [
        (name, [0, 1, 2]) for name in (*METHODS, "MixStyle")
    ]
    assert table["folds"] == ["fold1"]
    # fewer again: the table is of what is asked for, and nothing is lost
    assert main(words(folds[:1], out, methods=["MixStyle"], seeds=(1,))) == 0
    assert len(trained) == 5
    assert len(cells(out)) == 13


def test_other_settings_are_refused_unless_to_be_trained_anew(out, folds, trained, capsys):
    before = times(out)
    other = SETTINGS | {"epochs": 2}
    assert main(words(folds, out, methods=["ERM"], settings=other)) == 2
    assert "holds runs of ERM with other settings (epochs 1 -> 2)" in capsys.readouterr().err
    assert times(out) == before
    kept = times(out / "runs" / "LogitAdjustment")
    assert main(words(folds, out, "--overwrite", methods=["ERM"], settings=other)) == 0
    assert len(trained) == 4
    assert times(out / "runs" / "LogitAdjustment") == kept
    assert runs.config(cells(out)["ERM/fold1-seed0"])["epochs"] == 2


def busy(out):
    """Whether a run is finished and another begun."""
    begun = [path for path in cells(out).values() if path.is_dir()]
    return 0 < sum((run / runs.SCORES).is_file() for run in begun) < len(begun)


def test_killed_midway_no_finished_run_is_repeated(folds, tmp_path):
    out = tmp_path / "out"
    grid = words(folds, out, "--processes", 1, seeds=(0,), settings=SETTINGS | {"epochs": 3})
    command = [sys.executable, "-m", "emodo", *grid]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    while not busy(out) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = [run for run in cells(out).values() if (run / runs.SCORES).is_file()]
    assert 0 < len(done) < 4
    before = times(*done)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"{len(done)} of 4 runs are finished already" in again.stderr
    assert f"run {4 - len(done)}/{4 - len(done)}, " in again.stderr
    assert times(*done) == before
    assert [each["status"] for each in json.loads((out / "cells.json").read_text())] == ["done"] * 4
    assert all((run / runs.SCORES).is_file() for run in cells(out).values())


def test_ctrl_c_says_how_to_go_on(folds, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "on_this_machine", interrupted)
    assert main(words(folds, tmp_path / "out")) == 130
    out, err = capsys.readouterr()
    assert not out
    assert err == "emodo benchmark: interrupted: the same command continues; what is finished stays\n"


# ----------------------------------------------------------------------------------------- failing


def test_a_run_that_fails_stops_no_other_and_is_made_by_the_same_command(out, folds, trained, monkeypatch, capsys):
    shutil.rmtree(out / "runs" / "ERM")
    train, broken = training.train, "ERM/fold2-seed1"

    @functools.wraps(train)
    def sometimes(*arguments, **options):
        if str(options["run"]).endswith(broken):
            print("said before", file=sys.stderr)
            raise RuntimeError("no memory\nleft")
        return train(*arguments, **options)

    monkeypatch.setattr(training, "train", sometimes)
    assert main(words(folds, out)) == 1
    said, err = capsys.readouterr()
    assert trained == [f"ERM/fold{fold}-seed{seed}" for seed in (0, 1) for fold in (1, 2)]
    assert "ERM fold2-seed1: failed: RuntimeError: no memory" in err
    assert err.endswith(
        f"1 of 8 runs could not be made, see above and {out / 'failures'}; the same command tries them again\n"
    )
    log = out / "failures" / f"{broken}.txt"
    assert "said before" in log.read_text()
    assert "Traceback" in log.read_text()
    table = json.loads((out / "table.json").read_text())
    assert table["methods"][0]["seeds"] == [0]
    (failure,) = table["failures"]
    assert {name: failure[name] for name in ("method", "fold", "seed", "status", "reason")} == {
        "method": "ERM",
        "fold": "fold2",
        "seed": 1,
        "status": "failed",
        "reason": "RuntimeError: no memory",
    }
    assert "- ERM, fold2, seed 1: failed: RuntimeError: no memory\n" in said

    monkeypatch.setattr(training, "train", train)
    assert main(words(folds, out)) == 0
    assert trained[4:] == [broken]
    assert not log.exists()


def test_a_process_that_dies_is_a_failure(folds, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        running, "on_this_machine", lambda _, jobs, *__: ((at, Died("its end")) for at in range(len(jobs)))
    )
    assert main(words(folds[:1], tmp_path / "out", seeds=(0,))) == 1
    said, err = capsys.readouterr()
    assert "2 of 2 runs could not be made" in err
    assert "failed: its end" in said
    assert (tmp_path / "out" / "failures" / "ERM" / "fold1-seed0.txt").read_text() == "its end"
    assert json.loads((tmp_path / "out" / "table.json").read_text())["images"] == 0
    ElementTree.parse(tmp_path / "out" / "benchmark.svg")


def test_what_the_data_does_not_allow_is_listed_beside_the_others(out, folds, trained, capsys):
    assert main(words(folds, out, methods=[*METHODS, "Resampling"])) == 1
    said, err = capsys.readouterr()
    assert "Resampling fold1-seed0: not possible: " in err
    assert "4 of 12 runs could not be made, see above; the same command" in err
    assert sum("Resampling" in line and "not possible" in line and " 0 " in line for line in said.splitlines()) == 1
    # one line for both seeds of a fold
    assert sum(line.startswith("- Resampling, fold1, seed 0, 1: not possible: ") for line in said.splitlines()) == 1
    table = json.loads((out / "table.json").read_text())
    assert "difference" in table["methods"][1]
    assert [each["status"] for each in table["failures"]] == ["refused"] * 4
    assert not (out / "failures").exists()


def test_from_python_it_is_an_exception(folds, tmp_path, trained):
    with pytest.raises(Unfinished, match="1 of 1 runs could not be made"):
        benchmark(folds[:1], methods=["Resampling"], out=tmp_path / "out", seeds=[0], settings=SETTINGS | {"epochs": 1})


# -------------------------------------------------------------------------------------- the search


LEARNS = {"epochs": 4, "batch_size": 8, "augmentation": "none"}


def searching(fold, out):
    return words([fold], out, "--search", 0.01, 1, methods=["ERM"], seeds=(3,), settings=SETTINGS | LEARNS)


@pytest.fixture(scope="module")
def searched(folds, tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "out"
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(io.StringIO()):
        patched.setattr(running, "on_this_machine", in_this_process)
        assert main(searching(folds[0], out)) == 0
    return out


def chosen(out):
    return json.loads((out / "table.json").read_text())["search"]["chosen"]["ERM"]["fold1"]


def test_the_best_learning_rate_on_training_rows_is_what_the_runs_are_trained_with(searched, folds):
    candidates = cells(searched, "search")
    assert set(candidates) == {"ERM/fold1-times0.01", "ERM/fold1-times1"}
    slow, given = (runs.scores(candidates[f"ERM/fold1-times{factor}"])["accuracy"] for factor in ("0.01", "1"))
    assert chosen(searched) == (0.01 if slow > given else 1)
    rates = [runs.config(run)["method"]["init_args"]["lr"] for run in candidates.values()]
    assert sorted(rates) == [5e-5, 5e-3]
    (run,) = cells(searched).values()
    assert runs.config(run)["method"]["init_args"]["lr"] == 5e-3 * chosen(searched)
    frame = load(folds[0])
    tested = {file for run in candidates.values() for file in runs.predictions(run)["path"]}
    known = load(searched / "search" / "fold1.parquet")
    assert set(known["file"]) == set(frame.loc[frame["split"] == "train", "file"])
    assert tested == set(known.loc[known["split"] == "test", "path"])
    assert {runs.config(run)["seed"] for run in candidates.values()} == {0}


def test_the_test_part_is_not_looked_at(searched, folds, tmp_path, trained):
    """With other images under other labels in the test part, the search is the same to the byte."""
    data = tmp_path / "faces"
    shutil.copytree(folds[0].parent, data)
    frame = load(data / "fold1.csv")
    test = frame["split"] == "test"
    for file in frame.loc[test, "file"]:
        Image.new("RGB", (32, 32), "black").save(file)
    frame.loc[test, "emotion"] = np.roll(frame.loc[test, "emotion"].to_numpy(), 7)
    save(frame, data / "fold1.csv")
    assert main(searching(data / "fold1.csv", tmp_path / "out")) == 0
    for name, run in cells(searched, "search").items():
        other = cells(tmp_path / "out", "search")[name]
        assert (other / runs.WEIGHTS).read_bytes() == (run / runs.WEIGHTS).read_bytes()
        assert (other / runs.SCORES).read_bytes() == (run / runs.SCORES).read_bytes()
    assert chosen(tmp_path / "out") == chosen(searched)
    (here,), (there,) = cells(tmp_path / "out").values(), cells(searched).values()
    assert runs.scores(here) != runs.scores(there)  # and the run itself is tested on the other images


def test_a_finished_search_is_not_repeated_whatever_seeds_come(searched, folds, tmp_path, trained):
    out = Path(shutil.copytree(searched, tmp_path / "out"))
    before = times(out / "search", out / "runs")
    command = searching(folds[0], out)
    assert main(command) == 0
    assert trained == []
    command[command.index("3")] = "4"
    assert main(command) == 0
    assert trained == ["ERM/fold1-seed4"]
    after = times(out / "search", out / "runs")
    assert {file: after[file] for file in before} == before


def test_a_candidate_that_fails_is_told_and_when_it_is_made_no_run_keeps_the_old_choice(
    searched, folds, tmp_path, trained, monkeypatch, capsys
):
    out = Path(shutil.copytree(searched, tmp_path / "out"))
    best, other = (1, 0.01) if chosen(out) == 1 else (0.01, 1)
    shutil.rmtree(out / "search" / "ERM" / f"fold1-times{best}")
    shutil.rmtree(out / "runs")
    train = training.train

    @functools.wraps(train)
    def sometimes(*arguments, **options):
        if str(options.get("run")).endswith(f"times{best}"):
            raise RuntimeError("no luck")
        return train(*arguments, **options)

    monkeypatch.setattr(training, "train", sometimes)
    assert main(searching(folds[0], out)) == 1
    said, err = capsys.readouterr()
    assert f"- ERM, fold1, search times {best}, seed 0: failed: RuntimeError: no luck\n" in said
    assert "1 of 3 runs could not be made" in err
    assert chosen(out) == other
    assert trained == [f"ERM/fold1-times{best}", "ERM/fold1-seed3"]

    monkeypatch.setattr(training, "train", train)
    assert main(searching(folds[0], out)) == 0
    assert "1 runs are trained anew, with the learning rates that the search has chosen now" in capsys.readouterr().err
    assert trained[2:] == [f"ERM/fold1-times{best}", "ERM/fold1-seed3"]
    (run,) = cells(out).values()
    for file in (runs.CONFIG, runs.WEIGHTS, runs.SCORES):
        assert (run / file).read_bytes() == (cells(searched)["ERM/fold1-seed3"] / file).read_bytes()


# ---------------------------------------------------------------------------------------- machines


def test_on_ray_the_predictions_are_the_same_to_the_byte(finished, folds, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(words(folds, "out", "--engine", "ray", "--processes", 1)) == 0
    there = cells(finished[0])
    assert len(there) == 8
    for name, run in cells(tmp_path / "out").items():
        assert (run / runs.PREDICTIONS).read_bytes() == (there[name] / runs.PREDICTIONS).read_bytes()
    here, there = (json.loads((each / "table.json").read_text()) for each in (tmp_path / "out", finished[0]))
    assert without_times(here) == without_times(there)


@pytest.mark.parametrize(
    ("accelerator", "gpus", "processes", "expected"),
    [
        ("auto", 2, None, (2, ["3", "5"])),
        ("auto", 2, 4, (4, ["3", "5"])),
        ("auto", 0, None, (11, [])),
        ("cpu", 2, None, (11, [])),
    ],
)
def test_as_many_runs_at_a_time_as_gpus_or_else_cores(
    tmp_path, monkeypatch, capsys, accelerator, gpus, processes, expected
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr(running, "cores", lambda: 11)
    seen = []

    def run(function, jobs, at_once, names):
        seen.append((at_once, list(names)))
        yield 0, Outcome("refused", 0.0, "not today")

    monkeypatch.setattr(running, "on_this_machine", run)
    entered = entries(["ERM"], SETTINGS | {"accelerator": accelerator})
    cell = Cell(entered[0], tmp_path / "a.csv", 0, tmp_path / "ERM" / "a-seed0")
    found = running.runner("benchmark", tmp_path, entered, "local", processes)([cell], "run")
    assert found[cell.run].status == "refused"
    assert seen == [expected]


def test_a_terminal_sees_a_bar(folds, out, trained, monkeypatch, capsys):
    shutil.rmtree(out / "runs" / "ERM" / "fold1-seed0")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(words(folds, out)) == 0
    said, err = capsys.readouterr()
    assert "ERM fold1-seed0: " in err
    assert "1/1" in err
    assert "fold1-seed0" not in said


@pytest.mark.parametrize(
    ("seconds", "shown"), [(3.4, "3 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")]
)
def test_times_are_short(seconds, shown):
    assert running.spent(seconds) == shown


# ------------------------------------------------------------------------------------- wrong grids


def edited(fold, tmp_path, change):
    """Another manifest of the same images."""
    save(change(load(fold)), tmp_path / "changed.csv")
    return tmp_path / "changed.csv"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "IERM"], "no method is called 'IERM'"),
        (["--methods", "[]"], "there is no method to compare: name one or more with --methods"),
        (["--methods"], "--methods is empty: name one or more after it"),
        (["--settings", "epohcs=3"], "ERM: there is no setting 'epohcs'"),
        (["--settings", "epochs=0"], "ERM: --epochs is 0: it must be 1 or more"),
        (["--settings", 'emotions=["joy", "fear"]'], "unknown emotion 'anger': expected one of fear, joy"),
        (["--seeds", "[]"], "--seeds is empty: name one or more different numbers, 0 or more"),
        (["--seeds"], "--seeds is empty: name one or more after it"),
        (["--seeds", "0", "0"], "--seeds 0 0: name one or more different numbers"),
        (["--seeds", "0", "-1"], "--seeds 0 -1: name one or more different numbers"),
        (["--search", "[]"], "--search is empty: name two or more different factors above 0"),
        (["--search", "1"], "--search 1: name two or more different factors"),
        (["--search", "1", "1"], "--search 1 1: name two or more different factors"),
        (["--search", "1", "1.0000001"], "--search 1 1: name two or more different factors"),
        (["--search", "0", "1"], "--search 0 1: name two or more different factors above 0"),
        (["--search", "[.nan, 1]"], "--search nan 1: name two or more different factors above 0"),
        (["--search", "[.inf, 1]"], "--search inf 1: name two or more different factors above 0"),
        (["--replicates", "99"], "--replicates is 99: it must be 100 or more"),
        (["--processes", "0"], "--processes is 0: it must be 1 or more"),
        (["--baseline", "IERN"], "--baseline IERN is not in the grid: it has ERM, LogitAdjustment"),
    ],
)
def test_impossible_numbers_and_names_are_refused_before_anything_is_written(
    folds, tmp_path, trained, capsys, more, message
):
    assert main([*words(folds, tmp_path / "out"), *more]) == 2
    said, err = capsys.readouterr()
    assert not said
    assert message in err
    assert err.startswith("emodo benchmark: ")
    assert trained == []
    assert not (tmp_path / "out").exists()


def refused(tmp_path, capsys, folds, *more):
    assert main(words(folds, tmp_path / "out", *more)) == 2
    assert not (tmp_path / "out").exists()
    return capsys.readouterr().err


def test_folds_need_names(folds, tmp_path, trained, capsys):
    assert "the folds need different names" in refused(tmp_path, capsys, [folds[0], folds[0]])
    with pytest.raises(InputError, match="the folds need different names: name one or more manifests"):
        benchmark([], methods=["ERM"], out=tmp_path / "out")


def test_folds_of_one_name_are_told_apart_by_their_folders(folds, tmp_path, trained):
    moved = []
    for name, fold in zip("ab", folds, strict=True):
        (tmp_path / name).mkdir()
        save(load(fold), tmp_path / name / "fold.csv")
        moved.append(tmp_path / name / "fold.csv")
    assert main(words(moved, tmp_path / "out", methods=["ERM"], seeds=(0,))) == 0
    assert trained == ["ERM/a-fold-seed0", "ERM/b-fold-seed0"]


def test_what_is_no_manifest_is_named(folds, tmp_path, trained, capsys):
    assert "none.csv is missing: no such file" in refused(tmp_path, capsys, [folds[0], tmp_path / "none.csv"])
    plain = folds[0].parent / "manifest.csv"
    assert f"{plain} has no column split: make one with `emodo split`" in refused(tmp_path, capsys, [plain])


def test_folds_without_test_rows_are_named(folds, tmp_path, trained, capsys):
    manifest = edited(folds[0], tmp_path, lambda frame: frame[frame["split"] == "train"])
    assert f"{manifest} has no row whose split is `test`" in refused(tmp_path, capsys, [folds[1], manifest])


def test_an_image_is_tested_once(folds, tmp_path, trained, capsys):
    manifest = edited(folds[0], tmp_path, lambda frame: by_sequence(frame, 0.2))
    assert f"{manifest} and {folds[0]} test the same image, " in refused(tmp_path, capsys, [folds[0], manifest])


def test_people_in_an_image_are_told_apart_by_their_boxes(folds, tmp_path, trained):
    def boxed(left):
        def change(frame):
            box = dict(zip(("x1", "y1", "x2", "y2"), (left, 0, left + 8, 8), strict=True))
            known = frame.index % 2 == 0  # the others have no box
            return frame.assign(**{name: pd.Series(value, frame.index).where(known) for name, value in box.items()})

        return change

    manifests = []
    for at in range(2):
        manifests.append(edited(folds[0], tmp_path, boxed(8 * at)).rename(tmp_path / f"boxes{at}.csv"))
    frame = load(manifests[0])
    first = frame.loc[(frame["split"] == "test") & frame["x1"].isna(), "file"].iloc[0]
    with pytest.raises(InputError, match=f"test the same image, {first}"):
        name_folds(manifests, None)
    for manifest in manifests:
        save(load(manifest).dropna(subset="x1"), manifest)
    assert list(name_folds(manifests, None)) == ["boxes0", "boxes1"]


def test_folds_have_their_emotions_in_common(folds, tmp_path, trained, capsys):
    manifest = edited(folds[1], tmp_path, lambda frame: frame[frame["emotion"] != "fear"])
    said = refused(tmp_path, capsys, [folds[0], manifest])
    assert f"{folds[0]} and {manifest} do not hold the same emotions (fear)" in said


def test_a_cluster_that_no_column_tells_is_refused_before_anything_is_trained(folds, tmp_path, trained, capsys):
    manifest = edited(folds[0], tmp_path, lambda frame: frame.drop(columns="subject"))
    said = refused(tmp_path, capsys, [manifest], "--cluster", "subject")
    assert "--cluster subject: no test image has a subject; choose another" in said


def test_a_search_that_the_training_rows_do_not_allow_is_refused(folds, tmp_path, trained, capsys):
    def change(frame):
        fear = frame["emotion"] == "fear"
        return frame.assign(split=frame["split"].mask(fear & (frame["split"] == "train"), "validation"))

    manifest = edited(folds[0], tmp_path, change)
    said = refused(tmp_path, capsys, [folds[1], manifest], "--search", "0.3", "1")
    assert "a part of the training rows is held out, and then no training image of fear" in said


def test_what_is_no_benchmark_is_left_alone(folds, tmp_path, trained, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        assert main(words(folds, tmp_path / "out", *more)) == 2
        assert "is not a benchmark (it has no grid.json)" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_without_ray_nothing_is_begun(folds, tmp_path, trained, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'emodo[ray]'" in refused(tmp_path, capsys, folds, "--engine", "ray")


def test_the_baseline_is_erm_or_else_the_first(folds, out, trained, capsys):
    found = {}
    for more in ([], ["--baseline", "LogitAdjustment"]):
        assert main(words(folds, out, "--json", *more)) == 0
        table = json.loads(capsys.readouterr().out)
        found[table["baseline"]] = [row["name"] for row in table["methods"] if "difference" in row]
    assert found == {"ERM": ["LogitAdjustment"], "LogitAdjustment": ["ERM"]}
    assert main(words(folds, out, "--json", methods=["LogitAdjustment"])) == 0
    assert json.loads(capsys.readouterr().out)["baseline"] == "LogitAdjustment"

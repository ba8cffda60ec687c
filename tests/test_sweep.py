"""Settings are varied, held-out rows choose, the test part describes, and a sweep that was killed goes on."""

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import pretended
from emodo import cells, manifest, runs
from emodo.__main__ import main
from emodo.cells import Outcome
from emodo.records import InputError, Unfinished
from emodo.statistics import student
from emodo.sweep import sweep

RATES = "method.lr=1e-4,1e-3,1e-2"


@pytest.fixture
def pretend(monkeypatch):
    """Write runs instead of training them; returns the list of those that were made."""
    made: list[str] = []

    def execute(cell):
        made.append(f"{cell.run.parent.name}/{cell.run.name}")
        return pretended.execute(cell)

    monkeypatch.setattr("emodo.running.on_this_machine", pretended.in_this_process(execute))
    return made


@pytest.fixture(scope="module")
def folds(faces) -> list[Path]:
    from emodo.splitting import split_table1

    whole = faces.parent / "manifest.csv"
    return [faces, split_table1(whole, faces.parent / "fold2.csv", fold=2, overwrite=True)]


def ran(words, capsys):
    """Run the command line: (exit code, what was printed as JSON, stderr)."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def grid(manifests, out, *more):
    return ["sweep", *manifests, "--method", "ERM", "--grid", RATES, "--seeds", "0", "1", "--out", out, *more]


def search(manifest, out, trials, *more):
    ranges = ["method.lr=1e-5..1e-1:log", "batch_size=8..64"]
    return ["sweep", manifest, "--method", "ERM", "--ranges", *ranges, "--trials", trials, "--out", out, *more]


# -------------------------------------------------------------------------------------- what comes out


def test_a_grid_shows_held_out_and_test_accuracy_and_the_first_one_chooses(folds, tmp_path, pretend, capsys):
    out = tmp_path / "sweep"
    code, table, _ = ran(grid(folds, out), capsys)
    assert code == 0
    assert len(pretend) == len(set(pretend)) == 3 * 2 * 2 * 2  # settings, folds, seeds, parts
    assert "method.lr-0.001/fold1-seed0-held-out" in pretend
    assert [row["setting"] for row in table["settings"]] == [{"method.lr": rate} for rate in (1e-4, 1e-3, 1e-2)]
    middle = table["settings"][1]
    assert middle["held_out"]["seeds"] == pytest.approx([32 / 40, 32 / 40])  # 0.79 of 40 images is 32
    assert middle["test"]["seeds"] == pytest.approx([130 / 200, 128 / 200])
    assert middle["test"]["mean"] == pytest.approx(129 / 200)
    assert (middle["test"]["low"], middle["test"]["high"]) == pytest.approx(student([130 / 200, 128 / 200]))
    assert middle["test"]["folds"]["fold2"]["mean"] == pytest.approx(129 / 200)
    assert table["settings"][2]["test"]["mean"] > middle["test"]["mean"]  # and still it is not chosen
    assert [(best["fold"], best["setting"]) for best in table["best"]] == [
        ("fold1", {"method.lr": 1e-3}),
        ("fold2", {"method.lr": 1e-3}),
    ]

    assert json.loads((out / "sweep.json").read_text()) == table
    with (out / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["method.lr"]) for row in rows] == [1e-4, 1e-3, 1e-2]
    assert float(rows[1]["test"]) == pytest.approx(129 / 200)
    assert float(rows[1]["held_out:fold1"]) == pytest.approx(0.8)
    page = (out / "sweep.md").read_text()
    assert "| 1e-3 | 80.0 [80.0, 80.0] | 64.5 [58.1, 70.9] |" in page
    assert "emodo train" in page
    assert "<svg" in (out / "sweep.svg").read_text()

    main([str(word) for word in grid(folds, out)])
    text = capsys.readouterr().out
    assert "64.5 [58.1, 70.9]" in text
    assert "Figure 8" in text
    assert "Best on fold2, 80.0 % held-out: emodo train" in text


def test_one_part_alone(folds, tmp_path, pretend, capsys):
    code, table, _ = ran(grid(folds[:1], tmp_path / "a", "--parts", "test"), capsys)
    assert code == 0
    assert not any(name.endswith("held-out") for name in pretend)
    assert table["best"] == []  # the test part chooses nothing
    assert not (tmp_path / "a" / "held-out").exists()
    assert not list((tmp_path / "a").glob("best-*"))
    main([str(word) for word in grid(folds[:1], tmp_path / "a", "--parts", "test")])
    assert "No setting is chosen" in capsys.readouterr().out

    pretend.clear()
    _, table, _ = ran(grid(folds[:1], tmp_path / "a", "--parts", "held_out"), capsys)
    assert all(name.endswith("held-out") for name in pretend)
    assert "test" not in table["settings"][0]
    assert (tmp_path / "a" / "best-fold1.yaml").is_file()


def test_what_is_printed_trains_the_best_setting_again(folds, tmp_path, small, monkeypatch, capsys):
    monkeypatch.setattr("emodo.running.on_this_machine", pretended.in_this_process(cells.execute))
    settings = dict(small, epochs=1)
    given = [f"{name}={value}" for name, value in settings.items()]
    out = tmp_path / "sweep"
    words = ["sweep", folds[0], "--method", "ERM", "--grid", "method.lr=1e-3,3e-3", "--seeds", "1", "--out", out]
    code, table, err = ran([*words, "--settings", *given], capsys)
    assert code == 0, err
    best = table["best"][0]
    rate = best["setting"]["method.lr"]
    held_out = out / "runs" / f"method.lr-{rate}" / "fold1-seed1-held-out"
    assert best["held_out"] == runs.scores(held_out)["accuracy"]
    known = pd.read_parquet(out / "held-out" / "fold1.parquet")
    assert len(runs.predictions(held_out)) == (known["split"] == "test").sum() > 0
    frame = pd.read_csv(folds[0])
    assert len(known) == (frame["split"] == "train").sum()

    command = shlex.split(best["command"])
    assert command[:3] == ["emodo", "train", str(folds[0])]
    assert main([*command[1:], "--seed", "1", "--run", str(tmp_path / "again")]) == 0
    made = out / "runs" / f"method.lr-{rate}" / "fold1-seed1"
    assert runs.config(tmp_path / "again") == runs.config(made)
    pd.testing.assert_frame_equal(runs.predictions(tmp_path / "again"), runs.predictions(made))

    monkeypatch.setattr("emodo.training._train", lambda run, config, resume, overwrite: seen.append(config))
    seen = []
    assert main(["train", "--config", str(out / "best-fold1.yaml"), "--seed", "1"]) == 0
    assert seen == [runs.config(made)]
    assert yaml.safe_load((out / "best-fold1.yaml").read_text())["method"]["init_args"]["lr"] == rate


def test_a_search_never_looks_at_the_test_part(faces, tmp_path, small, monkeypatch, capsys):
    monkeypatch.setattr("emodo.running.on_this_machine", pretended.in_this_process(cells.execute))
    frame = manifest.load(faces)
    for at, row in frame.iterrows():
        if row["split"] == "test":  # no picture: whoever looks at it will say so
            broken = tmp_path / "broken" / f"{at}.png"
            broken.parent.mkdir(exist_ok=True)
            broken.write_bytes(b"no picture")
            frame.loc[at, "file"] = str(broken)
    blind = tmp_path / "blind.csv"
    manifest.save(frame, blind)
    given = ["--settings", *(f"{name}={value}" for name, value in dict(small, epochs=1).items())]
    words = ["sweep", blind, "--method", "ERM", "--ranges", "method.lr=1e-4..1e-2:log", "--trials", "2", *given]
    code, table, err = ran([*words, "--out", tmp_path / "sweep"], capsys)
    assert code == 0, err
    assert table["parts"] == ["held_out"]
    assert len(table["settings"]) == 2
    assert "test" not in table["settings"][0]

    with pytest.raises(Unfinished, match="2 of 2 settings could not be trained"):  # the same pictures, looked at
        sweep(
            [blind],
            method="ERM",
            grid={"method.lr": [1e-4, 1e-3]},
            parts=["test"],
            seeds=[0],
            settings=dict(small, epochs=1),
            out=tmp_path / "grid",
        )
    table = json.loads((tmp_path / "grid" / "sweep.json").read_text())
    assert all("the image broken/" in row["failures"][0]["reason"] for row in table["settings"])


def test_validation_rows_are_what_is_held_out(faces, tmp_path, pretend, capsys):
    from emodo.splitting import split_table1

    fold = split_table1(faces.parent / "manifest.csv", tmp_path / "fold1.csv", fold=1, validation=0.25)
    assert ran(grid([fold], tmp_path / "sweep"), capsys)[0] == 0
    frame = manifest.load(fold)
    known = manifest.load(tmp_path / "sweep" / "held-out" / "fold1.parquet")
    assert set(known.loc[known["split"] == "test", "file"]) == set(frame.loc[frame["split"] == "validation", "file"])
    assert set(known.loc[known["split"] == "train", "file"]) == set(frame.loc[frame["split"] == "train", "file"])


# ------------------------------------------------------------------------------------------- going on


def test_more_values_seeds_and_folds_reuse_what_is_there(folds, tmp_path, pretend, capsys):
    out = tmp_path / "sweep"
    ran(grid(folds[:1], out), capsys)
    pretend.clear()
    ran(grid(folds[:1], out), capsys)
    assert pretend == []
    _, table, _ = ran([*grid(folds[:1], out), "--grid", "method.lr=1e-3,1e-2,1e-1"], capsys)
    assert {name.split("/")[0] for name in pretend} == {"method.lr-0.1"}
    assert [row["setting"]["method.lr"] for row in table["settings"]] == [1e-3, 1e-2, 1e-1]
    pretend.clear()
    _, table, _ = ran(grid(folds, out, "--seeds", "0", "2"), capsys)
    assert not any("fold1-seed0" in name for name in pretend)
    assert len(pretend) == 3 * 2 * (4 - 1)
    assert table["settings"][0]["test"]["mean"] == pytest.approx(0.49)

    lost = out / "runs" / "method.lr-0.001" / "fold1-seed2"
    (lost / runs.SCORES).unlink()
    pretend.clear()
    again = ran(grid(folds, out, "--seeds", "0", "2"), capsys)
    assert pretend == ["method.lr-0.001/fold1-seed2"]
    assert again[1] == table


def test_a_search_goes_on_as_if_it_had_not_been_interrupted(faces, tmp_path, pretend, monkeypatch, capsys):
    whole = ran(search(faces, tmp_path / "whole", 14), capsys)[1]
    assert len({json.dumps(row["setting"]) for row in whole["settings"]}) == 14
    assert all(1e-5 <= row["setting"]["method.lr"] <= 1e-1 for row in whole["settings"])
    assert all(isinstance(row["setting"]["batch_size"], int) for row in whole["settings"])

    def interrupted(cell):
        if len(pretend) in (16, 26):
            pretend.append("")
            raise KeyboardInterrupt
        pretend.append("")
        return pretended.execute(cell)

    out = tmp_path / "parts"
    monkeypatch.setattr("emodo.running.on_this_machine", pretended.in_this_process(interrupted))
    codes = [ran(search(faces, out, trials), capsys)[0] for trials in (14, 14, 14)]
    assert codes == [130, 130, 0]
    assert json.loads((out / "sweep.json").read_text())["settings"] == whole["settings"]
    before = list(pretend)
    more = ran(search(faces, out, 16), capsys)[1]
    assert len(pretend) == len(before) + 2
    assert more["settings"][:14] == whole["settings"]
    best = max(row["held_out"]["mean"] for row in more["settings"])
    assert more["best"][0]["held_out"] == best


def started(words, log, hang=0):
    environment = os.environ | {"PRETENDED_LOG": str(log), "PRETENDED_HANG": str(hang)}
    return subprocess.Popen(
        [sys.executable, pretended.__file__, *map(str, words), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_a_killed_sweep_and_one_beside_it_share_the_work_and_agree(faces, tmp_path):
    out, log = tmp_path / "sweep", tmp_path / "log"
    words = search(faces, out, 12, "--seeds", "0", "1", "--processes", "1")
    killed = started(words, log, hang=4)
    assert killed.stdout.readline() == "hanging\n"
    killed.kill()
    killed.communicate()
    half = (out / "journal.log").read_bytes()
    (out / "journal.log").write_bytes(half + b'{"op_code":')  # it may have died while it wrote
    (out / "journal.log.lock").symlink_to("journal.log")

    together = [started(words, log) for _ in range(2)]
    printed = [process.communicate() for process in together]
    assert [process.returncode for process in together] == [0, 0], printed
    tables = [json.loads(out) for out, _ in printed]
    assert tables[0] == tables[1] == json.loads((out / "sweep.json").read_text())
    assert len(tables[0]["settings"]) == 12
    made = log.read_text().split()
    assert len(made) == len(set(made)) == 24  # none twice: not those of the killed process either
    assert all(json.loads(line) for line in (out / "journal.log").read_text().splitlines())
    assert not list((out / ".workers").iterdir())


def test_a_setting_that_fails_is_listed_and_tried_again(folds, tmp_path, monkeypatch, capsys):
    out, broken, made = tmp_path / "sweep", {"method.lr-0.001/fold1-seed1"}, []

    def execute(cell):
        name = f"{cell.run.parent.name}/{cell.run.name}"
        made.append(name)
        if name in broken:
            return Outcome("failed", 0.0, "RuntimeError: it broke", "Traceback: it broke")
        return pretended.execute(cell)

    monkeypatch.setattr("emodo.running.on_this_machine", pretended.in_this_process(execute))
    code, table, err = ran(grid(folds[:1], out), capsys)
    assert code == 1
    assert "1 of 3 settings could not be trained" in err
    assert [len(row["failures"]) for row in table["settings"]] == [0, 1, 0]
    assert table["settings"][1]["failures"][0] == {
        "run": "fold1-seed1",
        "status": "failed",
        "reason": "RuntimeError: it broke",
    }
    assert table["settings"][1]["test"]["seeds"] == [0.65]  # what there is, is shown
    assert table["best"][0]["setting"] == {"method.lr": 1e-4}  # what failed is not chosen
    assert "method.lr 1e-3 failed: RuntimeError: it broke (fold1-seed1)" in (out / "sweep.md").read_text()
    assert (out / "failures" / "method.lr-0.001" / "fold1-seed1.txt").is_file()

    made.clear()
    broken.clear()
    code, table, _ = ran(grid(folds[:1], out), capsys)
    assert code == 0
    assert made == ["method.lr-0.001/fold1-seed1"]
    assert not any(row["failures"] for row in table["settings"])
    assert table["best"][0]["setting"] == {"method.lr": 1e-3}


def test_nothing_but_failures_is_a_result_too(folds, tmp_path, monkeypatch, capsys):
    refused = pretended.in_this_process(lambda cell: Outcome("refused", 0.0, "it needs strata"))
    monkeypatch.setattr("emodo.running.on_this_machine", refused)
    code, table, err = ran(grid(folds[:1], tmp_path / "sweep"), capsys)
    assert code == 1
    assert "3 of 3 settings" in err
    assert table["best"] == []
    assert not (tmp_path / "sweep" / "sweep.svg").exists()
    assert "it needs strata (fold1-seed0-held-out, " in (tmp_path / "sweep" / "sweep.md").read_text()


# ----------------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grid", RATES], "there is no method to vary: name one with --method"),
        (["--method", "IERM", "--grid", RATES], "no method is called 'IERM'"),
        (["--method", "ERM"], "name what is varied in a --grid or in --ranges"),
        (["--method", "ERM", "--grid", RATES, "--ranges", "epochs=1..3"], "--grid or in --ranges, not in both"),
        (["--method", "ERM", "--grid", "method.rate=1,2"], "--grid method.rate: ERM has no such setting, but method."),
        (["--method", "ERM", "--grid", "lr=1,2"], "--grid lr: that is no setting of a training that can be varied"),
        (["--method", "ERM", "--grid", "seed=1,2"], "--grid seed: that is no setting"),
        (["--method", "ERM", "--grid", "emotions=a,b"], "--grid emotions: that is no setting"),
        (["--method", "ERM", "--grid", "method.lr=1e-3"], "--grid method.lr=0.001: name two values or more"),
        (["--method", "ERM", "--grid", "method.lr=1e-3,0.001"], "a value is there twice"),
        (["--method", "ERM", "--grid", "method.lr=1e-3,fast"], "--grid method.lr=fast: ERM: "),
        (["--method", "ERM", "--grid", RATES, "--settings", "method.lr=1e-3"], "it is in --settings too"),
        (["--method", "ERM", "--grid", RATES, "--settings", "epohcs=1"], "there is no setting 'epohcs'"),
        (["--method", "ERM", "--grid", RATES, "--trials", "3"], "a grid has as many trials as combinations"),
        (["--method", "ERM", "--grid", RATES, "--parts", "test", "test"], "--parts test test: one is there twice"),
        (["--method", "ERM", "--grid", RATES, "--seeds", "1", "1"], "--seeds 1 1: name one or more different"),
        (["--method", "ERM", "--grid", RATES, "--processes", "0"], "--processes is 0"),
        (["--method", "ERM", "--ranges", "method.lr=1e-3"], "--ranges method.lr=1e-3: write it as"),
        (["--method", "ERM", "--ranges", "method.lr=1e-2..1e-3"], "the first number must be below the second"),
        (["--method", "ERM", "--ranges", "method.lr=0..1e-3:log"], "a logarithm needs numbers above 0"),
        (["--method", "ERM", "--ranges", "augmentation=light..none"], "its ends are not numbers"),
        (["--method", "ERM", "--ranges", "epochs=1..3", "--trials", "0"], "--trials is 0: it must be 1 or more"),
        (["--method", "ERM", "--ranges", "epochs=1..3", "--parts", "test"], "a search does not look at the test part"),
        (["{manifest}", "--method", "ERM", "--ranges", "epochs=1..3"], "a search over --ranges takes one manifest"),
        (["{none}", "--method", "ERM", "--grid", RATES], "{none} is missing: no such file"),
        (["{manifest}", "--method", "ERM", "--grid", RATES], "has no column split"),
    ],
)
def test_wrong_input_is_one_message_and_nothing_is_written(faces, tmp_path, capsys, words, message):
    places = {"manifest": faces.parent / "manifest.csv", "none": tmp_path / "none.csv"}
    words = [word.format(**places) for word in words]
    code = main(["sweep", str(faces), *words, "--out", str(tmp_path / "sweep")])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert message.format(**places) in err
    assert err.startswith("emodo sweep: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_other_settings_or_data_are_refused_or_replaced(folds, faces, tmp_path, pretend, capsys):
    out = tmp_path / "sweep"
    fold = tmp_path / "fold1.csv"
    frame = manifest.load(faces)
    manifest.save(frame, fold)
    ran(grid([fold], out), capsys)
    record = (out / "settings.json").read_text()
    for more, named in ((["--settings", "epochs=3"], "epochs 160 -> 3"), (["--method", "GroupDRO"], "method ERM -> ")):
        code, _, err = ran([*grid([fold], out), *more], capsys)
        assert code == 2
        assert named in err
    pretend.clear()
    manifest.save(frame.iloc[3:], fold)
    code, _, err = ran(grid([fold], out), capsys)
    assert code == 2
    assert "fold1: the manifest has changed" in err
    assert (out / "settings.json").read_text() == record
    assert pretend == []

    assert ran(grid([fold], out, "--overwrite"), capsys)[0] == 0
    assert len(pretend) == 3 * 2 * 2
    assert len(manifest.load(out / "held-out" / "fold1.parquet")) < (frame["split"] == "train").sum()


def test_what_is_no_sweep_is_left_alone(faces, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    code, _, err = ran(grid([faces], mine, "--overwrite"), capsys)
    assert code == 2
    assert "is not a sweep (it has no settings.json)" in err
    assert [file.name for file in mine.iterdir()] == ["thesis.txt"]


def test_a_damaged_journal_is_named(faces, tmp_path, pretend, capsys):
    ran(grid([faces], tmp_path / "sweep"), capsys)
    (tmp_path / "sweep" / "journal.log").write_text("no journal\nat all\n")
    code, _, err = ran(grid([faces], tmp_path / "sweep"), capsys)
    assert code == 2
    assert "journal.log is damaged: remove it" in err
    (tmp_path / "sweep" / "journal.log").unlink()
    pretend.clear()
    assert ran(grid([faces], tmp_path / "sweep"), capsys)[0] == 0
    assert pretend == []


def test_without_optuna_it_says_what_to_install(faces, tmp_path, monkeypatch):
    monkeypatch.setattr("emodo.trials.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"a sweep needs Optuna: pip install 'emodo\[sweep\]'"):
        sweep([faces], method="ERM", grid={"method.lr": [1e-4, 1e-3]}, out=tmp_path / "sweep")
    assert not list(tmp_path.iterdir())


LIGHT = """
import sys
from emodo.__main__ import main
try:
    main(["sweep", "--help"])
except SystemExit as stop:
    assert stop.code == 0
heavy = {"torch", "lightning", "pandas", "scipy", "matplotlib", "optuna", "ray"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--grid" in done.stdout

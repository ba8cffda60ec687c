"""`emodo monitor` from parts to files: what is told, what is written, and what is refused with nothing written."""

import json
import re
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pyarrow.parquet as pq
import pytest

from emodo import windows
from emodo.__main__ import main
from emodo.parts import MARK, RECORD
from emodo.prediction import digest
from emodo.records import Task
from monitored import EMOTIONS, STRATA, TASK, predicted, rows, run

PAGE = (Path(__file__).parents[1] / "docs" / "monitor.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "iern", rows(0, 600))


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Four days as the test rows, and since the 10th images of one stratum alone."""
    folder = tmp_path_factory.mktemp("predictions")
    for at in (7, 8, 9):
        predicted(folder / f"day{at}", rows(at, 300), parts=2)
    for at in (10, 11):
        predicted(folder / f"day{at}", rows(at, 300, mix=(0, 1, 0)))
    return folder


def told(capsys, *words):
    capsys.readouterr()
    assert main(["monitor", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_has_drifted_is_told_with_its_windows(trained, days, capsys):
    found = told(capsys, trained, days)
    assert [row["name"] for row in found["windows"]] == ["day7", "day8", "day9", "day10", "day11"]
    assert found["drift"] == ["day10", "day11"]
    first = found["sentences"][0]
    assert first.startswith(
        "The stratum that predictions look like differs from the test rows since day10, most in day1"
    )
    assert "web " in first
    assert found["windows"][-1]["strata"]["web"]["low"] > 0.5
    assert found["windows"][-1]["explained"]["by"] == "strata"
    assert re.search(r"day1[01] looks as if its mix of strata were another \(web \d+ %", " ".join(found["sentences"]))
    assert [row["verdict"] for row in found["windows"]] == ["no drift"] * 3 + ["drift"] * 2


def test_tables_notes_and_files_hold_the_same(trained, days, tmp_path, capsys):
    out = tmp_path / "out"
    table = told(capsys, trained, days, "--out", out)
    assert json.loads((out / "monitor.json").read_text()) == table
    page = (out / "monitor.md").read_text()
    assert all(f"- {sentence}" in page for sentence in [*table["sentences"], *table["notes"]])
    assert "| window | images | errors | verdict | emotion | confidence | disagreement | looks like |" in page
    drawn = "".join(ElementTree.parse(out / "monitor.svg").getroot().itertext())
    assert all(name in drawn for name in (*EMOTIONS, *STRATA, "emotion given web", "day7", "day11"))
    assert main(["monitor", str(trained), str(days)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(table["sentences"][0])
    assert "test rows" in shown
    assert sorted(file.name for file in out.iterdir()) == ["monitor.json", "monitor.md", "monitor.svg"]


def test_one_window_is_enough_and_few_images_are_told(trained, days, tmp_path, capsys):
    found = told(capsys, trained, days / "day8")
    assert found["sentences"] == ["No drift is found in day8."]
    small = predicted(tmp_path / "small", rows(3, 12))
    found = told(capsys, trained, small, "--out", tmp_path / "out")
    assert found["sentences"] == ["Nothing can be said of small: it has too few images."]
    broken = predicted(tmp_path / "broken", rows(3, 40, broken=40))
    found = told(capsys, trained, broken, "--out", tmp_path / "all")
    assert found["windows"][0]["verdict"] == "too few"
    assert "broken: 100 % of the images have an error and no prediction." in found["sentences"]


def test_errors_are_counted_and_told(trained, tmp_path, capsys):
    found = told(capsys, trained, predicted(tmp_path / "day", rows(4, 400, broken=60)))
    assert (found["windows"][0]["images"], found["windows"][0]["errors"]) == (400, 60)
    assert "day: 15 % of the images have an error and no prediction." in found["sentences"]


def test_tables_that_name_the_stratum_are_judged_in_each(trained, tmp_path, capsys):
    folder = tmp_path / "evaluation-field-test"
    folder.mkdir()
    rows(5, 900, lean=("web", 3)).to_parquet(folder / "predictions.parquet")
    found = told(capsys, trained, folder / "predictions.parquet")
    assert found["windows"][0]["name"] == "evaluation-field-test"
    assert found["sentences"][0].startswith("The predicted emotion in web differs from the test rows in evaluation")
    assert "joy" in found["sentences"][0]
    strange = rows(6, 300).assign(stratum="moon")
    strange.to_parquet(folder / "predictions.parquet")
    found = told(capsys, trained, folder)
    assert found["windows"][0]["strata"]["another"]["estimate"] == 1
    assert any("strata that the run does not know (moon)" in note for note in found["notes"])


def test_frames_of_a_folder_count_once(trained, tmp_path, capsys):
    folder = predicted(tmp_path / "videos", rows(12, 300, frames=30))
    images = told(capsys, trained, folder)["windows"][0]
    videos = told(capsys, trained, folder, "--cluster", "folder")["windows"][0]
    assert (images["clusters"], videos["clusters"]) == (300, 10)
    assert images["quantities"]["emotion"]["shares"] == videos["quantities"]["emotion"]["shares"]
    assert videos["verdict"] == "too few"


def test_without_strata_less_is_said(trained, days, tmp_path, capsys):
    table = pd.read_parquet(days / "day7")
    folder = tmp_path / "plain"
    folder.mkdir()
    table.drop(columns=[name for name in table if "|" in name]).to_parquet(folder / "part-00000.parquet")
    found = told(capsys, trained, folder)
    assert set(found["windows"][0]["quantities"]) == {"emotion", "confidence", "disagreement"}
    assert any("predict with --strata" in note for note in found["notes"])
    heads = [name for name in table if "|" in name]
    erm = run(tmp_path / "erm", rows(0, 600).drop(columns=[*heads, "disagreement"]), Task(EMOTIONS))
    found = told(capsys, erm, folder)
    assert set(found["windows"][0]["quantities"]) == {"emotion", "confidence"}
    assert found["windows"][0]["strata"] is None


def test_pieces_and_parts_change_nothing(trained, days, tmp_path, capsys, monkeypatch):
    whole = told(capsys, trained, days / "day9")["windows"]
    monkeypatch.setattr(windows, "ROWS", 17)
    assert told(capsys, trained, days / "day9", days / "day9")["windows"] == whole
    files = told(capsys, trained, str(days / "day9" / "part-*.parquet"))["windows"]
    assert [row["name"] for row in files] == ["part-00000", "part-00001"]
    assert sum(row["images"] for row in files) == whole[0]["images"]


# ---------------------------------------------------------------------------------------------- refused


def refused(capsys, tmp_path, *words):
    out = tmp_path / "never"
    capsys.readouterr()
    assert main(["monitor", *map(str, words), "--out", str(out)]) == 2
    printed, err = capsys.readouterr()
    assert printed == ""
    assert not out.exists()
    assert err.startswith("emodo monitor: ")
    assert err.count("\n") == 1
    return err


def test_predictions_of_another_run_are_refused(trained, days, tmp_path, capsys):
    folder = tmp_path / "day"
    shutil.copytree(days / "day7", folder)
    record = {"command": MARK, "run": digest(trained), "images": 500}
    (folder / RECORD).write_text(json.dumps(record))
    notes = told(capsys, trained, folder)["notes"]
    assert any("day is not finished: 200 images are still to be predicted" in note for note in notes)
    (folder / RECORD).write_text(json.dumps(record | {"run": "0" * 64}))
    assert "was predicted by another run than" in refused(capsys, tmp_path, trained, folder)
    assert "was predicted by another run" in refused(capsys, tmp_path, trained, folder / "part-00000.parquet")
    (folder / RECORD).write_text("{")
    assert "_predict.json is damaged" in refused(capsys, tmp_path, trained, folder)


def test_what_is_no_prediction_is_refused(trained, days, tmp_path, capsys):
    empty, text, plain = tmp_path / "empty", tmp_path / "a.csv", tmp_path / "plain.parquet"
    empty.mkdir()
    text.write_text("path\n")
    pd.DataFrame({"path": ["a.jpg"]}).to_parquet(plain)
    for words, match in {
        (empty,): "holds no Parquet parts",
        (tmp_path / "nothing",): "is missing: no such file or folder",
        (tmp_path / "no*",): "matches nothing",
        (text,): "is no Parquet file",
        (plain,): "has no columns p:EMOTION",
    }.items():
        assert match in refused(capsys, tmp_path, trained, *words)
    assert "is not a run" in refused(capsys, tmp_path, tmp_path, days)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 is not enough")
    assert "cannot be read as Parquet" in refused(capsys, tmp_path, trained, tmp_path / "broken.parquet")


def test_columns_that_do_not_fit_are_named(trained, days, tmp_path, capsys):
    table = pd.read_parquet(days / "day7")
    file = tmp_path / "other.parquet"
    for change, match in (
        (lambda frame: frame.rename(columns={"p:joy": "p:awe"}), "it lacks p:joy"),
        (lambda frame: frame.assign(**{"p:awe": 0.1}), "does not know p:awe"),
        (lambda frame: frame.assign(**{"p:joy|moon": 0.1}), "does not know p:joy|moon"),
        (lambda frame: frame.assign(**{"p:joy": "much"}), "has text or whole numbers in p:joy"),
        (lambda frame: frame.assign(**{"p:joy": 1.7}), "no probabilities from 0 to 1"),
    ):
        change(table).to_parquet(file)
        assert match in refused(capsys, tmp_path, trained, file)
    table.drop(columns="path").to_parquet(file)
    assert "has no column path" in refused(capsys, tmp_path, trained, file, "--cluster", "folder")
    cut = tmp_path / "cut.parquet"
    pq.write_table(pq.read_table(days / "day8" / "part-00000.parquet"), cut)
    cut.write_bytes(cut.read_bytes()[:-200])
    assert "cannot be read as Parquet" in refused(capsys, tmp_path, trained, days / "day7", cut)


def test_several_emotions_a_row_are_refused(tmp_path, days, capsys):
    several = run(tmp_path / "several", rows(0, 30), Task(EMOTIONS, TASK.confounder, multilabel=True))
    assert "several emotions a row" in refused(capsys, tmp_path, several, days)


def test_a_folder_with_files_is_replaced_only_on_demand(trained, days, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["monitor", str(trained), str(days), "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["monitor", str(trained), str(days), "--out", str(tmp_path), "--overwrite"]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {"mine.txt", "monitor.json", "monitor.md", "monitor.svg"}


# -------------------------------------------------------------------------------------------- the page


def test_the_commands_of_the_example_run_in_their_order(monkeypatch, tmp_path, capsys):
    """In small: fewer people and epochs, smaller images."""
    monkeypatch.chdir(tmp_path)
    example = PAGE.split("## An example")[1].split("\n>")[0].replace("\\\n", " ")
    commands = re.findall(r"^    emodo (.*)$", example, re.MULTILINE)
    assert len(commands) == 10
    for command in commands:
        small = command.replace("--subjects 24", "--subjects 12").replace("--size 48", "--size 32")
        assert main(shlex.split(small.replace("--epochs 10", "--epochs 1").replace("channels 32", "channels 8"))) == 0
    assert "2026-11-25" in capsys.readouterr().out
    names = [row["name"] for row in json.loads((tmp_path / "monitor" / "monitor.json").read_text())["windows"]]
    assert names == [f"2026-11-{day}" for day in range(21, 26)]

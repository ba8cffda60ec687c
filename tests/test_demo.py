"""The demo runs the main job from nothing, says what it found, and continues where it stopped."""

import re

import pandas as pd
import pytest

from emodo import runs
from emodo.demo import _compare, demo
from emodo.records import InputError


def printed(out, capsys):
    capsys.readouterr()
    page = demo(out, subjects=2, epochs=1)
    return page, *capsys.readouterr()


def times(folder):
    """When each file of the data and the runs was written; the comparison and the report are made anew."""
    return {
        str(file.relative_to(folder)): file.stat().st_mtime_ns
        for file in folder.rglob("*")
        if file.is_file() and file.parent.name != "validation" and file.suffix != ".html"
    }


def test_it_trains_compares_and_reports_and_a_second_call_only_prints_again(tmp_path, capsys):
    out = tmp_path / "demo"
    page, text, progress = printed(out, capsys)

    names = ("ERM", "IERN", "StyleIntervention")
    erm, iern, ours = (out / "fold1-seed0-2-1" / name for name in names)
    scores = [runs.scores(run) for run in (erm, iern, ours)]
    assert [found["n"] for found in scores] == [36, 36, 36]
    assert "out of distribution\n" not in progress  # data on stdout, progress on stderr
    assert "generating 108 faces" in progress
    assert "training IERN, 1 epochs" in progress

    for name, found in zip(names, scores, strict=True):
        line = next(line for line in text.splitlines() if line.split()[:1] == [name])
        inside = pd.read_parquet(out / "fold1-seed0-2-1" / name / "validation" / runs.PREDICTIONS)
        shown = re.findall(r"\d+\.\d%", line)
        expected = [
            (inside["predicted"] == inside["emotion"]).mean(),
            found["accuracy"],
            found["macro_accuracy"],
            found["worst_cell"]["accuracy"],
        ]
        assert shown == [f"{share:.1%}" for share in expected]
        assert f"{name}, out of distribution: % of each true emotion" in text
    assert "(36 images)" in text
    differences = []
    for name, found in zip(names[1:], scores[1:], strict=True):
        points = 100 * (found["accuracy"] - scores[0]["accuracy"])
        side = "above" if points > 0 else "below"
        differences.append(f"{name} is {abs(points):.1f} points {side} ERM" if points else f"{name} is as good as ERM")
    assert f"On the 36 test images of this fold, {' and '.join(differences)}." in text
    assert "One fold and one seed prove little" in text

    assert page == out / "report.html"
    assert "<html" in page.read_text(encoding="utf-8")
    assert runs.config(erm)["manifest"] == runs.config(iern)["manifest"]  # the same data and nets
    assert runs.config(erm)["backbone"] == runs.config(iern)["backbone"]

    before, report = times(out), page.read_bytes()
    again, text_again, progress_again = printed(out, capsys)
    assert times(out) == before
    assert (again, text_again) == (page, text)
    assert page.read_bytes() == report
    assert "training" not in progress_again
    assert progress_again.count("is complete") == 3

    # a demo that was interrupted between training and scores
    (iern / runs.SCORES).unlink()
    (iern / runs.WEIGHTS).unlink()
    assert printed(out, capsys)[1] == text
    changed = {name for name, when in times(out).items() if before.get(name) != when}
    assert changed
    assert all(name.startswith(str(iern.relative_to(out))) for name in changed)


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(InputError, match="demo is a file: name a folder with --out"):
        demo(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "mine"


def scored(accuracy, n=10):
    counts = {"rows": ["joy", "fear"], "columns": ["joy", "fear"], "counts": [[3, 1], [0, 0]]}
    worst = {"emotion": "joy", "stratum": "web", "n": 4, "accuracy": 0.25}
    return {"n": n, "accuracy": accuracy, "macro_accuracy": 0.5, "worst_cell": worst, "confusion": counts}


@pytest.mark.parametrize(("iern", "words"), [(0.65, "15.0 points above ERM"), (0.2, "30.0 points below ERM")])
def test_the_sentence_says_which_way_it_went(capsys, iern, words):
    _compare([("ERM", scored(0.5), scored(0.9, 7)), ("IERN", scored(iern), scored(0.8, 7))])
    text = capsys.readouterr().out
    assert f"On the 10 test images of this fold, IERN is {words}" in text
    assert "(7 images)" in text
    rows = [line.split() for line in text.splitlines()]
    assert rows.count(["joy", "75", "25"]) == 2
    assert rows.count(["fear", "-", "-"]) == 2  # nothing was tested

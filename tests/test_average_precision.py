"""A report on rows of several emotions shows average precision, and nothing that asks for one emotion a row."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import runs
from emodo.records import Confounder, InputError, Task
from emodo.reporting import report

TASK = Task(("anger", "joy", "peace & <i>quiet"), Confounder("place", ("lab", "street"), (0.5, 0.5)), multilabel=True)
# anger alone is never shown in training on the street; peace is shown in training only
TRAINING = [("anger|joy", "lab"), ("peace & <i>quiet", "lab"), ("joy|peace & <i>quiet", "street")]
TESTED = [("anger|joy", "lab"), ("joy", "lab"), ("anger", "street"), ("anger|joy", "street"), ("joy", "street")]
GOOD = np.array([[2, 2, 0], [-1, 1, 0], [1, -2, 0], [3, 3, 0], [-2, 0, 0]])
BAD = np.array([[2, -2, 0], [3, 1, 0], [1, 3, 0], [-3, 2, 0], [-2, 0, 0]])


def run(folder, name, logits, task=TASK):
    table = pd.DataFrame(TESTED, columns=["emotion", "stratum"])
    table.insert(0, "path", [f"test{at}.png" for at in range(5)])
    table["predicted"] = ""
    for at, emotion in enumerate(task.emotions):
        table[f"logit:{emotion}"] = logits[:, at].astype(float)
        table[f"p:{emotion}"] = 1 / (1 + np.exp(-logits[:, at].astype(float)))
    config = {"manifest": str(folder / "people.csv"), "seed": 0, "method": {"class_path": "emodo.methods.CCIM"}}
    runs.create(folder / name, config, task, {})
    table.to_parquet(folder / name / runs.PREDICTIONS)
    (folder / name / runs.SCORES).write_text("{}")  # the page computes its own
    pd.DataFrame({"epoch": [1, 2], "classifier": [2.5, 0.5]}).to_csv(folder / name / runs.METRICS, index=False)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    rows = [(f"train{at}.png", *row, "train") for at, row in enumerate(TRAINING)]
    rows += [(f"test{at}.png", *row, "test") for at, row in enumerate(TESTED)]
    for name, *_ in rows:
        Image.new("RGB", (20, 10)).save(folder / name)
    table = pd.DataFrame(rows, columns=["path", "emotion", "place", "split"])
    table.to_csv(folder / "people.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    compared = [run(folder, "good", GOOD), run(folder, "bad", BAD)]
    return report(compared, folder / "report.html").read_text(encoding="utf-8")


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("\N{NO-BREAK SPACE}", " ").split())


def rows(page, caption):
    """The rows of the table with this caption, as the texts of their cells."""
    [table] = [found for found in re.findall(r"<table>.*?</table>", page, re.DOTALL) if caption in found]
    return [
        [text(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in table.split("<tr>")[1:]
    ]


def test_the_summary_and_the_comparison_are_the_scores(page):
    # good ranks every holder first; bad has one image before them, and of anger one before the last
    anger, joy = (1 / 2 + 2 / 3 + 3 / 5) / 3, (1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 4
    mean = 100 * (anger + joy) / 2
    shown = text(page)
    assert (
        "good and bad were tested on the same 5 images of people.csv (split test), which may show several of" in shown
    )
    assert "3 emotions in 2 strata of place." in shown
    assert f"good has a mean average precision of 100.0 %, bad of {mean:.1f} %: {100 - mean:.1f} points apart" in shown
    assert "Training never showed 1 of the 6 combinations of an emotion and a stratum." in shown
    head, good, bad = rows(page, "Average precision on the test images")
    assert head == ["run", "method", "mean", "anger", "joy", "peace &amp; &lt;i&gt;quiet"]
    assert good == ["good", "CCIM", "100.0 %", "100.0 % n = 3", "100.0 % n = 4", "not tested"]
    assert bad == [
        "bad",
        "CCIM",
        f"{mean:.1f} %",
        f"{100 * anger:.1f} % n = 3",
        f"{100 * joy:.1f} % n = 4",
        "not tested",
    ]
    assert "Mean average precision: good 100.0" in page  # the figure's title
    assert "average precision in %" in page  # and its axis


def test_each_stratum_is_ranked_by_itself(page):
    head, lab, street = rows(page, "Mean average precision<")
    assert head == ["stratum", "good", "bad"]
    # bad, lab: anger 3 (not) 2 -> 1/2, joy 1 -2, both held -> 1; street: anger 1 (held) -2 -3 (held), joy 3 (not) 2 0
    assert lab == ["lab", "100.0 % of 2", f"{100 * (1 / 2 + 1) / 2:.1f} % of 2"]
    anger, joy = (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
    assert street == ["street", "100.0 % of 3", f"{100 * (anger + joy) / 2:.1f} % of 3"]


def test_an_image_counts_in_each_of_its_emotions_and_once_among_the_images(page):
    _, lab, street = rows(page, "Training: 3 images")
    assert lab == ["lab", "1", "1", "1"]
    assert street == ["street", "none", "1", "1"]
    _, lab, street = rows(page, "Test: 5 images")
    assert lab == ["lab", "1", "2", "none"]
    assert street == ["street", "2", "2", "none"]


def test_nothing_on_the_page_asks_for_one_emotion_a_row(page):
    shown = text(page)
    for phrase in ("Accuracy", "accuracy", "Confusion of emotions", "Right answers", "worst cell", "One image under"):
        assert phrase not in shown, phrase
    assert "classifier" in shown
    assert not re.findall(r"https?://(?!www\.w3\.org)", page)


def test_runs_of_one_and_of_several_emotions_are_not_compared(folder, tmp_path):
    single = Task(TASK.emotions, TASK.confounder)
    several, one = run(folder, "several", GOOD), run(folder, "one", GOOD, single)
    with pytest.raises(InputError, match=r"^one recognises one emotion a row and several several: report them sep"):
        report([several, one], tmp_path / "report.html")
    with pytest.raises(InputError, match=r"^one recognises one emotion a row"):
        report([one, several], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_without_strata_and_without_the_manifest_the_rest_is_there(folder, tmp_path):
    made = run(tmp_path, "alone", GOOD, Task(TASK.emotions, multilabel=True))
    table = pd.read_parquet(made / runs.PREDICTIONS).assign(stratum=None)
    table.to_parquet(made / runs.PREDICTIONS)
    page = report([made], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alone has a mean average precision of 100.0 %." in text(page)
    assert "No sample images and no counts of training images" in page
    assert "in each stratum</h2>" not in page
    assert rows(page, "Test: 5 images")[1] == ["all images", "3", "4", "none"]

"""The report as a reader's browser gets it: whole, safe, readable, and true to the numbers."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import figures, runs, sensitivity
from emodo.records import Confounder, InputError, Task
from emodo.reporting import report

EMOTIONS = ("anger", "joy", "<script>alert(1)</script>")
STRATA = ("lab", '"><img src=x onerror=alert(2)>')
TASK = Task(EMOTIONS, Confounder("place", STRATA, (0.5, 0.5)))
VOID = {"meta", "img", "br", "link", "hr", "input"}
CSS = Path(figures.__file__).parent / "templates" / "report.css"


class Page(HTMLParser):
    """Every element with its attributes and its text, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(html)
        assert not self.open, f"not closed: {self.open[-1]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, {name: value or "" for name, value in attrs}, [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element[2].append(data)

    def all(self, *tags: str) -> list[tuple[str, dict[str, str], str]]:
        return [
            (tag, attributes, " ".join("".join(text).split())) for tag, attributes, text in self.elements if tag in tags
        ]

    def texts(self, *tags: str) -> list[str]:
        return [text for _, _, text in self.all(*tags)]


def images(folder: Path, task: Task = TASK) -> pd.DataFrame:
    """Two images a cell in each split; the first emotion's first stratum is absent from training."""
    rows: list[tuple[str, str, str, str]] = []
    for e, emotion in enumerate(task.emotions):
        for s, stratum in enumerate(task.strata):
            for split in ("train", "test"):
                for i in range(2):
                    name = f"{split} & <b>{e}{s}{i}.png"
                    Image.new("RGB", (20, 10), (80 * e % 256, 120 * s % 256, 90)).save(folder / name)
                    if not (split == "train" and e == s == 0):
                        rows.append((name, emotion, stratum, split))
    table = pd.DataFrame(rows, columns=["path", "emotion", "place", "split"])
    table.to_csv(folder / "faces.csv", index=False)
    return table


def predicted(table: pd.DataFrame, task: Task = TASK, wrong: int = 3, strata: bool = True) -> pd.DataFrame:
    """Predictions in which the first `wrong` images are taken for the next emotion."""
    test = table[table["split"] == "test"].reset_index(drop=True)
    truth = np.array([task.emotions.index(emotion) for emotion in test["emotion"]])
    guess = np.where(np.arange(len(test)) < wrong, (truth + 1) % len(task.emotions), truth)
    found = pd.DataFrame(
        {
            "path": test["path"],
            "emotion": test["emotion"],
            "stratum": test["place"],
            "predicted": np.array(task.emotions, dtype=object)[guess],
        }
    )
    for e, emotion in enumerate(task.emotions):
        found[f"p:{emotion}"] = np.where(guess == e, 0.77, 0.115)
        for s, stratum in enumerate(task.strata if strata else ()):
            found[f"p:{emotion}|{stratum}"] = np.where(guess == e, 0.77 + 0.1 * s, 0.115 - 0.05 * s)
    return found.assign(stratum_predicted=found["stratum"]) if strata else found


def run(
    folder: Path, predictions: pd.DataFrame, task: Task = TASK, method: str = "IERN", manifest: str = "faces.csv"
) -> Path:
    config = {
        "manifest": str(folder.parent / manifest),
        "seed": 7,
        "method": {"class_path": f"emodo.methods.{method}", "init_args": {"note": "</pre><script>"}},
    }
    runs.create(folder, config, task, {})
    predictions.to_parquet(folder / runs.PREDICTIONS)
    (folder / runs.SCORES).write_text("{}")  # the page computes its own
    losses = pd.DataFrame({"epoch": [0, 1, 2], "step": [5, 10, 15], "classifier": [2.5, 1.5, 0.5]})
    losses.to_csv(folder / runs.METRICS, index=False)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("two")
    table = images(folder)
    return [
        run(folder / "iern", predicted(table)),
        run(folder / "erm", predicted(table, wrong=6, strata=False), method="ERM"),
    ]


@pytest.fixture(scope="module")
def page(two: list[Path]) -> Page:
    out = report(two, two[0].parent / "report.html")
    return Page(out.read_text(encoding="utf-8"))


def made(folders: list[Path]) -> Page:
    return Page(report(folders, folders[0].parent / "made.html", overwrite=True).read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    for tag, attributes, _ in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert "http:" not in value
            assert "https:" not in value
            if name in {"src", "href", "xlink:href", "srcset", "data", "action"}:
                assert value.startswith(("data:image/jpeg;base64,", "#"))
    assert set(re.findall(r"url\((.)", page.html)) <= {"#"}
    assert "@import" not in page.html
    policies = [attributes for _, attributes, _ in page.all("meta") if "http-equiv" in attributes]
    assert [policy["http-equiv"] for policy in policies] == ["Content-Security-Policy"]
    assert policies[0]["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_names_from_the_data_stay_text(page: Page) -> None:
    assert "<script>alert(1)</script>" in page.texts("th")
    assert any('"><img src=x onerror=alert(2)>' in text for text in page.texts("th"))
    assert "<script>alert(1)</script>" in page.texts("text")  # in the figures too
    assert any("</pre><script>" in text for text in page.texts("pre"))
    assert any("test & <b>000.png" in text for text in page.texts("p"))
    assert not page.all("b", "script")


def test_headings_are_in_order(page: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.all("html")[0][1]["lang"] == "en"
    assert page.texts("title")[0] == page.texts("h1")[0] == "emodo report: iern, erm"


def test_images_and_figures_have_names_of_their_own(page: Page) -> None:
    assert len(page.all("img")) == 11 + 5  # every cell but the one without training images, and the examples
    assert all(attributes["alt"].strip() for _, attributes, _ in page.all("img"))
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {attributes["id"]: text for _, attributes, text in page.all("title") if "id" in attributes}
    shown = [attributes for _, attributes, _ in page.all("svg") if "aria-hidden" not in attributes]
    # Two of the verdict, the audit, accuracies, strata, two confusions in three parts, one of the stratum, one loss.
    assert len(shown) == 13
    assert all(attributes["role"] == "img" and named[attributes["aria-labelledby"]] for attributes in shown)
    assert "Accuracy: iern 75.0 %; erm 50.0 %" in named.values()
    assert "classifier by epoch: iern 2.5 to 0.5; erm 2.5 to 0.5" in named.values()
    for _, attributes, _ in page.all("use"):
        assert attributes["href"].removeprefix("#") in ids


def test_tables_have_captions_scopes_and_full_rows(page: Page) -> None:
    assert len(page.texts("caption")) == len(page.all("table"))
    assert all(attributes.get("scope") in {"row", "col"} for _, attributes, _ in page.all("th"))
    for table in re.findall(r"<table>.*?</table>", page.html, re.DOTALL):
        rows = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in rows}
        assert len(widths) == 1
    # Whatever is wide scrolls in a box that the keyboard can reach.
    boxes = [attributes for _, attributes, _ in page.elements if attributes.get("class") == "wide"]
    assert len(boxes) == len(page.all("table", "figure", "pre"))
    assert all(attributes["tabindex"] == "0" for attributes in boxes)


def test_the_numbers_are_those_of_the_runs(page: Page) -> None:
    assert page.texts("p")[:3] == [
        "iern and erm were tested on the same 12 images of faces.csv (split test), of 3 emotions in 2 strata of place.",
        "iern is right on 75.0 % of them, erm on 50.0 %: 25.0 points apart.",
        "Training never showed 1 of the 6 combinations of an emotion and a stratum; 2 of the 12 test images "
        "(16.7 %) are of these.",
    ]
    iern = page.html[page.html.index("Accuracy on the test images") :]
    row = re.findall(r"<tr>.*?</tr>", iern, re.DOTALL)[1]
    assert re.findall(r"\d+\.\d", row) == ["75.0", "75.0", "0.0", "0.0", "25.0", "100.0", "100.0"]
    assert "anger, lab (n = 2)" in row
    assert re.findall(r'<td class="best">(\d+\.\d)', page.html) == ["75.0", "75.0", "25.0", "100.0"]
    assert row.count('class="best"') == 4  # ties are no best
    assert page.html.count('<td class="absent">none</td>') == 1
    assert page.html.count('class="unseen"') == 3  # the test images, and the accuracy of each run
    assert "2.5 to 0.5" in page.texts("td")
    # One image of each cell: three of the cells with a right one, and the two with a wrong one. The second
    # stratum gives .87 to what is predicted, the first and both together .77.
    assert page.texts("td").count("87") == 5
    assert page.texts("td").count("77") == 10
    captions = page.texts("caption")
    assert captions.count("anger, taken for joy") == 2
    assert len([caption for caption in captions if caption.endswith(", recognised")]) == 3


def test_figures_follow_the_theme(page: Page) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", page.html, re.DOTALL))
    assert not figures.STAND_IN.search(drawn)
    used = set(re.findall(r"var\((--[\w-]+)\)", page.html))
    for theme in themes():
        assert used - {"--share"} <= theme.keys()
    assert {"--ink", "--shade", "--rule", "--run-0", "--run-1"} <= used


def test_text_can_be_read_in_both_themes() -> None:
    for theme in themes():
        for ink, ground in (
            ("ink", "page"),
            ("ink", "shade"),
            ("ink", "panel"),
            ("quiet", "page"),
            ("absent", "absent-fill"),
            ("absent", "page"),
            ("run-0", "page"),  # links
        ):
            assert contrast(theme[f"--{ink}"], theme[f"--{ground}"]) >= 4.5
        for slot in range(figures.RUN_COLOURS):
            assert contrast(theme[f"--run-{slot}"], theme["--page"]) >= 3


def themes() -> list[dict[str, str]]:
    found = re.findall(r":root \{(.*?)\}", CSS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 2
    return [dict(re.findall(r"(--[\w-]+): (#\w+);", block)) for block in found]


def contrast(a: str, b: str) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_same_runs_give_the_same_small_page(two: list[Path], page: Page, tmp_path: Path) -> None:
    again = report(two, tmp_path / "deep" / "again.html")
    assert again.read_text(encoding="utf-8") == page.html
    assert 20_000 < again.stat().st_size < 300_000


def test_without_manifest_or_images_the_page_says_so(tmp_path: Path) -> None:
    table = images(tmp_path)
    folder = run(tmp_path / "iern", predicted(table))
    table[table["path"] != "train & <b>110.png"].to_csv(tmp_path / "faces.csv", index=False)
    assert not any("has changed" in note for note in notes(made([folder])))
    sha = {"torch": "2.x", "manifest_sha256": "0" * 64}
    (folder / runs.PROVENANCE).write_text(json.dumps(sha), encoding="utf-8")
    told = made([folder])
    assert any("has changed" in note for note in notes(told))
    assert {"2.x", "0" * 64} <= set(told.texts("td"))
    (folder / runs.PROVENANCE).unlink()
    table[table["path"] != "test & <b>000.png"].to_csv(tmp_path / "faces.csv", index=False)
    assert any("has changed" in note for note in notes(made([folder])))

    for image in tmp_path.glob("test*.png"):
        image.unlink()
    table.to_csv(tmp_path / "faces.csv", index=False)
    blind = made([folder])
    assert len(blind.all("img")) == 5
    assert [note for note in notes(blind) if re.match(r"\d+ of \d+ sample images could not be shown", note)]
    assert "Training: 10 images" in blind.texts("caption")

    table.drop(columns="split").to_csv(tmp_path / "faces.csv", index=False)
    assert any("no column split" in note for note in notes(made([folder])))

    (tmp_path / "faces.csv").unlink()
    bare = made([folder])
    assert "What a model could cheat with" not in bare.texts("h2")
    assert any("manifest cannot be used" in note and "faces.csv" in note for note in notes(bare))
    assert not bare.all("img")
    assert "Test: 12 images" in bare.texts("caption")
    assert not any("Training:" in caption for caption in bare.texts("caption"))
    assert not any(text.startswith("Training") for text in bare.texts("p"))


def notes(page: Page) -> list[str]:
    return [text for _, attributes, text in page.all("p") if attributes.get("class") == "note"]


def test_a_run_without_confounder_borrows_the_strata_or_does_without(tmp_path: Path) -> None:
    table = images(tmp_path)
    blank = predicted(table, strata=False).assign(stratum=None)
    grouped = run(tmp_path / "iern", predicted(table))
    plain = run(tmp_path / "erm", blank, Task(EMOTIONS), "ERM")
    assert made([plain, grouped]).texts("td").count("0.0 % anger, lab (n = 2)") == 2
    alone = made([plain])
    assert "all images" in alone.texts("th")
    assert "Accuracy in each stratum" not in alone.texts("h2")
    comparison = alone.html[alone.html.index("Accuracy on the test images") :]
    assert "worst cell" not in comparison[: comparison.index("</table>")]
    (plain / runs.METRICS).unlink()
    assert "These runs hold no losses." in made([plain]).texts("p")


def test_unusual_names_and_many_strata_are_shown(tmp_path: Path) -> None:
    strata = tuple(f"scene {k}" for k in range(20))
    task = Task(("喜び", "$x$", "a\x01b"), Confounder("place", strata, (0.05,) * 20))
    table = images(tmp_path, task)
    folder = run(tmp_path / "ccim", predicted(table, task), task)
    shown = made([folder])
    assert {"喜び", "$x$", "a\N{REPLACEMENT CHARACTER}b"} <= set(shown.texts("text"))
    assert "Test: 120 images; the 12 of 20 strata with most test images" in shown.texts("caption")
    html = shown.html[shown.html.index("ccim: true and predicted stratum, 100.0") :]
    rows = re.findall(r"<tr>.*?</tr>", html[html.index("<table>") : html.index("</table>")], re.DOTALL)
    counts = [int(n) for row in rows[1:] for n in re.findall(r"<td[^>]*>(\d+)", row)[:-1]]
    assert len(counts) == 13 * 13
    assert counts[-1] == 8 * 6  # the strata that are joined, and no image lost
    assert sum(counts) == 120


def test_what_cannot_be_compared_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    table = images(tmp_path)
    good = run(tmp_path / "good", predicted(table))
    other = Task(("anger", "joy", "fear"), TASK.confounder)
    twisted = predicted(table)
    twisted["emotion"] = ["joy", *twisted["emotion"][1:]]
    moved = predicted(table)
    moved["stratum"] = [STRATA[1], *moved["stratum"][1:]]
    unknown = predicted(table)
    unknown["predicted"] = "awe"
    short = predicted(table).drop(columns="predicted")
    blind = run(tmp_path / "blind", predicted(table))
    (blind / runs.PREDICTIONS).unlink()
    growing = tmp_path / "growing"
    runs.create(growing, {"manifest": "m.csv", "method": {"class_path": "emodo.methods.ERM"}}, TASK, {})
    broken = run(tmp_path / "broken", predicted(table))
    (broken / runs.PREDICTIONS).write_bytes(b"PAR1 no")
    cases: list[tuple[list[Path], str]] = [
        ([], "no run to report"),
        ([good, tmp_path / "two" / ".." / "good"], "given twice"),
        ([tmp_path], "is not a run"),
        ([good, growing], "growing has no scores.json: its training has not finished"),
        ([broken], "broken cannot be read as a run"),
        ([good, blind], "blind has no predictions.parquet: its training has not finished"),
        ([good, run(tmp_path / "feelings", predicted(table), other)], "feelings has other emotions .* than"),
        (
            [good, run(tmp_path / "fewer", predicted(table).iloc[1:])],
            "fewer was tested on other images than "
            r"good \(11 rows and 12, and only one of them has test & <b>000.png\)",
        ),
        ([good, run(tmp_path / "labels", twisted)], "another true emotion than good in 1 rows .*000.png is"),
        ([good, run(tmp_path / "strata", moved)], "strata groups the test images by other strata than good"),
        ([run(tmp_path / "awe", unknown)], "awe: row 0 of the predictions has predicted 'awe'"),
        ([run(tmp_path / "short", short)], "short: .*no column predicted"),
    ]
    for folders, message in cases:
        with pytest.raises(InputError, match=message):
            report(folders, tmp_path / "report.html")
    assert not list(tmp_path.glob("*.html"))


def test_a_sweep_is_shown_or_what_is_wrong_with_it_is_said(two: list[Path], tmp_path: Path) -> None:
    for wrong, message in ((None, "has no sweep.json: give the --out folder"), ("[1]", "is damaged"), ("{", "damaged")):
        if wrong:
            (tmp_path / "sweep.json").write_text(wrong)
        with pytest.raises(InputError, match=message):
            report(two, tmp_path / "report.html", sweep=tmp_path)
    assert not (tmp_path / "report.html").exists()
    varied = {"method.lambda_center": [1e-4, 1e-3]}
    settings = [
        sensitivity.row(
            {"method.lambda_center": value}, {"test": {0: {"<b>": {"n": 4, "accuracy": 0.25 * at}}}}, ["<b>"]
        )
        | {"runs": "", "seconds": None, "failures": []}
        for at, value in enumerate(varied["method.lambda_center"], 1)
    ]
    table = {"kind": "grid", "method": "IERN", "varied": varied, "folds": ["<b>"], "seeds": [0], "parts": ["test"]}
    (tmp_path / "sweep.json").write_text(json.dumps(table | {"settings": settings, "best": []}))
    report(two, tmp_path / "report.html", sweep=tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {"25.0", "50.0", "1e-3"} <= {*page.texts("td"), *page.texts("th")}
    assert any(text.startswith("IERN on <b>. 1 seed") for text in page.texts("li"))
    assert "IERN, accuracy in % by method.lambda_center" in page.texts("title")


def test_json_has_all_numbers_of_the_page(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(trained, tmp_path / "report.html", accelerator="cpu", json=True) is None
    printed = capsys.readouterr()
    assert "emodo report: IERN: context features of 72 images" in printed.err
    told = json.loads(printed.out)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {run["name"]: run["scores"] for run in told["runs"]} == {run.name: runs.scores(run) for run in trained}
    assert [part["name"] for part in told["parts"]] == ["validation images", "test images"]
    cells = {"".join(text.split()) for text in page.texts("td")}
    iern = told["runs"][1]
    for group in iern["contexts"]["groups"].values():
        assert f"{100 * group['own_center']:.1f}%" in cells
        assert f"{100 * group['own_neighbours']:.1f}%" in cells
    assert len(iern["contexts"]["points"]) == len(iern["contexts"]["strata"]) == 72
    assert told["runs"][0]["contexts"] is None
    assert {look["path"] for look in iern["looks"]} <= set(page.texts("th"))
    for part in told["parts"]:
        for found in part["scores"].values():
            assert f"{100 * found['accuracy']:.1f}%of{found['n']}" in cells
    for found in iern["divided"]:
        assert sum(found["p_do"].values()) == pytest.approx(1)
        assert {f"{100 * p:.0f}" for p in found["p_do"].values()} <= cells
    assert len(iern["losses"]["epoch"]) == 2
    assert iern["provenance"]["weights_sha256"] in cells
    assert iern["command"] in page.texts("pre")
    assert sum(sum(of.values()) for of in told["counts"]["test"].values()) == 72
    assert told["sweep"] is None
    assert f"The audit of the training rows: {told['audit']['verdict']}." in page.texts("p")
    assert told["audit"]["columns"][0]["column"] == "source"
    assert told["verdict"]["sentences"]
    assert set(told["verdict"]["sentences"]) <= set(page.texts("p"))


def test_without_weights_the_page_says_what_is_missing(trained: list[Path], tmp_path: Path) -> None:
    shutil.copytree(trained[1], tmp_path / "IERN")
    (tmp_path / "IERN" / runs.WEIGHTS).unlink()
    page = made([tmp_path / "IERN"])
    assert [note for note in notes(page) if "IERN has no weights.safetensors" in note]
    assert "Where the network looks" not in page.texts("h2")
    assert "the file is gone" in page.texts("td")
    assert any("that takes validation rows" in text for text in page.texts("p"))


def test_an_existing_page_is_replaced_only_on_demand(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already: choose another --out, or replace it"):
        report(two, out)
    with pytest.raises(InputError, match="exists already"):
        report(two, tmp_path, overwrite=True)
    assert out.read_text() == "mine"
    assert report(two, out, overwrite=True) == out
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    table = images(tmp_path)
    folders = [
        run(tmp_path / seed / "erm", predicted(table, wrong=at), manifest="../faces.csv")
        for at, seed in enumerate(("a", "b"))
    ]
    page = made(folders)
    names: list[Any] = page.texts("h3")
    assert str(folders[0]) in names
    assert str(folders[1]) in names
    told = f"No verdict: {folders[0]} and {folders[1]} are the same method, seed and test rows: give one."
    assert told in notes(page)
    assert "Verdict" not in page.texts("h2")

"""What a sweep found: seeds that have all folds count, held-out rows choose, and the figure shows each number."""

import re
from xml.etree import ElementTree

import pytest

from emodo import sensitivity
from emodo.statistics import student

FOLDS = ["fold1", "fold2"]
RATE = "method.lr"


def scores(*seeds):
    """Scores of a part: for each seed the accuracies of the folds, of 100 and 300 images."""
    return {
        seed: {fold: {"n": n, "accuracy": share} for fold, n, share in zip(FOLDS, (100, 300), found, strict=False)}
        for seed, found in enumerate(seeds)
    }


def table(settings, kind="grid", parts=("held_out", "test"), shares=None):
    rows = []
    for at, setting in enumerate(settings):
        share = shares[at] if shares else 0.5 + 0.01 * at
        found = {part: scores((share, share), (share + 0.02, share + 0.02)) for part in parts}
        rows.append(sensitivity.row(setting, found, FOLDS) | {"runs": "", "seconds": 2.0, "failures": []})
    varied = {name: list(dict.fromkeys(setting[name] for setting in settings)) for name in settings[0]}
    chosen = {fold: row for fold in FOLDS if (row := sensitivity.best(rows, fold))}
    best = [
        {
            "fold": fold,
            "setting": row["setting"],
            "held_out": row["held_out"]["folds"][fold]["mean"],
            "command": "emodo",
        }
        for fold, row in chosen.items()
    ]
    return {
        "kind": kind,
        "method": "IERN",
        "varied": varied,
        "folds": FOLDS,
        "seeds": [0, 1],
        "parts": list(parts),
        "settings": rows,
        "best": best,
    }


def test_folds_are_pooled_by_images_and_a_seed_counts_with_all_of_them():
    found = {"held_out": scores((0.5, 0.9), (0.7, 0.9), (0.1,)), "test": scores((0.1,))}
    row = sensitivity.row({RATE: 1e-3}, found, FOLDS)
    pooled = [(50 + 270) / 400, (70 + 270) / 400]
    assert row["held_out"]["seeds"] == pytest.approx(pooled)
    assert row["held_out"]["mean"] == pytest.approx(sum(pooled) / 2)
    assert (row["held_out"]["low"], row["held_out"]["high"]) == pytest.approx(student(pooled))
    assert row["held_out"]["folds"]["fold1"]["mean"] == pytest.approx(0.6)
    assert row["test"] is None


def test_the_best_is_chosen_by_held_out_rows_of_its_fold_among_what_did_not_fail():
    found = table([{RATE: rate} for rate in (1e-4, 1e-3, 1e-2)])["settings"]
    found[2]["test"]["folds"]["fold1"]["mean"] = 0.0
    assert sensitivity.best(found, "fold1") is found[2]
    found[0]["held_out"]["folds"]["fold1"]["mean"] = 0.99
    assert sensitivity.best(found, "fold1") is found[0]
    assert sensitivity.best(found, "fold2") is found[2]
    found[0]["failures"] = [{"run": "a", "reason": "b"}]
    assert sensitivity.best(found, "fold1") is found[2]
    assert sensitivity.best([found[0]], "fold1") is None
    assert sensitivity.best(table([{RATE: 1e-4}], parts=["test"])["settings"], "fold1") is None


def test_a_search_is_shown_the_best_first_and_what_is_equal_is_told():
    settings = [{RATE: rate} for rate in (1e-4, 1e-3, 1e-2)]
    found = table(settings, "search", ["held_out"], [0.5, 0.75, 0.75])
    head, body = sensitivity.shown(found)
    assert head == [RATE, "held-out", "held-out by fold", "s a run", ""]
    assert [line[0] for line in body] == ["1e-3", "0.01", "1e-4"]
    assert body[0][2:] == ["76.0 / 76.0", "2", "best"]
    told = sensitivity.notes(found)
    assert "Best on fold1, 76.0 % held-out (as good as 1 other): emodo" in told
    assert not any("Figure 8" in note for note in told)
    assert sensitivity.shown(table(settings, shares=[0.5, 0.75, 0.75]))[1][0][0] == "1e-4"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5e-4, "5e-4"),
        (1.25e-5, "1.25e-5"),
        (-5e-4, "-5e-4"),
        (0.001, "1e-3"),
        (0.05, "0.05"),
        (1.0, "1"),
        (0.0, "0"),
        (40, "40"),
        ("pooled", "pooled"),
        (None, "null"),
        (True, "true"),
        ([0.5, 0.9], "[0.5, 0.9]"),
    ],
)
def test_values_are_written_as_people_do(value, text):
    assert sensitivity.value_text(value) == text


def drawn(found):
    """The figure's texts, and how many marks it has in the colour of each part."""
    svg = sensitivity.figure(found)
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    return texts, {part: len(re.findall(rf"<use [^>]*stroke: {colour}", svg)) for part, colour in PART_COLOURS.items()}


PART_COLOURS = {"test": "#0b62b4", "held_out": "#b3541e"}


def test_one_parameter_is_a_curve_with_every_seed():
    texts, marks = drawn(table([{RATE: rate} for rate in (1e-5, 1e-4, 1e-3, 1e-2)]))
    assert texts[:4] == ["1e-5", "1e-4", "1e-3", "0.01"]
    assert {"method.lr of IERN", "accuracy in %", "test part", "training rows held out"} <= set(texts)
    # a point a setting and one a seed, and one in the legend
    assert marks == {"test": 4 + 8 + 1, "held_out": 4 + 8 + 1}
    assert drawn(table([{RATE: rate} for rate in (1e-5, 1e-4)], parts=["test"]))[1] == {"test": 7, "held_out": 0}


def ticks(values):
    return drawn(table([{RATE: value} for value in values]))[0][: len(values)]


def test_an_axis_suits_its_values():
    assert ticks([10, 20, 40]) == ["10", "20", "40"]  # linear
    assert ticks([1e-5, 1e-4, 5e-4]) == ["1e-5", "1e-4", "5e-4"]  # logarithmic, room for each
    assert ticks([0.0, 1e-5, 1e-3]) == ["0", "1e-5", "1e-3"]  # beside each other
    assert ticks(["pooled", "stratum"]) == ["pooled", "stratum"]
    crowded = ticks([1e-6, 1e-5, 1e-4, 5e-4, 6e-4, 1e-3, 1.0])
    assert crowded == ["1e-6", "1e-5", "1e-4", "1e-3", "0.01", "0.1", "1"]


def test_two_parameters_are_a_heat_map():
    texts, _ = drawn(table([{RATE: rate, "epochs": epochs} for rate in (1e-4, 1e-3) for epochs in (10, 20)]))
    assert [text for text in texts if re.fullmatch(r"\d\d\.\d", text)] == ["51.0", "52.0", "53.0", "54.0"] * 2
    assert {"epochs", RATE, "1e-4", "1e-3", "10", "20", "accuracy in %, test part"} <= set(texts)


def test_a_search_is_a_panel_a_parameter():
    settings = [{RATE: 10**-at, "method.channels": 16 * at, "epochs": at} for at in range(1, 6)]
    texts, marks = drawn(table(settings, "search", ["held_out"]))
    assert {RATE, "method.channels", "epochs", "held-out accuracy in %"} <= set(texts)
    assert marks == {"test": 0, "held_out": 15}


def test_what_failed_is_left_out_and_nothing_is_no_figure():
    found = table([{RATE: rate} for rate in (1e-5, 1e-4, 1e-3)])
    found["settings"][1] |= {"test": None, "held_out": None, "failures": [{"run": "r", "reason": "why\nand more"}]}
    assert drawn(found)[1] == {"test": 2 + 4 + 1, "held_out": 2 + 4 + 1}
    assert sensitivity.shown(found)[1][1] == ["1e-4", "", "", "", "", "2", "failed"]
    assert "method.lr 1e-4 failed: why (r)" in sensitivity.notes(found)
    assert "1e-04" not in sensitivity.comma_separated(found).splitlines()[0]
    assert sensitivity.comma_separated(found).splitlines()[2] == "0.0001,,,,,,,,,,,0,1,2.0"
    for row in found["settings"]:
        row |= {"test": None, "held_out": None}
    assert sensitivity.figure(found) is None

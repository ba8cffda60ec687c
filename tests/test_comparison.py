"""The table of a grid: every number by hand, and the table as people and programs read it."""

import csv
import io
import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from emodo import comparison, statistics
from emodo.claims import sentences
from emodo.comparison import comma_separated, compare, emotion_lines, figure, headings, lines, markdown, notes
from emodo.records import InputError

EMOTIONS = ("anger", "joy")
# path, emotion, stratum
IMAGES = {
    "a": [("a1", "anger", "lab"), ("a2", "joy", "lab"), ("a3", "joy", "web")],
    "b": [("b1", "anger", "web"), ("b2", "joy", "web")],
}
OTHER = {"anger": "joy", "joy": "anger"}


def predicted(fold, right, images=IMAGES, **columns):
    """Predictions of a fold, from 1 and 0 for right and wrong."""
    frame = pd.DataFrame(images[fold], columns=["path", "emotion", "stratum"])
    answers = [each if hit == "1" else OTHER[each] for each, hit in zip(frame["emotion"], right, strict=True)]
    return frame.assign(predicted=answers, **columns)


def of_seeds(*seeds):
    """{seed: {fold: predictions}} from the answers of each seed, as "110 01"."""
    return {
        seed: {fold: predicted(fold, right) for fold, right in zip("ab", answers.split(), strict=True)}
        for seed, answers in enumerate(seeds)
    }


GRID = {"ERM": of_seeds("110 01", "101 00"), "IERN": of_seeds("111 11", "111 01")}


@pytest.fixture(scope="module")
def table():
    return compare(GRID, ["a", "b"], EMOTIONS, "ERM")


# ---------------------------------------------------------------------------------------- numbers


def test_the_numbers_of_a_method(table):
    erm = table["methods"][0]
    assert (erm["name"], erm["seeds"]) == ("ERM", [0, 1])
    assert erm["accuracy"]["seeds"] == [3 / 5, 2 / 5]
    assert erm["accuracy"]["mean"] == pytest.approx(0.5)
    # t of one degree of freedom, 12.706, times the standard error 0.1
    assert (erm["accuracy"]["low"], erm["accuracy"]["high"]) == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-4)
    assert erm["macro_accuracy"]["seeds"] == pytest.approx([(1 / 2 + 2 / 3) / 2, (1 / 2 + 1 / 3) / 2])
    assert erm["emotions"]["anger"]["seeds"] == [1 / 2, 1 / 2]
    assert erm["emotions"]["joy"]["seeds"] == pytest.approx([2 / 3, 1 / 3])
    assert erm["folds"]["a"]["seeds"] == pytest.approx([2 / 3, 2 / 3])
    assert erm["folds"]["b"]["seeds"] == [1 / 2, 0]
    assert erm["worst_cell"] == {"emotion": "anger", "stratum": "web", "n": 1, "accuracy": 0}
    assert "difference" not in erm


def test_the_numbers_of_the_grid(table):
    assert {name: table[name] for name in ("baseline", "folds", "emotions", "images", "cluster", "clusters")} == {
        "baseline": "ERM",
        "folds": ["a", "b"],
        "emotions": ["anger", "joy"],
        "images": 5,
        "cluster": "image",
        "clusters": 5,
    }
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_the_difference_is_of_pooled_answers(table):
    iern = table["methods"][1]
    assert iern["difference"]["estimate"] == pytest.approx(9 / 10 - 5 / 10)
    assert iern["emotion_differences"]["anger"]["estimate"] == pytest.approx(3 / 4 - 1 / 2)
    assert iern["emotion_differences"]["joy"]["estimate"] == pytest.approx(1 - 1 / 2)
    right = [np.array([[1, 1, 0, 0, 1], [1, 0, 1, 0, 0]], bool), np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 1]], bool)]
    found = statistics.differences(right, 0, np.arange(5), np.array([0, 1, 1, 0, 1]), 2)[1]
    assert iern["difference"] == vars(found[0]) | {"p_holm": found[0].p}
    corrected = statistics.holm([each.p for each in found[1:]])
    assert [iern["emotion_differences"][emotion] for emotion in EMOTIONS] == [
        vars(each) | {"p_holm": p} for each, p in zip(found[1:], corrected, strict=True)
    ]


def test_p_values_are_corrected_over_the_methods_that_are_compared():
    grid = {
        name: of_seeds("110 01", "101 00", answers)
        for name, answers in zip("BACD", ["111 11", *["111 01"] * 3], strict=True)
    }
    grid["E"] = {}
    found = compare(grid, ["a", "b"], EMOTIONS, "A")
    p = [row["difference"]["p"] for row in found["methods"] if "difference" in row]
    assert len(p) == 3
    assert [row["difference"]["p_holm"] for row in found["methods"] if "difference" in row] == statistics.holm(p)


def test_a_seed_without_all_folds_is_left_out():
    grid = {"ERM": GRID["ERM"] | {2: {"a": predicted("a", "111")}}, "IERN": GRID["IERN"]}
    assert compare(grid, ["a", "b"], EMOTIONS, "ERM") == compare(GRID, ["a", "b"], EMOTIONS, "ERM")


def test_more_folds_than_asked_for_are_left_out():
    found = compare(GRID, ["a"], EMOTIONS, "ERM")
    assert found["images"] == 3
    assert found["methods"][0]["accuracy"]["seeds"] == pytest.approx([2 / 3, 2 / 3])


def test_methods_may_have_other_seeds():
    grid = {"ERM": of_seeds("110 01", "101 00", "111 01"), "IERN": of_seeds("111 11")}
    erm, iern = compare(grid, ["a", "b"], EMOTIONS, "ERM")["methods"]
    assert (erm["seeds"], iern["seeds"]) == ([0, 1, 2], [0])
    assert iern["accuracy"] == {"mean": 1, "low": None, "high": None, "seeds": [1]}
    assert iern["difference"]["estimate"] == pytest.approx(1 - (3 + 2 + 4) / 15)


def test_the_worst_cell_is_worst_on_average_and_not_by_the_luck_of_a_seed():
    images = {"a": [("1", "anger", "lab"), ("2", "joy", "lab"), ("3", "joy", "lab"), ("4", "joy", "lab")]}
    seeds = {seed: {"a": predicted("a", right, images)} for seed, right in enumerate(["0100", "1100"])}
    # each seed's own worst: anger x lab 0, then joy x lab 1/3
    (row,) = compare({"ERM": seeds}, ["a"], EMOTIONS, "ERM")["methods"]
    assert row["worst_cell"] == {"emotion": "joy", "stratum": "lab", "n": 3, "accuracy": pytest.approx(1 / 3)}


def test_strata_are_those_of_the_baseline():
    unknown = {
        seed: {fold: each.assign(stratum=pd.Series(None, each.index, dtype="str")) for fold, each in folds.items()}
        for seed, folds in GRID["IERN"].items()
    }
    assert compare(GRID | {"IERN": unknown}, ["a", "b"], EMOTIONS, "ERM") == compare(GRID, ["a", "b"], EMOTIONS, "ERM")


def test_without_strata_there_is_no_worst_cell():
    bare = {"ERM": {0: {"a": predicted("a", "110").assign(stratum=pd.Series(None, range(3), dtype="str"))}}}
    (row,) = compare(bare, ["a"], EMOTIONS, "ERM")["methods"]
    assert row["worst_cell"] is None


def test_clusters_are_those_of_the_images():
    grid = {
        method: {
            seed: {
                fold: each.assign(sequence=["s", "s", "t"][: len(each)], source="lab") for fold, each in folds.items()
            }
            for seed, folds in seeds.items()
        }
        for method, seeds in GRID.items()
    }
    each = compare(grid, ["a", "b"], EMOTIONS, "ERM", "image", 500)
    assert (each["cluster"], each["clusters"], each["replicates"]) == ("image", 5, 500)
    found = compare(grid, ["a", "b"], EMOTIONS, "ERM")
    assert (found["cluster"], found["clusters"]) == ("sequence", 2)
    assert any("over the 2 sequences of the images (bootstrap" in note for note in notes(found))
    with pytest.raises(InputError, match="--cluster subject: no test image has a subject"):
        compare(grid, ["a", "b"], EMOTIONS, "ERM", "subject")


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(path=["a1", "a2", "x"]),
        lambda frame: frame.assign(emotion="joy"),
        lambda frame: frame[::-1].reset_index(drop=True),
        lambda frame: frame[:2],
    ],
    ids=["path", "emotion", "order", "fewer"],
)
def test_other_images_are_refused(change):
    other = {0: {"a": change(predicted("a", "111")), "b": predicted("b", "11")}}
    with pytest.raises(InputError, match="IERN, a, seed 0, was tested on other images: train this grid anew"):
        compare(GRID | {"IERN": other}, ["a", "b"], EMOTIONS, "ERM")


def test_an_emotion_is_worse_or_better_where_its_interval_leaves_out_zero():
    emotions = ("anger", "fear", "joy")
    frame = pd.DataFrame({"path": [f"{at}" for at in range(90)], "emotion": emotions * 30, "stratum": "lab"})
    generator = np.random.default_rng(0)

    def answers(*accuracies):
        hit = generator.random(90) < np.tile(accuracies, 30)
        return {"a": frame.assign(predicted=frame["emotion"].where(hit, "none"))}

    grid = {
        "ERM": {seed: answers(0.5, 0.9, 0.1) for seed in range(3)},
        "IERN": {seed: answers(0.5, 0.2, 0.8) for seed in range(3)},
    }
    found = compare(grid, ["a"], (*emotions, "none"), "ERM")
    row = found["methods"][1]
    assert (row["worse"], row["better"]) == (["fear"], ["joy"])
    assert "none" not in row["emotion_differences"]  # never shown
    assert "none" not in row["emotions"]
    (erm, iern) = emotion_lines(found)
    assert iern[2].endswith(" -")
    assert iern[3].endswith(" +")
    assert not iern[1].endswith(("-", "+"))
    assert iern[4] == erm[4] == "not tested"
    assert lines(found)[1][7] == "1: fear"


# --------------------------------------------------------------------- pairs, and what is out of distribution


WIDE = pd.DataFrame(
    {"path": [f"{at}" for at in range(120)], "emotion": ["anger", "joy"] * 60, "stratum": ["lab"] * 120}
)


def accurate(seed, *shares):
    """Three seeds of a method that is right on this share of the angry and of the joyful images."""
    generator = np.random.default_rng(seed)
    tables = {}
    for at in range(3):
        hit = generator.random(120) < np.tile(shares, 60)
        other = WIDE["emotion"].map({"anger": "joy", "joy": "anger"})
        tables[at] = {"a": WIDE.assign(predicted=WIDE["emotion"].where(hit, other))}
    return tables


LADDER = {
    "ERM": accurate(0, 0.2, 0.2),
    "B": accurate(1, 0.6, 0.6),
    "C": accurate(2, 0.2, 0.2),
    "A": accurate(3, 0.9, 0.9),
}


def test_the_better_ones_are_compared_with_one_another_the_most_accurate_first():
    grid = LADDER | {"D": accurate(4, 0.6, 0.6)}
    found = compare(grid, ["a"], EMOTIONS, "ERM")
    means = {row["name"]: row["accuracy"]["mean"] for row in found["methods"]}
    assert means["B"] > means["D"]  # as they were drawn
    assert [(pair["name"], pair["than"]) for pair in found["pairs"]] == [("A", "B"), ("A", "D"), ("B", "D")]
    for pair in found["pairs"]:
        assert pair["estimate"] == pytest.approx(means[pair["name"]] - means[pair["than"]])
        turned = compare({name: grid[name] for name in (pair["than"], pair["name"])}, ["a"], EMOTIONS, pair["than"])
        alone = turned["methods"][1]["difference"]
        assert (pair["low"], pair["high"], pair["p"]) == pytest.approx((alone["low"], alone["high"], alone["p"]))
    assert [pair["p_holm"] for pair in found["pairs"]] == statistics.holm([pair["p"] for pair in found["pairs"]])
    assert any(said.startswith("Of these, A is the best, by ") for said in sentences(found))


def test_fewer_than_two_better_ones_make_no_pair():
    assert compare({name: LADDER[name] for name in ("ERM", "B", "C")}, ["a"], EMOTIONS, "ERM")["pairs"] == []


def test_images_of_cells_that_training_lacks_are_counted(table):
    assert table["unseen"] is None
    counts = []
    for cells in ([], [("lab", "anger")], [("lab", "anger"), ("lab", "joy")]):
        found = compare(LADDER, ["a"], EMOTIONS, "ERM", unseen={"a": frozenset(cells)})
        counts.append(found["unseen"])
        assert ("unseen_difference" in found["methods"][1]) == (len(cells) == 1)
    assert counts == [0, 60, 120]


def test_the_difference_out_of_distribution_is_that_of_its_images_alone():
    grid = LADDER | {"B": accurate(5, 0.7, 0.2)}
    found = compare(grid, ["a"], EMOTIONS, "ERM", unseen={"a": frozenset([("lab", "anger")])})
    for row in found["methods"][1:]:
        of_anger = row["emotion_differences"]["anger"]
        assert {name: row["unseen_difference"][name] for name in ("estimate", "low", "high", "p")} == pytest.approx(
            {name: of_anger[name] for name in ("estimate", "low", "high", "p")}
        )
    p = [row["unseen_difference"]["p"] for row in found["methods"][1:]]
    assert [row["unseen_difference"]["p_holm"] for row in found["methods"][1:]] == statistics.holm(p)


def test_each_fold_has_its_own_unseen_cells():
    cells = {"a": frozenset([("lab", "anger")]), "b": frozenset([("web", "anger"), ("lab", "anger")])}
    found = compare(GRID, ["a", "b"], EMOTIONS, "ERM", unseen=cells)
    reference = [GRID["ERM"][0][fold].assign(fold=fold) for fold in ("a", "b")]
    rows = pd.concat(reference)[["fold", "stratum", "emotion"]].itertuples(index=False)
    assert found["unseen"] == sum((stratum, emotion) in cells[fold] for fold, stratum, emotion in rows)
    assert 0 < found["unseen"] < found["images"]


# ------------------------------------------------------------------------------- nothing to compare


def test_a_method_that_has_no_seed_is_a_line_and_no_number():
    found = compare(GRID | {"CCIM": {0: {"a": predicted("a", "111")}}, "DFR": {}}, ["a", "b"], EMOTIONS, "ERM")
    assert found["methods"][2:] == [{"name": "CCIM", "seeds": []}, {"name": "DFR", "seeds": []}]
    found["methods"][3]["note"] = "not possible"
    assert lines(found)[2:] == [
        ["CCIM", "0", "not finished", "", "", "", "", "", ""],
        ["DFR", "0", "not possible", "", "", "", "", "", ""],
    ]
    assert [line[0] for line in emotion_lines(found)] == ["ERM", "IERN"]


NOTHING = "Nothing is compared with ERM"


@pytest.mark.parametrize(
    "grid", [{"ERM": {}, "IERN": GRID["IERN"]}, {"ERM": GRID["ERM"], "IERN": {}}, {"ERM": {}, "IERN": {}}]
)
def test_where_nothing_is_compared_the_notes_say_so(grid):
    found = compare(grid, ["a", "b"], EMOTIONS, "ERM")
    assert not any("difference" in row for row in found["methods"])
    told = " ".join(notes(found))
    assert NOTHING in told
    assert "paired" not in told
    assert "\n" not in lines(found)[0][5]
    ElementTree.fromstring(figure(found))
    assert markdown(found)
    assert len(comma_separated(found).splitlines()) == 3


def test_one_method_alone_is_not_said_to_lack_another():
    found = compare({"ERM": GRID["ERM"]}, ["a", "b"], EMOTIONS, "ERM")
    assert not any(NOTHING in note or "paired" in note for note in notes(found))


def test_images_of_one_cluster_compare_nothing():
    grid = {
        method: {
            seed: {fold: each.assign(subject="x") for fold, each in folds.items()} for seed, folds in seeds.items()
        }
        for method, seeds in GRID.items()
    }
    found = compare(grid, ["a", "b"], EMOTIONS, "ERM")
    assert (found["cluster"], found["clusters"]) == ("subject", 1)
    assert "difference" not in found["methods"][1]
    assert any(NOTHING in note and "two subjects at least" in note for note in notes(found))


# ------------------------------------------------------------------------------------------- shown


def test_a_line_is_what_people_read(table):
    (line,) = lines({**table, "methods": [{**table["methods"][0], "seconds": 41.6}]})
    assert dict(zip(headings(table), line, strict=True)) == {
        "method": "ERM",
        "seeds": "2",
        "accuracy": "50.0 [-77.1, 177.1]",
        "macro": "50.0",
        "worst cell": "0.0 anger x web",
        "against ERM": "baseline",
        "p (Holm)": "",
        "emotions worse": "",
        "s a run": "42",
    }
    other = lines(table)[1]
    assert other[5].startswith("+40.0 [")
    assert other[8] == ""


@pytest.mark.parametrize(("p", "shown"), [(0.0, "<0.001"), (0.0009, "<0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_small_p_values_are_not_zero(table, p, shown):
    iern = table["methods"][1]
    row = {**iern, "difference": {**iern["difference"], "p_holm": p}}
    assert lines({**table, "methods": [row]})[0][6] == shown


def test_notes_name_images_clusters_and_draws(table):
    told = notes(table)
    assert told[0].startswith("5 test images of 2 fold(s), pooled.")
    assert "over the 5 images (bootstrap, 10000 draws)" in told[1]
    assert "not corrected" in told[2]
    assert told[3] == "No setting was searched for: each method ran once a cell, with the settings given."


def test_notes_tell_of_the_search_and_of_each_failure(table):
    failure = {"method": "DFR", "fold": "a", "seed": 0, "status": "refused", "seconds": None, "reason": "empty cells"}
    searched = {
        "search": {"factors": [1, 3], "note": "Searched.", "chosen": {"ERM": {"a": 1.0, "b": 3.0}}},
        "failures": [
            failure,
            {**failure, "seed": 1},
            {**failure, "fold": "b", "status": "failed", "reason": "died"},
            {**failure, "method": "ERM", "factor": 3.0, "status": "failed", "reason": "died"},
        ],
    }
    assert notes(table | searched)[3:] == [
        "Searched.",
        "ERM: learning rates times 1 (a), 3 (b).",
        "DFR, a, seed 0, 1: not possible: empty cells",
        "DFR, b, seed 0: failed: died",
        "ERM, a, search times 3, seed 0: failed: died",
    ]


ODD = "a|b\nc $x$ <&> \x07"


@pytest.fixture(scope="module")
def odd():
    """The same table of a method with a name that Markdown, CSV, matplotlib and XML each dislike."""
    found = compare({"ERM": GRID["ERM"], ODD: GRID["IERN"]}, ["a", "b"], EMOTIONS, ODD)
    reason = "line 1\nline 2 | <b>"
    failure = {"method": ODD, "fold": "a", "seed": 0, "status": "failed", "seconds": None, "reason": reason}
    return found | {"failures": [failure]}


def test_markdown_keeps_its_columns_and_lines(table, odd):
    page = markdown(odd).splitlines()
    assert page[0].startswith("- No method here is better than a|b c $x$")  # the verdict comes first
    header, rule, first, second, blank, *rest = page[page.index("") + 1 :]
    assert header.startswith("| method | seeds |")
    assert rule == "|---" * 9 + "|"
    assert blank == ""
    assert second.startswith("| a\\|b c $x$ <&> ")
    for row in (header, first, second, *rest[:2]):
        assert row.replace("\\|", "").count("|") == (10 if row in (header, first, second) else 4), row
    assert all(row.startswith(("|", "- ")) for row in page if row)
    assert "line 1 line 2 | <b>" in page[-1]
    assert markdown(table).count("\n- ") == len(sentences(table)) - 1 + len(notes(table))


def test_csv_holds_the_same_numbers(table, odd):
    erm, iern = csv.DictReader(io.StringIO(comma_separated(table)))
    row = table["methods"][1]
    assert (erm["method"], erm["seeds"], erm["accuracy"], erm["difference"]) == ("ERM", "2", "0.5", "")
    assert float(iern["accuracy"]) == row["accuracy"]["mean"]
    assert float(iern["low"]) == row["accuracy"]["low"]
    assert float(iern["difference_high"]) == row["difference"]["high"]
    assert float(iern["p_holm"]) == row["difference"]["p_holm"]
    assert float(iern["accuracy:joy"]) == 1
    assert iern["worst_cell"] == "anger x web"
    assert float(iern["worst_cell_accuracy"]) == 0.5
    names = [found["method"] for found in csv.DictReader(io.StringIO(comma_separated(odd)))]
    assert names == ["ERM", ODD]


SVG = "{http://www.w3.org/2000/svg}"


def test_the_figure_is_xml_with_a_title_and_names(table, odd):
    for each in (table, odd):
        text = figure(each)
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        (title,) = root.iter("{http://purl.org/dc/elements/1.1/}title")
        assert title.text.startswith("Accuracy in %: ERM 50.0 [")
        words = {found.text for found in root.iter(f"{SVG}text")}
        assert {"ERM", "accuracy in %"} <= words
        assert "#0a0b0" not in text  # stand-ins became colours
    assert any("$x$ <&>" in (word or "") for word in words)
    assert figure(table) == figure(table)


def test_the_figure_shows_each_seed_and_what_is_certain(table):
    iern = table["methods"][1]

    def circles(p):
        row = {**iern, "difference": {**iern["difference"], "p_holm": p}}
        return figure({**table, "methods": [table["methods"][0], row]})

    certain, uncertain = circles(0.01), circles(0.2)
    assert certain != uncertain
    assert certain.count("<use ") == uncertain.count("<use ")
    # two seeds and a mean of each method, a difference of the second; the rest are ticks
    more = {**table, "methods": [*table["methods"], iern]}
    assert figure(more).count("<use ") - figure(table).count("<use ") == 4
    assert comparison.BLUE not in certain

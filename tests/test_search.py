"""The search of a grid: what it looks at are training rows alone, and what it chooses is the best of them."""

import json

import pandas as pd
import pytest

from emodo import runs
from emodo.cells import Outcome, entries
from emodo.manifest import load, save
from emodo.records import InputError
from emodo.search import HELD_OUT, SEED, best, candidates, failures, hold_out, summary
from emodo.splits import by_sequence

# ---------------------------------------------------------------------------------------- hold out


def test_a_fifth_of_the_training_sequences_is_held_out(faces):
    frame, known = load(faces), hold_out(faces, None)
    training = frame[frame["split"] == "train"]
    assert list(known["path"]) == list(training["path"])
    expected = by_sequence(training.reset_index(drop=True), HELD_OUT)
    assert list(known["split"]) == list(expected["split"])
    assert set(known["split"]) == {"train", "test"}
    parts = {part: set(rows["sequence"]) for part, rows in known.groupby("split")}
    assert not parts["train"] & parts["test"]


def changed(faces, tmp_path, change):
    frame = change(load(faces))
    save(frame, tmp_path / "changed.csv")
    return tmp_path / "changed.csv"


def test_a_validation_part_is_what_is_held_out(faces, tmp_path):
    def change(frame):
        sequences = sorted(set(frame.loc[frame["split"] == "train", "sequence"]))[::6]
        return frame.assign(split=frame["split"].mask(frame["sequence"].isin(sequences), "validation"))

    manifest = changed(faces, tmp_path, change)
    frame, known = load(manifest), hold_out(manifest, None)
    for part, held in (("validation", "test"), ("train", "train")):
        assert list(known.loc[known["split"] == held, "file"]) == list(frame.loc[frame["split"] == part, "file"])


def test_where_too_little_is_left_the_reason_is_told(faces, tmp_path):
    def change(frame):  # of fear one training sequence, and that for validation
        rows = (frame["emotion"] == "fear") & (frame["split"] == "train")
        first = frame.loc[rows, "sequence"].iloc[0]
        frame = frame[~rows | (frame["sequence"] == first)]
        return frame.assign(split=frame["split"].mask(frame["sequence"] == first, "validation"))

    manifest = changed(faces, tmp_path, change)
    with pytest.raises(
        InputError, match=r"changed.csv: a part .* is held out, and then no training image of fear"
    ) as raised:
        hold_out(manifest, None)
    assert "\n" not in str(raised.value)


def test_labels_of_ones_own_are_known_by_the_emotions(faces, tmp_path):
    manifest = changed(faces, tmp_path, lambda frame: frame.assign(emotion=frame["emotion"] + "!"))
    with pytest.raises(InputError, match="unknown emotion"):
        hold_out(manifest, None)
    assert len(hold_out(manifest, sorted(set(pd.read_csv(manifest)["emotion"]))))


# --------------------------------------------------------------------------------------- candidates


@pytest.fixture
def tried(faces, tmp_path):
    return candidates(
        tmp_path,
        entries({"ERM": {}, "ERM, fast": {"method": "ERM", "lr": 0.1}}, {}),
        {"a": load(faces)},
        [0.3, 1.0, 3.0],
    )


def test_candidates_differ_in_their_rates_and_folders_alone(tried, tmp_path, faces):
    assert list(tried) == [("ERM", "a"), ("ERM, fast", "a")]
    cells = tried["ERM, fast", "a"]
    assert [cell.run.relative_to(tmp_path).as_posix() for cell in cells.values()] == [
        f"ERM-fast/a-times{factor}" for factor in ("0.3", "1", "3")
    ]
    assert [cell.entry.init_args["lr"] for cell in cells.values()] == pytest.approx([0.03, 0.1, 0.3])
    assert {cell.seed for cell in cells.values()} == {SEED}
    assert {cell.manifest for cell in cells.values()} == {tmp_path / "a.parquet"}
    assert list(load(tmp_path / "a.parquet")["file"]) == list(load(faces)["file"])


def test_rows_that_are_held_out_already_are_not_written_again(tried, tmp_path, faces):
    before = (tmp_path / "a.parquet").stat()
    candidates(tmp_path, entries(["ERM"], {}), {"a": load(faces)}, [1.0, 3.0])
    assert (tmp_path / "a.parquet").stat().st_mtime_ns == before.st_mtime_ns


def scored(cells, **accuracies):
    """Write what finished runs of these accuracies have: {"x0.3": 0.5}."""
    for factor, cell in cells.items():
        if f"x{factor:g}" in accuracies:
            cell.run.mkdir(parents=True)
            (cell.run / runs.CONFIG).write_text("{}")
            (cell.run / runs.SCORES).write_text(json.dumps({"accuracy": accuracies[f"x{factor:g}"]}))
    return cells


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ({"x0.3": 0.5, "x1": 0.4, "x3": 0.6}, 3),
        ({"x0.3": 0.7, "x1": 0.4, "x3": 0.6}, 0.3),
        ({"x0.3": 0.6, "x1": 0.6, "x3": 0.6}, 1),
        ({"x0.3": 0.6, "x3": 0.5}, 0.3),
        ({}, 1),
    ],
)
def test_the_most_accurate_is_chosen_of_equal_ones_the_nearest_to_what_was_given(tried, accuracies, expected):
    assert best(scored(tried["ERM", "a"], **accuracies)) == expected


def test_what_failed_beside_others_is_told(tried):
    scored(tried["ERM", "a"], x1=0.5)
    outcomes = {cell.run: Outcome("failed", 1, "died") for cells in tried.values() for cell in cells.values()}
    outcomes[tried["ERM", "a"][1.0].run] = Outcome("done", 1)
    told = failures(tried, outcomes)
    # where all have failed, the runs of the grid will say why
    assert [(each["method"], each["fold"], each["factor"], each["reason"]) for each in told] == [
        ("ERM", "a", 0.3, "died"),
        ("ERM", "a", 3.0, "died"),
    ]


def test_the_summary_counts_what_the_search_cost(tried):
    told = summary(tried, {("ERM", "a"): 3.0, ("ERM, fast", "a"): 1.0})
    assert told["factors"] == [0.3, 1.0, 3.0]
    assert told["chosen"] == {"ERM": {"a": 3.0}, "ERM, fast": {"a": 1.0}}
    assert "times 0.3, 1, 3, on each fold by itself" in told["note"]
    assert told["note"].endswith("with seed 0; 6 runs more.")

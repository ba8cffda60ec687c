from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from emodo import manifest, splits
from emodo.records import InputError

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
# Sequences of the paper's mix: CK+ and Oulu-CASIA as released, MMI what is left of the test sizes per class.
SEQUENCES = {"CK+": (45, 59, 25, 69, 28, 83), "MMI": (33, 32, 28, 42, 32, 41), "Oulu-CASIA": (80,) * 6}


def mix() -> pd.DataFrame:
    """Build the paper's 997 sequences of 3 frames; each source numbers its sequences from 1."""
    rows = []
    for source, counts in SEQUENCES.items():
        number = 0
        for emotion, count in zip(EMOTIONS, counts, strict=True):
            for _ in range(count):
                number += 1
                rows += [
                    (f"{source}/{number}/{frame}.png", emotion, source, f"S{number % 40}", str(number))
                    for frame in range(3)
                ]
    return pd.DataFrame(rows, columns=["path", "emotion", "source", "subject", "sequence"])


def random_frame(seed: int) -> pd.DataFrame:
    """Build sequences of 1-5 frames of a few subjects and sources; some rows know no sequence."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(int(rng.integers(60, 160))):
        source, emotion = f"source {rng.integers(rng.integers(1, 5))}", EMOTIONS[rng.integers(6)]
        subject, sequence = f"S{rng.integers(25)}", None if number % 7 == 0 else f"{emotion}{number}"
        rows += [(f"{number}_{frame}.png", emotion, source, subject, sequence) for frame in range(rng.integers(1, 6))]
    return pd.DataFrame(rows, columns=["path", "emotion", "source", "subject", "sequence"])


def images(frame: pd.DataFrame, part: str = "test") -> int:
    return int((frame["split"] == part).sum())


def test_the_papers_mix_has_997_sequences() -> None:
    frame = mix()
    assert manifest.sequence_key(frame).nunique() == 997
    assert frame.groupby("emotion").size().tolist() == [474, 513, 399, 573, 420, 612]


@pytest.mark.parametrize(("fold", "size", "modified"), [(1, 1014, 915), (2, 948, 852), (3, 1029, 930)])
def test_table_1_gives_the_papers_test_sizes(fold: int, size: int, modified: int) -> None:
    frame = splits.table1(mix(), fold)
    assert (images(frame), images(frame, "train")) == (size, 2991 - size)
    splits.check(frame)
    for seed in (0, 1):
        moved = splits.table1(mix(), fold, moved=0.1, seed=seed)
        assert (images(moved), images(moved, "train")) == (modified, 2991 - modified)
        splits.check(moved)


def test_table_1_tests_each_emotion_on_each_source_once() -> None:
    folds = [splits.table1(mix(), fold) for fold in (1, 2, 3)]
    tested = [set(frame[frame["split"] == "test"].groupby(["source", "emotion"]).groups) for frame in folds]
    assert [len(cells) for cells in tested] == [6, 6, 6]
    assert len(set.union(*tested)) == 18
    assert ("CK+", "anger") in tested[0]
    assert ("CK+", "surprise") in tested[2]
    assert ("MMI", "anger") in tested[2]
    assert ("Oulu-CASIA", "surprise") in tested[0]
    for frame, cells in zip(folds, tested, strict=True):
        trained = set(frame[frame["split"] == "train"].groupby(["source", "emotion"]).groups)
        assert not trained & cells


def test_moved_sequences_come_from_every_cell_and_depend_on_the_seed() -> None:
    whole = splits.table1(mix(), 1)
    moved, other = (splits.table1(mix(), 1, moved=0.1, seed=seed) for seed in (0, 1))
    changed = moved[(whole["split"] == "test") & (moved["split"] == "train")]
    assert changed.groupby(["source", "emotion"])["sequence"].nunique().to_dict() == {
        ("CK+", "anger"): 4,
        ("CK+", "happiness"): 7,
        ("MMI", "disgust"): 3,
        ("MMI", "sadness"): 3,
        ("Oulu-CASIA", "fear"): 8,
        ("Oulu-CASIA", "surprise"): 8,
    }
    assert (other["split"] != moved["split"]).any()
    assert ((whole["split"] == "train") <= (moved["split"] == "train")).all()


def test_table_1_takes_any_three_sources_and_six_emotions_in_the_order_given() -> None:
    frame = mix()
    extra = frame.iloc[:30].assign(source="lab", path=[f"x{n}" for n in range(30)])
    frame = pd.concat([frame, extra, frame.iloc[:9].assign(emotion="neutral", sequence="n", source="MMI")])
    order = ["Oulu-CASIA", "CK+", "MMI"]
    split = splits.table1(frame, 1, sources=order, emotions=list(EMOTIONS[::-1]))
    assert len(split) == 2991
    cells = set(split[split["split"] == "test"].groupby(["source", "emotion"]).groups)
    assert ("Oulu-CASIA", "surprise") in cells
    assert ("CK+", "sadness") in cells


def test_table_1_says_what_it_cannot_place() -> None:
    frame = mix()
    with pytest.raises(InputError, match="needs the column source"):
        splits.table1(frame.drop(columns="source"))
    with pytest.raises(InputError, match=r"3 sources, the manifest has 2 \(CK\+, MMI\): choose 3 with --so"):
        splits.table1(frame[frame["source"] != "Oulu-CASIA"])
    neutral = pd.concat([frame, frame.iloc[:1].assign(emotion="neutral")])
    with pytest.raises(InputError, match=r"6 emotions, the manifest has 7 .*neutral.*--emotions"):
        splits.table1(neutral)
    with pytest.raises(InputError, match="row 5 has no source"):
        splits.table1(frame.assign(source=frame["source"].where(frame.index != 4)))
    with pytest.raises(InputError, match="folds 1, 2 and 3, not 4"):
        splits.table1(frame, 4)
    with pytest.raises(InputError, match="3 different --sources, not MMI, MMI, CK"):
        splits.table1(frame, sources=["MMI", "MMI", "CK+"])
    with pytest.raises(InputError, match=r"has no RAF \(found: CK\+, MMI, Oulu-CASIA\)"):
        splits.table1(frame, sources=["MMI", "RAF", "CK+"])


Split = Callable[[pd.DataFrame, int], pd.DataFrame]
SPLITS: dict[str, Split] = {
    "table1": lambda frame, seed: splits.table1(frame, 1 + seed % 3, moved=0.2, validation=0.15, seed=seed),
    "sequence": lambda frame, seed: splits.by_sequence(frame, 0.25, 0.2, seed),
    "subject": lambda frame, seed: splits.by_subject(frame, 0.25, 0.2, seed),
    "kfold": lambda frame, seed: splits.kfold(frame, 4, 1 + seed % 4, "sequence", 0.2, seed),
    "kfold subject": lambda frame, seed: splits.kfold(frame, 4, 1 + seed % 4, "subject", 0.2, seed),
    "source": lambda frame, seed: splits.by_source(frame, min(frame["source"]), 0.2, seed),
    "cell": lambda frame, seed: splits.by_cell(frame, [cell_of(frame)], None, 0.1, 0.2, seed),
}


def cell_of(frame: pd.DataFrame) -> str:
    return min(frame["emotion"] + "=" + frame["source"])


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("seed", range(12))
def test_no_sequence_is_in_two_splits(name: str, seed: int) -> None:
    frame = mix() if name == "table1" else random_frame(seed)
    split = SPLITS[name](frame, seed)
    assert len(split) == len(frame)
    assert set(split["split"]) == {"train", "validation", "test"}
    key = manifest.subject_key(split) if name.endswith("subject") else manifest.sequence_key(split)
    assert (split.groupby(key.to_numpy())["split"].nunique() == 1).all()
    assert "split" not in frame


@pytest.mark.parametrize("name", SPLITS)
def test_the_same_seed_gives_the_same_split_in_any_row_order(name: str) -> None:
    frame = mix() if name == "table1" else random_frame(3)
    split = SPLITS[name](frame, 0).set_index("path")["split"]
    pd.testing.assert_series_equal(SPLITS[name](frame, 0).set_index("path")["split"], split)
    shuffled = frame.sample(frac=1, random_state=1)
    again = SPLITS[name](shuffled, 0).set_index("path")["split"]
    pd.testing.assert_series_equal(again[split.index], split)
    assert (SPLITS[name](frame, 3).set_index("path")["split"] != split).any()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("test", [0.1, 0.2, 0.35, 0.5])
def test_the_fractions_hold_in_total_and_in_every_cell(seed: int, test: float) -> None:
    frame = random_frame(seed)
    for split, key, cells in (
        (splits.by_sequence(frame, test, 0.25, seed), manifest.sequence_key(frame), ["source", "emotion"]),
        (splits.by_subject(frame, test, 0.25, seed), manifest.subject_key(frame), ["source"]),
    ):
        units = split.assign(key=key).drop_duplicates("key")
        tested = units["split"] == "test"
        assert tested.sum() == np.rint(test * len(units))
        left = units[~tested]
        assert (left["split"] == "validation").sum() == np.rint(0.25 * len(left))
        for _, cell in units.groupby(cells):
            assert abs((cell["split"] == "test").sum() - test * len(cell)) <= 1


def test_validation_is_cut_from_training_only() -> None:
    builders: list[Callable[[float], pd.DataFrame]] = [
        lambda part: splits.table1(mix(), 2, moved=0.1, validation=part),
        lambda part: splits.by_sequence(mix(), 0.3, part),
        lambda part: splits.by_subject(mix(), 0.3, part),
    ]
    for build in builders:
        without, cut = build(0.0), build(0.2)
        assert ((without["split"] == "test") == (cut["split"] == "test")).all()
        assert (without["split"] != "validation").all()
        assert 0.15 < images(cut, "validation") / images(without, "train") < 0.25


def test_a_sequence_of_several_emotions_stays_whole_and_counts_once() -> None:
    frame = pd.DataFrame(
        {
            "path": [f"{n}.png" for n in range(120)],
            "sequence": np.repeat(np.arange(20), 6),
            "emotion": list(EMOTIONS) * 20,
        }
    )
    for seed in range(5):
        split = splits.by_sequence(frame, 0.25, seed=seed)
        splits.check(split)
        assert images(split) == 5 * 6


def test_a_subject_of_one_name_in_two_sources_is_two_people() -> None:
    frame = pd.DataFrame(
        {"path": list("abcdefgh"), "emotion": "joy", "source": list("AAAABBBB"), "subject": ["1", "1", "2", "2"] * 2}
    )
    split = splits.by_subject(frame, 0.5)
    for source in "AB":
        part = split[split["source"] == source].groupby("subject")["split"].first()
        assert sorted(part) == ["test", "train"]


def test_a_subject_split_needs_every_subject() -> None:
    frame = random_frame(0)
    with pytest.raises(InputError, match="needs the column subject"):
        splits.by_subject(frame.drop(columns="subject"))
    with pytest.raises(InputError, match="2 rows have no subject, the first is row 4"):
        splits.by_subject(frame.assign(subject=frame["subject"].where(~frame.index.isin([3, 9]))))


@pytest.mark.parametrize("value", [-0.1, 1.0, math.nan])
def test_fractions_outside_their_range(value: float) -> None:
    for part in ("test", "validation"):
        with pytest.raises(InputError, match=f"--{part} is a fraction from 0 to below 1"):
            splits.by_sequence(mix(), **{part: value})
    with pytest.raises(InputError, match="--moved is a fraction"):
        splits.table1(mix(), moved=value)


def test_the_gates_name_everything_that_is_wrong() -> None:
    frame = pd.DataFrame(
        {
            "path": list("abcdef"),
            "emotion": ["joy", "joy", "fear", "joy", "joy", "joy"],
            "subject": list("PPQRRS"),
            "sequence": list("112345"),
        }
    )
    good = frame.assign(split=["train", "train", "train", "test", "test", "validation"])
    splits.check(good, subjects=True)
    torn = good.assign(split=["train", "test", "test", "train", "test", "train"])
    with pytest.raises(InputError) as caught:
        splits.check(torn, subjects=True)
    assert str(caught.value).split("\n") == [
        "no training image of fear, which the other parts hold",
        "1 sequences are in more than one split, among them '1'",
        "2 subjects are in more than one split, among them 'P'",
    ]
    with pytest.raises(InputError, match="the train part is empty"):
        splits.check(good.assign(split="test"))
    with pytest.raises(InputError, match=r"^the test part is empty$"):
        splits.check(good.assign(split="train"))


def test_the_gates_ask_for_emotions_and_not_for_combinations() -> None:
    frame = pd.DataFrame(
        {
            "path": [f"{n}.png" for n in range(4)],
            "emotion": ["anger|joy", "fear|joy", "anger|fear", "anger|fear|joy"],
            "split": ["train", "train", "test", "test"],
        }
    )
    splits.check(frame)
    with pytest.raises(InputError, match=r"^no training image of fear, which the other parts hold$"):
        splits.check(frame.drop(index=1))


def test_rows_of_several_emotions_are_split_by_sequence_and_are_no_cell_of_table_1() -> None:
    frame = random_frame(0)
    frame["emotion"] = ["anger|fear" if at % 3 else "joy" for at in range(len(frame))]
    splits.check(splits.by_sequence(frame))
    with pytest.raises(InputError, match=r"^row 2: 'anger\|fear' are several emotions, and Table 1 gives an image"):
        splits.table1(frame)


@pytest.mark.parametrize("by", ["sequence", "subject"])
@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (5, 1), (10, 2)])
def test_the_folds_are_disjoint_and_cover_everything(by: Literal["sequence", "subject"], folds: int, seed: int) -> None:
    frame = random_frame(seed)
    tested = [splits.kfold(frame, folds, fold, by, seed=seed)["split"] == "test" for fold in range(1, folds + 1)]
    assert (np.sum(tested, axis=0) == 1).all()
    key = manifest.subject_key(frame) if by == "subject" else manifest.sequence_key(frame)
    cells = ["source"] if by == "subject" else ["source", "emotion"]
    units = frame.assign(key=key, fold=np.argmax(tested, axis=0)).drop_duplicates("key")
    sizes = [group.value_counts().reindex(range(folds), fill_value=0) for _, group in units.groupby(cells)["fold"]]
    for size in (units["fold"].value_counts(), *sizes):
        assert size.max() - size.min() <= 1


def test_folds_that_cannot_be_made() -> None:
    frame = mix().groupby(["source", "emotion"]).head(6)
    for folds, fold in ((1, 1), (5, 0), (5, 6)):
        with pytest.raises(InputError, match=f"--folds {folds} --fold {fold}: there must be 2 folds or more"):
            splits.kfold(frame, folds, fold)
    with pytest.raises(InputError, match="--folds 37: the manifest has 36 sequences"):
        splits.kfold(frame, 37)
    with pytest.raises(InputError, match="needs the column subject"):
        splits.kfold(frame.drop(columns="subject"), by="subject")
    with pytest.raises(InputError, match="1 rows have no subject, the first is row 4"):
        splits.kfold(frame.assign(subject=frame["subject"].where(frame.index != 3)), by="subject")


def test_a_source_is_left_out() -> None:
    frame = splits.by_source(mix(), "MMI", validation=0.25)
    assert set(frame.loc[frame["split"] == "test", "source"]) == {"MMI"}
    assert "MMI" not in set(frame.loc[frame["split"] != "test", "source"])
    assert images(frame) == 3 * sum(SEQUENCES["MMI"])
    assert 0.24 < images(frame, "validation") / (2991 - images(frame)) < 0.26
    assert set(frame.loc[frame["split"] == "validation", "source"]) == {"CK+", "Oulu-CASIA"}


def test_a_source_that_cannot_be_left_out() -> None:
    frame = mix()
    with pytest.raises(InputError, match=r"--held-out RAF: the manifest has the sources CK\+, MMI, Oulu-CASIA"):
        splits.by_source(frame, "RAF")
    with pytest.raises(InputError, match="MMI is the manifest's one source: without it there is nothing to train on"):
        splits.by_source(frame[frame["source"] == "MMI"], "MMI")
    with pytest.raises(InputError, match="needs the column source"):
        splits.by_source(frame.drop(columns="source"), "MMI")
    with pytest.raises(InputError, match="1 rows have no source, the first is row 7"):
        splits.by_source(frame.assign(source=frame["source"].where(frame.index != 6)), "MMI")


def test_cells_are_left_out_of_training() -> None:
    cells = {("fear", "MMI"), ("anger", "MMI"), ("anger", "CK+")}
    frame = splits.by_cell(mix(), ["fear=MMI", "anger=MMI", "anger=CK+"])
    assert set(frame[frame["split"] == "test"].groupby(["emotion", "source"]).groups) == cells
    trained = frame[frame["split"] == "train"].groupby(["emotion", "source"]).groups
    assert len(trained) == 15
    assert not cells & set(trained)
    more = splits.by_cell(mix(), ["fear=MMI"], test=0.25)
    units = more.assign(key=manifest.sequence_key(more)).drop_duplicates("key")
    for (emotion, source), cell in units.groupby(["emotion", "source"]):
        wanted = 1 if (emotion, source) == ("fear", "MMI") else 0.25
        assert abs((cell["split"] == "test").sum() - wanted * len(cell)) <= 1


def test_a_cell_is_of_the_stratum_or_of_a_column_that_is_named() -> None:
    frame = mix().assign(stratum="indoor", light="bright")
    frame.loc[frame.index % 9 < 3, ["stratum", "light"]] = ["outdoor", "dark"]
    for split in (
        splits.by_cell(frame, ["fear=outdoor"]),
        splits.by_cell(frame.drop(columns="stratum"), ["fear=dark"], "light"),
    ):
        assert ((split["split"] == "test") == ((frame["emotion"] == "fear") & (frame["light"] == "dark"))).all()


def test_a_sequence_that_is_partly_in_a_cell_is_left_out_as_a_whole() -> None:
    frame = mix()
    frame.loc[1, "emotion"] = "fear"  # the second of three frames of anger
    split = splits.by_cell(frame, ["fear=CK+"])
    splits.check(split)
    assert set(split["split"].iloc[:3]) == {"test"}
    assert split["split"].iloc[3] == "train"


def test_cells_that_cannot_be_left_out() -> None:
    frame = mix()
    for cells in (["fear"], ["fear=RAF"], ["joy=MMI"], ["=MMI"]):
        with pytest.raises(InputError, match=rf"--held-out {cells[0]}: no such cell; .*source: CK\+, MMI, Oulu-CASIA"):
            splits.by_cell(frame, ["fear=MMI", *cells])
    with pytest.raises(InputError, match="no such cell; name one or more, as EMOTION=STRATUM"):
        splits.by_cell(frame, [])
    with pytest.raises(InputError, match="has no column light with the strata: name another with --stratum"):
        splits.by_cell(frame, ["fear=dark"], "light")
    with pytest.raises(InputError, match="has no column stratum"):
        splits.by_cell(frame.drop(columns="source"), ["fear=dark"])
    with pytest.raises(InputError, match="no training image of fear"):
        splits.check(splits.by_cell(frame, [f"fear={source}" for source in SEQUENCES]))


def test_the_official_split_is_kept() -> None:
    frame = splits.by_sequence(mix(), 0.3)
    pd.testing.assert_frame_equal(splits.official(frame), frame)
    cut = splits.official(frame, 0.2)
    splits.check(cut)
    assert ((cut["split"] == "test") == (frame["split"] == "test")).all()
    assert 0.19 < images(cut, "validation") / images(frame, "train") < 0.21
    again = splits.official(cut)
    assert (again["split"] == cut["split"]).all()


def test_an_official_split_that_is_missing_or_has_a_validation_part() -> None:
    with pytest.raises(InputError, match="no column split to keep"):
        splits.official(mix())
    with pytest.raises(InputError, match="has a validation part already"):
        splits.official(splits.by_sequence(mix(), 0.3, 0.2), 0.1)

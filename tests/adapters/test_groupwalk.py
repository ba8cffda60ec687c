"""GroupWalk: a neutral table of people in frames, several labels each."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from emodo import manifest
from emodo.adapters.groupwalk import groupwalk
from emodo.records import InputError

HEADER = "image,video,agent,x1,y1,x2,y2,angry,happy,neutral,sad,split"
ROWS = [
    "01/000120.jpg,01,3,10,8,25,30,0,6,4,0,train",
    "01/000120.jpg,01,4,30,8,45,30,1,0,9,0,train",
    "02/7.jpg,02,3,0,0,10,10,1,0,0,1,test",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "GroupWalk"
    for name in ("01/000120.jpg", "02/7.jpg"):
        (folder / name).parent.mkdir(parents=True)
        Image.new("RGB", (64, 48)).save(folder / name)
    return table(folder, HEADER, *ROWS)


def table(folder: Path, *lines: str) -> Path:
    (folder / "groupwalk.csv").write_text("\n".join(lines))
    return folder


def problem(root: Path, **options: object) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        groupwalk(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def test_people_with_their_labels_boxes_and_votes(root: Path, tmp_path: Path, capsys) -> None:
    out = groupwalk(root, tmp_path / "out.csv")
    frame = manifest.load(out)
    assert frame["path"].tolist() == ["GroupWalk/01/000120.jpg"] * 2 + ["GroupWalk/02/7.jpg"]
    assert frame["emotion"].tolist() == ["happiness|neutral", "neutral", "anger|sadness"]
    assert frame["sequence"].tolist() == ["01", "01", "02"]
    assert frame["subject"].tolist() == ["01/3", "01/4", "02/3"]  # agents are counted in each video
    assert frame["split"].tolist() == ["train", "train", "test"]
    assert frame[["x1", "y1", "x2", "y2"]].to_numpy().tolist()[0] == [10, 8, 25, 30]
    assert frame[["votes_angry", "votes_happy", "votes_neutral", "votes_sad"]].astype(float).to_numpy().tolist() == [
        *([0, 6, 4, 0], [1, 0, 9, 0], [1, 0, 0, 1]),
    ]
    assert "3 rows of 2 images" in capsys.readouterr().err


def test_the_share_of_the_first_labels_votes_decides(root: Path, tmp_path: Path) -> None:
    def labels(share: float) -> list[str]:
        return manifest.load(groupwalk(root, tmp_path / "out.csv", share=share, overwrite=True))["emotion"].tolist()

    assert labels(1) == ["happiness", "neutral", "anger|sadness"]
    assert labels(0.1) == ["happiness|neutral", "anger|neutral", "anger|sadness"]
    for share in (0, 1.1, -1):
        assert problem(root, share=share) == f"--share is {share}: it must be above 0 and at most 1"


def test_further_columns_are_kept_and_split_is_optional(root: Path, tmp_path: Path) -> None:
    lines = [
        ",".join(line.split(",")[:-1]) + f",{more}"
        for line, more in zip([HEADER, *ROWS], ["place", *"abc"], strict=True)
    ]
    frame = manifest.load(groupwalk(table(root, *lines), tmp_path / "out.csv"))
    assert frame["place"].tolist() == ["a", "b", "c"]
    assert "split" not in frame


def test_a_table_elsewhere_and_of_another_kind(root: Path, tmp_path: Path) -> None:
    straight = groupwalk(root, tmp_path / "a.csv").read_text()
    pd.read_csv(root / "groupwalk.csv", dtype={"video": str}).to_parquet(tmp_path / "t.parquet")
    (root / "groupwalk.csv").unlink()
    assert groupwalk(root, tmp_path / "b.csv", table=tmp_path / "t.parquet").read_text() == straight


def test_images_start_from_the_tables_folder(root: Path, tmp_path: Path) -> None:
    assert len(manifest.load(groupwalk(tmp_path, tmp_path / "out.csv"))) == 3


def test_boxes_are_cut_or_left_out_and_counted(root: Path, tmp_path: Path, capsys) -> None:
    rows = [ROWS[0].replace("10,8,25,30", "-5,8,25,99"), ROWS[1], ROWS[2].replace("0,0,10,10", "70,0,80,10")]
    frame = manifest.load(groupwalk(table(root, HEADER, *rows), tmp_path / "out.csv"))
    assert frame[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[0, 8, 25, 48], [30, 8, 45, 30]]
    said = capsys.readouterr().err
    assert "2 boxes reached outside their image and were cut" in said
    assert "left out 1 boxes outside their image or in one of 0 that cannot be read" in said


def test_people_without_a_vote_are_left_out_and_counted(root: Path, tmp_path: Path, capsys) -> None:
    silent = ROWS[2].replace("1,0,0,1", "0,0,0,0")
    assert len(manifest.load(groupwalk(table(root, HEADER, *ROWS[:2], silent), tmp_path / "out.csv"))) == 2
    assert "left out 1 people without a vote" in capsys.readouterr().err


def test_wrong_rows_are_shown_at_once(root: Path) -> None:
    bad = [ROWS[0].replace("6,4", "six,4"), ROWS[1].replace("1,0,9", "-1,0,9"), ROWS[2].replace("0,0,10", ",0,10")]
    bad.append(ROWS[2].replace(",02,", ",,"))
    file = table(root, HEADER, *bad) / "groupwalk.csv"
    assert problem(root).split("\n") == [
        f"{file}: row 1: the votes are not numbers of 0 or more",
        f"{file}: row 2: the votes are not numbers of 0 or more",
        f"{file}: row 3: the box is not four numbers",
        f"{file}: row 4: image, video or agent is empty",
    ]


def test_columns_that_lack_or_are_taken(root: Path) -> None:
    file = root / "groupwalk.csv"
    table(root, HEADER.replace("agent", "person").replace("sad", "down"), *ROWS)
    assert problem(root).startswith(f"{file}: no column agent, sad (found: image, video, person")
    table(root, HEADER.replace("split", "emotion"), *ROWS)
    assert problem(root).startswith(f"{file}: the column emotion is made here: rename it")


def test_a_video_in_both_parts_is_refused(root: Path) -> None:
    table(root, HEADER, ROWS[0], ROWS[1].replace("train", "test"))
    assert "sequence '01' is in test here and in train at row 1" in problem(root)


def test_missing_images(root: Path, tmp_path: Path, capsys) -> None:
    (root / "02" / "7.jpg").unlink()
    assert problem(root).endswith("groupwalk.csv: row 3: no image 02/7.jpg")
    assert len(manifest.load(groupwalk(root, tmp_path / "out.csv", skip_missing=True))) == 2
    assert "left out 1 of 3 listed images" in capsys.readouterr().err


def test_the_wrong_folder(tmp_path: Path, root: Path) -> None:
    assert "holds no 'groupwalk.csv' or 'groupwalk.tsv' or 'groupwalk.parquet'" in problem(root / "01")
    assert "missing: no such file" in problem(root, table=tmp_path / "absent.csv")

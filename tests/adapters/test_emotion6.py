"""Emotion6 (Peng et al.): the label is the largest share of a table, not the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodo import manifest
from emodo.adapters.emotion6 import emotion6
from emodo.records import InputError

NAMES = ["anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"]
HEADER = "\t".join(["[image_filename]", "[valence]", "[arousal]", *(f"[prob. {name}]" for name in NAMES)])
ROWS = [
    "disgust/1.jpg\t2.5\t3.8\t0.133333\t0.7\t0\t0.0666667\t0.1\t0\t0",  # a row of the authors' README
    "joy/1.jpg\t6\t5\t0\t0\t0\t0.2\t0\t0.2\t0.6",
    "joy/2.jpg\t5\t5\t0\t0\t0.5\t0\t0.5\t0\t0",
    "sadness/1.jpg\t5\t4.5\t0\t0\t0\t0\t0\t0\t1",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Emotion6"
    for row in ROWS:
        file = folder / "images" / row.split("\t")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (folder / "images" / "joy" / "._1.jpg").touch()
    return table(folder, HEADER, *ROWS)


def table(folder: Path, *lines: str) -> Path:
    (folder / "ground_truth.txt").write_text("\n".join(lines) + "\n")
    return folder


def problem(root: Path, **options: object) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        emotion6(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def test_the_label_is_the_largest_share_and_the_folder_a_keyword(root: Path, tmp_path: Path, capsys) -> None:
    out = emotion6(root, tmp_path / "out.csv")
    frame = manifest.load(out)
    assert frame["path"].tolist()[1] == "Emotion6/images/joy/1.jpg"
    assert frame["emotion"].tolist() == ["disgust", "neutral", "fear", "neutral"]
    assert frame["keyword"].tolist() == ["disgust", "joy", "joy", "sadness"]
    assert frame[["valence", "arousal"]].astype(float).to_numpy().tolist()[0] == [2.5, 3.8]
    shares = frame[[f"p_{name}" for name in NAMES]].astype(float)
    assert shares.sum(axis=1).tolist() == pytest.approx([1] * 4)
    assert shares.iloc[0].tolist() == pytest.approx([0.133333, 0.7, 0, 0.0666667, 0.1, 0, 0], abs=1e-6)
    assert set(frame["source"]) == {"Emotion6"}
    said = capsys.readouterr().err
    assert "1 images with two largest shares got the first of them" in said
    assert "4 listed images, published are 1980" in said


def test_without_neutral_the_shares_are_divided_anew(root: Path, tmp_path: Path, capsys) -> None:
    frame = manifest.load(emotion6(root, tmp_path / "out.csv", neutral=False))
    assert frame["emotion"].tolist() == ["disgust", "joy", "fear"]  # joy and surprise share the second: the first wins
    assert frame.loc[1, ["p_joy", "p_surprise"]].astype(float).tolist() == [0.5, 0.5]
    assert "p_neutral" not in frame
    assert "left out 1 images that are neutral to everybody" in capsys.readouterr().err


def test_columns_go_by_the_header(root: Path, tmp_path: Path) -> None:
    def turned(line: str) -> str:
        name, *cells = line.split("\t")
        return "\t".join([name, *cells[::-1]])

    straight = emotion6(root, tmp_path / "a.csv").read_text()
    table(root, *map(turned, [HEADER, *ROWS]))
    assert emotion6(root, tmp_path / "b.csv").read_text() == straight


@pytest.mark.parametrize("text", ["\r".join(ROWS), "\r\n".join([HEADER, *ROWS]), "\ufeff" + "\n".join([HEADER, *ROWS])])
def test_without_a_header_and_with_any_line_ends(root: Path, tmp_path: Path, text: str) -> None:
    straight = emotion6(root, tmp_path / "a.csv").read_text()
    (root / "ground_truth.txt").write_bytes(text.encode())
    assert emotion6(root, tmp_path / "b.csv").read_text() == straight


def test_wrappers_and_images_without_a_folder_of_their_own(root: Path, tmp_path: Path) -> None:
    assert len(manifest.load(emotion6(tmp_path, tmp_path / "a.csv"))) == 4
    for folder in (root / "images").iterdir():
        folder.rename(root / folder.name)
    (root / "images").rmdir()
    assert len(manifest.load(emotion6(root, tmp_path / "b.csv"))) == 4


def test_wrong_rows_are_shown_with_their_lines(root: Path) -> None:
    bad = [ROWS[0], ROWS[0], "joy/1.jpg 6 5", ROWS[1].replace("0.6", "0.9"), ROWS[2].replace("0.5", "nan"), "", "x\ty"]
    file = table(root, HEADER, *bad) / "ground_truth.txt"
    assert [line.removeprefix(f"{file}: ") for line in problem(root).split("\n")] == [
        f"line 3: disgust/1.jpg is listed already at {file}: line 2",
        "line 4: 'joy/1.jpg 6 5' is not an image and nine numbers, separated by tabs",
        "line 5: the shares of joy/1.jpg are not from 0 to 1 with the sum 1",
        "line 6: the shares of joy/2.jpg are not from 0 to 1 with the sum 1",
        r"line 8: 'x\ty' is not an image and nine numbers, separated by tabs",
    ]


def test_a_header_that_lacks_a_column_and_a_table_without_rows(root: Path) -> None:
    table(root, HEADER.replace("[prob. neutral]", "[x]"), *ROWS)
    assert "ground_truth.txt: line 1: no column neutral (found: image_filename, valence" in problem(root)
    assert problem(table(root, HEADER)).endswith("ground_truth.txt lists no image")


def test_missing_images(root: Path, tmp_path: Path, capsys) -> None:
    (root / "images" / "joy" / "2.jpg").unlink()
    assert problem(root).endswith("ground_truth.txt: line 4: no image joy/2.jpg")
    frame = manifest.load(emotion6(root, tmp_path / "out.csv", skip_missing=True))
    assert frame["emotion"].tolist() == ["disgust", "neutral", "neutral"]
    assert "left out 1 of 4 listed images" in capsys.readouterr().err


def test_the_wrong_folder(tmp_path: Path, root: Path) -> None:
    assert "holds no 'ground_truth.txt'" in problem(root / "images")
    out = emotion6(root, tmp_path / "out.csv")
    with pytest.raises(InputError, match="exists already"):
        emotion6(root, out)

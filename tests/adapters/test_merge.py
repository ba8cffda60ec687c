"""Manifests of different folders, columns and types become one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from emodo import manifest
from emodo.__main__ import main
from emodo.adapters.merge import merge
from emodo.records import InputError


@pytest.fixture
def table(tmp_path):
    """Write a manifest with its images: a row for each emotion, further columns as they are given."""

    def write(name: str, emotions: tuple[str, ...] = ("anger", "fear"), **columns: object) -> Path:
        file = tmp_path / name
        folder = file.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        for at in range(len(emotions)):
            Image.new("L", (8, 8)).save(folder / f"{at}.png")
        paths = [f"{folder.name}/{at}.png" for at in range(len(emotions))]
        frame = pd.DataFrame({"path": paths, "emotion": emotions, **columns})
        frame.to_parquet(file) if file.suffix == ".parquet" else frame.to_csv(file, index=False)
        return file

    return write


def test_rows_keep_their_order_and_find_their_images_from_elsewhere(table, tmp_path, capsys):
    first = table("a/one.csv", source="CK+", subject=["1", "2"], frame=[3, 4])
    second = table("b/two.parquet", ("fear",), gender=["f"], frame=[7])
    out = tmp_path / "c" / "all.csv"
    out.parent.mkdir()
    assert merge([first, second], out=out) == out
    assert capsys.readouterr().err == f"{out}: 3 rows, 2 emotions; CK+ 2, two 1\n"
    frame = manifest.load(out)  # which looks for every image
    assert frame["source"].tolist() == ["CK+", "CK+", "two"]
    assert frame["emotion"].tolist() == ["anger", "fear", "fear"]
    assert frame["frame"].tolist() == ["3", "4", "7"]
    assert frame["subject"].isna().tolist() == [False, False, True]
    assert frame["gender"].isna().tolist() == [True, True, False]
    assert frame["file"].tolist() == [str(tmp_path / file) for file in ("a/one/0.png", "a/one/1.png", "b/two/0.png")]


def test_numbers_stay_numbers_where_all_are(table, tmp_path):
    parts = [table("one.parquet", age=[30, 41]), table("two.parquet", age=[25, 60])]
    assert pd.read_parquet(merge(parts, out=tmp_path / "all.parquet"))["age"].tolist() == [30, 41, 25, 60]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("one alone", "name two or more manifests"),
        ("twice", "one.csv is named twice"),
        ("onto itself", "one.csv is named twice"),
        ("half split", "one.csv has a split and two.csv has none"),
        ("two splits", "row 3: sequence 's' is in test here and in train at row 1"),
        ("the same image", "row 3: the same image"),
        ("unknown", "row 2: unknown emotion 'fera': did you mean 'fear'?"),
    ],
)
def test_what_does_not_fit_is_refused(table, tmp_path, monkeypatch, case, message):
    monkeypatch.chdir(tmp_path)
    one, out = Path(table("one.csv").name), Path("all.csv")
    if case == "two splits":
        table("one.csv", source="CK+", sequence="s", split="train")
        table("two.csv", source="CK+", sequence="s", split="test")
    elif case == "half split":
        table("one.csv", split="train")
        table("two.csv")
    else:
        table("two.csv", ("anger", "fera") if case == "unknown" else ("anger", "fear"))
    if case == "the same image":
        one.write_text(one.read_text().replace("one/", "two/"))
    files = {"one alone": [one], "twice": [one, one]}.get(case, [one, Path("two.csv")])
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        merge(files, out=one if case == "onto itself" else out, overwrite=True)
    assert not out.exists()


def test_labels_of_ones_own(table, tmp_path):
    parts = [table(name, ("bored",)) for name in ("one.csv", "two.csv")]
    merge(parts, out=tmp_path / "all.csv", emotions=["bored"])
    assert len(pd.read_csv(tmp_path / "all.csv")) == 2


def test_the_command_line(table, tmp_path):
    parts = [str(table(name)) for name in ("one.csv", "two.csv", "three.csv")]
    assert main(["prepare", "merge", *parts, "--out", str(tmp_path / "all.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "all.csv")) == 6
    assert main(["prepare", "merge", *parts]) == 2  # no --out

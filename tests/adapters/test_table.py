from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from emodo import manifest
from emodo.adapters import ADAPTERS
from emodo.adapters.table import table
from emodo.records import InputError

LONDON = "file,expression,subject,age\nimages/a.png,neutral,001,24\nimages/b.png,happiness,001,\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in "ab":
        Image.new("RGB", (40, 30)).save(tmp_path / f"images/{name}.png")
    return write(tmp_path, LONDON)


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def problems(*arguments: Path, **options: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        table(*arguments, **options)  # type: ignore[arg-type]
    return str(caught.value).split("\n")


def test_named_columns_become_the_manifests_and_the_others_stay(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table(labels, tmp_path / "faces.parquet", path="file", emotion="expression", subject="subject")
    frame = manifest.load(out)
    assert frame.columns.tolist() == ["path", "emotion", "subject", "age", "file"]
    assert frame["path"].tolist() == ["images/a.png", "images/b.png"]
    assert frame["subject"].tolist() == ["001", "001"]
    assert frame["age"].isna().tolist() == [False, True]
    assert capsys.readouterr() == ("", f"{out}: 2 rows, 2 emotions\n")
    assert ADAPTERS["table"] is table


def test_tab_separated_with_a_box_a_source_and_a_sequence(labels: Path, tmp_path: Path) -> None:
    text = "path\temotion\tcam\tclip\tl\tt\tr\tb\na.png\tjoy\tc1\tv1\t0\t1\t20\t30\nb.png\tjoy\tc1\tv1\t\t\t\t\n"
    frame = manifest.load(
        table(
            write(tmp_path, text, "labels.tsv"),
            tmp_path / "out.csv",
            source="cam",
            sequence="clip",
            box=["l", "t", "r", "b"],
            root=tmp_path / "images",
        )
    )
    assert frame["path"].tolist() == ["images/a.png", "images/b.png"]
    assert frame.loc[0, ["x1", "y1", "x2", "y2"]].tolist() == [0, 1, 20, 30]
    assert frame.columns.tolist() == ["path", "emotion", "source", "sequence", "x1", "y1", "x2", "y2", "file"]


def test_one_column_may_serve_twice(labels: Path, tmp_path: Path) -> None:
    frame = manifest.load(
        table(labels, tmp_path / "out.csv", path="file", emotion="expression", subject="subject", sequence="subject")
    )
    assert frame["sequence"].tolist() == frame["subject"].tolist() == ["001", "001"]


def test_emotions_are_renamed_all_at_once(labels: Path, tmp_path: Path) -> None:
    swap = {"neutral": "happiness", "happiness": "neutral"}
    frame = manifest.load(table(labels, tmp_path / "out.csv", path="file", emotion="expression", rename=swap))
    assert frame["emotion"].tolist() == ["happiness", "neutral"]
    codes = pd.DataFrame({"path": ["images/a.png"], "emotion": [3]})
    codes.to_parquet(tmp_path / "codes.parquet")
    frame = manifest.load(table(tmp_path / "codes.parquet", tmp_path / "out2.csv", rename={"3": "joy"}))
    assert frame["emotion"].tolist() == ["joy"]


def test_several_emotions_of_a_row_are_renamed_one_by_one(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = write(tmp_path, "path,emotion\nimages/a.png,Happy|Peace\nimages/b.png,Peace\n")
    rename = {"Happy": "joy", "Peace": "peace"}
    out = table(both, tmp_path / "out.csv", rename=rename)
    assert manifest.load(out)["emotion"].tolist() == ["joy|peace", "peace"]
    assert capsys.readouterr().err == f"{out}: 2 rows, 2 emotions\n"
    assert problems(both, tmp_path / "no.csv", rename=rename | {"happy": "joy"}) == [
        f"{both}: --rename happy: no such emotion (found: Happy, Peace)"
    ]


def test_names_that_the_table_does_not_have(labels: Path, tmp_path: Path) -> None:
    found = "(found: file, expression, subject, age)"
    assert problems(labels, tmp_path / "out.csv", emotion="feeling", box=["l", "age", "age", "age"]) == [
        f"{labels}: no column 'path' for --path {found}",
        f"{labels}: no column 'feeling' for --emotion {found}",
        f"{labels}: no column 'l' for --box {found}",
    ]
    rename = {"happy": "joy"}
    assert problems(labels, tmp_path / "out.csv", path="file", emotion="expression", rename=rename) == [
        f"{labels}: --rename happy: no such emotion (found: happiness, neutral)"
    ]
    assert "--box names four columns" in problems(labels, tmp_path / "out.csv", box=["l", "t"])[0]


def test_a_column_is_not_silently_replaced_by_another(labels: Path, tmp_path: Path) -> None:
    both = write(tmp_path, "path,crop,emotion\nx.png,images/a.png,joy\n")
    assert problems(both, tmp_path / "out.csv", path="crop") == [
        f"{both}: the column 'path' is not the one given for path ('crop'): give it or remove it"
    ]
    kept = write(tmp_path, "path,emotion,file\nimages/a.png,joy,1\n")
    assert "the column file is kept" in problems(kept, tmp_path / "out.csv")[0]


def test_rows_are_judged_as_in_a_manifest_and_nothing_is_written(labels: Path, tmp_path: Path) -> None:
    bad = write(tmp_path, "path,emotion\nimages/a.png,Happy\nimages/c.png,joy\n")
    assert problems(bad, tmp_path / "out.csv") == [
        f"{bad}: row 1: unknown emotion 'Happy': did you mean 'happiness'?",
        f"{bad}: row 2: no image 'images/c.png' (looked for {tmp_path}/images/c.png)",
    ]
    assert not (tmp_path / "out.csv").exists()
    own = write(tmp_path, "path,emotion\nimages/a.png,Happy\n")
    assert len(manifest.load(table(own, tmp_path / "out.csv", emotions=["Happy"]), ("Happy",))) == 1


def test_an_existing_manifest_is_kept(labels: Path, tmp_path: Path) -> None:
    out = table(labels, tmp_path / "out.csv", path="file", emotion="expression")
    assert "exists already" in problems(labels, out, path="file", emotion="expression")[0]
    table(labels, out, path="file", emotion="expression", subject="subject", overwrite=True)
    assert "missing: no such file" in problems(tmp_path / "absent.csv", tmp_path / "new.csv")[0]

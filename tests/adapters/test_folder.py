from __future__ import annotations

import os
from pathlib import Path

import pytest

from emodo import manifest
from emodo.adapters import ADAPTERS
from emodo.adapters.folder import folder
from emodo.records import InputError


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def problem(root: Path, **options: object) -> str:
    out = root.parent / "out.csv"
    with pytest.raises(InputError) as caught:
        folder(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def test_class_folders_in_any_case_and_under_their_usual_names(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "faces",
        "Happy/2.JPG",
        "Happy/10.jpg",
        "happiness/x.png",
        "ANGRY/a.webp",
        "sad/deep/er/b.tiff",
        "afraid/c.gif",
        "Neutral/d.bmp",
        "surprised/e.jpeg",
        "Disgusted/f.tif",
        "contemptuous/g.png",
    )
    frame = manifest.load(folder(root, tmp_path / "faces.csv"))
    assert frame.columns.tolist() == ["path", "emotion", "file"]
    assert dict(zip(frame["path"], frame["emotion"], strict=True)) == {
        "faces/ANGRY/a.webp": "anger",
        "faces/Disgusted/f.tif": "disgust",
        "faces/Happy/10.jpg": "happiness",
        "faces/Happy/2.JPG": "happiness",
        "faces/Neutral/d.bmp": "neutral",
        "faces/afraid/c.gif": "fear",
        "faces/contemptuous/g.png": "contempt",
        "faces/happiness/x.png": "happiness",
        "faces/sad/deep/er/b.tiff": "sadness",
        "faces/surprised/e.jpeg": "surprise",
    }
    assert frame["path"].tolist() == sorted(frame["path"])
    assert ADAPTERS["folder"] is folder


def test_levels_name_the_folders_from_the_top(tmp_path: Path) -> None:
    root = touch(tmp_path / "mix", "CK+/Anger/S010/001/1.png", "MMI/fear/S1/2.png")
    frame = manifest.load(folder(root, tmp_path / "a.csv", levels=["source", "emotion", "subject"]))
    assert frame[["source", "emotion", "subject"]].to_numpy().tolist() == [
        ["CK+", "anger", "S010"],
        ["MMI", "fear", "S1"],
    ]
    root = touch(tmp_path / "caer", "Train/Anger/1.png", "val/Anger/1.png", "TESTING/Anger/1.png")
    frame = manifest.load(folder(root, tmp_path / "b.parquet", levels=["split", "emotion"]))
    assert frame["split"].tolist() == ["test", "train", "validation"]
    frame = manifest.load(folder(root, tmp_path / "c.csv", levels=["cam", "emotion"]))
    assert frame["cam"].tolist() == ["TESTING", "Train", "val"]


def test_what_systems_leave_behind_is_passed_over_and_other_files_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = touch(
        tmp_path / "faces",
        "joy/a.jpg",
        "joy/._a.jpg",
        "joy/Thumbs.db",
        "joy/.DS_Store",
        "joy/desktop.ini",
        "__MACOSX/joy/a.jpg",
        ".cache/joy/b.jpg",
        "readme.txt",
        "joy/a.txt",
        "joy/LICENSE",
    )
    out = folder(root, tmp_path / "faces.csv")
    assert manifest.load(out)["path"].tolist() == ["faces/joy/a.jpg"]
    assert capsys.readouterr() == (
        "",
        f"{out}: 1 images, 1 emotions; skipped 3 files that are no images: 2 .txt, 1 no suffix\n",
    )


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    root = touch(tmp_path / "faces", "joy/a.jpg")
    touch(tmp_path / "elsewhere", "b.jpg")
    (root / "fear").symlink_to(tmp_path / "elsewhere")
    frame = manifest.load(folder(root, tmp_path / "out1.csv"))
    assert frame["path"].tolist() == ["faces/fear/b.jpg", "faces/joy/a.jpg"]
    (root / "joy/again").symlink_to(root)
    assert "links back to a folder that holds it" in problem(root)


def test_a_link_to_nothing_is_a_missing_image(tmp_path: Path) -> None:
    root = touch(tmp_path / "faces", "joy/a.jpg")
    (root / "joy/b.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert "no image" in problem(root)


def test_unknown_folders_are_shown_at_once(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "faces", "hapiness/1.jpg", "hapiness/2.jpg", "Test/x.jpg", "joy/y.jpg", "z.jpg", "cats/1.jpg"
    )
    assert [line.removeprefix(f"{root}: ") for line in problem(root).split("\n")] == [
        f"1 images are in no folder emotion, the first is {root}/z.jpg: move them or change --levels",
        "the folder 'Test' (1 images) is no known emotion: if the emotions' folders are in it, say --levels "
        "[split,emotion]",
        "the folder 'cats' (1 images) is no known emotion: name emotions of your own with --emotions, other "
        "levels with --levels",
        "the folder 'hapiness' (2 images) is no known emotion: did you mean 'happiness'? Rename the folder",
    ]
    many = touch(tmp_path / "many", *(f"x{n:02d}/1.jpg" for n in range(30)))
    assert problem(many).endswith("... and 10 more")
    splits = touch(tmp_path / "splits", "dev/joy/1.jpg")
    assert problem(splits, levels=["split", "emotion"]).endswith(
        "the folder 'dev' (1 images) is no known split: expected one of train, validation, test"
    )


def test_emotions_of_the_users_own(tmp_path: Path) -> None:
    root = touch(tmp_path / "faces", "Bored/1.jpg", "sleepy/1.jpg")
    own = ["Bored", "sleepy"]
    frame = manifest.load(folder(root, tmp_path / "a.csv", emotions=own), tuple(own))
    assert frame["emotion"].tolist() == own
    assert "'sleepy'" in problem(root, emotions=["Bored"])


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    root = touch(tmp_path / "faces", "joy/a.mp4", "joy/b.mp4", "joy/c.avi")
    assert problem(root) == (
        f"{root} holds no image (.bmp .gif .jpeg .jpg .png .tif .tiff .webp) at any "
        "depth; found 3 other files: 2 .mp4, 1 .avi"
    )
    (tmp_path / "empty").mkdir()
    assert problem(tmp_path / "empty").endswith("found no files at all")
    assert problem(tmp_path / "absent") == f"{tmp_path}/absent is no folder"


@pytest.mark.parametrize("levels", ["source", "emotion emotion", "emotion path", "x1 emotion"])
def test_levels_that_cannot_be_columns(tmp_path: Path, levels: str) -> None:
    root = touch(tmp_path / "faces", "joy/a.jpg")
    assert "name each level once, one of them emotion" in problem(root, levels=levels.split())


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch(tmp_path / "faces", "joy/a.jpg", "fear/a.jpg")
    scandir = os.scandir

    def refused(path: str) -> object:
        if path.endswith("fear"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert problem(root) == f"{root}/fear cannot be listed: Permission denied"


def test_an_existing_manifest_is_kept(tmp_path: Path) -> None:
    root = touch(tmp_path / "faces", "joy/a.jpg")
    out = folder(root, tmp_path / "a.csv")
    with pytest.raises(InputError, match="exists already"):
        folder(root, out)
    touch(root, "joy/b.jpg")
    assert len(manifest.load(folder(root, out, overwrite=True))) == 2

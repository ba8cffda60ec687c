"""EmoSet: lists in JSON, with three or four fields, and attributes in a file an image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emodo import manifest
from emodo.adapters.emoset import emoset
from emodo.adapters.relabel import relabel
from emodo.ontology import SETS
from emodo.records import InputError

ENTRIES = {"train": ["amusement_1", "fear_1", "awe_3"], "val": ["sadness_7"], "test": ["anger_1", "contentment_2"]}
INFO = {"emotion": {"label2idx": {name: at for at, name in enumerate(SETS["mikels"])}, "idx2label": {}}}


def entry(name: str) -> list[str]:
    emotion = name.partition("_")[0]
    return [emotion, name, f"image/{emotion}/{name}.jpg", f"annotation/{emotion}/{name}.json"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "EmoSet-118K"
    for part, names in ENTRIES.items():
        for name in names:
            emotion, _, image, annotation = entry(name)
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            (folder / image).touch()
            (folder / annotation).parent.mkdir(parents=True, exist_ok=True)
            held = {"image_id": name, "emotion": emotion, "brightness": 0.4, "object": ["Tree", "Person"]}
            (folder / annotation).write_text(json.dumps(held | ({"scene": "beach"} if name == "awe_3" else {})))
        (folder / f"{part}.json").write_text(json.dumps([entry(name) for name in names]))
    (folder / "info.json").write_text(json.dumps(INFO))
    return folder


def problem(root: Path, **options: object) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        emoset(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def edit(root: Path, part: str, *entries: object) -> Path:
    (root / f"{part}.json").write_text(json.dumps(list(entries)))
    return root


def test_lists_give_label_and_split(root: Path, tmp_path: Path, capsys) -> None:
    out = emoset(root, tmp_path / "out.csv")
    frame = manifest.load(out)
    assert frame.columns.tolist() == ["path", "emotion", "source", "split", "file"]
    assert frame["path"].tolist()[0] == "EmoSet-118K/image/amusement/amusement_1.jpg"
    assert frame["emotion"].tolist() == ["amusement", "fear", "awe", "sadness", "anger", "contentment"]
    assert frame["split"].tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert "6 listed images, published are 118102" in capsys.readouterr().err


def test_attributes_become_columns(root: Path, tmp_path: Path) -> None:
    frame = manifest.load(emoset(root, tmp_path / "out.csv", attributes=["scene", "brightness", "object"]))
    assert frame["brightness"].tolist() == ["0.4"] * 6
    assert frame["object"].tolist() == ["Tree|Person"] * 6
    assert frame["scene"].fillna("").tolist() == ["", "", "beach", "", "", ""]
    assert problem(root, attributes=["scenes"]).startswith("--attributes scenes: EmoSet has brightness, colorfulness")


def test_an_annotation_that_cannot_be_read(root: Path) -> None:
    file = root / "annotation" / "fear" / "fear_1.json"
    file.write_text('{"brightness": ')
    assert problem(root, attributes=["brightness"]).startswith(f"{file} cannot be read as JSON (")
    file.unlink()
    assert problem(root, attributes=["brightness"]).startswith(f"{file} cannot be read as JSON (")


def test_three_fields_in_any_order(root: Path, tmp_path: Path) -> None:
    whole = emoset(root, tmp_path / "a.csv").read_text()
    edit(root, "train", *(entry(name)[:1] + entry(name)[2:] for name in ENTRIES["train"]))
    edit(root, "test", *(entry(name)[2::-2] for name in ENTRIES["test"]))
    assert emoset(root, tmp_path / "b.csv").read_text() == whole


def test_numbers_are_those_of_info(root: Path, tmp_path: Path) -> None:
    edit(root, "train", [6, *entry("fear_1")[1:]], ["0", *entry("amusement_1")[1:]])
    assert manifest.load(emoset(root, tmp_path / "a.csv"))["emotion"].tolist()[:2] == ["fear", "amusement"]
    (root / "info.json").write_text(
        json.dumps({"emotion": {"label2idx": {n: i for i, n in enumerate(sorted(SETS["mikels"]))}}})
    )
    edit(root, "train", [6, *entry("fear_1")[1:]], [1, *entry("anger_1")[1:]])
    edit(root, "test", entry("contentment_2"))
    assert manifest.load(emoset(root, tmp_path / "b.csv"))["emotion"].tolist()[:2] == ["fear", "anger"]


def test_its_own_two_classes_and_ours_are_the_same_words(root: Path, tmp_path: Path) -> None:
    frame = manifest.load(relabel(emoset(root, tmp_path / "a.csv"), tmp_path / "two.csv", to="2"))
    assert frame["emotion"].tolist() == ["positive", "negative", "positive", "negative", "negative", "positive"]


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ("{}", "has no numbers of emotions"),
        ('{"emotion": {"label2idx": {"joy": 0}}}', "numbers joy, and EmoSet has amusement"),
        ('{"emotion": {"label2idx": {"awe": "x"}}}', "has no numbers of emotions"),
        ("[1]", "is no table"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_another_info_is_refused(root: Path, info: str, said: str) -> None:
    (root / "info.json").write_text(info)
    assert problem(root).startswith(f"{root}/info.json {said}")


def test_wrong_entries_are_shown_with_their_numbers(root: Path) -> None:
    edit(root, "train", entry("fear_1"), ["joy", *entry("awe_3")[1:]], ["awe", "x"], "awe", entry("fear_1"))
    assert [line.removeprefix(f"{root}/train.json: ") for line in problem(root).split("\n")] == [
        'entry 2: ["joy", "awe_3", "image/awe/awe_3.jpg", "annotation/awe/awe_3.json"] has no emotion',
        'entry 3: ["awe", "x"] has no image',
        'entry 4: "awe" has no image',
        f"entry 5: image/fear/fear_1.jpg is listed already at {root}/train.json: entry 1",
    ]


def test_an_image_in_two_parts_is_refused(root: Path) -> None:
    edit(root, "val", entry("fear_1"))
    assert problem(root) == (
        f"{root}/val.json: entry 1: image/fear/fear_1.jpg is listed already at {root}/train.json: entry 2"
    )


def test_a_list_that_is_none(root: Path) -> None:
    (root / "val.json").write_text('[["awe",')
    assert problem(root).startswith(f"{root}/val.json cannot be read as JSON (")
    (root / "val.json").write_text("{}")
    assert problem(root) == f"{root}/val.json is no list"


def test_missing_images_and_parts(root: Path, tmp_path: Path, capsys) -> None:
    (root / "val.json").unlink()
    (root / "image" / "fear" / "fear_1.jpg").unlink()
    assert problem(root).endswith("train.json: entry 2: no image image/fear/fear_1.jpg")
    assert len(manifest.load(emoset(root, tmp_path / "out.csv", skip_missing=True))) == 4
    said = capsys.readouterr().err
    assert "no val.json" in said
    assert "left out 1 of 5 listed images" in said


def test_the_wrong_folder(tmp_path: Path, root: Path) -> None:
    assert "holds no 'train.json' or 'val.json' or 'test.json'" in problem(root / "image")
    assert len(manifest.load(emoset(tmp_path, tmp_path / "out.csv"))) == 6
    for part in ENTRIES:
        (root / f"{part}.json").write_text("[]")
    assert problem(root) == f"{root}: train, val, test.json list no image"

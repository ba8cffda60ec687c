"""Leakage gates: found are sequences, subjects and copies across parts, and the hash is the one that is described."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageOps

from emodo import leakage as gates
from emodo import manifest
from emodo.__main__ import main
from emodo.records import InputError

WIDE = 96


def picture(seed, size=WIDE):
    """A picture of its own with more of the coarse than of the fine, as photographs are."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((size, size), 3), float
        )
        for side in (4, 8, 16, 32)
    ]
    return Image.fromarray(sum(layer / 2**at for at, layer in enumerate(layers, 1)).astype(np.uint8))


@pytest.fixture
def make(tmp_path):
    """Write images and their manifest: rows of (name, image or bytes, split, further columns)."""

    def write(*rows, **columns):
        paths = []
        for name, content, *_ in rows:
            file = tmp_path / name
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                content.save(file)
            paths.append(name)
        frame = pd.DataFrame({"path": paths, "emotion": "joy"} | columns)
        if len(rows[0]) > 2:
            frame["split"] = [row[2] for row in rows]
        frame.to_csv(tmp_path / "m.csv", index=False)
        return tmp_path / "m.csv"

    return write


def found(file, near=None):
    """Rows and matches of every gate, counted from 1."""
    frame = gates._load(file, None)
    return {
        leak.gate: list(zip((leak.rows + 1).tolist(), (leak.match + 1).tolist(), strict=True))
        for leak in gates.leaks(frame, file, near)
    }


# ---------------------------------------------------------------------------------- keys and files


def test_shared_sequences_and_subjects_are_those_of_their_source(make):
    names = "abcdefgh"
    file = make(
        *((f"{name}.png", picture(at), "test" if at < 4 else "train") for at, name in enumerate(names)),
        source=["A", "A", "B", "B"] * 2,
        sequence=["1", "2", "3", "4", "2", "5", "1", None],
        subject=["P", "Q", "P", None, "Q", "R", "Q", None],
    )
    assert found(file) == {"sequence": [(2, 5)], "subject": [(2, 5)], "identical": []}
    leak = gates.leaks(gates._load(file, None), file)
    assert [(each.of, each.shared) for each in leak[:2]] == [(4, (1, 4)), (4, (1, 3))]


def test_a_test_row_is_paired_with_the_first_row_of_another_part(make):
    same = picture(0)
    parts = ["train", "test", "validation", "test", "train", "test"]
    file = make(*((f"{at}.png", same if at != 5 else picture(1), part) for at, part in enumerate(parts)))
    assert found(file)["identical"] == [(2, 1), (4, 1)]
    [_, leak] = gates.leaks(gates._load(file, None), file)
    assert leak.others.tolist() == [0, 2, 4]


def test_only_files_of_equal_size_across_parts_are_read(make, monkeypatch):
    parts = ["train", "train", "test", "test", "test"]
    content = [b"same in", b"same in", b"other12", b"longer than these", b""]
    file = make(*((f"{at}.png", content[at], part) for at, part in enumerate(parts)))
    read = []
    digest = gates._digest
    monkeypatch.setattr(gates, "_digest", lambda file: read.append(file.name) or digest(file))
    assert found(file)["identical"] == []
    assert sorted(read) == ["0.png", "1.png", "2.png"]


def test_empty_files_are_no_copies(make):
    file = make(*((f"{at}.png", b"", part) for at, part in enumerate(["train", "test"])))
    assert found(file)["identical"] == []


def test_two_people_of_one_image_are_a_copy_where_their_sequences_are_in_two_parts(make, tmp_path):
    make(("a.png", picture(0)), ("b.png", picture(1)))
    box = {"x1": [0, 40, 0], "y1": 0, "x2": [40, 96, 96], "y2": 96}
    frame = pd.DataFrame({"path": ["a.png", "a.png", "b.png"], "emotion": "joy", "sequence": list("123")} | box)
    frame["split"] = ["train", "test", "train"]
    frame.to_csv(tmp_path / "m.csv", index=False)
    assert found(tmp_path / "m.csv", near=0) == {"sequence": [], "identical": [(2, 1)], "near": [(2, 1)]}


def test_without_a_split_copies_count_in_other_sequences_only(make):
    a, b = picture(0), picture(1)
    file = make(
        *((f"{at}.png", image) for at, image in enumerate([a, a, b, a, b, picture(2)])),
        sequence=["1", "1", "1", "2", "1", "3"],
    )
    assert found(file, near=0) == {"identical": [(1, 4), (2, 4), (4, 1)], "near": [(1, 4), (2, 4), (4, 1)]}


# ----------------------------------------------------------------------------------------- the hash


def plain_hash(pixels):
    """The hash from its description, a sum at a time: DCT-II, the 256 lowest frequencies, above the median or not."""
    n = len(pixels)

    def coefficient(u, v):
        return sum(
            float(pixels[i, j])
            * math.cos(math.pi * u * (2 * i + 1) / (2 * n))
            * math.cos(math.pi * v * (2 * j + 1) / (2 * n))
            for i in range(n)
            for j in range(n)
        )

    order = [(u, level - u) for level in range(1, 2 * n) for u in range(level + 1) if u < n and level - u < n]
    values = [round(coefficient(u, v), 3) for u, v in order[:256]]
    middle = (sorted(values)[127] + sorted(values)[128]) / 2
    return [value > middle for value in values]


def bits(hashed):
    return np.unpackbits(hashed.view(np.uint8)).astype(bool).tolist()


def test_the_hash_is_the_one_described():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32), dtype=np.uint8)
    assert bits(gates.hashes(pixels)[0]) == plain_hash(pixels[0])


def test_an_image_of_one_colour_has_no_bits_of_rounding_errors():
    pixels = np.stack([np.full((32, 32), value, np.uint8) for value in (0, 1, 77, 255)])
    assert not gates.hashes(pixels).any()


def test_the_nearest_is_the_nearest_of_another_group():
    rng = np.random.default_rng(0)
    left, right = (rng.random((count, 256)) < 0.5 for count in (70, 300))
    for at in range(0, 60, 2):  # planted at 0 to 40 bits, some twice
        for other in rng.choice(300, 2):
            flipped = rng.choice(256, rng.integers(41), replace=False)
            right[other] = left[at]
            right[other, flipped] ^= True
    groups = rng.integers(0, 3, 70), rng.integers(0, 3, 300)
    packed = [np.ascontiguousarray(np.packbits(side, axis=1)).view(np.uint64) for side in (left, right)]
    place, differing, hit = gates.nearest(*packed, 16, *groups)
    apart = (left[:, None] != right[None]).sum(axis=2)
    apart[groups[0][:, None] == groups[1][None]] = 999
    close = apart.min(axis=1) <= 16
    assert 5 < close.sum() < 40
    assert (place >= 0).tolist() == close.tolist()
    assert place[close].tolist() == apart.argmin(axis=1)[close].tolist()
    assert differing[close].tolist() == apart.min(axis=1)[close].tolist()
    assert hit.tolist() == (apart <= 16).any(axis=0).tolist()


def test_blocks_make_no_difference(monkeypatch):
    rng = np.random.default_rng(1)
    hashed = rng.integers(0, 2**63, (50, 4), dtype=np.uint64)
    hashed[::7] = hashed[0] ^ np.arange(8, dtype=np.uint64)[:, None]
    number = np.arange(50)
    whole = gates.nearest(hashed, hashed, 16, number, number)
    monkeypatch.setattr(gates, "ROWS", 3)
    monkeypatch.setattr(gates, "COLUMNS", 7)
    parts = gates.nearest(hashed, hashed, 16, number, number)
    assert (whole[0] >= 0).sum() == 8
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


COPIES = {
    "compressed.jpg": lambda image: image,
    "half.png": lambda image: image.resize((WIDE // 2, WIDE // 2)),
    "double.jpg": lambda image: image.resize((WIDE * 2, WIDE * 2)),
    "gray.png": lambda image: image.convert("L"),
    "bright.png": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "alpha.png": lambda image: image.convert("RGBA"),
    "palette.png": lambda image: image.convert("L").quantize(256),
    "sixteen.png": lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257),
}
OTHERS = {
    "mirrored.png": ImageOps.mirror,
    "turned.png": lambda image: image.rotate(15),
    "colours.gif": lambda image: image.quantize(64),
    "cropped.png": lambda image: image.crop((12, 12, 84, 84)),
}


@pytest.mark.parametrize("seed", range(4))
def test_copies_are_found_and_other_images_are_not(make, seed):
    image = picture(seed)
    rows = [("original.png", image, "train")]
    rows += [(name, change(image), "test") for name, change in (COPIES | OTHERS).items()]
    rows += [(f"{other}.png", picture(100 + other), "test") for other in range(20)]
    assert found(make(*rows), near=16)["near"] == [(row, 1) for row in range(2, 2 + len(COPIES))]


def test_an_image_lies_on_its_side_as_its_header_says(make):
    exif = Image.Exif()
    exif[274] = 6
    image = picture(3)
    file = make(("a.png", image, "train"), ("b.jpg", image, "test"))
    image.rotate(90, expand=True).save(file.parent / "b.jpg", exif=exif, quality=95)
    assert found(file, near=16)["near"] == [(2, 1)]


def test_frames_of_one_sequence_may_look_alike_within_a_part(make):
    frames = [ImageEnhance.Brightness(picture(0)).enhance(factor) for factor in (1, 0.95, 0.9)]
    other = picture(1)
    rows = [(f"{at}.png", frame, "train") for at, frame in enumerate(frames)]
    rows += [(f"{at + 3}.png", ImageEnhance.Brightness(other).enhance(1 - at / 20), "test") for at in range(3)]
    file = make(*rows, sequence=list("111222"))
    assert found(file, near=16) == {"sequence": [], "identical": [], "near": []}
    assert found(file.with_name("m.csv"), near=64)["near"] == []


# ----------------------------------------------------------------------------------------- the verb


@pytest.fixture
def leaking(make):
    """Nine rows: one copy, one near copy and one shared subject of the test part, in train and in validation."""
    a, b = picture(0), picture(1)
    return make(
        ("a.png", a, "train"),
        ("b.png", b, "train"),
        ("c.png", picture(2), "train"),
        ("d.png", picture(3), "train"),
        ("e.jpg", b, "validation"),
        ("f.png", picture(4), "validation"),
        ("g.png", a, "test"),
        ("h.png", b.resize((50, 50)), "test"),
        ("i.png", picture(5), "test"),
        subject=["P", "Q", "R", "S", "T", "U", "V", "W", "S"],
    )


def test_the_report_names_rows_and_paths(leaking, capsys):
    assert main(["leakage", str(leaking), "--near", "16"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines()[:5] == [
        "0 of 3 test sequences are in train or validation too (0 of 3 test rows)",
        "1 of 3 test subjects are in train or validation too (1 of 3 test rows)",
        "  row 9 (i.png, test) and row 4 (d.png, train)",
        "1 of 3 test rows have an image that is byte for byte one of train or validation",
        "  row 7 (g.png, test) and row 1 (a.png, train)",
    ]
    assert told.out.splitlines()[5] == "2 of 3 test rows have an image that looks like one of train or validation"
    assert told.out.splitlines()[6] == "  row 7 (g.png, test) and row 1 (a.png, train), 0 of 256 bits apart"
    assert told.out.splitlines()[7].startswith("  row 8 (h.png, test) and row ")


def test_the_report_as_json_has_every_pair(leaking, capsys):
    assert main(["leakage", str(leaking), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "manifest": str(leaking),
        "rows": 9,
        "parts": {"train": 4, "validation": 2, "test": 3},
        "gates": {
            "sequence": {"rows": 0, "of": 3, "other_rows": 0, "pairs": []},
            "subject": {
                "rows": 1,
                "of": 3,
                "other_rows": 1,
                "pairs": [{"row": 9, "path": "i.png", "other_row": 4, "other_path": "d.png"}],
            },
            "identical": {
                "rows": 1,
                "of": 3,
                "other_rows": 1,
                "pairs": [{"row": 7, "path": "g.png", "other_row": 1, "other_path": "a.png"}],
            },
        },
    }
    assert main(["leakage", str(leaking), "--json", "--near", "16"]) == 0
    near = json.loads(capsys.readouterr().out)["gates"]["near"]
    assert (near["rows"], near["other_rows"]) == (2, 3)
    assert [pair["row"] for pair in near["pairs"]] == [7, 8]
    assert near["pairs"][0]["bits"] == 0
    assert near["pairs"][1]["bits"] <= 16


def test_clean_drops_what_leaks_from_train_and_validation_only(leaking, tmp_path, capsys):
    out = tmp_path / "clean.csv"
    assert main(["leakage", str(leaking), "--clean", str(out)]) == 0
    assert manifest.load(out)["path"].tolist() == [f"{name}.png" for name in "bcd"] + ["e.jpg"] + [
        f"{name}.png" for name in "fghi"
    ]
    assert "clean.csv: 1 rows of train and validation dropped\n" in capsys.readouterr().err
    assert main(["leakage", str(leaking), "--near", "16", "--clean", str(out), "--overwrite"]) == 0
    assert manifest.load(out)["path"].tolist() == [f"{name}.png" for name in "cdfghi"]
    assert "3 rows of train and validation dropped" in capsys.readouterr().err
    assert found(out, near=16) == {"sequence": [], "subject": [(6, 2)], "identical": [], "near": []}


def test_shared_sequences_are_reported_not_refused_and_cleaned(make, tmp_path):
    file = make(
        *((f"{at}.png", picture(at), part) for at, part in enumerate(["train", "train", "test", "train"])),
        sequence=list("1232"),
    )
    frame = pd.read_csv(file, dtype=str)
    frame.loc[2, "sequence"] = "2"
    frame.to_csv(file, index=False)
    with pytest.raises(InputError, match="sequence '2' is in test here and in train"):
        manifest.load(file)
    assert found(file)["sequence"] == [(3, 2)]
    gates.leakage(file, clean=tmp_path / "clean.csv")
    assert manifest.load(tmp_path / "clean.csv")["path"].tolist() == ["0.png", "2.png"]


def test_strict_reports_and_refuses(leaking, make, tmp_path, capsys):
    out = tmp_path / "clean.csv"
    assert main(["leakage", str(leaking), "--strict", "--clean", str(out)]) == 2
    told = capsys.readouterr()
    assert "byte for byte" in told.out
    assert told.err == f"emodo leakage: {leaking} leaks\n"
    assert not out.exists()
    clean = make(*((f"{at}.png", picture(at), part) for at, part in enumerate(["train", "test"])))
    assert main(["leakage", str(clean), "--strict", "--near", "16"]) == 0


def test_what_cannot_be_looked_at(make, leaking, tmp_path):
    frame = pd.read_csv(leaking, dtype=str)
    bad = tmp_path / "bad.csv"

    def refused(changed, message, **options):
        changed.to_csv(bad, index=False)
        with pytest.raises(InputError, match=message):
            gates.leakage(bad, **options)
        assert not (tmp_path / "clean.csv").exists()

    clean = {"clean": tmp_path / "clean.csv"}
    refused(frame.replace({"validation": "dev"}), r"bad\.csv: row 5: the split is 'dev': expected one of train, val")
    refused(frame.assign(split=frame["split"].where(frame.index != 2)), "row 3: the split is nan", **clean)
    refused(frame.assign(split="test"), r"bad\.csv: the train part is empty")
    refused(frame.assign(split="train"), r"bad\.csv: the test part is empty")
    refused(frame.drop(columns="split"), "no column split, so there is nothing to clean: split it first", **clean)
    refused(frame, "--near is -1: it is a number of bits from 0 to 64, of 256; try 16", near=-1)
    fear = frame.assign(emotion=["fear", *["joy"] * 7, "fear"])
    refused(fear, r"bad\.csv: without the rows that leak, no training image of fear", **clean)
    with pytest.raises(InputError, match=r"m\.csv exists already"):
        gates.leakage(leaking, clean=leaking)
    with pytest.raises(InputError, match=r"claims 96 x 96 pixels, more than the limit of 9000"):
        gates.leakage(leaking, near=16, max_pixels=9000)


def test_images_that_cannot_be_read_are_named_by_row(leaking):
    whole = (leaking.parent / "e.jpg").read_bytes()
    (leaking.parent / "e.jpg").write_bytes(whole[: len(whole) // 2])
    (leaking.parent / "f.png").write_text("no image")
    (leaking.parent / "h.png").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        gates.leakage(leaking, near=16)
    assert str(caught.value).splitlines() == [
        f"{leaking}, row 5: the image e.jpg is truncated",
        f"{leaking}, row 6: the image f.png is not a readable image",
        f"{leaking}, row 8: the image h.png is empty (zero bytes)",
        "Replace these images or remove their rows.",
    ]


def test_generated_people_do_not_look_alike_to_the_hash(faces):
    frame = manifest.load(faces)
    assert [(leak.gate, len(leak.rows)) for leak in gates.leaks(frame, Path("m"), near=16)][2:] == [
        ("identical", 0),
        ("near", 0),
    ]

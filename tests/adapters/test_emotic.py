"""EMOTIC: the MATLAB file, mat2py's tables and the npy release give the same people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from emodo import manifest
from emodo.adapters import arrays
from emodo.adapters.emotic import emotic
from emodo.ontology import SETS
from emodo.records import InputError

BOX = ["x1", "y1", "x2", "y2"]
VAD = ["valence", "arousal", "dominance"]
NPY_ORDER = [
    *(
        "Peace",
        "Affection",
        "Esteem",
        "Anticipation",
        "Engagement",
        "Confidence",
        "Happiness",
        "Pleasure",
        "Excitement",
    ),
    *("Surprise", "Sympathy", "Doubt/Confusion", "Disconnection", "Fatigue", "Embarrassment", "Yearning"),
    *("Disapproval", "Aversion", "Annoyance", "Anger", "Sensitivity", "Sadness", "Disquietment", "Fear", "Pain"),
    "Suffering",
]


def struct(*records: dict[str, Any]) -> np.ndarray:
    """A 1 x N struct, as MATLAB has it."""
    made = np.zeros((1, len(records)), [(name, object) for name in records[0]])
    for at, record in enumerate(records):
        for name, value in record.items():
            made[0, at][name] = value
    return made


def cell(*names: str) -> np.ndarray:
    made = np.zeros((1, len(names)), object)
    made[0, :] = names
    return made


def dimensions(valence: float, arousal: float = 5, dominance: float = 5) -> np.ndarray:
    return struct({"valence": valence, "arousal": arousal, "dominance": dominance})


def person(box: list[float], *names: str, vad: float = 6, train: bool = True, gender: str = "Male") -> dict[str, Any]:
    given = {"body_bbox": np.array([box], float), "annotations_categories": struct({"categories": cell(*names)})}
    if train:
        return given | {"annotations_continuous": dimensions(vad), "gender": gender, "age": "Adult"}
    others = struct({"categories": cell("Anger")}, {"categories": cell(*names)})
    return {
        "body_bbox": given["body_bbox"],
        "annotations_categories": others,
        "combined_categories": cell(*names),
        "annotations_continuous": struct(*[{"valence": v, "arousal": 1.0, "dominance": 1.0} for v in (1.0, 2.0)]),
        "combined_continuous": dimensions(vad, 4.5),
        "gender": gender,
        "age": "Kid",
    }


def record(file: str, size: tuple[int, int], *people: dict[str, Any]) -> dict[str, Any]:
    folder, _, name = file.rpartition("/")
    return {
        "filename": name,
        "folder": folder,
        "image_size": struct({"n_col": size[0], "n_row": size[1]}),
        "original_database": struct({"name": folder.partition("/")[0], "info": np.zeros((0, 0))}),
        "person": struct(*people),
    }


TRAIN = [
    record(
        "mscoco/images/a.jpg",
        (80, 60),
        person([10, 5, 30, 50], "Happiness", "Engagement"),
        person([40, -3, 90, 60], "Doubt/Confusion", vad=float("nan"), gender="Female"),
    ),
    record("framesdb/images/b.jpg", (60, 80), person([0, 0, 80, 60], "Peace")),  # width and height changed
]
VAL = [record("emodb_small/images/c.jpg", (80, 60), person([1, 2, 3, 4], "Yearning", "Fear", train=False))]
TEST = [record("ade20k/images/d.jpg", (80, 60), person([5, 5, 9, 9], "Pain", vad=3, train=False))]
EXPECTED = {
    ("a.jpg", 10.0): "engagement|happiness",
    ("a.jpg", 40.0): "doubt/confusion",
    ("b.jpg", 0.0): "peace",
    ("c.jpg", 1.0): "fear|yearning",
    ("d.jpg", 5.0): "pain",
}


def annotate(root: Path, train: Any = None, val: Any = None, test: Any = None, name: str = "Annotations.mat") -> Path:
    held = {"train": train or TRAIN, "val": val or VAL, "test": test or TEST}
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    savemat(root / "Annotations" / name, {part: struct(*records) for part, records in held.items()})
    return root


def drawn(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 60)).save(root / file)
    return root


FILES = ["mscoco/images/a.jpg", "framesdb/images/b.jpg", "emodb_small/images/c.jpg", "ade20k/images/d.jpg"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    drawn(tmp_path / "EMOTIC" / "emotic", *FILES)
    return annotate(tmp_path / "EMOTIC")


def read(out: Path) -> pd.DataFrame:
    return manifest.load(out)


def labels(out: Path) -> dict[tuple[str, float], str]:
    frame = read(out)
    names = [path.rpartition("/")[2] for path in frame["path"]]
    return dict(zip(zip(names, frame["x1"], strict=True), frame["emotion"], strict=True))


def problem(root: Path, **options: object) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        emotic(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


# ---------------------------------------------------------------------------------- the authors' release


def test_people_of_the_matlab_file(root: Path, tmp_path: Path, capsys) -> None:
    out = emotic(root, tmp_path / "out.csv")
    frame = read(out)
    assert labels(out) == EXPECTED
    assert frame.columns.tolist() == ["path", "emotion", "source", *BOX, "split", *VAD, "gender", "age", "file"]
    assert frame["source"].tolist() == ["mscoco", "mscoco", "framesdb", "emodb_small", "ade20k"]
    assert frame["split"].tolist() == ["train"] * 3 + ["validation", "test"]
    assert frame["gender"].tolist() == ["Male", "Female", "Male", "Male", "Male"]
    assert frame["age"].tolist() == ["Adult"] * 3 + ["Kid"] * 2
    assert "5 rows of 4 images, 7 emotions" in capsys.readouterr().err


def test_combined_labels_and_dimensions_are_those_of_val_and_test(root: Path, tmp_path: Path) -> None:
    frame = read(emotic(root, tmp_path / "out.csv"))
    assert frame["emotion"].tolist()[3] == "fear|yearning"  # and no anger, which one worker alone has given
    assert frame[VAD].astype(float).to_numpy().tolist()[3:] == [[6, 4.5, 5], [3, 4.5, 5]]


def test_dimensions_that_are_no_number_are_empty_and_counted(root: Path, tmp_path: Path, capsys) -> None:
    frame = read(emotic(root, tmp_path / "out.csv"))
    assert frame["valence"].isna().tolist() == [False, True, False, False, False]
    assert "1 people lack valence, arousal or dominance" in capsys.readouterr().err


def test_boxes_are_cut_to_the_file_and_swapped_sizes_told(root: Path, tmp_path: Path, capsys) -> None:
    frame = read(emotic(root, tmp_path / "out.csv"))
    assert frame[BOX].to_numpy().tolist()[:3] == [[10, 5, 30, 50], [40, 0, 80, 60], [0, 0, 80, 60]]
    said = capsys.readouterr().err
    assert "1 boxes reached outside their image and were cut" in said
    assert "1 images have width and height changed in the annotations" in said
    annotate(
        root, [record("mscoco/images/a.jpg", (90, 60), person([90, 0, 95, 9], "Fear"), person([1, 1, 9, 9], "Fear"))]
    )
    emotic(root, tmp_path / "two.csv")
    said = capsys.readouterr().err
    assert "1 images are of another size than the annotations say" in said
    assert "1 people are outside their image or in one of 0 that cannot be read" in said


def test_what_stands_without_its_array(root: Path, tmp_path: Path) -> None:
    """One record, one person, one category: MATLAB may save the bare thing, and SciPy read it."""
    bare = person([1, 1, 9, 9], "Fear")
    bare["annotations_categories"] = struct({"categories": "Fear"})
    tested = person([2, 1, 9, 9], "Pain", train=False) | {"combined_categories": "Pain"}
    annotate(root, [record(FILES[0], (80, 60), bare)], [record(FILES[2], (80, 60), tested)])
    assert labels(emotic(root, tmp_path / "out.csv")) == {
        **{("a.jpg", 1.0): "fear", ("c.jpg", 2.0): "pain", ("d.jpg", 5.0): "pain"}
    }


def test_a_person_without_an_emotion_is_left_out_and_counted(root: Path, tmp_path: Path, capsys) -> None:
    annotate(root, [record(FILES[0], (80, 60), person([1, 1, 9, 9]), person([2, 1, 9, 9], "Fear"))])
    assert ("a.jpg", 1.0) not in labels(emotic(root, tmp_path / "out.csv"))
    assert "1 people have no emotion, and were left out" in capsys.readouterr().err


def test_the_same_person_twice_and_an_image_in_two_splits(root: Path, tmp_path: Path, capsys) -> None:
    again = [record(FILES[0], (80, 60), person([1, 1, 9, 9], "Fear"), person([1, 1, 9, 9], "Pain"))]
    annotate(root, [*again, record(FILES[3], (80, 60), person([1, 1, 9, 9], "Anger"))])
    found = labels(emotic(root, tmp_path / "out.csv"))
    assert found[("a.jpg", 1.0)] == "fear"
    assert ("d.jpg", 1.0) not in found
    said = capsys.readouterr().err
    assert "1 people have the image and the box of another, and were left out" in said
    assert "1 people are in an image of a later split too, and were left out" in said


def test_an_emotion_that_is_none_and_a_box_that_is_none(root: Path) -> None:
    wrong = [person([1, 1, 9], "Fear"), person([1, 1, 9, 9], "Fear", "Hunger"), person([1, 1, float("nan"), 9], "Fear")]
    annotate(root, [record(FILES[0], (80, 60), *wrong)])
    file = root / "Annotations" / "Annotations.mat"
    said = problem(root).split("\n")
    assert said[0].startswith(f"{file}: train(1).person(1): the box [")
    assert said[1] == f"{file}: train(1).person(2): 'Hunger' is none of EMOTIC's 26 emotions"
    assert said[2].endswith("is not four numbers")
    assert len(said) == 3


def test_a_broken_file_is_refused(root: Path) -> None:
    file = root / "Annotations" / "Annotations.mat"
    whole = file.read_bytes()
    for data in (b"", b"not a mat file at all", whole[: len(whole) // 2], whole[:200] + b"\xff" * 300 + whole[500:]):
        file.write_bytes(data)
        assert problem(root).startswith(f"{file} cannot be read as a MATLAB file (")
    file.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM" + bytes(400))
    assert "is a file of MATLAB 7.3" in problem(root)
    savemat(file, {"train": 1})
    assert problem(root) == f"{file} has no variable val, test: it is not EMOTIC's Annotations.mat"


def test_missing_images(root: Path, tmp_path: Path, capsys) -> None:
    (root / "emotic" / FILES[0]).unlink()
    assert problem(root).split("\n") == [
        f"{root}: 2 of 5 listed images are missing: complete them, or leave them out with --skip_missing",
        *(f"{root}/Annotations/Annotations.mat: train(1).person({n}): no image {FILES[0]}" for n in (1, 2)),
    ]
    assert len(labels(emotic(root, tmp_path / "out.csv", skip_missing=True))) == 3
    assert "left out 2 of 5 listed images" in capsys.readouterr().err
    (root / "emotic" / FILES[1]).write_bytes(b"no image")
    assert len(labels(emotic(root, tmp_path / "b.csv", skip_missing=True))) == 2
    assert "1 people are outside their image or in one of 1 that cannot be read" in capsys.readouterr().err


def test_the_older_name_and_other_wrappers(tmp_path: Path) -> None:
    drawn(tmp_path / "E" / "cvpr_emotic", *FILES)
    annotate(tmp_path / "E", name="CVPR17_Annotations.mat")
    assert labels(emotic(tmp_path / "E", tmp_path / "out.csv")) == EXPECTED


def test_the_wrong_folder(tmp_path: Path, root: Path) -> None:
    assert "holds no Annotations.mat or train.csv or annot_arrs_train.csv" in problem(root / "emotic")
    assert "holds no annot_arrs_train.csv" in problem(root, layout="npy")
    out = emotic(root, tmp_path / "out.csv")
    with pytest.raises(InputError, match="exists already"):
        emotic(root, out)


# ------------------------------------------------------------------------------------- mat2py's tables

TABLE = "Index,Folder,Filename,Image Size,BBox,Categorical_Labels,Continuous_Labels,Gender,Age"


def line(number: int, file: str, size: object, box: object, labels: list[str], vad: str, gender: str, age: str) -> str:
    """A line as Python's csv module writes lists."""
    folder, _, name = file.rpartition("/")
    return f'{number},{folder},{name},"{size}","{box}","{labels}","{vad}",{gender},{age}'


ENGAGED = ["Happiness", "Engagement"]
LINES = {
    "train": [
        line(0, FILES[0], [80, 60], [10, 5, 30, 50], ENGAGED, "[6.0, 5.0, 5.0]", "Male", "Adult"),
        line(1, FILES[0], [80, 60], [40, 0, 80, 60], ["Doubt/Confusion"], "[nan, 5.0, 5.0]", "Female", "Adult"),
        line(2, FILES[1], [60, 80], [0, 0, 80, 60], ["Peace"], "[6.0, 5.0, 5.0]", "Male", "Adult"),
    ],
    "val": [line(0, FILES[2], [80, 60], [1, 2, 3, 4], ["Yearning", "Fear"], "[6.0, 4.5, 5.0]", "Male", "Kid")],
    "test": [line(0, FILES[3], [80, 60], [5, 5, 9, 9], ["Pain"], "[3.0, 4.5, 5.0]", "Male", "Kid")],
}


def tabled(root: Path, end: str = "\n", **lines: list[str]) -> Path:
    folder = root / "emotic_pre"
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in (LINES | lines).items():
        (folder / f"{part}.csv").write_bytes(end.join([TABLE, *rows]).encode())
    return root


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_the_tables_say_what_the_matlab_file_says(root: Path, tmp_path: Path, end: str) -> None:
    straight = emotic(root, tmp_path / "a.csv").read_text()
    tabled(root, end)
    assert emotic(root, tmp_path / "b.csv", layout="csv").read_text() == straight
    assert emotic(root, tmp_path / "c.csv").read_text() == straight  # the MATLAB file comes first
    (root / "Annotations" / "Annotations.mat").unlink()
    assert emotic(root, tmp_path / "d.csv").read_text() == straight


def test_wrong_lines_of_the_tables(root: Path) -> None:
    good = LINES["train"][0]
    bad = [
        good.replace("Happiness", "Joyy"),
        good.replace("[10, 5, 30, 50]", "[10, 5, 30]"),
        good.replace("['H", "['H'"),
    ]
    tabled(root, train=[*bad, good.replace("[6.0", "[__import__('os')"), good])
    said = problem(root, layout="csv").split("\n")
    start = f"{root}/emotic_pre/train.csv: line "
    assert said[0] == f"{start}2: 'Joyy' is none of EMOTIC's 26 emotions"
    assert said[1] == f"{start}3: the box [10, 5, 30] is not four numbers"
    assert [told.removeprefix(start).partition(":")[0] for told in said] == ["2", "3", "4", "5"]
    tabled(root, train=[good + ",more"])
    assert problem(root, layout="csv") == f"{start}2: 10 cells, and 9 columns"
    tabled(root)
    (root / "emotic_pre" / "val.csv").write_text("a,b\n1,2\n")
    assert problem(root, layout="csv").startswith(f"{root}/emotic_pre/val.csv: no column Folder, Filename")


# ---------------------------------------------------------------------------------------- the npy release


def header(order: list[str] = NPY_ORDER) -> str:
    first = "Filename,Width,Height,Age,Gender,Valence,Arousal,Dominance"
    return ",".join([first, *order, "X_min,Y_min,X_max,Y_max,Arr_name,Crop_name"])


def row(name: str, number: int, given: dict[str, int], box: str = "8,6,40,30", order: list[str] = NPY_ORDER) -> str:
    hot = ",".join(str(given.get(label, 0)) for label in order)
    return f"{name},80,60,Adult,Male,6,,5,{hot},{box},img_arr_{number}.npy,crop_arr_{number}.npy"


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    archive = tmp_path / "archive"
    (archive / "annots_arrs").mkdir(parents=True)
    (archive / "img_arrs").mkdir()
    rows = {"train": [row("x.jpg", 0, {"Happiness": 1, "Peace": 1}), row("x.jpg", 0, {"Fear": 1}, "0,0,80,60")],
            "val": [row("y.jpg", 1, {"Doubt/Confusion": 3})], "test": [row("z.jpg", 2, {"Yearning": 1})]}  # fmt: skip
    for part, lines in rows.items():
        (archive / "annots_arrs" / f"annot_arrs_{part}.csv").write_text("\n".join([header(), *lines]))
    pixels = np.random.default_rng(0)
    for number, shape in enumerate([(60, 80, 3), (3, 30, 40), (60, 80)]):
        np.save(archive / "img_arrs" / f"img_arr_{number}.npy", pixels.integers(0, 256, shape).astype(np.uint8))
    return archive


def pixels(file: str) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_arrays_become_images_beside_the_manifest(npy: Path, tmp_path: Path, capsys) -> None:
    out = emotic(npy, tmp_path / "made" / "out.csv")
    frame = read(out)
    assert frame["path"].tolist() == [f"out_images/img_arr_{number}.png" for number in (0, 0, 1, 2)]
    assert frame["emotion"].tolist() == ["happiness|peace", "fear", "doubt/confusion", "yearning"]
    assert frame["sequence"].tolist() == ["x.jpg", "x.jpg", "y.jpg", "z.jpg"]
    assert frame["split"].tolist() == ["train", "train", "validation", "test"]
    assert frame["arousal"].isna().all()
    assert "source" not in frame
    for number, file in zip((0, 2), frame["file"].iloc[[0, 3]], strict=True):
        assert (pixels(file) == np.load(npy / "img_arrs" / f"img_arr_{number}.npy", allow_pickle=False)).all()
    first = np.load(npy / "img_arrs" / "img_arr_1.npy", allow_pickle=False)
    assert (pixels(frame["file"].iloc[2]) == first.transpose(1, 2, 0)).all()


def test_boxes_are_scaled_to_an_array_of_another_size(npy: Path, tmp_path: Path) -> None:
    frame = read(emotic(npy, tmp_path / "out.csv"))
    assert frame[BOX].to_numpy().tolist() == [[8, 6, 40, 30], [0, 0, 80, 60], [4, 3, 20, 15], [8, 6, 40, 30]]


def test_categories_go_by_name_in_any_order(npy: Path, tmp_path: Path) -> None:
    straight = emotic(npy, tmp_path / "out.csv").read_text()
    order = [name.title() for name in SETS["emotic"]][::-1]
    for part, name, number, given in (
        ("val", "y.jpg", 1, {"Doubt/Confusion": 1}),
        ("test", "z.jpg", 2, {"Yearning": 1}),
    ):
        text = "\t".join([header(order), row(name, number, given, order=order)]).replace(",", "\t")
        cells = text.split("\t")
        lines = ["\t".join(cells[:40]), "\t".join(cells[40:])]
        (npy / "annots_arrs" / f"annot_arrs_{part}.csv").write_text("\r".join(lines))
    assert emotic(npy, tmp_path / "out.csv", overwrite=True).read_text() == straight


def test_an_interrupted_call_is_gone_on_with(npy: Path, tmp_path: Path, monkeypatch) -> None:
    written = arrays._write
    made: list[str] = []

    def interrupted(file: str, png: Path) -> str | None:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(file)
        return written(file, png)

    monkeypatch.setattr(arrays, "_write", interrupted)
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        emotic(npy, out)
    assert not out.exists()
    images = sorted((tmp_path / "out_images").iterdir())
    assert [file.suffix for file in images] == [".png"]  # whole, and nothing half-written beside it
    before = images[0].stat().st_mtime_ns
    monkeypatch.setattr(arrays, "_write", written)
    assert len(read(emotic(npy, out))) == 4
    assert images[0].stat().st_mtime_ns == before


def test_originals_are_taken_where_they_are_there(npy: Path, tmp_path: Path) -> None:
    drawn(npy / "jpg", "mscoco/images/x.jpg", "mscoco/images/z.jpg", "ade20k/images/z.jpg")  # z is ambiguous
    frame = read(emotic(npy, tmp_path / "out.csv"))
    assert frame["path"].tolist() == [
        *["archive/jpg/mscoco/images/x.jpg"] * 2,
        *("out_images/img_arr_1.png", "out_images/img_arr_2.png"),
    ]


def test_arrays_that_are_no_images_are_refused_before_anything_is_written(npy: Path, tmp_path: Path) -> None:
    folder = npy / "img_arrs"
    np.save(folder / "img_arr_0.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(folder / "img_arr_1.npy", np.zeros((2, 3, 4, 5)))
    (folder / "img_arr_2.npy").write_bytes(b"\x93NUMPY")
    said = problem(npy).split("\n")
    assert len(said) == 3
    assert all("is no array of an image (" in line for line in said)
    assert not (tmp_path / "refused_images").exists()
    # a header that claims a petabyte is not believed
    np.save(folder / "img_arr_1.npy", np.zeros((4, 4), np.uint8))
    data = (folder / "img_arr_1.npy").read_bytes().replace(b"(4, 4)", b"(40000000, 40000000)")
    (folder / "img_arr_1.npy").write_bytes(data)
    assert "img_arr_1.npy is no array of an image" in problem(npy)


def test_values_that_are_no_pixels_are_refused(npy: Path) -> None:
    np.save(npy / "img_arrs" / "img_arr_2.npy", np.full((60, 80), -3.0))
    assert problem(npy).endswith("img_arr_2.npy is no array of an image (its values are not from 0 to 255)")


def test_arrays_from_nought_to_one(npy: Path, tmp_path: Path) -> None:
    np.save(npy / "img_arrs" / "img_arr_2.npy", np.linspace(0, 1, 4800).reshape(60, 80))
    frame = read(emotic(npy, tmp_path / "out.csv"))
    assert pixels(frame["file"].iloc[3])[-1, -1] == 255


def test_missing_arrays_and_columns(npy: Path, tmp_path: Path, capsys) -> None:
    (npy / "img_arrs" / "img_arr_2.npy").unlink()
    assert problem(npy).endswith("annot_arrs_test.csv: line 2: no image img_arr_2.npy")
    assert len(read(emotic(npy, tmp_path / "out.csv", skip_missing=True))) == 3
    file = npy / "annots_arrs" / "annot_arrs_val.csv"
    file.write_text(file.read_text().replace("Esteem", "Steam").replace("Width", "W"))
    assert problem(npy).startswith(f"{file}: no column Width, esteem (found: Filename, W, Height")

"""Tables of any images: what the method says of each by Eq. 9, and what is wrong with the broken ones, row by row."""

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from emodo.data import Field, read_image
from emodo.inference import predict
from emodo.listing import Listed
from emodo.methods import ERM, IERN, NWGM, CAERNet
from emodo.predictor import Predictor, disagreement
from emodo.records import Confounder, InputError, Task
from emodo.transforms import prepare
from transcription import PlainIERN
from untrained import untrained

STRATA = ("lab", "night", "web")
TASK = Task(("anger", "fear", "joy", "sadness"), Confounder("source", STRATA, (1 / 3,) * 3))
METHODS = {
    "ERM": ERM,
    "CAERNet": lambda: CAERNet(width=16),
    "NWGM": NWGM,
    "IERN": lambda: IERN(channels=16, init="default"),
    "IERN pooled": lambda: IERN(channels=16, init="default", batchnorm="pooled", block="table5"),
}


def built(name="IERN", task=TASK):
    return untrained(METHODS[name](), task)


def predictor(method=None, task=TASK, batch_size=64, strata=False, crop=True, half=False):
    method = method or built()
    images = Field(32, 50_000_000, method.views, crop)
    return Predictor(method, task, images, torch.device("cpu"), half, batch_size, strata)


def whole(tables):
    return pd.concat(list(tables), ignore_index=True)


def p(table, of=""):
    return table[[f"p:{emotion}{of}" for emotion in TASK.emotions]].to_numpy()


def waves(seed, size=(32, 32)):
    draw = np.random.default_rng(seed)
    wave = np.sin(np.add.outer(np.arange(size[0]) * draw.uniform(0, 2), np.arange(size[1]) * draw.uniform(0, 2)))
    return (draw.uniform(0, 200, 3) + 50 * wave[:, :, None]).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(7):
        Image.fromarray(waves(i)).save(folder / f"{i}.png")
    return [str(folder / f"{i}.png") for i in range(7)]


# ------------------------------------------------------------------------------------- what it says


@pytest.mark.parametrize("name", ["IERN", "IERN pooled"])
def test_in_fp32_it_is_equation_9_stratum_by_stratum(name, files):
    method = built(name)
    plain = PlainIERN(method.double()).eval()
    images = torch.stack([prepare(read_image(file), 32) for file in map(Path, files)]).double()
    with torch.no_grad():
        emotion = plain.emotion_generator(plain.base(images))
        strata = torch.stack([plain.predict_in(emotion, i).softmax(dim=1) for i in range(3)])
        expected = plain.predict(images).softmax(dim=1).numpy()
    table = whole(predictor(built(name), strata=True)(files))
    np.testing.assert_allclose(p(table), expected, atol=1e-5)
    for stratum, of in zip(STRATA, strata.numpy(), strict=True):
        np.testing.assert_allclose(p(table, f"|{stratum}"), of, atol=1e-5)
    assert np.ptp(p(table), axis=0).min() > 1e-3  # the images do differ
    assert table["predicted"].tolist() == [TASK.emotions[at] for at in expected.argmax(axis=1)]
    average = strata.mean(dim=0)
    apart = sum(0.5 * (of - average).abs().sum(dim=1) for of in strata) / 3
    np.testing.assert_allclose(table["disagreement"], apart.numpy(), atol=1e-5)


def test_the_columns_are_those_that_are_documented(files):
    table = next(predictor(strata=True)(files[:1], [np.array([0, 0, 32.0, 32])]))
    columns = ["path", "x1", "y1", "x2", "y2", "predicted", *(f"p:{emotion}" for emotion in TASK.emotions)]
    columns += [f"p:{emotion}|{stratum}" for stratum in STRATA for emotion in TASK.emotions]
    assert list(table) == [*columns, "disagreement", "error"]
    few = ["path", "predicted", *(f"p:{emotion}" for emotion in TASK.emotions)]
    assert list(next(predictor()(files[:1]))) == [*few, "disagreement", "error"]
    assert list(next(predictor(built("ERM"))(files[:1]))) == [*few, "error"]


@pytest.mark.parametrize("name", METHODS)
def test_it_says_what_evaluate_says_of_a_manifest(name, files):
    boxes = np.array([[4, 3, 30, 27.5]] * 4 + [[0, 0, 32, 32]] * 3)
    frame = pd.DataFrame({"path": files, "file": files, "emotion": "joy"})
    frame[["x1", "y1", "x2", "y2"]] = boxes
    for crop in (True, False):
        expected = predict(built(name), TASK, frame, 32, accelerator="cpu", crop=crop)
        table = whole(predictor(built(name), crop=crop)(files, boxes))
        np.testing.assert_allclose(p(table), p(expected), atol=1e-6)
        assert table["predicted"].tolist() == expected["predicted"].tolist()
        assert table["error"].isna().all()


def test_bfloat16_is_near_it(files):
    exact, near = p(whole(predictor()(files))), p(whole(predictor(half=True)(files)))
    assert 0 < np.abs(exact - near).max() < 0.05


def test_of_several_emotions_each_has_its_own_probability(files):
    task = Task(TASK.emotions, TASK.confounder, multilabel=True)
    method = built("ERM", task)
    method.classifier.bias.data[:2] = 50
    method.classifier.bias.data[2:] = -50
    table = whole(predictor(method, task)(files))
    assert set(table["predicted"]) == {"anger|fear"}
    np.testing.assert_allclose(p(table)[0], [1, 1, 0, 0], atol=1e-5)
    method.classifier.bias.data[:] = -50
    assert whole(predictor(method, task)(files))["predicted"].tolist() == [""] * 7


def test_strata_are_refused_of_a_method_that_has_none():
    with pytest.raises(InputError, match=r"ERM does not intervene stratum by stratum.*leave --strata out"):
        predictor(built("ERM"), strata=True)
    assert "p:joy|web" in next(predictor(built("NWGM"), strata=True)([waves(0)]))


def test_disagreement_is_the_mean_total_variation_from_the_average():
    same = [[0.2, 0.3, 0.5]] * 3
    certain = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    one = [[1, 0, 0], [1, 0, 0], [0, 1, 0]]  # average 2/3, 1/3: distances 1/3, 1/3, 2/3
    found = disagreement(np.array([same, certain, one], np.float32))
    np.testing.assert_allclose(found, [0, 2 / 3, 4 / 9], atol=1e-6)


# -------------------------------------------------------------------------------------- any images


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (3, 2)])
def test_batches_and_workers_change_nothing(files, batch_size, workers):
    tables = list(predictor(batch_size=batch_size)(files, workers=workers))
    assert [len(table) for table in tables] == [batch_size] * (7 // batch_size) + [7 % batch_size] * (batch_size > 1)
    pd.testing.assert_frame_equal(whole(tables), whole(predictor()(files)), check_exact=False, atol=1e-5)


def test_files_and_images_and_arrays_are_the_same(files):
    image = Image.open(files[2])
    table = whole(predictor()([files[2], Path(files[2]), image, np.asarray(image)]))
    assert table["path"].tolist()[:2] == [files[2]] * 2
    assert table["path"][2:].isna().all()
    np.testing.assert_allclose(p(table), p(table)[[0] * 4], atol=1e-6)


def test_an_endless_iterable_is_read_as_it_is_needed(files):
    taken = []
    endless = (taken.append(file) or file for file in itertools.cycle(files))
    table = next(predictor(batch_size=3)(endless))
    assert table["path"].tolist() == files[:3]
    assert len(taken) == 3
    assert torch.ones(1, requires_grad=True).sum().requires_grad  # the caller's torch is as it was


def test_no_images_are_no_tables():
    assert list(predictor()([])) == []


def test_ways_to_store_one_picture_give_one_answer(tmp_path):
    pixels = np.repeat(np.repeat(waves(1, (16, 24)), 2, axis=0), 2, axis=1)
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.rot90(pixels).copy()).save(tmp_path / "turned.png", exif=turned)
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "alpha.png")
    Image.fromarray(pixels).save(tmp_path / "still.webp", lossless=True)
    names = ["plain.png", "turned.png", "alpha.png", "still.webp"]
    table = whole(predictor()([tmp_path / name for name in names]))
    assert table["error"].isna().all()
    np.testing.assert_allclose(p(table), p(table)[[0] * 4], atol=1e-6)

    gray = pixels[:, :, 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16 bits.png")
    Image.fromarray(gray).save(tmp_path / "still.gif")
    table = whole(predictor()([tmp_path / name for name in ("gray.png", "16 bits.png", "still.gif")]))
    assert table["error"].isna().all()
    np.testing.assert_allclose(p(table), p(table)[[0] * 3], atol=1e-6)

    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "red.jpg", quality=100)
    table = whole(predictor()([tmp_path / "cmyk.jpg", tmp_path / "red.jpg"]))
    np.testing.assert_allclose(p(table)[0], p(table)[1], atol=0.01)


# ----------------------------------------------------------------------------------- what is broken


def broken(folder, good):
    """Files that are no images, by what is said of them."""
    animation = [Image.fromarray(waves(i)) for i in range(3)]
    animation[0].save(folder / "moving.gif", save_all=True, append_images=animation[1:])
    animation[0].save(folder / "moving.png", save_all=True, append_images=animation[1:])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n")
    (folder / "half.png").write_bytes(good[: len(good) // 2])
    head = struct.pack(">IIBBBBB", 14000, 14000, 1, 0, 0, 0, 0)  # 196 million pixels in 23 KB
    rows = zlib.compress(b"\0" * (14000 * 1751), 9)
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    bomb = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bomb)
    (folder / "folder.png").mkdir()
    return {
        "moving.gif": "is an animation: save the one picture that is meant",
        "moving.png": "is an animation: save the one picture that is meant",
        "empty.jpg": "is empty (zero bytes)",
        "page.jpg": "is not a readable image",
        "paper.pdf": "is not a readable image",
        "half.png": "is truncated",
        "bomb.png": "claims over 179 million pixels, more than the limit of 50000000 (--max_pixels)",
        "folder.png": "cannot be read ([Errno 21] Is a directory",
        "none.png": "does not exist",
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_a_row_with_its_error_and_costs_no_other(tmp_path, files, workers):
    reasons = broken(tmp_path, Path(files[0]).read_bytes())
    assert (tmp_path / "bomb.png").stat().st_size < 30_000
    mixed = [name for pair in zip([tmp_path / name for name in reasons], itertools.cycle(files)) for name in pair]
    table = whole(predictor(batch_size=4, strata=True)(mixed, workers=workers))
    assert table["path"].tolist() == [str(name) for name in mixed]
    wrong, good = table.iloc[::2], table.iloc[1::2]
    for error, reason in zip(wrong["error"], reasons.values(), strict=True):
        assert error.startswith(reason)
    assert wrong.drop(columns=["path", "error"]).isna().all(axis=None)
    assert good["error"].isna().all()
    alone = whole(predictor(batch_size=4, strata=True)([mixed[at] for at in range(1, len(mixed), 2)]))
    pd.testing.assert_frame_equal(good.reset_index(drop=True), alone, check_exact=False, atol=1e-5)


def test_where_every_image_is_broken_the_columns_are_the_same(tmp_path, files):
    table = next(predictor(strata=True)([tmp_path / "a.png", tmp_path / "b.png"]))
    good = next(predictor(strata=True)(files))
    pd.testing.assert_series_equal(table.dtypes, good.dtypes)
    assert table["error"].tolist() == ["does not exist"] * 2


@pytest.mark.parametrize("box", [(-1, 0, 9, 9), (0, 0, 33, 9), (0, 20, 9, 32.5), (9, 0, 9, 9), (8, 9, 4, 12)])
def test_a_box_that_does_not_fit_its_image_is_an_error_of_its_row(files, box):
    table = next(predictor()(files[:2], [np.array(box), None]))
    assert table["error"][0].startswith(
        f"has a box ({', '.join(f'{side:g}' for side in box)}) that does not lie within"
    )
    assert table["x1"][0] == box[0]
    assert pd.isna(table["error"][1])
    assert table[["x1", "y1", "x2", "y2"]].iloc[1].isna().all()


def test_a_method_that_looks_at_the_context_needs_a_box_in_each_row(files):
    boxes = np.array([[4, 3, 30, 27], [np.nan] * 4])
    table = next(predictor(built("CAERNet"))(files[:2], boxes))
    assert pd.isna(table["error"][0])
    assert table["error"][1] == "has no box of a person, and the method needs one"


@pytest.mark.parametrize(
    ("strange", "error"),
    [
        (np.zeros((4, 4, 7), np.uint8), "cannot be read ("),
        (np.zeros((8, 8, 3)), "is an array of float64: give [H, W, 3] uint8"),
        ("\0", "cannot be read ("),
    ],
)
def test_what_is_no_image_at_all_is_a_row_too(strange, error):
    assert next(predictor()([strange]))["error"][0].startswith(error)


def test_a_list_keeps_the_paths_as_they_were_written(files):
    listed = Listed(["a", "b\udcff", "c"], files[:3], None)
    told = []
    table = predictor(batch_size=2).whole(listed, 0, told.append)
    assert table["path"].tolist() == ["a", "b\\udcff", "c"]
    assert told == [2, 1]

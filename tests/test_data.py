"""From manifest rows to batches: every kind of image is read or refused by row, and labels are what they say."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from emodo.data import (
    Images,
    check_boxes,
    check_images,
    collate,
    confounder_column,
    define_task,
    labels,
    loader,
    read_image,
    to_device,
    training_cells,
)
from emodo.manifest import load
from emodo.records import Batch, Confounder, InputError, Task
from emodo.transforms import prepare

NAME = Path("faces.csv")
LIMIT = Image.MAX_IMAGE_PIXELS


def pixels(height=20, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(form="PNG", image=None, **options):
    stream = io.BytesIO()
    (image or Image.fromarray(pixels())).save(stream, form, **options)
    return stream.getvalue()


def table(files, **columns):
    """A manifest as `manifest.load` returns it."""
    return pd.DataFrame({"path": [Path(file).name for file in files], "file": [str(file) for file in files], **columns})


# ---------------------------------------------------------------------------------------- broken files


def huge_header(width, height):
    """A PNG of a few bytes that claims width x height pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


PNG, JPEG = encoded(), encoded("JPEG")
BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"not an image " * 40, "is not a readable image"),
    "one byte": (b"\x89", "is not a readable image"),
    "png header only": (PNG[:20], "is truncated"),
    "png half": (PNG[: len(PNG) // 2], "is truncated"),
    "png without its last rows": (PNG[:-300], "is truncated"),
    "jpeg header only": (JPEG[:24], "is truncated"),
    "jpeg half": (JPEG[: len(JPEG) // 2], "is truncated"),
    "gif half": (encoded("GIF")[:400], "is not a readable image"),
    "gif without its end": (encoded("GIF")[:-20], "is truncated"),
    "bmp half": (encoded("BMP")[:900], "is truncated"),
    "webp half": (encoded("WEBP", lossless=True)[:500], "cannot be read"),
    "tiff half": (encoded("TIFF")[:900], "is truncated"),
    "missing": (None, "does not exist"),
}


def broken_file(folder, kind):
    file = folder / f"{kind.replace(' ', '-')}.png"
    if BROKEN[kind][0] is not None:
        file.write_bytes(BROKEN[kind][0])
    return file


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_by_the_check_and_by_the_reader(tmp_path, kind):
    good = tmp_path / "good.png"
    good.write_bytes(PNG)
    bad = broken_file(tmp_path, kind)
    reason = BROKEN[kind][1]
    with pytest.raises(InputError, match=rf"^faces\.csv, row 2: the image {bad.name} ({reason})") as caught:
        check_images(table([good, bad, good]), NAME)
    assert str(caught.value).splitlines()[1:] == ["Replace these images or remove their rows."]
    with pytest.raises(InputError, match=rf"{bad.name} .*({reason})"):
        read_image(bad)


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (8000, 8000, r"claims 8000 x 8000 pixels, more than the limit of 50000000 \(--max_pixels\)"),
        (20000, 20000, r"claims .*pixels"),  # Pillow may refuse it first
    ],
)
def test_a_few_bytes_that_claim_millions_of_pixels_are_refused_undecoded(tmp_path, width, height, reason):
    file, good = tmp_path / "huge.png", tmp_path / "good.png"
    file.write_bytes(huge_header(width, height))
    good.write_bytes(PNG)
    for _ in range(20):  # threads read the headers: none may loosen Pillow's own limit for another
        with pytest.raises(InputError, match=rf"faces\.csv, row 2: the image huge\.png {reason}"):
            check_images(table([good, file, *[good] * 5]), NAME)
        assert Image.MAX_IMAGE_PIXELS == LIMIT
    with pytest.raises(InputError, match=reason):
        read_image(file)


def test_all_broken_rows_are_shown_at_once(tmp_path):
    files = [broken_file(tmp_path, kind) for kind in BROKEN]
    with pytest.raises(InputError) as caught:
        check_images(table([files[0], *files]), NAME)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(BROKEN) + 2
    assert [line.split(":")[0] for line in lines[:-1]] == [f"faces.csv, row {row}" for row in range(1, len(lines))]


def test_of_very_many_broken_rows_twenty_are_shown(tmp_path):
    with pytest.raises(InputError) as caught:
        check_images(table([tmp_path / f"{i}.png" for i in range(50)]), NAME)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[20] == "... and 30 more"


def test_the_end_of_a_png_or_jpeg_may_be_followed_by_a_few_bytes(tmp_path):
    for form, data in (("png", PNG), ("jpg", JPEG)):
        for tail in (b"\0" * 10, b"\n" * 500):
            file = tmp_path / f"face.{form}"
            file.write_bytes(data + tail)
            check_images(table([file]), NAME)
            assert read_image(file).shape == (3, 20, 30)


def test_the_limit_of_pixels_is_the_callers(tmp_path):
    file = tmp_path / "face.png"
    file.write_bytes(PNG)
    check_images(table([file]), NAME, max_pixels=600)
    assert read_image(file, max_pixels=600).shape == (3, 20, 30)
    with pytest.raises(InputError, match="claims 30 x 20 pixels, more than the limit of 599"):
        check_images(table([file]), NAME, max_pixels=599)
    with pytest.raises(InputError, match="claims 30 x 20 pixels, more than the limit of 599"):
        read_image(file, max_pixels=599)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path)


# ----------------------------------------------------------------------------------- kinds of images


def test_a_colour_image_is_read_as_it_is(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "face.png")
    found = read_image(tmp_path / "face.png")
    assert found.dtype == torch.uint8
    assert found.shape == (3, 20, 30)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), pixels())


def test_the_content_counts_not_the_suffix(tmp_path):
    (tmp_path / "face.jpg").write_bytes(PNG)
    check_images(table([tmp_path / "face.jpg"]), NAME)
    assert np.array_equal(read_image(tmp_path / "face.jpg").permute(1, 2, 0).numpy(), pixels())


# What a viewer does with the stored pixels to show them upright.
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x.transpose(1, 0, 2)[:, ::-1],
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: x.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", TURNS)
def test_an_image_is_upright_as_its_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels()).save(tmp_path / "face.png", exif=exif)
    found = read_image(tmp_path / "face.png").permute(1, 2, 0).numpy()
    assert np.array_equal(found, TURNS[orientation](pixels()))


def test_gray_images_have_three_equal_channels(tmp_path):
    gray = pixels()[:, :, 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    found = read_image(tmp_path / "gray.png")
    assert all(np.array_equal(channel.numpy(), gray) for channel in found)
    bits = gray > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert np.array_equal(read_image(tmp_path / "bits.png")[1].numpy(), bits * np.uint8(255))


def test_palette_images_have_the_colours_of_the_palette(tmp_path):
    index = pixels()[:, :, 0] % 4
    colours = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30], [200, 200, 200]], np.uint8)
    image = Image.frombytes("P", (30, 20), index.tobytes())
    image.putpalette(colours.flatten().tolist())
    for name, options in (("plain", {}), ("one", {"transparency": 2})):
        image.save(tmp_path / f"{name}.png", **options)
        found = read_image(tmp_path / f"{name}.png").permute(1, 2, 0).numpy()
        assert np.array_equal(found, colours[index]), name


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_left_aside(tmp_path, mode):
    image = Image.fromarray(pixels()).convert("L" if mode == "LA" else "RGB")
    expected = np.array(image.convert("RGB"))
    image.putalpha(Image.fromarray(pixels(seed=1)[:, :, 0]))
    assert image.mode == mode
    image.save(tmp_path / "face.png")
    assert np.array_equal(read_image(tmp_path / "face.png").permute(1, 2, 0).numpy(), expected)


def test_printing_colours_become_screen_colours(tmp_path):
    for name, ink, shown in (("red", (0, 255, 255, 0), (255, 0, 0)), ("black", (0, 0, 0, 255), (0, 0, 0))):
        Image.new("CMYK", (16, 16), ink).save(tmp_path / f"{name}.jpg", quality=95)
        found = read_image(tmp_path / f"{name}.jpg")
        assert found.shape == (3, 16, 16)
        assert np.abs(found.float().mean(dim=(1, 2)).numpy() - shown).max() < 8, name


def test_of_an_animation_the_first_picture_counts(tmp_path):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "face.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "face.gif")[:, 3, 3].tolist() == [255, 0, 0]


@pytest.mark.parametrize("form", ["JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_other_formats_pass_the_check_and_are_read(tmp_path, form):
    smooth = Image.fromarray(np.linspace(0, 255, 600).astype(np.uint8).reshape(20, 30)).convert("RGB")
    file = tmp_path / "face.bin"
    file.write_bytes(encoded(form, smooth))
    check_images(table([file]), NAME)
    found = read_image(file).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - np.array(smooth)).mean() < 8


# -------------------------------------------------------------------------------------------- boxes


def test_a_box_is_cut_out_x2_and_y2_exclusive(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "face.png")
    boxes = {"x1": [3.0, np.nan, 4.4], "y1": [5.0, np.nan, 5.6], "x2": [13.0, np.nan, 14.4], "y2": [15.0, np.nan, 15.6]}
    frame = table([tmp_path / "face.png"] * 3, emotion="joy", **boxes)
    images = Images(frame, Task(("joy",)), 10)
    whole = torch.from_numpy(pixels()).permute(2, 0, 1)
    assert torch.equal(images[0][0]["images"], prepare(whole[:, 5:15, 3:13], 10))
    assert torch.equal(images[1][0]["images"], prepare(whole, 10))
    assert torch.equal(images[2][0]["images"], prepare(whole[:, 5:16, 4:15], 10))  # every pixel that the box touches


def test_the_other_views_show_the_whole_image_with_and_without_the_person(tmp_path):
    square = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(square).save(tmp_path / "scene.png")
    frame = table([tmp_path / "scene.png"], emotion="joy", x1=[3.0], y1=[5.0], x2=[13.0], y2=[15.0])
    views = Images(frame, Task(("joy",)), 20, views=("whole", "context"))[0][0]
    assert torch.equal(views["whole"], prepare(torch.from_numpy(square).permute(2, 0, 1), 20))
    assert views["context"][:, 5:15, 3:13].abs().max() < 0.01
    around = torch.ones(20, 20, dtype=torch.bool)
    around[5:15, 3:13] = False
    assert torch.equal(views["context"][:, around], views["whole"][:, around])


def test_without_cropping_the_image_is_whole(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "scene.png")
    frame = table([tmp_path / "scene.png"], emotion="joy", x1=[3.0], y1=[5.0], x2=[13.0], y2=[15.0])
    whole = torch.from_numpy(pixels()).permute(2, 0, 1)
    assert torch.equal(Images(frame, Task(("joy",)), 10, crop=False)[0][0]["images"], prepare(whole, 10))


def test_views_are_augmented_alike_and_stacked_in_the_batch(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "scene.png")
    frame = table([tmp_path / "scene.png"] * 2, emotion="joy")
    images = Images(frame, Task(("joy",)), 16, "light", 3, 1, views=("whole",))
    batch = collate([images[0], images[1]])
    assert isinstance(batch, Batch)
    assert batch.whole is not None
    assert batch.context is None
    assert torch.equal(batch.whole, batch.images)


def test_rows_without_a_box_are_named(tmp_path):
    frame = table([tmp_path / "a.png"] * 3, emotion="joy")
    with pytest.raises(InputError, match="has no boxes: CCIM crops to the person or masks it"):
        check_boxes(frame, tmp_path / "m.csv", "CCIM")
    for side in ("x1", "y1", "x2", "y2"):
        frame[side] = [1.0, np.nan, 1.0]
    with pytest.raises(InputError, match=r"row 2: no box \(1 rows without\)"):
        check_boxes(frame, tmp_path / "m.csv", "CCIM")


# ------------------------------------------------------------------------------------ task and labels


def rows(**columns):
    """Four training rows and two test rows, of three emotions and two sources."""
    frame = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(6)],
            "emotion": ["joy", "fear", "anger", "joy", "fear", "joy"],
            "source": ["lab", "web", "web", "lab", "field", "lab"],
            "split": ["train"] * 4 + ["test"] * 2,
        }
    )
    return frame.assign(**columns)


def test_emotions_and_strata_are_in_alphabetical_order_and_the_prior_is_uniform():
    task = define_task(rows(), NAME, None, None, True)
    assert task.emotions == ("anger", "fear", "joy")
    assert task.confounder == Confounder("source", ("lab", "web"), (0.5, 0.5))  # `field` is in no training row
    assert task.strata == ("lab", "web")


def test_the_order_of_the_emotions_may_be_given():
    task = define_task(rows(), NAME, None, ["joy", "anger", "fear"], False)
    assert task.emotions == ("joy", "anger", "fear")
    assert labels(rows(), task)[0].tolist() == [0, 2, 1, 0, 2, 0]


def test_the_confounder_is_the_named_column_or_stratum_or_source():
    frame = rows(stratum=["a", "b"] * 3, camera=["x", "y", "z"] * 2)
    assert confounder_column(frame, "camera") == "camera"
    assert confounder_column(frame, None) == "stratum"
    assert confounder_column(rows(), None) == "source"
    assert confounder_column(rows().drop(columns="source"), None) is None
    assert define_task(frame, NAME, "camera", None, True).strata == ("x", "y", "z")
    assert define_task(frame, NAME, None, None, True).strata == ("a", "b")


def test_numbers_may_name_strata():
    frame = rows(age=[30, 20, 100, 20, 30, 40])
    task = define_task(frame, NAME, "age", None, True)
    assert task.strata == ("100", "20", "30")
    assert labels(frame, task)[1].tolist() == [2, 1, 0, 1, 2, -1]


def test_a_method_without_strata_needs_no_confounder_and_takes_what_is_there():
    assert define_task(rows().drop(columns="source"), NAME, None, None, False) == Task(("anger", "fear", "joy"))
    assert define_task(rows(source="lab"), NAME, None, None, False).strata == ("lab",)
    assert define_task(rows(source=[None] * 4 + ["lab"] * 2), NAME, None, None, False) == Task(("anger", "fear", "joy"))
    gaps = rows(source=[None, "b", "a", "b", None, "a"])
    assert define_task(gaps, NAME, None, None, False).strata == ("a", "b")


SCENES = Confounder("scene", ("beach", "street"), (0.7, 0.3), torch.ones(2, 3))


def test_a_given_confounder_brings_its_strata_and_its_prior():
    for frame in (rows(), rows(scene=["beach", None, "street", "beach", "beach", "sea"])):
        task = define_task(frame, NAME, None, None, False, SCENES)
        assert task.confounder is SCENES
    assert labels(frame, task)[1].tolist() == [0, -1, 1, 0, 0, -1]
    assert labels(rows(), task)[1].tolist() == [-1] * 6
    whole = rows(scene=["beach", "street", "street", "beach", "beach", "sea"])
    assert define_task(whole, NAME, None, None, True, SCENES).confounder is SCENES


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rows(), "no column 'scene' to hold the confounder.*: train on the manifest written with the file"),
        (rows(scene=["beach", "sea", *["street"] * 4]), "the strata sea in training rows, which the confounder file"),
        (rows(scene=["beach", None, *["street"] * 4]), "row 2: no value in column 'scene'"),
    ],
    ids=["no column", "unknown stratum", "gap"],
)
def test_strata_that_a_method_needs_must_be_the_given_ones(frame, message):
    with pytest.raises(InputError, match=message):
        define_task(frame, NAME, None, None, True, SCENES)


REFUSED = {
    "no split": (rows().drop(columns="split"), {}, r"^faces\.csv has no column `split`: make one with `emodo split`"),
    "unseen emotion": (
        rows(emotion=["joy", "joy", "anger", "joy", "fear", "awe"]),
        {},
        "no training image shows awe, fear: split the data otherwise",
    ),
    "unseen emotion asked for": (rows(), {"emotions": ["joy", "fear", "anger", "awe"]}, "no training image shows awe"),
    "emotion not asked for": (
        rows(),
        {"emotions": ["joy", "anger"]},
        r"faces\.csv, row 2: the emotion 'fear' is none of joy, anger: add it",
    ),
    "no such column": (rows(), {"column": "camera"}, "no column 'camera' .* it has path, emotion, source, split: name"),
    "no such column, not needed": (rows(), {"column": "camera", "needs_strata": False}, "no column 'camera'"),
    "no confounder": (rows().drop(columns="source"), {}, "no column 'stratum' to hold the confounder"),
    "gap": (
        rows(source=["lab", "web", None, "lab", None, "lab"]),
        {},
        r"faces\.csv, row 3: no value in column 'source', the confounder \(1 training rows without\)",
    ),
    "one stratum": (
        rows(source=["lab"] * 4 + ["web"] * 2),
        {},
        r"column 'source' has one value in the training rows \(lab\), and there is nothing to intervene on",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_task_that_cannot_be_learnt_is_refused(case):
    frame, options, message = REFUSED[case]
    column, emotions = options.get("column"), options.get("emotions")
    with pytest.raises(InputError, match=message):
        define_task(frame, NAME, column, emotions, options.get("needs_strata", True))


def test_rows_in_messages_are_those_of_the_manifest():
    frame = rows(source=["lab", "web", None, "lab", None, "lab"])
    with pytest.raises(InputError, match="row 3"):
        define_task(frame[1:], NAME, None, None, True)


def test_unknown_labels_are_minus_one():
    task = Task(("anger", "joy"), Confounder("source", ("lab", "web"), (0.5, 0.5)))
    frame = rows(source=["web", "bin", "lab", "field", "Lab", "web"])
    emotion, stratum = labels(frame, task)
    assert emotion.tolist() == [1, -1, 0, 1, -1, 1]
    assert stratum.tolist() == [1, -1, 0, -1, -1, 1]
    assert labels(frame.drop(columns="source"), task)[1].tolist() == [-1] * 6
    assert labels(frame, Task(("anger", "joy")))[1].tolist() == [-1] * 6


SEVERAL = ["joy|fear", "fear", "anger", "anger|fear|joy", "fear|joy", "joy"]


def test_a_manifest_is_multi_label_where_any_row_holds_several_emotions():
    task = define_task(rows(emotion=SEVERAL), NAME, None, None, False)
    assert task == Task(("anger", "fear", "joy"), Confounder("source", ("lab", "web"), (0.5, 0.5)), multilabel=True)
    one_in_test = rows(emotion=[*rows()["emotion"][:5], "fear|joy"])
    assert define_task(one_in_test, NAME, None, None, False).multilabel
    assert not define_task(rows(), NAME, None, None, False).multilabel
    without = {"source": None, "path": "a.png"}
    for given in (None, SCENES):
        assert define_task(rows(emotion=SEVERAL, **without), NAME, None, None, False, given).multilabel
        assert define_task(rows(**without), NAME, None, None, False, given, multilabel=True).multilabel
    assert define_task(rows().drop(columns="source"), NAME, None, None, False, multilabel=True).multilabel


def test_the_emotions_of_a_multi_label_task_are_those_of_all_rows_by_themselves():
    order = ["joy", "anger", "fear"]
    assert define_task(rows(emotion=SEVERAL), NAME, None, order, False).emotions == tuple(order)
    with pytest.raises(InputError, match=r"faces\.csv, row 1: the emotion 'fear' is none of joy, anger: add it"):
        define_task(rows(emotion=SEVERAL), NAME, None, ["joy", "anger"], False)
    with pytest.raises(InputError, match="no training image shows awe: split"):
        define_task(rows(emotion=[*SEVERAL[:5], "awe|joy"]), NAME, None, None, False)
    assert define_task(
        rows(emotion=[*SEVERAL[:5], "anger|joy"]), NAME, None, None, False
    ).emotions  # a new pair is none


def test_several_emotions_are_multi_hot_in_the_order_of_the_task():
    task = Task(("joy", "anger", "fear"), multilabel=True)
    emotion, stratum = labels(rows(emotion=SEVERAL), task)
    assert emotion.dtype == np.float32
    assert emotion.tolist() == [[1, 0, 1], [0, 0, 1], [0, 1, 0], [1, 1, 1], [1, 0, 1], [1, 0, 0]]
    assert stratum.tolist() == [-1] * 6


def test_training_cells_are_numbered_stratum_by_emotion():
    frame = rows(emotion=["joy", "fear"] * 3, source=["lab", "web", "web", "lab", "lab", "web"])
    task = define_task(frame, NAME, None, None, True)
    # emotions: fear, joy; strata: lab, web
    assert training_cells(frame, task, NAME, "Resampling").tolist() == [1, 2, 3, 0, 1, 2]


def test_an_empty_cell_is_named():
    task = define_task(rows(), NAME, None, None, True)
    empty = r"DFR gives .* 3 of 6 have no training image \(lab x anger, lab x fear, web x joy\): collect some"
    with pytest.raises(InputError, match=empty):
        training_cells(rows()[:4], task, NAME, "DFR")


# -------------------------------------------------------------------------------------------- batches


@pytest.fixture
def frame(tmp_path):
    """Seven images of several kinds and sizes; rows 10, 11 ... of some manifest."""
    files = []
    for i in range(7):
        files.append(tmp_path / f"{i}.{'jpg' if i % 2 else 'png'}")
        Image.fromarray(pixels(20 + i, 30 - i, seed=i)).convert("L" if i == 3 else "RGB").save(files[-1])
    found = table(files, emotion=["joy", "fear", "joy", "joy", "fear", "joy", "fear"], source=list("abcabca"))
    found["x1"], found["y1"], found["x2"], found["y2"] = 2.0, 3.0, [np.nan] + [20.0] * 6, 18.0
    return found.set_axis(range(10, 17))


TASK = Task(("fear", "joy"), Confounder("source", ("a", "b"), (0.5, 0.5)))
FIELDS = ("images", "emotion", "stratum", "row")


def batches(frame, workers, order=None, **options):
    return list(loader(Images(frame, TASK, 16, **options), 3, order, workers))


def test_a_batch_holds_images_and_labels_row_by_row(frame):
    found = batches(frame, 0)
    assert [len(batch) for batch in found] == [3, 3, 1]
    for field in FIELDS[1:]:
        assert getattr(found[0], field).dtype == torch.int64
    assert torch.cat([batch.row for batch in found]).tolist() == list(range(10, 17))
    assert torch.cat([batch.emotion for batch in found]).tolist() == [1, 0, 1, 1, 0, 1, 0]
    assert torch.cat([batch.stratum for batch in found]).tolist() == [0, 1, -1, 0, 1, -1, 0]
    images = found[0].images
    assert images.shape == (3, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images[1], prepare(read_image(Path(frame["file"][11]))[:, 3:18, 2:20], 16))


def test_a_batch_follows_the_order_that_is_given(frame):
    found = batches(frame, 0, np.array([5, 0, 5, 6]))
    assert [batch.row.tolist() for batch in found] == [[15, 10, 15], [16]]


@pytest.mark.parametrize("augmentation", ["released", "none"])
def test_workers_give_the_same_bytes_in_the_same_order(frame, augmentation):
    order = np.array([6, 2, 0, 1, 3, 5, 4, 2])
    options = {"augmentation": augmentation, "seed": 3, "epoch": 2}
    alone, helped = batches(frame, 0, order, **options), batches(frame, 1, order, **options)
    assert len(alone) == len(helped) == 3
    for ours, theirs in zip(alone, helped, strict=True):
        for field in FIELDS:
            a, b = getattr(ours, field), getattr(theirs, field)
            assert a.numpy().tobytes() == b.numpy().tobytes(), field
        assert theirs.images.is_contiguous(memory_format=torch.channels_last)


def test_a_loader_takes_no_number_from_the_trainings_generator(frame):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    batches(frame, 0)
    batches(frame, 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("harm", [lambda png: png[:100], None], ids=["truncated", "removed"])
def test_an_image_that_breaks_later_is_an_error_with_its_row(frame, workers, harm):
    file = Path(frame["file"][14])
    if harm:
        file.write_bytes(harm(file.read_bytes()))
    else:
        file.unlink()
    found = batches(frame, workers)
    assert isinstance(found[0], Batch)
    assert isinstance(found[1], InputError)
    reason = "is truncated" if harm else "does not exist"
    with pytest.raises(InputError, match=rf"^row 15: .*4\.png {reason}$"):
        to_device(found[1], torch.device("cpu"))


def test_to_device_keeps_what_it_moves(frame):
    batch = batches(frame, 0)[0]
    moved = to_device(batch, torch.device("cpu"))
    assert all(torch.equal(getattr(moved, field), getattr(batch, field)) for field in FIELDS)


def test_an_error_takes_the_place_of_its_batch(frame):
    images = Images(frame, TASK, 16)
    error = InputError("row 3: broken")
    assert collate([images[0], error, images[1]]) is error
    assert isinstance(collate([images[0], images[1]]), Batch)


def test_a_missing_stratum_is_unknown_and_leaves_the_others_as_they_are():
    task = Task(("joy",), Confounder("source", ("lab", "n", "web"), (1 / 3,) * 3))
    frame = pd.DataFrame({"emotion": ["joy"] * 4, "source": ["web", None, "lab", "n"]})
    assert labels(frame, task)[1].tolist() == [2, -1, 0, 1]


def test_16_bit_images_keep_their_gray_levels(tmp_path):
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(levels).save(tmp_path / "gray.png")
    read = read_image(tmp_path / "gray.png")[0].numpy().astype(int)
    assert np.abs(read - levels / 257).max() <= 1


def test_float_images_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(InputError, match="pixels of 32 bits"):
        read_image(tmp_path / "float.tiff")


def test_a_box_narrower_than_a_pixel_still_shows_one(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "face.png")
    frame = table([tmp_path / "face.png"], emotion="joy", x1=3.2, y1=1.0, x2=3.4, y2=5.0)
    image = Images(frame, Task(("joy",)), 16)[0]
    assert image[0]["images"].shape == (3, 16, 16)


@pytest.mark.parametrize(("box", "fits"), [((0, 10, 20, 30), True), ((22, 0, 30, 10), False)])
def test_boxes_are_those_of_the_upright_image(tmp_path, box, fits):
    exif = Image.Exif()
    exif[274] = 6  # stored 30 wide and 20 high, seen 20 wide and 30 high
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    manifest = tmp_path / "manifest.csv"
    pd.DataFrame([["a.jpg", "joy", *box]], columns=["path", "emotion", "x1", "y1", "x2", "y2"]).to_csv(manifest)
    manifest.write_text("\n".join(line.partition(",")[2] for line in manifest.read_text().splitlines()))
    if fits:
        image = Images(load(manifest), Task(("joy",)), 16)[0]
        assert image[0]["images"].shape == (3, 16, 16)
    else:
        with pytest.raises(InputError, match="outside the image"):
            load(manifest)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_holds_several_emotions_as_floats_and_one_as_a_number(frame, workers):
    several = frame.assign(emotion=["joy|fear", "fear", "joy", "joy", "fear", "fear|joy", "fear"])
    task = Task(("fear", "joy"), multilabel=True)
    first, last = loader(Images(several, task, 16), 4, workers=workers)
    assert first.emotion.dtype == torch.float32
    assert first.emotion.tolist() == [[1, 1], [1, 0], [0, 1], [0, 1]]
    assert last.emotion.tolist() == [[1, 0], [1, 1], [1, 0]]
    first, last = loader(Images(frame, Task(("fear", "joy")), 16), 4, workers=workers)
    assert first.emotion.dtype == torch.int64
    assert [*first.emotion.tolist(), *last.emotion.tolist()] == [1, 0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("column", ["path", "emotion", "split"])
def test_the_label_itself_cannot_be_the_confounder(column):
    with pytest.raises(InputError, match="cannot be the confounder"):
        define_task(rows(), NAME, column, None, True)

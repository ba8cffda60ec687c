"""What stands for an image: the view that is looked at, and a table that is streamed where it is large."""

import numpy as np
import pytest
import torch

from emodo import clusters, features, manifest
from emodo.clusters import Streamed
from emodo.data import Images
from emodo.records import InputError, Reading, Task


def reading(file):
    return Reading(file, 32, 50_000_000, 16, 0, "cpu")


def with_boxes(faces, out):
    """The same images with a person's box in the middle."""
    frame = manifest.load(faces)
    manifest.save(frame.assign(x1=8, y1=8, x2=24, y2=24), out)
    return out


@pytest.mark.parametrize("view", ["person", "whole", "context"])
def test_a_view_shows_the_person_the_image_or_what_is_around(faces, tmp_path, view):
    boxed = with_boxes(faces, tmp_path / "boxed.csv")
    frame = manifest.load(boxed)
    seen = []

    def note(images):
        seen.append(images.clone())
        return [images.mean((2, 3))]

    features.described(frame, reading(boxed), view, note, tmp_path)
    first = torch.cat(seen)[0]
    person = first[:, 8:24, 8:24]
    whole = Images(frame, Task(()), 32, crop=False)[0][0]["images"]
    if view == "context":
        assert person.abs().max() < 0.01  # gray
        torch.testing.assert_close(first[:, :8], whole[:, :8])
    elif view == "whole":
        torch.testing.assert_close(first, whole)
    else:
        assert (first - whole).abs().max() > 0.1


@pytest.mark.parametrize("what", ["style", "content"])
def test_a_streamed_table_is_the_one_that_is_held(faces, tmp_path, monkeypatch, what):
    frame = manifest.load(faces)
    train = (frame["split"] == "train").to_numpy()

    def described():
        return features.describe(frame, train, reading(faces), what, "person", tmp_path, None, "small")

    held, weights = described()
    monkeypatch.setattr(clusters, "IN_MEMORY", len(frame) - 1)
    monkeypatch.setattr(clusters, "PIECE", 10)
    streamed, again = described()
    assert isinstance(held, np.ndarray)
    assert isinstance(streamed, Streamed)
    assert weights == again
    assert len(weights) == 64
    pieces = list(streamed.pieces())
    assert [piece.shape[0] for _, piece in pieces] == [10] * (len(frame) // 10) + [len(frame) % 10]
    read = np.concatenate([piece for _, piece in pieces])
    # without its mean, which no cluster depends on; scaled alike
    np.testing.assert_allclose(read - read[train].mean(axis=0), held - held[train].mean(axis=0), rtol=1e-4, atol=1e-5)
    assert not list(tmp_path.iterdir())


def test_too_full_a_disk_is_told_before_it_is_full(faces, tmp_path, monkeypatch):
    frame = manifest.load(faces)
    monkeypatch.setattr(clusters, "IN_MEMORY", 10)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    train = np.ones(len(frame), bool)
    folder = tmp_path / "not" / "there"
    with pytest.raises(InputError, match=r"has 0\.0 GB left, and the features of 108 images take 0\.0 GB"):
        features.describe(frame, train, reading(faces), "content", "person", folder, None, "small")
    assert not list(tmp_path.iterdir())

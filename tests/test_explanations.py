"""What a trained network tells: Grad-CAM against its equation, neighbours of context features, the surest errors."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from emodo import explanations, runs
from emodo.compared import comparable, data_of
from emodo.data import Images, collate
from emodo.methods import CAERNet, Method
from emodo.methods.hosts import CAERNetHost
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, Task

TASK = Task(("anger", "fear", "joy"), Confounder("source", ("a", "b"), (0.5, 0.5)))


def grad_cam(method: Method, batch: Batch, row: int, target: int) -> np.ndarray:
    """The equation: alpha_k is the mean over the grid of dy/dA_k, the map is ReLU(sum_k alpha_k A_k), [h, w]."""
    backbone = next(part for part in method.modules() if isinstance(part, Backbone))
    held = {}

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        held["map"] = output.detach().requires_grad_()
        return held["map"]

    hook = backbone.register_forward_hook(keep)
    method(batch)[row, target].backward()
    hook.remove()
    maps = held["map"].detach()[row]
    return F.relu((held["map"].grad[row].mean(dim=(1, 2))[:, None, None] * maps).sum(dim=0)).numpy()


@pytest.mark.parametrize("at", [0, 1])
def test_grad_cam_is_that_of_its_equation_on_the_averaged_logit(trained: list[Path], at: int) -> None:
    method, task = runs.load_method(trained[at]).double(), runs.task(trained[at])
    (run,) = comparable([trained[at]])
    frame = data_of(run).frame
    assert frame is not None
    images = Images(frame.iloc[:3], task, 32)
    batch = collate([images[row] for row in range(3)])
    assert isinstance(batch, Batch)
    batch = replace(batch, images=batch.images.double())
    found = explanations.grad_cam(method, batch, [0, 3, 5])
    for row, target in enumerate((0, 3, 5)):
        np.testing.assert_allclose(found[row], grad_cam(method, batch, row, target), rtol=1e-5, atol=1e-7)
    assert found.any()


def test_of_two_streams_the_persons_is_looked_at() -> None:
    torch.manual_seed(0)
    method = CAERNet(width=8, dropout=0.0)
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    images, context = torch.randn(2, 2, 3, 32, 32)
    unknown = torch.full((2,), -1)
    batch = Batch(images, unknown, unknown, unknown, None, context)
    found = explanations.grad_cam(method.eval(), batch, [0, 1])
    assert isinstance(method.host_model, CAERNetHost)
    assert next(part for part in method.modules() if isinstance(part, Backbone)) is method.host_model.person_backbone
    for row in (0, 1):
        np.testing.assert_allclose(found[row], grad_cam(method, batch, row, row), rtol=1e-4, atol=1e-7)
    assert found.any()


def test_neighbours_and_centers_are_counted_in_the_features_and_the_map_is_the_same_again() -> None:
    random = np.random.default_rng(3)
    middles = {"a": np.zeros(12), "b": np.full(12, 50.0)}
    strata = ["a"] * 20 + ["b"] * 15 + ["a"] + [""]  # one that is labelled a lies among the b
    features = np.concatenate(
        [middles["a"] + random.normal(size=(20, 12)), middles["b"] + random.normal(size=(17, 12))]
    )
    centers = np.stack([middles["b"], middles["a"]])
    found = explanations.contexts(features.astype(np.float32), strata, centers.astype(np.float32), ("b", "a"))
    assert list(found.groups) == ["b", "a"]
    assert found.groups["a"]["images"] == 21
    assert found.groups["a"]["own_center"] == pytest.approx(20 / 21)
    assert found.groups["a"]["own_neighbours"] == pytest.approx(20 / 21)
    assert found.groups["a"]["by_chance"] == pytest.approx(20 / 36)
    assert found.groups["b"]["own_center"] == 1
    assert 0.8 <= found.groups["b"]["own_neighbours"] < 1  # the stray one and the unknown one are among the nearest
    assert found.points.shape == (37, 2)
    near = {name: np.linalg.norm(found.points - place, axis=1).argmin() for name, place in found.centers.items()}
    assert near["a"] < 20 <= near["b"]
    again = explanations.contexts(features.astype(np.float32), strata, centers.astype(np.float32), ("b", "a"))
    np.testing.assert_array_equal(found.points, again.points)

    without = explanations.contexts(features.astype(np.float32), strata, np.zeros((0, 12), np.float32), ())
    assert without.centers == {}
    assert without.groups["a"]["own_center"] is None


def test_the_surest_errors_come_first_and_one_of_each_stratum_and_pair() -> None:
    rows = [
        ("anger", "a", "fear", (0.2, 0.7, 0.1)),
        ("anger", "a", "fear", (0.0, 0.9, 0.1)),  # surer, of the same stratum and pair
        ("anger", "b", "fear", (0.1, 0.8, 0.1)),
        ("joy", "b", "joy", (0.0, 0.0, 1.0)),  # right
        ("joy", "a", "anger", (0.95, 0.0, 0.05)),  # without an image
    ]
    table = pd.DataFrame([row[:3] for row in rows], columns=["emotion", "stratum", "predicted"])
    for at, emotion in enumerate(TASK.emotions):
        table[f"p:{emotion}"] = [row[3][at] for row in rows]
    assert explanations.confident_errors(table, TASK, [0, 1, 2, 3]) == [(1, "fear", "anger"), (2, "fear", "anger")]
    assert explanations.confident_errors(table, TASK, range(5))[0] == (4, "anger", "joy")
    assert explanations.confident_errors(table.drop(columns="p:joy"), TASK, [0]) == []

    several = table.assign(emotion=["anger", "anger|joy", "anger", "joy", "fear|joy"])
    found = explanations.confident_errors(several, replace(TASK, multilabel=True), range(5))
    assert found == [(4, "anger", "fear"), (1, "fear", "anger"), (2, "fear", "anger")]


def test_a_run_tells_what_it_can_and_the_page_what_it_cannot(trained: list[Path], tmp_path: Path) -> None:
    erm, iern = comparable(trained)
    data = data_of(erm)
    told = explanations.explain(iern, data, True, "cpu")
    assert told.notes == ()
    assert told.contexts is not None
    assert set(told.contexts.centers) == {"blue", "dim", "gray"}
    assert sum(group["images"] for group in told.contexts.groups.values()) == len(told.contexts.points) == 72
    assert told.inside is not None
    assert told.inside["n"] == data.rows["validation"]
    assert 0 < len(told.looks) <= explanations.ERRORS
    for look in told.looks:
        row = iern.predictions.iloc[look.row]
        assert (row["predicted"], row["emotion"]) == (look.said, look.true)
        assert row[f"p:{look.said}"] == look.p_said
        assert look.image.shape == (32, 32, 3)
        assert look.for_said.shape == look.for_true.shape == (2, 2)
    assert explanations.explain(erm, data, False, "cpu").contexts is None  # it has none
    assert explanations.explain(erm, data, False, "cpu").inside is None

    bare = tmp_path / "IERN"
    shutil.copytree(trained[1], bare)
    (bare / runs.WEIGHTS).unlink()
    (lost,) = comparable([bare])
    (note,) = explanations.explain(lost, data, True, "cpu").notes
    assert note.startswith("Without what the network of IERN would tell")
    assert "has no weights.safetensors" in note
    assert explanations.explain(iern, replace(data, frame=None), True, "cpu") == explanations.Explained()

    assert data.frame is not None
    moved = data.frame.assign(file="nowhere.png")
    (note,) = explanations.explain(iern, replace(data, frame=moved), True, "cpu").notes
    assert "No image" in note
    some = data.frame.copy()
    gone = some.index[some["split"] == "test"][:60]
    some.loc[gone, "file"] = "nowhere.png"
    part = explanations.explain(iern, replace(data, frame=some), False, "cpu")
    assert part.contexts is None  # twelve images make no map
    assert part.looks
    broken = data.frame.copy()
    (tmp_path / "broken.png").write_bytes(b"no image")
    broken["file"] = str(tmp_path / "broken.png")
    (note,) = explanations.explain(iern, replace(data, frame=broken), False, "cpu").notes
    assert "broken.png" in note

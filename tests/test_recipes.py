"""The grids in recipes/ are ones that `emodo benchmark` takes."""

import inspect
from pathlib import Path

import pytest
import yaml

from emodo import cells
from emodo.benchmark import benchmark

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_names_methods_and_settings_that_there_are(file, monkeypatch):
    monkeypatch.setattr("emodo.confounders.load", lambda _: None)  # the file is made by the commands beside the recipe
    grid = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert set(grid) <= set(inspect.signature(benchmark).parameters)
    entered = cells.entries(grid["methods"], grid["settings"])
    assert [entry.name for entry in entered] == list(grid["methods"])
    assert all(entry.settings["epochs"] > 0 for entry in entered)


def test_there_are_recipes():
    assert [file.stem for file in RECIPES] == ["faces", "lambda", "modified", "scenes", "table2", "table3"]

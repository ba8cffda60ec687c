"""What decides the results of a grid: other settings or data never pass for those of the runs that are there."""

import json
from pathlib import Path

import pytest
import torch

from emodo import confounders, manifest
from emodo.cells import entries
from emodo.grid import GRID, RUNS, SEARCH, name_folds, prepare
from emodo.records import Confounder, InputError
from emodo.splitting import split_random, split_table1

SETTINGS = {"epochs": 8}


@pytest.fixture(scope="module")
def three(faces):
    """The three folds of Table 1."""
    whole = faces.parent / "manifest.csv"
    return [split_table1(whole, faces.parent / f"folds{fold}.csv", fold=fold) for fold in (1, 2, 3)]


def test_folds_are_named_after_their_files_or_folders(three, tmp_path):
    assert name_folds(three, None) == {f"folds{at}": file for at, file in enumerate(three, 1)}
    moved = [tmp_path / name / "fold.csv" for name in ("a", "b")]
    for file, target in zip(three, moved, strict=False):
        target.parent.mkdir()
        manifest.save(manifest.load(file), target)
    assert list(name_folds(moved, None)) == ["a-fold", "b-fold"]


def test_what_cannot_be_folds_is_refused(three, tmp_path):
    with pytest.raises(InputError, match="the folds need different names"):
        name_folds([], None)
    with pytest.raises(InputError, match="the folds need different names"):
        name_folds([three[0], three[0]], None)
    with pytest.raises(InputError, match="has no column split"):
        name_folds([three[0].parent / "manifest.csv"], None)
    other = split_random(three[0].parent / "manifest.csv", tmp_path / "random.csv", test=0.5)
    with pytest.raises(InputError, match=r"random.csv and .*folds1.csv test the same image"):
        name_folds([three[0], other], None)


@pytest.fixture
def folds(tmp_path):
    """Two files that stand for manifests: their content alone counts here."""
    found = {name: tmp_path / f"{name}.csv" for name in ("a", "a-b")}
    for name, file in found.items():
        file.write_text(name)
    return found


@pytest.fixture
def out(tmp_path, folds):
    """A benchmark with a run of each of two methods on each of two folds, and one of the search."""
    out = tmp_path / "out"
    prepare(out, entries(["ERM", "IERN"], SETTINGS), folds, [], False)
    for method in ("ERM", "IERN"):
        for fold in folds:
            (out / RUNS / method / f"{fold}-seed0").mkdir(parents=True)
        (out / SEARCH / method / "a-times0.3").mkdir(parents=True)
    return out


def held(out):
    """The run folders that are there."""
    return {str(run.relative_to(out)) for run in out.glob("*/*/*")}


def everything(out):
    return {path: path.read_bytes() if path.is_file() else None for path in out.rglob("*")}


def test_the_same_again_changes_nothing(out, folds):
    before = everything(out)
    prepare(out, entries(["ERM", "IERN"], SETTINGS), folds, [], False)
    assert everything(out) == before
    prepare(out, entries(["ERM"], SETTINGS), {"a": folds["a"]}, [], True)  # fewer: the others stay known
    assert everything(out) == before


def test_methods_and_folds_are_added(out, folds, tmp_path):
    (tmp_path / "c.csv").write_text("c")
    prepare(out, entries(["DANN"], {"epochs": 2}), {"c": tmp_path / "c.csv"}, [], False)
    grid = json.loads((out / GRID).read_text())
    assert list(grid["methods"]) == ["ERM", "IERN", "DANN"]
    assert list(grid["folds"]) == ["a", "a-b", "c"]
    assert grid["methods"]["ERM"]["settings"]["epochs"] == 8
    assert len(held(out)) == 6


CHANGES = {
    "setting": (["ERM"], {"epochs": 9}, [], r"runs of ERM with other settings \(epochs 8 -> 9\)"),
    "default": (["ERM"], {}, [], r"\(epochs 8 -> 160\)"),
    "hyper-parameter": ({"ERM": {"lr": 0.1}}, SETTINGS, [], r"\(lr 0.0002 -> 0.1\)"),
    "several": ({"ERM": {"lr": 0.1}}, {"epochs": 9}, [], r"\(lr 0.0002 -> 0.1, epochs 8 -> 9\)"),
    "method": ({"ERM": {"method": "Resampling"}}, SETTINGS, [], r"\(method ERM -> Resampling\)"),
    "search": (["ERM"], SETTINGS, [0.3, 1.0], r"\(search \[\] -> \[0.3, 1.0\]\)"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_other_settings_under_the_same_name_are_refused(case, out, folds):
    methods, settings, search, message = CHANGES[case]
    before = everything(out)
    with pytest.raises(InputError, match=message + ": choose another --out, or train them anew with --overwrite"):
        prepare(out, entries(methods, settings), folds, search, False)
    assert everything(out) == before


@pytest.mark.parametrize("case", CHANGES)
def test_overwriting_removes_the_runs_of_that_method_alone(case, out, folds):
    methods, settings, search, _ = CHANGES[case]
    prepare(out, entries(methods, settings), folds, search, True)
    assert held(out) == {"runs/IERN/a-seed0", "runs/IERN/a-b-seed0", "search/IERN/a-times0.3"}
    prepare(out, entries(methods, settings), folds, search, False)


def test_settings_without_runs_are_no_reason_to_refuse(tmp_path, folds):
    out = tmp_path / "new"
    prepare(out, entries(["ERM"], {"epochs": 1}), folds, [], False)
    prepare(out, entries(["ERM"], {"epochs": 2}), folds, [], False)
    assert json.loads((out / GRID).read_text())["methods"]["ERM"]["settings"]["epochs"] == 2


def test_a_changed_manifest_is_refused_and_overwriting_removes_that_folds_runs_alone(out, folds):
    held_out = [out / SEARCH / f"{name}.parquet" for name in folds]
    for file in held_out:
        file.write_text("rows")
    folds["a"].write_text("other rows")
    with pytest.raises(InputError, match=r"runs of a with other settings \(the manifest has changed\)"):
        prepare(out, entries(["ERM"], SETTINGS), folds, [], False)
    prepare(out, entries(["ERM"], SETTINGS), folds, [], True)
    # of every method, and not of the fold whose name begins alike
    assert held(out) == {"runs/ERM/a-b-seed0", "runs/IERN/a-b-seed0"}
    assert [file.exists() for file in held_out] == [False, True]


def test_the_same_manifest_elsewhere_is_the_same(out, folds, tmp_path):
    moved = tmp_path / "elsewhere" / "a.csv"
    moved.parent.mkdir()
    folds["a"].rename(moved)
    prepare(out, entries(["ERM"], SETTINGS), {"a": moved}, [], False)


def test_another_confounder_file_under_the_same_name_is_refused(tmp_path, folds):
    file, out = tmp_path / "c.safetensors", tmp_path / "new"
    for again in (False, True):
        confounders.save(Confounder("scene", ("in", "out"), (0.5, 0.5), torch.full((2, 4), float(again))), file)
        given = entries(["CCIM"], {"confounder": str(file)})
        if again:
            with pytest.raises(
                InputError, match=r"runs of CCIM with other settings \(the confounder file has changed\)"
            ):
                prepare(out, given, folds, [], False)
        else:
            prepare(out, given, folds, [], False)
            (out / RUNS / "CCIM" / "a-seed0").mkdir(parents=True)


@pytest.mark.parametrize("part", ["settings", "init_args"])
def test_a_setting_that_was_not_there_had_todays_default(out, folds, part):
    grid = json.loads((out / GRID).read_text())
    # a tuple by its default, a list as it is read back
    name = {"settings": "crop", "init_args": "betas"}[part]
    del grid["methods"]["ERM"][part][name]
    (out / GRID).write_text(json.dumps(grid))
    prepare(out, entries(["ERM"], SETTINGS), folds, [], False)
    other = (
        entries(["ERM"], SETTINGS | {"crop": False})
        if part == "settings"
        else entries({"ERM": {"betas": [0, 0.9]}}, SETTINGS)
    )
    with pytest.raises(InputError, match=name):
        prepare(out, other, folds, [], False)


def test_a_setting_that_is_no_more_is_told(out, folds):
    grid = json.loads((out / GRID).read_text())
    grid["methods"]["ERM"]["settings"]["colour"] = True
    (out / GRID).write_text(json.dumps(grid))
    with pytest.raises(InputError, match="colour True -> None"):
        prepare(out, entries(["ERM"], SETTINGS), folds, [], False)


def test_two_names_never_share_a_folder(out, folds):
    prepare(out, entries({"ERM fast": {"method": "ERM", "lr": 0.1}}, SETTINGS), folds, [], False)
    for name in ("ERM-fast", "erm fast"):
        with pytest.raises(InputError, match=f"holds runs of 'ERM fast' where those of '{name}' would be: rename it"):
            prepare(out, entries({name: {"method": "ERM"}}, SETTINGS), folds, [], True)


@pytest.mark.parametrize("content", ["notes.txt", "grid.json/x", None])
def test_what_is_no_benchmark_is_left_alone(tmp_path, folds, content):
    mine = tmp_path / "mine"
    if content:
        (mine / content).parent.mkdir(parents=True)
        (mine / content).write_text("mine")
    else:
        mine.write_text("mine")
    before = everything(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"mine is not a benchmark \(it has no grid.json\): choose another --out"):
            prepare(mine, entries(["ERM"], {}), folds, [], overwrite)
    assert everything(tmp_path) == before


def test_what_a_kill_in_the_first_moment_has_left_is_no_hindrance(tmp_path, folds):
    out = tmp_path / "new"
    out.mkdir()
    (out / f".{GRID}.tmp").write_text("{")
    prepare(out, entries(["ERM"], {}), folds, [], False)
    assert [path.name for path in out.iterdir()] == [GRID]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"folds": {}}', '{"folds": {"a": 3}, "methods": {}}', "\xff"])
def test_a_damaged_grid_is_named(tmp_path, folds, text):
    out = tmp_path / "new"
    out.mkdir()
    (out / GRID).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"grid.json is damaged: choose another --out"):
        prepare(out, entries(["ERM"], {}), folds, [], True)
    assert (out / GRID).read_bytes() == text.encode("latin-1")


def test_killed_while_runs_are_removed_none_is_half_there(out, folds, monkeypatch):
    for run in held(out):
        (out / run / "scores.json").write_text("{}")

    def stop(folder, **options):
        if Path(folder).exists():
            next(Path(folder).iterdir()).unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr("emodo.files.shutil.rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(out, entries(["ERM"], {"epochs": 9}), folds, [], True)
    monkeypatch.undo()
    assert all((run / "scores.json").is_file() for run in out.glob("*/*/[!.]*"))
    prepare(out, entries(["ERM"], {"epochs": 9}), folds, [], True)
    assert not list(out.glob("*/ERM/[!.]*"))
    assert json.loads((out / GRID).read_text())["methods"]["ERM"]["settings"]["epochs"] == 9

"""The cells of a grid: settings checked before anything runs, outcomes as values, what is finished stays."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import torch

from emodo import cells, confounders, methods, runs
from emodo.cells import Cell, Entry, entries, execute, finished, folder, outdated, seconds
from emodo.records import Confounder, InputError

SMALL = {"backbone": "small", "size": 32, "augmentation": "light", "epochs": 1, "batch_size": 32, "accelerator": "cpu"}

# ---------------------------------------------------------------------------------------- entries


def test_an_entry_holds_everything_it_trains_with_defaults_included():
    (erm,) = entries(["ERM"], SMALL)
    assert (erm.name, erm.method, erm.folder) == ("ERM", "ERM", "ERM")
    assert erm.init_args == methods.ERM().hyperparameters()
    assert erm.settings["epochs"] == 1
    assert erm.settings["max_pixels"] == 50_000_000
    assert not set(cells.DECIDED) & set(erm.settings)
    json.dumps(erm.settings)


def test_a_method_may_stand_twice_under_other_names():
    found = entries({"ERM": None, "ERM, fast": {"method": "ERM", "lr": 0.01, "settings": {"epochs": 3}}}, SMALL)
    assert [(each.name, each.method) for each in found] == [("ERM", "ERM"), ("ERM, fast", "ERM")]
    assert [each.init_args["lr"] for each in found] == [2e-4, 0.01]
    assert [each.settings["epochs"] for each in found] == [1, 3]


def test_a_shared_hyperparameter_goes_where_it_is_known_and_not_set():
    given = {"ERM": {}, "IERN": {"channels": 8}, "NWGM": {"width": 4}}
    erm, iern, nwgm = entries(given, {"method.lr": "1e-3", "method.channels": 16})
    assert [each.init_args["lr"] for each in (erm, iern, nwgm)] == [1e-3] * 3
    assert iern.init_args["channels"] == 8
    assert "channels" not in erm.init_args
    assert nwgm.init_args["width"] == 4


@pytest.mark.parametrize("value", ["3", 3])
def test_values_may_be_words_as_typed_or_yaml(value):
    (erm,) = entries(
        {"ERM": {"betas": [0.6, 0.9]}}, {"epochs": value, "pretrained": False, "emotions": '["joy", "fear"]'}
    )
    assert erm.settings["epochs"] == 3
    assert erm.settings["pretrained"] is False
    assert erm.settings["emotions"] == ["joy", "fear"]
    assert erm.init_args["betas"] == [0.6, 0.9]


WRONG = {
    "nothing": ([], {}, "there is no method to compare: name one or more with --methods"),
    "unknown method": (["IERM"], {}, "no method is called 'IERM': there are .*ERM, .*IERN"),
    "abstract method": (["Method"], {}, "no method is called 'Method'"),
    "no method": (["Prediction"], {}, "no method is called 'Prediction'"),
    "unknown hyper-parameter": ({"ERM": {"lrr": 1}}, {}, "ERM: there is no setting 'lrr': there are lr, backbone_lr"),
    "unknown setting": (["ERM"], {"epohcs": 1}, "ERM: there is no setting 'epohcs': there are .*epochs"),
    "help is no setting": (["ERM"], {"help": 1}, "ERM: there is no setting 'help'"),
    "unknown setting of its own": ({"ERM": {"settings": {"epohcs": 1}}}, {}, "there is no setting 'epohcs'"),
    "unknown shared": (["ERM"], {"method.channels": 1}, "--settings method.channels: no method .* a setting channels"),
    "value of another type": (["ERM"], {"epochs": "three"}, 'ERM: the setting "epochs": Expected .*int.* three'),
    "value that there is not": ({"IERN": {"block": "x"}}, {}, 'IERN: the setting "block": .* x'),
    "date": ({"ERM": {"lr": date(2020, 1, 1)}}, {}, 'ERM: the setting "lr": .*2020-01-01'),
    "value out of range": (["ERM"], {"epochs": 0}, "ERM: --epochs is 0: it must be 1 or more"),
    "values that do not fit": (["ERM"], {"epochs": 2, "warmup": 3}, "ERM: --warmup 3 .* do not fit into --epochs 2"),
    "not a mapping": ({"ERM": 3}, {}, "ERM is 3: give settings with their values"),
    "settings not a mapping": ({"ERM": {"settings": ["epochs"]}}, {}, r"ERM: settings is \['epochs'\]: give settings"),
    "own emotions": ({"ERM": {"settings": {"emotions": ["joy"]}}}, {}, "ERM: emotions are the same for all methods"),
    "name twice": (["ERM", "ERM"], {}, "the method 'ERM' needs a name of its own"),
    "folder twice": ({"a b": {"method": "ERM"}, "A-b": {"method": "ERM"}}, {}, "the method 'A-b' needs a name of its"),
    "no letters": ({"...": {"method": "ERM"}}, {}, "the method '...' needs a name of its own, of letters and digits"),
    "no confounder file": (["ERM"], {"confounder": "none.safetensors"}, "ERM: there is no confounder file none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_a_grid_is_refused(case):
    given, settings, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        entries(given, settings)


@pytest.mark.parametrize("setting", cells.DECIDED)
def test_what_the_grid_decides_is_no_setting(setting):
    for given, settings in ((["ERM"], {setting: 1}), ({"ERM": {"settings": {setting: 1}}}, {})):
        with pytest.raises(InputError, match=f"ERM: {setting} is not a setting of a grid's cells: leave it out"):
            entries(given, settings)


def test_faster_multiplies_every_learning_rate_and_nothing_else():
    (dacl,) = entries({"DACL": {"lr": 0.01, "backbone_lr": 0.02}}, {})
    faster = dacl.faster(3)
    assert faster.rates == {name: 3 * rate for name, rate in dacl.rates.items()}
    assert faster.rates.keys() >= {"lr", "backbone_lr"}
    unchanged = {name: value for name, value in dacl.init_args.items() if name not in dacl.rates}
    assert {name: faster.init_args[name] for name in unchanged} == unchanged
    assert replace(faster, init_args=dacl.init_args) == dacl
    assert dacl.faster(1) == dacl


@pytest.mark.parametrize(
    ("name", "expected"),
    [("IERN", "IERN"), ("IERN, adjusted", "IERN-adjusted"), ("../x y/", "x-y"), (".hidden", "hidden"), ("µ+1", "µ+1")],
)
def test_a_folder_is_a_name_that_stays_in_its_place(name, expected):
    assert folder(name) == Entry(name, "ERM", {}, {}).folder == expected


# ------------------------------------------------------------------------------------------ cells


@pytest.fixture
def cell(faces, tmp_path):
    (erm,) = entries(["ERM"], SMALL)
    return Cell(erm, faces, 0, tmp_path / "runs" / "ERM" / "fold1-seed0")


def test_a_cell_is_a_normal_run_of_its_settings(cell, faces, capsys):
    assert not finished(cell.run)
    assert seconds(cell.run) is None
    outcome = execute(cell)
    assert (outcome.status, outcome.reason, outcome.detail) == ("done", "", "")
    assert capsys.readouterr() == ("", "")  # what a training says stays in its outcome
    assert finished(cell.run)
    assert 0 < seconds(cell.run) <= outcome.seconds
    config = runs.config(cell.run)
    assert config["manifest"] == str(faces)
    assert config["seed"] == 0
    assert {name: config[name] for name in SMALL} == SMALL
    assert config["method"] == {"class_path": "emodo.methods.ERM", "init_args": methods.ERM().hyperparameters()}
    assert (config["devices"], config["nodes"]) == (1, 1)


def test_a_finished_cell_is_never_run_again(cell, monkeypatch):
    cell.run.mkdir(parents=True)
    (cell.run / runs.SCORES).write_text("{}")
    monkeypatch.setattr("emodo.training.train", lambda *_, **__: pytest.fail("trained again"))
    assert execute(cell).status == "done"
    assert [path.name for path in cell.run.iterdir()] == [runs.SCORES]


def test_a_begun_cell_goes_on_and_its_time_is_unknown(cell, monkeypatch):
    from emodo import training

    assert execute(cell).status == "done"
    whole = (cell.run / runs.WEIGHTS).read_bytes()
    (cell.run / runs.SCORES).unlink()
    (cell.run / runs.WEIGHTS).unlink()
    calls = []
    train = training.train
    monkeypatch.setattr(
        training, "train", lambda *args, **options: calls.append((args, options)) or train(*args, **options)
    )
    assert execute(cell).status == "done"
    assert calls == [((), {"resume": cell.run})]
    assert (cell.run / runs.WEIGHTS).read_bytes() == whole
    assert seconds(cell.run) is None


def test_what_the_data_does_not_allow_is_refused_with_its_reason(cell):
    (resampling,) = entries(["Resampling"], SMALL)
    outcome = execute(replace(cell, entry=resampling))
    assert outcome.status == "refused"
    assert "Resampling gives every" in outcome.reason
    assert outcome.detail == ""
    assert not cell.run.exists()


def test_a_failure_is_told_with_all_that_is_known_of_it(cell, monkeypatch):
    def fail(*arguments, **options):
        print("half way")
        print("a warning", file=sys.stderr)
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr("emodo.training.train", fail)
    outcome = execute(cell)
    assert (outcome.status, outcome.reason) == ("failed", "RuntimeError: out of memory")
    for part in ("half way", "a warning", "Traceback", "and more"):
        assert part in outcome.detail
    assert not finished(cell.run)


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError()])
def test_even_what_ends_a_process_is_a_failure(cell, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("emodo.training.train", fail)
    assert execute(cell).status == "failed"
    assert execute(cell).reason.startswith(type(error).__name__)


HOLD = """
import sys, time
from pathlib import Path
from emodo.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_cell_waits_for_what_a_killed_grid_has_left(cell, monkeypatch):
    cell.run.parent.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(cell.lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    monkeypatch.setattr("emodo.training.train", lambda *_, **__: cell.run.mkdir())
    waiting = threading.Thread(target=execute, args=(cell,))
    waiting.start()
    time.sleep(0.5)
    assert waiting.is_alive()
    assert not cell.run.exists()
    process.kill()
    process.communicate()
    waiting.join()
    assert cell.run.exists()


def test_a_run_of_other_learning_rates_is_outdated(cell, tmp_path):
    assert not outdated(cell)  # nothing there
    config = {"method": {"class_path": "emodo.methods.ERM", "init_args": cell.entry.faster(3).init_args}}
    cell.run.mkdir(parents=True)
    assert not outdated(cell)  # not a run: training it will say so
    (cell.run / runs.CONFIG).write_text(json.dumps(config))
    assert outdated(cell)
    assert not outdated(replace(cell, entry=cell.entry.faster(3)))


def test_whole_paths_reach_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    confounders.save(Confounder("scene", ("in", "out"), (0.5, 0.5), torch.randn(2, 4)), Path("c.safetensors"))
    (erm,) = entries(["ERM"], SMALL | {"confounder": "c.safetensors", "pretrained": "w.pth"})
    found = Cell(erm, Path("a.csv"), 0, Path("runs/x")).by_whole_paths()
    assert (found.manifest, found.run) == (tmp_path / "a.csv", tmp_path / "runs" / "x")
    assert found.entry.settings["confounder"] == str(tmp_path / "c.safetensors")
    assert found.entry.settings["pretrained"] == str(tmp_path / "w.pth")
    assert found.entry.settings | {"confounder": "c.safetensors", "pretrained": "w.pth"} == erm.settings
    (erm,) = entries(["ERM"], SMALL)
    assert Cell(erm, tmp_path, 0, tmp_path).by_whole_paths().entry == erm

"""The run folder is created whole, read back as it was written, and executes nothing."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import save_file, save_model

from emodo import runs
from emodo.confounders import save
from emodo.methods import ERM, IERN
from emodo.networks import create_backbone
from emodo.records import Batch, Confounder, InputError, Task

TASK = Task(("anger", "joy"), Confounder("source", ("lab", "übel", "web"), (0.5, 0.25, 0.25)))
PROVENANCE = {"emodo": "0.1.0", "manifest_sha256": "ab" * 32}


def configuration(method=None, **changes):
    method = method or ERM()
    named = {"class_path": f"emodo.methods.{type(method).__name__}", "init_args": method.hyperparameters()}
    return {"manifest": "/data/faces.csv", "method": named, "backbone": "small", "size": 32} | changes


@pytest.fixture
def run(tmp_path):
    runs.create(tmp_path / "run", configuration(), TASK, PROVENANCE)
    return tmp_path / "run"


def test_a_new_run_holds_configuration_task_and_provenance(run):
    assert sorted(path.name for path in run.iterdir()) == [runs.CONFIG, runs.PROVENANCE, runs.TASK]
    assert runs.config(run) == configuration()
    assert runs.task(run) == TASK
    assert runs.provenance(run) == PROVENANCE


def test_the_configuration_keeps_its_order(run):
    assert list(runs.config(run)) == list(configuration())


@pytest.mark.parametrize(
    "task",
    [Task(("joy",)), TASK, Task(("a", "b"), Confounder("age", ("1",), (1.0,))), Task(("a", "b"), multilabel=True)],
)
def test_a_task_is_read_as_it_was_written(tmp_path, task):
    runs.create(tmp_path / "run", configuration(), task, PROVENANCE)
    found = runs.task(tmp_path / "run")
    assert found == task
    assert isinstance(found.emotions, tuple)


def test_a_task_that_does_not_say_so_has_one_emotion_a_row(run):
    written = json.loads((run / runs.TASK).read_text())
    assert written.pop("multilabel") is False
    (run / runs.TASK).write_text(json.dumps(written))
    assert runs.task(run) == TASK


def test_prototypes_have_a_file_of_their_own(tmp_path):
    scenes = Confounder("scene", ("in", "out"), (0.5, 0.5), torch.ones(2, 3), "two scenes")
    run = tmp_path / "run"
    runs.create(run, configuration(), Task(("joy",), scenes), PROVENANCE)
    written = json.loads((run / runs.TASK).read_text())["confounder"]
    assert written == {"column": "scene", "strata": ["in", "out"], "prior": [0.5, 0.5], "dictionary": runs.CONFOUNDER}
    found = runs.task(run).confounder
    assert found == scenes
    assert torch.equal(found.prototypes, torch.ones(2, 3))
    assert found.how == "two scenes"

    (run / runs.CONFOUNDER).unlink()
    with pytest.raises(InputError, match=r"there is no confounder file .*run/confounder\.safetensors"):
        runs.task(run)
    save(Confounder("scene", ("in", "up"), (0.5, 0.5), torch.ones(2, 3)), run / runs.CONFOUNDER)
    with pytest.raises(InputError, match=r"confounder\.safetensors is not this run's"):
        runs.task(run)


def test_a_run_is_not_replaced_unless_asked(run):
    (run / runs.WEIGHTS).write_bytes(b"weights")
    with pytest.raises(InputError, match=r"run exists already: .*--resume .*--overwrite"):
        runs.create(run, configuration(size=64), TASK, PROVENANCE)
    assert runs.config(run)["size"] == 32
    runs.create(run, configuration(size=64), TASK, PROVENANCE, overwrite=True)
    assert runs.config(run)["size"] == 64
    assert not (run / runs.WEIGHTS).exists()


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_what_is_not_a_run_is_never_replaced(tmp_path, content):
    (tmp_path / "mine").mkdir()
    if content:
        (tmp_path / "mine" / content).write_text("mine")
    with pytest.raises(InputError, match=r"is not a run \(it has no config\.yaml\), so it is not overwritten"):
        runs.create(tmp_path / "mine", configuration(), TASK, PROVENANCE, overwrite=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ([content] if content else [])


def test_a_file_in_the_way_is_never_replaced(tmp_path):
    (tmp_path / "mine").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError):
            runs.create(tmp_path / "mine", configuration(), TASK, PROVENANCE, overwrite)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_run_that_cannot_be_written_is_not_there(tmp_path):
    with pytest.raises(yaml.YAMLError):
        runs.create(tmp_path / "run", configuration(size=object()), TASK, PROVENANCE)
    assert not list(tmp_path.iterdir())


def test_ensure_absent_lets_a_new_name_pass(tmp_path):
    runs.ensure_absent(tmp_path / "new")
    runs.ensure_absent(tmp_path / "new", overwrite=True)
    assert not (tmp_path / "new").exists()


READERS = [runs.config, runs.task, runs.provenance, runs.predictions, runs.scores, runs.load_method]


@pytest.mark.parametrize("read", READERS)
def test_what_is_not_a_run_is_not_read(tmp_path, read):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"is not a run: it has no config\.yaml"):
            read(folder)


@pytest.mark.parametrize("read", READERS[3:])
def test_of_an_unfinished_run_the_message_says_how_to_finish_it(run, read):
    with pytest.raises(
        InputError, match=r"its training has not finished; continue it with `emodo train --resume .*run`"
    ):
        read(run)


def test_scores_are_read_as_written(run):
    (run / runs.SCORES).write_text('{"n": 3, "accuracy": null}')
    assert runs.scores(run) == {"n": 3, "accuracy": None}


# ------------------------------------------------------------------------------------------- methods


def test_a_method_is_created_with_its_settings():
    method = runs.create_method(configuration(IERN(channels=16, betas=(0.6, 0.9), block="table5")))
    assert isinstance(method, IERN)
    assert (method.channels, method.betas, method.block) == (16, (0.6, 0.9), "table5")
    assert not list(method.parameters())  # not yet built


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "torch.nn.Linear",
        "emodo.runs.create",
        "emodo.methods.base.Method",
        "emodo.methods.erm.Plain",
        "emodo.methods.Plain",
        "emodo.methods.losses",
        "emodo.methods.__init__",
        "IERN.__init__",
        "",
    ],
)
def test_nothing_but_a_method_of_emodo_is_created(name):
    with pytest.raises(InputError, match="no method of emodo is called"):
        runs.create_method({"method": {"class_path": name, "init_args": {}}})


def test_a_configuration_runs_no_code(run, tmp_path):
    mark = tmp_path / "was-here"
    (run / runs.CONFIG).write_text(f"method: !!python/object/apply:os.mkdir ['{mark}']\n")
    with pytest.raises((InputError, yaml.YAMLError)):
        runs.load_method(run)
    assert not mark.exists()


@pytest.mark.parametrize("method", [ERM(), IERN(channels=16, init="default")], ids=["ERM", "IERN"])
def test_a_loaded_method_predicts_as_the_saved_one(tmp_path, method):
    torch.manual_seed(0)
    method.build(TASK, create_backbone("small", 32))
    runs.create(tmp_path / "run", configuration(method), TASK, PROVENANCE)
    save_model(method, str(tmp_path / "run" / runs.WEIGHTS))
    torch.manual_seed(1)
    again = runs.load_method(tmp_path / "run")
    assert not again.training
    batch = Batch(torch.randn(4, 3, 32, 32), *torch.zeros(3, 4, dtype=torch.int64))
    with torch.no_grad():
        assert torch.equal(again(batch), method.eval()(batch))


def test_loading_asks_for_no_pretrained_weights(tmp_path, monkeypatch):
    seen = []

    def create(name, size, pretrained=None):
        seen.append(pretrained)
        return create_backbone(name, size, pretrained)

    monkeypatch.setattr("emodo.networks.create_backbone", create)
    method = ERM()
    method.build(TASK, create_backbone("small", 32))
    runs.create(tmp_path / "run", configuration(method, pretrained=True), TASK, PROVENANCE)
    save_model(method, str(tmp_path / "run" / runs.WEIGHTS))
    runs.load_method(tmp_path / "run")
    assert seen == [False]


@pytest.mark.parametrize(
    "named",
    [
        {"class_path": "emodo.methods.Method", "init_args": {}},
        {"class_path": "emodo.methods.Prediction", "init_args": {"logits": 1}},
        {"class_path": "emodo.methods.ERM", "init_args": {"lrr": 1}},
        "ERM",
    ],
    ids=["abstract", "no method", "unknown setting", "text"],
)
def test_only_whole_methods_are_created(named):
    with pytest.raises(InputError):
        runs.create_method({"method": named})


@pytest.mark.parametrize("text", ["manifest: [", "- 1\n", "", "method: !!python/object/apply:os.getcwd []\n"])
def test_a_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / runs.CONFIG).write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml is damaged"):
        runs.config(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of IERN with its weights."""
    method = IERN(channels=16, init="default")
    method.build(TASK, create_backbone("small", 32))
    folder = tmp_path_factory.mktemp("whole") / "run"
    runs.create(folder, configuration(method), TASK, PROVENANCE, method=method)
    return folder


@pytest.fixture
def changed(whole, tmp_path):
    """Copy that run, with other settings."""

    def change(init_args=None, **settings):
        folder = shutil.copytree(whole, tmp_path / "changed")
        said = runs.config(folder)
        said["method"]["init_args"] |= init_args or {}
        (folder / runs.CONFIG).write_text(yaml.safe_dump(said | settings))
        return folder

    return change


@pytest.mark.parametrize("size", ["abc", None, 0, -3, 64.7, True])
def test_a_size_that_is_none_is_named(changed, size):
    with pytest.raises(
        InputError, match=rf"config\.yaml is damaged: size is {size!r}, and it has to be a whole number"
    ):
        runs.load_method(changed(size=size))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "zzz"}, r"config\.yaml: no backbone is called 'zzz'"),
        ({"backbone": "resnet18"}, r"config\.yaml: a feature map of 1x1 is too small"),
        ({"size": 8}, r"config\.yaml: a feature map of 1x1 is too small"),
        ({"method": {"class_path": "emodo.methods.SVM"}}, r"config\.yaml: no method of emodo is called 'SVM'"),
    ],
)
def test_a_setting_of_the_run_that_cannot_be_is_told_with_its_file(changed, settings, message):
    with pytest.raises(InputError, match=message):
        runs.load_method(changed(**settings))


@pytest.mark.parametrize("channels", [-1, "many"])
def test_settings_that_build_no_network_are_damaged(changed, channels):
    with pytest.raises(InputError, match=r"config\.yaml is damaged: IERN cannot be built as it says \(.*\)$"):
        runs.load_method(changed({"channels": channels}))


@pytest.mark.parametrize("spoil", [lambda content: content[:5000], lambda _: b"", lambda _: b"hello"])
def test_damaged_weights_are_told_from_foreign_ones(whole, tmp_path, spoil):
    folder = shutil.copytree(whole, tmp_path / "run")
    file = folder / runs.WEIGHTS
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(
        InputError, match=r"weights\.safetensors is damaged \(.+\): copy the run anew, or train it anew$"
    ):
        runs.load_method(folder)


@pytest.mark.parametrize(
    ("state", "detail"),
    [({"a": torch.zeros(2)}, "Missing key"), (None, r"size mismatch for [\w.]+\)")],
    ids=["other names", "other shapes"],
)
def test_foreign_weights_are_told_with_the_first_difference(changed, state, detail):
    folder = changed({"channels": 16 if state else 32})
    if state:
        save_file(state, folder / runs.WEIGHTS)
    with pytest.raises(
        InputError, match=rf"does not hold the weights of this run \({detail}.*: .*config\.yaml has been"
    ) as told:
        runs.load_method(folder)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < len(str(folder)) * 2 + 300


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"emotions": 3}, r"damaged \('int' object"),
        ({"confounder": {"column": "source"}}, "damaged: it lacks 'strata'"),
    ],
)
def test_a_damaged_task_is_named(run, said, message):
    file = run / runs.TASK
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    with pytest.raises(InputError, match=rf"task\.json is {message}"):
        runs.task(run)

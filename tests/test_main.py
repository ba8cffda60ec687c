"""The command line: flags as people type them, one message for what is wrong, exit codes 0, 2 and 130."""

import inspect
import subprocess
import sys
from importlib import import_module

import pandas as pd
import pytest

from emodo import __version__
from emodo.__main__ import VERBS, main


@pytest.fixture
def emodo(capsys):
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def run(*words):
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # usage errors and --help end in argparse
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def manifest(faces):
    return faces.parent / "manifest.csv"


def function(verb):
    module, name, _ = VERBS[verb]
    return getattr(import_module(module), name)


# ---------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_verb(emodo, flag):
    code, out, err = emodo(flag)
    assert code == 0
    assert not err
    for verb, (_, _, what) in VERBS.items():
        assert f"{verb} " in out
        assert what in out


def test_without_a_verb_the_verbs_are_listed_and_it_is_a_usage_error(emodo):
    code, out, err = emodo()
    assert code == 2
    assert "train" in out + err


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_is_told(emodo, flag):
    assert emodo(flag) == (0, f"emodo {__version__}\n", "")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_is_its_signature(emodo, verb):
    code, out, err = emodo(*verb.split(), "--help")
    assert code == 0
    assert not err
    assert out.startswith(f"usage: emodo {verb} ")
    for name, parameter in inspect.signature(function(verb)).parameters.items():
        assert (f"--{name}" if parameter.default is not parameter.empty else name) in out, name


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_says_all_that_its_docstring_says_before_the_arguments(emodo, verb):
    _, out, _ = emodo(*verb.split(), "--help")
    said = " ".join(out.split())
    paragraphs = inspect.getdoc(function(verb)).partition("\n\nArgs:\n")[0].split("\n\n")
    assert len(paragraphs) > 1
    for paragraph in paragraphs:
        assert " ".join(paragraph.split()) in said


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_docstring_opens_with_the_command_and_describes_every_flag(verb):
    text = inspect.getdoc(function(verb)) or ""
    assert text.startswith(f"emodo {verb}")
    for name in inspect.signature(function(verb)).parameters:
        assert f"\n    {name}: " in text, name
    assert "\nArgs:\n" in text


FAMILIES = sorted({verb.split()[0] for verb in VERBS if " " in verb})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_lists_its_verbs(emodo, family):
    for flag in ("-h", "--help"):
        code, out, err = emodo(family, flag)
        assert code == 0
        assert not err
        for verb in VERBS:
            assert (f"  {verb} " in out) == verb.startswith(f"{family} "), verb


@pytest.mark.parametrize("words", [["split"], ["split", "tabel1"], ["split", "tabel1", "--help"]])
def test_a_family_without_a_verb_is_a_usage_error(emodo, words):
    code, out, err = emodo(*words)
    assert code == 2
    assert not out
    assert "split table1" in err


@pytest.mark.parametrize("words", [["trian"], ["trian", "--help"], ["--verbose"], [""]])
def test_an_unknown_verb_is_named(emodo, words):
    code, out, err = emodo(*words)
    assert code == 2
    assert not out
    assert repr(words[0]) in err
    assert "emodo --help" in err


NO_TORCH = """
import sys
import emodo
from emodo.__main__ import main
assert main(["--help"]) == 0
assert main(["split", "--help"]) == 0
heavy = {"torch", "pandas", "numpy", "lightning", "timm", "jsonargparse", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "emodo VERB" in done.stdout


NO_LIGHTNING = """
import sys
from emodo.__main__ import main
try:
    main(["train", "--help"])
except SystemExit as stop:
    assert stop.code == 0
heavy = {"lightning", "timm", "matplotlib", "tensorboard"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_of_train_does_not_wait_for_the_engine():
    done = subprocess.run([sys.executable, "-c", NO_LIGHTNING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--method" in done.stdout


@pytest.mark.parametrize(("verb", "named"), [("serve", "runs [runs ...]"), ("predict", "run images [images ...]")])
def test_help_names_lists_as_they_are_typed(verb, named, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert named in said
    assert "[ITEM" not in said
    assert "PATH1" not in said


# -------------------------------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["split", "random", "{manifest}", "{out}", "--vaildation", "0.1"], "--vaildation"),
        (["train", "{manifest}", "--epohcs", "3"], "--epohcs"),
        (["train", "{manifest}", "--epochs", "three"], "epochs"),
        (["train", "{manifest}", "--epochs"], "--epochs"),
        (["train", "{manifest}", "--precision", "fp8"], "precision"),
        (["train", "{manifest}", "--method", "IERM"], "IERM"),
        (["train", "{manifest}", "--method", "IERN", "--method.chanels", "16"], "chanels"),
        (["train", "{manifest}", "--method", "torch.nn.Linear"], "torch.nn.Linear"),
        (["train", "{manifest}", "--method", "os.system"], "os.system"),
        (["train", "{manifest}", "--method", "emodo.networks.Backbone"], "emodo.networks.Backbone"),
        (["split", "random", "{manifest}"], "out"),
        (["report"], "runs"),
        (["evaluate", "{out}", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_a_usage_error_names_what_is_wrong(emodo, manifest, tmp_path, words, named):
    out = tmp_path / "out.csv"
    code, printed, err = emodo(*(word.format(manifest=manifest, out=out) for word in words))
    assert code == 2
    assert not printed
    assert named in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "{none}"], "emodo train: {none} is missing: no such file"),
        (["train"], "emodo train: there is nothing to train on"),
        (["train", "--resume", "{none}"], "emodo train: {none} is not a run"),
        (["evaluate", "{none}"], "emodo evaluate: {none} is not a run"),
        (["report", "{none}", "{manifest}"], "emodo report: {none} is not a run"),
        (["split", "subject", "{none}", "{out}"], "emodo split subject: {none} is missing: no such file"),
        (["prepare", "table", "{none}", "{out}"], "emodo prepare table: {none} is missing: no such file"),
        (["split", "random", "{manifest}", "{manifest}"], "emodo split random: {manifest} exists already"),
        (["train", "{manifest}", "--seed", "-1", "--run", "{out}"], "emodo train: --seed is -1"),
    ],
)
def test_wrong_input_is_one_message_on_stderr(emodo, manifest, tmp_path, words, message):
    places = {"manifest": manifest, "none": tmp_path / "none.csv", "out": tmp_path / "out.csv"}
    code, out, err = emodo(*(word.format(**places) for word in words))
    assert code == 2
    assert not out
    assert err.startswith(message.format(**places))
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_interrupt_is_told_and_ends_with_130(emodo, manifest, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("emodo.splitting.read", interrupted)
    code, out, err = emodo("split", "random", manifest, tmp_path / "out.csv")
    assert code == 130
    assert not out
    assert err == "emodo split random: interrupted\n"


def test_what_nobody_foresaw_is_not_hidden(emodo, manifest, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("emodo.splitting.read", fail)
    with pytest.raises(ZeroDivisionError):
        emodo("split", "random", manifest, tmp_path / "out.csv")


# ------------------------------------------------------------------------------ as people type it


def test_the_result_alone_is_on_stdout(emodo, manifest, tmp_path):
    code, out, err = emodo("split", "random", manifest, tmp_path / "out.csv")
    assert code == 0
    assert out == f"{tmp_path / 'out.csv'}\n"
    assert "test" in err


def test_a_bare_flag_is_true(emodo, manifest, tmp_path):
    target = tmp_path / "out.csv"
    command = ["split", "random", manifest, target]
    assert emodo(*command)[0] == 0
    assert emodo(*command)[0] == 2
    assert emodo(*command, "--overwrite", "false")[0] == 2
    for yes in (["--overwrite"], ["--overwrite", "true"], ["--overwrite=true"], ["--overwrite", "--seed", "1"]):
        assert emodo(*command, *yes)[0] == 0, yes


def test_dashes_are_underscores(emodo, faces, tmp_path):
    refused = emodo("train", faces, "--batch-size", "0", "--run", tmp_path / "run")
    assert refused == emodo("train", faces, "--batch_size=0", "--run", tmp_path / "run")
    assert refused == (2, "", "emodo train: --batch_size is 0: it must be 1 or more\n")


def test_values_keep_their_dashes_and_may_be_negative(emodo, manifest, tmp_path):
    target = tmp_path / "a-b--c.csv"
    assert emodo("split", "random", manifest, target, "--seed=3")[0] == 0
    assert target.is_file()
    assert "--seed is -1" in emodo("train", manifest, "--seed", "-1")[2]


def test_a_list_is_its_words(emodo, manifest, tmp_path):
    code, _, err = emodo("split", "table1", manifest, tmp_path / "out.csv", "--emotions", "joy", "fear", "--fold", "2")
    assert code == 2
    assert "Table 1 needs 6 different --emotions, not joy, fear" in err
    code, _, err = emodo("split", "table1", manifest, tmp_path / "out.csv", "--emotions", '["joy", "fear"]')
    assert "Table 1 needs 6 different --emotions, not joy, fear" in err


@pytest.mark.parametrize("flag", ["--emotions", "--sources"])
def test_a_list_of_nothing_is_named(emodo, manifest, tmp_path, flag):
    code, out, err = emodo("split", "table1", manifest, tmp_path / "out.csv", flag, "--fold", "2")
    assert (code, out) == (2, "")
    assert err == f"emodo split table1: {flag} is empty: name one or more after it\n"


def test_a_mapping_is_its_pairs(emodo, faces, tmp_path):
    frame = pd.read_csv(faces, dtype=str)
    frame["emotion"] = frame["emotion"].replace({"happiness": "happy", "sadness": "sad"})
    frame["path"] = [str(faces.parent / path) for path in frame["path"]]
    frame.to_csv(tmp_path / "labels.csv", index=False)
    command = ["prepare", "table", tmp_path / "labels.csv", tmp_path / "out.csv"]
    code, out, err = emodo(*command, "--rename", '{"happy": "happiness", "sad": "sadness"}')
    assert (code, out) == (0, f"{tmp_path / 'out.csv'}\n"), err
    code, out, err = emodo(*command, "--rename", "happy=happiness", "sad=sadness", "--overwrite")
    assert (code, out) == (0, f"{tmp_path / 'out.csv'}\n"), err
    assert set(pd.read_csv(tmp_path / "out.csv")["emotion"]) >= {"happiness", "sadness"}


def test_a_list_goes_by_its_place(emodo, tmp_path):
    names = [tmp_path / "A", tmp_path / "B"]
    assert "A is not a run" in emodo("report", *names, "--out", tmp_path / "out.html")[2]
    assert f"{names[1]} is given twice" in emodo("report", *names, names[1])[2]


def test_a_list_takes_all_words_from_its_place_on(emodo, tmp_path):
    run, out = tmp_path / "none", tmp_path / "out"
    for words in (["a", "-"], ["-"], ["[ab].jpg", "c"], ["a", "--strata", "b"]):
        assert emodo("predict", run, *words, "--out", out)[2] == (
            f"emodo predict: {run} is not a run: it has no config.yaml\n"
        )
    assert emodo("predict", run, "--out", out)[0] == 2  # no images at all


def test_words_with_defaults_go_by_their_places_too(emodo, faces, manifest, tmp_path):
    by_place = emodo("train", faces, "--epochs", "0")
    assert by_place == emodo("train", "--manifest", faces, "--epochs", "0")
    assert by_place[2] == "emodo train: --epochs is 0: it must be 1 or more\n"
    for name, words in (("a", ["0.5", "0.1"]), ("b", ["--test", "0.5", "--validation", "0.1"])):
        assert emodo("split", "random", manifest, tmp_path / f"{name}.csv", *words)[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_configuration_file_gives_the_flags(emodo, manifest, tmp_path):
    config = tmp_path / "split.yaml"
    config.write_text(f"manifest: {manifest}\nout: {tmp_path / 'a.csv'}\ntest: 0.5\n")
    assert emodo("split", "random", "--config", config)[0] == 0
    assert emodo("split", "random", manifest, tmp_path / "b.csv", "--test", "0.5")[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    config.write_text("manifest: a.csv\nout: b.csv\ntset: 0.5\n")
    code, out, err = emodo("split", "random", "--config", config)
    assert (code, out) == (2, "")
    assert "tset" in err


@pytest.mark.parametrize(
    "words", [["A", "B"], ['["A","B"]'], ["--out", "x.html", "A", "B"], ["A", "B", "--out=x.html"]]
)
def test_runs_go_by_their_places_wherever_the_flags_stand(words, capsys):
    assert main(["report", *words]) == 2
    assert "A is not a run" in capsys.readouterr().err


def test_scenes_are_generated(emodo, tmp_path):
    out = tmp_path / "scenes"
    code, printed, err = emodo("generate", "scenes", out, "--images", "120", "--size", "64", "--emotions", "valence")
    assert (code, printed) == (0, f"{out / 'manifest.csv'}\n"), err
    frame = pd.read_csv(out / "manifest.csv")
    assert len(frame) == 120
    assert set(frame["emotion"]) == {"positive", "negative"}


def test_abbreviated_flags_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["split", "random", "m.csv", str(tmp_path / "a.csv"), "--overwr"])
    assert left.value.code == 2
    assert "unrecognized arguments: --overwr" in capsys.readouterr().err

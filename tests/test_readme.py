"""Every command and every line of Python in the README runs, on generated faces and in a small net."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from emodo import runs
from emodo.__main__ import main
from emodo.synthetic.faces import generate

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = ["--backbone", "small", "--size", "32", "--epochs", "1", "--accelerator", "cpu"]
FEW = ["--seeds", "0", "--replicates", "100", "--settings", "backbone=small", "size=32", "epochs=1", "accelerator=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the README's reader has it: images, and a table of labels with columns of their own."""
    folder = tmp_path_factory.mktemp("user")
    frame = pd.read_csv(generate(folder / "images", subjects=2, size=32), dtype=str)
    table = {
        "file": "images/" + frame["path"],
        "expression": frame["emotion"],
        "dataset": frame["source"],
        "person": frame["subject"],
    }
    pd.DataFrame(table).to_csv(folder / "labels.csv", index=False)
    return folder


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_commands_of_the_first_use_run_in_their_order(folder, monkeypatch):
    monkeypatch.chdir(folder)
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("emodo ")]
    assert [line.split()[1] for line in lines] == ["prepare", "split", "train", "train", "report", "benchmark", "train"]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        small = {"train": SMALL if "--resume" not in words else [], "benchmark": FEW}
        assert main(words + small.get(words[0], [])) == 0, line
    assert runs.scores(Path("runs/iern"))["n"] == runs.scores(Path("runs/erm"))["n"] == 36
    assert Path("report.html").is_file()


def test_the_python_of_the_readme_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = blocks("python")
    assert 'backbone="resnet50", run="runs/iern"' in code
    code = code.replace(
        'backbone="resnet50", run="runs/iern"', 'backbone="small", size=32, epochs=1, run="runs/python"'
    )
    exec(compile(code, "README.md", "exec"), {})  # the README is ours
    assert runs.config(Path("runs/python"))["method"]["init_args"]["lambda_center"] == 5e-4

"""Every command and every line of Python in the README, and every command of docs/benchmark.md, runs: on generated
faces, in a small net."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml

from emodo import runs
from emodo.__main__ import main
from emodo.splitting import split_table1
from emodo.synthetic.faces import generate

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARK = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
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


def blocks(language, page=README):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_commands_of_the_first_use_run_in_their_order(folder, monkeypatch):
    monkeypatch.chdir(folder)
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("emodo ")]
    assert [line.split()[1] for line in lines] == [
        "prepare",
        "audit",
        "split",
        "train",
        "train",
        "report",
        "benchmark",
        "compare",
        "predict",
        "train",
    ]
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


TINY = {"backbone": "small", "size": 32, "epochs": 1, "accelerator": "cpu", "augmentation": "none"}


def test_the_commands_of_the_benchmarks_page_run_in_their_order(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(  # in this process: others take seconds to start
        "emodo.running.on_this_machine",
        lambda function, jobs, *_: ((at, function(job)) for at, job in enumerate(jobs)),
    )
    for fold in (1, 2, 3):
        split_table1(folder / "images" / "manifest.csv", Path(f"fold{fold}.csv"), fold=fold)
    (grid,) = blocks("yaml", BENCHMARK)
    small = yaml.safe_load(grid.replace("epochs: 30", "epochs: 1"))
    small |= {"manifests": small["manifests"][:1], "settings": TINY, "seeds": [0]}
    Path("grid.yaml").write_text(yaml.safe_dump(small, sort_keys=False))
    lines = re.findall(r"^(?: {4})?(emodo .*)", BENCHMARK.replace("\\\n", ""), re.MULTILINE)
    assert [line.split()[1] for line in lines] == ["benchmark", "generate", "split", "split"] + ["benchmark"] * 5 + [
        "report",
        "benchmark",
    ]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if words[0] == "generate":
            words += ["--subjects", "2", "--size", "32"]
        elif words[0] == "benchmark":
            words += ["--seeds", "0", "--replicates", "100"]
            if "--config" not in words:
                words += ["--settings", *(f"{name}={value}" for name, value in TINY.items())]
        if "ray" in words:
            pytest.importorskip("ray")
        assert main(words) == 0, line
    out = Path("runs/grid")
    named = set(re.findall(r"`(\w+\.\w+)`", BENCHMARK.partition("| in OUT")[2].partition("## ")[0]))
    assert named == {path.name for path in out.iterdir() if path.is_file()}
    assert {path.parent.name for path in (out / "runs").glob("*/fold1-seed0")} == {
        "ERM",
        "IERN",
        "IERN-adjusted",
        "ERM-twice-as-long",
    }
    assert (Path("runs/searched/search/IERN/fold1-times0.3") / runs.SCORES).is_file()

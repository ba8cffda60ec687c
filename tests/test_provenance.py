"""The command on the page trains the same run again; hashes are those of the files."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from emodo import provenance, runs
from emodo.__main__ import main
from emodo.compared import comparable


def test_the_command_makes_the_run_again(trained: list[Path], tmp_path: Path) -> None:
    _, run = comparable(trained)
    words = shlex.split(provenance.command(run))
    assert words[:2] == ["emodo", "train"]
    assert words[-2:] == ["--run", str(trained[1])]
    assert "--seed" not in words  # it is the default
    again = tmp_path / "again"
    assert main([*words[1:-1], str(again)]) == 0
    assert runs.config(again) == runs.config(trained[1])
    assert (again / runs.WEIGHTS).read_bytes() == (trained[1] / runs.WEIGHTS).read_bytes()


@pytest.mark.parametrize("method", ["IERN", {"class_path": "emodo.methods.IERN"}, {"class_path": "other.Thing"}])
def test_a_method_by_its_name_alone_or_of_another_project_is_named(trained: list[Path], method: object) -> None:
    _, run = comparable(trained)
    name = "Thing" if "other" in str(method) else "IERN"
    told = provenance.command(replace(run, method=name, config=run.config | {"method": method}))
    assert f" --method {name} " in told
    assert "--method." not in told


def test_hashes_are_those_of_the_files_and_what_is_gone_is_said(trained: list[Path]) -> None:
    _, run = comparable(trained)
    found = provenance.origin(run)
    weights = hashlib.sha256((run.folder / runs.WEIGHTS).read_bytes()).hexdigest()
    assert found["weights_sha256"] == weights
    assert found["manifest_sha256"] == found["manifest_sha256_now"] == runs.provenance(run.folder)["manifest_sha256"]
    lost = replace(run, manifest=Path("nowhere.csv"))
    assert provenance.origin(lost)["manifest_sha256_now"] == "the file is gone"
    rows = dict(provenance.table([run, lost]).rows)
    assert [cell.text for cell in rows["weights_sha256"]] == [weights, weights]
    assert [cell.text for cell in rows["seed"]] == ["0", "0"]

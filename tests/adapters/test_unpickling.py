"""Pickles are read as data: nothing that one holds is ever run."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest

from emodo.adapters import unpickling
from emodo.adapters.unpickling import read_pickle
from emodo.records import InputError

LABELS = {"ckplus_S010_004_00000017": "happy", "counts": [1, -70000, 2**80, 0.5, True, [], {"é" * 300: "ü"}]}


class Planted:
    """What an attacker would save: to open it is to make a file."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def written(folder: Path, data: bytes) -> Path:
    (folder / "labels.pkl").write_bytes(data)
    return folder / "labels.pkl"


def problem(file: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_pickle(file)
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol_comes_back_as_it_was(tmp_path: Path, protocol: int) -> None:
    many = {**LABELS, **{f"image_{n}": "sad" for n in range(3000)}}
    assert read_pickle(written(tmp_path, pickle.dumps(many, protocol))) == many


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_that_a_pickle_brings_along_runs(tmp_path: Path, protocol: int) -> None:
    planted = {"a": "happy", "b": Planted(f"touch {tmp_path / 'ran'}")}
    file = written(tmp_path, pickle.dumps(planted, protocol))
    assert "may be a program: it is not opened" in problem(file)
    assert not (tmp_path / "ran").exists()
    with file.open("rb") as opened:  # the pickle does what it is suspected of
        pickle.load(opened)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [{"a"}, b"bytes", Path("a"), 1j, len, InputError, (1, 2), None, bytearray(2)])
def test_other_values_are_refused_by_their_instruction(tmp_path: Path, value: object) -> None:
    assert "holds more than dictionaries, lists, text and numbers" in problem(written(tmp_path, pickle.dumps([value])))


def test_names_are_refused_a_second_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = pickle.dumps(Planted(f"touch {tmp_path / 'ran'}"), 0)
    monkeypatch.setattr(unpickling, "PLAIN", unpickling.PLAIN | {"GLOBAL", "REDUCE", "TUPLE"})
    assert "it names posix.system" in problem(written(tmp_path, code))
    with pytest.raises(pickle.UnpicklingError, match="it names posix"):
        unpickling._Plain(io.BytesIO(code)).load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"happy", b"\x80\x05]", pickle.dumps(LABELS)[:-9], b"(dp0\nS'a'\nX."])
def test_damaged_pickles(tmp_path: Path, data: bytes) -> None:
    assert problem(written(tmp_path, data)).startswith(f"{tmp_path}/labels.pkl cannot be read as a pickle (")


def test_a_few_bytes_claim_no_memory(tmp_path: Path) -> None:
    claims = b"]r" + (2**32 - 1).to_bytes(4, "little") + b"."
    assert "is no pickle that Python wrote" in problem(written(tmp_path, claims))


def test_the_size_is_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda file: pytest.fail("it was read"))
    with (tmp_path / "labels.pkl").open("wb") as large:
        large.truncate(unpickling.MOST_BYTES + 1)
    assert problem(tmp_path / "labels.pkl").endswith("is larger than 64 MB: no list of labels is")
    assert problem(tmp_path / "no.pkl").endswith("no.pkl is missing: no such file")

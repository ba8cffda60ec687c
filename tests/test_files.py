"""A file is whole or absent: the old one or the whole new one, whatever happens while it is written."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emodo.files import atomic, is_locked, locked, new_folder, remove_folder, sync_folder, write_text
from emodo.records import InputError


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_atomic_writes_the_file_and_its_folders(tmp_path):
    target = tmp_path / "a" / "b" / "table.csv"
    with atomic(target) as temporary:
        assert temporary.parent == target.parent  # beside it: a rename within one file system
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert everything(tmp_path) == ["a", "a/b", "a/b/table.csv"]


def test_atomic_replaces_the_old_file_only_at_the_end(tmp_path):
    target = tmp_path / "table.csv"
    target.write_bytes(b"old")
    with atomic(target) as temporary:
        temporary.write_bytes(b"half")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"half"
    assert everything(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [b"old", None])
def test_on_any_exception_atomic_leaves_what_was_there(tmp_path, error, old):
    target = tmp_path / "table.csv"
    if old:
        target.write_bytes(old)

    def fail():
        with atomic(target) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert everything(tmp_path) == (["table.csv"] if old else [])
    assert not old or target.read_bytes() == old


def test_atomic_with_nothing_written_leaves_the_old_file(tmp_path):
    target = tmp_path / "table.csv"
    target.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), atomic(target):
        pass
    assert target.read_bytes() == b"old"


def test_content_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def spy_replace(self, target):
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    write_text(tmp_path / "table.csv", "text")
    assert events == ["file", "rename", "folder"]
    events.clear()
    with new_folder(tmp_path / "run") as folder:
        (folder / "a").write_text("a")
        (folder / "below").mkdir()
        (folder / "below" / "b").write_text("b")
    assert sorted(events[:-2]) == ["file", "file", "folder", "folder"]
    assert events[-2:] == ["rename", "folder"]


def test_write_text_writes_utf8_as_it_stands(tmp_path):
    write_text(tmp_path / "a.txt", "übel\nλ\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "übel\nλ\r\n".encode()


def test_sync_folder_closes_what_it_opens(tmp_path):
    def lowest_free():
        descriptor = os.open(tmp_path, os.O_RDONLY)
        os.close(descriptor)
        return descriptor

    before = lowest_free()
    sync_folder(tmp_path)
    assert lowest_free() == before


def test_new_folder_appears_whole(tmp_path):
    out = tmp_path / "deep" / "run"
    with new_folder(out) as folder:
        (folder / "below").mkdir()
        (folder / "below" / "file").write_text("text")
        assert not out.exists()
    assert everything(tmp_path) == ["deep", "deep/run", "deep/run/below", "deep/run/below/file"]


def test_new_folder_takes_the_place_of_an_empty_one(tmp_path):
    (tmp_path / "run").mkdir()
    with new_folder(tmp_path / "run") as folder:
        (folder / "file").write_text("text")
    assert everything(tmp_path) == ["run", "run/file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("empty", [True, False])
def test_on_an_exception_there_is_no_new_folder(tmp_path, error, empty):
    if empty:
        (tmp_path / "run").mkdir()

    def fail():
        with new_folder(tmp_path / "run") as folder:
            (folder / "file").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert everything(tmp_path) == (["run"] if empty else [])


@pytest.mark.parametrize("what", ["file", "folder"])
def test_new_folder_replaces_nothing(tmp_path, what):
    if what == "file":
        (tmp_path / "run").write_text("mine")
    else:
        (tmp_path / "run" / "below").mkdir(parents=True)
    before = everything(tmp_path)
    with (
        pytest.raises(InputError, match="run exists and is not an empty folder: name a new one"),
        new_folder(tmp_path / "run"),
    ):
        raise AssertionError("the body must not run")
    assert everything(tmp_path) == before


def test_new_folder_clears_what_a_killed_process_left(tmp_path):
    left = tmp_path / ".run.tmp"
    left.mkdir()
    (left / "half").write_text("half")
    with new_folder(tmp_path / "run") as folder:
        assert folder == left
        assert not any(folder.iterdir())
        (folder / "file").write_text("text")
    assert everything(tmp_path) == ["run", "run/file"]


def test_relative_names_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text(Path("a.txt"), "a")
    with new_folder(Path("run")) as folder:
        (folder / "b").write_text("b")
    assert everything(tmp_path) == ["a.txt", "run", "run/b"]


WRITER = """
import sys
from pathlib import Path
from emodo.files import atomic
for n in range(10**9):
    with atomic(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(str(n % 10).encode() * 300_000)
"""


def test_killed_at_any_moment_the_file_is_whole(tmp_path):
    target = tmp_path / "table.csv"
    for moment in (0.01, 0.033, 0.071):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)])
        seen = target.stat().st_mtime_ns if target.exists() else 0
        deadline = time.monotonic() + 20
        while (not target.exists() or target.stat().st_mtime_ns == seen) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = target.read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1


def test_a_removed_folder_is_gone_in_one_step(tmp_path, monkeypatch):
    for name in ("run", ".run.old"):  # what a killed process has left is cleared
        (tmp_path / name / "inside").mkdir(parents=True)
    seen = []
    rmtree = shutil.rmtree
    monkeypatch.setattr(
        "emodo.files.shutil.rmtree", lambda path, **how: seen.append((tmp_path / "run").exists()) or rmtree(path, **how)
    )
    remove_folder(tmp_path / "run")
    assert seen == [True, False]
    assert everything(tmp_path) == []


HOLDS_LOCK = """
import sys, time
from pathlib import Path
from emodo.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_is_free_when_its_process_is_killed(tmp_path):
    file = tmp_path / "a" / "lock"
    assert not is_locked(file)
    with locked(file):
        assert is_locked(file)
    assert not is_locked(file)
    with subprocess.Popen([sys.executable, "-c", HOLDS_LOCK, str(file)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert is_locked(file)
        other.kill()
        with locked(file):  # waits until it is free
            assert is_locked(file)

"""Whole or absent: every file that emodo writes is written beside its target, synced, and moved into place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from emodo.records import InputError


def sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes in hexadecimal, read in pieces."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def told_apart(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many as tell them all apart; whole paths where some are the same."""
    for depth in range(1, max((len(path.parts) for path in paths), default=1) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


@contextmanager
def atomic(target: Path) -> Generator[Path]:
    """Yield a temporary path beside `target`; on success it is fsynced and replaces `target` in one step.

    Killed at any instant, `target` is the old file or the whole new one. On an exception the temporary file is
    removed and `target` is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")  # what a killed process leaves is written over
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """Yield a temporary folder beside `out`; on success it takes the place of `out` in one step.

    Killed at any instant, `out` is the whole folder or what it was before: absent or empty. A temporary
    folder that a killed process has left is cleared by the next one. Raises InputError where `out` is a file
    or holds anything.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder: name a new one.")
    target = out.resolve()
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # Files may still be in memory when the rename is on the disk: a power cut would leave them empty.
        walked = [(Path(folder), names) for folder, _, names in os.walk(temporary)]
        with ThreadPoolExecutor(16) as threads:  # a disk syncs many files in little more than the time of one
            list(threads.map(_sync, [folder / name for folder, names in walked for name in names]))
        for folder, _ in walked:
            sync_folder(folder)
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(file: Path) -> Generator[None]:
    """Wait for the lock on `file`, and hold it; it is free again when this process ends, in whatever way."""
    import fcntl

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock on `file`; a file that is not there is held by none."""
    import fcntl

    try:
        with file.open("r") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def check_files_out(out: Path | None, overwrite: bool) -> None:
    """Raise InputError where a folder for a verb's files is a file, or holds anything that may not be replaced."""
    if out is not None and (out.is_file() or (out.is_dir() and any(out.iterdir()) and not overwrite)):
        raise InputError(f"{out} exists already: choose another --out, or replace its files with --overwrite")


def remove_folder(folder: Path) -> None:
    """Remove a folder in one step: killed at any instant, it is whole or gone."""
    condemned = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(condemned, ignore_errors=True)  # what a killed process has left
    folder.replace(condemned)
    shutil.rmtree(condemned)


def sync_folder(folder: Path) -> None:
    """Fsync a folder's entries, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text to `target`, whole or not at all."""
    with atomic(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sync(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())

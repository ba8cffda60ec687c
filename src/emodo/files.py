"""Whole or absent: every file that emodo writes is written beside its target, synced, and moved into place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from emodo.records import InputError


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
        for folder, _, names in os.walk(temporary):
            for name in names:
                _sync(Path(folder, name))
            sync_folder(Path(folder))
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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

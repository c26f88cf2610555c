"""The state folder: private files, replaced whole, and one cloud at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StateInUse(Exception):
    """Another local cloud keeps its state in this folder."""


def make_private_folder(folder: Path) -> Path:
    """Make the folder, readable by its owner only, and return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_private(file: Path, content: bytes) -> None:
    """Put the content in place of the file at once, readable by its owner only."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; `StateInUse` when another holds it."""
    with open(os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600), "r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateInUse(
                f"A local cloud already runs on {folder}. Stop it, or give another folder: --state FOLDER"
            ) from None
        yield

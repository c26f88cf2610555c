"""Keeps what the Key Vault holds in a file: every change sealed, none in clear."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict

from local.key_vault.bodies import Secret
from local.state import write_private

NONCE_BYTES = 12


class JournalBroken(Exception):
    """The file is not what was written with this key."""


class _Entry(BaseModel):
    """The state of one name after a change: the secret, or `None` when it is gone for good."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    name: str
    secret: Secret | None


class Journal:
    """A line per change, each sealed with AES-256-GCM for its place; the last one for a name counts.

    Opening it writes the file anew with only what counts. A last line that was not written to its end is
    dropped: its change was never acknowledged. Key and file are readable by their owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "key-vault.sealed"
        self._cipher = AESGCM(_key(folder / "key-vault.key"))
        self._lines = 0
        self.secrets = list(self._replayed().values())
        write_private(self._file, b"".join(self._sealed(_Entry(name=s.name, secret=s)) for s in self.secrets))
        self._stream: BinaryIO = self._file.open("ab", buffering=0)

    def record(self, name: str, secret: Secret | None) -> None:
        self._stream.write(self._sealed(_Entry(name=name, secret=secret)))

    def close(self) -> None:
        self._stream.close()

    def _replayed(self) -> dict[str, Secret]:
        secrets: dict[str, Secret] = {}
        for place, line in enumerate(self._whole_lines()):
            entry = self._opened(line, place)
            secrets.pop(entry.name.lower(), None)
            if entry.secret:
                secrets[entry.name.lower()] = entry.secret
        return secrets

    def _whole_lines(self) -> Iterator[bytes]:
        if self._file.exists():
            yield from self._file.read_bytes().split(b"\n")[:-1]

    def _sealed(self, entry: _Entry) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        box = self._cipher.encrypt(nonce, entry.model_dump_json().encode(), _place(self._lines))
        self._lines += 1
        return base64.b64encode(nonce + box) + b"\n"

    def _opened(self, line: bytes, place: int) -> _Entry:
        try:
            box = base64.b64decode(line, validate=True)
            content = self._cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], _place(place))
        except (ValueError, InvalidTag):
            raise JournalBroken(f"{self._file}, line {place + 1}, is not what was written with this key") from None
        return _Entry.model_validate_json(content)


def _place(line: int) -> bytes:
    return line.to_bytes(8)


def _key(file: Path) -> bytes:
    if not file.exists():
        write_private(file, AESGCM.generate_key(bit_length=256))
    return file.read_bytes()

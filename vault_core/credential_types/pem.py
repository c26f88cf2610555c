"""PEM text as blocks (RFC 7468, strict): nothing but whole blocks and white space."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field

from vault_core.credential_types.given import Fault

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n(.*?)-----END \1-----", re.DOTALL)
_MARK = "-----BEGIN "


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block: its label, what lies between the marks, and the whole of it."""

    label: str
    body: str = field(repr=False)
    text: str = field(repr=False)

    def content(self) -> bytes:
        """Return the decoded body; `Fault` when it is not base64 throughout."""
        try:
            return b64decode("".join(self.body.split()), validate=True)
        except ValueError:
            raise Fault("is damaged: between the PEM marks there must be base64 and nothing else") from None


def read_blocks(text: str, most: int) -> list[Block]:
    """Split the text into 1 to `most` blocks.

    `Fault` for more, for none, and for text outside of blocks: a private key must not hide beside a
    certificate, which is shown.
    """
    if text.count(_MARK) > most:
        raise Fault(f"holds more than {most} PEM {'block' if most == 1 else 'blocks'}")
    blocks = [Block(match[1], match[2], match[0]) for match in _BLOCK.finditer(text)]
    if not blocks or _BLOCK.sub("", text).strip():
        raise Fault("is not PEM: give it from -----BEGIN to -----END with nothing else around it")
    return blocks

"""The port through which the vault calls out: to vendors' validation endpoints and to subscribers' webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

MAX_URL = 2048
MAX_REPLY_BYTES = 64 * 1024
LONGEST_CALL = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the other side answered: any status but a redirect that was followed, and at most 64 KiB."""

    status: int
    body: bytes = field(repr=False)


class Unreachable(Exception):
    """There is no answer to use: blocked, refused, timed out and broken off look the same."""

    def __init__(self) -> None:
        super().__init__("the other side gave no usable answer")


class DestinationRefused(Exception):
    """The vault calls no such URL. `reason` is fixed text that completes "The URL …" and quotes nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Outbound(Protocol):
    """Calls URLs that tenants chose, and nothing that such a URL must not reach."""

    def check(self, url: str) -> str:
        """Return the host of a URL that may be called, as far as its text tells; `DestinationRefused` otherwise."""
        ...

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, within: timedelta) -> Reply:
        """Send the body and return the answer, within 15 seconds at most; `Unreachable` when there is none.

        Whatever is wrong with the URL, its name, address, certificate or answer is `Unreachable` alike.
        """
        ...

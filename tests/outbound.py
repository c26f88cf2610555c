"""The other side of calls out: vendors and subscribers that answer as a test tells them to, and remember what came."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from vault_core.outbound import DestinationRefused, Reply, Unreachable


@dataclass(frozen=True)
class Received:
    """A call that arrived."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def values(self) -> dict[str, str]:
        """The values that a vendor was asked about."""
        return dict(self.json["data"]["values"])


Answer = Callable[[Received], Awaitable[Reply] | Reply]


def said(body: object, status: int = 200) -> Answer:
    """Answer everything with this JSON."""
    return lambda _: Reply(status, json.dumps(body).encode())


def accepts(*values: str) -> Answer:
    """Answer as a vendor that calls these values valid, and others invalid."""

    def answer(call: Received) -> Reply:
        good = bool(set(call.values.values()) & set(values))
        return Reply(200, json.dumps({"valid": good}).encode())

    return answer


@dataclass
class FakeOutbound:
    """Answers by URL; who is not known cannot be reached. Any `https` URL may be called but those of `.internal`."""

    answers: dict[str, Answer] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    def check(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.hostname.endswith(".internal"):
            raise DestinationRefused("must begin with https:// and name a public host")
        return parts.hostname

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, within: timedelta) -> Reply:
        call = Received(url, dict(headers), body)
        self.received.append(call)
        answer = self.answers.get(url)
        if answer is None:
            raise Unreachable
        reply = answer(call)
        return reply if isinstance(reply, Reply) else await reply

    def calls_to(self, url: str) -> list[Received]:
        return [one for one in self.received if one.url == url]

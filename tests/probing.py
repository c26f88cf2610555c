"""Peers on loopback that say what they are told to, names that lead where they are told to, a watch on connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from vault_core.destinations import Destinations
from vault_core.outbound import Reply, Unreachable
from vault_core.probe import Probe

LOOPBACK = ip_network("127.0.0.0/8")
AMPLE = timedelta(seconds=10)
SHORT = timedelta(seconds=0.3)
NOBODY_WAITS_LONGER = 30
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """The other side: how it is reached, and what came."""

    host: str
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/check"

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of each request, by their names in small letters."""
        heads = [request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:] for request in self.requests]
        return [{name.lower(): value for name, value in (line.split(": ", 1) for line in head)} for head in heads]


@asynccontextmanager
async def answering(
    answer: bytes | Script = OK, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """Serve the answer, or a script that is asked after each request, to whoever connects."""
    peer, serving = Peer(host), set[asyncio.Task[Any]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())  # type: ignore[arg-type]
        peer.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
                peer.requests.append(await request_from(reader))
                peer.came.set()
                await (say(answer)(reader, writer) if isinstance(answer, bytes) else answer(reader, writer))
        finally:
            peer.gone.set()
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def request_from(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    [length] = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    return head + (await reader.readexactly(int(length)) if int(length) < 1_000_000 else b"")


def say(answer: bytes) -> Script:
    """Say this and hang up."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.write_eof() if writer.can_write_eof() else writer.close()
        await reader.read()

    return script


def keep_saying(start: bytes, again: bytes, pause: float = 0) -> Script:
    """Say the start, and then the rest over and over."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


class Names:
    """Answers look-ups: with the answers given, in turn, the last of them for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def probe(peer: Peer | None = None, names: Callable[[str], Awaitable[list[str]]] | None = None, **given: Any) -> Probe:
    """Return a probe for which the operator allows loopback, and the peer's port to names."""
    ports = frozenset({peer.port if peer else 443})
    return Probe(Destinations(networks=(LOOPBACK,), ports=ports), look_up=names or Names(["127.0.0.1"]), **given)


async def call(
    by: Probe, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"{}", within: timedelta = AMPLE
) -> Reply:
    """Post to the URL; fail, rather than hang, when that does not end."""
    async with asyncio.timeout(NOBODY_WAITS_LONGER):
        return await by.post(url, headers or {}, body, within)


async def assert_unreachable(by: Probe, url: str, body: bytes = b"{}", within: timedelta = AMPLE) -> None:
    """Post to the URL in vain; what is raised tells nothing of why."""
    with pytest.raises(Unreachable) as failed:
        await call(by, url, body=body, within=within)
    assert failed.value.args == ("the other side gave no usable answer",)
    assert failed.value.__cause__ is failed.value.__context__ is None


def watch_connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Record every address that a socket is told to connect to, and let none go further than loopback."""
    attempts: list[tuple[str, int]] = []
    connect = socket.socket.connect

    def recorded(self: socket.socket, address: Any) -> None:
        attempts.append(address[:2])
        if not ip_address(address[0]).is_loopback:
            raise ConnectionRefusedError
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    monkeypatch.setattr(socket.socket, "connect_ex", recorded)
    return attempts

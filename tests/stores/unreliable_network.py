"""A network that fails on demand, between a client and a server of the local cloud."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web
from yarl import URL

from local.certificates import CertificateAuthority
from local.ports import HOST, Ports
from local.serving import serving

_HOP_BY_HOP = ("Transfer-Encoding", "Content-Encoding", "Content-Length", "Connection")


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happens to one request: it is lost or answered in the server's place, before or after it is applied.

    `then` runs before the client learns of it.
    """

    kind: Literal["status", "reset", "silence", "empty page"]
    applied: bool = False
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    then: Callable[[], Awaitable[object]] = _nothing


class UnreliableNetwork:
    """Passes every request on to `server`, but for those that meet a mishap; counts them all."""

    def __init__(self, server: str, session: aiohttp.ClientSession, port: int) -> None:
        target = URL(server)
        self.url = str(URL.build(scheme="https", host=HOST, port=port, path=target.path))
        self.mishaps: deque[Mishap] = deque()
        self.requests = 0
        self._origin = target.origin()
        self._session = session

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        mishap = self.mishaps.popleft() if self.mishaps else None
        if not mishap:
            return await self._pass_on(request)
        if mishap.applied:
            await self._pass_on(request)
        await mishap.then()
        if mishap.kind == "status":
            return web.Response(status=mishap.status, headers=mishap.headers)
        if mishap.kind == "empty page":
            continued = {"x-ms-continuation-NextPartitionKey": "made-up"}
            return web.json_response({"value": []}, headers=continued)
        if mishap.kind == "silence":
            await asyncio.sleep(60)
        assert request.transport
        request.transport.abort()
        return web.Response()

    async def _pass_on(self, request: web.Request) -> web.Response:
        target = self._origin.with_path(request.rel_url.raw_path, encoded=True).with_query(
            {name: value for name, value in request.rel_url.query.items() if value != "made-up"}
        )
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", *_HOP_BY_HOP)}
        async with self._session.request(request.method, target, headers=headers, data=await request.read()) as answer:
            passed = {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}
            return web.Response(status=answer.status, headers=passed, body=await answer.read())


@asynccontextmanager
async def unreliable_network(server: str, authority: CertificateAuthority) -> AsyncIterator[UnreliableNetwork]:
    port = Ports.any_free().claimed().tables
    connector = aiohttp.TCPConnector(ssl=authority.client_context())
    async with aiohttp.ClientSession(connector=connector, auto_decompress=True) as session:
        network = UnreliableNetwork(server, session, port)
        application = web.Application(client_max_size=8 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", network.handle)
        async with serving(application, port, authority.server_context()):
            yield network

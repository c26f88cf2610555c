"""Calls out for real: the only module that opens a socket to a vendor or subscriber.

A call has a session and a connection of its own. Names are looked up here and nowhere else: every address must be
one that may be called, the socket is opened to such an address, and the peer is looked at again before the request
goes out. Certificate, SNI and `Host` are of the name in the URL.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.tracing import Trace
from yarl import URL

from vault_core.destinations import Address, Destination, Destinations, Endpoint, read_address
from vault_core.outbound import LONGEST_CALL, MAX_REPLY_BYTES, DestinationRefused, Reply, Unreachable
from vault_core.settings import Settings
from vault_core.telemetry import CALL_OUT, span

_MAX_LOOK_UPS = 400  # at once: no fewer than calls, as a name that nobody answers for outlasts its call
_MAX_ADDRESSES = 4  # of a host that are tried
_CONNECT_SECONDS = 5  # after which another address of the host gets its turn
_MAX_HEADERS = 64
_MAX_HEADER_BYTES = 4096
_MAX_RECEIVED_BYTES = MAX_REPLY_BYTES + 64 * 1024  # on a connection: the body, and all that is said around it
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "credentials-vault"}

_log = logging.getLogger(__name__)

LookUp = Callable[[str], Awaitable[list[str]]]
"""Tells the addresses of a host; raises `OSError` when it has none."""


def open_probe(settings: Settings, environment: Mapping[str, str]) -> Probe:
    """Return the probe that calls what the settings allow, and never the app's own stores and identity endpoint."""
    urls = (settings.tables_url, *settings.key_vault_urls, environment.get("IDENTITY_ENDPOINT"))
    destinations = Destinations(
        networks=settings.outbound_networks,
        ports=settings.outbound_ports,
        own=frozenset(Endpoint.of(url) for url in urls if url),
    )
    return Probe(destinations, look_up=SystemLookUp())


class SystemLookUp:
    """Asks the machine's resolver, in threads of its own: a name that is slow to look up keeps no store waiting.

    Threads start on demand, 400 at most. No look-up waits for another: when all threads are taken, it is refused.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MAX_LOOK_UPS, thread_name_prefix="look-up")
        self._running: set[Future[list[str]]] = set()  # also those whose calls were given up

    async def __call__(self, host: str) -> list[str]:
        """Return the addresses of the host; `OSError` when it has none, or when 400 look-ups are running."""
        if len(self._running) >= _MAX_LOOK_UPS:
            raise OSError("too many names are being looked up")
        running = self._threads.submit(_addresses_of, host)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.wrap_future(running)


def _addresses_of(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in found]


class Probe:
    """Calls URLs that tenants chose. Connections trust what the machine trusts, unless `tls` says otherwise."""

    def __init__(self, destinations: Destinations, *, look_up: LookUp, tls: ssl.SSLContext | None = None) -> None:
        self._destinations = destinations
        self._look_up = look_up
        self._tls = tls

    def check(self, url: str) -> str:
        """Return the host of a URL that may be called, as far as its text tells; `DestinationRefused` otherwise."""
        return self._destinations.read(url).host

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, within: timedelta) -> Reply:
        """Send the body and return the answer, within the duration, 15 seconds at most.

        A status of 300 to 399 is an answer, and its location is not followed. Whatever is wrong is `Unreachable`: the
        URL, the name, an address, the certificate, an answer that is encoded, longer than 64 KiB or wrapped in more
        than 64 KiB besides, or the time.
        """
        with span(CALL_OUT) as called:
            reply = await self._reply(url, headers, body, min(within, LONGEST_CALL))
            called.note(outcome="unreachable" if reply is None else f"{reply.status // 100}xx")
        if reply is None:
            raise Unreachable  # out here, where no other exception is its cause or context
        return reply

    async def _reply(self, url: str, headers: Mapping[str, str], body: bytes, within: timedelta) -> Reply | None:
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self._exchange(self._destinations.read(url), headers, body)
        except (DestinationRefused, aiohttp.ClientError, OSError):
            return None
        except Exception as failed:  # noqa: BLE001 - nobody can list what a hostile peer makes a client raise
            _log.warning("call_out=broken-off error=%s", type(failed).__name__)
            return None

    async def _exchange(self, destination: Destination, headers: Mapping[str, str], body: bytes) -> Reply | None:
        connector = _CheckedConnector(self._destinations, self._look_up, self._tls)
        url = URL(destination.url, encoded=True)
        async with _session(connector) as session:
            try:
                async with session.post(url, headers=headers, data=body, allow_redirects=False) as answer:
                    return await _read(answer)
            finally:
                connector.abort()


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        headers=_HEADERS,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        max_headers=_MAX_HEADERS,
    )


async def _read(answer: aiohttp.ClientResponse) -> Reply | None:
    """Return the answer; None when it is encoded or longer than 64 KiB."""
    if any(encoding.strip().lower() != "identity" for encoding in answer.headers.getall("Content-Encoding", ())):
        return None
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            return None
    return Reply(answer.status, bytes(body))


class _CheckedResolver(AbstractResolver):
    """Tells the addresses of a host if every one of them may be called, and none otherwise."""

    def __init__(self, destinations: Destinations, look_up: LookUp) -> None:
        self._destinations = destinations
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = [read_address(text) for text in await self._look_up(host)]
        addresses = [one for one in found if one is not None and self._destinations.permits(one, port)]
        if not addresses or len(addresses) < len(found):
            raise OSError("the host is at no address, or at one that is not called")
        return [_result(host, address, port) for address in addresses[:_MAX_ADDRESSES]]

    async def close(self) -> None:
        """Do nothing: a look-up keeps nothing open."""


def _result(host: str, address: Address, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=str(address),
        port=port,
        family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


class _CheckedConnector(aiohttp.TCPConnector):
    """Opens the connections of one call: to addresses that may be called, and to no others whoever asks."""

    def __init__(self, destinations: Destinations, look_up: LookUp, tls: ssl.SSLContext | None) -> None:
        self._destinations = destinations
        self._opened_to: set[tuple[Address, int]] = set()
        self._transports: list[asyncio.Transport] = []
        super().__init__(
            resolver=_CheckedResolver(destinations, look_up),
            socket_factory=self._open,
            ssl=tls or True,
            use_dns_cache=False,
            happy_eyeballs_delay=None,  # one after the other
            force_close=True,
        )
        self._factory = partial(_bounded_handler, loop=asyncio.get_running_loop())

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        """Return a connection whose peer is at an address that was checked; `ClientConnectionError` otherwise."""
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            self._transports.append(connection.transport)
            if _place(connection.transport.get_extra_info("peername")) in self._opened_to:
                return connection
        connection.close()
        raise aiohttp.ClientConnectionError("the peer is not where it was looked up")

    def abort(self) -> None:
        """End the connections now: a peer that reads nothing must not keep one open."""
        for transport in self._transports:
            transport.abort()

    def _open(self, addr_info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = addr_info
        place = _place(where)
        if place is None or not self._destinations.permits(*place):
            raise OSError("the address is not called")
        self._opened_to.add(place)
        return socket.socket(family, kind, protocol)


class _BoundedHandler(ResponseHandler):
    """Takes 128 KiB from a peer and then breaks off.

    The client itself reads informational answers, extensions of chunks and the like without end, and as fast as they
    come, so that one peer would keep the event loop to itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._left = _MAX_RECEIVED_BYTES

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            super().data_received(data)
        else:
            self._break_off(aiohttp.ClientPayloadError("the peer says too much"))

    def _break_off(self, reason: aiohttp.ClientPayloadError) -> None:
        self.set_exception(reason)
        if self._payload is not None:
            self._payload.set_exception(reason)  # or a body that lasts until the end would pass for whole
        if self.transport is not None:
            self.transport.abort()  # not `self.abort`, which forgets who waits


def _bounded_handler(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _BoundedHandler(loop)


def _place(where: tuple[str, int] | tuple[str, int, int, int] | None) -> tuple[Address, int] | None:
    address = read_address(where[0]) if where else None
    return (address, where[1]) if where and address else None

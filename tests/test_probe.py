"""A call out: what is sent, what is taken for an answer, and that it ends."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from tests.probing import (
    NOBODY_WAITS_LONGER,
    OK,
    SHORT,
    Script,
    answering,
    assert_unreachable,
    call,
    keep_saying,
    probe,
    say_nothing,
)
from tests.recording import recording
from vault_core.outbound import LONGEST_CALL, MAX_REPLY_BYTES, DestinationRefused, Outbound, Reply
from vault_core.probe import SystemLookUp
from vault_core.telemetry import CALLS_OUT
from vault_core.upkeep import deliveries, value_checks


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"])
    return f"{head}\r\n\r\n".encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DEFLATED = gzip.compress(bytes(10_000_000))


def test_the_probe_is_the_adapter_of_the_port() -> None:
    adapter: Outbound = probe()
    assert adapter.check("https://Vendor.example/check") == "vendor.example"
    with pytest.raises(DestinationRefused):
        adapter.check("https://10.0.0.1/")


class TestWhatIsSent:
    async def test_is_the_body_with_the_headers_to_the_path(self) -> None:
        async with answering() as peer:
            await call(probe(peer), peer.url + "?a=%2F+b", {"webhook-id": "msg_1"}, b'{"type": "test"}')
        [request], [headers] = peer.requests, peer.headers
        assert request.startswith(b"POST /check?a=%2F+b HTTP/1.1\r\n")
        assert request.endswith(b'\r\n\r\n{"type": "test"}')
        assert headers["webhook-id"] == "msg_1"
        assert headers["host"] == f"127.0.0.1:{peer.port}"

    async def test_asks_for_a_plain_answer_and_says_little_of_the_vault(self) -> None:
        async with answering() as peer:
            await call(probe(peer), peer.url)
        [headers] = peer.headers
        assert headers["accept-encoding"] == "identity"
        assert headers["user-agent"] == "credentials-vault"

    async def test_goes_over_a_connection_of_its_own(self) -> None:
        async with answering(answer(b"{}", "Connection: keep-alive")) as peer:
            for _ in range(2):
                await call(probe(peer), peer.url)
        assert peer.connections == 2

    async def test_has_no_cookie_of_an_earlier_answer(self) -> None:
        async with answering(answer(b"{}", "Set-Cookie: a=b; Path=/")) as peer:
            one = probe(peer)
            for _ in range(2):
                await call(one, peer.url)
        assert len(peer.headers) == 2
        assert not any("cookie" in headers for headers in peer.headers)

    async def test_goes_through_no_proxy_and_with_no_password_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        netrc = tmp_path_factory.mktemp("home") / "netrc"
        netrc.write_text("machine 127.0.0.1 login someone password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        async with answering() as proxy, answering() as peer:
            for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            assert (await call(probe(peer), peer.url)).status == 200
        assert proxy.connections == 0
        assert "authorization" not in peer.headers[0]


ANSWERS = {
    "usual": (OK, Reply(200, b"{}")),
    "empty": (b"HTTP/1.1 204 No Content\r\n\r\n", Reply(204, b"")),
    "chunked": (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", Reply(200, b"{}")),
    "until it hangs up": (b"HTTP/1.1 200 OK\r\n\r\n{}", Reply(200, b"{}")),
    "of version 1.0": (b"HTTP/1.0 200 OK\r\n\r\n{}", Reply(200, b"{}")),
    "of the client's fault": (answer(b"no", status="422 Unprocessable"), Reply(422, b"no")),
    "of the server's fault": (answer(b"", status="503 Unavailable"), Reply(503, b"")),
    "longest": (answer(bytes(MAX_REPLY_BYTES)), Reply(200, bytes(MAX_REPLY_BYTES))),
    "told to be plain": (answer(b"{}", "Content-Encoding: Identity"), Reply(200, b"{}")),
    "packed, untold": (answer(DEFLATED), Reply(200, DEFLATED)),
    "of another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\nabc", Reply(101, b"")),
    "not yet": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, Reply(200, b"{}")),
}


@pytest.mark.parametrize(("said", "reply"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_is_its_status_and_its_bytes(said: bytes, reply: Reply) -> None:
    async with answering(said) as peer:
        assert await call(probe(peer), peer.url) == reply


def test_a_reply_does_not_print_its_body() -> None:
    assert "secret" not in repr(Reply(200, b"secret"))


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    async with answering() as other:
        said = answer(b"there", f"Location: {other.url}", status=f"{status} Elsewhere")
        async with answering(said) as peer:
            assert await call(probe(peer), peer.url) == Reply(status, b"there")
    assert other.connections == 0
    assert peer.connections == 1


NO_ANSWERS: dict[str, bytes | Script] = {
    "nothing": b"",
    "half a status": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "half a chunk": CHUNKED + b"9\r\n{}",
    "no last chunk": CHUNKED + b"2\r\n{}\r\n",
    "chunk of no size": CHUNKED + b"x\r\n{}\r\n0\r\n\r\n",
    "chunk of a negative size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk longer than it says": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "chunk of huge size": CHUNKED + b"f" * 40 + b"\r\n{}",
    "endless trailer": keep_saying(CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 1000),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "not http": b"hello\r\n\r\n",
    "json alone": b'{"valid": true}',
    "status in words": b"HTTP/1.1 abc OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "version that is none": b"HTTP/x.y 200 OK\r\n\r\n",
    "header without a name": b"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
    "header without a colon": b"HTTP/1.1 200 OK\r\nabc\r\n\r\n",
    "null in a header": b"HTTP/1.1 200 OK\r\na: \0\r\nContent-Length: 0\r\n\r\n",
    "length in words": b"HTTP/1.1 200 OK\r\nContent-Length: a\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length beyond numbers": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 4000 + b"\r\n\r\n{}",
    "long status line": b"HTTP/1.1 200 " + b"a" * 5000 + b"\r\n\r\n",
    "endless status line": keep_saying(b"HTTP/1.1 200 ", b"a" * 65536),
    "long header": answer(b"{}", "a: " + "b" * 5000),
    "endless header": keep_saying(b"HTTP/1.1 200 OK\r\na: ", b"b" * 65536),
    "many headers": answer(b"{}", *(f"a{number}: b" for number in range(100))),
    "endless headers": keep_saying(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000),
    "too long": answer(bytes(MAX_REPLY_BYTES + 1)),
    "endless, as it says": keep_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", bytes(65536)),
    "endless until it hangs up": keep_saying(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)),
    "endless in chunks": keep_saying(CHUNKED, b"10000\r\n" + bytes(0x10000) + b"\r\n"),
    "packed": answer(gzip.compress(b"{}"), "Content-Encoding: gzip"),
    "packed very tightly": answer(DEFLATED, "Content-Encoding: gzip"),
    "packed otherwise": answer(b"{}", "Content-Encoding: br"),
    "packed twice": answer(b"{}", "Content-Encoding: identity", "Content-Encoding: deflate"),
    "packed in a list": answer(b"{}", "Content-Encoding: identity, gzip"),
    "in an encoding that is none": answer(b"{}", "Content-Encoding: x"),
}


async def test_a_packed_answer_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacking: list[bool] = []
    post = aiohttp.ClientSession.post

    def noted(self: aiohttp.ClientSession, *given: Any, **named: Any) -> Any:
        unpacking.append(self.auto_decompress)
        return post(self, *given, **named)

    monkeypatch.setattr(aiohttp.ClientSession, "post", noted)
    async with answering(NO_ANSWERS["packed very tightly"]) as peer:
        await assert_unreachable(probe(peer), peer.url)
    assert unpacking == [False]


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_unreachable(said: bytes | Script) -> None:
    async with answering(said) as peer:
        await assert_unreachable(probe(peer), peer.url)
    assert len(peer.requests) == 1


TOO_SLOW: dict[str, Script] = {
    "silent": say_nothing,
    "a status by the byte": keep_saying(b"HTTP/1.1 200 ", b"a", pause=0.01),
    "a header by the byte": keep_saying(b"HTTP/1.1 200 OK\r\na: ", b"b", pause=0.01),
    "a body by the byte": keep_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b" ", pause=0.01),
    "head without a body": keep_saying(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", pause=0.02),
    "chunks by the byte": keep_saying(CHUNKED, b"1\r\n \r\n", pause=0.01),
    "never final": keep_saying(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01),
}


@pytest.mark.parametrize("script", TOO_SLOW.values(), ids=TOO_SLOW)
async def test_a_slow_answer_ends_with_the_time(script: Script) -> None:
    async with answering(script) as peer:
        await assert_unreachable(probe(peer), peer.url, within=SHORT)
        await peer.gone.wait()


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], ids=["silent", "talking"])
async def test_a_peer_that_reads_nothing_keeps_neither_the_call_nor_the_connection(said: bytes) -> None:
    body, over, read = bytes(50_000_000), asyncio.Event(), list[bytes]()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await over.wait()
        read.append(await reader.read())

    async with answering(deaf) as peer:
        await assert_unreachable(probe(peer), peer.url, body=body, within=SHORT)
        over.set()
        await peer.gone.wait()
    assert sum(map(len, read)) < len(body)


async def test_no_time_at_all_is_too_short() -> None:
    async with answering() as peer:
        for within in (timedelta(0), timedelta(seconds=-1)):
            await assert_unreachable(probe(peer), peer.url, within=within)


async def test_a_call_takes_fifteen_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []
    limited = asyncio.timeout

    def noted(seconds: float | None) -> asyncio.Timeout:
        limits.append(seconds)
        return limited(seconds)

    monkeypatch.setattr("vault_core.probe.asyncio.timeout", noted)
    async with answering() as peer:
        await probe(peer).post(peer.url, {}, b"", timedelta(hours=1))
    assert LONGEST_CALL.total_seconds() in limits
    assert max(limit or 0 for limit in limits) == 15


async def test_a_call_that_is_cancelled_is_cancelled() -> None:
    async with answering(say_nothing) as peer:
        running = asyncio.create_task(call(probe(peer), peer.url))
        await peer.came.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await peer.gone.wait()


async def test_nobody_there_is_unreachable() -> None:
    async with answering() as peer:
        pass
    await assert_unreachable(probe(peer), peer.url)


async def test_a_fault_that_nobody_foresaw_is_unreachable_and_told_by_its_type(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(host: str) -> list[str]:
        raise RuntimeError(host)

    await assert_unreachable(probe(names=broken), "https://vendor.example/")
    assert caplog.messages == ["call_out=broken-off error=RuntimeError"]


async def test_no_log_tells_where_a_call_went(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with answering(answer(b"secret", "secret: secret")) as good, answering(b"secret") as bad:
        await call(probe(good), f"{good.url}/secret", {"secret": "secret"}, b"secret")
        for url in (f"{bad.url}/secret", "https://secret.example/secret", "https://secret@", "https://secret.local/"):
            await assert_unreachable(probe(bad), url, b"secret")
    assert not [word for word in ("secret", "127.0.0.1", str(bad.port)) if word in caplog.text]


async def test_calls_are_measured_by_what_came_of_them_and_not_by_where_they_went() -> None:
    with recording() as kept:
        async with answering(b"HTTP/1.1 503 secret\r\nContent-Length: 6\r\n\r\nsecret") as broken, answering() as good:
            await call(probe(good), f"{good.url}/secret", {"secret": "secret"}, b"secret")
            await call(probe(broken), f"{broken.url}?secret", {"secret": "secret"}, b"secret")
            await assert_unreachable(probe(good), "https://secret.local/", b"secret")
        assert kept.measured(CALLS_OUT) == {("2xx",): 1, ("5xx",): 1, ("unreachable",): 1}
        assert {one.name for one in kept.spans} == {"call-out"}
        assert not [word for word in ("secret", "127.0.0.1", str(good.port)) if word in kept.everything()]


class Resolver:
    """A resolver of the machine that does not answer until it is let; a name that starts with `known` it knows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []
        self._asked = threading.Semaphore(0)
        monkeypatch.setattr("socket.getaddrinfo", self.ask)

    def ask(self, host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        self._asked.release()
        if not host.startswith("known"):
            self.answers.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 0))]

    async def is_asked(self, count: int) -> None:
        def wait() -> bool:
            return all(self._asked.acquire(timeout=NOBODY_WAITS_LONGER) for _ in range(count))

        assert await asyncio.to_thread(wait)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    one = Resolver(monkeypatch)
    yield one
    one.answers.set()


def hanging(look_up: SystemLookUp, count: int) -> list[asyncio.Task[list[str]]]:
    return [asyncio.create_task(look_up(f"vendor{number}.example")) for number in range(count)]


async def give_up(calls: list[asyncio.Task[list[str]]]) -> None:
    for one in calls:
        one.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


class TestLookingUp:
    async def test_asks_the_machine(self) -> None:
        assert "127.0.0.1" in await SystemLookUp()("localhost")

    async def test_of_an_unknown_name_is_unreachable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: object, **__: object) -> list[object]:
            raise OSError(-2, "Name or service not known")

        monkeypatch.setattr("socket.getaddrinfo", unknown)
        await assert_unreachable(probe(names=SystemLookUp()), "https://vendor.example/")

    async def test_that_hangs_ends_with_the_time_and_keeps_nobody_else_waiting(self, resolver: Resolver) -> None:
        one = probe(names=SystemLookUp())
        calls = [assert_unreachable(one, f"https://vendor{number}.example/", within=SHORT) for number in range(40)]
        await asyncio.gather(*calls)
        async with asyncio.timeout(NOBODY_WAITS_LONGER):
            assert await asyncio.to_thread(lambda: "free") == "free"

    async def test_of_a_name_goes_on_while_all_other_calls_that_can_be_out_wait_for_theirs(
        self, resolver: Resolver
    ) -> None:
        look_up = SystemLookUp()
        calls = hanging(look_up, value_checks.LIMITS.at_once + deliveries.LIMITS.at_once)
        await resolver.is_asked(len(calls))
        await give_up(calls)
        async with asyncio.timeout(NOBODY_WAITS_LONGER):
            assert await look_up("known.example") == ["93.184.216.34"]

    async def test_is_refused_while_every_thread_has_one_though_the_calls_were_given_up(
        self, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vault_core.probe._MAX_LOOK_UPS", 3)
        look_up = SystemLookUp()
        calls = hanging(look_up, 3)
        await resolver.is_asked(3)
        await give_up(calls)
        async with asyncio.timeout(NOBODY_WAITS_LONGER):
            with pytest.raises(OSError, match="too many names"):
                await look_up("known.example")
            await assert_unreachable(probe(names=look_up), "https://known.example/")
        assert "known.example" not in resolver.asked

    async def test_is_taken_again_when_the_others_have_ended(
        self, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vault_core.probe._MAX_LOOK_UPS", 3)
        look_up = SystemLookUp()
        calls = hanging(look_up, 3)
        await resolver.is_asked(3)
        resolver.answers.set()
        await asyncio.gather(*calls)
        assert await look_up("known.example") == ["93.184.216.34"]

"""How much a call out takes in, whatever the peer wraps its answer in."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.client_proto import ResponseHandler

from tests.probing import Script, answering, assert_unreachable, call, keep_saying, probe
from vault_core.outbound import MAX_REPLY_BYTES, Reply

TAKEN_AT_MOST = 128 * 1024
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Intake:
    """Counts the bytes that the client is given to read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self.awaited, self.reached = 0, asyncio.Event()
        read = ResponseHandler.data_received

        def counted(handler: ResponseHandler, data: bytes) -> None:
            self.taken += len(data)
            read(handler, data)
            if self.taken >= self.awaited:
                self.reached.set()

        monkeypatch.setattr(ResponseHandler, "data_received", counted)


@pytest.fixture
def intake(monkeypatch: pytest.MonkeyPatch) -> Intake:
    return Intake(monkeypatch)


def hints(length: int) -> bytes:
    return HINT * (length // len(HINT))


def whole(body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


FLOODS: dict[str, Script] = {
    "early hints": keep_saying(b"", hints(16384)),
    "continue": keep_saying(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "extension of a chunk": keep_saying(CHUNKED + b"2;", b"a" * 16384),
    "extensions of small chunks": keep_saying(CHUNKED, (b"1;" + b"a" * 2000 + b"\r\n{\r\n") * 8),
    "size of a chunk": keep_saying(CHUNKED, b"0" * 16384),
    "trailers": keep_saying(CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 1000),
    "status": keep_saying(b"HTTP/1.1 200 ", b"a" * 16384),
    "another protocol": keep_saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n", b"b" * 16384),
}


@pytest.mark.parametrize("script", FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_unreachable_after_128_kib(script: Script, intake: Intake) -> None:
    async with answering(script) as peer:
        await assert_unreachable(probe(peer), peer.url)
        await peer.gone.wait()
    assert 0 < intake.taken <= TAKEN_AT_MOST


WRAPPED = {
    "alone": whole(bytes(MAX_REPLY_BYTES)),
    "after hints": hints(63 * 1024) + whole(bytes(MAX_REPLY_BYTES)),
    "in small chunks": CHUNKED + (b"10\r\n" + bytes(16) + b"\r\n") * (MAX_REPLY_BYTES // 16) + b"0\r\n\r\n",
}


@pytest.mark.parametrize("said", WRAPPED.values(), ids=WRAPPED)
async def test_the_longest_body_passes_with_up_to_as_much_around_it(said: bytes) -> None:
    async with answering(said) as peer:
        assert await call(probe(peer), peer.url) == Reply(200, bytes(MAX_REPLY_BYTES))


async def test_more_than_as_much_around_it_does_not() -> None:
    async with answering(hints(65 * 1024) + whole(bytes(MAX_REPLY_BYTES))) as peer:
        await assert_unreachable(probe(peer), peer.url)


async def test_the_start_of_an_answer_that_was_broken_off_is_no_answer(intake: Intake) -> None:
    start = hints(100 * 1024) + b"HTTP/1.1 200 OK\r\n\r\n{}"
    intake.awaited = len(start)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await intake.reached.wait()
        writer.write(b" " * MAX_REPLY_BYTES)
        await reader.read()

    async with answering(script) as peer:
        await assert_unreachable(probe(peer), peer.url)
        assert len(start) <= intake.taken <= TAKEN_AT_MOST


async def test_what_one_call_took_in_is_not_counted_against_the_next(intake: Intake) -> None:
    async with answering(whole(bytes(MAX_REPLY_BYTES))) as peer:
        one = probe(peer)
        for _ in range(3):
            assert (await call(one, peer.url)).status == 200
    assert intake.taken > TAKEN_AT_MOST

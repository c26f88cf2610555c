"""Whom a call trusts: the certificate of the name in the URL, wherever that name leads."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from tests.conftest import AUTHORITY
from tests.probing import (
    OK,
    SHORT,
    Names,
    Peer,
    answering,
    assert_unreachable,
    call,
    probe,
    say_nothing,
    watch_connections,
)

NAME = "vendor.example"
CA = trustme.CA()
Greeted = list[str | None]


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    return watch_connections(monkeypatch)


def trusting(ca: trustme.CA = CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def showing(certificate: trustme.LeafCert, greeted: Greeted | None = None) -> ssl.SSLContext:
    """Return the TLS of a server with this certificate, which notes by what name it is greeted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    names = greeted if greeted is not None else []
    context.sni_callback = lambda _, name, __: names.append(name)
    return context


def url_of(peer: Peer, name: str = NAME) -> str:
    return f"https://{name}:{peer.port}/check"


async def test_the_name_is_greeted_asked_and_proved_at_the_address_that_was_checked(
    attempts: list[tuple[str, int]],
) -> None:
    greeted, names = Greeted(), Names(["127.0.0.3"])
    async with answering(host="127.0.0.3", tls=showing(CA.issue_cert(NAME), greeted)) as peer:
        reply = await call(probe(peer, names, tls=trusting()), url_of(peer), body=b'{"a": 1}')
    assert (reply.status, reply.body) == (200, b"{}")
    assert attempts == [("127.0.0.3", peer.port)]
    assert names.asked == greeted == [NAME]
    assert [headers["host"] for headers in peer.headers] == [f"{NAME}:{peer.port}"]
    assert peer.requests[0].endswith(b'\r\n\r\n{"a": 1}')


async def test_another_address_of_the_name_is_tried_when_the_first_has_nobody() -> None:
    async with answering(tls=showing(CA.issue_cert(NAME))) as peer:
        names = Names(["127.0.0.9", "127.0.0.1"])
        assert (await call(probe(peer, names, tls=trusting()), url_of(peer))).status == 200


YESTERDAY = datetime.now(UTC) - timedelta(days=1)
UNTRUSTED = {
    "of another name": CA.issue_cert("other.example"),
    "of a name below": CA.issue_cert(f"www.{NAME}"),
    "of the name above": CA.issue_cert("example"),
    "of the address": CA.issue_cert("127.0.0.1"),
    "of another authority": trustme.CA().issue_cert(NAME),
    "expired": CA.issue_cert(NAME, not_after=YESTERDAY),
    "of its own": trustme.CA().issue_cert(NAME, organization_name="Vendor"),
}


@pytest.mark.parametrize("certificate", UNTRUSTED.values(), ids=UNTRUSTED)
async def test_a_peer_with_a_certificate_that_proves_nothing_is_sent_nothing(certificate: trustme.LeafCert) -> None:
    async with answering(tls=showing(certificate)) as peer:
        await assert_unreachable(probe(peer, tls=trusting()), url_of(peer))
    assert peer.requests == []


async def test_a_name_in_a_wildcard_is_proved() -> None:
    async with answering(tls=showing(CA.issue_cert("*.vendor.example"))) as peer:
        assert (await call(probe(peer, tls=trusting()), url_of(peer, "api.vendor.example"))).status == 200


async def test_what_the_machine_trusts_is_trusted_unless_told_otherwise() -> None:
    async with answering(tls=AUTHORITY.server_context()) as peer:
        assert (await call(probe(peer), f"https://127.0.0.1:{peer.port}/")).status == 200
    async with answering(tls=showing(CA.issue_cert(NAME))) as peer:
        await assert_unreachable(probe(peer), url_of(peer))
    assert peer.requests == []


async def test_a_peer_that_speaks_only_old_tls_is_sent_nothing() -> None:
    context = showing(CA.issue_cert(NAME))
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with answering(tls=context) as peer:
        await assert_unreachable(probe(peer, tls=trusting()), url_of(peer))
    assert peer.requests == []


ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
NO_TLS = {"http": OK, "nothing": b"", "alert": ALERT, "noise": b"\x16\x03\x03" + b"\xff" * 99, "half": ALERT[:4]}


@pytest.mark.parametrize("said", NO_TLS.values(), ids=NO_TLS)
async def test_a_peer_that_speaks_no_tls_is_unreachable(said: bytes) -> None:
    heard: list[bytes] = []

    async def blurt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.write_eof()
        heard.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(blurt, "127.0.0.1", 0) as server:
        peer = Peer("127.0.0.1", server.sockets[0].getsockname()[1])
        await assert_unreachable(probe(peer, tls=trusting()), url_of(peer))
    assert not any(b"POST" in each for each in heard)


async def test_a_peer_that_falls_silent_within_tls_is_unreachable() -> None:
    async with answering(say_nothing, tls=showing(CA.issue_cert(NAME))) as peer:
        await assert_unreachable(probe(peer, tls=trusting()), url_of(peer), within=SHORT)
        await peer.gone.wait()


async def test_a_redirect_to_http_is_not_followed() -> None:
    async with answering() as plain:
        said = f"HTTP/1.1 307 Away\r\nLocation: {plain.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with answering(said, tls=showing(CA.issue_cert(NAME))) as peer:
            assert (await call(probe(peer, tls=trusting()), url_of(peer))).status == 307
    assert plain.connections == 0

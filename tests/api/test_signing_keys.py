"""The keys of an issuer: which are used, and how often they are fetched."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from vault_core.api.signing_keys import (
    DISCOVERY_PATH,
    KEYS_FRESH_FOR,
    KEYS_USABLE_FOR,
    MAX_ANSWER_BYTES,
    REFRESH_INTERVAL,
    IssuerKeys,
    KeyFetcher,
)
from vault_core.errors import Unavailable

NOW = datetime(2026, 1, 27, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ISSUER = "https://login.example/contoso"
DISCOVERY = ISSUER + DISCOVERY_PATH
JWKS = "https://keys.example/contoso"

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_JWK = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
EC_JWK = ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True)


class Issuer:
    """An issuer's two documents; counts fetches, and can be down or slow."""

    def __init__(self, *kids: str, issuer: str = ISSUER, jwks_uri: Any = JWKS) -> None:
        self.discovery: Any = {"issuer": issuer, "jwks_uri": jwks_uri}
        self.jwks: Any = {}
        self.publish(*kids)
        self.down = False
        self.open = asyncio.Event()
        self.open.set()
        self.fetched: list[str] = []

    def publish(self, *kids: str) -> None:
        self.jwks = {"keys": [EC_JWK | {"kid": kid} for kid in kids]}

    @property
    def refreshes(self) -> int:
        return sum(url.endswith(DISCOVERY_PATH) for url in self.fetched)

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        await self.open.wait()
        if self.down:
            raise Unavailable("down")
        document = self.discovery if url.endswith(DISCOVERY_PATH) else self.jwks
        return document if isinstance(document, bytes) else json.dumps(document).encode()

    def keys(self) -> IssuerKeys:
        return IssuerKeys(ISSUER, self.fetch)


async def finds(keys: IssuerKeys, kid: str, now: datetime = NOW) -> bool:
    return await keys.find(kid, now) is not None


async def test_a_published_key_is_found_where_the_discovery_document_says() -> None:
    issuer = Issuer("k1")
    key = await issuer.keys().find("k1", NOW)
    assert key == EC_KEY.public_key()
    assert issuer.fetched == [DISCOVERY, JWKS]


async def test_a_known_key_is_not_fetched_again_while_it_is_fresh() -> None:
    issuer = Issuer("k1")
    keys = issuer.keys()
    for hours in range(24):
        assert await finds(keys, "k1", NOW + timedelta(hours=hours))
    assert issuer.refreshes == 1


async def test_a_rotated_key_is_found_at_its_first_use() -> None:
    issuer = Issuer("k1")
    keys = issuer.keys()
    assert await finds(keys, "k1")
    issuer.publish("k1", "k2")
    assert await finds(keys, "k2", NOW + REFRESH_INTERVAL)
    assert issuer.refreshes == 2


async def test_a_storm_of_unknown_keys_costs_one_fetch_a_minute() -> None:
    issuer = Issuer("k1")
    keys = issuer.keys()
    for number in range(120):
        assert not await finds(keys, f"made-up-{number}", NOW + number * SECOND)
    assert issuer.refreshes == 2


async def test_a_known_key_is_served_during_a_storm_of_unknown_ones() -> None:
    issuer = Issuer("k1")
    keys = issuer.keys()
    assert not await finds(keys, "made-up")
    assert await finds(keys, "k1", NOW + SECOND)
    assert issuer.refreshes == 1


async def test_a_withdrawn_key_is_forgotten_within_a_day() -> None:
    issuer = Issuer("k1", "k2")
    keys = issuer.keys()
    assert await finds(keys, "k1")
    issuer.publish("k2")
    assert await finds(keys, "k1", NOW + KEYS_FRESH_FOR - SECOND)
    assert not await finds(keys, "k1", NOW + KEYS_FRESH_FOR)
    assert await finds(keys, "k2", NOW + KEYS_FRESH_FOR)


async def test_a_known_key_outlives_an_outage_of_its_issuer_for_a_week() -> None:
    issuer = Issuer("k1")
    keys = issuer.keys()
    assert await finds(keys, "k1")
    issuer.down = True
    assert await finds(keys, "k1", NOW + KEYS_FRESH_FOR)
    assert await finds(keys, "k1", NOW + KEYS_USABLE_FOR - SECOND)
    with pytest.raises(Unavailable):
        await keys.find("k1", NOW + KEYS_USABLE_FOR + REFRESH_INTERVAL)


async def test_an_unknown_key_is_not_called_bad_while_the_issuer_cannot_be_asked() -> None:
    issuer = Issuer("k1")
    keys = issuer.keys()
    assert await finds(keys, "k1")
    issuer.down = True
    with pytest.raises(Unavailable):
        await keys.find("k2", NOW + REFRESH_INTERVAL)


async def test_a_failed_first_fetch_is_not_repeated_within_five_seconds_and_says_when_it_will_be() -> None:
    issuer = Issuer("k1")
    issuer.down = True
    keys = issuer.keys()
    for seconds in range(5):
        with pytest.raises(Unavailable) as failed:
            await keys.find("k1", NOW + seconds * SECOND)
        assert failed.value.retry_after == (5 - seconds) * SECOND
    assert issuer.refreshes == 1


async def test_an_issuer_that_is_back_is_asked_again() -> None:
    issuer = Issuer("k1")
    issuer.down = True
    keys = issuer.keys()
    with pytest.raises(Unavailable):
        await keys.find("k1", NOW)
    issuer.down = False
    assert await finds(keys, "k1", NOW + REFRESH_INTERVAL)


async def started(*finds: asyncio.Task[Any]) -> None:
    """Let each of the tasks run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in finds)


async def test_those_who_ask_at_once_share_one_fetch() -> None:
    issuer = Issuer("k1")
    issuer.open.clear()
    keys = issuer.keys()
    waiting = [asyncio.create_task(finds(keys, "k1", NOW + number * SECOND)) for number in range(50)]
    await started(*waiting)
    issuer.open.set()
    assert all(await asyncio.gather(*waiting))
    assert issuer.refreshes == 1


async def test_a_first_waiter_that_gives_up_does_not_end_the_fetch_for_the_others() -> None:
    issuer = Issuer("k1")
    issuer.open.clear()
    keys = issuer.keys()
    first, second = (asyncio.create_task(finds(keys, "k1")) for _ in range(2))
    await started(first, second)
    first.cancel()
    issuer.open.set()
    assert await second
    assert first.cancelled()
    assert issuer.refreshes == 1


def test_a_fetch_that_hangs_in_another_event_loop_is_not_waited_for() -> None:
    issuer = Issuer("k1")
    issuer.open.clear()
    gate, keys, other = issuer.open, issuer.keys(), asyncio.new_event_loop()
    hanging = other.create_task(finds(keys, "k1"))
    other.run_until_complete(started(hanging))
    issuer.open = asyncio.Event()
    issuer.open.set()
    assert asyncio.run(finds(keys, "k1", NOW + REFRESH_INTERVAL))
    gate.set()
    assert other.run_until_complete(hanging)
    other.close()


def weak_rsa() -> dict[str, Any]:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505
    return RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True)


SECP256K1 = ec.generate_private_key(ec.SECP256K1()).public_key()
UNUSABLE: dict[str, Any] = {
    "for encryption": EC_JWK | {"use": "enc"},
    "of another algorithm": RSA_JWK | {"alg": "RSA-OAEP"},
    "RSA below 2048 bits": weak_rsa(),
    "RSA above 8192 bits": RSA_JWK | {"n": "v" * 1400 + "w"},
    "RSA with an even modulus": RSA_JWK | {"n": "AAAA"},
    "RSA without modulus": {"kty": "RSA", "e": "AQAB"},
    "RSA with a number for modulus": {"kty": "RSA", "e": "AQAB", "n": 7},
    "a published private EC key": ECAlgorithm.to_jwk(EC_KEY, as_dict=True),
    "a published private RSA key": RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True),
    "of a curve without algorithm": ECAlgorithm.to_jwk(SECP256K1, as_dict=True),
    "not on its curve": EC_JWK | {"x": EC_JWK["y"], "y": EC_JWK["x"]},
    "with a coordinate too short": EC_JWK | {"x": "AAAA"},
    "with a list for coordinate": EC_JWK | {"x": []},
    "Ed25519": OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True),
    "symmetric": {"kty": "oct", "k": "c2VjcmV0"},
    "of no type": {},
    "with a list for type": EC_JWK | {"kty": ["EC"]},
    "with a list for use": EC_JWK | {"use": ["sig"]},
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_a_key_that_must_not_sign_tokens_is_passed_over(case: str) -> None:
    issuer = Issuer()
    issuer.jwks = {"keys": [UNUSABLE[case] | {"kid": "bad"}, EC_JWK | {"kid": "good"}]}
    keys = issuer.keys()
    assert not await finds(keys, "bad")
    assert await finds(keys, "good")


@pytest.mark.parametrize(
    "odd", [7, None, "key", [], EC_JWK, EC_JWK | {"kid": 7}, EC_JWK | {"kid": ["k"]}], ids=range(7)
)
async def test_what_is_no_named_key_is_passed_over(odd: object) -> None:
    issuer = Issuer()
    issuer.jwks = {"keys": [odd, EC_JWK | {"kid": "good", "use": "sig", "alg": "ES256"}]}
    assert await finds(issuer.keys(), "good")


async def test_the_first_of_two_keys_of_one_name_counts() -> None:
    issuer = Issuer()
    issuer.jwks = {"keys": [EC_JWK | {"kid": "k1"}, RSA_JWK | {"kid": "k1"}]}
    assert await issuer.keys().find("k1", NOW) == EC_KEY.public_key()


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": []},
        {"keys": {}},
        {"keys": None},
        [],
        b"",
        b"\xff",
        b"[" * 100_000,
        {"keys": [{"kty": "oct"}]},
    ],
    ids=lambda jwks: repr(jwks)[:30],
)
async def test_an_answer_without_keys_is_an_outage_and_leaves_the_known_keys(jwks: Any) -> None:
    issuer = Issuer("k1")
    keys = issuer.keys()
    assert await finds(keys, "k1")
    issuer.jwks = jwks
    assert await finds(keys, "k1", NOW + KEYS_FRESH_FOR)
    assert issuer.refreshes == 2
    with pytest.raises(Unavailable):
        await issuer.keys().find("k1", NOW)


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://login.example/fabrikam", "jwks_uri": JWKS},
        {"issuer": ISSUER + "/", "jwks_uri": JWKS},
        {"issuer": [ISSUER], "jwks_uri": JWKS},
        {"jwks_uri": JWKS},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": 7},
        {"issuer": ISSUER, "jwks_uri": "http://keys.example/contoso"},
        {"issuer": ISSUER, "jwks_uri": "http://login.example/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/keys"},
        {"issuer": ISSUER, "jwks_uri": "//login.example/keys"},
        {"issuer": ISSUER, "jwks_uri": "https:///keys"},
        {"issuer": ISSUER, "jwks_uri": "https://login.example@evil.example/keys"},
        {"issuer": ISSUER, "jwks_uri": "https://[evil"},
        {"issuer": ISSUER, "jwks_uri": ""},
        [],
        b"not json",
    ],
    ids=str,
)
async def test_a_discovery_document_that_lies_or_points_astray_is_not_followed(discovery: Any) -> None:
    issuer = Issuer("k1")
    issuer.discovery = discovery
    with pytest.raises(Unavailable):
        await issuer.keys().find("k1", NOW)
    assert issuer.fetched == [DISCOVERY]


async def test_an_issuer_without_tls_may_publish_its_keys_beside_its_discovery_document() -> None:
    local = Issuer("k1", issuer="http://127.0.0.1:7072/contoso", jwks_uri="http://127.0.0.1:7072/keys")
    assert await IssuerKeys("http://127.0.0.1:7072/contoso", local.fetch).find("k1", NOW) is not None


async def test_an_issuer_without_tls_may_not_publish_its_keys_on_another_port() -> None:
    local = Issuer("k1", issuer="http://127.0.0.1:7072/contoso", jwks_uri="http://127.0.0.1:7073/keys")
    with pytest.raises(Unavailable):
        await IssuerKeys("http://127.0.0.1:7072/contoso", local.fetch).find("k1", NOW)


async def test_the_slash_at_the_end_of_an_issuer_is_not_doubled() -> None:
    issuer = Issuer("k1", issuer=ISSUER + "/")
    assert await IssuerKeys(ISSUER + "/", issuer.fetch).find("k1", NOW) is not None
    assert issuer.fetched[0] == DISCOVERY


class TestFetching:
    pytestmark = pytest.mark.slow

    @pytest.fixture
    async def server(self) -> AsyncIterator[TestServer]:
        self.asked: list[web.Request] = []
        app = web.Application()
        app.router.add_get("/{what}", self._answer)
        server = TestServer(app)
        await server.start_server()
        yield server
        await server.close()

    @pytest.fixture
    async def fetch(self) -> AsyncIterator[KeyFetcher]:
        fetcher = KeyFetcher()
        yield fetcher
        await fetcher.close()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        match request.match_info["what"]:
            case "elsewhere":
                raise web.HTTPFound("/document")
            case "longest":
                return web.Response(body=b"x" * MAX_ANSWER_BYTES)
            case "too-long":
                return web.Response(body=b"x" * (MAX_ANSWER_BYTES + 1))
            case "compressed":
                return web.Response(body=gzip.compress(b"x" * 1_000_000), headers={"Content-Encoding": "gzip"})
            case "cookie":
                return web.Response(headers={"Set-Cookie": "a=b"})
            case "broken":
                return web.Response(status=500)
            case _:
                return web.Response(body=b"document")

    async def test_returns_what_is_there(self, server: TestServer, fetch: KeyFetcher) -> None:
        assert await fetch(str(server.make_url("/document"))) == b"document"
        assert len(await fetch(str(server.make_url("/longest")))) == MAX_ANSWER_BYTES

    @pytest.mark.parametrize("what", ["elsewhere", "too-long", "broken"])
    async def test_refuses(self, server: TestServer, fetch: KeyFetcher, what: str) -> None:
        with pytest.raises(Unavailable):
            await fetch(str(server.make_url(f"/{what}")))
        assert len(self.asked) == 1

    async def test_does_not_unpack(self, server: TestServer, fetch: KeyFetcher) -> None:
        assert len(await fetch(str(server.make_url("/compressed")))) < 10_000

    async def test_keeps_no_cookies(self, server: TestServer, fetch: KeyFetcher) -> None:
        for _ in range(2):
            await fetch(str(server.make_url("/cookie").with_host("localhost")))
        assert len(self.asked) == 2
        assert not any(request.cookies for request in self.asked)

    async def test_goes_through_no_proxy_of_the_environment(
        self, server: TestServer, fetch: KeyFetcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert await fetch(str(server.make_url("/document"))) == b"document"

    async def test_reports_a_server_that_is_not_there_as_an_outage(self, server: TestServer, fetch: KeyFetcher) -> None:
        url = str(server.make_url("/document"))
        await server.close()
        with pytest.raises(Unavailable):
            await fetch(url)

    @pytest.mark.parametrize("url", ["", "no-url", "ftp://example.com", "http://"])
    async def test_reports_an_unusable_url_as_an_outage(self, fetch: KeyFetcher, url: str) -> None:
        with pytest.raises(Unavailable):
            await fetch(url)

    async def test_opens_a_session_anew_after_it_was_closed(self, server: TestServer, fetch: KeyFetcher) -> None:
        await fetch(str(server.make_url("/document")))
        await fetch.close()
        assert await fetch(str(server.make_url("/document"))) == b"document"

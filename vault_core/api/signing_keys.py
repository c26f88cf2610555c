"""The keys with which an issuer signs tokens, as it publishes them.

Sources: OpenID Connect Discovery 1.0 §4, JSON Web Key (RFC 7517), JSON Web Algorithms (RFC 7518 §3).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from vault_core.errors import Unavailable

DISCOVERY_PATH = "/.well-known/openid-configuration"
REFRESH_INTERVAL = timedelta(minutes=1)
FIRST_FETCH_INTERVAL = timedelta(seconds=5)  # while there are no keys at all, nobody can get in
KEYS_FRESH_FOR = timedelta(hours=24)
KEYS_USABLE_FOR = timedelta(days=7)
MAX_ANSWER_BYTES = 512 * 1024
FETCH_TIMEOUT = timedelta(seconds=5)

_RSA_BITS = range(2048, 8192 + 1)
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
ALGORITHMS = (*_RSA_ALGORITHMS, *_CURVES)

_NO_KEYS = "The identity provider's signing keys cannot be fetched now; try again."

_log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]
SigningKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class IssuerUnusable(Exception):
    """An answer of an issuer that does not hold what it must. The reason is fixed text that quotes nothing."""


class IssuerKeys:
    """The signing keys of one issuer: cached, and fetched at most once a minute however many ask in vain."""

    def __init__(self, issuer: str, fetch: Fetch) -> None:
        self.issuer = issuer
        self._fetch = fetch
        self._keys: Mapping[str, SigningKey] = {}
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, kid: str, now: datetime) -> SigningKey | None:
        """Return the key, or None when the issuer has no such key; `Unavailable` when that cannot be told.

        A key is used for 24 hours after it was fetched; for 7 days as long as it cannot be fetched again.
        """
        if kid not in self._keys or not self._younger_than(KEYS_FRESH_FOR, now):
            await self._refresh(now)
        if kid in self._keys and self._younger_than(KEYS_USABLE_FOR, now):
            return self._keys[kid]
        if self._tried_at is None or self._tried_at == self._fetched_at:
            return None
        raise Unavailable(_NO_KEYS, retry_after=self._tried_at + self._interval - now)

    @property
    def _interval(self) -> timedelta:
        return REFRESH_INTERVAL if self._keys else FIRST_FETCH_INTERVAL

    def _younger_than(self, span: timedelta, now: datetime) -> bool:
        return self._fetched_at is not None and now - self._fetched_at < span

    async def _refresh(self, now: datetime) -> None:
        task = self._refreshing
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            if self._tried_at is not None and now - self._tried_at < self._interval:
                return
            self._tried_at = now
            task = self._refreshing = asyncio.create_task(self._replace_keys(now))
        await asyncio.shield(task)  # whoever gives up waiting must not end it for the others

    async def _replace_keys(self, now: datetime) -> None:
        try:
            self._keys, self._fetched_at = await self._published_keys(), now
        except (Unavailable, IssuerUnusable) as failed:
            _log.warning('issuer=%s keys=not-refreshed reason="%s"', self.issuer, failed)

    async def _published_keys(self) -> Mapping[str, SigningKey]:
        jwks_uri = (await discover(self.issuer, self._fetch)).get("jwks_uri")
        if not isinstance(jwks_uri, str) or not _is_safe(jwks_uri, self.issuer):
            raise IssuerUnusable("the discovery document does not say where the keys are, or not safely")
        keys = _signing_keys(json_object(await self._fetch(jwks_uri)))
        if not keys:
            raise IssuerUnusable("no usable key is published")
        return keys


async def discover(issuer: str, fetch: Fetch) -> dict[str, Any]:
    """Return the discovery document of the issuer; `IssuerUnusable` when it is not one or is another's."""
    discovery = json_object(await fetch(issuer.rstrip("/") + DISCOVERY_PATH))
    if discovery.get("issuer") != issuer:
        raise IssuerUnusable("the discovery document is of another issuer")
    return discovery


class KeyFetcher:
    """Fetches the documents of issuers, over one session that is opened by the first fetch."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str) -> bytes:
        """Return what is at the URL: at most 512 KiB within 5 seconds, from there and nowhere else.

        Raises `Unavailable` when that is not to be had.
        """
        try:
            async with self._open_session().get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise Unavailable("The issuer did not answer with 200.")
                return await limited_body(answer)
        except (aiohttp.ClientError, TimeoutError) as failed:
            raise Unavailable(f"The issuer cannot be reached: {type(failed).__name__}.") from None

    async def close(self) -> None:
        """Close the session; a later fetch opens another."""
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT.total_seconds()),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                auto_decompress=False,  # so that the limit holds for what is read
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


async def limited_body(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of an issuer's answer, at most 512 KiB; `Unavailable` when it is longer."""
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise Unavailable("The issuer's answer is too long.")
    return bytes(body)


def json_object(text: bytes) -> dict[str, Any]:
    """Return the JSON object that an issuer's answer holds; `IssuerUnusable` when it is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise IssuerUnusable("an answer is not JSON") from None
    if not isinstance(document, dict):
        raise IssuerUnusable("an answer is not a JSON object")
    return document


def has_same_origin(url: str, issuer: str) -> bool:
    """Return whether the URL has the issuer's scheme, host and port."""
    try:
        there, here = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    return (there.scheme, there.netloc) == (here.scheme, here.netloc)


def _is_safe(url: str, issuer: str) -> bool:
    try:
        there = urlsplit(url)
    except ValueError:
        return False
    over_tls = there.scheme == "https" and bool(there.hostname) and "@" not in there.netloc
    return over_tls or has_same_origin(url, issuer)


def _signing_keys(jwks: Mapping[str, Any]) -> dict[str, SigningKey]:
    published = jwks.get("keys")
    usable: dict[str, SigningKey] = {}
    for jwk in published if isinstance(published, list) else ():
        key = _signing_key(jwk) if isinstance(jwk, dict) and _is_for_signatures(jwk) else None
        if key is not None:
            usable.setdefault(jwk["kid"], key)
    return usable


def _is_for_signatures(jwk: Mapping[str, Any]) -> bool:
    return isinstance(jwk.get("kid"), str) and jwk.get("use") in (None, "sig") and jwk.get("alg") in (None, *ALGORITHMS)


def _signing_key(jwk: dict[str, Any]) -> SigningKey | None:
    try:
        key = RSAAlgorithm.from_jwk(jwk) if jwk.get("kty") == "RSA" else ECAlgorithm.from_jwk(jwk)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None  # one key of a kind that the vault does not read must not cost the others
    if isinstance(key, rsa.RSAPublicKey):
        return key if key.key_size in _RSA_BITS else None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key if key.curve.name in _CURVES.values() else None
    return None  # a private key that was published is anyone's


def fits(key: SigningKey, algorithm: str) -> bool:
    """Return whether the key is of the type and curve that the algorithm needs."""
    if isinstance(key, rsa.RSAPublicKey):
        return algorithm in _RSA_ALGORITHMS
    return _CURVES.get(algorithm) == key.curve.name

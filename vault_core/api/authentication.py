"""Who sent a request: the bearer token, checked against the signing keys that its issuer publishes.

What a token says of its bearer, and what the vault makes of it:

- The tenant claim picks the issuer, and only tenants on the operator's list have one.
- The id is `oid` when present, else `sub`; both mean the caller.
- A person is who the issuer says is one: by an email or user name claim, by a delegated scope (`scp`), or by
  an `idtyp` other than `app`, which decides alone when present. All else is an agent. No display name makes a
  person an agent or the reverse.
- A person's email is used unless the issuer says that it is unverified (`email_verified`, `xms_edov`).
- An agent's name is the claim that the settings name, else the client id (`azp`, `appid`, `client_id`). A
  display name is chosen by whoever registers the agent: policies may rely on it only where they are trusted
  with that. Where not, set the claim to `azp`, which the issuer alone gives, or name `id` in policies.
- Roles that the vault does not know are kept by name, to the letter: the consumers of a locker are named so.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeGuard

import jwt

from vault_core.api.signing_keys import ALGORITHMS, Fetch, IssuerKeys, fits
from vault_core.errors import Unauthenticated
from vault_core.identities import Caller, Identity, Role, can_be_proved
from vault_core.settings import Settings

LEEWAY = timedelta(seconds=30)
MAX_HEADER_LENGTH = 16 * 1024
MAX_OTHER_ROLES = 200
MAX_ROLE_LENGTH = 128
_YEAR_10000 = 253_402_300_800

_BEARER = re.compile(r"bearer +([\w-]+\.[\w-]+\.[\w-]+)", re.ASCII | re.IGNORECASE)
_EMAIL = re.compile(r"(?=.{3,254}\Z)[!-?A-~]+@[!-?A-~]+")  # printable ASCII with one @
_KNOWN_ROLES = frozenset(role.value for role in Role)

_NO_TOKEN = "Send a token of your identity provider in the header `Authorization: Bearer <JWT>`."  # noqa: S105
BAD_TOKEN = "The token was refused; get a new one for this vault from your identity provider."  # noqa: S105

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """A token that is not accepted. The reason is for the operator's log: fixed text that quotes nothing."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token that was accepted: whom it makes the caller, and all that it claims."""

    caller: Caller
    claims: Mapping[str, Any] = field(repr=False)


class TokenAuthenticator:
    """Establishes callers from their tokens, for the tenants of the settings."""

    def __init__(self, settings: Settings, fetch: Fetch) -> None:
        self._settings = settings
        self._issuers = {
            tenant: IssuerKeys(settings.issuer.format(tenant=tenant), fetch) for tenant in settings.tenants
        }

    async def identify(self, headers: Mapping[str, str], now: datetime) -> Caller:
        """Return who sent a request with these headers.

        `Unauthenticated`, with one detail for all bad tokens, when they hold no acceptable one. `Unavailable`
        when that cannot be told because the issuer's keys cannot be fetched.
        """
        given = [value for name, value in headers.items() if name.lower() == "authorization"]
        if not given:
            raise Unauthenticated(_NO_TOKEN)
        return (await self._accept(given, now)).caller

    async def verify(self, token: str, now: datetime) -> VerifiedToken:
        """Return what the token proves; refuses like `identify`, which it equals for a token without a header."""
        return await self._accept([f"Bearer {token}"], now)

    async def _accept(self, given: list[str], now: datetime) -> VerifiedToken:
        try:
            return await self._verify(_bearer_token(given), now)
        except _Refused as refused:
            _log.info('token=refused reason="%s"', refused)
            raise Unauthenticated(BAD_TOKEN) from None

    async def _verify(self, token: str, now: datetime) -> VerifiedToken:
        unverified = _decode(token, options={"verify_signature": False})
        issuer = self._issuers[self._tenant(unverified["payload"])]
        algorithm, kid = _algorithm_and_kid(unverified["header"])
        key = await issuer.find(kid, now)
        if key is None or not fits(key, algorithm):
            raise _Refused("the issuer has no such key for the algorithm")
        claims = _decode(
            token,
            key=key,
            algorithms=[algorithm],
            audience=self._settings.audience,
            issuer=issuer.issuer,
            options={"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )["payload"]
        _check_times(claims, now)
        return VerifiedToken(_caller(claims, self._tenant(claims), self._settings), claims)

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        tenant = claims.get(self._settings.claim_tenant)
        if not isinstance(tenant, str) or tenant not in self._issuers:
            raise _Refused("the tenant is not served")
        return tenant


def _bearer_token(given: list[str]) -> str:
    if len(given) != 1:
        raise _Refused("more than one header")
    if len(given[0]) > MAX_HEADER_LENGTH:
        raise _Refused("too long")
    bearer = _BEARER.fullmatch(given[0])
    if bearer is None:
        raise _Refused("not a bearer token of three parts")
    return bearer[1]


def _decode(token: str, **checks: Any) -> dict[str, Any]:
    try:
        return jwt.decode_complete(token, **checks)
    except jwt.PyJWTError as refused:
        raise _Refused(type(refused).__name__) from None


def _algorithm_and_kid(header: Mapping[str, Any]) -> tuple[str, str]:
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise _Refused("the algorithm is not accepted")
    if not isinstance(kid, str):
        raise _Refused("no key is named")
    if "crit" in header:
        raise _Refused("an extension must be understood")
    return algorithm, kid


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    latest_start = (now + LEEWAY).timestamp()
    if _time(claims["exp"]) <= (now - LEEWAY).timestamp():
        raise _Refused("the token has expired")
    if any(_time(claims[claim]) > latest_start for claim in ("nbf", "iat") if claim in claims):
        raise _Refused("the token is not valid yet")


def _time(value: object) -> float:
    # Booleans are integers to Python; NaN and infinity fail the comparison.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _YEAR_10000:
        raise _Refused("a time is not a number of seconds")
    return value


def _caller(claims: Mapping[str, Any], tenant: str, settings: Settings) -> Caller:
    ids = [claims[claim] for claim in ("oid", "sub") if claims.get(claim) is not None]
    if not ids or not all(_is_id(given) for given in ids):
        raise _Refused("no usable id")
    session_id = first_text(claims, "sid", "session_id", "uti", "jti")
    if _is_person(claims, settings):
        email = _email(claims, settings)
        identity = Identity(kind="human", id=ids[0], email=email, session_id=session_id)
    else:
        name = first_text(claims, settings.claim_agent, "azp", "appid", "client_id")
        if name is None:
            raise _Refused("neither a person nor an agent with a name")
        identity = Identity(kind="agent", id=ids[0], name=name, session_id=session_id)
    roles = claims.get(settings.claim_roles)
    return Caller(tenant, identity, _roles(roles), frozenset(ids), _other_roles(roles))


def _is_id(given: object) -> bool:
    return isinstance(given, str) and can_be_proved(given)


def _is_person(claims: Mapping[str, Any], settings: Settings) -> bool:
    if claims.get("idtyp") is not None:
        return bool(claims["idtyp"] != "app")
    return any(claims.get(claim) for claim in (settings.claim_email, settings.claim_username, "scp"))


def _email(claims: Mapping[str, Any], settings: Settings) -> str | None:
    verdicts = [claims[verdict] for verdict in ("email_verified", "xms_edov") if verdict in claims]
    if not all(verdict in (True, "true", "1") for verdict in verdicts):
        return None
    given = [claims.get(claim) for claim in (settings.claim_email, settings.claim_username)]
    return next((text for text in given if isinstance(text, str) and _EMAIL.fullmatch(text)), None)


def first_text(claims: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of these claims that is 1 to 256 printable characters in plain Unicode form (NFKC)."""
    return next((text for text in map(claims.get, names) if _is_plain(text, 256)), None)


def _is_plain(given: object, longest: int) -> TypeGuard[str]:
    return (
        isinstance(given, str)
        and 0 < len(given) <= longest
        and given.isprintable()
        and unicodedata.is_normalized("NFKC", given)
    )


def _roles(given: object) -> frozenset[Role]:
    return frozenset(role for role in Role if role.value in given) if isinstance(given, list) else frozenset()


def _other_roles(given: object) -> frozenset[str]:
    """Return the first 200 names of roles that are not the vault's own, each 1 to 128 printable characters in NFKC."""
    names = given if isinstance(given, list) else []
    plain = (name for name in names if _is_plain(name, MAX_ROLE_LENGTH) and name not in _KNOWN_ROLES)
    return frozenset(islice(dict.fromkeys(plain), MAX_OTHER_ROLES))

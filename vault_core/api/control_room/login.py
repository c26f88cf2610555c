r"""Log in by user name: a client's secret is exchanged for a token, which then proves who calls.

The exchange is the grant of client credentials (RFC 6749 §4.4) at the issuer of the tenant, with the secret in the
form (§2.3.1). The vault keeps no password and signs no token: it hands on what the issuer gave, if it would accept
that itself. The user name is the client's id, alone or as `tenant\client`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol, Self

import aiohttp
from pydantic import ConfigDict, Field, SecretStr, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from vault_core.api.authentication import BAD_TOKEN, TokenAuthenticator, VerifiedToken, first_text
from vault_core.api.signing_keys import (
    IssuerUnusable,
    KeyFetcher,
    discover,
    has_same_origin,
    json_object,
    limited_body,
)
from vault_core.errors import FieldError, InvalidInput, Unauthenticated, Unavailable
from vault_core.identities import Caller
from vault_core.settings import Settings
from vault_core.wire import RevealedSecret, WireModel

ENDPOINT_FRESH_FOR = timedelta(hours=24)
MAX_USERNAME = 256
MAX_SECRET = 4096

_BAD_CLIENT = ("invalid_client", "unauthorized_client")  # RFC 6749 §5.2
_BEARER = re.compile("^bearer +", re.ASCII | re.IGNORECASE)

_BAD_LOGIN = "The user name or its secret is wrong."
_NO_TENANT = r"Write the user name as `tenant\username`."
_NO_LOGIN = "The identity provider cannot log anyone in now; try again."
_NO_TOKEN = "Log in at `/v2/authentication` and send the token in the header `X-Authorization`."  # noqa: S105

_log = logging.getLogger(__name__)

_Secret = Annotated[SecretStr, Field(max_length=MAX_SECRET)]


class LoginRequest(WireModel):
    r"""A user name, plain or as `tenant\username`, with its `password` or its `apiKey`: here the two are the same.

    The user name has 1 to 256 characters, a secret at most 4,096; an empty one is none. `multipleLogin` has no
    effect, like all else that is sent: a token is good until it expires, however many there are.
    """

    model_config = ConfigDict(extra="ignore")

    username: Annotated[str, StringConstraints(min_length=1, max_length=MAX_USERNAME)]
    password: _Secret | None = None
    api_key: _Secret | None = None

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if bool(self.password) == bool(self.api_key):
            raise PydanticCustomError("login", "must have either a password or an apiKey")
        return self

    @property
    def secret(self) -> SecretStr:
        """The secret that was sent, by whichever name."""
        given = self.password or self.api_key
        assert given
        return given


class RoleView(WireModel):
    """A role of the token; its name is its id."""

    id: str
    name: str


class UserView(WireModel):
    """Whom a token makes the caller; what it does not tell is empty. The domain is the tenant."""

    id: str
    email: str
    username: str
    domain: str
    first_name: str
    last_name: str
    roles: tuple[RoleView, ...]
    permissions: tuple[str, ...] = ()

    @classmethod
    def of(cls, token: VerifiedToken, claim_username: str) -> UserView:
        """Return the user of the token; the id is its `sub`, which clients read there too."""
        caller, claims = token.caller, token.claims
        email = caller.identity.email or ""
        username = first_text(claims, claim_username) or email or caller.identity.name
        return cls(
            id=claims.get("sub") or caller.identity.id,
            email=email,
            username=username or caller.identity.id,
            domain=caller.tenant,
            first_name=first_text(claims, "given_name") or "",
            last_name=first_text(claims, "family_name") or "",
            roles=tuple(RoleView(id=name, name=name) for name in sorted(caller.role_names)),
        )


class LoginAnswer(WireModel):
    """The token for the calls that follow, and whose it is."""

    token: RevealedSecret
    user: UserView


class Issuers(Protocol):
    """Reaches the issuers of tokens; `Unavailable` when one does not answer as it must."""

    async def __call__(self, url: str) -> bytes:
        """Return the document at the URL."""
        ...

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body of the answer to the form."""
        ...


class IssuerClient(KeyFetcher):
    """Fetches documents of issuers and sends them forms, over one session that is opened by the first call."""

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body of the answer: at most 512 KiB within 5 seconds, from there and nowhere else.

        Raises `Unavailable` when that is not to be had.
        """
        try:
            async with self._open_session().post(url, data=form, allow_redirects=False) as answer:
                return answer.status, await limited_body(answer)
        except (aiohttp.ClientError, TimeoutError) as failed:
            raise Unavailable(f"The issuer cannot be reached: {type(failed).__name__}.") from None


class TokenExchange:
    """Exchanges a client's id and secret for a token, at the issuer of its tenant."""

    def __init__(self, settings: Settings, tokens: TokenAuthenticator, issuers: Issuers) -> None:
        self._settings = settings
        self._tokens = tokens
        self._issuers = issuers
        self._endpoints: dict[str, tuple[str, datetime]] = {}

    async def log_in(self, request: LoginRequest, now: datetime) -> LoginAnswer:
        """Return a token of the issuer's and whose it is.

        `Unauthenticated`, with one detail for all, when the issuer does not know the client by this secret, or
        the tenant is not served. `InvalidInput` when no tenant is named and none can be supposed. `Unavailable`
        when the issuer cannot be asked, or gives no token of the tenant that the vault accepts.
        """
        tenant, client = self._tenant_and_client(request.username)
        if tenant not in self._settings.tenants or not client:
            raise Unauthenticated(_BAD_LOGIN)
        try:
            token = await self._exchange(tenant, client, request.secret, now)
            verified = await self._verified(token, tenant, now)
        except IssuerUnusable as failed:
            _log.warning('tenant=%s login=none reason="%s"', tenant, failed)
            raise Unavailable(_NO_LOGIN) from None
        return LoginAnswer(token=token, user=UserView.of(verified, self._settings.claim_username))

    def _tenant_and_client(self, username: str) -> tuple[str, str]:
        tenant, backslash, client = username.partition("\\")
        if backslash:
            return tenant, client
        if self._settings.login_tenant is not None:
            return self._settings.login_tenant, username
        if len(self._settings.tenants) > 1:
            raise InvalidInput(_NO_TENANT, (FieldError("username", "does not name its tenant"),))
        [only] = self._settings.tenants
        return only, username

    async def _exchange(self, tenant: str, client: str, secret: SecretStr, now: datetime) -> SecretStr:
        form = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": secret.get_secret_value(),
            "scope": f"{self._settings.audience}/.default",
        }
        status, body = await self._issuers.post(await self._endpoint(tenant, now), form)
        if status == 401 or (status == 400 and json_object(body).get("error") in _BAD_CLIENT):
            raise Unauthenticated(_BAD_LOGIN)
        if status != 200:
            raise IssuerUnusable("the token endpoint answered neither with a token nor that the client is wrong")
        return _access_token(json_object(body))

    async def _endpoint(self, tenant: str, now: datetime) -> str:
        """Return where the issuer gives tokens: on its own origin, since secrets are sent there."""
        known = self._endpoints.get(tenant)
        if known and now - known[1] < ENDPOINT_FRESH_FOR:
            return known[0]
        issuer = self._settings.issuer.format(tenant=tenant)
        endpoint = (await discover(issuer, self._issuers)).get("token_endpoint")
        if not isinstance(endpoint, str) or not has_same_origin(endpoint, issuer):
            raise IssuerUnusable("the discovery document does not say where tokens are given, or not on its origin")
        self._endpoints[tenant] = endpoint, now
        return endpoint

    async def _verified(self, token: SecretStr, tenant: str, now: datetime) -> VerifiedToken:
        try:
            verified = await self._tokens.verify(token.get_secret_value(), now)
        except Unauthenticated:
            raise IssuerUnusable("the token that it gave is none that the vault accepts") from None
        if verified.caller.tenant != tenant:
            raise IssuerUnusable("the token that it gave is of another tenant")
        return verified


def _access_token(answer: Mapping[str, Any]) -> SecretStr:
    token = answer.get("access_token")
    if not isinstance(token, str):
        raise IssuerUnusable("the answer of the token endpoint holds no token")
    return SecretStr(token)


class ControlRoomAuthenticator:
    """Establishes callers from `X-Authorization: <JWT>`, or from `Authorization: Bearer <JWT>`."""

    def __init__(self, tokens: TokenAuthenticator) -> None:
        self._tokens = tokens

    async def identify(self, headers: Mapping[str, str], now: datetime) -> Caller:
        """Return who sent a request with these headers; a token in both must be the same.

        Refuses like `TokenAuthenticator.identify`.
        """
        bare, bearer = _values(headers, "x-authorization"), _values(headers, "authorization")
        if not bare and not bearer:
            raise Unauthenticated(_NO_TOKEN)
        given = {_BEARER.sub("Bearer ", text) for text in (*map(_as_bearer, bare), *bearer)}
        if len(given) > 1 or len(bare) > 1 or len(bearer) > 1:
            _log.info('token=refused reason="more than one"')
            raise Unauthenticated(BAD_TOKEN)
        return await self._tokens.identify({"Authorization": given.pop()}, now)


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    return [value for given, value in headers.items() if given.lower() == name]


def _as_bearer(text: str) -> str:
    return text if _BEARER.match(text) else f"Bearer {text}"

"""The identity provider: OpenID discovery, keys and tokens per tenant, and the app's managed identity.

Paths are those of Entra ID; the managed-identity endpoint speaks the protocol of App Service.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from local.identities import KNOWN_IDENTITIES, TENANTS, KnownIdentity
from local.signing import ALGORITHM, SigningKeys
from local.state import write_private

AUDIENCE = "api://credentials-vault"
KEY_VAULT_AUDIENCE = "https://vault.azure.net"
STORAGE_AUDIENCE = "https://storage.azure.com"
MONITOR_AUDIENCE = "https://monitor.azure.com"
PLATFORM_TENANT = "4f4b0c1e-6b0f-5f5e-9a53-3d2f0b6f7c11"
TOKEN_LIFETIME = timedelta(hours=1)
MANAGED_TOKEN_LIFETIME = timedelta(hours=24)
_NO_STORE = {"Cache-Control": "no-store"}


class IdentityProvider:
    """Issues tokens for the known identities and for the app itself.

    `url` is where it is served. Client secrets and the signing key are kept in `folder`, or made afresh when
    that is `None`.
    """

    def __init__(self, url: str, folder: Path | None) -> None:
        self.url = url
        self.keys = SigningKeys(folder / "signing-key.pem" if folder else None)
        self.client_secrets = _client_secrets(folder / "clients.json" if folder else None)
        self.managed_identity_header = secrets.token_hex(32)

    def issuer(self, tenant: str) -> str:
        return f"{self.url}/{tenant}/v2.0"

    def claims(self, name: str, now: datetime) -> dict[str, Any]:
        """Return the claims of a token for the known identity, issued now."""
        identity = KNOWN_IDENTITIES[name]
        about = {"email": identity.email, "name": name} if identity.kind == "human" else _agent_claims(identity)
        return {
            "iss": self.issuer(identity.tenant),
            "aud": AUDIENCE,
            "tid": identity.tenant,
            "oid": identity.id,
            "sub": identity.id,
            "roles": list(identity.roles),
            "sid": secrets.token_hex(16),
            **about,
            **_validity(now, TOKEN_LIFETIME),
        }

    def token(self, name: str) -> str:
        """Return a token for the known identity, good for an hour."""
        return self.keys.sign(self.claims(name, datetime.now(UTC)))

    def managed_claims(self, resource: str, now: datetime) -> dict[str, Any]:
        """Return the claims of a token for the app itself, with an issuer that Azure Storage accepts."""
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, "urn:local-cloud:managed-identity"))
        return {
            "iss": f"https://sts.windows.net/{PLATFORM_TENANT}/",
            "aud": resource,
            "tid": PLATFORM_TENANT,
            "oid": identity,
            "sub": identity,
            "appid": identity,
            **_validity(now, MANAGED_TOKEN_LIFETIME),
        }

    def managed_token(self, resource: str) -> str:
        """Return a token for the app itself, good for a day."""
        return self.keys.sign(self.managed_claims(resource, datetime.now(UTC)))

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.get("/{tenant}/v2.0/.well-known/openid-configuration", self._discovery),
                web.get("/{tenant}/discovery/v2.0/keys", self._keys),
                web.post("/{tenant}/oauth2/v2.0/token", self._token),
                web.get("/msi/token", self._managed_token),
            ]
        )
        return application

    async def _discovery(self, request: web.Request) -> web.Response:
        tenant = _tenant(request)
        return web.json_response(
            {
                "issuer": self.issuer(tenant),
                "token_endpoint": f"{self.url}/{tenant}/oauth2/v2.0/token",
                "jwks_uri": f"{self.url}/{tenant}/discovery/v2.0/keys",
                "response_types_supported": ["token"],
                "grant_types_supported": ["client_credentials"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            }
        )

    async def _keys(self, request: web.Request) -> web.Response:
        _tenant(request)
        return web.json_response(self.keys.document())

    async def _token(self, request: web.Request) -> web.Response:
        """Answer the client-credentials grant (RFC 6749, section 4.4)."""
        tenant = _tenant(request)
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return _refusal(400, "unsupported_grant_type", "Only client_credentials is served here")
        if form.get("scope", f"{AUDIENCE}/.default") != f"{AUDIENCE}/.default":
            return _refusal(400, "invalid_scope", f"The only scope is {AUDIENCE}/.default")
        name, secret = _credentials(request, form)
        if not self._knows(tenant, name, secret):
            return _refusal(401, "invalid_client", "Unknown client of this tenant, or wrong secret")
        return web.json_response(
            {
                "token_type": "Bearer",
                "expires_in": int(TOKEN_LIFETIME.total_seconds()),
                "access_token": self.token(name),
            },
            headers=_NO_STORE,
        )

    def _knows(self, tenant: str, name: str, secret: str) -> bool:
        expected = self.client_secrets.get(name, "")
        matches = hmac.compare_digest(expected.encode(), secret.encode())
        return matches and name in KNOWN_IDENTITIES and KNOWN_IDENTITIES[name].tenant == tenant

    async def _managed_token(self, request: web.Request) -> web.Response:
        header = request.headers.get("X-IDENTITY-HEADER", "")
        resource = request.query.get("resource", "").removesuffix("/")
        if not hmac.compare_digest(header.encode(), self.managed_identity_header.encode()):
            return _managed_refusal(401, "X-IDENTITY-HEADER is missing or wrong")
        if request.query.get("api-version") != "2019-08-01":
            return _managed_refusal(400, "api-version must be 2019-08-01")
        if resource not in (KEY_VAULT_AUDIENCE, STORAGE_AUDIENCE, MONITOR_AUDIENCE):
            return _managed_refusal(400, "The identity has no access to this resource")
        claims = self.managed_claims(resource, datetime.now(UTC))
        return web.json_response(
            {
                "access_token": self.keys.sign(claims),
                "expires_on": str(claims["exp"]),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": claims["appid"],
            },
            headers=_NO_STORE,
        )


def _agent_claims(identity: KnownIdentity) -> dict[str, Any]:
    return {"azp": identity.name, "app_displayname": identity.name}


def _validity(now: datetime, lifetime: timedelta) -> dict[str, int]:
    issued = int(now.timestamp())
    return {"iat": issued, "nbf": issued, "exp": issued + int(lifetime.total_seconds())}


def _tenant(request: web.Request) -> str:
    tenant = request.match_info["tenant"]
    if tenant not in TENANTS:
        raise web.HTTPNotFound
    return tenant


def _credentials(request: web.Request, form: Mapping[str, Any]) -> tuple[str, str]:
    """Return client id and secret from the basic header, else from the body; empty when there are none."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return str(form.get("client_id", "")), str(form.get("client_secret", ""))
    try:
        name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


def _refusal(status: int, error: str, description: str) -> web.Response:
    headers = _NO_STORE | ({"WWW-Authenticate": "Basic"} if status == 401 else {})
    return web.json_response({"error": error, "error_description": description}, status=status, headers=headers)


def _managed_refusal(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status, headers=_NO_STORE)


def _client_secrets(file: Path | None) -> dict[str, str]:
    """Return the secret of each known identity; those that the file lacks are made and added to it."""
    kept: dict[str, str] = json.loads(file.read_text()) if file and file.exists() else {}
    known = {name: kept.get(name) or secrets.token_urlsafe(32) for name in KNOWN_IDENTITIES}
    if file and known != kept:
        write_private(file, json.dumps(known, indent=2).encode())
    return known

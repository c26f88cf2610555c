"""The identity provider, as the app's token check and the genuine managed-identity credential call it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import ManagedIdentityCredential

from local.cloud import LocalCloud
from local.identities import KNOWN_IDENTITIES
from local.identity import AUDIENCE, IdentityProvider

pytestmark = pytest.mark.slow


async def get(url: str, **headers: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


async def ask_for_token(
    parts: LocalCloud, *, tenant: str = "contoso", basic: str | None = None, **form: str
) -> tuple[int, Any]:
    _, discovered = await get(f"{parts.identity.issuer(tenant)}/.well-known/openid-configuration")
    headers = {"Authorization": f"Basic {base64.b64encode(basic.encode()).decode()}"} if basic else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(discovered["token_endpoint"], data=form, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def verified(parts: LocalCloud, token: str) -> dict[str, Any]:
    """Check the token as an app does: from its issuer to the published keys."""
    issuer = parts.identity.issuer(jwt.decode(token, options={"verify_signature": False})["tid"])
    _, discovered = await get(f"{issuer}/.well-known/openid-configuration")
    assert discovered["issuer"] == issuer
    _, keys = await get(discovered["jwks_uri"])
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    return dict(jwt.decode(token, key, ["RS256"], audience=AUDIENCE, issuer=issuer))


async def test_a_person_gets_a_token_that_verifies_and_names_them(local_parts: LocalCloud) -> None:
    status, answer = await ask_for_token(
        local_parts,
        grant_type="client_credentials",
        client_id="lola",
        client_secret=local_parts.identity.client_secrets["lola"],
    )
    claims = await verified(local_parts, answer["access_token"])
    assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 3600)
    assert (claims["tid"], claims["email"], claims["name"]) == ("contoso", "lola@contoso.example", "lola")
    assert claims["roles"] == ["locker-admin", "user"]
    assert claims["oid"] == claims["sub"] == KNOWN_IDENTITIES["lola"].id
    assert claims["exp"] - claims["iat"] == 3600


async def test_an_agent_has_a_display_name_and_no_email(local_parts: LocalCloud) -> None:
    claims = await verified(local_parts, local_parts.identity.token("northwind-vendor"))
    assert (claims["azp"], claims["app_displayname"]) == ("northwind-vendor", "northwind-vendor")
    assert claims["tid"] == "northwind"
    assert "email" not in claims


@pytest.mark.parametrize(("name", "role"), [("finance-bot", "finance-bots"), ("hr-bot", "hr-bots")])
async def test_an_agent_may_have_a_role_that_only_its_locker_knows(
    local_parts: LocalCloud, name: str, role: str
) -> None:
    claims = await verified(local_parts, local_parts.identity.token(name))
    assert (claims["tid"], claims["azp"], claims["roles"]) == ("contoso", name, ["user", role])


async def test_client_credentials_are_taken_from_the_basic_header(local_parts: LocalCloud) -> None:
    basic = f"ci-runner:{local_parts.identity.client_secrets['ci-runner']}"
    status, _ = await ask_for_token(local_parts, basic=basic, grant_type="client_credentials")
    assert status == 200


@pytest.mark.parametrize(
    ("tenant", "client_id"),
    [("contoso", "alice"), ("contoso", "nobody"), ("contoso", ""), ("fabrikam", "bob")],
    ids=["wrong secret", "unknown client", "no client", "another tenant's client"],
)
async def test_a_client_that_does_not_match_gets_no_token(local_parts: LocalCloud, tenant: str, client_id: str) -> None:
    secret = local_parts.identity.client_secrets["bob"] if client_id else ""
    status, answer = await ask_for_token(
        local_parts, tenant=tenant, grant_type="client_credentials", client_id=client_id, client_secret=secret
    )
    assert (status, answer["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials", "scope": "api://another/.default"}, "invalid_scope"),
    ],
)
async def test_what_is_not_served_is_refused(local_parts: LocalCloud, form: dict[str, str], error: str) -> None:
    status, answer = await ask_for_token(local_parts, basic=None, **form)
    assert (status, answer["error"]) == (400, error)


async def test_an_unknown_tenant_has_no_provider(local_parts: LocalCloud) -> None:
    status, _ = await get(f"{local_parts.identity.issuer('elsewhere')}/.well-known/openid-configuration")
    assert status == 404


async def test_tokens_of_before_and_after_a_key_rotation_verify_until_the_old_key_is_withdrawn(
    local_parts: LocalCloud,
) -> None:
    before = local_parts.identity.token("alice")
    local_parts.identity.keys.rotate()
    after = local_parts.identity.token("alice")
    assert jwt.get_unverified_header(before)["kid"] != jwt.get_unverified_header(after)["kid"]
    await verified(local_parts, before)
    await verified(local_parts, after)
    local_parts.identity.keys.withdraw_old()
    await verified(local_parts, after)
    with pytest.raises(KeyError):
        await verified(local_parts, before)


@pytest.mark.parametrize("resource", ["https://vault.azure.net", "https://storage.azure.com"])
async def test_the_genuine_managed_identity_credential_gets_a_token(local_parts: LocalCloud, resource: str) -> None:
    async with ManagedIdentityCredential() as credential:
        token = await credential.get_token(f"{resource}/.default")
    claims = jwt.decode(token.token, options={"verify_signature": False})
    assert claims["aud"] == resource
    assert claims["iss"].startswith("https://sts.windows.net/")
    assert abs(token.expires_on - claims["exp"]) <= 1
    local_parts.identity.keys.check(token.token, resource)


async def test_the_managed_identity_asks_for_its_header(
    local_parts: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "another")
    async with ManagedIdentityCredential() as credential:
        with pytest.raises(ClientAuthenticationError):
            await credential.get_token("https://vault.azure.net/.default")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("api-version=2019-08-01&resource=https://vault.azure.net", 200),
        ("api-version=2017-09-01&resource=https://vault.azure.net", 400),
        ("api-version=2019-08-01&resource=https://graph.microsoft.com", 400),
        ("api-version=2019-08-01", 400),
    ],
)
async def test_the_managed_identity_serves_only_what_the_app_needs(
    local_parts: LocalCloud, query: str, status: int
) -> None:
    url = f"{local_parts.identity.url}/msi/token?{query}"
    header = local_parts.identity.managed_identity_header
    assert (await get(url, **{"X-IDENTITY-HEADER": header}))[0] == status
    assert (await get(url))[0] == 401


def test_secrets_and_signing_key_survive_a_restart(tmp_path: Path) -> None:
    before = IdentityProvider("http://127.0.0.1:1", tmp_path)
    after = IdentityProvider("http://127.0.0.1:1", tmp_path)
    assert before.client_secrets == after.client_secrets
    assert len(set(before.client_secrets.values())) == len(KNOWN_IDENTITIES)
    after.keys.check(before.token("alice"), AUDIENCE)


def test_files_of_the_provider_are_the_owners_alone(tmp_path: Path) -> None:
    IdentityProvider("http://127.0.0.1:1", tmp_path)
    files = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert files == {"clients.json": 0o600, "signing-key.pem": 0o600}


def test_claims_can_be_made_for_any_moment() -> None:
    provider = IdentityProvider("http://127.0.0.1:1", None)
    claims = provider.claims("alice", datetime(2030, 1, 1, tzinfo=UTC))
    assert datetime.fromtimestamp(claims["exp"], UTC) == datetime(2030, 1, 1, 1, tzinfo=UTC)

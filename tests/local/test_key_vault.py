"""The genuine Key Vault client against the local Key Vault."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.rest import AsyncHttpResponse
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.secrets.aio import SecretClient

from local.cloud import LocalCloud
from local.key_vault import Fault

pytestmark = pytest.mark.slow


@pytest.fixture
async def client(local_parts: LocalCloud) -> AsyncIterator[SecretClient]:
    async with (
        ManagedIdentityCredential() as credential,
        SecretClient(local_parts.key_vault.url, credential, verify_challenge_resource=False, retry_total=0) as client,
    ):
        yield client


def new_name() -> str:
    return f"test-{uuid.uuid4().hex}"


def code_beneath(error: HttpResponseError) -> str | None:
    inner = error.error.innererror if error.error else None
    return inner.get("code") if inner else None


async def test_a_value_that_was_set_is_returned(client: SecretClient) -> None:
    name = new_name()
    written = await client.set_secret(name, "grüezi")
    read = await client.get_secret(name)
    assert (read.value, read.properties.version) == ("grüezi", written.properties.version)
    assert re.fullmatch(r"[0-9a-f]{32}", read.properties.version or "")


async def test_an_earlier_version_keeps_its_value(client: SecretClient) -> None:
    name = new_name()
    first = await client.set_secret(name, "one")
    await client.set_secret(name, "two")
    assert (await client.get_secret(name, first.properties.version)).value == "one"
    assert (await client.get_secret(name)).value == "two"


async def test_names_are_the_same_whatever_their_case(client: SecretClient) -> None:
    name = new_name()
    await client.set_secret(name, "one")
    assert (await client.get_secret(name.upper())).value == "one"


@pytest.mark.parametrize("name", ["under_score", "a" * 128, "dot.ted", "ümlaut"])
async def test_a_name_that_breaks_the_rule_is_refused(client: SecretClient, name: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await client.set_secret(name, "value")
    assert refused.value.status_code == 400


async def test_a_name_of_127_characters_is_accepted(client: SecretClient) -> None:
    name = new_name().ljust(127, "x")
    await client.set_secret(name, "value")
    assert (await client.get_secret(name)).name == name


async def test_a_value_of_25_kibibytes_is_accepted_and_one_byte_more_is_not(client: SecretClient) -> None:
    name = new_name()
    await client.set_secret(name, "v" * 25_600)
    with pytest.raises(HttpResponseError) as refused:
        await client.set_secret(name, "v" * 25_601)
    assert refused.value.status_code == 400


async def test_an_absent_secret_is_not_found(client: SecretClient) -> None:
    with pytest.raises(ResourceNotFoundError) as missing:
        await client.get_secret(new_name())
    assert missing.value.error is not None
    assert missing.value.error.code == "SecretNotFound"


async def test_a_disabled_secret_is_forbidden_until_it_is_enabled(client: SecretClient) -> None:
    name = new_name()
    await client.set_secret(name, "value")
    await client.update_secret_properties(name, enabled=False)
    with pytest.raises(HttpResponseError) as refused:
        await client.get_secret(name)
    assert (refused.value.status_code, code_beneath(refused.value)) == (403, "SecretDisabled")
    await client.update_secret_properties(name, enabled=True)
    assert (await client.get_secret(name)).value == "value"


async def test_an_expired_secret_is_still_returned(client: SecretClient) -> None:
    name = new_name()
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await client.set_secret(name, "value", expires_on=past, not_before=past)
    read = await client.get_secret(name)
    assert (read.value, read.properties.expires_on, read.properties.not_before) == ("value", past, past)


async def test_tags_and_content_type_are_kept_and_updated(client: SecretClient) -> None:
    name = new_name()
    written = await client.set_secret(name, "value", tags={"a": "1"}, content_type="text/plain")
    assert (written.properties.tags, written.properties.content_type) == ({"a": "1"}, "text/plain")
    updated = await client.update_secret_properties(name, tags={"b": "2"})
    assert (updated.tags, updated.content_type) == ({"b": "2"}, "text/plain")


async def test_a_named_version_is_updated_alone(client: SecretClient) -> None:
    name = new_name()
    first = await client.set_secret(name, "one")
    await client.set_secret(name, "two")
    await client.update_secret_properties(name, first.properties.version, enabled=False)
    assert (await client.get_secret(name)).value == "two"
    with pytest.raises(HttpResponseError):
        await client.get_secret(name, first.properties.version)


async def test_listing_pages_by_25_and_never_shows_a_value(client: SecretClient) -> None:
    prefix = new_name()
    for number in range(30):
        await client.set_secret(f"{prefix}-{number:02}", "value")
    pages = [[item async for item in page] async for page in client.list_properties_of_secrets().by_page()]
    ours = [item.name for page in pages for item in page if item.name and item.name.startswith(prefix)]
    assert ours == [f"{prefix}-{number:02}" for number in range(30)]
    assert all(len(page) == 25 for page in pages[:-1])
    assert 1 <= len(pages[-1]) <= 25


async def test_every_version_is_listed(client: SecretClient) -> None:
    name = new_name()
    written = {(await client.set_secret(name, str(number))).properties.version for number in range(28)}
    listed = [version.version async for version in client.list_properties_of_secret_versions(name)]
    assert len(listed) == 28
    assert set(listed) == written


async def test_a_deleted_secret_is_gone_but_kept_among_the_deleted(client: SecretClient) -> None:
    name = new_name()
    await client.set_secret(name, "value")
    deleted = await client.delete_secret(name)
    assert deleted.deleted_date is not None
    assert deleted.scheduled_purge_date == deleted.deleted_date + timedelta(days=90)
    with pytest.raises(ResourceNotFoundError):
        await client.get_secret(name)
    assert (await client.get_deleted_secret(name)).name == name
    assert name in [secret.name async for secret in client.list_deleted_secrets()]


async def test_a_deleted_name_is_taken(client: SecretClient) -> None:
    name = new_name()
    await client.set_secret(name, "value")
    await client.delete_secret(name)
    with pytest.raises(ResourceExistsError) as refused:
        await client.set_secret(name.upper(), "another")
    assert (refused.value.status_code, code_beneath(refused.value)) == (409, "ObjectIsDeletedButRecoverable")


async def test_a_recovered_secret_is_as_it_was(client: SecretClient) -> None:
    name = new_name()
    written = await client.set_secret(name, "value", tags={"a": "1"})
    await client.delete_secret(name)
    await client.recover_deleted_secret(name)
    read = await client.get_secret(name)
    assert (read.value, read.properties.tags) == ("value", {"a": "1"})
    assert read.properties.version == written.properties.version


async def test_a_purged_name_is_taken_for_a_moment_and_then_free(
    client: SecretClient, local_parts: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_name()
    await client.set_secret(name, "value")
    await client.delete_secret(name)
    monkeypatch.setattr(local_parts.key_vault.secrets, "purge_takes", timedelta(hours=1))
    await client.purge_deleted_secret(name)
    with pytest.raises(ResourceNotFoundError):
        await client.get_deleted_secret(name)
    with pytest.raises(ResourceExistsError) as refused:
        await client.set_secret(name, "another")
    assert code_beneath(refused.value) == "ObjectIsBeingDeleted"
    monkeypatch.setattr(local_parts.key_vault.secrets, "purge_takes", timedelta(0))
    assert (await client.set_secret(name, "another")).value == "another"


async def test_a_throttled_call_says_when_to_come_back(client: SecretClient, local_parts: LocalCloud) -> None:
    local_parts.key_vault.faults.add(Fault(status=429, retry_after=7, method="PUT"))
    name = new_name()
    with pytest.raises(HttpResponseError) as refused:
        await client.set_secret(name, "value")
    assert refused.value.status_code == 429
    answer = refused.value.response
    assert isinstance(answer, AsyncHttpResponse)
    assert answer.headers["Retry-After"] == "7"
    with pytest.raises(ResourceNotFoundError):
        await client.get_secret(name)


async def test_a_fault_strikes_as_often_as_asked_and_only_its_method(
    client: SecretClient, local_parts: LocalCloud
) -> None:
    name = new_name()
    await client.set_secret(name, "value")
    local_parts.key_vault.faults.add(Fault(status=503, times=2, method="GET"))
    await client.set_secret(name, "value")
    for _ in range(2):
        with pytest.raises(HttpResponseError):
            await client.get_secret(name)
    assert (await client.get_secret(name)).value == "value"


async def test_a_connection_is_reset_before_the_call_is_applied(client: SecretClient, local_parts: LocalCloud) -> None:
    local_parts.key_vault.faults.add(Fault(kind="reset", times=2))
    name = new_name()
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await client.set_secret(name, "value")
    with pytest.raises(ResourceNotFoundError):
        await client.get_secret(name)


async def test_an_answer_is_lost_after_the_call_was_applied(client: SecretClient, local_parts: LocalCloud) -> None:
    local_parts.key_vault.faults.add(Fault(kind="lost", times=2))
    name = new_name()
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await client.set_secret(name, "value")
    assert (await client.get_secret(name)).value == "value"


async def test_calls_are_counted_by_method(client: SecretClient, local_parts: LocalCloud) -> None:
    name = new_name()
    await client.set_secret(name, "value")
    await client.get_secret(name)
    await client.get_secret(name)
    assert local_parts.key_vault.faults.calls == {"PUT": 1, "GET": 2}


async def test_faults_can_be_ordered_over_http(client: SecretClient, local_parts: LocalCloud) -> None:
    url = f"{local_parts.key_vault.url}/__faults"
    async with aiohttp.ClientSession() as session:
        order = {"status": 429, "retryAfter": 2, "times": 3, "method": "PUT"}
        async with session.post(url, json=order) as answer:
            assert answer.status == 204
        with pytest.raises(HttpResponseError):
            await client.set_secret(new_name(), "value")
        async with session.get(url) as answer:
            shown = await answer.json()
        assert shown["waiting"][0]["times"] == 2
        assert shown["calls"] == {"PUT": 1}
        async with session.delete(url) as answer:
            assert answer.status == 204
    await client.set_secret(new_name(), "value")


async def test_a_call_without_a_token_is_challenged(local_parts: LocalCloud) -> None:
    url = f"{local_parts.key_vault.url}/secrets?api-version=2026-04-01"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 401
        assert re.fullmatch(
            r'Bearer authorization="http[^"]+", resource="https://vault\.azure\.net"',
            answer.headers["WWW-Authenticate"],
        )


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "https://storage.azure.com"},
        {"exp": 1_600_000_000},
        {"nbf": 33_000_000_000, "exp": 33_000_003_600},
    ],
    ids=["wrong audience", "expired", "not yet valid"],
)
async def test_a_token_that_does_not_hold_is_challenged(local_parts: LocalCloud, change: dict[str, object]) -> None:
    claims = local_parts.identity.managed_claims("https://vault.azure.net", datetime.now(UTC))
    assert await status_with(local_parts, local_parts.identity.keys.sign(claims)) == 200
    assert await status_with(local_parts, local_parts.identity.keys.sign(claims | change)) == 401


@pytest.mark.parametrize("token", ["", "no.token", "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_token_is_challenged(local_parts: LocalCloud, token: str) -> None:
    assert await status_with(local_parts, token) == 401


async def test_an_unknown_version_of_the_api_is_refused(local_parts: LocalCloud) -> None:
    token = local_parts.identity.managed_token("https://vault.azure.net")
    assert await status_with(local_parts, token, version="1999-01-01") == 400


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"value": 1}', b'{"value": "v", "tags": {"a": 1}}'])
async def test_a_body_that_is_not_acceptable_is_refused_without_being_repeated(
    local_parts: LocalCloud, body: bytes
) -> None:
    url = f"{local_parts.key_vault.url}/secrets/{new_name()}?api-version=2026-04-01"
    headers = {"Authorization": f"Bearer {local_parts.identity.managed_token('https://vault.azure.net')}"}
    async with aiohttp.ClientSession() as session, session.put(url, data=body, headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "BadParameter"


async def status_with(parts: LocalCloud, token: str, version: str = "2026-04-01") -> int:
    url = f"{parts.key_vault.url}/secrets?api-version={version}"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status

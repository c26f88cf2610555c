"""A client that was written for a Control Room shares its credentials here, in lockers."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from rpa_automationanywhere import AAClient, Sort
from rpa_automationanywhere.API.api_endpoints import ApiEndpoints
from rpa_automationanywhere.API.models.vault_models import Attribute, Credential
from rpa_automationanywhere.API.services.exceptions import (
    A360Error,
    A360PermissionError,
    A360ResourceNotFoundError,
)

from local.cloud import LocalCloud
from tests.end_to_end.real_client import LogIn, create, fresh, give, secret_of, user_id

pytestmark = pytest.mark.slow


def test_a_locker_is_created_found_renamed_and_listed(alice: AAClient) -> None:
    name = fresh("Finance")
    created = alice.lockers.create(name, "shared by the bots")
    locker = str(created.id)
    assert [(one.id, [part.value for part in one.permissions]) for one in created.members] == [
        (user_id("alice"), ["own"])
    ]
    assert created.locker_permission is not None
    assert created.locker_permission.is_owner
    after = alice.lockers.update(locker, f"{name} 2")
    assert (after.name, after.description, after.version) == (f"{name} 2", "shared by the bots", "1")
    assert alice.lockers.get_by_name(name) is None
    assert alice.lockers.get_by_name(f"{name} 2") == alice.lockers.get_by_id(locker) == after
    assert locker in {one.id for one in alice.lockers.list_lockers(sort=[Sort(field="name")])}


def test_a_credential_is_put_into_a_locker_and_taken_out(alice: AAClient) -> None:
    locker, name = str(alice.lockers.create(fresh("Box")).id), fresh("Boxed")
    credential = create(alice, name)
    alice.lockers.associate_credential(locker, credential)
    [inside] = alice.lockers.list_credentials(locker)
    assert (inside.id, inside.locker_id) == (credential, locker)
    assert alice.lockers.get_by_id(locker).count_of_credentials == 1
    with pytest.raises(A360Error, match="status 409"):  # not while it is in a locker
        alice.credentials.update_credential(name, new_description="anew")
    alice.lockers.remove_credential(locker, credential)
    assert alice.lockers.list_credentials(locker) == []
    assert alice.lockers.get_by_id(locker).count_of_credentials == 0
    assert alice.credentials.update_credential(name, new_description="anew").locker_id is None


def test_who_has_no_part_in_a_locker_finds_neither_it_nor_what_is_inside(alice: AAClient, log_in: LogIn) -> None:
    locker, name = alice.lockers.create(fresh("Closed")), fresh("Enclosed")
    alice.lockers.associate_credential(str(locker.id), create(alice, name))
    for who in ("bob", "hr-bot"):
        other = log_in(who)
        assert other.lockers.get_by_name(locker.name) is None
        assert other.credentials.get_secret(name) is None
        with pytest.raises(A360ResourceNotFoundError):
            other.lockers.list_credentials(str(locker.id))


def test_a_locker_admin_administers_a_locker_and_reads_no_value(alice: AAClient, log_in: LogIn) -> None:
    locker, name = str(alice.lockers.create(fresh("Administered")).id), fresh("Unread")
    credential = create(alice, name)
    lola = log_in("lola")
    lola.lockers.associate_credential(locker, credential)
    assert [one.id for one in lola.lockers.list_credentials(locker)] == [credential]
    with pytest.raises(A360PermissionError):
        lola.credentials.get_secret(name)


# Consumers


@pytest.fixture
def shared(alice: AAClient) -> Credential:
    """Alice's credential, with a standard value and a user-provided one, in a locker that finance bots consume."""
    created = alice.credentials.create_credential(
        Credential(
            name=fresh("Ledger"),
            attributes=[
                Attribute(name="host", value="ledger.example.com"),
                Attribute(name="pin", value="of Alice", user_provided=True, masked=True),
            ],
        )
    )
    locker = str(alice.lockers.create(fresh("Finance bots")).id)
    alice.api_client.post(f"{ApiEndpoints.v2.locker_by_id(locker)}/consumers", json={"id": "finance-bots"})
    alice.lockers.associate_credential(locker, str(created.id))
    return created


def test_a_consumer_reads_the_standard_value_and_gives_its_own(
    alice: AAClient, shared: Credential, log_in: LogIn
) -> None:
    bot, pin = log_in("finance-bot"), str(shared.attributes[1].id)
    seen = bot.credentials.get_by_name(shared.name)
    assert seen is not None
    assert seen.completed is False
    assert secret_of(bot, shared.name) == {"host": "ledger.example.com", "pin": None}
    give(bot, str(shared.id), pin, "of the bot")
    bot.credentials.update_attribute_value(shared.name, "pin", "of the bot 2")
    assert secret_of(bot, shared.name) == {"host": "ledger.example.com", "pin": "of the bot 2"}
    seen = bot.credentials.get_by_name(shared.name)
    assert seen is not None
    assert seen.completed is True
    assert secret_of(alice, shared.name) == {"host": "ledger.example.com", "pin": "of Alice"}


def test_a_consumer_of_a_locker_sees_it_and_changes_nothing_in_it(shared: Credential, log_in: LogIn) -> None:
    bot = log_in("finance-bot")
    seen = bot.credentials.get_by_name(shared.name)
    assert seen is not None
    locker = bot.lockers.get_by_id(str(seen.locker_id))
    assert locker.locker_permission is not None
    assert (locker.locker_permission.is_consumer, locker.locker_permission.is_owner) == (True, False)
    assert [one.id for one in bot.lockers.list_credentials(str(locker.id))] == [shared.id]
    for forbidden in (
        lambda: bot.lockers.update(str(locker.id), "Mine"),
        lambda: bot.lockers.remove_credential(str(locker.id), str(shared.id)),
        lambda: bot.credentials.update_attribute_value(shared.name, "host", "evil.example.com"),
        lambda: bot.credentials.set_owner_by_id(str(shared.id), user_id("finance-bot")),
        lambda: bot.api_client.delete(ApiEndpoints.v2.credential_by_id(str(shared.id))),
    ):
        with pytest.raises(A360PermissionError):
            forbidden()


def test_what_a_consumer_gave_is_listed_as_consumed(alice: AAClient, shared: Credential, log_in: LogIn) -> None:
    bot = log_in("finance-bot")

    def consumed() -> set[str]:
        return {str(one.id) for one in bot.credentials._get_all(f"{ApiEndpoints.v2.CREDENTIALS_LIST}?consumed=true")}

    assert str(shared.id) not in consumed()
    give(bot, str(shared.id), str(shared.attributes[1].id), "of the bot")
    assert str(shared.id) in consumed()


# The older path


async def test_the_first_version_of_the_path_is_the_same_vault(
    cloud: LocalCloud, alice: AAClient, shared: Credential
) -> None:
    host, pin = (str(one.id) for one in shared.attributes)
    login = {"username": "finance-bot", "password": cloud.identity.client_secrets["finance-bot"]}
    async with aiohttp.ClientSession(cloud.functions_url) as session:

        async def call(method: str, path: str, body: object = None) -> tuple[int, Any]:
            content = None if body is None else json.dumps(body)
            async with session.request(method, f"/v1{path}", data=content) as answer:
                text = await answer.text()
                return answer.status, json.loads(text) if text else None

        status, session_of = await call("POST", "/authentication", login)
        assert (status, session_of["user"]["id"]) == (200, user_id("finance-bot"))
        session.headers["X-Authorization"] = session_of["token"]
        one = f"/credentialvault/credentials/{shared.id}"
        status, found = await call("POST", "/credentialvault/credentials/list", {"page": {"length": 0}})
        assert status == 200
        assert str(shared.id) in [row["id"] for row in found["list"]]
        values = {"list": [{"credentialAttributeId": pin, "value": "by the older path"}]}
        assert (await call("POST", f"{one}/attributevalues", values))[0] == 200
        status, read = await call("GET", f"{one}/attributevalues?credentialAttributeId={pin}")
        [row] = read["list"]
        assert (status, row["value"], row["userId"]) == (200, "by the older path", user_id("finance-bot"))
        assert (await call("PUT", f"{one}/attributevalues/{host}", {"value": "evil", "version": "0"}))[0] == 403
        assert (await call("DELETE", f"{one}/attributevalues/{pin}"))[0] == 204
        status, read = await call("GET", f"{one}/attributevalues?credentialAttributeId={pin}")
        assert (status, read["list"]) == (200, [])

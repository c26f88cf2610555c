"""Credentials with attributes of their own, and the values that consumers give for themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.api.app import SECRET, App, Reply
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, MONA, OTTO
from vault_core.identities import Caller

ONE = "/credentials/portal"
OWN = f"{ONE}/own-values"
ATTRIBUTES = [
    {"name": "user", "masked": False},
    {"name": "Password", "description": "of the portal", "passwordFlag": True},
    {"name": "pin", "userProvided": True},
    {"name": "phrase", "userProvided": True, "masked": False},
]
STANDARD = {"user": "shop-bot", "Password": "correct horse"}
MINE = {"pin": "4711", "phrase": "battery staple"}
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def app() -> App:
    return App()


def portal(**wanted: Any) -> dict[str, Any]:
    """A credential that everyone may lease who may lease at all."""
    policy = {"allowedIdentities": [{"type": "any"}]}
    return {"name": "portal", "type": "generic-secret", "attributes": ATTRIBUTES, "policy": policy} | wanted


async def create(app: App, **wanted: Any) -> Reply:
    reply = await app.send("POST", "/credentials", ALICE, portal(**wanted))
    assert reply.status == 201, reply.body
    return reply


async def give(app: App, values: Mapping[str, str], caller: Caller = BOB) -> Reply:
    reply = await app.send("PUT", OWN, caller, {"fields": dict(values)})
    assert reply.status == 200, reply.body
    return reply


async def lease(app: App, caller: Caller = BOB) -> Reply:
    return await app.send("POST", "/leases", caller, {"credential": "portal"})


async def leased(app: App, caller: Caller = BOB) -> dict[str, str]:
    reply = await lease(app, caller)
    assert reply.status == 201, reply.body
    fields: dict[str, str] = reply["fields"]
    return fields


class TestCreatingWithAttributes:
    async def test_shows_them_in_order_with_which_have_values(self, app: App) -> None:
        shown = (await create(app, fields={"user": "shop-bot"}))["attributes"]
        plain = {"description": "", "userProvided": False, "masked": True, "passwordFlag": False, "set": False}
        ids = [one.pop("id") for one in shown]
        assert shown == [
            plain | {"name": "user", "masked": False, "set": True},
            plain | {"name": "Password", "description": "of the portal", "passwordFlag": True},
            plain | {"name": "pin", "userProvided": True},
            plain | {"name": "phrase", "userProvided": True, "masked": False},
        ]
        assert len(set(ids)) == 4
        assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)

    async def test_takes_a_value_for_the_only_standard_one(self, app: App) -> None:
        await create(app, attributes=[{"name": "user"}], value="shop-bot")
        assert await leased(app, ALICE) == {"user": "shop-bot"}

    async def test_with_one_value_for_several_is_refused(self, app: App) -> None:
        reply = await app.send("POST", "/credentials", ALICE, portal(value="correct horse"))
        assert (reply.code, reply.fields) == ((422, "value-refused"), ["value"])

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"pin": "4711"}, ["fields.pin"]),
            ({"colour": "4711"}, ["fields.*"]),
            ({"user": ""}, ["fields.user"]),
            ({"user": "4711", "pin": "4711", "Password": ""}, ["fields.pin"]),
        ],
        ids=["user-provided", "unknown", "empty", "several"],
    )
    async def test_with_values_that_they_do_not_take_is_refused(
        self, app: App, fields: dict[str, str], named: list[str]
    ) -> None:
        reply = await app.send("POST", "/credentials", ALICE, portal(fields=fields))
        assert (reply.code, reply.fields) == ((422, "value-refused"), named)
        assert b"4711" not in reply.content
        assert (await app.send("GET", ONE, ALICE)).status == 404

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ({"attributes": []}, "attributes"),
            ({"attributes": [{"name": "a"}, {"name": "A"}]}, "attributes.1.name"),
            ({"attributes": [{"name": f"a{number}"} for number in range(51)]}, "attributes"),
            ({"attributes": [{"name": "a" * 51}, {"name": "b"}]}, "attributes.0.name"),
            ({"attributes": [{"name": "a/b"}, {"name": "b"}]}, "attributes.0.name"),
            ({"attributes": [{"name": "a", "id": "0123456789abcdef"}]}, "attributes.0.id"),
            ({"attributes": [{"name": "a", "value": "4711"}, {"name": "b"}]}, "attributes.0.value"),
            ({"attributes": [{"name": "a", "description": "x" * 256}, {"name": "b"}]}, "attributes.0.description"),
            ({"type": "api-key", "value": "sk_live_4eC39HqLyjWDarjtT1zdp7dc"}, ""),
        ],
        ids=[
            "none",
            "of one name",
            "too many",
            "name too long",
            "name with a slash",
            "with an id",
            "with a value",
            "description too long",
            "of another type",
        ],
    )
    async def test_that_cannot_be_names_the_field(self, app: App, wanted: dict[str, Any], field: str) -> None:
        reply = await app.send("POST", "/credentials", ALICE, portal(**wanted))
        assert (reply.code, reply.fields) == ((400, "invalid-input"), [field])

    async def test_of_a_type_shows_the_fields_of_the_type(self, app: App) -> None:
        attributes = (await app.create())["attributes"]
        assert [(one["id"], one["name"], one["set"], one["masked"]) for one in attributes] == [
            ("value", "value", True, True)
        ]


class TestGivingOwnValues:
    async def test_names_what_was_given_and_shows_no_value(self, app: App) -> None:
        await create(app, fields=STANDARD)
        assert (await give(app, {"pin": "4711"})).body == {"given": ["pin"]}
        both = await give(app, {"PHRASE": "battery staple"})
        assert both.body == {"given": ["pin", "phrase"]}
        assert b"battery staple" not in both.content

    async def test_replaces_only_what_is_named(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        await give(app, {"pin": "1234"})
        assert await leased(app) == STANDARD | {"pin": "1234", "phrase": "battery staple"}

    async def test_is_for_the_caller_alone(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        await give(app, {"pin": "0000", "phrase": "of alice"}, ALICE)
        assert await leased(app) == STANDARD | MINE
        assert await leased(app, ALICE) == STANDARD | {"pin": "0000", "phrase": "of alice"}
        assert (await lease(app, DEPLOY_AGENT)).code == (409, "credential-incomplete")

    async def test_changes_neither_the_credential_nor_its_version(self, app: App) -> None:
        created = await create(app, fields=STANDARD)
        await give(app, MINE)
        there = await app.send("GET", ONE, ALICE)
        assert there.body == created.body

    async def test_is_told_by_the_names_of_the_attributes(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        await app.send("DELETE", OWN, BOB)
        events = (await app.send("GET", "/audit?event=value.written", OTTO)).body["items"]
        assert [event["identity"]["id"] for event in events] == ["id-bob", "id-bob"]
        assert events[1]["details"]["attributes"] == ["pin", "phrase"]
        assert events[0]["details"]["removed"] == ["pin", "phrase"]
        assert "4711" not in json.dumps(events)

    @pytest.mark.parametrize(
        ("fields", "status", "named"),
        [
            ({"user": "4711"}, (422, "value-refused"), ["fields.user"]),
            ({"colour": "4711"}, (422, "value-refused"), ["fields.*"]),
            ({"pin": ""}, (422, "value-refused"), ["fields.pin"]),
            ({"pin": "4711", "user": "4711"}, (422, "value-refused"), ["fields.user"]),
            ({"pin": "x" * 25_001}, (422, "value-refused"), ["fields.pin"]),
            ({}, (400, "invalid-input"), ["fields"]),
            ({"pin": 4711}, (400, "invalid-input"), ["fields.pin"]),
        ],
        ids=["standard", "unknown", "empty", "standard too", "too large", "nothing", "a number"],
    )
    async def test_refuses_what_is_no_own_value_and_keeps_nothing(
        self, app: App, fields: dict[str, Any], status: tuple[int, str], named: list[str]
    ) -> None:
        await create(app, fields=STANDARD)
        reply = await app.send("PUT", OWN, BOB, {"fields": fields})
        assert (reply.code, reply.fields) == (status, named)
        assert b"4711" not in reply.content
        assert (await lease(app)).code == (409, "credential-incomplete")

    async def test_of_a_typed_credential_is_refused(self, app: App) -> None:
        await app.create()
        reply = await app.send("PUT", "/credentials/db-password/own-values", ALICE, {"fields": {"value": "mine"}})
        assert (reply.code, reply.fields) == ((422, "value-refused"), ["fields.value"])

    async def test_of_a_revoked_credential_is_refused(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await app.send("POST", f"{ONE}/revoke", ALICE)
        reply = await app.send("PUT", OWN, BOB, {"fields": MINE})
        assert reply.code == (409, "credential-revoked")


class TestRemovingOwnValues:
    async def test_leaves_those_of_others_and_may_be_repeated(self, app: App) -> None:
        await create(app, fields=STANDARD)
        for caller in (ALICE, BOB):
            await give(app, MINE, caller)
        for _ in range(2):
            assert (await app.send("DELETE", OWN, BOB)).status == 204
        assert (await lease(app)).code == (409, "credential-incomplete")
        assert await leased(app, ALICE) == STANDARD | MINE

    async def test_is_not_undone_by_a_credential_of_the_same_name(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        await app.send("DELETE", ONE, ALICE)
        await create(app, fields=STANDARD)
        assert (await lease(app)).code == (409, "credential-incomplete")


class TestALease:
    async def test_carries_standard_and_own_values_masked_or_not_in_order(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        reply = await lease(app)
        assert list(reply["fields"].items()) == [*STANDARD.items(), *MINE.items()]
        assert json.loads(reply["value"]) == STANDARD | MINE

    async def test_needs_every_value_and_names_the_attributes_without(self, app: App) -> None:
        await create(app, fields={"user": "shop-bot"})
        await give(app, {"pin": "4711"})
        missing = await lease(app)
        assert missing.code == (409, "credential-incomplete")
        assert "Password" in missing["detail"]
        await app.send("POST", f"{ONE}/rotate", ALICE, {"fields": {"Password": "correct horse"}})
        missing = await lease(app)
        assert missing.code == (409, "credential-incomplete")
        assert "phrase" in missing["detail"]
        await give(app, {"phrase": "battery staple"})
        assert await leased(app) == STANDARD | MINE

    async def test_that_is_asked_for_again_with_its_key_has_the_same_values(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        first, again = [await app.send("POST", "/leases", BOB, {"credential": "portal"}, KEY) for _ in range(2)]
        assert (first["id"], first["fields"]) == (again["id"], again["fields"])

    async def test_that_is_read_shows_no_own_value(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        path = f"/leases/{(await lease(app))['id']}"
        for caller in (BOB, ALICE, MONA):
            assert not {"value", "fields"} & (await app.send("GET", path, caller)).body.keys()


class TestRotating:
    async def test_keeps_the_standard_values_that_are_left_out(self, app: App) -> None:
        await create(app, fields=STANDARD)
        await give(app, MINE)
        reply = await app.send("POST", f"{ONE}/rotate", ALICE, {"fields": {"PASSWORD": "tr0ub4dor"}})
        assert (reply.status, reply["version"]) == (200, 2)
        assert await leased(app) == {"user": "shop-bot", "Password": "tr0ub4dor"} | MINE

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({"fields": {"user": "shop-bot"}}, ["fields"]),
            ({"fields": {"pin": "4711"}}, ["fields.pin"]),
            ({"fields": {"colour": "4711"}}, ["fields.*"]),
            ({"fields": {"user": ""}}, ["fields.user"]),
            ({"value": "4711"}, ["value"]),
        ],
        ids=["the same", "user-provided", "unknown", "empty", "one for several"],
    )
    async def test_to_what_cannot_be_is_refused_and_keeps_the_version(
        self, app: App, body: dict[str, Any], named: list[str]
    ) -> None:
        await create(app, fields=STANDARD)
        reply = await app.send("POST", f"{ONE}/rotate", ALICE, body)
        assert (reply.code, reply.fields) == ((422, "value-refused"), named)
        assert (await app.send("GET", ONE, ALICE))["version"] == 1


class TestRenaming:
    async def rename(self, app: App, name: Any) -> Reply:
        tag = (await app.send("GET", "/credentials/db-password", ALICE)).etag
        return await app.send("PATCH", "/credentials/db-password", ALICE, {"name": name}, {"If-Match": tag})

    async def test_keeps_everything_else_and_frees_the_name(self, app: App) -> None:
        created = await app.create(metadata={"team": "shop"})
        renamed = await self.rename(app, "db password 2")
        assert renamed.status == 200
        assert {name for name, value in renamed.body.items() if value != created.body[name]} <= {"name", "updatedAt"}
        assert (await app.send("GET", "/credentials/DB%20Password%202", ALICE)).body == renamed.body
        assert (await app.send("GET", "/credentials/db-password", ALICE)).status == 404
        taken = await app.send("POST", "/leases", ALICE, {"credential": "db password 2"})
        assert (taken["value"], taken["credentialName"]) == ("correct horse", "db password 2")
        assert (await app.create(BOB))["name"] == "db-password"

    async def test_may_change_the_form_of_the_name(self, app: App) -> None:
        await app.create()
        assert (await self.rename(app, "DB-Password"))["name"] == "DB-Password"
        assert (await app.send("GET", "/credentials/db-password", ALICE))["name"] == "DB-Password"

    async def test_to_a_taken_name_is_refused_and_changes_nothing(self, app: App) -> None:
        created = await app.create()
        await app.create(BOB, name="portal")
        assert (await self.rename(app, "Portal")).code == (409, "name-taken")
        assert (await app.send("GET", "/credentials/db-password", ALICE)).body == created.body

    async def test_inside_a_locker_is_refused_unless_it_is_the_same(self, app: App) -> None:
        await app.create()
        await app.send("POST", "/lockers", ALICE, {"name": "shop"})
        await app.send("PUT", "/lockers/shop/credentials/db-password", ALICE)
        assert (await self.rename(app, "portal")).code == (409, "credential-in-locker")
        assert (await self.rename(app, "db-password")).status == 200

    @pytest.mark.parametrize("name", [None, "", "a/b", "x" * 129], ids=["null", "empty", "slash", "too long"])
    async def test_to_what_is_no_name_is_refused(self, app: App, name: str | None) -> None:
        await app.create()
        reply = await self.rename(app, name)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["name"])


async def test_a_credential_of_one_value_knows_no_own_values(app: App) -> None:
    created = await app.send("POST", "/credentials", ALICE, SECRET)
    assert [one["userProvided"] for one in created["attributes"]] == [False]
    assert (await app.send("DELETE", "/credentials/db-password/own-values", ALICE)).status == 204

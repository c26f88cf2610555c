"""Values of attributes through the Control Room face: read in bulk and one by one, set, replaced, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.app import Reply
from tests.api.control_room.app import CARL, MAX, PETE, WARDEN, Office, Room, refusal
from tests.vaults import ALICE, BOB
from vault_core.identities import Caller


def rows(reply: Reply) -> list[Any]:
    assert reply.status == 200, reply.body
    return list(reply["list"])


def of(credential: Any) -> str:
    return f"/credentials/{credential['id']}/attributevalues"


async def put(room: Room, credential: Any, value: Any, caller: Caller = ALICE, **more: Any) -> Reply:
    """Replace the value of the first attribute."""
    path = f"{of(credential)}/{credential['attributes'][0]['id']}"
    return await room.send("PUT", path, caller, {"value": value} | more)


async def version_of(room: Room, credential: Any) -> int:
    """The number of the credential's active version, which each rotation adds to."""
    shown = await room.world.vault.credentials.read(ALICE, credential["id"], room.world.clock())
    return shown.credential.newest.number


class TestSetting:
    async def test_answers_without_the_values(self, room: Room) -> None:
        one = await room.create()
        given = await room.give(one, username="u", password="p")
        assert [(row["value"], row["version"]) for row in given] == [("", "0"), ("", "0")]
        assert [row["credentialAttributeId"] for row in given] == [each["id"] for each in one["attributes"]]

    @pytest.mark.parametrize("name", ["list", "attributeValues", "List", "AttributeValues"])
    async def test_takes_the_values_under_either_name(self, room: Room, name: str) -> None:
        one = await room.create()
        attribute = one["attributes"][0]["id"]
        body = {name: [{"credentialAttributeId": attribute, "value": "u", "userId": "id-bob", "id": None}]}
        assert (await room.send("POST", of(one), ALICE, body)).status == 200
        assert await room.values(one["id"]) == {attribute: "u"}

    async def test_of_several_makes_one_version(self, room: Room) -> None:
        one = await room.create()
        await room.give(one, username="u", password="p")
        assert await version_of(room, one) == 1
        await room.give(one, username="u2", password="p2")
        assert await version_of(room, one) == 2

    async def test_again_replaces_and_counts_what_was_given(self, room: Room) -> None:
        one = await room.create()
        await room.give(one, username="u", password="p")
        [changed] = await room.give(one, username="u2")
        assert changed["version"] == "1"
        listed = rows(await room.send("GET", of(one), ALICE))
        assert [(row["value"], row["version"]) for row in listed] == [("u2", "1"), ("", "0")]

    async def test_to_what_it_is_changes_nothing(self, office: Office) -> None:
        before = await version_of(office.room, office.own)
        [same] = await office.room.give(office.own, username="alice-sap")
        assert same["version"] == "0"
        assert await version_of(office.room, office.own) == before
        events = len(await office.room.world.audit())
        [same] = await office.room.give(office.shared, CARL, pin="pin of carl")
        assert same["version"] == "0"
        assert len(await office.room.world.audit()) == events

    async def test_ends_no_lease_and_leaves_the_version_of_the_credential(self, office: Office) -> None:
        granted = await office.room.world.lease(ALICE, office.own["id"])
        await office.room.give(office.own, username="new")
        read = (await office.room.send("GET", f"/credentials/{office.own['id']}", ALICE)).body
        assert read["version"] == "0"
        lease = await office.room.world.vault.leases.read(ALICE, granted.lease.id, office.room.world.clock())
        assert lease.lease.version == 1

    @pytest.mark.parametrize(
        "values",
        [
            [],
            [{}],
            [{"value": "v"}],
            [{"credentialAttributeId": "{}"}],
            [{"credentialAttributeId": "{}", "value": ""}],
            [{"credentialAttributeId": "{}", "value": None}],
            [{"credentialAttributeId": "{}", "value": True}],
            [{"credentialAttributeId": "{}", "value": ["v"]}],
            [{"credentialAttributeId": "{}", "value": "v"}] * 2,
            [{"credentialAttributeId": "0", "value": "v"}],
            [{"credentialAttributeId": "{}", "value": "v" * 24_001}],
            "text",
            None,
        ],
        ids=lambda given: str(given)[:60],
    )
    @pytest.mark.parametrize("name", ["username", "pin"])
    async def test_needs_one_text_for_each_known_attribute(self, office: Office, values: Any, name: str) -> None:
        attribute = office.attribute(name)
        fitted = [
            {key: text.format(attribute) if text == "{}" else text for key, text in one.items()}
            if isinstance(one, dict)
            else one
            for one in values or []
        ]
        body = {"list": fitted if isinstance(values, list) else values}
        reply = await office.room.send("POST", of(office.shared), ALICE, body)
        assert reply.status == 400
        assert refusal(reply)[1] in ("invalid-input", "value-refused")
        query = f"?credentialAttributeId={attribute}"
        kept = await office.room.values(office.shared["id"], ALICE, query)
        assert kept == ({attribute: "bank-user"} if name == "username" else {})

    async def test_takes_numbers_as_their_text(self, room: Room) -> None:
        one = await room.create()
        user, password = (each["id"] for each in one["attributes"])
        body = {
            "list": [{"credentialAttributeId": user, "value": 4711}, {"credentialAttributeId": password, "value": 0}]
        }
        assert (await room.send("POST", of(one), ALICE, body)).status == 200
        assert await room.values(one["id"]) == {user: "4711", password: ""}

    async def test_keeps_every_character(self, room: Room) -> None:
        one = await room.create(attributes=[{"name": "user"}])
        for text in (" ü\t\n\0\u202e😀 ", "x" * 24_000, '{"a": 1}', "+ /="):
            await room.give(one, user=text)
            assert list((await room.values(one["id"])).values()) == [text]

    async def test_of_all_attributes_holds_25_000_bytes(self, office: Office) -> None:
        reply = await office.room.send(
            "POST",
            of(office.shared),
            ALICE,
            {
                "list": [
                    {"credentialAttributeId": office.attribute(one), "value": "v" * 13_000}
                    for one in ("username", "password")
                ]
            },
        )
        assert refusal(reply) == (400, "value-refused")

    @pytest.mark.parametrize(
        ("who", "may"), [(MAX, True), (WARDEN, True), (CARL, False)], ids=["manager", "admin", "consumer"]
    )
    async def test_of_a_standard_one_is_for_the_leading_people_of_the_locker(
        self, office: Office, who: Caller, may: bool
    ) -> None:
        body = {"list": [{"credentialAttributeId": office.attribute("username"), "value": "other"}]}
        reply = await office.room.send("POST", of(office.shared), who, body)
        assert reply.status == 200 if may else refusal(reply) == (403, "access-denied")

    async def test_is_hidden_from_a_participant_who_owns_other_things(self, office: Office) -> None:
        body = {"list": [{"credentialAttributeId": office.attribute("username"), "value": "other"}]}
        for who in (PETE, BOB):
            assert refusal(await office.room.send("POST", of(office.shared), who, body)) == (404, "not-found")

    async def test_of_a_revoked_credential_is_refused(self, office: Office) -> None:
        await office.room.world.revoke(ALICE, office.own["id"])
        attribute = office.own["attributes"][0]["id"]
        body = {"list": [{"credentialAttributeId": attribute, "value": "new"}]}
        assert refusal(await office.room.send("POST", of(office.own), ALICE, body)) == (409, "credential-revoked")
        assert refusal(await put(office.room, office.own, "new")) == (409, "credential-revoked")
        reply = await office.room.send("DELETE", f"{of(office.own)}/{attribute}", ALICE)
        assert refusal(reply) == (409, "credential-revoked")


class TestReplacing:
    async def test_answers_with_the_value_less_its_text(self, office: Office) -> None:
        changed = await put(office.room, office.own, "new", version="0")
        assert (changed.status, changed["value"], changed["version"]) == (200, "", "1")
        attribute = office.own["attributes"][0]["id"]
        assert (await office.room.values(office.own["id"]))[attribute] == "new"

    async def test_of_a_stale_version_is_refused(self, office: Office) -> None:
        assert (await put(office.room, office.own, "first", version="0")).status == 200
        assert refusal(await put(office.room, office.own, "second", version=0)) == (409, "stale-version")
        assert (await put(office.room, office.own, "second", version=1)).status == 200
        assert (await put(office.room, office.own, "third")).status == 200

    async def test_of_a_stale_own_one_is_refused_too(self, office: Office) -> None:
        path = f"{of(office.shared)}/{office.attribute('pin')}"
        assert (await office.room.send("PUT", path, CARL, {"value": "1", "version": "0"}))["version"] == "1"
        stale = await office.room.send("PUT", path, CARL, {"value": "2", "version": "0"})
        assert refusal(stale) == (409, "stale-version")

    async def test_takes_the_whole_value_back(self, office: Office) -> None:
        [read, _] = rows(await office.room.send("GET", of(office.own), ALICE))
        again = await office.room.send("PUT", f"{of(office.own)}/{read['id']}", ALICE, read | {"value": "new"})
        assert again.body == read | {"value": "", "version": "1"}

    async def test_of_an_unknown_one_is_not_found(self, office: Office) -> None:
        for method in ("PUT", "DELETE"):
            reply = await office.room.send(method, f"{of(office.own)}/{'0' * 16}", ALICE, {"value": "v"})
            assert refusal(reply) == (404, "not-found")


class TestDeleting:
    async def test_leaves_the_others(self, office: Office) -> None:
        user, password = (each["id"] for each in office.own["attributes"])
        assert (await office.room.send("DELETE", f"{of(office.own)}/{user}", ALICE)).status == 204
        assert await office.room.values(office.own["id"], ALICE, f"?credentialAttributeId={password}") == {
            password: "correct horse"
        }
        assert await office.room.values(office.own["id"]) == {password: ""}
        assert (await office.room.send("GET", f"/credentials/{office.own['id']}", ALICE))["completed"] is False
        again = await office.room.send("DELETE", f"{of(office.own)}/{user}", ALICE)
        assert refusal(again) == (404, "not-found")

    async def test_of_the_last_leaves_none_and_a_new_one_begins_anew(self, office: Office) -> None:
        for each in office.own["attributes"]:
            assert (await office.room.send("DELETE", f"{of(office.own)}/{each['id']}", ALICE)).status == 204
        assert await office.room.values(office.own["id"]) == {}
        [given] = await office.room.give(office.own, username="again")
        assert given["version"] == "0"

    async def test_of_a_standard_one_is_for_those_who_may_write_it(self, office: Office) -> None:
        path = f"{of(office.shared)}/{office.attribute('username')}"
        assert refusal(await office.room.send("DELETE", path, CARL)) == (403, "access-denied")
        assert (await office.room.send("DELETE", path, MAX)).status == 204

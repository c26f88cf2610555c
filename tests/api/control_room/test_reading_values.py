"""Values of attributes read through the Control Room face: in bulk, one by one, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.control_room.app import CARL, WARDEN, Office, Room, refusal
from tests.api.control_room.test_attribute_values import of, rows
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, MONA, VIC
from vault_core.audit import Event
from vault_core.identities import Caller


class TestReading:
    async def test_in_bulk_hides_masked_values(self, office: Office) -> None:
        user, password = office.own["attributes"]
        assert await office.room.values(office.own["id"]) == {user["id"]: "alice-sap", password["id"]: ""}

    async def test_one_by_its_attribute_shows_it_though_it_is_masked(self, office: Office) -> None:
        password = office.own["attributes"][1]["id"]
        query = f"?credentialAttributeId={password}"
        assert await office.room.values(office.own["id"], ALICE, query) == {password: "correct horse"}

    async def test_tells_all_of_a_value(self, office: Office) -> None:
        [one] = rows(await office.room.send("GET", f"{of(office.shared)}?userId=id-carl", CARL))[2:]
        assert one == {
            "id": office.attribute("pin"),
            "credentialAttributeId": office.attribute("pin"),
            "value": "pin of carl",
            "userId": "id-carl",
            "password": False,
            "createdBy": "id-carl",
            "createdOn": "2026-11-21T12:00:00.000Z",
            "updatedBy": "id-carl",
            "updatedOn": "2026-11-21T12:00:00.000Z",
            "version": "0",
        }

    async def test_tells_which_are_passwords_and_whose_the_standard_ones_are_not(self, office: Office) -> None:
        listed = rows(await office.room.send("GET", of(office.shared), CARL))
        assert [one["password"] for one in listed] == [False, True, False]
        assert ["userId" in one for one in listed] == [False, False, True]

    @pytest.mark.parametrize("user", ["id-carl", "id-cora", "me"])
    async def test_of_another_user_hides_own_values_but_no_standard_ones(self, office: Office, user: str) -> None:
        listed = rows(await office.room.send("GET", f"{of(office.shared)}?userId={user}", CARL))
        standard = [office.attribute("username"), office.attribute("password")]
        own = [office.attribute("pin")] if user == "id-carl" else []
        assert [one["id"] for one in listed] == [*standard, *own]

    async def test_of_another_user_by_attribute_finds_nothing(self, office: Office) -> None:
        query = f"credentialAttributeId={office.attribute('pin')}"
        assert rows(await office.room.send("GET", f"{of(office.shared)}?{query}&userId=id-cora", CARL)) == []
        [own] = rows(await office.room.send("GET", f"{of(office.shared)}?{query}&userId=id-carl", CARL))
        assert own["value"] == "pin of carl"

    async def test_of_an_attribute_without_a_value_finds_nothing(self, room: Room) -> None:
        one = await room.create()
        query = f"?credentialAttributeId={one['attributes'][0]['id']}"
        assert await room.values(one["id"], ALICE, query) == {}

    async def test_of_an_unknown_attribute_is_refused(self, office: Office) -> None:
        for attribute in (office.attribute("pin"), "0", "x" * 257):
            reply = await office.room.send("GET", f"{of(office.own)}?credentialAttributeId={attribute}", ALICE)
            assert refusal(reply) == (400, "invalid-input")

    async def test_is_recorded_by_the_names_of_what_was_shown(self, office: Office) -> None:
        await office.room.values(office.shared["id"], CARL)
        event, *_ = await office.room.world.audit()
        assert (event.event, event.identity.id) == (Event.VALUE_READ, "id-carl")
        assert event.details["attributes"] == ["username", "pin"]

    @pytest.mark.parametrize("who", [MONA, ADA, VIC, WARDEN], ids=["manager", "admin", "viewer", "locker admin"])
    async def test_is_for_those_who_may_lease(self, office: Office, who: Caller) -> None:
        reply = await office.room.send("GET", of(office.shared), who)
        assert refusal(reply) == ((404, "not-found") if who is VIC else (403, "access-denied"))

    async def test_is_for_those_whom_the_policy_allows(self, room: Room) -> None:
        one = await room.world.create_for_agents()
        assert await room.values(one.id, DEPLOY_AGENT, "?credentialAttributeId=value") == {"value": "correct horse"}
        assert refusal(await room.send("GET", f"/credentials/{one.id}/attributevalues", BOB)) == (404, "not-found")

    @pytest.mark.parametrize(
        ("state", "code"),
        [
            ("revoked", "credential-revoked"),
            ("suspended", "credential-not-usable"),
            ("counted", "credential-not-usable"),
            ("expired", "credential-expired"),
            ("early", "credential-not-usable"),
        ],
    )
    async def test_needs_a_credential_that_can_be_used_and_is_not_counted(
        self, room: Room, state: str, code: str
    ) -> None:
        world, now = room.world, room.world.clock()
        limits: dict[str, dict[str, Any]] = {
            "counted": {"policy": {"maxLeases": 1}},
            "expired": {"validUntil": "2026-11-21T12:00:01Z"},
            "early": {"validFrom": "2026-12-01T00:00:00Z"},
        }
        one = await world.create(**limits.get(state, {}))
        if state == "revoked":
            await world.revoke()
        elif state == "suspended":
            await world.vault.credentials.suspend(ALICE, one.id, None, None, now)
        elif state == "expired":
            world.clock.pass_by(minutes=1)
        for query in ("", "?credentialAttributeId=value"):
            reply = await room.send("GET", f"/credentials/{one.id}/attributevalues{query}", ALICE)
            assert refusal(reply) == (409, code)
        assert Event.VALUE_READ not in [event.event for event in await world.audit()]

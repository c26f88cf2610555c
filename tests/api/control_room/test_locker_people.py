"""Who belongs to a locker of the Control Room face: roles that consume, and members with permissions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.control_room.app import CARL, MAX, PETE, WARDEN, Office, refusal
from tests.api.control_room.test_lockers import DENIED, HIDDEN, drop, locker_of, make
from tests.vaults import ALICE, BOB, person
from vault_core.identities import Role


async def members_of(office: Office) -> dict[str, list[str]]:
    reply = await office.room.send("GET", f"/lockers/{office.locker}/members", ALICE)
    return {row["id"]: row["permissions"] for row in reply["list"]}


class TestItsConsumers:
    @pytest.mark.parametrize(
        "body",
        [{"id": "auditors"}, {"roleId": "auditors"}, [{"id": "auditors"}], {"RoleId": "auditors", "name": "x"}],
        ids=str,
    )
    async def test_are_roles_given_in_any_form(self, office: Office, body: Any) -> None:
        path = f"/lockers/{office.locker}/consumers"
        added = await office.room.send("POST", path, ALICE, body)
        assert added.status == 201
        expected = [{"id": name, "name": name} for name in ("finance-bots", "auditors")]
        assert added["list"] == (await office.room.send("GET", path, ALICE))["list"] == expected

    @pytest.mark.parametrize(
        "body", [b"", {}, [{}], {"name": "x"}, {"id": ""}, {"id": "a\nb"}, {"id": "x" * 129}, [[]]], ids=str
    )
    async def test_need_a_name_that_a_role_can_have(self, office: Office, body: Any) -> None:
        reply = await office.room.send("POST", f"/lockers/{office.locker}/consumers", ALICE, body)
        assert refusal(reply) == (400, "invalid-input")

    async def test_are_the_bearers_of_the_role_not_a_user_of_that_name(self, office: Office) -> None:
        twin = replace(person("x", Role.USER), aliases=frozenset({"finance-bots"}))
        assert refusal(await office.room.send("GET", f"/lockers/{office.locker}", twin)) == HIDDEN

    async def test_lose_everything_with_their_role(self, office: Office) -> None:
        path = f"/lockers/{office.locker}"
        assert (await office.room.send("DELETE", f"{path}/consumers/finance-bots", MAX)).status == 204
        assert (await office.room.send("DELETE", f"{path}/consumers/finance-bots", MAX)).status == 204
        for lost in (
            path,
            f"/credentials/{office.shared['id']}",
            f"/credentials/{office.shared['id']}/attributevalues",
        ):
            assert refusal(await office.room.send("GET", lost, CARL)) == HIDDEN
        assert (await office.room.send("POST", "/credentials/list?consumed=true", CARL))["list"] == []

    async def test_are_chosen_by_those_who_lead(self, office: Office) -> None:
        path = f"/lockers/{office.locker}/consumers"
        for who in (CARL, PETE):
            assert refusal(await office.room.send("POST", path, who, {"id": "mine"})) == DENIED
            assert refusal(await office.room.send("DELETE", f"{path}/finance-bots", who)) == DENIED
        for who in (MAX, WARDEN):
            assert (await office.room.send("POST", path, who, {"id": "mine"})).status == 201


class TestItsMembers:
    async def test_have_permissions_that_replace_those_before(self, office: Office) -> None:
        made = await make(office, "id-bob", "Own", "MANAGE", "participate")
        assert made.body == {"id": "id-bob", "permissions": ["own", "manage", "participate"]}
        assert (await make(office, "id-bob", "participate"))["permissions"] == ["participate"]
        assert await members_of(office) == {
            "id-alice": ["own"],
            "id-pete": ["participate"],
            "id-max": ["manage"],
            "id-bob": ["participate"],
        }

    @pytest.mark.parametrize("permissions", [[], ["rule"], [1], "own", None, ["own"] * 4], ids=str)
    async def test_need_permissions_that_there_are(self, office: Office, permissions: Any) -> None:
        path = f"/lockers/{office.locker}/members/id-bob"
        reply = await office.room.send("PUT", path, ALICE, {"permissions": permissions})
        assert refusal(reply) == (400, "invalid-input")

    async def test_always_hold_an_owner(self, office: Office) -> None:
        assert refusal(await drop(office, "id-alice")) == (409, "last-owner")
        assert refusal(await make(office, "id-alice", "manage")) == (409, "last-owner")
        assert refusal(await drop(office, "id-alice", WARDEN)) == (409, "last-owner")
        await make(office, "id-bob", "own")
        assert (await drop(office, "id-alice")).status == 204
        assert refusal(await drop(office, "id-bob", BOB)) == (409, "last-owner")

    async def test_may_be_removed_repeatedly(self, office: Office) -> None:
        for _ in range(2):
            assert (await drop(office, "id-pete")).status == 204
        assert refusal(await office.room.send("GET", f"/lockers/{office.locker}", PETE)) == HIDDEN

    async def test_that_lead_are_appointed_by_owners_and_others_by_managers_too(self, office: Office) -> None:
        for permission in ("own", "manage"):
            assert refusal(await make(office, "id-bob", permission, by=MAX)) == DENIED
        assert refusal(await make(office, "id-max", "own", by=MAX)) == DENIED
        for leader in ("id-alice", "id-max"):
            assert refusal(await make(office, leader, "participate", by=MAX)) == DENIED
            assert refusal(await drop(office, leader, MAX)) == DENIED
        assert (await make(office, "id-bob", "participate", by=MAX)).status == 200
        assert (await drop(office, "id-bob", MAX)).status == 204
        assert (await make(office, "id-bob", "own", by=WARDEN)).status == 200
        for who in (CARL, PETE):
            assert refusal(await make(office, "id-bob", "participate", by=who)) == DENIED

    async def test_are_known_by_every_id_of_their_token(self, office: Office) -> None:
        bob = replace(BOB, aliases=frozenset({"id-bob", "bob-sub"}))
        await make(office, "bob-sub", "manage")
        assert (await locker_of(office, bob))["lockerPermission"]["isManager"] is True

"""Lockers of the Control Room face: themselves, their credentials, members and consumers, and who may do what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.app import Reply
from tests.api.control_room.app import CARL, MAX, PETE, WARDEN, Office, Room, refusal
from tests.vaults import ADA, ALICE, BOB, MONA
from vault_core.identities import Caller

DENIED = (403, "access-denied")
HIDDEN = (404, "not-found")


async def locker_of(office: Office, caller: Caller = ALICE) -> Any:
    reply = await office.room.send("GET", f"/lockers/{office.locker}", caller)
    assert reply.status == 200, reply.body
    return reply.body


async def make(office: Office, member: str, *permissions: str, by: Caller = ALICE) -> Reply:
    body = {"permissions": list(permissions)}
    return await office.room.send("PUT", f"/lockers/{office.locker}/members/{member}", by, body)


async def drop(office: Office, member: str, by: Caller = ALICE) -> Reply:
    return await office.room.send("DELETE", f"/lockers/{office.locker}/members/{member}", by)


class TestANewOne:
    async def test_is_shown_as_it_was_asked_for_and_owned_by_its_creator(self, room: Room) -> None:
        reply = await room.send("POST", "/lockers", ALICE, {"name": "Finance", "description": "of the firm"})
        assert reply.status == 201
        assert (
            reply.body.items()
            >= {
                "name": "Finance",
                "description": "of the firm",
                "members": [{"id": "id-alice", "permissions": ["own"]}],
                "countOfCredentials": 0,
                "lockerPermission": {"isConsumer": False, "isOwner": True, "isManager": False, "isParticipant": False},
                "version": "0",
            }.items()
        )
        assert (await room.send("GET", f"/lockers/{reply['id']}", ALICE)).body == reply.body

    @pytest.mark.parametrize(
        "name", ["", "x" * 51, "a/b", "oauth_x", "OAuth_x", "\uff4fauth_x", "a\nb", None, 5], ids=repr
    )
    async def test_needs_a_name_that_is_plain_and_not_reserved(self, room: Room, name: object) -> None:
        assert refusal(await room.send("POST", "/lockers", ALICE, {"name": name})) == (400, "invalid-input")
        one = await room.create_locker()
        changed = await room.send("PUT", f"/lockers/{one['id']}", ALICE, {"name": name})
        assert refusal(changed) == (400, "invalid-input")

    @pytest.mark.parametrize("name", ["x" * 50, "my oauth_ things", "oauth"])
    async def test_may_have_any_other_name(self, room: Room, name: str) -> None:
        assert (await room.create_locker(name=name))["name"] == name

    async def test_needs_a_name_that_no_other_has_regardless_of_case(self, room: Room) -> None:
        one = await room.create_locker()
        for who in (ALICE, BOB):
            assert refusal(await room.send("POST", "/lockers", who, {"name": "fINANCE"})) == (409, "name-taken")
        other = await room.create_locker(BOB, "Shop")
        taken = await room.send("PUT", f"/lockers/{other['id']}", BOB, {"name": "FINANCE"})
        assert refusal(taken) == (409, "name-taken")
        assert (await room.send("PUT", f"/lockers/{one['id']}", ALICE, {"name": "FINANCE"}))["name"] == "FINANCE"

    async def test_has_up_to_255_characters_of_description(self, room: Room) -> None:
        for length, status in ((255, 201), (256, 400)):
            body = {"name": f"L{length}", "description": "x" * length}
            assert (await room.send("POST", "/lockers", ALICE, body)).status == status


class TestItsVersion:
    async def test_counts_changes_of_name_and_description_alone(self, office: Office) -> None:
        before = await locker_of(office)
        await make(office, "id-bob", "manage")
        await drop(office, "id-pete")
        await office.room.send("POST", f"/lockers/{office.locker}/consumers", ALICE, {"id": "auditors"})
        await office.room.send("DELETE", f"/lockers/{office.locker}/consumers/finance-bots", ALICE)
        await office.room.put_in(office.locker, office.own["id"])
        await office.room.send("DELETE", f"/lockers/{office.locker}/credentials/{office.shared['id']}", ALICE)
        after = await locker_of(office)
        assert (after["version"], after["updatedOn"]) == (before["version"], before["updatedOn"])
        again = await office.room.send("PUT", f"/lockers/{office.locker}", ALICE, before | {"description": "new"})
        assert again["version"] == "1"
        assert again["members"] == after["members"]

    async def test_that_is_stale_is_refused(self, office: Office) -> None:
        before = await locker_of(office)
        path = f"/lockers/{office.locker}"
        assert (await office.room.send("PUT", path, ALICE, before | {"name": "First"})).status == 200
        stale = await office.room.send("PUT", path, MAX, before | {"name": "Second"})
        assert refusal(stale) == (409, "stale-version")
        assert (await locker_of(office))["name"] == "First"


class TestItsDeletion:
    async def test_frees_its_credentials_and_its_name(self, office: Office) -> None:
        assert (await office.room.send("DELETE", f"/lockers/{office.locker}", MAX)).status == 204
        assert refusal(await office.room.send("GET", f"/lockers/{office.locker}", ALICE)) == HIDDEN
        path = f"/credentials/{office.shared['id']}"
        read = await office.room.send("GET", path, ALICE)
        assert "lockerId" not in read.body
        assert refusal(await office.room.send("GET", path, CARL)) == HIDDEN
        assert (await office.room.create_locker(BOB))["name"] == "Finance"
        assert (await office.room.send("DELETE", path, ALICE)).status == 204


class TestItsList:
    async def test_shows_the_lockers_of_the_caller_as_asked(self, office: Office) -> None:
        await office.room.create_locker(BOB, "Shop")
        wanted = {"sort": [{"field": "name", "direction": "desc"}], "page": {"offset": 0, "length": 1}}
        seen = {ALICE: ["Finance"], CARL: ["Finance"], PETE: ["Finance"], BOB: ["Shop"], WARDEN: ["Shop"]}
        for who, names in seen.items():
            reply = await office.room.send("POST", "/lockers/list", who, wanted)
            assert [row["name"] for row in reply["list"]] == names
            total = 2 if who is WARDEN else 1
            assert reply["page"] == {"offset": 0, "total": total, "totalFilter": total}
        for nobody in (MONA, ADA):
            assert (await office.room.send("POST", "/lockers/list", nobody))["list"] == []

    async def test_finds_a_name_regardless_of_case(self, office: Office) -> None:
        body = {"filter": {"operator": "eq", "field": "name", "value": "fINANCE"}}
        [row] = (await office.room.send("POST", "/lockers/list", ALICE, body))["list"]
        assert row == await locker_of(office)

    async def test_has_no_field_of_credentials(self, room: Room) -> None:
        for field in ("ownerId", "lockerId"):
            body = {"filter": {"operator": "eq", "field": field, "value": "x"}}
            assert refusal(await room.send("POST", "/lockers/list", ALICE, body)) == (400, "invalid-input")

    @pytest.mark.parametrize(
        ("who", "part"),
        [(ALICE, "isOwner"), (MAX, "isManager"), (PETE, "isParticipant"), (CARL, "isConsumer"), (WARDEN, "")],
    )
    async def test_tells_what_the_caller_is_there(self, office: Office, who: Caller, part: str) -> None:
        told = (await locker_of(office, who))["lockerPermission"]
        assert [name for name, held in told.items() if held] == ([part] if part else [])


class TestItsCredentials:
    async def test_are_counted_and_tell_where_they_are(self, office: Office) -> None:
        assert (await locker_of(office))["countOfCredentials"] == 1
        read = await office.room.send("GET", f"/credentials/{office.shared['id']}", CARL)
        assert read["lockerId"] == office.locker
        await office.room.send("DELETE", f"/lockers/{office.locker}/credentials/{office.shared['id']}", ALICE)
        assert (await locker_of(office))["countOfCredentials"] == 0

    async def test_are_listed_whole_or_only_the_own_for_a_participant(self, office: Office) -> None:
        mine = await office.room.create(PETE, name="Pete own")
        await office.room.put_in(office.locker, mine["id"], PETE)
        everything = {office.shared["id"], mine["id"]}
        seen = {ALICE: everything, MAX: everything, CARL: everything, WARDEN: everything, PETE: {mine["id"]}}
        for who, ids in seen.items():
            reply = await office.room.send("GET", f"/lockers/{office.locker}/credentials", who)
            assert {row["id"] for row in reply["list"]} == ids
            reads = [await office.room.send("GET", f"/credentials/{one}", who) for one in everything]
            assert sum(reply.status == 200 for reply in reads) == len(ids)

    async def test_may_be_put_in_and_taken_out_repeatedly(self, office: Office) -> None:
        path = f"/lockers/{office.locker}/credentials/{office.own['id']}"
        for _ in range(2):
            assert (await office.room.send("PUT", path, ALICE)).status == 200
        assert (await locker_of(office))["countOfCredentials"] == 2
        for _ in range(2):
            assert (await office.room.send("DELETE", path, ALICE)).status == 204
        assert (await locker_of(office))["countOfCredentials"] == 1

    async def test_are_in_one_locker_at_a_time(self, office: Office) -> None:
        other = (await office.room.create_locker(ALICE, "Other"))["id"]
        reply = await office.room.send("PUT", f"/lockers/{other}/credentials/{office.shared['id']}", ALICE)
        assert refusal(reply) == (409, "credential-in-locker")

    async def test_are_not_taken_out_through_another_locker(self, office: Office) -> None:
        other = (await office.room.create_locker(ALICE, "Other"))["id"]
        await office.room.send("DELETE", f"/lockers/{other}/credentials/{office.shared['id']}", ALICE)
        assert (await office.room.send("GET", f"/credentials/{office.shared['id']}", ALICE))[
            "lockerId"
        ] == office.locker

    @pytest.mark.parametrize("who", [MAX, PETE, ALICE], ids=["manager", "participant", "owner"])
    async def test_are_put_in_by_their_owner_with_a_part_there(self, office: Office, who: Caller) -> None:
        one = await office.room.create(who, name="One of mine")
        await office.room.put_in(office.locker, one["id"], who)

    async def test_are_put_in_by_nobody_else_but_a_locker_admin(self, office: Office) -> None:
        of_carl = await office.room.create(CARL, name="Carl own")
        path = f"/lockers/{office.locker}/credentials"
        assert refusal(await office.room.send("PUT", f"{path}/{of_carl['id']}", CARL)) == DENIED
        for who in (ALICE, MAX, PETE):
            assert refusal(await office.room.send("PUT", f"{path}/{of_carl['id']}", who)) == HIDDEN
        assert refusal(await office.room.send("PUT", f"{path}/{of_carl['id']}", MONA)) == HIDDEN
        assert (await office.room.send("PUT", f"{path}/{of_carl['id']}", WARDEN)).status == 200

    async def test_are_taken_out_by_those_who_lead_or_own_them(self, office: Office) -> None:
        path = f"/lockers/{office.locker}/credentials"
        assert refusal(await office.room.send("DELETE", f"{path}/{office.shared['id']}", CARL)) == DENIED
        assert refusal(await office.room.send("DELETE", f"{path}/{office.shared['id']}", PETE)) == HIDDEN
        mine = await office.room.create(PETE, name="Pete own")
        for taker in (PETE, MAX, ALICE, WARDEN):
            await office.room.put_in(office.locker, mine["id"], PETE)
            assert (await office.room.send("DELETE", f"{path}/{mine['id']}", taker)).status == 204


@pytest.mark.parametrize(
    ("who", "told"),
    [(MAX, None), (WARDEN, None), (CARL, DENIED), (PETE, DENIED), (BOB, HIDDEN), (MONA, HIDDEN), (ADA, HIDDEN)],
)
async def test_it_is_edited_and_deleted_by_those_who_lead(office: Office, who: Caller, told: Any) -> None:
    path = f"/lockers/{office.locker}"
    for reply in (
        await office.room.send("PUT", path, who, {"name": "New"}),
        await office.room.send("DELETE", path, who),
    ):
        assert reply.status in (200, 204) if told is None else refusal(reply) == told

"""Credentials of the Control Room face: created, shown, listed, changed, handed over, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.control_room.app import CARL, MAX, WARDEN, Office, Room, refusal
from tests.vaults import ALICE, BOB, VIC, World

ATTRIBUTE = {"name": "user"}


async def put(room: Room, before: Any, caller: Any = ALICE, **changed: Any) -> Any:
    """Send the whole credential back, changed as told."""
    return await room.send("PUT", f"/credentials/{before['id']}", caller, before | changed)


async def names(room: Room, caller: Any, query: str = "", **request: Any) -> list[str]:
    reply = await room.send("POST", f"/credentials/list{query}", caller, request)
    assert reply.status == 200, reply.body
    return [row["name"] for row in reply["list"]]


class TestANewOne:
    async def test_is_shown_as_it_was_asked_for(self, room: Room) -> None:
        wanted = {"name": "pin", "description": "four digits", "userProvided": True, "masked": True}
        created = await room.create(description="of the bank", attributes=[ATTRIBUTE, wanted])
        assert "lockerId" not in created
        assert (created["name"], created["description"], created["ownerId"]) == ("SAP login", "of the bank", "id-alice")
        assert created["permissions"] == {"canTransferOwnership": True}
        assert created["completed"] is False
        first, second = created["attributes"]
        assert second.items() >= (wanted | {"passwordFlag": False}).items()
        assert first.items() >= {"name": "user", "description": "", "userProvided": False, "masked": False}.items()
        read = (await room.send("GET", f"/credentials/{created['id']}", ALICE)).body
        assert read == created

    async def test_takes_no_value_with_it(self, room: Room) -> None:
        created = await room.create(attributes=[ATTRIBUTE | {"value": "tr0ub4dor"}])
        assert await room.values(created["id"]) == {}

    @pytest.mark.parametrize(
        "name",
        ["", "x" * 51, "a/b", "a'b", "a#b", "a?b", "a\\b", "a@b", "a\tb", "<b>", "a\u200bb", None, 5, ["x"]],
        ids=repr,
    )
    async def test_needs_a_name_of_up_to_50_plain_characters(self, room: Room, name: object) -> None:
        body = {"name": name, "attributes": [ATTRIBUTE]}
        assert refusal(await room.send("POST", "/credentials", ALICE, body)) == (400, "invalid-input")
        body = {"name": "Mail", "attributes": [{"name": name}]}
        assert refusal(await room.send("POST", "/credentials", ALICE, body)) == (400, "invalid-input")

    @pytest.mark.parametrize("name", ["x", "x" * 50, "Aß_9 -.é", "日本"])
    async def test_echoes_its_names_as_given(self, room: Room, name: str) -> None:
        created = await room.create(name=name, attributes=[{"name": name}])
        assert (created["name"], created["attributes"][0]["name"]) == (name, name)

    @pytest.mark.parametrize("twin", ["Mail", "MAIL", "mAiL", "\uff2dail"])
    async def test_needs_a_name_that_nothing_has_regardless_of_case(self, room: Room, twin: str) -> None:
        await room.create(name="Mail")
        for who in (ALICE, BOB):
            body = {"name": twin, "attributes": [ATTRIBUTE]}
            assert refusal(await room.send("POST", "/credentials", who, body)) == (409, "name-taken")

    @pytest.mark.parametrize(
        "attributes",
        [
            [],
            None,
            [ATTRIBUTE, {"name": "USER"}],
            [{"name": f"a{n}"} for n in range(51)],
            [ATTRIBUTE | {"description": "x" * 256}],
            "user",
        ],
        ids=["none", "null", "the same name", "51", "a long description", "text"],
    )
    async def test_needs_1_to_50_distinct_attributes(self, room: Room, attributes: Any) -> None:
        body = {"name": "Mail", "attributes": attributes}
        assert refusal(await room.send("POST", "/credentials", ALICE, body)) == (400, "invalid-input")

    async def test_takes_no_ids_of_attributes_from_its_creator(self, room: Room) -> None:
        created = await room.create(attributes=[{"id": "1", "name": "user"}])
        assert created["attributes"][0]["id"] != "1"

    async def test_may_have_50_attributes_and_255_characters_of_description(self, room: Room) -> None:
        created = await room.create(description="x" * 255, attributes=[{"name": f"a{n}"} for n in range(50)])
        assert [one["name"] for one in created["attributes"]] == [f"a{n}" for n in range(50)]
        body = {"name": "Mail", "description": "x" * 256, "attributes": [ATTRIBUTE]}
        assert refusal(await room.send("POST", "/credentials", ALICE, body)) == (400, "invalid-input")


class TestCompleted:
    async def test_means_that_every_attribute_has_its_value(self, room: Room) -> None:
        one = await room.create()
        await room.give(one, username="u")
        assert (await room.send("GET", f"/credentials/{one['id']}", ALICE))["completed"] is False
        await room.give(one, password="p")
        assert (await room.send("GET", f"/credentials/{one['id']}", ALICE))["completed"] is True

    async def test_is_judged_for_each_consumer_by_its_own_values(self, office: Office) -> None:
        path = f"/credentials/{office.shared['id']}"
        for who, completed in ((CARL, True), (ALICE, False)):
            assert (await office.room.send("GET", path, who))["completed"] is completed
            inside = (await office.room.send("GET", f"/lockers/{office.locker}/credentials", who))["list"]
            listed = (await office.room.send("POST", "/credentials/list", who, {"filter": None}))["list"]
            found = (await office.room.send("GET", "/credentials?name=BANK", who))["list"]
            rows = [row for row in (*inside, *listed, *found) if row["id"] == office.shared["id"]]
            assert [row["completed"] for row in rows] == [completed] * 3


class TestAChange:
    async def test_keeps_changes_adds_and_removes_attributes_with_their_values(self, room: Room) -> None:
        before = await room.create(attributes=[{"name": name} for name in ("kept", "changed", "removed")])
        await room.give(before, kept="1", changed="2", removed="3")
        kept, altered, removed = before["attributes"]
        wanted = [{"name": "new"}, altered | {"name": "altered", "masked": True}, kept]
        after = (await put(room, before, attributes=wanted)).body
        assert [one["name"] for one in after["attributes"]] == ["new", "altered", "kept"]
        assert after["attributes"][2] == kept
        assert after["attributes"][1]["id"] == altered["id"]
        assert await room.values(before["id"]) == {altered["id"]: "", kept["id"]: "1"}
        assert await room.values(before["id"], ALICE, f"?credentialAttributeId={altered['id']}") == {altered["id"]: "2"}
        gone = await room.send(
            "GET", f"/credentials/{before['id']}/attributevalues?credentialAttributeId={removed['id']}", ALICE
        )
        assert gone.status == 400
        again = (await put(room, after, attributes=[*after["attributes"], {"name": "removed"}])).body
        assert removed["id"] not in [one["id"] for one in again["attributes"]]
        assert await room.values(before["id"]) == {altered["id"]: "", kept["id"]: "1"}

    async def test_with_all_attributes_new_leaves_no_value(self, room: Room) -> None:
        before = await room.create()
        await room.give(before, username="u", password="p")
        after = await put(room, before, attributes=[{"name": "login"}])
        assert after["completed"] is False
        assert await room.values(before["id"]) == {}

    async def test_keeps_the_value_of_an_attribute_that_is_sent_by_its_name_alone(self, room: Room) -> None:
        before = await room.create()
        await room.give(before, username="u", password="p")
        after = await put(room, before, attributes=[{"name": "USERNAME"}, {"name": "password", "masked": True}])
        assert [one["id"] for one in after["attributes"]] == [one["id"] for one in before["attributes"]]
        assert after["completed"] is True

    async def test_without_a_description_keeps_it(self, room: Room) -> None:
        before = await room.create(description="of the portal")
        reply = await room.send("PUT", f"/credentials/{before['id']}", ALICE, {"name": "Another"})
        assert (reply["name"], reply["description"]) == ("Another", "of the portal")

    async def test_leaves_id_owner_and_locker_as_they_are(self, office: Office) -> None:
        changed = await put(office.room, office.own, ownerId="id-bob", lockerId=office.locker, createdBy="id-bob")
        assert changed.status == 200
        assert changed["ownerId"] == changed["createdBy"] == "id-alice"
        assert "lockerId" not in changed.body

    async def test_of_a_stale_version_is_refused(self, room: Room) -> None:
        before = await room.create()
        assert (await put(room, before, description="first")).status == 200
        assert refusal(await put(room, before, description="second")) == (409, "stale-version")
        assert (await room.send("GET", f"/credentials/{before['id']}", ALICE))["description"] == "first"

    async def test_is_refused_in_a_locker(self, office: Office) -> None:
        assert refusal(await put(office.room, office.shared)) == (409, "credential-in-locker")
        path = f"/credentials/{office.shared['id']}"
        assert refusal(await office.room.send("DELETE", path, ALICE)) == (409, "credential-in-locker")
        await office.room.send("DELETE", f"/lockers/{office.locker}{path}", ALICE)
        assert (await put(office.room, office.shared)).status == 200
        assert (await office.room.send("DELETE", path, ALICE)).status == 204

    async def test_to_a_name_that_is_taken_is_refused_but_not_to_another_case_of_its_own(self, office: Office) -> None:
        assert refusal(await put(office.room, office.own, name="BANK")) == (409, "name-taken")
        assert (await put(office.room, office.own, name="sap LOGIN"))["name"] == "sap LOGIN"

    @pytest.mark.parametrize("change", [{"name": ""}, {"attributes": []}, {"attributes": [{"id": "x", "name": "y"}]}])
    async def test_that_breaks_a_rule_is_refused(self, room: Room, change: Any) -> None:
        assert refusal(await put(room, await room.create(), **change)) == (400, "invalid-input")

    async def test_frees_the_former_name(self, room: Room) -> None:
        await put(room, await room.create(), name="SAP prod")
        assert (await room.create(BOB))["name"] == "SAP login"

    async def test_is_the_owners_alone(self, office: Office) -> None:
        for who in (CARL, MAX, WARDEN):
            assert refusal(await put(office.room, office.shared, who)) == (403, "access-denied")
            path = f"/credentials/{office.shared['id']}"
            assert refusal(await office.room.send("DELETE", path, who)) == (403, "access-denied")


class TestOwnership:
    async def test_passes_to_a_user_without_a_body(self, office: Office) -> None:
        path = f"/credentials/{office.own['id']}"
        moved = await office.room.send("PUT", f"{path}/owner/id-bob", ALICE)
        assert (moved["ownerId"], moved["permissions"]) == ("id-bob", {"canTransferOwnership": False})
        assert refusal(await office.room.send("GET", path, ALICE)) == (404, "not-found")
        assert (await office.room.send("GET", path, BOB))["permissions"] == {"canTransferOwnership": True}

    async def test_in_a_locker_passes_to_a_member_only(self, office: Office) -> None:
        path = f"/credentials/{office.shared['id']}/owner"
        assert refusal(await office.room.send("PUT", f"{path}/id-bob", ALICE)) == (409, "not-a-member")
        assert refusal(await office.room.send("PUT", f"{path}/id-carl", ALICE)) == (409, "not-a-member")
        assert (await office.room.send("PUT", f"{path}/id-pete", ALICE))["ownerId"] == "id-pete"

    async def test_is_passed_by_owner_locker_owner_or_locker_admin(self, office: Office) -> None:
        shared, own = (f"/credentials/{one['id']}" for one in (office.shared, office.own))
        for who in (CARL, MAX):
            assert refusal(await office.room.send("PUT", f"{shared}/owner/id-max", who)) == (403, "access-denied")
        assert (await office.room.send("PUT", f"{shared}/owner/id-pete", WARDEN)).status == 200
        assert (await office.room.send("PUT", f"{own}/owner/id-bob", WARDEN)).status == 200
        back = await office.room.send("PUT", f"{shared}/owner/id-max", ALICE)
        assert (back.status, back["ownerId"]) == (200, "id-max")

    @pytest.mark.parametrize(
        ("who", "may"),
        [(ALICE, True), (WARDEN, True), (MAX, False), (CARL, False)],
        ids=["owner", "admin", "manager", "consumer"],
    )
    async def test_tells_who_may_pass_it_on(self, office: Office, who: Any, may: bool) -> None:
        reads = [(await office.room.send("GET", f"/credentials/{office.shared['id']}", who)).body]
        for path in ("/credentials?name=Bank", f"/lockers/{office.locker}/credentials"):
            reads += (await office.room.send("GET", path, who))["list"]
        listed = (await office.room.send("POST", "/credentials/list", who))["list"]
        reads += [row for row in listed if row["name"] == "Bank"]
        assert [one["permissions"]["canTransferOwnership"] for one in reads] == [may] * 4

    async def test_may_be_passed_on_by_a_locker_owner_as_is_told(self, office: Office) -> None:
        path = f"/credentials/{office.shared['id']}"
        moved = await office.room.send("PUT", f"{path}/owner/id-pete", ALICE)  # Alice still owns the locker
        reads = [moved.body, (await office.room.send("GET", path, ALICE)).body]
        reads += (await office.room.send("GET", "/credentials?name=Bank", ALICE))["list"]
        assert [one["permissions"]["canTransferOwnership"] for one in reads] == [True] * 3

    @pytest.mark.parametrize("user", ["system:timer", "a%20b", "%27", "x" * 129, "%C3%A9", "-"])
    async def test_passes_to_nobody_that_can_be_no_user(self, office: Office, user: str) -> None:
        path = f"/credentials/{office.own['id']}/owner/{user}"
        assert refusal(await office.room.send("PUT", path, ALICE)) == (400, "invalid-input")


class TestADeletedOne:
    async def test_is_gone_with_its_values_and_its_name(self, office: Office) -> None:
        path = f"/credentials/{office.own['id']}"
        assert (await office.room.send("DELETE", path, ALICE)).status == 204
        for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/attributevalues")):
            assert refusal(await office.room.send(method, path + rest, ALICE)) == (404, "not-found")
        assert await names(office.room, ALICE) == ["Bank"]
        assert (await office.room.create(BOB))["name"] == "SAP login"


async def test_a_viewer_sees_what_it_owns_nothing_else(room: Room) -> None:
    world: World = room.world
    await world.create()
    assert await names(room, VIC) == []

"""The conventions of the Control Room face, met through its operations: tokens, ids, times, bodies, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.api.control_room.app import CARL, Office, Room, refusal
from tests.vaults import ALICE, BOB, VIC

INSTANT = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z")
AUDIT_FIELDS = {"createdBy", "createdOn", "updatedBy", "updatedOn", "version"}
NEW = {"name": "Mail", "attributes": [{"name": "user"}]}


def members(answer: Any) -> Iterator[tuple[str, Any]]:
    """Yield every member of every object in the answer."""
    if isinstance(answer, list):
        for item in answer:
            yield from members(item)
    elif isinstance(answer, dict):
        for name, part in answer.items():
            yield name, part
            yield from members(part)


async def everything(office: Office) -> list[Any]:
    """What can be read of the office: credentials, values, lockers, their members and consumers."""
    room, one = office.room, f"/credentials/{office.shared['id']}"
    reads = [one, f"{one}/attributevalues", "/credentials?name=bank"]
    reads += [f"/lockers/{office.locker}{part}" for part in ("", "/credentials", "/members", "/consumers")]
    answers = [(await room.send("GET", path, CARL)).body for path in reads]
    return [*answers, *[(await room.send("POST", f"/{noun}/list", CARL)).body for noun in ("credentials", "lockers")]]


class TestATokenIsTaken:
    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Authorization": "{}"},
            {"x-authorization": "{}"},
            {"Authorization": "Bearer {}"},
            {"authorization": "bearer {}"},
            {"X-Authorization": "Bearer {}"},
            {"X-Authorization": "{}", "Authorization": "Bearer {}"},
        ],
        ids=str,
    )
    async def test_from_either_header(self, room: Room, headers: dict[str, str]) -> None:
        proof = {name: text.format(room.token(ALICE)) for name, text in headers.items()}
        assert (await room.send("GET", "/credentials", headers=proof)).status == 200

    async def test_from_neither_when_the_two_differ(self, room: Room) -> None:
        proof = {"X-Authorization": room.token(ALICE), "Authorization": f"Bearer {room.token(BOB)}"}
        assert refusal(await room.send("GET", "/credentials", headers=proof)) == (401, "unauthenticated")

    @pytest.mark.parametrize(
        "headers",
        [{}, {"X-Authorization": ""}, {"X-Authorization": "x.y.z"}, {"Authorization": "Basic YTpi"}, {"Cookie": "t"}],
        ids=str,
    )
    async def test_when_it_is_good_only(self, room: Room, headers: dict[str, str]) -> None:
        assert refusal(await room.send("GET", "/credentials", headers=headers)) == (401, "unauthenticated")


class TestAnAnswer:
    async def test_writes_ids_users_and_versions_as_text(self, office: Office) -> None:
        told = list(members(await everything(office)))
        texts = [part for name, part in told if name.endswith(("id", "Id", "By")) or name == "version"]
        assert len(texts) > 50
        assert all(isinstance(part, str) and part for part in texts)

    async def test_writes_instants_with_milliseconds_and_z(self, office: Office) -> None:
        instants = [part for name, part in members(await everything(office)) if name.endswith("On")]
        assert len(instants) > 20
        assert all(INSTANT.fullmatch(part) for part in instants)

    async def test_has_who_and_when_on_every_object(self, office: Office) -> None:
        answer = await everything(office)
        objects = [part for _, part in members({"": answer}) if isinstance(part, list)]
        rows = [row for part in objects for row in part if isinstance(row, dict) and "version" in row]
        assert len(rows) > 10
        assert all(row.keys() >= AUDIT_FIELDS for row in rows)

    async def test_has_no_nulls(self, office: Office) -> None:
        assert all(part is not None for _, part in members(await everything(office)))

    async def test_counts_updates_from_zero(self, room: Room) -> None:
        credential = await room.create()
        locker = await room.create_locker()
        assert (credential["version"], locker["version"]) == ("0", "0")
        assert {one["version"] for one in credential["attributes"]} == {"0"}
        for count in ("1", "2"):
            changed = await room.send("PUT", f"/credentials/{credential['id']}", ALICE, credential | {"version": None})
            assert changed["version"] == count
            edited = await room.send("PUT", f"/lockers/{locker['id']}", ALICE, {"name": "Finance"})
            assert edited["version"] == count

    async def test_tells_who_changed_it_and_when(self, office: Office) -> None:
        office.room.world.clock.pass_by(seconds=1.5)
        path = f"/lockers/{office.locker}"
        await office.room.send("PUT", f"{path}/members/id-bob", ALICE, {"permissions": ["manage"]})
        changed = await office.room.send("PUT", path, BOB, {"name": "Finance", "description": "x"})
        assert (changed["createdBy"], changed["updatedBy"]) == ("id-alice", "id-bob")
        assert (changed["createdOn"], changed["updatedOn"]) == ("2026-11-21T12:00:00.000Z", "2026-11-21T12:00:01.500Z")


class TestARequest:
    @pytest.mark.parametrize("version", ["0", 0])
    async def test_may_write_a_version_as_text_or_number(self, room: Room, version: object) -> None:
        one, locker = await room.create(), await room.create_locker()
        for path in (f"/credentials/{one['id']}", f"/lockers/{locker['id']}"):
            assert (await room.send("PUT", path, ALICE, {"name": "New name", "version": version})).status == 200

    @pytest.mark.parametrize("version", ["-1", "0.5", "x", "", "9" * 30, -1, 0.5, True, [], {}])
    async def test_needs_a_version_that_is_one(self, room: Room, version: object) -> None:
        one, locker = await room.create(), await room.create_locker()
        for path in (f"/credentials/{one['id']}", f"/lockers/{locker['id']}"):
            reply = await room.send("PUT", path, ALICE, {"name": "New name", "version": version})
            assert refusal(reply) == (400, "invalid-input")

    async def test_may_be_a_whole_object_sent_back(self, office: Office) -> None:
        room = office.room
        for path, who in ((f"/credentials/{office.own['id']}", ALICE), (f"/lockers/{office.locker}", ALICE)):
            read = (await room.send("GET", path, who)).body
            again = (await room.send("PUT", path, who, read)).body
            counted = str(int(read["version"]) + 1)
            assert again == read | {"version": counted}
        assert await room.values(office.own["id"]) == {
            office.own["attributes"][0]["id"]: "alice-sap",
            office.own["attributes"][1]["id"]: "",
        }

    async def test_may_hold_nulls_and_unknown_names(self, room: Room) -> None:
        odd: dict[str, Any] = {
            "description": None,
            "externalVaultCredentialName": None,
            "Colour": "red",
            "lockerId": None,
            "id": 7,
        }
        attribute = {"name": "user", "value": "ignored", "masked": None, "id": None, "valueId": {"x": 1}}
        created = await room.create(name="Mail", **odd, attributes=[attribute])
        assert (created["description"], created["attributes"][0]["masked"]) == ("", False)
        assert created["id"] != "7"
        assert await room.values(created["id"]) == {}

    async def test_may_name_its_members_in_pascal_case(self, room: Room) -> None:
        attribute = {"Name": "user", "UserProvided": False, "Masked": True, "PasswordFlag": True}
        body = {"Name": "Mail", "Description": "d", "Attributes": [attribute]}
        created = (await room.send("POST", "/credentials", ALICE, body)).body
        assert (created["name"], created["attributes"][0]["passwordFlag"]) == ("Mail", True)
        values = {"List": [{"CredentialAttributeId": created["attributes"][0]["id"], "Value": "v"}]}
        assert (await room.send("POST", f"/credentials/{created['id']}/attributevalues", ALICE, values)).status == 200
        listing = {"Filter": {"Operator": "EQ", "Field": "name", "Value": "mail"}, "Page": {"Length": 1, "Offset": 0}}
        assert (await room.send("POST", "/credentials/list", ALICE, listing))["page"]["totalFilter"] == 1

    @pytest.mark.parametrize(
        "headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=UTF-8"}], ids=str
    )
    async def test_may_be_of_any_media_type_or_none(self, room: Room, headers: dict[str, str]) -> None:
        assert (await room.send("POST", "/credentials", ALICE, NEW, headers)).status == 201

    async def test_may_have_a_body_though_it_reads_or_deletes(self, office: Office) -> None:
        path = f"/credentials/{office.own['id']}"
        bodies: tuple[Any, ...] = ({"attributes": []}, b"{}", b"no json")
        for body in bodies:
            assert (await office.room.send("GET", path, ALICE, body)).status == 200
        assert (await office.room.send("DELETE", path, ALICE, b"no json")).status == 204

    @pytest.mark.parametrize("body", [None, b"{}", {"id": "1", "credentialId": "2"}, {"id": 1}], ids=str)
    async def test_may_put_nothing_where_the_path_says_it_all(self, office: Office, body: Any) -> None:
        path = f"/lockers/{office.locker}/credentials/{office.own['id']}"
        assigned = await office.room.send("PUT", path, ALICE, body)
        assert assigned["lockerId"] == office.locker
        assert (await office.room.send("DELETE", path, ALICE, body)).status == 204
        moved = await office.room.send("PUT", f"/credentials/{office.own['id']}/owner/id-bob", ALICE, body)
        assert moved["ownerId"] == "id-bob"

    async def test_may_end_with_a_slash_and_be_of_any_case(self, office: Office) -> None:
        path = f"/v2/CredentialVault/Credentials/{office.own['id'].upper()}/"
        assert (await office.room.send("GET", path, ALICE))["id"] == office.own["id"]


class TestARefusal:
    async def test_of_what_cannot_be_read_is_a_400(self, room: Room) -> None:
        for body in (b"{", b"[1]", b'"x"', b"\xff", b'{"name": 1e999}', b'{"a": 1, "A": 2}', {"name": 5}, {}):
            assert refusal(await room.send("POST", "/credentials", ALICE, body)) == (400, "invalid-input")

    async def test_of_a_parameter_that_is_wrong_or_given_twice_is_a_400(self, room: Room) -> None:
        for query in ("?consumed=perhaps", "?consumed=true&consumed=true"):
            assert refusal(await room.send("POST", f"/credentials/list{query}", ALICE)) == (400, "invalid-input")

    async def test_of_one_who_sees_but_may_not_is_a_403(self, office: Office) -> None:
        path = f"/credentials/{office.shared['id']}"
        assert refusal(await office.room.send("PUT", path, CARL, office.shared)) == (403, "access-denied")
        assert refusal(await office.room.send("POST", "/credentials", VIC, NEW)) == (403, "access-denied")

    async def test_never_repeats_what_was_sent(self, office: Office) -> None:
        canary = "canary-of-a-value"
        values = f"/credentials/{office.own['id']}/attributevalues"
        attribute = office.own["attributes"][0]["id"]
        for body in (
            {"list": [{"credentialAttributeId": attribute, "value": [canary]}]},
            {"list": [{"credentialAttributeId": canary, "value": canary}]},
            {"list": [{"value": canary}], canary: 1},
            {"list": canary},
            json.dumps({"list": [{"credentialAttributeId": attribute, "value": canary}]}).encode()[:-1],
        ):
            reply = await office.room.send("POST", values, ALICE, body)
            assert refusal(reply) == (400, "invalid-input")
            assert canary not in reply.content.decode()

    async def test_names_what_is_at_fault(self, room: Room) -> None:
        reply = await room.send("POST", "/credentials", ALICE, {"name": "a/b", "attributes": []})
        assert "name: may hold letters" in reply["message"]
        assert "attributes: must have at least 1 items" in reply["message"]


async def test_time_passes_for_the_version_alone_that_was_changed(office: Office) -> None:
    office.room.world.clock.now += timedelta(hours=1)
    before = (await office.room.send("GET", f"/credentials/{office.own['id']}", ALICE)).body
    first, second = before["attributes"]
    body = before | {"attributes": [first | {"description": "changed"}, second]}
    after = (await office.room.send("PUT", f"/credentials/{office.own['id']}", ALICE, body)).body
    assert after["attributes"][1] == second
    assert after["attributes"][0]["version"] == "1"
    assert after["attributes"][0]["updatedOn"] == "2026-11-21T13:00:00.000Z"
    assert after["attributes"][0]["createdOn"] == first["createdOn"]

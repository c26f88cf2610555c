"""Lists of credentials of the Control Room face: what is visible, filtered, sorted, paged."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.control_room.app import CARL, MAX, PETE, WARDEN, Office, Room, refusal
from tests.api.control_room.test_credentials import names
from tests.vaults import ALICE, BOB

ATTRIBUTE = {"name": "user"}


class TestAList:
    async def test_shows_what_the_caller_owns_or_reaches_through_lockers(self, office: Office) -> None:
        await office.room.create(BOB, name="Bob own")
        everything = ["Bank", "Bob own", "SAP login"]
        seen = {ALICE: ["Bank", "SAP login"], BOB: ["Bob own"], CARL: ["Bank"], MAX: ["Bank"], PETE: []}
        for who, expected in (*seen.items(), (WARDEN, everything)):
            assert sorted(await names(office.room, who)) == expected

    async def test_of_the_consumed_holds_what_the_caller_gave_a_value_to(self, office: Office) -> None:
        assert await names(office.room, CARL, "?consumed=true") == ["Bank"]
        assert await names(office.room, ALICE, "?consumed=true") == []
        assert await names(office.room, WARDEN, "?consumed=true") == []
        assert len(await names(office.room, ALICE, "?consumed=false")) == 2

    async def test_of_the_consumed_counts_only_those(self, office: Office) -> None:
        reply = await office.room.send("POST", "/credentials/list?consumed=true", ALICE)
        assert reply["page"] == {"offset": 0, "total": 0, "totalFilter": 0}

    async def test_is_filtered_sorted_and_paged(self, room: Room) -> None:
        for name in ("delta", "Alpha", "charlie", "Bravo", "other"):
            await room.create(name=name)
        wanted = {
            "filter": {"operator": "not", "operands": [{"operator": "eq", "field": "name", "value": "OTHER"}]},
            "sort": [{"field": "name", "direction": "desc"}],
            "page": {"offset": "1", "length": 2},
        }
        reply = await room.send("POST", "/credentials/list", ALICE, wanted)
        assert [row["name"] for row in reply["list"]] == ["charlie", "Bravo"]
        assert reply["page"] == {"offset": 1, "total": 5, "totalFilter": 4}

    async def test_is_whole_when_clients_page_until_the_total(self, room: Room) -> None:
        for number in range(7):
            await room.create(name=f"c{number}")
            room.world.clock.pass_by(seconds=1)
        found: list[str] = []
        while True:
            page = {"offset": len(found), "length": 3}
            reply = await room.send("POST", "/credentials/list", ALICE, {"page": page})
            found += [row["name"] for row in reply["list"]]
            if len(found) >= reply["page"]["total"]:
                break
        assert found == [f"c{number}" for number in range(7)]

    @pytest.mark.parametrize("body", [b"", b"{}", {"filter": {}}, {"filter": {"operator": "NONE"}}, {"fields": ["x"]}])
    async def test_of_nothing_in_particular_is_everything(self, office: Office, body: Any) -> None:
        reply = await office.room.send("POST", "/credentials/list", ALICE, body)
        assert reply["page"] == {"offset": 0, "total": 2, "totalFilter": 2}

    @pytest.mark.parametrize("field", ["id", "ownerId", "lockerId", "createdBy", "createdOn", "updatedBy", "updatedOn"])
    async def test_finds_by_every_field_that_it_shows(self, office: Office, field: str) -> None:
        shown = (await office.room.send("GET", f"/credentials/{office.shared['id']}", ALICE))[field]
        assert "Bank" in await names(office.room, ALICE, filter={"operator": "eq", "field": field, "value": shown})
        assert "Bank" not in await names(office.room, ALICE, filter={"operator": "ne", "field": field, "value": shown})

    @pytest.mark.parametrize(
        "wanted",
        [
            {"filter": {"operator": "eq", "field": "value", "value": "pin of carl"}},
            {"filter": {"operator": "eq", "field": "attributes", "value": "x"}},
            {"filter": {"operator": "like", "field": "name", "value": "x"}},
            {"filter": {"operator": "eq", "field": "name"}},
            {"filter": {"operator": "eq", "field": "createdOn", "value": "yesterday"}},
            {"sort": [{"field": "colour"}]},
            {"sort": [{"field": "name", "direction": "up"}]},
            {"page": {"offset": -1}},
            {"page": {"length": "many"}},
            [],
        ],
        ids=str,
    )
    async def test_with_an_unknown_field_or_operator_is_refused(self, room: Room, wanted: Any) -> None:
        for noun in ("credentials", "lockers"):
            assert refusal(await room.send("POST", f"/{noun}/list", ALICE, wanted)) == (400, "invalid-input")

    async def test_by_name_needs_no_case(self, office: Office) -> None:
        for name in ("Bank", "bANK", "%EF%BC%A2ank"):
            reply = await office.room.send("GET", f"/credentials?name={name}", CARL)
            assert [row["id"] for row in reply["list"]] == [office.shared["id"]]
        assert (await office.room.send("GET", "/credentials?name=Ban", CARL)).body == {"list": []}
        assert (await office.room.send("GET", "/credentials?name=Bank", BOB)).body == {"list": []}

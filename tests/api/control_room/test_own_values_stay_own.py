"""What one consumer gives for itself reaches nobody else: by no operation, not as anyone, and not later either."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.api.app import Reply
from tests.api.control_room.app import BY_NAME, CARL, CORA, MAX, PETE, WARDEN, Office, Room, refusal
from tests.api.control_room.test_operations import ALIASED, SUCCESSES
from tests.faults import Fault, Plan
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, MALLORY, MONA, person
from vault_core.audit import Event
from vault_core.errors import CredentialIncomplete, Unavailable
from vault_core.identities import Caller, Role

pytestmark = pytest.mark.slow

PIN = "pin of carl"
OTHERS = {
    "the owner": ALICE,
    "a manager of the locker": MAX,
    "a participant": PETE,
    "a locker admin": WARDEN,
    "a consumer of the same role": CORA,
    "a manager": MONA,
    "an admin": ADA,
    "one with every role": replace(person("omni", *Role), other_roles=frozenset({"finance-bots"})),
    "one whose id begins like Carl's": replace(CORA, identity=person("carl|x").identity, aliases=frozenset()),
    "one whose id is Carl's in capitals": replace(CORA, identity=person("CARL").identity, aliases=frozenset()),
    "Carl's twin of another tenant": replace(CARL, tenant="fabrikam"),
    "a stranger": BOB,
    "an agent": DEPLOY_AGENT,
    "a foreign admin": MALLORY,
}


async def read(office: Office, who: Caller, query: str = "") -> Reply:
    return await office.room.send("GET", f"/credentials/{office.shared['id']}/attributevalues{query}", who)


async def own_of(office: Office, who: Caller) -> list[Any]:
    """The own values that the caller gets of the shared credential."""
    reply = await read(office, who, f"?credentialAttributeId={office.attribute('pin')}")
    return list(reply["list"]) if reply.status == 200 else []


async def assert_carl_still_has_it(office: Office) -> None:
    [own] = await own_of(office, CARL)
    assert (own["value"], own["userId"], own["version"]) == (PIN, "id-carl", "0")


@pytest.mark.parametrize("who", OTHERS.values(), ids=OTHERS)
class TestAnother:
    async def test_gets_it_by_no_operation(self, office: Office, who: Caller) -> None:
        named = {"credential": office.shared["id"], "value": office.attribute("pin"), "user": "id-max"}
        for operation in ALIASED:
            if BY_NAME[operation].method == "DELETE" and "value" not in BY_NAME[operation].parameters:
                continue  # what is gone can be shown by nobody
            body = SUCCESSES[BY_NAME[operation].handler.__name__].body
            path = office.path(operation, **named) + "?consumed=true&name=Bank"
            reply = await office.room.send(BY_NAME[operation].method, path, who, body)
            assert PIN not in reply.content.decode()
        await assert_carl_still_has_it(office)

    @pytest.mark.parametrize("user", ["", "&userId=id-carl", "&userId=id-cora", "&userId=ID-CARL"])
    async def test_gets_it_by_no_query(self, office: Office, who: Caller, user: str) -> None:
        for query in (f"?credentialAttributeId={office.attribute('pin')}{user}", f"?{user[1:]}"):
            reply = await read(office, who, query)
            assert PIN not in reply.content.decode()
            assert "id-carl" not in reply.content.decode()

    async def test_finds_nothing_by_filtering_for_it(self, office: Office, who: Caller) -> None:
        for field in ("name", "description", "id", "ownerId", "createdBy", "updatedBy"):
            for operator in ("eq", "substring", "ge"):
                wanted = {"filter": {"operator": operator, "field": field, "value": PIN}}
                for noun in ("credentials", "lockers"):
                    reply = await office.room.send("POST", f"/{noun}/list", who, wanted)
                    assert PIN not in reply.content.decode()
                    assert operator == "ge" or reply.body.get("list", []) == []

    async def test_neither_replaces_nor_deletes_it(self, office: Office, who: Caller) -> None:
        path = f"/credentials/{office.shared['id']}/attributevalues"
        body = {"list": [{"credentialAttributeId": office.attribute("pin"), "value": "mine", "userId": "id-carl"}]}
        given = await office.room.send("POST", f"{path}?userId=id-carl", who, body)
        for method in ("PUT", "DELETE"):
            query = {"value": "mine", "userId": "id-carl", "version": "0"}
            await office.room.send(method, f"{path}/{office.attribute('pin')}?userId=id-carl", who, query)
        if given.status == 200:
            assert given["list"][0]["userId"] == who.identity.id
        await assert_carl_still_has_it(office)


class TestEachConsumer:
    async def test_has_a_value_of_its_own(self, office: Office) -> None:
        for who, text in ((CORA, "pin of cora"), (ALICE, "pin of alice"), (MAX, "pin of max")):
            await office.room.give(office.shared, who, pin=text)
            assert [(one["value"], one["userId"]) for one in await own_of(office, who)] == [(text, who.identity.id)]
        await assert_carl_still_has_it(office)

    async def test_has_consumed_nothing_by_what_one_with_a_longer_id_gave(self, office: Office) -> None:
        other = await office.room.create(name="Shop", attributes=[{"name": "pin", "userProvided": True}])
        await office.room.put_in(office.locker, other["id"])
        await office.room.give(other, OTHERS["one whose id begins like Carl's"], pin="pin of another")
        reply = await office.room.send("POST", "/credentials/list?consumed=true", CARL)
        assert [row["name"] for row in reply["list"]] == ["Bank"]

    async def test_needs_its_own_to_lease(self, office: Office) -> None:
        for who in (ALICE, CORA, MAX):
            with pytest.raises(CredentialIncomplete) as refused:
                await office.room.world.lease(who, office.shared["id"])
            assert PIN not in str(refused.value)
        granted = await office.room.world.lease(CARL, office.shared["id"])
        assert granted.fields["pin"].get_secret_value() == PIN

    async def test_that_may_lease_nothing_gives_nothing(self, office: Office) -> None:
        body = {"list": [{"credentialAttributeId": office.attribute("pin"), "value": "mine"}]}
        path = f"/credentials/{office.shared['id']}/attributevalues"
        for who in (WARDEN, MONA, ADA):
            assert refusal(await office.room.send("POST", path, who, body)) == (403, "access-denied")


class TestTheAudit:
    async def test_names_the_attribute_and_never_the_value(self, office: Office) -> None:
        await own_of(office, CARL)
        path = f"/credentials/{office.shared['id']}/attributevalues/{office.attribute('pin')}"
        await office.room.send("DELETE", path, CARL)
        events = await office.room.world.audit()
        told = [event for event in events if event.identity.id == "id-carl"]
        kinds = [Event.VALUE_WRITTEN, Event.VALUE_READ, Event.VALUE_WRITTEN]
        assert [event.event for event in told if event.event != Event.ACCESS_DENIED] == kinds
        assert all(event.details["attributes"] == ["pin"] for event in told)
        assert not any(PIN in str(asdict(event)) for event in events)


class TestLater:
    async def test_a_new_owner_gets_none(self, office: Office) -> None:
        path = f"/credentials/{office.shared['id']}"
        await office.room.give(office.shared, ALICE, pin="pin of alice")
        await office.room.send("PUT", f"{path}/owner/id-max", ALICE)
        for who in (MAX, ALICE, CORA):
            assert PIN not in (await read(office, who)).content.decode()
        assert await own_of(office, MAX) == []
        assert [one["value"] for one in await own_of(office, ALICE)] == ["pin of alice"]  # she owns the locker
        await assert_carl_still_has_it(office)

    async def test_a_new_owner_outside_the_locker_gets_none(self, office: Office) -> None:
        path = f"/credentials/{office.shared['id']}"
        await office.room.send("DELETE", f"/lockers/{office.locker}{path}", ALICE)
        await office.room.send("PUT", f"{path}/owner/id-bob", ALICE)
        assert await own_of(office, BOB) == []
        assert await own_of(office, CARL) == []
        assert refusal(await read(office, ALICE)) == (404, "not-found")

    async def test_a_freed_name_brings_none_back(self, office: Office) -> None:
        path = f"/credentials/{office.shared['id']}"
        await office.room.send("DELETE", f"/lockers/{office.locker}{path}", ALICE)
        assert (await office.room.send("DELETE", path, ALICE)).status == 204
        attributes = [{"name": "pin", "userProvided": True}, {"name": "username"}]
        again = await office.room.create(BOB, name="Bank", attributes=attributes)
        assert await office.room.values(again["id"], BOB) == {}
        reply = await office.room.send("POST", "/credentials/list?consumed=true", CARL)
        assert (reply["list"], reply["page"]["total"]) == ([], 0)
        assert refusal(await read(office, CARL)) == (404, "not-found")

    @pytest.mark.parametrize(
        "change", [{"userProvided": False}, {"id": None, "name": "another"}], ids=["made standard", "made anew"]
    )
    async def test_an_attribute_that_becomes_another_brings_none_back(
        self, office: Office, change: dict[str, Any]
    ) -> None:
        room, path = office.room, f"/credentials/{office.shared['id']}"
        await room.send("DELETE", f"/lockers/{office.locker}{path}", ALICE)
        before = (await room.send("GET", path, ALICE)).body
        *rest, pin = before["attributes"]
        changed = (await room.send("PUT", path, ALICE, before | {"attributes": [*rest, pin | change]})).body
        standard = changed["attributes"][-1]
        assert standard["id"] not in await room.values(office.shared["id"])
        back = [*rest, {**standard, "userProvided": True}]
        assert (await room.send("PUT", path, ALICE, changed | {"attributes": back})).status == 200
        await room.put_in(office.locker, office.shared["id"])
        assert PIN not in (await read(office, CARL)).content.decode()
        one = f"?credentialAttributeId={standard['id']}"
        assert (await read(office, CARL, one))["list"] == []
        assert (await room.send("POST", "/credentials/list?consumed=true", CARL))["list"] == []

    async def test_a_standard_value_made_user_provided_is_nobodys(self, office: Office) -> None:
        room, path = office.room, f"/credentials/{office.own['id']}"
        user, password = office.own["attributes"]
        body = office.own | {"attributes": [user | {"userProvided": True}, password]}
        changed = (await room.send("PUT", path, ALICE, body)).body
        assert await room.values(office.own["id"]) == {password["id"]: ""}
        back = changed | {"attributes": [user, password]}
        assert (await room.send("PUT", path, ALICE, back)).status == 200
        assert await room.values(office.own["id"]) == {password["id"]: ""}


@pytest.mark.parametrize("number", range(1, 16))
async def test_a_store_that_fails_while_it_is_replaced_does_not_show_it(office: Office, number: int) -> None:
    world = office.room.world
    world.restart(Plan(faults={number: Fault(Unavailable("The store does not answer."))}))
    failing = Room(world)
    path = f"/credentials/{office.shared['id']}/attributevalues"
    body = {"list": [{"credentialAttributeId": office.attribute("pin"), "value": "n3w pin of carl"}]}
    reply = await failing.send("POST", path, CARL, body)
    assert reply.status in (200, 503)
    assert PIN not in reply.content.decode()
    world.restart(Plan())
    again = await Room(world).values(office.shared["id"], CARL, f"?credentialAttributeId={office.attribute('pin')}")
    assert again in ({office.attribute("pin"): PIN}, {office.attribute("pin"): "n3w pin of carl"})
    if reply.status == 200:
        assert again == {office.attribute("pin"): "n3w pin of carl"}

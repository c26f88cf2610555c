"""Who must not get in through the Control Room face. Cases are made from the route table, so that a new route is
covered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.api.app import Reply
from tests.api.control_room.app import BY_NAME, CARL, Office, refusal
from tests.api.control_room.test_operations import ALIASED, SUCCESSES
from tests.vaults import ALICE, BOB, CI_RUNNER, person
from vault_core.identities import Caller, Role, is_identity_id

pytestmark = pytest.mark.slow

HIDDEN = (404, "not-found")
TRACED = {"X-Request-Id": "r-1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
MALLORY = replace(person("mallory", *Role, tenant="fabrikam"), other_roles=frozenset({"finance-bots"}))
TWIN = replace(ALICE, tenant="fabrikam", roles=frozenset(Role))  # with the id of the owner here
FOREIGN = {"mallory": MALLORY, "twin": TWIN}
STRANGERS = {"bob": BOB, "agent": CI_RUNNER, "bearer of another role": replace(BOB, other_roles=frozenset({"finance"}))}
NAMED = [
    (operation, name)
    for operation in ALIASED
    for name in ("credential", "locker")
    if name in BY_NAME[operation].parameters
]
UNKNOWN = "019a8a4c-7b1f-7c3e-9f0a-aaaaaaaaaaaa"


class Theirs:
    """An office, and an intruder with a credential and a locker of its own in the same vault."""

    def __init__(self, office: Office, intruder: Caller) -> None:
        self.office = office
        self.intruder = intruder
        self.own: dict[str, str] = {}

    async def furnish(self) -> Theirs:
        room, who = self.office.room, self.intruder
        created = await room.create(who, name="Own")
        locker = await room.create_locker(who, "Own")
        self.own = {"credential": created["id"], "value": created["attributes"][0]["id"], "locker": locker["id"]}
        self.before = await self.state()
        return self

    async def ask(self, operation: str, name: str, named: str, value: str | None = None) -> Reply:
        """Send the operation's request with the intruder's own things, but for what is named."""
        path = self.office.path(operation, **self.own | {name: named} | ({"value": value} if value else {}))
        body = SUCCESSES[BY_NAME[operation].handler.__name__].body
        return await self.office.room.send(BY_NAME[operation].method, path, self.intruder, body, TRACED)

    async def state(self) -> list[Any]:
        """All that the office's people can see, and all that happened but for what was refused."""
        office = self.office
        paths = [f"/credentials/{one['id']}" for one in (office.own, office.shared)]
        paths += [f"{path}/attributevalues" for path in paths]
        paths += [f"/lockers/{office.locker}{part}" for part in ("", "/members", "/consumers", "/credentials")]
        seen = [(await office.room.send("GET", path, ALICE)).body for path in paths]
        query = f"?credentialAttributeId={office.attribute('pin')}"
        return [*seen, await office.room.values(office.shared["id"], CARL, query)]


@pytest.mark.parametrize(("operation", "name"), NAMED)
class TestAForeignTenant:
    @pytest.mark.parametrize("intruder", FOREIGN.values(), ids=FOREIGN)
    async def test_gets_the_answer_of_an_unknown_id_by_the_same_work(
        self, office: Office, operation: str, name: str, intruder: Caller
    ) -> None:
        theirs = await Theirs(office, intruder).furnish()
        known = [office.locker] if name == "locker" else [office.own["id"], office.shared["id"]]
        for one in known:
            await theirs.ask(operation, name, UNKNOWN)  # reads what is then remembered of the tenant
            ledger = office.room.world.ledger
            started = ledger.total
            foreign = await theirs.ask(operation, name, one, office.attribute("pin"))
            between = ledger.total
            absent = await theirs.ask(operation, name, UNKNOWN, office.attribute("pin"))
            assert refusal(foreign) == HIDDEN
            assert foreign == absent
            assert between - started == ledger.total - between
        assert await theirs.state() == theirs.before


@pytest.mark.parametrize(("operation", "name"), NAMED)
class TestAStrangerOfTheTenant:
    @pytest.mark.parametrize("intruder", STRANGERS.values(), ids=STRANGERS)
    async def test_gets_the_answer_of_an_unknown_id(
        self, office: Office, operation: str, name: str, intruder: Caller
    ) -> None:
        theirs = await Theirs(office, intruder).furnish()
        known = [office.locker] if name == "locker" else [office.own["id"], office.shared["id"]]
        for one in known:
            hidden = await theirs.ask(operation, name, one, office.attribute("username"))
            assert refusal(hidden) == HIDDEN
            assert hidden == await theirs.ask(operation, name, str(uuid4()), office.attribute("username"))
        assert await theirs.state() == theirs.before

    async def test_makes_the_vault_do_the_same_work(self, office: Office, operation: str, name: str) -> None:
        theirs = await Theirs(office, BOB).furnish()
        ledger = office.room.world.ledger
        for one in (UNKNOWN, office.locker if name == "locker" else office.own["id"]):
            await theirs.ask(operation, name, one)
        started = ledger.total
        await theirs.ask(operation, name, office.locker if name == "locker" else office.own["id"])
        between = ledger.total
        await theirs.ask(operation, name, UNKNOWN)
        assert between - started == ledger.total - between


class TestAList:
    @pytest.mark.parametrize("intruder", [*FOREIGN.values(), *STRANGERS.values()], ids=[*FOREIGN, *STRANGERS])
    async def test_shows_nothing_of_others(self, office: Office, intruder: Caller) -> None:
        for path in ("/credentials/list", "/credentials/list?consumed=true", "/lockers/list"):
            reply = await office.room.send("POST", path, intruder)
            assert (reply["list"], reply["page"]) == ([], {"offset": 0, "total": 0, "totalFilter": 0})
        assert (await office.room.send("GET", "/credentials", intruder)).body == {"list": []}

    @pytest.mark.parametrize(
        "name", ["' or '1' eq '1", "Bank' or name ne '", "*", "%", "Ban_", ".*", "Bank\u0000", "B\u0430nk", "Bank "]
    )
    async def test_takes_a_name_for_nothing_but_a_name(self, office: Office, name: str) -> None:
        reply = await office.room.send("GET", f"/credentials?name={quote(name, safe='')}", ALICE)
        assert reply.body == {"list": []}
        for operator in ("eq", "substring"):
            body = {"filter": {"operator": operator, "field": "name", "value": name}}
            assert (await office.room.send("POST", "/credentials/list", ALICE, body))["list"] == []


BENT: dict[str, Callable[[str], str]] = {
    "a slash": lambda one: f"{one}/",
    "an encoded slash": lambda one: f"x/../{one}",
    "a backslash": lambda one: f"{one}\\",
    "a hash": lambda one: f"{one}#",
    "a question mark": lambda one: f"{one}?",
    "a quote": lambda one: f"{one}'",
    "a doubled quote": lambda one: f"{one}''",
    "OData": lambda one: f"{one}' or PartitionKey ne '",
    "a percent sign": lambda one: f"{one}%00",
    "a line break": lambda one: f"{one}\n",
    "a zero byte": lambda one: f"{one}\0",
    "a space": lambda one: f" {one}",
    "wide letters": lambda one: "".join(chr(ord(mark) + 0xFEE0) for mark in one),
    "wide digits": lambda one: one.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)}),
    "another hyphen": lambda one: one.replace("-", "\u2010"),
    "braces": lambda one: "{" + one + "}",
    "a urn": lambda one: f"urn:uuid:{one}",
    "no hyphens": lambda one: one.replace("-", ""),
    "a row's prefix": lambda one: f"credential:{one}",
    "half of a surrogate": lambda one: f"{one}\ufffd",
}


def bent(text: str) -> list[Any]:
    """Every bending of the text that changes it."""
    return [pytest.param(bend, id=name) for name, bend in BENT.items() if bend(text) != text]


class TestABentId:
    @pytest.mark.parametrize("bend", bent(UNKNOWN))
    async def test_of_a_credential_or_locker_is_not_found(self, office: Office, bend: Any) -> None:
        for operation, name in NAMED:
            one = office.locker if name == "locker" else office.own["id"]
            path = office.path(operation, **{name: quote(bend(one), safe="")})
            body = SUCCESSES[BY_NAME[operation].handler.__name__].body
            reply = await office.room.send(BY_NAME[operation].method, path, ALICE, body)
            assert refusal(reply) == HIDDEN

    @pytest.mark.parametrize("bend", bent("0" * 16))
    async def test_of_a_value_reaches_none(self, office: Office, bend: Any) -> None:
        odd = quote(bend(office.own["attributes"][0]["id"]), safe="")
        path = f"/credentials/{office.own['id']}/attributevalues"
        for method in ("PUT", "DELETE"):
            assert refusal(await office.room.send(method, f"{path}/{odd}", ALICE, {"value": "v"})) == HIDDEN
        asked = await office.room.send("GET", f"{path}?credentialAttributeId={odd}", ALICE)
        assert refusal(asked) == (400, "invalid-input")

    @pytest.mark.parametrize("bend", [one for one in bent("id-bob") if not is_identity_id(one.values[0]("id-bob"))])
    async def test_of_a_user_is_that_of_nobody(self, office: Office, bend: Any) -> None:
        odd = quote(bend("id-bob"), safe="")
        for path in (f"/credentials/{office.own['id']}/owner/{odd}", f"/lockers/{office.locker}/members/{odd}"):
            reply = await office.room.send("PUT", path, ALICE, {"permissions": ["own"]})
            assert refusal(reply) in ((400, "invalid-input"), HIDDEN)
        assert refusal(await office.room.send("GET", f"/credentials/{office.own['id']}", BOB)) == HIDDEN

    @pytest.mark.parametrize("bend", bent("finance-bots"))
    async def test_of_a_role_removes_none(self, office: Office, bend: Any) -> None:
        odd = quote(bend("finance-bots"), safe="")
        await office.room.send("DELETE", f"/lockers/{office.locker}/consumers/{odd}", ALICE)
        [left] = (await office.room.send("GET", f"/lockers/{office.locker}/consumers", ALICE))["list"]
        assert left["id"] == "finance-bots"

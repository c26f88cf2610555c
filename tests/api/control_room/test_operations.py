"""Every operation of the Control Room face, under both versions of its path. What holds for all is asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.app import Reply
from tests.api.control_room.app import BY_NAME, CARL, MAX, WARDEN, Office, Room, refusal
from tests.api.test_authentication import GOOD, NOW
from tests.vaults import ALICE, BOB, VIC, World, person
from vault_core.audit import Event
from vault_core.errors import Unavailable
from vault_core.identities import Caller, Role
from vault_core.stores import Stores

pytestmark = pytest.mark.slow

NOBODY = person("nobody")
OTTO = person("otto", Role.AUDITOR)
VALUES = ("correct horse", "battery staple", "pin of carl", "tr0ub4dor")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that succeeds in the furnished office. `{shared}` in the query is the credential in the locker."""

    caller: Caller | None = ALICE
    body: Any = None
    query: str = ""
    status: int = 200
    inside: bool = False


LOGIN = {"username": "alice", "password": "a client secret"}
NAMED = {"name": "Mail", "description": "of the shop"}
ATTRIBUTES = [{"name": "user"}, {"name": "code", "userProvided": True}]
FILTER = {"operator": "eq", "field": "name", "value": "Bank"}
SUCCESSES = {
    "log_in": Ask(None, LOGIN),
    "check_token": Ask(None, query=f"?token={GOOD}"),
    "refresh_token": Ask(None, {"token": GOOD}, status=501),
    "log_out": Ask(None, status=204),
    "create_credential": Ask(BOB, NAMED | {"attributes": ATTRIBUTES}, status=201),
    "list_credentials": Ask(CARL, {"filter": FILTER}, "?consumed=true"),
    "find_credentials": Ask(query="?name=bank"),
    "read_credential": Ask(CARL, inside=True),
    "update_credential": Ask(ALICE, NAMED | {"version": "0"}),
    "delete_credential": Ask(status=204),
    "transfer_credential": Ask(),
    "list_attribute_values": Ask(CARL, inside=True),
    "set_attribute_values": Ask(
        ALICE, {"list": [{"credentialAttributeId": "{username}", "value": "tr0ub4dor"}]}, inside=True
    ),
    "replace_attribute_value": Ask(ALICE, {"value": "tr0ub4dor", "version": "0"}),
    "delete_attribute_value": Ask(status=204),
    "read_transport_key": Ask(VIC),
    "create_locker": Ask(BOB, NAMED, status=201),
    "list_lockers": Ask(CARL, {}),
    "read_locker": Ask(CARL),
    "update_locker": Ask(MAX, NAMED | {"version": "0"}),
    "delete_locker": Ask(status=204),
    "list_locker_credentials": Ask(CARL),
    "assign_credential": Ask(),
    "take_credential_out": Ask(WARDEN, status=204, inside=True),
    "list_consumers": Ask(CARL),
    "add_consumers": Ask(MAX, [{"id": "auditors"}], status=201),
    "remove_consumer": Ask(MAX, status=204),
    "list_members": Ask(),
    "set_member": Ask(ALICE, {"permissions": ["own", "participate"]}),
    "remove_member": Ask(status=204),
}
AUTHENTICATED = [name for name, route in BY_NAME.items() if not route.anonymous]
UNVERSIONED = [name for name in BY_NAME if not name.startswith("control_room_v1_")]
ALIASED = [name for name in UNVERSIONED if name in AUTHENTICATED]
NAMING = [name for name, route in BY_NAME.items() if {"credential", "locker"} & set(route.parameters)]


class Failing:
    """A store that fails whatever is asked of it."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        one: Any = self
        self.stores = Stores(one, one, one, one, one, one)

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: object, **__: object) -> None:
            raise self._error

        return fail


def case(operation: str) -> Ask:
    """The request of an operation, whatever the version of its path."""
    return SUCCESSES[BY_NAME[operation].handler.__name__]


async def ask(office: Office, operation: str, **changed: Any) -> Reply:
    """Send the operation's request, changed as told; `named` are parts of the path."""
    wanted = case(operation)
    inside = {"credential": office.shared["id"], "value": office.attribute("username")} if wanted.inside else {}
    path = office.path(operation, **(inside | changed.get("named", {}))) + wanted.query
    body = _with_id(changed.get("body", wanted.body), office.attribute("username"))
    room: Room = changed.get("room", office.room)
    return await room.send(
        BY_NAME[operation].method, path, changed.get("caller", wanted.caller), body, changed.get("headers")
    )


def _with_id(body: Any, attribute_id: str) -> Any:
    if isinstance(body, dict) and "list" in body:
        return {"list": [one | {"credentialAttributeId": attribute_id} for one in body["list"]]}
    return body


def test_every_route_is_asked() -> None:
    assert set(SUCCESSES) == {route.handler.__name__ for route in BY_NAME.values()}


def test_every_call_of_the_vault_has_both_versions() -> None:
    paths = {(route.method, route.path) for route in BY_NAME.values() if "/credentialvault" in route.path}
    assert {(method, path.replace("/v2/", "/v1/", 1)) for method, path in paths if path.startswith("/v2/")} == {
        (method, path) for method, path in paths if path.startswith("/v1/")
    }
    assert len(paths) == 2 * len(ALIASED)


@pytest.mark.parametrize("operation", BY_NAME)
async def test_it_succeeds_with_its_status(office: Office, operation: str) -> None:
    office.room.world.clock.now = NOW  # when the identity provider's token is good
    reply = await ask(office, operation)
    assert reply.status == case(operation).status, reply.body
    if reply.status < 300 and reply.status != 204:
        assert reply.body  # that it is as its model says is asked of every answer


@pytest.mark.parametrize("operation", ALIASED)
async def test_both_versions_answer_alike(operation: str) -> None:
    first, second = await Office.furnished(), await Office.furnished()
    older = operation.replace("control_room_", "control_room_v1_")
    newer = await ask(first, operation)
    assert _shape(newer.body) == _shape((await ask(second, older)).body)


def _shape(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {name: _shape(part) for name, part in answer.items()}
    return [_shape(part) for part in answer] if isinstance(answer, list) else type(answer)


@pytest.mark.parametrize("operation", UNVERSIONED)
async def test_its_answer_is_not_stored_and_names_the_request(office: Office, operation: str) -> None:
    reply = await ask(office, operation, headers={"X-Request-Id": "r-1"})
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Request-Id"] == "r-1"


@pytest.mark.parametrize("operation", UNVERSIONED)
async def test_only_reading_values_shows_one(office: Office, operation: str) -> None:
    reply = await ask(office, operation)
    shown = [value for value in VALUES if value in reply.content.decode()]
    assert shown == (["pin of carl"] if operation.endswith("list_attribute_values") else [])


@pytest.mark.parametrize("operation", AUTHENTICATED)
async def test_without_a_token_it_asks_for_one(office: Office, operation: str) -> None:
    reply = await ask(office, operation, caller=None)
    assert refusal(reply) == (401, "unauthenticated")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("who", [NOBODY, OTTO], ids=["nobody", "otto"])
@pytest.mark.parametrize("operation", AUTHENTICATED)
async def test_without_its_role_it_is_refused_and_recorded(office: Office, operation: str, who: Caller) -> None:
    assert refusal(await ask(office, operation, caller=who)) == (403, "access-denied")
    event, *_ = await office.room.world.audit()
    assert (event.event, event.identity.id, event.details["operation"]) == (
        Event.ACCESS_DENIED,
        who.identity.id,
        operation,
    )


@pytest.mark.parametrize("operation", NAMING)
async def test_what_is_not_there_is_not_found(office: Office, operation: str) -> None:
    for unknown in ("019a8a4c-7b1f-7c3e-9f0a-aaaaaaaaaaaa", "no-such", "Bank", "Finance", "0"):
        for name in {"credential", "locker"} & set(BY_NAME[operation].parameters):
            reply = await ask(office, operation, named={name: unknown})
            assert refusal(reply) == (404, "not-found")


@pytest.mark.parametrize("operation", UNVERSIONED)
async def test_a_body_over_64_kib_is_refused(office: Office, operation: str) -> None:
    reply = await ask(office, operation, body=b"{}" + b" " * (64 * 1024 - 1))
    assert refusal(reply) == (400, "body-too-large")


@pytest.mark.parametrize("operation", ALIASED)
async def test_when_no_store_answers_it_says_when_to_try_again(office: Office, operation: str) -> None:
    gone = Failing(Unavailable("The store does not answer."))
    reply = await ask(office, operation, room=Room(World(gone.stores)))
    assert refusal(reply) == (503, "unavailable")
    assert int(reply.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", ["/credentials", "/lockers/019a8a4c-7b1f-7c3e-9f0a-aaaaaaaaaaaa"])
async def test_a_fault_of_the_vault_shows_nothing_of_itself(path: str) -> None:
    broken = Failing(RuntimeError("canary-of-a-value"))
    reply = await Room(World(broken.stores)).fail("GET", path, ALICE)
    assert refusal(reply) == (500, "internal-error")
    assert "canary" not in reply.content.decode()
    assert "trace id" in reply["message"]


async def test_a_repeat_with_the_same_key_creates_nothing_twice(room: Room) -> None:
    for path, wanted in (("/credentials", NAMED | {"attributes": ATTRIBUTES}), ("/lockers", NAMED)):
        key = {"Idempotency-Key": f"k-{path}"}
        first = await room.send("POST", path, ALICE, wanted, key)
        assert (await room.send("POST", path, ALICE, wanted, key)).body == first.body
        other = await room.send("POST", path, ALICE, wanted | {"name": "Other"}, key)
        assert refusal(other) == (409, "idempotency-key-reused")

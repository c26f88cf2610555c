"""Operations on lockers, on what is in them, and through them."""

from __future__ import annotations

from tests.acting import (
    FIRST,
    NAME,
    ONE,
    SECOND,
    Operation,
    create,
    half,
    lease,
    passing,
    post,
    request,
    steps,
    tagged,
    timer,
)
from tests.vaults import ALICE, BOB, DEPLOY_AGENT

LOCKERS = "/lockers"
LOCKER = f"{LOCKERS}/team"
INSIDE = f"{LOCKER}/credentials"
_MEMBER = f"{LOCKER}/members/{BOB.identity.id}"
_CONSUMER = f"{LOCKER}/consumers/user"
_WANTED = {"name": "team", "description": "of the team"}

LOCKER_THERE = request(ALICE, "POST", LOCKERS, _WANTED)
INVITE = request(ALICE, "PUT", _MEMBER, {"permissions": ["participate"]})
APPOINT = request(ALICE, "PUT", _MEMBER, {"permissions": ["own", "manage"]})
EXPEL = request(ALICE, "DELETE", _MEMBER)
LET_CONSUME = request(ALICE, "PUT", _CONSUMER)
ASSIGN = request(ALICE, "PUT", f"{INSIDE}/{NAME}")
TAKE_OUT = request(ALICE, "DELETE", f"{INSIDE}/{NAME}")
DELETE_LOCKER = request(ALICE, "DELETE", LOCKER)
READ = request(DEPLOY_AGENT, "GET", ONE)
PRIVATE = request(ALICE, "POST", "/credentials", {"name": NAME, "type": "generic-secret", "value": FIRST})

_SHARED = (PRIVATE, LOCKER_THERE, LET_CONSUME, ASSIGN)
_OTHER_INSIDE = (create("other"), request(ALICE, "PUT", f"{INSIDE}/other"))
_DELETE_LOCKER = Operation(
    "delete a locker with credentials inside", (*_SHARED, *_OTHER_INSIDE, lease()), DELETE_LOCKER, ("not-found",)
)

KEYED = (
    Operation(
        "create a locker, with a key",
        (create(),),
        request(ALICE, "POST", LOCKERS, _WANTED, Idempotency_Key="locker-1"),
    ),
)

REQUESTS = (
    Operation("create a locker, first of the tenant", (), LOCKER_THERE, ("name-taken",)),
    Operation("create a locker", (create(),), LOCKER_THERE, ("name-taken",)),
    Operation("describe a locker", (LOCKER_THERE,), tagged(ALICE, "PUT", LOCKER, _WANTED | {"description": "new"})),
    Operation("rename a locker", _SHARED, tagged(ALICE, "PUT", LOCKER, {"name": "Another team"}), ("not-found",)),
    Operation("write a locker's name otherwise", _SHARED, tagged(ALICE, "PUT", LOCKER, {"name": "TEAM"})),
    Operation("add a member", (LOCKER_THERE,), INVITE),
    Operation("change a member", (LOCKER_THERE, INVITE), APPOINT),
    Operation("remove a member", (LOCKER_THERE, APPOINT), EXPEL),
    Operation("add a consumer", (PRIVATE, LOCKER_THERE, ASSIGN), LET_CONSUME),
    Operation("remove a consumer", (*_SHARED, lease()), request(ALICE, "DELETE", _CONSUMER)),
    Operation("assign", (create(), LOCKER_THERE), ASSIGN),
    Operation("assign with leases out", (create(), lease(), lease(ALICE), LOCKER_THERE), ASSIGN),
    Operation("take out", (*_SHARED, *_OTHER_INSIDE, lease()), TAKE_OUT),
    Operation("delete an empty locker", (create(), LOCKER_THERE), DELETE_LOCKER, ("not-found",)),
    _DELETE_LOCKER,
    Operation(
        "transfer inside a locker",
        (*_SHARED, INVITE),
        request(ALICE, "PUT", f"{ONE}/owner/{BOB.identity.id}"),
    ),
    Operation(
        "rotate inside a locker",
        (*_SHARED, lease()),
        request(ALICE, "POST", f"{ONE}/rotate", {"value": SECOND}),
        ("value-refused",),
    ),
    Operation("revoke inside a locker", (*_SHARED, lease()), post("revoke")),
    Operation("lease through a locker, cold", _SHARED, lease(), unseen=True, anew=True),
    Operation("lease through a locker, warm", _SHARED, steps(READ, lease()), unseen=True, anew=True),
)

TIMERS = (
    Operation(
        "finish the deletion of a locker",
        (half(_DELETE_LOCKER, "vault.commit .*empty"), passing(minutes=3)),
        timer("reconcile"),
    ),
)

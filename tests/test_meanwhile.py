"""Two operations at once: the second runs just before one of the calls of the first is applied, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.acting import (
    ONE,
    SECOND,
    Act,
    Operation,
    Reply,
    half,
    lease,
    passing,
    post,
    refusable,
    request,
    tagged,
    timer,
)
from tests.attribute_operations import LEASED, PIN, give, redefine, write
from tests.emergency_operations import MEETINGS as EMERGENCY_MEETINGS
from tests.faults import Plan
from tests.locker_operations import (
    ASSIGN,
    DELETE_LOCKER,
    EXPEL,
    INSIDE,
    INVITE,
    LET_CONSUME,
    LOCKER,
    LOCKER_THERE,
    TAKE_OUT,
)
from tests.portability_operations import INSIDE as IMPORT_INSIDE
from tests.portability_operations import MEETING as IMPORT_MEETING
from tests.stepping import at_each
from tests.subscription_operations import DELIVER, UNSUBSCRIBE, WITNESSED
from tests.subscription_operations import ROTATE_SECRET as ROTATE_SUBSCRIPTION
from tests.sweeping import calls_of, faults_of, settle, untold_values, world_before
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, World
from tests.vendor_invariants import VendorWatch
from tests.vendor_operations import (
    CHECK,
    DELETE_CONFIGURATION,
    DEPRECATE,
    ELSEWHERE_NOW,
    FILLED,
    MOVE_ON,
    PLACE,
    PUBLISH,
    PUBLISHED,
    ROTATE_SECRET,
    VALIDATE,
    edit,
    fill,
    rotate,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

_LOOSE = (*LEASED, LOCKER_THERE, INVITE)
_INSIDE = (*_LOOSE, LET_CONSUME, ASSIGN)
_REVOKE, _DELETE = post("revoke"), request(ALICE, "DELETE", ONE)
_LOSE = redefine("password", "code", "note")

LOOSE: Mapping[str, Act] = {
    "give": give(DEPLOY_AGENT, pin=f"new-{PIN}"),
    "forget": request(DEPLOY_AGENT, "DELETE", f"{ONE}/own-values"),
    "write": write(password=SECOND),
    "lose attributes": _LOSE,
    "rename": tagged(ALICE, "PATCH", ONE, {"name": "other-name"}),
    "revoke": _REVOKE,
    "delete": _DELETE,
    "assign": ASSIGN,
}
SHARED: Mapping[str, Act] = {
    "take out": TAKE_OUT,
    "assign another": request(BOB, "PUT", f"{INSIDE}/other"),
    "transfer": request(ALICE, "PUT", f"{ONE}/owner/{BOB.identity.id}"),
    "expel": EXPEL,
    "rename the locker": tagged(ALICE, "PUT", LOCKER, {"name": "Another team"}),
    "delete the locker": DELETE_LOCKER,
    "revoke": _REVOKE,
}
OF_VENDORS: Mapping[str, Act] = {
    "delete the configuration": DELETE_CONFIGURATION,
    "publish to nobody": PUBLISH,
    "deprecate": DEPRECATE,
    "rotate the signing secret": ROTATE_SECRET,
    "create from the configuration": fill(name="other"),
}
OF_CONFIGURED: Mapping[str, Act] = {
    "move on": MOVE_ON,
    "validate": VALIDATE,
    "rotate what is checked": rotate("?validate=true"),
    "check": CHECK,
    "place": PLACE,
    "revoke": _REVOKE,
    "delete": _DELETE,
}
OF_SUBSCRIBERS: Mapping[str, Act] = {
    "deliver": DELIVER,
    "rotate the secret of the subscription": ROTATE_SUBSCRIPTION,
    "unsubscribe": UNSUBSCRIBE,
    "revoke": _REVOKE,
}
_UNPUBLISHED = edit(audience=[])
_DRAFTED = (*PUBLISHED, _UNPUBLISHED)
_MOVABLE = (*FILLED, *ELSEWHERE_NOW, passing(seconds=1))
_TOLD = (*WITNESSED, *LEASED, passing(seconds=1))
_OTHER = request(BOB, "POST", "/credentials", {"name": "other", "type": "generic-secret", "value": SECOND})
_RECONCILE, _LATER = timer("reconcile"), passing(minutes=3)
_LOSING = Operation("lose attributes", LEASED, _LOSE)
_DELETING = Operation("delete the locker", _INSIDE, DELETE_LOCKER)
_MEETINGS = (
    (Operation("finish a redefinition", (half(_LOSING, "vault.commit .*prune"), _LATER), _RECONCILE), LOOSE),
    (
        Operation("finish the deletion of a locker", (half(_DELETING, "vault.commit .*empty"), _LATER), _RECONCILE),
        LOOSE,
    ),
    (Operation("lease", _LOOSE, lease()), LOOSE),
    (Operation("lease through a locker", (*_INSIDE, _OTHER), lease()), SHARED),
    *((Operation(one, _DRAFTED, act), OF_VENDORS) for one, act in OF_VENDORS.items()),
    (
        Operation(
            "delete what is used", (*FILLED, _UNPUBLISHED), refusable("configuration-in-use", DELETE_CONFIGURATION)
        ),
        {**OF_VENDORS, "revoke": _REVOKE, "delete": _DELETE},
    ),
    *((Operation(f"{one}, checked", _MOVABLE, act), OF_CONFIGURED) for one, act in OF_CONFIGURED.items()),
    *((Operation(f"{one}, told", _TOLD, act), OF_SUBSCRIBERS) for one, act in OF_SUBSCRIBERS.items()),
    (IMPORT_INSIDE, IMPORT_MEETING),
    *EMERGENCY_MEETINGS,
    *((Operation(one, _LOOSE, act), LOOSE) for one, act in LOOSE.items()),
    *((Operation(f"{one}, in a locker", (*_INSIDE, _OTHER), act), SHARED) for one, act in SHARED.items()),
)


_PAIRS = [
    (operation, other, act)
    for operation, others in _MEETINGS
    for other, act in others.items()
    if act is not operation.act
]


def _name(one: object) -> str:
    return str(one) if isinstance(one, Operation | str) else ""


@pytest.mark.parametrize(("operation", "other", "act"), _PAIRS, ids=_name)
async def test_nothing_is_lost_or_leaked_when_two_meet(operation: Operation, other: str, act: Act) -> None:
    await at_each(calls_of(operation), lambda call: _meet(operation, call, act))


async def _meet(operation: Operation, call: int, act: Act) -> None:
    answers: list[object] = []

    async def others() -> None:
        answers.append(await act(World(stores=world.stores, clock=world.clock, outbound=world.outbound)))

    world = await world_before(operation, Plan(meanwhile={call: others}))
    if isinstance(world.outbound, VendorWatch):
        world.outbound.may_lag = True
    answers.append(await operation.act(world))
    assert {one.code for one in answers if isinstance(one, Reply) and one.status >= 500} <= {"unavailable"}
    assert await faults_of(world) == []
    assert [await untold_values(world, answer) for answer in answers] == [[], []]
    await settle(world)
    assert await faults_of(world, settled=True) == []

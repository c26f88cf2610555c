"""Operations in an emergency: values that others may know, and another data key, to be stopped and disturbed."""

from __future__ import annotations

from collections.abc import Mapping

from tests.acting import (
    ONE,
    SECOND,
    Act,
    Operation,
    create,
    half,
    lease,
    passing,
    post,
    refusable,
    request,
    timer,
)
from tests.attribute_operations import GIVEN, LEASED, OWN_ONLY, PIN, give, write
from tests.subscription_operations import WITNESSED
from tests.vaults import ADA, ALICE, DEPLOY_AGENT
from tests.vendor_operations import CHECK, FILLED

REPORT = post("compromised")
ROTATE_DATA_KEY = request(ADA, "POST", "/tenant/rotate-data-key")
_ROTATE = request(ALICE, "POST", f"{ONE}/rotate", {"value": SECOND})
_RECONCILE, _LATER = timer("reconcile"), passing(minutes=3)
_KEY = {"Idempotency_Key": "repeat-1"}
_LEASES = (create(), lease(), lease(ALICE, ttl="8h"), passing(seconds=1))
_PLACES = (create(policy={"maxLeases": 2}), lease(), lease(ALICE, ttl="8h"), passing(seconds=1))
_PLACES_LEFT = (create(policy={"maxLeases": 3}), lease(ALICE, ttl="8h"), passing(seconds=1), lease())
_OF_TWO_VERSIONS = (create(), lease(ttl="8h"), _ROTATE, lease())
_OWN = (OWN_ONLY, give(DEPLOY_AGENT, pin=PIN, code=PIN), lease())
KNOWN_EVERYWHERE = passing(minutes=12)
NEW_KEY = (*GIVEN, lease(), ROTATE_DATA_KEY)

_REPORT = Operation("report compromised with leases out", _LEASES, REPORT)
_REPORT_PLACES = Operation("report compromised with places", _PLACES, REPORT)
_HALF, _HALF_OF_PLACES = (half(one, "vault.commit .*compromise") for one in (_REPORT, _REPORT_PLACES))

KEYED = (
    Operation("report compromised, with a key", _LEASES, post("compromised", **_KEY)),
    Operation("report again, with a key", (*_LEASES, REPORT), post("compromised", **_KEY)),
)

REQUESTS = (
    _REPORT,
    _REPORT_PLACES,
    Operation("report compromised after a rotation", _OF_TWO_VERSIONS, REPORT, by_steps=True),
    Operation("report compromised what has own values", LEASED, REPORT),
    Operation("report compromised what was revoked", (*_LEASES, post("revoke")), REPORT),
    Operation("report compromised what a vendor checks", (*FILLED, CHECK, lease()), REPORT),
    Operation("report compromised, and tell a subscriber", (*WITNESSED, create(), lease()), REPORT),
    Operation("rotate what is compromised", (*_LEASES, REPORT), _ROTATE, ("value-refused",)),
    Operation("resume what holds nothing that others know", (*_OWN, REPORT), post("resume")),
    Operation("rotate the data key", GIVEN, ROTATE_DATA_KEY),
    Operation("rotate the data key, first of the tenant", (), ROTATE_DATA_KEY),
)
CALLS = (Operation("write one of several compromised values", (*LEASED, REPORT), write(password=SECOND)),)

TIMERS = (
    Operation("finish a compromise", (_HALF, _LATER), _RECONCILE),
    Operation("finish a compromise with places", (_HALF_OF_PLACES, _LATER), _RECONCILE),
    Operation(
        "finish a compromise of what was rotated since", (_HALF, _ROTATE, lease(), _LATER), _RECONCILE, by_steps=True
    ),
    Operation("finish a compromise of what was revoked since", (_HALF, post("revoke"), _LATER), _RECONCILE),
    Operation("announce a rotation after a report", (*_LEASES, REPORT, passing(minutes=1)), timer("check_rotations")),
    Operation("seal anew", (*NEW_KEY, KNOWN_EVERYWHERE), _RECONCILE),
    Operation("retire a data key", (*NEW_KEY, KNOWN_EVERYWHERE, _RECONCILE, passing(minutes=15)), _RECONCILE),
)

MEETING: Mapping[str, Act] = {
    "report": REPORT,
    "report too": post("compromised"),
    "rotate": _ROTATE,
    "lease": lease(),
    "renew": request(DEPLOY_AGENT, "POST", "/leases/{lease}/renew", {"ttl": "2h"}),
    "resume": refusable("credential-not-usable", post("resume")),
    "revoke": post("revoke"),
}
MEETING_A_NEW_KEY: Mapping[str, Act] = {
    "rotate the data key": ROTATE_DATA_KEY,
    "rotate the data key too": request(ADA, "POST", "/tenant/rotate-data-key"),
    "reconcile": timer("reconcile"),
    "create another": create("other"),
    "give": give(DEPLOY_AGENT, pin=f"new-{PIN}"),
    "lease": lease(),
    "delete": request(ALICE, "DELETE", ONE),
}
MEETINGS = (
    *((Operation(f"{one}, or compromised", _PLACES_LEFT, act), MEETING) for one, act in MEETING.items()),
    (TIMERS[0], MEETING),
    (Operation("rotate the data key, at once", GIVEN, ROTATE_DATA_KEY), MEETING_A_NEW_KEY),
    *((one, MEETING_A_NEW_KEY) for one in TIMERS[-2:]),
)

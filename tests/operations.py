"""Every operation that writes, as requests through the edge and runs of timers: what the sweeps stop and disturb."""

from __future__ import annotations

from tests import (
    attribute_operations,
    emergency_operations,
    locker_operations,
    portability_operations,
    subscription_operations,
    vendor_operations,
)
from tests.acting import (
    FIRST,
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
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT

_KEY = {"Idempotency_Key": "repeat-1"}
LIMITED = create(policy={"maxLeases": 2})
RULES = {"defaults": {"maxLeaseTTL": "12h", "rotateEvery": "90d"}, "retention": "30d", "noticePeriod": "14d"}
TOKEN = create(type="oauth-token", fields={"accessToken": FIRST.replace(" ", "-"), "expiresAt": "2026-11-22T12:00:00Z"})

READ = request(ALICE, "GET", ONE)
UPDATE = tagged(ALICE, "PATCH", ONE, {"description": "of the orders database", "policy": {"rotateEvery": "30d"}})
ROTATE = request(ALICE, "POST", f"{ONE}/rotate", {"value": SECOND})
ROTATE_ONCE = request(ALICE, "POST", f"{ONE}/rotate", {"value": SECOND}, **_KEY)
DELETE = request(ALICE, "DELETE", ONE)
TRANSFER = request(ALICE, "PUT", f"{ONE}/owner/{BOB.identity.id}")
RENEW = request(DEPLOY_AGENT, "POST", "/leases/{lease}/renew", {"ttl": "2h"})
END_LEASE = request(DEPLOY_AGENT, "DELETE", "/leases/{lease}")
CHANGE_RULES = request(ADA, "PUT", "/tenant", RULES)

_FIRST = Operation("create, first of the tenant", (), create(), ("name-taken",))
_CREATE_ONCE = Operation("create, with a key", (create("other"),), create(keyed=True))
_LONG = (lease(ttl="8h"), lease(ALICE, ttl="8h"))
_REVOKE = Operation("revoke with leases out", (create(), lease(), lease(ALICE)), post("revoke"))
_DELETE = Operation("delete with leases out", (create(), lease(), lease(ALICE)), DELETE, ("not-found",))
_CHANGE_RULES = Operation("replace the tenant's rules", (create(), create("other")), CHANGE_RULES, anew=True)

KEYED = (
    _CREATE_ONCE,
    Operation("rotate, with a key", (create(),), ROTATE_ONCE),
    Operation("revoke after a rotation", (create(), lease(), ROTATE, lease()), post("revoke", **_KEY)),
    Operation("suspend, with a key", (create(),), post("suspend", **_KEY)),
    Operation("resume, with a key", (create(), post("suspend")), post("resume", **_KEY)),
    Operation("lease, with a key", (create(),), lease(key="lease-1"), unseen=True),
    Operation("lease a place, with a key", (LIMITED,), lease(key="lease-1"), unseen=True),
    *locker_operations.KEYED,
    *attribute_operations.KEYED,
    *vendor_operations.KEYED,
    *subscription_operations.KEYED,
    *emergency_operations.KEYED,
)

REQUESTS = (
    *KEYED,
    _FIRST,
    Operation("create", (create("other"),), create(), ("name-taken",)),
    Operation("update", (create(),), UPDATE, anew=True),
    Operation("rotate", (create(),), ROTATE, ("value-refused",)),
    Operation("rotate with leases out", (create(), *_LONG), ROTATE, ("value-refused",)),
    _REVOKE,
    Operation("suspend", (create(),), post("suspend")),
    Operation("resume", (create(), post("suspend")), post("resume")),
    _DELETE,
    Operation("delete what was revoked", (create(), lease(), post("revoke")), DELETE, ("not-found",)),
    Operation("transfer", (create(),), TRANSFER, ("access-denied", "not-found")),
    Operation("lease, cold", (create(),), lease(), unseen=True, anew=True),
    Operation("lease, warm", (create(),), steps(READ, lease()), unseen=True, anew=True),
    Operation("lease a place", (LIMITED,), lease(), unseen=True, anew=True),
    Operation("lease a place, warm", (LIMITED,), steps(READ, lease()), unseen=True, anew=True),
    Operation(
        "lease the place of an expired lease",
        (create(policy={"maxLeases": 1}), lease(ttl="1m"), passing(minutes=2)),
        lease(),
        ("lease-limit-reached",),
        unseen=True,
    ),
    Operation("renew", (create(), lease()), RENEW, unseen=True),
    Operation("renew a lease with a place", (LIMITED, lease()), RENEW, unseen=True),
    Operation("end a lease", (create(), lease()), END_LEASE),
    Operation("end a lease with a place", (LIMITED, lease()), END_LEASE),
    _CHANGE_RULES,
    *locker_operations.REQUESTS,
    *attribute_operations.REQUESTS,
    *vendor_operations.REQUESTS,
    *subscription_operations.REQUESTS,
    *portability_operations.REQUESTS,
    *emergency_operations.REQUESTS,
)
CALLS = (*attribute_operations.CALLS, *emergency_operations.CALLS)
"""What is asked of a service itself, where one face alone has requests for it."""

_EXPIRE, _RECONCILE = timer("expire_leases"), timer("reconcile")
_OVER = passing(minutes=3)
_SHORT = lease(ttl="1m")
_ENDING = create(validUntil="2026-11-23T12:00:00Z", policy={"rotateEvery": "1d"})

TIMERS = (
    Operation("expire a lease", (create(), _SHORT, _OVER), _EXPIRE),
    Operation("expire leases with places", (LIMITED, _SHORT, _SHORT, _OVER), _EXPIRE),
    Operation("expire many leases", (create(), *[_SHORT] * 9, _OVER), _EXPIRE),
    Operation("expire a renewed lease", (create(), _SHORT, RENEW, _OVER), _EXPIRE),
    Operation("expire the last lease of a rotated version", (create(), _SHORT, ROTATE, _OVER), _EXPIRE),
    Operation("announce", (_ENDING, passing(days=1, hours=1)), timer("check_rotations")),
    Operation("announce an end", (_ENDING, passing(days=3)), timer("check_rotations")),
    Operation("check values", (TOKEN, passing(days=2)), timer("check_credentials")),
    Operation("discard a value", (half(_CREATE_ONCE, "vault.commit .*discard-value"), passing(minutes=11)), _RECONCILE),
    Operation("discard a key that was never used", (half(_FIRST, "secrets.write"), create("other")), _RECONCILE),
    Operation("finish a revocation", (half(_REVOKE, "vault.commit .*revoke"), passing(minutes=3)), _RECONCILE),
    Operation("finish a deletion", (half(_DELETE, "vault.commit .*delete"), passing(minutes=3)), _RECONCILE),
    Operation("retire a version", (create(), ROTATE, passing(minutes=1)), _RECONCILE),
    Operation("retire a leased version later", (create(), *_LONG, ROTATE, passing(minutes=1)), _RECONCILE),
    Operation("purge", (create(), ROTATE, post("revoke"), passing(days=91)), _RECONCILE),
    Operation("forget a request", (create(keyed=True), passing(hours=25)), _RECONCILE),
    Operation("look anew under new rules", (create(), create("other"), CHANGE_RULES, passing(minutes=1)), _RECONCILE),
    Operation("forget leases", (create(), _SHORT, _SHORT, _OVER, _EXPIRE, passing(days=9)), _RECONCILE),
    *locker_operations.TIMERS,
    *attribute_operations.TIMERS,
    *vendor_operations.TIMERS,
    *subscription_operations.TIMERS,
    *emergency_operations.TIMERS,
)

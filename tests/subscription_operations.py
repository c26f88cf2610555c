"""Operations on subscriptions, what is delivered to them, and operations that a subscriber is told of."""

from __future__ import annotations

from typing import Any

from tests.acting import Act, Operation, create, half, lease, passing, patient, post, request, steps, tagged, timer
from tests.subscribers import OTHER_URL, URL, answers
from tests.vaults import ADA, World
from tests.vendor_invariants import WITNESS
from tests.vendor_operations import CHECK, FILLED, rotate
from vault_core.deliveries import RETRIES

_SUBSCRIPTION = "/subscriptions/{subscription}"
_KEY = {"Idempotency_Key": "repeat-1"}


def takes(status: int | None, url: str = URL) -> Act:
    """Return the subscriber's resolve to answer with this status from now on; with None, it cannot be reached."""

    async def act(world: World) -> None:
        world.outbound.answers.pop(url, None)
        if status:
            world.outbound.answers[url] = answers(status)

    return act


def subscribe(*events: str, **more: Any) -> Act:
    """Return the subscription of Contoso's administrator to these events."""
    headers = _KEY if more.pop("keyed", False) else {}
    return request(ADA, "POST", "/subscriptions", {"url": URL, "events": list(events)} | more, **headers)


DELIVER, _RECONCILE = timer("deliver_events"), timer("reconcile")
ROTATE_SECRET = request(ADA, "POST", f"{_SUBSCRIPTION}/rotate-secret")
UNSUBSCRIBE = request(ADA, "DELETE", _SUBSCRIPTION)
WITNESSED = (takes(204), subscribe("*", description=WITNESS))
_FAILING = (takes(503), subscribe("credential.created"), create(), passing(seconds=1))
_GIVEN_UP = (*_FAILING, passing(days=5), DELIVER)
_TRIED_OFTEN = tuple(steps(DELIVER, passing(seconds=wait.total_seconds() * 1.11)) for wait in RETRIES)
_MANY_SECRETS = tuple(steps(ROTATE_SECRET, passing(minutes=1)) for _ in range(3))
_REVISED = {"url": OTHER_URL, "events": ["credential.*", "lease.*"], "description": None}

_SUBSCRIBE = Operation("subscribe, first of the tenant", (), subscribe("*"))
_ROTATE = Operation(
    "rotate the last of many secrets of a subscription", (subscribe("*"), *_MANY_SECRETS), ROTATE_SECRET
)
_UNSUBSCRIBE = Operation("unsubscribe", (*_GIVEN_UP, create("other")), UNSUBSCRIBE, ("not-found",))

KEYED = (
    Operation("subscribe, with a key", (create(),), subscribe("*", keyed=True)),
    Operation(
        "rotate a subscription's secret, with a key",
        (subscribe("*"),),
        request(ADA, "POST", f"{_SUBSCRIPTION}/rotate-secret", **_KEY),
    ),
)

REQUESTS = (
    _SUBSCRIBE,
    Operation("change a subscription", _FAILING, tagged(ADA, "PATCH", _SUBSCRIPTION, _REVISED)),
    _ROTATE,
    _UNSUBSCRIBE,
    Operation("try a subscription", WITNESSED, patient(request(ADA, "POST", f"{_SUBSCRIPTION}/test"))),
    Operation("replay", (*_GIVEN_UP, takes(204)), request(ADA, "POST", f"{_SUBSCRIPTION}/replay", {})),
    Operation("create, and tell a subscriber", WITNESSED, create(), ("name-taken",)),
    Operation(
        "rotate, and tell a subscriber", (*WITNESSED, *FILLED, CHECK), rotate("?validate=true"), ("value-refused",)
    ),
    Operation("revoke with a lease out, and tell a subscriber", (*WITNESSED, create(), lease()), post("revoke")),
)

TIMERS = (
    Operation("deliver", (*WITNESSED, create(), lease(), passing(seconds=1)), DELIVER),
    Operation("deliver to who does not answer", _FAILING, DELIVER),
    Operation("try the last time", (*_FAILING, *_TRIED_OFTEN), DELIVER),
    Operation("give up", (*_FAILING, passing(days=5)), DELIVER),
    Operation("forget what was given up", (*_GIVEN_UP, passing(days=31)), _RECONCILE),
    Operation(
        "finish to unsubscribe", (half(_UNSUBSCRIBE, "vault.commit .*unsubscribe"), passing(minutes=3)), _RECONCILE
    ),
    Operation("discard a subscription's secret", (half(_SUBSCRIBE, "secrets.write"), passing(minutes=11)), _RECONCILE),
    Operation("discard the oldest secret of a subscription", (half(_ROTATE, "vault.commit Replace"),), _RECONCILE),
    Operation(
        "expire a lease, and tell a subscriber",
        (*WITNESSED, create(), lease(ttl="1m"), passing(minutes=3)),
        timer("expire_leases"),
    ),
    Operation("check a value, and tell a subscriber", (*WITNESSED, *FILLED), CHECK),
)

"""Every operation that writes, as requests through the edge and runs of timers: what the sweeps stop and disturb."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import azure.functions as func

from tests.faults import Crash, Plan
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, World
from vault_core.api.denials import audit_denials
from vault_core.api.edge import Edge
from vault_core.api.routes import ROUTES
from vault_core.identities import Caller
from vault_core.lease import Lease
from vault_core.stores import Partitions
from vault_core.upkeep.runs import Report

PEOPLE = {caller.identity.id: caller for caller in (ALICE, BOB, ADA, DEPLOY_AGENT)}
NAME = "db-password"
FIRST, SECOND = "correct horse", "battery staple"
ONE = f"/credentials/{NAME}"


class People:
    """An authenticator to whom the bearer's id is enough."""

    async def identify(self, headers: Mapping[str, str], now: datetime) -> Caller:
        return PEOPLE[headers["Authorization"]]


@dataclass(frozen=True)
class Reply:
    """What the edge answered."""

    status: int
    headers: Mapping[str, str]
    body: Any = field(repr=False)

    @property
    def code(self) -> str:
        """The code of the problem; empty for a success."""
        return "" if self.status < 400 else str(self.body["code"])


async def send(world: World, caller: Caller, method: str, path: str, body: object = None, **headers: str) -> Reply:
    """Send a request through the edge to the world's vault; `_` in the name of a header stands for `-`."""
    path = f"/api/v1{path}"
    route, parameters = next(
        (route, found.groupdict())
        for route in ROUTES
        if route.method == method and (found := re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", route.path), path))
    )
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = func.HttpRequest(
        method=method,
        url=f"https://vault.example{path}",
        headers={"Authorization": caller.identity.id, "Content-Type": "application/json", **given},
        route_params=parameters,
        body=b"" if body is None else json.dumps(body).encode(),
    )
    edge = Edge(world.vault, People(), world.clock, audit_denials(world.vault.audit))
    answer = await edge.serve(route, request)
    return Reply(answer.status_code, dict(answer.headers), json.loads(answer.get_body() or b"null"))


Act = Callable[[World], Awaitable[Reply | Report | None]]


@dataclass(frozen=True)
class Operation:
    """Something to be stopped or disturbed, and what precedes it.

    When a repeat finds that the first try came through, it may be refused with one of `refused_again`. Until it
    is answered, what `unseen` operations do may be untold: nobody got anything from it. A repeat of one that is
    `anew` has an effect of its own.
    """

    name: str
    before: tuple[Act, ...]
    act: Act
    refused_again: tuple[str, ...] = ()
    unseen: bool = False
    anew: bool = False

    def __str__(self) -> str:
        return self.name

    async def prepare(self, world: World) -> None:
        """Bring about what the operation starts from."""
        for act in self.before:
            answer = await act(world)
            assert not isinstance(answer, Reply) or answer.status < 400, answer.code


def request(caller: Caller, method: str, path: str, body: object = None, **headers: str) -> Act:
    """Return the sending of this request; `{lease}` in the path is the lease that was granted last."""

    async def act(world: World) -> Reply:
        full = path.replace("{lease}", await _newest_lease(world)) if "{lease}" in path else path
        return await send(world, caller, method, full, body, **headers)

    return act


async def _newest_lease(world: World) -> str:
    rows = (await world.stores.leases.query(Partitions("!", "~"))).rows
    leases = [Lease.from_document(row.document) for row in rows if row.key.startswith("lease:")]
    return max(leases, key=lambda lease: lease.issued_at).id


def timer(name: str) -> Act:
    """Return a run of this timer."""

    async def act(world: World) -> Report:
        report: Report = await getattr(world.vault, name)()
        return report

    return act


def passing(**duration: float) -> Act:
    """Return the passing of this time."""

    async def act(world: World) -> None:
        world.clock.pass_by(**duration)

    return act


def half(operation: Operation, last: str) -> Act:
    """Return the operation cut short: just after the first of its calls to a store that the pattern describes."""

    async def act(world: World) -> None:
        scratch = World()
        await operation.prepare(scratch)
        scratch.restart()
        await operation.act(scratch)
        calls = scratch.ledger.calls
        number = next(one.number for one in calls if re.match(last, f"{one.store}.{one.method} {one.subject}"))
        await operation.prepare(world)
        world.restart(Plan(crash_after=number))
        with suppress(Crash):
            await operation.act(world)
            raise AssertionError("it was not cut short")
        world.restart()

    return act


def create(name: str = NAME, **wanted: Any) -> Act:
    """Return the creation of a credential of Alice's that agents called `deploy-*` may lease."""
    headers = {"Idempotency_Key": "create-1"} if wanted.pop("keyed", False) else {}
    policy = {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]} | wanted.pop("policy", {})
    body = {"name": name, "type": "generic-secret", "value": FIRST, "policy": policy} | wanted
    if "fields" in body:
        del body["value"]
    return request(ALICE, "POST", "/credentials", body, **headers)


def lease(caller: Caller = DEPLOY_AGENT, ttl: str | None = None, key: str | None = None) -> Act:
    """Return the leasing of the credential."""
    body = {"credential": NAME} | ({"ttl": ttl} if ttl else {})
    return request(caller, "POST", "/leases", body, **({"Idempotency_Key": key} if key else {}))


def steps(*acts: Act) -> Act:
    """Return these acts one after another, with the answer of the last."""

    async def act(world: World) -> Reply | Report | None:
        answer = None
        for each in acts:
            answer = await each(world)
        return answer

    return act


def _one(verb: str, **headers: str) -> Act:
    return request(ALICE, "POST", f"{ONE}/{verb}", {"reason": "as planned"}, **headers)


_KEY = {"Idempotency_Key": "repeat-1"}
LIMITED = create(policy={"maxLeases": 2})
RULES = {"defaults": {"maxLeaseTTL": "12h", "rotateEvery": "90d"}, "retention": "30d", "noticePeriod": "14d"}
TOKEN = create(type="oauth-token", fields={"accessToken": FIRST.replace(" ", "-"), "expiresAt": "2026-11-22T12:00:00Z"})

READ = request(ALICE, "GET", ONE)
UPDATE = request(
    ALICE, "PATCH", ONE, {"description": "of the orders database", "policy": {"rotateEvery": "30d"}}, If_Match="*"
)
ROTATE = request(ALICE, "POST", f"{ONE}/rotate", {"value": SECOND})
ROTATE_ONCE = request(ALICE, "POST", f"{ONE}/rotate", {"value": SECOND}, **_KEY)
DELETE = request(ALICE, "DELETE", ONE)
TRANSFER = request(ALICE, "PUT", f"{ONE}/owner/{BOB.identity.id}")
RENEW = request(DEPLOY_AGENT, "POST", "/leases/{lease}/renew", {"ttl": "2h"})
END_LEASE = request(DEPLOY_AGENT, "DELETE", "/leases/{lease}")
CHANGE_RULES = request(ADA, "PUT", "/tenant", RULES)

_FIRST = Operation("create, first of the tenant", (), create(), ("name-taken",))
_CREATE_ONCE = Operation("create, with a key", (create("other"),), create(keyed=True))
_ROTATE_LEASED = Operation(
    "rotate with leases out", (create(), lease(ttl="8h"), lease(ALICE, "8h")), ROTATE, ("value-refused",)
)
_LONG = (lease(ttl="8h"), lease(ALICE, ttl="8h"))
_REVOKE = Operation("revoke with leases out", (create(), lease(), lease(ALICE)), _one("revoke"))
_DELETE = Operation("delete with leases out", (create(), lease(), lease(ALICE)), DELETE, ("not-found",))
_CHANGE_RULES = Operation("replace the tenant's rules", (create(), create("other")), CHANGE_RULES, anew=True)

KEYED = (
    _CREATE_ONCE,
    Operation("rotate, with a key", (create(),), ROTATE_ONCE),
    Operation("revoke after a rotation", (create(), lease(), ROTATE, lease()), _one("revoke", **_KEY)),
    Operation("suspend, with a key", (create(),), _one("suspend", **_KEY)),
    Operation("resume, with a key", (create(), _one("suspend")), _one("resume", **_KEY)),
    Operation("lease, with a key", (create(),), lease(key="lease-1"), unseen=True),
    Operation("lease a place, with a key", (LIMITED,), lease(key="lease-1"), unseen=True),
)

REQUESTS = (
    *KEYED,
    _FIRST,
    Operation("create", (create("other"),), create(), ("name-taken",)),
    Operation("update", (create(),), UPDATE, anew=True),
    Operation("rotate", (create(),), ROTATE, ("value-refused",)),
    Operation("rotate with leases out", (create(), *_LONG), ROTATE, ("value-refused",)),
    _REVOKE,
    Operation("suspend", (create(),), _one("suspend")),
    Operation("resume", (create(), _one("suspend")), _one("resume")),
    _DELETE,
    Operation("delete what was revoked", (create(), lease(), _one("revoke")), DELETE, ("not-found",)),
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
)

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
    Operation("purge", (create(), ROTATE, _one("revoke"), passing(days=91)), _RECONCILE),
    Operation("forget a request", (create(keyed=True), passing(hours=25)), _RECONCILE),
    Operation("look anew under new rules", (create(), create("other"), CHANGE_RULES, passing(minutes=1)), _RECONCILE),
    Operation("forget leases", (create(), _SHORT, _SHORT, _OVER, _EXPIRE, passing(days=9)), _RECONCILE),
)

"""What people and timers do in a world, and the operations that are made of it."""

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
from vault_core.api import problems
from vault_core.api.denials import audit_denials
from vault_core.api.edge import Edge
from vault_core.api.routes import ROUTES
from vault_core.errors import VaultError
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
    `anew` has an effect of its own. One that goes `by_steps` may be stopped between them.
    """

    name: str
    before: tuple[Act, ...]
    act: Act
    refused_again: tuple[str, ...] = ()
    unseen: bool = False
    anew: bool = False
    by_steps: bool = False

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


def called(work: Callable[[World], Awaitable[object]]) -> Act:
    """Return the call of a service itself, with the answer that the edge would give to what it raises."""

    async def act(world: World) -> Reply:
        try:
            await work(world)
        except VaultError as refused:
            body = {"code": refused.code}
            return Reply(problems.status_of(type(refused)), problems.headers_of(refused), body)
        return Reply(204, {}, None)

    return act


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
    if "fields" in body or "attributes" in body:
        del body["value"]
    return request(ALICE, "POST", "/credentials", body, **headers)


def lease(caller: Caller = DEPLOY_AGENT, ttl: str | None = None, key: str | None = None) -> Act:
    """Return the leasing of the credential."""
    body = {"credential": NAME} | ({"ttl": ttl} if ttl else {})
    return request(caller, "POST", "/leases", body, **({"Idempotency_Key": key} if key else {}))


def tagged(caller: Caller, method: str, path: str, body: object = None) -> Act:
    """Return the reading of what is at the path, and then the sending of this request with the tag that was read."""

    async def act(world: World) -> Reply:
        seen = await send(world, caller, "GET", path)
        return await send(world, caller, method, path, body, If_Match=seen.headers["ETag"]) if seen.code == "" else seen

    return act


def steps(*acts: Act) -> Act:
    """Return these acts one after another, with the answer of the last."""

    async def act(world: World) -> Reply | Report | None:
        answer = None
        for each in acts:
            answer = await each(world)
        return answer

    return act


def post(verb: str, **headers: str) -> Act:
    """Return what the credential's owner tells to be done to it."""
    return request(ALICE, "POST", f"{ONE}/{verb}", {"reason": "as planned"}, **headers)

"""What people and timers do in a world, and the operations that are made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func

from tests.faults import Crash, Plan
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, TENANTS, World
from tests.vendors import NORA
from vault_core.api import problems
from vault_core.api.denials import audit_denials
from vault_core.api.edge import Edge
from vault_core.api.routes import ROUTES
from vault_core.errors import TooSoon, VaultError
from vault_core.identities import Caller
from vault_core.lease import Lease
from vault_core.stores import Partitions
from vault_core.upkeep.runs import Report
from vault_core.vault import Vault

PEOPLE = {caller.identity.id: caller for caller in (ALICE, BOB, ADA, DEPLOY_AGENT, NORA)}
NAME = "db-password"
FIRST, SECOND = "correct horse", "battery staple"
ONE = f"/credentials/{NAME}"
_GONE = "01a1fdfa-4600-7000-8000-000000000000"  # the id of what is there no more


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
    path, _, query = f"/api/v1{path}".partition("?")
    route, parameters = next(
        (route, found.groupdict())
        for route in ROUTES
        if route.method == method and (found := re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", route.path), path))
    )
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = func.HttpRequest(
        method=method,
        url=f"https://vault.example{path}?{query}",
        headers={"Authorization": caller.identity.id, "Content-Type": "application/json", **given},
        params=dict(parse_qsl(query)),
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
    """Return the sending of this request; `{lease}` and the like in it stand for what was made last."""

    async def act(world: World) -> Reply:
        full, text = path, json.dumps(body)
        for mark, newest in _NEWEST.items():
            if mark in full + text:
                made_last = await newest(world)
                full, text = full.replace(mark, made_last), text.replace(mark, made_last)
        return await send(world, caller, method, full, json.loads(text), **headers)

    return act


async def _newest_lease(world: World) -> str:
    rows = (await world.stores.leases.query(Partitions("!", "~"))).rows
    leases = [Lease.from_document(row.document) for row in rows if row.key.startswith("lease:")]
    return max(leases, key=lambda lease: lease.issued_at).id


async def _newest_configuration(world: World) -> str:
    keys = [row.key for row in (await world.stores.vault.query(Partitions("!", "~"))).rows]
    ids = [key.removeprefix("configuration:") for key in keys if key.startswith("configuration:")]
    return max(ids, default=_GONE)


async def _newest_subscription(world: World) -> str:
    vault = Vault(world.stores, TENANTS, world.clock, world.outbound)  # another process, which no plan disturbs
    return next((one.id for one in reversed(await vault.subscriptions.all(ADA.tenant))), _GONE)


_NEWEST = {
    "{lease}": _newest_lease,
    "{configuration}": _newest_configuration,
    "{subscription}": _newest_subscription,
}


def refusable(code: str, act: Act) -> Act:
    """Return the act, with which all is well if it is refused with this code."""

    async def either(world: World) -> Reply | Report | None:
        answer = await act(world)
        return Reply(200, answer.headers, None) if isinstance(answer, Reply) and answer.code == code else answer

    return either


def refused(code: str, act: Act) -> Act:
    """Return the act, of which it is wanted that it is refused with this code."""

    async def refusal(world: World) -> Reply | Report | None:
        answer = await act(world)
        assert not isinstance(answer, Reply) or answer.code, "it was not refused"
        return answer

    return refusable(code, refusal)


def patient(act: Act) -> Act:
    """Return the act of somebody who comes back later when told that it is too soon."""

    async def acts(world: World) -> Reply | Report | None:
        answer = await act(world)
        if isinstance(answer, Reply) and answer.code == TooSoon.code:
            world.clock.pass_by(seconds=float(answer.headers["Retry-After"]))
            answer = await act(world)
        return answer

    return acts


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

    async def act(world: World) -> Reply | Report | None:
        seen = await request(caller, "GET", path)(world)
        if not isinstance(seen, Reply) or seen.code:
            return seen
        return await request(caller, method, path, body, If_Match=seen.headers["ETag"])(world)

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

"""What the sweeps share: worlds to disturb, what can be seen of them from outside, and the timers at their hours."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.contents import Contents, ListedSecrets, read_contents
from tests.faults import Plan
from tests.invariants import broken_rules, revealed, unfinished
from tests.operations import PEOPLE, Operation, Reply
from tests.vaults import TENANTS, World
from vault_core.audit import Event
from vault_core.credential import Credential, State, Status
from vault_core.credential import status as status_of
from vault_core.lease import state as state_of
from vault_core.stores import Stores
from vault_core.stores.memory import MemoryTable
from vault_core.upkeep.runs import Report
from vault_core.vault import Vault

TENANT = "contoso"
_SCHEDULES = {"expire_leases": 1, "check_credentials": 5, "reconcile": 15, "check_rotations": 60}  # minutes


@dataclass(frozen=True)
class Observed:
    """What operations change, without the ids and instants that differ from one world to another."""

    credentials: dict[str, Any]
    rules: dict[str, Any]
    leases: tuple[tuple[str, int, str, bool], ...]


@dataclass(frozen=True)
class Ways:
    """What is observed without an operation and when it ran through, at once and after the timers; what it told."""

    without: Observed
    through: Observed
    without_settled: Observed
    through_settled: Observed
    told: Counter[str]


_known: dict[str, Ways] = {}


def empty_world() -> World:
    """A world without anything in it."""
    return World(stores=Stores(MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), ListedSecrets()))


async def world_before(operation: Operation, plan: Plan | None = None) -> World:
    """A world in which the operation can begin, in a process that has just started and is under the plan."""
    world = empty_world()
    await operation.prepare(world)
    world.restart(plan)
    return world


async def calls_of(operation: Operation) -> list[int]:
    """The numbers of the calls to a store that the operation makes; timers also look at tenants that have nothing."""
    world = await world_before(operation)
    await operation.act(world)
    return [call.number for call in world.ledger.calls if not any(other in call.subject for other in TENANTS[1:])]


async def ways_of(operation: Operation) -> Ways:
    """What may be observed after the operation: the world as if it never ran, or as when it ran through."""
    if operation.name not in _known:
        without, through = await world_before(operation), await world_before(operation)
        await operation.act(through)
        at_once = await observe(without), await observe(through)
        await settle(without)
        await settle(through)
        told = _told(await contents_of(through))
        _known[operation.name] = Ways(*at_once, await observe(without), await observe(through), told)
    return _known[operation.name]


async def contents_of(world: World) -> Contents:
    """Everything that the world keeps."""
    assert isinstance(world.stores.secrets, ListedSecrets)
    return await read_contents(world.stores, TENANT, world.stores.secrets.names, world.clock())


async def faults_of(world: World, *, settled: bool = False) -> list[str]:
    """Which rules do not hold; and, once `settled`, what is left unfinished."""
    assert isinstance(world.stores.secrets, ListedSecrets)
    contents = await contents_of(world)
    faults = broken_rules(contents) + await revealed(world.stores, contents, world.stores.secrets.ever_written)
    return faults + (unfinished(contents) if settled else [])


async def untold(world: World, ways: Ways) -> Counter[str]:
    """The events that should have been told and were not."""
    return ways.told - _told(await contents_of(world))


async def untold_values(world: World, answer: object) -> list[str]:
    """The leases that the answer grants without an event that tells of it, or without a row of their own."""
    if not isinstance(answer, Reply) or answer.status != 201 or "value" not in answer.body:
        return []
    contents, lease_id = await contents_of(world), answer.body["id"]
    told = contents.told(Event.LEASE_CREATED, Event.VALUE_READ, lease_id=lease_id)
    return [] if told and any(lease.id == lease_id for lease in contents.leases) else [lease_id]


def _told(contents: Contents) -> Counter[str]:
    return Counter({event: contents.told(event) for event in {one.event for one in contents.events}})


async def observe(world: World) -> Observed:
    """Look at the world without changing it."""
    contents = await contents_of(world)
    names = {credential.id: credential.name for credential in contents.live}
    return Observed(
        credentials={one.name: await _credential(world, contents, one) for one in contents.live},
        rules=contents.rules.document() | {"revision": 0, "uncountedUntil": None},
        leases=tuple(
            sorted(
                (
                    names[lease.credential_id],
                    lease.version,
                    state_of(lease, contents.credentials[lease.credential_id], contents.now).value,
                    lease.renewed_at is not None,
                )
                for lease in contents.leases
                if lease.credential_id in names
            )
        ),
    )


async def _credential(world: World, contents: Contents, credential: Credential) -> dict[str, Any]:
    versions = [(one.number, one.state, await _value(world, one.secret, one.state)) for one in credential.versions]
    return {
        "versions": versions,
        "status": status_of(credential, contents.now, contents.rules.notice_period),
        "policy": credential.policy.model_dump(mode="json"),
        "description": credential.description,
        "owner": credential.owner_id,
        "revoked": credential.revoked_reason,
        "verdict": credential.validation.status,
        "announced": credential.announced,
    }


async def _value(world: World, secret: str | None, state: State) -> object:
    if secret is None or state is State.REVOKED:
        return secret is not None
    return json.loads((await world.stores.secrets.read(secret)).get_secret_value())["fields"]


async def settle(world: World) -> None:
    """Let half an hour pass, with each timer at its hours; only leases are looked after less often than they are."""
    vault = _undisturbed(world)
    for minute in range(5, 35, 5):
        world.clock.pass_by(minutes=5)
        for name, every in _SCHEDULES.items():
            if minute % every == 0:
                await _run(vault, name)
    await _run(vault, "check_rotations")


async def let_months_pass(world: World) -> None:
    """Lease what can be leased once more; then let its end, the retention and the memory of leases pass."""
    world.clock.pass_by(days=2)
    vault, contents = _undisturbed(world), await contents_of(world)
    for credential in contents.live:
        if status_of(credential, contents.now, contents.rules.notice_period) in (Status.ACTIVE, Status.EXPIRING):
            granted = await vault.grants.grant(PEOPLE[credential.owner_id], credential.id, None, None, world.clock())
            assert granted.lease.version == credential.newest.number
    for days in (2, 9, 80, 10):
        world.clock.pass_by(days=days)
        for name in (*_SCHEDULES, *_SCHEDULES):
            await _run(vault, name)


def _undisturbed(world: World) -> Vault:
    """Another process on the same stores, which no plan disturbs and no ledger slows down."""
    return Vault(world.stores, TENANTS, world.clock)


async def _run(vault: Vault, timer: str) -> None:
    report: Report = await getattr(vault, timer)()
    assert (report.failed, report.left_some) == (0, False), timer

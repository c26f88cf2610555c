"""What the sweeps share: worlds to disturb, what can be seen of them from outside, and the timers at their hours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.acting import PEOPLE, Operation, Reply
from tests.contents import Contents, ListedSecrets, read_contents
from tests.faults import Plan
from tests.invariants import broken_rules, revealed, unfinished
from tests.vaults import TENANTS, World
from vault_core.audit import Event
from vault_core.credential import Credential, State, refusal_to_lease
from vault_core.credential import status as status_of
from vault_core.identities import Caller
from vault_core.lease import state as state_of
from vault_core.locker import Locker
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
    lockers: dict[str, Any]
    rules: dict[str, Any]
    leases: tuple[tuple[str, int, str, bool], ...]

    @property
    def lasting(self) -> tuple[dict[str, Any], ...]:
        """All but the leases."""
        return self.credentials, self.lockers, self.rules


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
    answer = await operation.act(world)
    assert not isinstance(answer, Reply) or answer.status < 400, answer.code
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
        credentials={one.name: _credential(contents, one) for one in contents.live},
        lockers={one.name: _locker(one) for one in contents.live_lockers},
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


def _credential(contents: Contents, credential: Credential) -> dict[str, Any]:
    return {
        "versions": [(one.number, one.state, _fields(contents, one.secret, credential)) for one in credential.versions],
        "attributes": [
            (one.name, one.description, one.user_provided, one.masked, one.revision, one.value and one.value.revision)
            for one in credential.attributes
        ],
        "own": _own(contents, credential),
        "locker": next((one.name for one in contents.live_lockers if one.id == credential.locker_id), None),
        "status": status_of(credential, contents.now, contents.rules.notice_period),
        "policy": credential.policy.model_dump(mode="json"),
        "description": credential.description,
        "owner": credential.owner_id,
        "revoked": credential.revoked_reason,
        "verdict": credential.validation.status,
        "announced": credential.announced,
    }


def _fields(contents: Contents, secret: str | None, credential: Credential) -> object:
    """The values that the attributes have; of a revoked credential, whether there is a value at all."""
    if secret is None or credential.newest.state is State.REVOKED:
        return secret is not None
    envelope = contents.secrets[secret]
    assert envelope is not None
    names = {one.id: one.name for one in credential.attributes}
    return {names[key]: text for key, text in envelope["fields"].items() if key in names}


def _own(contents: Contents, credential: Credential) -> dict[str, Any]:
    """What consumers gave for what they are still asked for: what for else, nobody reads any more."""
    asked_for = {one.id for one in credential.user_provided}
    return {
        own.consumer_id: (
            _fields(contents, own.secret, credential),
            sorted(mark.revision for key, mark in own.marks.items() if key in asked_for),
        )
        for own in contents.own.values()
        if own.credential_id == credential.id and own.marks.keys() & asked_for
    }


def _locker(locker: Locker) -> dict[str, Any]:
    return {
        "description": locker.description,
        "members": locker.members,
        "consumers": locker.consumers,
        "credentials": locker.credentials,
    }


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
        for caller in _who_can_lease(contents, credential)[:1]:
            granted = await vault.grants.grant(caller, credential.id, None, None, world.clock())
            assert granted.lease.version == credential.newest.number
    for days in (2, 9, 80, 10):
        world.clock.pass_by(days=days)
        for name in (*_SCHEDULES, *_SCHEDULES):
            await _run(vault, name)


def _who_can_lease(contents: Contents, credential: Credential) -> list[Caller]:
    if refusal_to_lease(credential, contents.now):
        return []
    if not credential.user_provided:
        return [PEOPLE[credential.owner_id]]
    asked_for = {one.id for one in credential.user_provided}
    given = [own for own in contents.own.values() if own.credential_id == credential.id]
    return [PEOPLE[own.consumer_id] for own in given if asked_for <= own.marks.keys()]


def _undisturbed(world: World) -> Vault:
    """Another process on the same stores, which no plan disturbs and no ledger slows down."""
    return Vault(world.stores, TENANTS, world.clock)


async def _run(vault: Vault, timer: str) -> None:
    report: Report = await getattr(vault, timer)()
    assert (report.failed, report.left_some) == (0, False), timer

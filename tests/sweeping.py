"""What the sweeps share: worlds to disturb, what can be seen of them from outside, and the timers at their hours."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, fields
from weakref import WeakKeyDictionary

from tests.acting import PEOPLE, Act, Operation, Reply
from tests.contents import Contents, ListedSecrets, all_of, read_contents
from tests.faults import Plan
from tests.invariants import TOLD, broken_rules, unfinished
from tests.observing import Observed, observed
from tests.secrecy import revealed, sent, texts_of
from tests.vaults import TENANTS, Clock, World, person
from tests.vendor_invariants import Estate, VendorWatch, between_tenants, lost
from tests.vendors import NORA
from vault_core.audit import Event
from vault_core.credential import Credential, refusal_to_lease
from vault_core.errors import NotFound
from vault_core.identities import Caller, Role
from vault_core.stores import Keys, Partitions, Stores
from vault_core.stores.memory import MemoryTable
from vault_core.upkeep.runs import Report
from vault_core.vault import Vault

TENANT = "contoso"
_SCHEDULES = {  # minutes
    "expire_leases": 1,
    "deliver_events": 1,
    "check_credentials": 5,
    "reconcile": 15,
    "check_rotations": 60,
}


@dataclass(frozen=True)
class Ways:
    """What is observed without an operation and when it ran through, at once and after the timers; what was told."""

    without: Observed
    through: Observed
    without_settled: Observed
    through_settled: Observed
    told_at_once: Counter[str]
    told: Counter[str]


_known: dict[str, Ways] = {}
_prepared: dict[tuple[Act, ...], World] = {}
"""What operations start from: made once for all that start from the same, and never touched again."""
_seen: WeakKeyDictionary[ListedSecrets, tuple[object, Estate]] = WeakKeyDictionary()
"""What the worlds with these secrets kept when they were looked at last: much is asked of one state."""


def empty_world() -> World:
    """A world without anything in it."""
    stores = Stores(MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), ListedSecrets())
    return World(stores=stores, outbound=VendorWatch(stores=stores))


async def world_before(operation: Operation, plan: Plan | None = None) -> World:
    """A world in which the operation can begin, in a process that has just started and is under the plan."""
    if operation.before not in _prepared:
        _prepared[operation.before] = empty_world()
        await operation.prepare(_prepared[operation.before])
    world = twin_of(_prepared[operation.before])
    world.restart(plan)
    return world


def twin_of(world: World) -> World:
    """A world in which all that happened is the same, and which goes its own way from here."""
    tables = {each.name: getattr(world.stores, each.name).copy() for each in fields(Stores) if each.name != "secrets"}
    stores = Stores(**tables, secrets=deepcopy(world.stores.secrets))
    outbound = VendorWatch(answers=dict(world.outbound.answers), received=list(world.outbound.received), stores=stores)
    return World(stores=stores, clock=Clock(world.clock.now), outbound=outbound)


async def calls_of(operation: Operation) -> list[int]:
    """The numbers of the calls to a store that the operation makes; timers also look at tenants that have nothing."""
    world = await world_before(operation)
    answer = await operation.act(world)
    assert not isinstance(answer, Reply) or answer.status < 400, answer.code
    idle = set(TENANTS) - set(await _served(world)) - {TENANT}
    looks = [call for call in world.ledger.calls if call.store == "vault" and any(one in call.subject for one in idle)]
    return [call.number for call in world.ledger.calls if call not in looks]


async def ways_of(operation: Operation) -> Ways:
    """What may be observed after the operation: the world as if it never ran, or as when it ran through."""
    if operation.name not in _known:
        without, through = await world_before(operation), await world_before(operation)
        await operation.act(through)
        at_once = await observe(without), await observe(through)
        told_at_once = _told(await everything_in(through))
        await settle(without)
        await settle(through)
        told = _told(await everything_in(through))
        _known[operation.name] = Ways(*at_once, await observe(without), await observe(through), told_at_once, told)
    return _known[operation.name]


async def contents_of(world: World, tenant: str = TENANT) -> Contents:
    """Everything that the world keeps for the tenant."""
    assert isinstance(world.stores.secrets, ListedSecrets)
    of_tenant = world.stores.secrets.new_name(tenant).partition("-")[0]
    names = {name for name in world.stores.secrets.names if name.startswith(of_tenant)}
    return await read_contents(world.stores, tenant, names, world.clock())


async def everything_in(world: World) -> Estate:
    """Everything that the world keeps, for whomever."""
    assert isinstance(world.stores.secrets, ListedSecrets)
    state, known = _state_of(world), _seen.get(world.stores.secrets)
    if known is None or known[0] != state:
        known = _seen[world.stores.secrets] = state, await _read(world)
    return known[1]


def _state_of(world: World) -> object:
    """What is the same as long as nothing is written and no time passes."""
    assert isinstance(world.stores.secrets, ListedSecrets)
    tables = [getattr(world.stores, each.name) for each in fields(Stores) if each.name != "secrets"]
    return world.clock.now, world.stores.secrets.writes, [table.writes for table in tables]


async def _read(world: World) -> Estate:
    tenants = {tenant: await contents_of(world, tenant) for tenant in (TENANT, *await _served(world))}
    return Estate(tenants, [row async for row in all_of(world.stores.catalog, Partitions("!", "~"))])


async def _served(world: World) -> list[str]:
    """The tenants for whom something is kept."""
    return [one for one in TENANTS if (await world.stores.vault.query(Keys(one, "", "~"), limit=1)).rows]


async def faults_of(world: World, *, settled: bool = False) -> list[str]:
    """Which rules do not hold; and, once `settled`, what is left unfinished."""
    assert isinstance(world.stores.secrets, ListedSecrets)
    estate, ever_written = await everything_in(world), world.stores.secrets.ever_written
    faults = [*between_tenants(estate), *sent(world.outbound.received, texts_of(ever_written))]
    for contents in estate.tenants.values():
        faults += broken_rules(contents) + await revealed(world.stores, contents, ever_written)
        faults += lost(contents, world.outbound.received, TOLD)
        faults += unfinished(contents) if settled else []
    if isinstance(world.outbound, VendorWatch):
        faults += world.outbound.strays
    return faults


async def untold(world: World, ways: Ways) -> Counter[str]:
    """The events that should have been told and were not."""
    return ways.told - _told(await everything_in(world))


async def untold_at_once(world: World, ways: Ways) -> Counter[str]:
    """As `untold`, before the timers had their turn: what those tell is left out."""
    return ways.told_at_once - _told(await everything_in(world))


async def untold_values(world: World, answer: object) -> list[str]:
    """The leases that the answer grants without an event that tells of it, or without a row of their own."""
    if not isinstance(answer, Reply) or answer.status != 201 or "value" not in answer.body:
        return []
    contents, lease_id = (await everything_in(world)).tenants[TENANT], answer.body["id"]
    told = contents.told(Event.LEASE_CREATED, Event.VALUE_READ, lease_id=lease_id)
    return [] if told and any(lease.id == lease_id for lease in contents.leases) else [lease_id]


def _told(estate: Estate) -> Counter[str]:
    tenants = estate.tenants.values()
    return Counter(
        {one: sum(each.told(one) for each in tenants) for each in tenants for one in {it.event for it in each.events}}
    )


async def observe(world: World) -> Observed:
    """Look at the world without changing it."""
    estate = await everything_in(world)
    any_to_show = any(contents.configurations for contents in estate.tenants.values())
    return observed(estate, TENANT, await _shown(world) if any_to_show else {})


async def _shown(world: World) -> dict[str, set[str]]:
    """The ids of the configurations that the service shows to whom."""
    vault, viewers = _undisturbed(world), {one: person("viewer", Role.VIEWER, tenant=one) for one in TENANTS}
    pages = {one: await vault.configurations.page(viewer, "", 100) for one, viewer in viewers.items()}
    return {one: {each.id for each in page.configurations} for one, page in pages.items()}


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
    await _clear_away(world)


async def _clear_away(world: World) -> None:
    """Show configurations to nobody but those whom they are for; then delete those on which nothing lives."""
    vault, estate = _undisturbed(world), await everything_in(world)
    for configuration in estate.tenants[NORA.tenant].configurations.values() if NORA.tenant in estate.tenants else ():
        for tenant in TENANTS:
            offered = configuration.vendor == tenant or configuration.is_offered_to(tenant)
            try:
                viewer = person("viewer", Role.VIEWER, Role.VENDOR, tenant=tenant)
                assert await vault.configurations.read(viewer, configuration.id, world.clock())
                assert offered
            except NotFound:
                assert not offered
        if not estate.lives_on(configuration.vendor, configuration.id):
            await vault.configurations.delete(NORA, configuration.id, None, world.clock())


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
    return Vault(world.stores, TENANTS, world.clock, world.outbound)


async def _run(vault: Vault, timer: str) -> None:
    report: Report = await getattr(vault, timer)()
    assert report.failed == 0, timer
    assert not report.left_some or timer == "deliver_events", (
        timer
    )  # a subscriber that does not answer is left for later

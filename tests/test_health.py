"""Is the vault able to work, and do its timers run?"""

from __future__ import annotations

import pytest

from tests.faults import Fault, Plan
from tests.vaults import NOON, World
from vault_core.health import Health
from vault_core.stores import Put
from vault_core.upkeep.runs import Report


@pytest.fixture
def world() -> World:
    return World()


async def test_a_vault_whose_stores_answer_is_well(world: World) -> None:
    assert await world.vault.health.read() == Health(tables=True, key_vault=True, beats=())
    assert (await world.vault.health.read()).well


@pytest.mark.parametrize(("call", "tables", "key_vault"), [(1, False, True), (2, True, False)])
async def test_it_is_said_which_store_does_not_answer(world: World, call: int, tables: bool, key_vault: bool) -> None:
    world.restart(Plan(faults={call: Fault()}))
    health = await world.vault.health.read()
    assert (health.tables, health.key_vault, health.well) == (tables, key_vault, False)


async def test_whoever_asks_often_is_answered_from_memory(world: World) -> None:
    for _ in range(20):
        await world.vault.health.read()
    assert world.ledger.total == 2
    world.clock.pass_by(seconds=5, milliseconds=1)
    await world.vault.health.read()
    assert world.ledger.total == 4


async def test_an_outage_is_forgotten_when_it_is_over(world: World) -> None:
    world.restart(Plan(faults={1: Fault(), 2: Fault()}))
    assert not (await world.vault.health.read()).well
    world.clock.pass_by(seconds=6)
    assert (await world.vault.health.read()).well


async def test_every_timer_leaves_a_sign_of_life(world: World) -> None:
    timers = (
        world.vault.expire_leases,
        world.vault.check_credentials,
        world.vault.check_rotations,
        world.vault.reconcile,
    )
    for timer in timers:
        await timer()
        world.clock.pass_by(minutes=1)
    beats = {beat.timer: beat.ran_at for beat in (await world.vault.health.read()).beats}
    assert set(beats) == {"expire_leases", "check_credentials", "check_rotations", "reconcile"}
    assert beats["expire_leases"] == NOON


async def test_runs_with_failures_are_counted_until_one_goes_well(world: World) -> None:
    credential = await world.create_for_agents()
    lease = (await world.lease()).lease
    row = await world.stores.leases.read(f"contoso|{credential.id}", f"lease:{lease.reference.token}")
    await world.stores.leases.commit(Put(row.with_document({"not": "a lease"})))
    counted = []
    for hours in (2, 1, 1):
        world.clock.pass_by(hours=hours)
        await world.vault.expire_leases()
        [beat] = (await world.vault.health.read()).beats
        counted.append((beat.failing_runs, beat.report))
    assert counted == [(number, Report(failed=1)) for number in (1, 2, 3)]
    await world.stores.leases.commit(Put(row))
    world.clock.pass_by(hours=1)
    await world.vault.expire_leases()
    [beat] = (await world.vault.health.read()).beats
    assert (beat.failing_runs, beat.report) == (0, Report(done=1))


async def test_health_names_nothing_of_any_tenant(world: World) -> None:
    await world.create_for_agents()
    await world.lease()
    await world.vault.expire_leases()
    told = repr(await world.vault.health.read())
    assert "contoso" not in told
    assert "db-password" not in told

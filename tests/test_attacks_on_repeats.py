"""Attacks on what a repeat is given, and on what is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.faults import Crash
from tests.test_attacks import Interrupted, die_after_the_lease_row, lease_once, worker_with
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, World
from vault_core.errors import LeaseLimitReached, NotFound
from vault_core.policies import LeasePolicy
from vault_core.stores import Put, Row
from vault_core.tenants import ReplaceTenantRules


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("before", [{}, {"maxLeases": 3}], ids=["no limit before", "lowered limit"])
async def test_a_repeat_never_exceeds_a_limit_that_a_lease_cut_short_did_not_know_of(
    world: World, before: dict[str, Any]
) -> None:
    await world.create_for_agents(policy=before)
    stale = worker_with(world, leases=Interrupted(world.stores.leases, after=die_after_the_lease_row))
    await stale.credentials.read(ALICE, "db-password", world.clock())
    await world.update(policy={"maxLeases": 1})
    world.clock.pass_by(minutes=10)
    await world.lease(ALICE)
    with pytest.raises(Crash):
        await lease_once(world, stale)
    world.clock.pass_by(seconds=5)
    with pytest.raises(LeaseLimitReached):
        await lease_once(world, world.vault)


async def test_a_repeat_after_the_tenants_maximum_was_lowered_gives_the_first_lease(
    world: World,
) -> None:
    await world.create_for_agents()
    world.clock.pass_by(seconds=1)
    first = await lease_once(world, world.vault, timedelta(hours=20))
    world.clock.pass_by(seconds=1)
    rules = ReplaceTenantRules(defaults=LeasePolicy.model_validate({"maxLeaseTTL": "1h", "defaultLeaseTTL": "1h"}))
    await world.vault.tenants.replace(ADA, rules, None, world.clock())
    again = await lease_once(world, world.vault, timedelta(hours=20))
    assert again.lease.expires_at == first.lease.expires_at


async def test_broken_rows_do_not_keep_old_leases_from_being_forgotten(world: World) -> None:
    await world.create_for_agents()
    lease_id = (await world.lease()).lease.id
    world.clock.pass_by(minutes=61)
    await world.vault.expire_leases()
    for number in range(1000):
        await world.stores.due.commit(Put(Row("forget|202601010000|0", f"key {number}", {})))
    for _ in range(3):
        world.clock.pass_by(days=9)
        await world.vault.reconcile()
    with pytest.raises(NotFound):
        await world.vault.leases.read(DEPLOY_AGENT, lease_id, world.clock())

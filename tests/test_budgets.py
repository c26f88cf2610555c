"""What operations may cost, in calls to the stores and in rounds of calls one after another, on a warm worker.

Warm: the worker knows the tenant's keys and settings, and has served the credential before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import pytest

from tests.faults import Ledger
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, MONA, TENANTS, World
from vault_core.credential_listing import CredentialQuery
from vault_core.errors import ValueRefused
from vault_core.policies import LeasePolicy
from vault_core.tenants import ReplaceTenantRules
from vault_core.vault import Vault

HOUR = timedelta(hours=1)
Operation = Callable[[], Awaitable[object]]


@pytest.fixture
def world() -> World:
    return World()


async def spent(world: World, operation: Operation) -> Ledger:
    """The calls of this operation alone."""
    world.ledger.calls.clear()
    await operation()
    return world.ledger


def assert_within(ledger: Ledger, *, rounds: int, tables: int, secrets: int = 0) -> None:
    assert ledger.rounds <= rounds, f"{ledger.rounds} rounds:\n{ledger}"
    assert ledger.total - ledger.count("secrets") <= tables, str(ledger)
    assert ledger.count("secrets") <= secrets, str(ledger)


async def test_a_lease_takes_two_rounds_and_four_calls(world: World) -> None:
    await world.create_for_agents()
    await world.lease()
    assert_within(await spent(world, world.lease), rounds=2, tables=4)


async def test_a_lease_whose_value_is_no_longer_in_memory_takes_one_call_more_and_no_round(world: World) -> None:
    await world.create_for_agents()
    await world.lease()
    world.clock.pass_by(seconds=61)
    await world.vault.credentials.read(ALICE, "db-password", world.clock())  # the tenant's settings are fresh again
    assert_within(await spent(world, world.lease), rounds=2, tables=4, secrets=1)
    assert world.ledger.count("secrets", "read") == 1


async def test_a_lease_on_one_of_few_places_takes_three_rounds_and_five_calls(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 5})
    await world.lease()
    assert_within(await spent(world, world.lease), rounds=3, tables=5)


async def test_taking_over_the_place_of_an_expired_lease_costs_no_more(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 1, "maxLeaseTTL": "5s"})
    await world.lease()
    world.clock.pass_by(seconds=6)
    assert_within(await spent(world, world.lease), rounds=3, tables=5)


async def test_a_worker_that_meets_a_credential_for_the_first_time_takes_one_round_more(world: World) -> None:
    await world.create_for_agents(name="another")
    credential = await world.create_for_agents()
    world.restart()
    await world.lease(reference="another")
    assert_within(await spent(world, partial(world.lease, reference=credential.id)), rounds=3, tables=5, secrets=1)


@pytest.mark.parametrize("policy", [{}, {"maxLeases": 5}])
async def test_a_renewal_takes_two_rounds_and_five_calls(world: World, policy: dict[str, object]) -> None:
    await world.create_for_agents(policy=policy)
    lease_id = (await world.lease()).lease.id
    world.clock.pass_by(seconds=5)
    renew = partial(world.vault.leases.renew, DEPLOY_AGENT, lease_id, None, None, world.clock())
    assert_within(await spent(world, renew), rounds=2, tables=5)


async def test_looking_a_lease_up_takes_one_round_of_two_calls(world: World) -> None:
    await world.create_for_agents()
    lease_id = (await world.lease()).lease.id
    look = partial(world.vault.leases.read, DEPLOY_AGENT, lease_id, world.clock())
    assert_within(await spent(world, look), rounds=1, tables=2)


async def test_reading_a_credential_by_id_takes_one_call(world: World) -> None:
    credential = await world.create()
    read = partial(world.vault.credentials.read, ALICE, credential.id, world.clock())
    assert_within(await spent(world, read), rounds=1, tables=1)


async def test_reading_a_credential_by_name_takes_two_calls(world: World) -> None:
    await world.create()
    read = partial(world.vault.credentials.read, ALICE, "db-password", world.clock())
    assert_within(await spent(world, read), rounds=2, tables=2)


async def test_creating_a_credential_takes_three_rounds_and_four_calls(world: World) -> None:
    await world.create(name="another")
    assert_within(await spent(world, world.create), rounds=3, tables=3, secrets=1)


async def test_rotating_a_credential_takes_four_rounds_and_five_calls(world: World) -> None:
    credential = await world.create()
    assert_within(await spent(world, partial(world.rotate, reference=credential.id)), rounds=4, tables=4, secrets=1)


async def test_a_page_of_a_hundred_credentials_takes_one_call(world: World) -> None:
    for number in range(130):
        await world.create(name=f"credential-{number}")
    list_page = partial(world.vault.listing.page, MONA, CredentialQuery(limit=100), world.clock())
    assert_within(await spent(world, list_page), rounds=1, tables=1)


async def test_a_page_for_one_who_does_not_see_everything_takes_one_call_more_for_the_lockers(world: World) -> None:
    for number in range(130):
        await world.create(name=f"credential-{number}")
    list_page = partial(world.vault.listing.page, ALICE, CredentialQuery(limit=100), world.clock())
    assert_within(await spent(world, list_page), rounds=2, tables=2)


async def expire(leases: int) -> int:
    """The number of calls in which a worker that knows nothing yet sweeps as many leases of one credential."""
    world = World()
    await world.create_for_agents()
    other_worker = Vault(world.stores, TENANTS, world.clock, world.outbound)
    for _ in range(leases):
        await other_worker.grants.grant(DEPLOY_AGENT, "db-password", timedelta(minutes=5), None, world.clock())
    world.clock.pass_by(minutes=7)
    world.restart()
    report = await world.vault.expire_leases()
    assert (report.done, report.failed) == (leases, 0)
    return world.ledger.total


@pytest.mark.parametrize("leases", [30, 300, pytest.param(3000, marks=pytest.mark.slow)])
async def test_sweeping_leases_takes_a_call_for_every_thirty(leases: int) -> None:
    assert await expire(leases) <= leases / 30 + 12


async def test_a_sweep_with_nothing_due_costs_the_same_however_many_leases_run() -> None:
    costs = []
    for leases in (1, 200):
        world = World()
        await world.create_for_agents()
        for _ in range(leases):
            await world.lease(ttl=HOUR)
        world.clock.pass_by(minutes=7)
        costs.append((await spent(world, world.vault.expire_leases)).total)
    assert costs[0] == costs[1] <= 2


async def test_timers_with_nothing_due_ask_each_tenant_once(world: World) -> None:
    for number in range(50):
        await world.create(name=f"credential-{number}", validUntil="2031-01-01T00:00:00Z")
    await world.vault.reconcile()
    for timer in (world.vault.check_credentials, world.vault.check_rotations):
        assert (await spent(world, timer)).count("vault") == 3


@pytest.mark.parametrize("credentials", [1, 60])
async def test_a_lease_costs_the_same_however_many_credentials_there_are(world: World, credentials: int) -> None:
    for number in range(credentials):
        await world.create(name=f"credential-{number}")
    await world.create_for_agents()
    await world.lease()
    assert (await spent(world, world.lease)).total == 4


async def test_settings_that_are_fresh_are_not_read_again(world: World) -> None:
    await world.create_for_agents()
    await world.lease()
    world.clock.pass_by(seconds=9)
    assert (await spent(world, world.lease)).total == 4
    world.clock.pass_by(seconds=2)
    assert (await spent(world, world.lease)).total == 5


async def test_a_limit_that_came_later_costs_no_round(world: World) -> None:
    await world.create_for_agents()
    await world.lease()
    await world.vault.tenants.replace(ADA, ReplaceTenantRules(defaults=LeasePolicy(max_leases=5)), None, world.clock())
    assert_within(await spent(world, world.lease), rounds=3, tables=6)


async def test_a_rotation_that_is_refused_costs_no_write(world: World) -> None:
    credential = await world.create()
    world.ledger.calls.clear()
    with pytest.raises(ValueRefused):
        await world.rotate(reference=credential.id, value="correct horse")
    assert world.ledger.total == 1

"""Places: `maxLeases` is never exceeded, whatever happens to the limit while leases are out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.vaults import ADA, DEPLOY_AGENT, NOON, World
from vault_core.errors import LeaseEnded, LeaseLimitReached, Unavailable
from vault_core.grants import Granted
from vault_core.leases import Seen
from vault_core.policies import LeasePolicy
from vault_core.tenants import ReplaceTenantRules

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> World:
    return World()


async def lease_all(world: World, count: int) -> tuple[list[Granted], list[BaseException]]:
    answers = await asyncio.gather(*(world.lease() for _ in range(count)), return_exceptions=True)
    granted = [answer for answer in answers if isinstance(answer, Granted)]
    return granted, [answer for answer in answers if isinstance(answer, BaseException)]


async def renew(world: World, lease_id: str) -> Seen:
    return await world.vault.leases.renew(DEPLOY_AGENT, lease_id, None, None, world.clock())


async def set_defaults(world: World, **defaults: object) -> None:
    rules = ReplaceTenantRules(defaults=LeasePolicy.model_validate(defaults))
    await world.vault.tenants.replace(ADA, rules, None, world.clock())


async def test_the_limit_is_never_exceeded_however_many_ask_at_once(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 5})
    granted, refused = await lease_all(world, 64)
    assert len(granted) == 5
    assert {type(refusal) for refusal in refused} <= {LeaseLimitReached, Unavailable}


async def test_the_refusal_says_when_a_place_frees(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 2})
    await world.lease(ttl=HOUR)
    await world.lease(ttl=20 * MINUTE)
    world.clock.pass_by(minutes=5)
    with pytest.raises(LeaseLimitReached) as refused:
        await world.lease()
    assert (refused.value.frees_at, refused.value.retry_after) == (NOON + 20 * MINUTE, 15 * MINUTE)


async def test_an_expired_lease_frees_its_place_without_a_timer(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 1})
    await world.lease(ttl=MINUTE)
    world.clock.pass_by(minutes=1)
    granted, _ = await lease_all(world, 10)
    assert len(granted) == 1


async def test_an_ended_lease_frees_its_place_at_once(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 1})
    first = await world.lease()
    await world.vault.leases.revoke(DEPLOY_AGENT, first.lease.id, world.clock())
    assert await world.lease()


async def test_a_lease_whose_place_was_taken_over_cannot_be_renewed_back_into_it(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 1})
    first = await world.lease(ttl=MINUTE)
    world.clock.pass_by(minutes=1)
    await world.lease()
    with pytest.raises(LeaseEnded):
        await world.vault.leases.renew(DEPLOY_AGENT, first.lease.id, None, None, NOON)  # a clock that is behind


async def test_of_a_renewal_and_a_takeover_at_the_last_moment_one_wins(world: World) -> None:
    credential = await world.create_for_agents(policy={"maxLeases": 1})
    first = await world.lease(ttl=MINUTE)
    world.clock.pass_by(minutes=1)
    just_before = world.clock() - timedelta(milliseconds=1)
    renewal = world.vault.leases.renew(DEPLOY_AGENT, first.lease.id, None, None, just_before)
    answers = await asyncio.gather(renewal, world.lease(), return_exceptions=True)
    assert sum(isinstance(answer, Seen | Granted) for answer in answers) == 1
    assert (await world.vault.leases.outstanding("contoso", credential.id, world.clock())).total() == 1


async def test_a_lowered_limit_counts_the_leases_that_are_out(world: World) -> None:
    credential = await world.create_for_agents(policy={"maxLeases": 8})
    granted, _ = await lease_all(world, 4)
    await world.update(policy={"maxLeases": 3})
    for _ in range(4):
        assert (await lease_all(world, 20))[0] == []
    for out in granted[:2]:
        await world.vault.leases.revoke(DEPLOY_AGENT, out.lease.id, world.clock())
    world.clock.pass_by(minutes=2)
    for _ in range(4):
        await lease_all(world, 20)
    assert (await world.vault.leases.outstanding("contoso", credential.id, world.clock())).total() == 3


async def test_a_limit_that_comes_later_counts_the_leases_that_are_out(world: World) -> None:
    await world.create_for_agents()
    await lease_all(world, 2)
    await world.update(policy={"maxLeases": 3})
    granted, _ = await lease_all(world, 20)
    assert len(granted) == 1


async def test_a_maximum_that_was_lowered_first_does_not_hide_longer_leases_from_a_limit(world: World) -> None:
    await world.create_for_agents()
    await world.lease(ttl=24 * HOUR)
    await world.update(policy={"maxLeaseTTL": "1h"})
    await world.update(policy={"maxLeases": 1})
    world.clock.pass_by(hours=3)
    with pytest.raises(LeaseLimitReached):
        await world.lease()


async def test_a_limit_that_was_lifted_for_a_while_counts_what_was_leased_meanwhile(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 2})
    await world.update(policy={"maxLeases": None})
    await lease_all(world, 5)
    await world.update(policy={"maxLeases": 2})
    with pytest.raises(LeaseLimitReached):
        await world.lease()


async def test_a_renewed_lease_keeps_its_place(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 1})
    lease_id = (await world.lease(ttl=HOUR)).lease.id
    world.clock.pass_by(minutes=59)
    await renew(world, lease_id)
    world.clock.pass_by(minutes=30)
    with pytest.raises(LeaseLimitReached) as refused:
        await world.lease()
    assert refused.value.frees_at == NOON + 119 * MINUTE


async def test_the_tenants_limit_holds_where_the_credential_has_none(world: World) -> None:
    await set_defaults(world, maxLeases=2)
    await world.create_for_agents()
    assert len((await lease_all(world, 10))[0]) == 2


async def test_a_limit_that_comes_with_the_tenants_defaults_counts_the_leases_that_are_out(world: World) -> None:
    await world.create_for_agents()
    await lease_all(world, 2)
    await set_defaults(world, maxLeases=3)
    assert len((await lease_all(world, 20))[0]) == 1


async def test_a_lowered_maximum_of_the_tenant_does_not_hide_longer_leases_from_a_limit(world: World) -> None:
    await world.create_for_agents()
    await world.lease(ttl=24 * HOUR)
    await set_defaults(world, maxLeaseTTL="1h")
    world.clock.pass_by(minutes=1)
    await set_defaults(world, maxLeaseTTL="1h", maxLeases=1)
    world.clock.pass_by(hours=3)
    with pytest.raises(LeaseLimitReached):
        await world.lease()


async def test_a_lease_without_a_place_that_is_renewed_at_the_last_moment_is_not_forgotten(world: World) -> None:
    credential = await world.create_for_agents()
    lease_id = (await world.lease(ttl=MINUTE)).lease.id
    await world.update(policy={"maxLeases": 1})
    world.clock.pass_by(minutes=1)
    just_before = world.clock() - timedelta(milliseconds=1)
    renewal = world.vault.leases.renew(DEPLOY_AGENT, lease_id, None, None, just_before)
    await asyncio.gather(world.lease(), renewal, return_exceptions=True)
    assert (await world.vault.leases.outstanding("contoso", credential.id, world.clock())).total() == 1

"""Two workers over the same stores: what one remembers, the other may have changed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, World
from tests.workers import another_worker
from vault_core.errors import (
    CredentialNotUsable,
    CredentialRevoked,
    LeaseEnded,
    LeaseLimitReached,
    NotFound,
    VersionRotated,
)
from vault_core.grants import Granted
from vault_core.identities import Caller
from vault_core.policies import LeasePolicy
from vault_core.repeats import Once
from vault_core.tenants import ReplaceTenantRules

HOUR = timedelta(hours=1)


class Other:
    """Another worker, which remembers what it saw."""

    def __init__(self, world: World) -> None:
        self.vault = another_worker(world)
        self._clock = world.clock

    async def lease(self, caller: Caller = DEPLOY_AGENT, reference: str = "db-password") -> Granted:
        return await self.vault.grants.grant(caller, reference, None, None, self._clock())


@pytest.fixture
def world() -> World:
    return World()


async def running(world: World, credential_id: str) -> int:
    return (await world.vault.leases.outstanding("contoso", credential_id, world.clock())).total()


async def test_what_one_revokes_the_other_does_not_lease(world: World) -> None:
    credential, other = await world.create_for_agents(), Other(world)
    await other.lease()
    await world.revoke()
    with pytest.raises(CredentialRevoked):
        await other.lease()
    assert await running(world, credential.id) == 0


async def test_what_one_suspends_the_other_does_not_lease(world: World) -> None:
    credential, other = await world.create_for_agents(), Other(world)
    await other.lease()
    await world.vault.credentials.suspend(ALICE, "db-password", None, None, world.clock())
    with pytest.raises(CredentialNotUsable):
        await other.lease()
    assert await running(world, credential.id) == 1


async def test_what_one_rotates_the_other_leases_anew(world: World) -> None:
    await world.create_for_agents()
    other = Other(world)
    old = await other.lease()
    await world.rotate(value="new value")
    new = await other.lease()
    assert (new.lease.version, new.value.get_secret_value()) == (2, "new value")
    with pytest.raises(VersionRotated):
        await other.vault.leases.renew(DEPLOY_AGENT, old.lease.id, None, None, world.clock())


async def test_whom_one_shuts_out_the_other_does_not_serve(world: World) -> None:
    credential, other = await world.create_for_agents(), Other(world)
    await other.lease()
    await world.update(policy={"allowedIdentities": []})
    with pytest.raises(NotFound):
        await other.lease()
    assert await running(world, credential.id) == 1


async def test_whom_one_lets_in_the_other_serves_at_once(world: World) -> None:
    await world.create()
    other = Other(world)
    with pytest.raises(NotFound):
        await other.lease()
    await world.update(policy={"allowedIdentities": [{"type": "agent"}]})
    assert await other.lease()


async def test_the_owner_of_yesterday_is_not_served(world: World) -> None:
    await world.create()
    other = Other(world)
    await other.lease(ALICE)
    await world.vault.credentials.transfer(ALICE, "db-password", BOB.identity.id, world.clock())
    with pytest.raises(NotFound):
        await other.lease(ALICE)
    assert await other.lease(BOB)


async def test_a_limit_that_one_sets_the_other_keeps(world: World) -> None:
    credential, other = await world.create_for_agents(), Other(world)
    await other.lease()
    await world.update(policy={"maxLeases": 1})
    with pytest.raises(LeaseLimitReached):
        await other.lease()
    assert await running(world, credential.id) == 1


async def test_a_limit_that_one_raises_the_other_sees_before_it_refuses(world: World) -> None:
    await world.create_for_agents(policy={"maxLeases": 1})
    other = Other(world)
    await other.lease()
    await world.update(policy={"maxLeases": 2})
    assert await other.lease()
    with pytest.raises(LeaseLimitReached):
        await other.lease()


async def test_a_shorter_maximum_that_one_sets_the_other_keeps(world: World) -> None:
    await world.create_for_agents()
    other = Other(world)
    await other.lease()
    await world.update(policy={"maxLeaseTTL": "5m"})
    lease = (await other.lease()).lease
    assert lease.expires_at - lease.issued_at == timedelta(minutes=5)


async def test_a_name_that_one_frees_and_takes_again_is_the_new_credential_for_the_other(world: World) -> None:
    old = await world.create_for_agents(value="former life")
    other = Other(world)
    former = await other.lease()
    await world.vault.credentials.delete(ALICE, "db-password", None, world.clock())
    with pytest.raises(NotFound):
        await other.lease()
    new = await world.create_for_agents(value="new life")
    granted = await other.lease()
    assert granted.lease.credential_id == new.id != old.id
    assert granted.value.get_secret_value() == "new life"
    with pytest.raises(NotFound):
        await other.lease(reference=old.id)
    with pytest.raises(NotFound):
        await other.vault.leases.read(DEPLOY_AGENT, former.lease.id, world.clock())


async def test_a_name_that_is_taken_again_by_another_shows_nothing_of_its_former_life(world: World) -> None:
    await world.create_for_agents(description="mine", metadata={"team": "blue"})
    other = Other(world)
    await other.lease()
    lease_id = (await world.lease()).lease.id
    await world.vault.credentials.delete(ALICE, "db-password", None, world.clock())
    new = await world.create(BOB, name="DB-Password")
    assert (new.owner_id, new.description, new.metadata, new.newest.number) == (BOB.identity.id, "", {}, 1)
    with pytest.raises(NotFound):
        await other.lease()
    with pytest.raises(NotFound):
        await other.vault.leases.revoke(DEPLOY_AGENT, lease_id, world.clock())
    page = await world.vault.leases.list_of(BOB, "db-password", 50, None, world.clock())
    assert page.leases == []


async def test_a_change_of_the_tenants_defaults_holds_everywhere_within_ten_seconds(world: World) -> None:
    await world.create()
    other = Other(world)
    with pytest.raises(NotFound):
        await other.lease()
    defaults = LeasePolicy.model_validate({"allowedIdentities": [{"type": "agent"}], "defaultLeaseTTL": "5m"})
    await world.vault.tenants.replace(ADA, ReplaceTenantRules(defaults=defaults), None, world.clock())
    world.clock.pass_by(seconds=10, milliseconds=1)
    assert (await other.lease()).lease.ttl == timedelta(minutes=5)
    await world.vault.tenants.replace(ADA, ReplaceTenantRules(), None, world.clock())
    world.clock.pass_by(seconds=10, milliseconds=1)
    with pytest.raises(NotFound):
        await other.lease()


async def test_a_repeated_request_is_answered_on_what_holds_now(world: World) -> None:
    await world.create_for_agents()
    other, once = Other(world), Once("key", "lease", b"{}")
    first = await other.vault.grants.grant(DEPLOY_AGENT, "db-password", None, once, world.clock())
    again = await other.vault.grants.grant(DEPLOY_AGENT, "db-password", None, once, world.clock())
    assert again.lease == first.lease
    await world.update(policy={"allowedIdentities": []})
    with pytest.raises(NotFound):
        await other.vault.grants.grant(DEPLOY_AGENT, "db-password", None, once, world.clock())


async def test_a_lease_that_one_ends_the_other_neither_renews_nor_shows_as_active(world: World) -> None:
    await world.create_for_agents()
    other = Other(world)
    lease_id = (await other.lease()).lease.id
    await world.vault.leases.revoke(ALICE, lease_id, world.clock())
    with pytest.raises(LeaseEnded):
        await other.vault.leases.renew(DEPLOY_AGENT, lease_id, None, None, world.clock())
    assert (await other.vault.leases.read(DEPLOY_AGENT, lease_id, world.clock())).state == "revoked"


async def test_two_workers_make_the_keys_of_a_tenant_once(world: World) -> None:
    other = Other(world)
    await world.create_for_agents()
    assert (await other.lease()).value.get_secret_value() == "correct horse"

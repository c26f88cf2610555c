"""Leases as the only way to a value: who gets one, what it holds, how it is renewed and ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from tests.faults import Fault, Plan
from tests.vaults import (
    ADA,
    ALICE,
    BOB,
    CI_RUNNER,
    DEPLOY_AGENT,
    LOLA,
    MALLORY,
    MONA,
    NOON,
    VIC,
    World,
)
from vault_core.errors import (
    AccessDenied,
    CredentialExpired,
    CredentialNotUsable,
    CredentialRevoked,
    LeaseEnded,
    NotFound,
    Unavailable,
    VaultError,
    VersionRotated,
)
from vault_core.grants import Granted
from vault_core.identities import Caller
from vault_core.lease import Cap, LeaseState
from vault_core.leases import Seen

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> World:
    return World()


async def renew(world: World, lease_id: str, caller: Caller = DEPLOY_AGENT, ttl: timedelta | None = None) -> Seen:
    return await world.vault.leases.renew(caller, lease_id, ttl, None, world.clock())


async def look_up(world: World, lease_id: str, caller: Caller = DEPLOY_AGENT) -> LeaseState:
    return (await world.vault.leases.read(caller, lease_id, world.clock())).state


async def lease_all(world: World, count: int) -> tuple[list[Granted], list[BaseException]]:
    answers = await asyncio.gather(*(world.lease() for _ in range(count)), return_exceptions=True)
    granted = [answer for answer in answers if isinstance(answer, Granted)]
    return granted, [answer for answer in answers if isinstance(answer, BaseException)]


class TestGranting:
    async def test_a_lease_hands_the_value_over(self, world: World) -> None:
        await world.create_for_agents(value="correct horse")
        granted = await world.lease()
        assert granted.value.get_secret_value() == "correct horse"
        assert granted.fields["value"].get_secret_value() == "correct horse"

    async def test_a_lease_names_what_it_is_about(self, world: World) -> None:
        credential = await world.create_for_agents()
        lease = (await world.lease(ttl=2 * HOUR)).lease
        assert (lease.credential_id, lease.credential_name, lease.version) == (credential.id, "db-password", 1)
        assert lease.identity == DEPLOY_AGENT.identity
        assert (lease.issued_at, lease.expires_at, lease.max_expires_at) == (NOON, NOON + 2 * HOUR, NOON + 24 * HOUR)

    async def test_a_credential_can_be_leased_by_its_id(self, world: World) -> None:
        credential = await world.create_for_agents()
        assert (await world.lease(reference=credential.id)).lease.credential_id == credential.id

    async def test_a_name_is_found_without_regard_to_case_and_form(self, world: World) -> None:
        await world.create_for_agents(name="Café-Key")
        granted = await world.lease(reference="CAFE\u0301-KEY")
        assert granted.lease.credential_name == "Café-Key"

    async def test_the_owner_may_lease_without_a_policy(self, world: World) -> None:
        await world.create()
        assert await world.lease(ALICE)

    @pytest.mark.parametrize("caller", [MONA, ADA, LOLA], ids=["manager", "admin", "locker-admin"])
    async def test_managing_gives_no_right_to_a_value(self, world: World, caller: Caller) -> None:
        await world.create()
        with pytest.raises(AccessDenied):
            await world.lease(caller)

    @pytest.mark.parametrize("caller", [BOB, VIC, CI_RUNNER], ids=["user", "viewer", "agent"])
    async def test_who_is_not_allowed_learns_nothing(self, world: World, caller: Caller) -> None:
        await world.create_for_agents()
        with pytest.raises(NotFound):
            await world.lease(caller)

    async def test_a_viewer_whom_the_policy_names_still_needs_to_be_a_user(self, world: World) -> None:
        await world.create(policy={"allowedIdentities": [{"type": "any"}]})
        with pytest.raises(AccessDenied):
            await world.lease(VIC)

    async def test_another_tenant_finds_neither_name_nor_id(self, world: World) -> None:
        credential = await world.create(policy={"allowedIdentities": [{"type": "any"}]})
        for reference in ("db-password", credential.id):
            with pytest.raises(NotFound):
                await world.lease(MALLORY, reference)

    async def test_without_its_audit_event_no_value_is_handed_over(self, world: World) -> None:
        credential = await world.create_for_agents()
        world.restart()
        await world.lease()
        audit_calls = [call.number for call in world.ledger.calls if call.store == "audit"]
        assert audit_calls
        for number in audit_calls:
            world.restart(Plan(faults={number: Fault()}))
            with pytest.raises(Unavailable):
                await world.lease()
        assert (await world.vault.leases.outstanding("contoso", credential.id, NOON)).total() == 1

    async def test_every_lease_is_told_to_the_audit(self, world: World) -> None:
        await world.create_for_agents(policy={"maxLeases": 3})
        lease = (await world.lease()).lease
        [told] = [event for event in await world.audit() if event.event == "lease.created"]
        assert (told.lease_id, told.identity, told.at) == (lease.id, DEPLOY_AGENT.identity, NOON)

    async def test_a_value_that_the_secret_store_lost_is_no_empty_answer(self, world: World) -> None:
        credential = await world.create_for_agents()
        await world.stores.secrets.delete(credential.newest.secret or "")
        with pytest.raises(Unavailable):
            await world.lease()
        assert (await world.vault.leases.outstanding("contoso", credential.id, NOON)).total() == 0


class TestWhatCannotBeLeased:
    async def test_a_revoked_credential(self, world: World) -> None:
        await world.create_for_agents()
        await world.revoke()
        with pytest.raises(CredentialRevoked):
            await world.lease()

    async def test_a_suspended_credential_until_it_is_resumed(self, world: World) -> None:
        await world.create_for_agents()
        await world.vault.credentials.suspend(ALICE, "db-password", None, None, NOON)
        with pytest.raises(CredentialNotUsable):
            await world.lease()
        await world.vault.credentials.resume(ALICE, "db-password", None, None, NOON)
        assert await world.lease()

    async def test_a_credential_before_and_after_its_validity(self, world: World) -> None:
        await world.create_for_agents(validFrom="2026-11-21T13:00:00Z", validUntil="2026-11-21T14:00:00Z")
        with pytest.raises(CredentialNotUsable):
            await world.lease()
        world.clock.pass_by(hours=1)
        assert (await world.lease()).lease.expires_at == NOON + 2 * HOUR
        world.clock.pass_by(hours=1)
        with pytest.raises(CredentialExpired):
            await world.lease()

    async def test_a_token_after_its_own_end(self, world: World) -> None:
        await world.create_for_agents(
            type="oauth-token", fields={"accessToken": "opaque", "expiresAt": "2026-11-21T12:10:00Z"}
        )
        granted = await world.lease()
        assert (granted.lease.expires_at, granted.lease.capped_by) == (NOON + 10 * MINUTE, Cap.VALUE_END)
        world.clock.pass_by(minutes=10)
        with pytest.raises(CredentialExpired):
            await world.lease()

    async def test_a_lease_that_ends_within_a_fraction_of_a_second_can_be_kept(self, world: World) -> None:
        await world.create_for_agents(validUntil="2026-11-21T12:00:00.300Z")
        world.clock.pass_by(microseconds=123)
        granted = await world.lease()
        assert granted.lease.expires_at == NOON + timedelta(milliseconds=300)
        assert await look_up(world, granted.lease.id) is LeaseState.ACTIVE


class TestRenewing:
    async def test_a_renewal_is_kept(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        world.clock.pass_by(minutes=30)
        seen = await renew(world, lease_id, ttl=2 * HOUR)
        assert (seen.state, seen.lease.expires_at) == (LeaseState.ACTIVE, NOON + 150 * MINUTE)
        assert (await world.vault.leases.read(DEPLOY_AGENT, lease_id, world.clock())).lease == seen.lease

    async def test_a_renewal_at_any_fraction_of_a_second_can_be_kept(self, world: World) -> None:
        await world.create_for_agents(policy={"maxLeaseTTL": "90m"})
        lease_id = (await world.lease()).lease.id
        world.clock.pass_by(minutes=45, microseconds=1)
        seen = await renew(world, lease_id)
        assert (seen.lease.expires_at, seen.lease.capped_by) == (NOON + 90 * MINUTE, Cap.LEASE_MAXIMUM)

    async def test_renewing_in_the_last_second_succeeds_and_at_the_end_it_does_not(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        world.clock.pass_by(minutes=59, seconds=59)
        await renew(world, lease_id, ttl=MINUTE)
        world.clock.pass_by(minutes=1)
        with pytest.raises(LeaseEnded):
            await renew(world, lease_id)

    @pytest.mark.parametrize("caller", [ALICE, MONA, CI_RUNNER, MALLORY], ids=lambda caller: caller.identity.id)
    async def test_only_its_holder_renews_a_lease(self, world: World, caller: Caller) -> None:
        await world.create(policy={"allowedIdentities": [{"type": "agent"}]})
        lease_id = (await world.lease()).lease.id
        with pytest.raises(NotFound):
            await renew(world, lease_id, caller)

    async def test_a_holder_who_is_no_longer_allowed_cannot_renew(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        await world.update(policy={"allowedIdentities": [{"type": "agent", "name": "ci-*"}]})
        with pytest.raises(NotFound):
            await renew(world, lease_id)

    async def test_after_a_rotation_a_lease_runs_to_its_end_but_is_not_renewed(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        await world.rotate()
        assert await look_up(world, lease_id) is LeaseState.ACTIVE
        with pytest.raises(VersionRotated, match="Lease anew"):
            await renew(world, lease_id)
        assert (await world.lease()).value.get_secret_value() == "new value"

    async def test_a_suspended_credential_is_not_renewed_but_its_leases_go_on(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        await world.vault.credentials.suspend(ALICE, "db-password", None, None, NOON)
        assert await look_up(world, lease_id) is LeaseState.ACTIVE
        with pytest.raises(CredentialNotUsable):
            await renew(world, lease_id)


class TestEnding:
    async def test_a_lease_past_its_end_is_expired_without_a_timer(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        world.clock.pass_by(hours=1)
        assert await look_up(world, lease_id) is LeaseState.EXPIRED

    @pytest.mark.parametrize("caller", [DEPLOY_AGENT, ALICE, MONA], ids=["holder", "owner", "manager"])
    async def test_a_lease_is_ended_by(self, world: World, caller: Caller) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        await world.vault.leases.revoke(caller, lease_id, NOON)
        assert await look_up(world, lease_id) is LeaseState.REVOKED
        with pytest.raises(LeaseEnded):
            await renew(world, lease_id)

    @pytest.mark.parametrize("caller", [CI_RUNNER, BOB, MALLORY], ids=lambda caller: caller.identity.id)
    async def test_a_leaked_lease_id_is_of_no_use_to_another(self, world: World, caller: Caller) -> None:
        await world.create(policy={"allowedIdentities": [{"type": "any"}]})
        lease_id = (await world.lease()).lease.id
        with pytest.raises(NotFound):
            await world.vault.leases.read(caller, lease_id, NOON)
        with pytest.raises(NotFound):
            await world.vault.leases.revoke(caller, lease_id, NOON)
        with pytest.raises(NotFound):
            await world.vault.leases.renew(caller, lease_id, None, None, NOON)
        assert await look_up(world, lease_id) is LeaseState.ACTIVE

    async def test_ending_a_lease_twice_is_harmless_and_told_once(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        for _ in range(2):
            await world.vault.leases.revoke(DEPLOY_AGENT, lease_id, NOON)
        assert Counter(event.event for event in await world.audit())["lease.revoked"] == 1

    async def test_revoking_the_credential_ends_every_lease(self, world: World) -> None:
        await world.create_for_agents()
        ids = [(await world.lease()).lease.id for _ in range(5)]
        await world.revoke()
        assert {await look_up(world, lease_id) for lease_id in ids} == {LeaseState.REVOKED}
        revoked = [event.lease_id for event in await world.audit() if event.event == "lease.revoked"]
        assert sorted(filter(None, revoked)) == sorted(ids)

    async def test_no_lease_of_a_storm_survives_the_revocation(self, world: World) -> None:
        credential = await world.create_for_agents()
        await world.lease()
        revocation = asyncio.create_task(world.revoke())
        granted, refused = await lease_all(world, 40)
        await revocation
        assert {type(refusal) for refusal in refused} <= {CredentialRevoked}
        assert {await look_up(world, one.lease.id) for one in granted} <= {LeaseState.REVOKED}
        assert (await world.vault.leases.outstanding("contoso", credential.id, NOON)).total() == 0

    async def test_a_renewal_that_meets_the_revocation_leaves_nothing_active(self, world: World) -> None:
        await world.create_for_agents()
        ids = [(await world.lease()).lease.id for _ in range(10)]
        world.clock.pass_by(minutes=1)
        await asyncio.gather(world.revoke(), *(renew(world, one) for one in ids), return_exceptions=True)
        assert {await look_up(world, lease_id) for lease_id in ids} == {LeaseState.REVOKED}


class TestListing:
    async def test_everyone_lists_their_own_leases(self, world: World) -> None:
        await world.create(policy={"allowedIdentities": [{"type": "any"}]})
        await world.create(name="another", policy={"allowedIdentities": [{"type": "any"}]})
        mine = {(await world.lease(BOB)).lease.id, (await world.lease(BOB, "another")).lease.id}
        await world.lease(DEPLOY_AGENT)
        page = await world.vault.leases.list_own(BOB, 50, None, NOON)
        assert {seen.lease.id for seen in page.leases} == mine

    async def test_owner_and_manager_list_all_leases_of_a_credential_others_their_own(self, world: World) -> None:
        await world.create(policy={"allowedIdentities": [{"type": "any"}]})
        for caller in (BOB, DEPLOY_AGENT, CI_RUNNER):
            await world.lease(caller)
        counts = {
            caller.identity.id: len((await world.vault.leases.list_of(caller, "db-password", 50, None, NOON)).leases)
            for caller in (ALICE, MONA, BOB, VIC)
        }
        assert counts == {"id-alice": 3, "id-mona": 3, "id-bob": 1, "id-vic": 0}

    async def test_pages_of_leases_join_up(self, world: World) -> None:
        await world.create_for_agents()
        ids = {(await world.lease()).lease.id for _ in range(7)}
        seen: list[str] = []
        after: tuple[str, str] | None = None
        while True:
            page = await world.vault.leases.list_of(ALICE, "db-password", 3, after, NOON)
            seen += [one.lease.id for one in page.leases]
            if (after := page.after) is None:
                break
        assert sorted(seen) == sorted(ids)

    async def test_a_listing_shows_leases_as_they_are_now(self, world: World) -> None:
        await world.create_for_agents(name="to-revoke")
        await world.create_for_agents(name="to-expire")
        await world.lease(reference="to-revoke", ttl=2 * HOUR)
        await world.lease(reference="to-expire")
        await world.revoke(reference="to-revoke")
        world.clock.pass_by(hours=1)
        page = await world.vault.leases.list_own(DEPLOY_AGENT, 50, None, world.clock())
        states = {seen.lease.credential_name: seen.state for seen in page.leases}
        assert states == {"to-revoke": LeaseState.REVOKED, "to-expire": LeaseState.EXPIRED}

    async def test_the_leases_of_an_invisible_credential_are_not_listed(self, world: World) -> None:
        await world.create_for_agents()
        for caller in (BOB, MALLORY):
            with pytest.raises(NotFound):
                await world.vault.leases.list_of(caller, "db-password", 50, None, NOON)


async def test_every_refusal_of_a_lease_leaves_none_behind(world: World) -> None:
    credential = await world.create_for_agents(policy={"maxLeases": 1})
    await world.lease()
    for caller in (DEPLOY_AGENT, MONA, BOB):
        with pytest.raises(VaultError):
            await world.lease(caller)
    assert (await world.vault.leases.outstanding("contoso", credential.id, NOON)).total() == 1

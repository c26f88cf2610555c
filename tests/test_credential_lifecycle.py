"""The life of a credential: rotated without a gap, suspended and resumed, revoked for good, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from tests.faults import Crash, Plan
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, MONA, NOON, World
from vault_core.credential import Credential, State, Status
from vault_core.credential_requests import RotateCredential
from vault_core.errors import (
    CredentialChanged,
    CredentialNotUsable,
    CredentialRevoked,
    SecretDisabled,
    SecretMissing,
    StaleVersion,
    ValueRefused,
)
from vault_core.lease import LeaseState
from vault_core.tenants import ReplaceTenantRules

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    return World()


async def read(world: World) -> Credential:
    return (await world.vault.credentials.read(MONA, "db-password", world.clock())).credential


async def is_kept(world: World, secret: str | None) -> bool:
    try:
        await world.stores.secrets.read(secret or "")
    except SecretMissing:
        return False
    return True


async def run_timers(world: World) -> None:
    for timer in (world.vault.expire_leases, world.vault.reconcile):
        assert (await timer()).failed == 0


class TestRotating:
    async def test_the_new_version_is_active_and_the_old_one_is_rotated(self, world: World) -> None:
        await world.create()
        world.clock.pass_by(hours=1)
        credential = await world.rotate()
        old, new = credential.versions
        assert (old.number, old.state, old.rotated_at) == (1, State.ROTATED, NOON + HOUR)
        assert (new.number, new.state, new.created_by, new.created_at) == (2, State.ACTIVE, ALICE.identity, NOON + HOUR)

    async def test_a_manager_may_rotate_without_ever_seeing_a_value(self, world: World) -> None:
        await world.create()
        assert (await world.rotate(MONA)).newest.created_by == MONA.identity

    async def test_at_no_moment_is_there_no_active_version(self, world: World) -> None:
        await world.create_for_agents()

        rotation = asyncio.create_task(world.rotate(value="new value"))
        granted = [await world.lease()]
        while not rotation.done():
            granted.append(await world.lease())
        granted.append(await world.lease())
        told = [(one.lease.version, one.value.get_secret_value()) for one in granted]
        assert set(told) == {(1, "correct horse"), (2, "new value")}
        assert told == sorted(told)

    async def test_the_same_value_is_no_rotation(self, world: World) -> None:
        await world.create()
        with pytest.raises(ValueRefused, match="different value"):
            await world.rotate(value="correct horse")
        assert (await read(world)).newest.number == 1

    async def test_a_value_that_fails_its_checks_is_not_promoted(self, world: World) -> None:
        await world.create(type="database-url", value="postgresql://app:pw@db.example:5432/app")
        for value in ("not a url", "postgresql://app:pw@other.example:5432/app", "mysql://app:pw@db.example:5432/app"):
            with pytest.raises(ValueRefused):
                await world.rotate(value=value)
        assert (await read(world)).newest.number == 1
        assert (await world.rotate(value="postgresql://app:pw2@db.example:5432/app")).newest.number == 2

    async def test_another_host_is_accepted_when_it_is_meant(self, world: World) -> None:
        await world.create(type="database-url", value="postgresql://app:pw@db.example:5432/app")
        body = RotateCredential.model_validate(
            {"value": "postgresql://app:pw@other.example:5432/app", "allowTargetChange": True}
        )
        shown = await world.vault.credentials.rotate(ALICE, "db-password", body, None, None, NOON)
        assert shown.credential.details["host"] == "other.example"

    async def test_a_token_is_replaced_by_one_that_lasts_longer_only(self, world: World) -> None:
        def token(text: str, end: str) -> dict[str, str]:
            return {"accessToken": text, "expiresAt": end}

        await world.create(type="oauth-token", fields=token("one", "2026-11-22T00:00:00Z"))
        sooner = RotateCredential.model_validate({"fields": token("two", "2026-11-21T23:00:00Z")})
        with pytest.raises(ValueRefused):
            await world.vault.credentials.rotate(ALICE, "db-password", sooner, None, None, NOON)
        later = RotateCredential.model_validate({"fields": token("two", "2026-11-23T00:00:00Z")})
        shown = await world.vault.credentials.rotate(ALICE, "db-password", later, None, None, NOON)
        assert shown.credential.ends_at == NOON + 36 * HOUR

    async def test_of_two_rotations_at_once_one_wins(self, world: World) -> None:
        await world.create()
        attempts = (world.rotate(value=f"value-{number}") for number in range(5))
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        assert Counter(type(answer) for answer in answers) == {Credential: 1, CredentialChanged: 4}
        assert (await read(world)).newest.number == 2

    async def test_a_rotation_that_loses_leaves_no_value_behind(self, world: World) -> None:
        await world.create()
        world.ledger.calls.clear()
        await asyncio.gather(world.rotate(value="one"), world.rotate(value="two"), return_exceptions=True)
        written = [call.subject for call in world.ledger.calls if (call.store, call.method) == ("secrets", "write")]
        kept = [name for name in written if await is_kept(world, name)]
        assert kept == [(await read(world)).newest.secret]

    async def test_a_rotation_that_was_decided_on_an_older_state_is_refused(self, world: World) -> None:
        before = await world.create()
        await world.update(description="new")
        body = RotateCredential.model_validate({"value": "new value"})
        with pytest.raises(StaleVersion):
            await world.vault.credentials.rotate(ALICE, "db-password", body, before.tag(Status.ACTIVE), None, NOON)

    async def test_a_revoked_credential_is_not_rotated_back_to_life(self, world: World) -> None:
        await world.create()
        await world.revoke()
        with pytest.raises(CredentialRevoked):
            await world.rotate()

    async def test_a_rotation_that_meets_a_revocation_does_not_survive_it(self, world: World) -> None:
        await world.create_for_agents()
        await asyncio.gather(world.revoke(), world.rotate(), return_exceptions=True)
        assert {version.state for version in (await read(world)).versions} == {State.REVOKED}
        with pytest.raises(CredentialRevoked):
            await world.lease()

    async def test_many_rotations_do_not_swell_the_record(self, world: World) -> None:
        await world.create()
        for number in range(60):
            await world.rotate(value=f"value-{number}")
            world.clock.pass_by(seconds=1)
            await run_timers(world)
        versions = (await read(world)).versions
        assert len(versions) <= 52
        assert versions[-1].number == 61


class TestTheValueOfARotatedVersion:
    async def test_it_is_destroyed_when_nobody_has_a_lease_on_it(self, world: World) -> None:
        secret = (await world.create()).newest.secret
        await world.rotate()
        world.clock.pass_by(seconds=1)
        await run_timers(world)
        assert not await is_kept(world, secret)
        assert (await read(world)).versions[0].destroyed_at == world.clock()

    async def test_it_is_kept_exactly_as_long_as_the_last_lease_on_it(self, world: World) -> None:
        secret = (await world.create_for_agents()).newest.secret
        await world.lease(ttl=HOUR)
        await world.lease(ttl=3 * HOUR)
        await world.rotate()
        for minutes, kept in ((1, True), (61, True), (117, True), (2, False)):
            world.clock.pass_by(minutes=minutes)
            await run_timers(world)
            assert await is_kept(world, secret) is kept

    async def test_the_sweep_of_the_last_lease_destroys_it_without_the_reconciler(self, world: World) -> None:
        secret = (await world.create_for_agents()).newest.secret
        await world.lease(ttl=HOUR)
        await world.rotate()
        world.clock.pass_by(minutes=61)
        await world.vault.expire_leases()
        assert not await is_kept(world, secret)

    async def test_the_value_that_is_active_is_not_touched(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease(ttl=HOUR)
        await world.rotate()
        world.clock.pass_by(hours=2)
        await run_timers(world)
        assert await is_kept(world, (await read(world)).newest.secret)

    @pytest.mark.parametrize("call", range(1, 12))
    async def test_a_crash_while_it_is_destroyed_leaves_no_pointer_to_it(self, world: World, call: int) -> None:
        secret = (await world.create()).newest.secret
        await world.rotate()
        world.clock.pass_by(seconds=1)
        world.restart(Plan(crash_after=call))
        try:
            await world.vault.reconcile()
        except Crash:
            if not await is_kept(world, secret):
                world.restart()
                assert (await read(world)).versions[0].secret is None
        world.restart()
        world.clock.pass_by(minutes=15)
        await run_timers(world)
        assert not await is_kept(world, secret)
        assert (await read(world)).versions[0].secret is None


class TestSuspending:
    async def test_it_is_told_who_suspended_and_why(self, world: World) -> None:
        await world.create()
        shown = await world.vault.credentials.suspend(MONA, "db-password", "looks leaked", None, NOON)
        assert shown.credential.suspended is not None
        assert (shown.credential.suspended.by, shown.credential.suspended.reason) == (MONA.identity, "looks leaked")

    async def test_suspending_and_resuming_can_be_repeated(self, world: World) -> None:
        await world.create_for_agents()
        for operation in (world.vault.credentials.suspend, world.vault.credentials.resume):
            first = await operation(ALICE, "db-password", None, None, NOON)
            again = await operation(ALICE, "db-password", None, None, NOON)
            assert again.credential == first.credential
        assert await world.lease()

    async def test_a_rotation_does_not_resume(self, world: World) -> None:
        await world.create_for_agents()
        await world.vault.credentials.suspend(ALICE, "db-password", None, None, NOON)
        await world.rotate()
        with pytest.raises(CredentialNotUsable):
            await world.lease()


class TestRevoking:
    async def test_every_version_is_revoked_and_it_is_told_why(self, world: World) -> None:
        await world.create()
        await world.rotate()
        shown = await world.vault.credentials.revoke(ALICE, "db-password", "leaked", None, NOON)
        assert [version.state for version in shown.credential.versions] == [State.REVOKED] * 2
        assert shown.credential.revoked_reason == "leaked"

    async def test_it_is_final(self, world: World) -> None:
        await world.create()
        await world.revoke()
        with pytest.raises(CredentialRevoked):
            await world.rotate()
        with pytest.raises(CredentialRevoked):
            await world.vault.credentials.suspend(ALICE, "db-password", None, None, NOON)
        with pytest.raises(CredentialRevoked):
            await world.vault.credentials.resume(ALICE, "db-password", None, None, NOON)
        assert (await read(world)).newest.state is State.REVOKED

    async def test_repeating_it_is_harmless(self, world: World) -> None:
        await world.create()
        first = await world.revoke()
        world.clock.pass_by(hours=1)
        assert await world.revoke() == first
        assert Counter(event.event for event in await world.audit())["credential.revoked"] == 1

    async def test_of_two_reasons_at_once_one_is_kept(self, world: World) -> None:
        await world.create()
        answers = await asyncio.gather(
            *(world.vault.credentials.revoke(ALICE, "db-password", reason, None, NOON) for reason in ("one", "two"))
        )
        assert answers[0].credential == answers[1].credential

    async def test_its_values_are_kept_disabled_until_their_retention_ends(self, world: World) -> None:
        secret = (await world.create()).newest.secret or ""
        await world.revoke()
        for days in (1, 88):
            world.clock.pass_by(days=days)
            await run_timers(world)
            with pytest.raises(SecretDisabled):
                await world.stores.secrets.read(secret)
        world.clock.pass_by(days=2)
        await run_timers(world)
        assert not await is_kept(world, secret)
        assert (await read(world)).versions[0].secret is None

    async def test_the_tenant_decides_on_the_retention(self, world: World) -> None:
        await world.vault.tenants.replace(ADA, ReplaceTenantRules(retention=DAY), None, NOON)
        secret = (await world.create()).newest.secret
        await world.revoke()
        world.clock.pass_by(days=1, minutes=1)
        await run_timers(world)
        assert not await is_kept(world, secret)

    async def test_a_revoked_credential_can_be_deleted_and_its_name_used_again(self, world: World) -> None:
        await world.create()
        await world.revoke()
        await world.vault.credentials.delete(ALICE, "db-password", None, NOON)
        assert (await world.create()).newest.state is State.ACTIVE

    @pytest.mark.parametrize("call", range(1, 14))
    async def test_a_crash_anywhere_never_leaves_an_active_lease_on_a_revoked_credential(
        self, world: World, call: int
    ) -> None:
        secret = (await world.create_for_agents()).newest.secret or ""
        lease_id = (await world.lease(ttl=8 * HOUR)).lease.id
        world.restart(Plan(crash_after=call))
        try:
            await world.revoke()
        except Crash:
            world.restart()
        revoked = (await read(world)).newest.state is State.REVOKED
        seen = await world.vault.leases.read(DEPLOY_AGENT, lease_id, world.clock())
        assert (seen.state is LeaseState.REVOKED) == revoked
        world.restart()
        world.clock.pass_by(minutes=15)
        await run_timers(world)
        if revoked:
            with pytest.raises(SecretDisabled):
                await world.stores.secrets.read(secret)

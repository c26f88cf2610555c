"""What time brings about: a rotation falls due, an end comes near, an end is there. Each is told once."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.faults import Crash, Plan
from tests.records import a_credential, a_version
from tests.vaults import ADA, ALICE, NOON, World
from tests.vendors import fill, publish, publish_anew, upgrade
from tests.workers import another_worker
from vault_core import rotation
from vault_core.credential import Credential, PinnedConfiguration, State
from vault_core.credential_requests import RotateCredential
from vault_core.policies import LeasePolicy
from vault_core.tenants import ReplaceTenantRules, TenantRules

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROTATING = LeasePolicy(rotate_every=30 * DAY)


@pytest.fixture
def world() -> World:
    return World()


async def told(world: World) -> Counter[str]:
    """How often each notice was given."""
    notices = ("credential.rotation_due", "credential.expiring", "credential.expired", "credential.validated")
    return Counter(event.event for event in await world.audit() if event.event in notices)


async def look(world: World) -> Counter[str]:
    """Run the timers that give notice; how often each notice was given by now."""
    for timer in (world.vault.check_rotations, world.vault.check_credentials):
        assert (await timer()).failed == 0
    return await told(world)


async def validation(world: World) -> tuple[str, str | None]:
    verdict = (await world.vault.credentials.read(ALICE, "db-password", world.clock())).credential.validation
    return verdict.status, verdict.reason


class TestWhenARotationIsDue:
    def test_the_policy_says_how_often(self) -> None:
        assert rotation.rotation_due_at(a_credential(policy=ROTATING), TenantRules()) == NOON + 30 * DAY

    def test_metadata_says_it_when_the_policy_does_not(self) -> None:
        credential = a_credential(metadata={"rotateEvery": "10d"})
        assert rotation.rotation_due_at(credential, TenantRules(defaults=ROTATING)) == NOON + 10 * DAY

    def test_the_policy_goes_before_metadata(self) -> None:
        credential = a_credential(policy=ROTATING, metadata={"rotateEvery": "10d"})
        assert rotation.rotation_due_at(credential, TenantRules()) == NOON + 30 * DAY

    def test_the_tenant_says_it_for_those_that_say_nothing(self) -> None:
        assert rotation.rotation_due_at(a_credential(), TenantRules(defaults=ROTATING)) == NOON + 30 * DAY

    def test_the_vendors_advice_goes_before_the_tenant_and_behind_policy_and_metadata(self) -> None:
        advised = {
            "configuration": PinnedConfiguration(
                vendor="northwind", id="1", version=1, digest="0", rotate_every=20 * DAY
            )
        }
        rules, written = TenantRules(defaults=ROTATING), {"rotateEvery": "10d"}
        of_policy = LeasePolicy(rotate_every=5 * DAY)
        for changes, days in (
            ({"policy": of_policy, "metadata": written} | advised, 5),
            ({"metadata": written} | advised, 10),
            (advised, 20),
            ({}, 30),
        ):
            assert rotation.rotation_due_at(a_credential(**changes), rules) == NOON + days * DAY

    def test_it_is_never_due_when_nobody_says_so(self) -> None:
        assert rotation.rotation_due_at(a_credential(), TenantRules()) is None

    def test_it_counts_from_the_newest_version(self) -> None:
        versions = (a_version(1, State.ROTATED), a_version(2, created_at=NOON + 5 * DAY))
        credential = a_credential(policy=ROTATING, versions=versions)
        assert rotation.rotation_due_at(credential, TenantRules()) == NOON + 35 * DAY

    def test_a_revoked_credential_is_not_rotated_any_more(self) -> None:
        credential = a_credential(policy=ROTATING, versions=(a_version(1, State.REVOKED),))
        assert rotation.rotation_due_at(credential, TenantRules()) is None
        assert rotation.announcements(credential, TenantRules()) == []


class TestNotices:
    async def test_a_rotation_is_announced_when_it_falls_due_and_once(self, world: World) -> None:
        await world.create(policy={"rotateEvery": "30d"})
        for days, count in ((29, 0), (2, 1), (10, 1), (40, 1)):
            world.clock.pass_by(days=days)
            assert (await look(world))["credential.rotation_due"] == count

    async def test_a_vendors_advice_is_announced_once_and_anew_after_an_upgrade_that_changes_it(
        self, world: World
    ) -> None:
        configuration = await publish(world, validation=None, rotation={"every": "30d"})
        await fill(world, configuration)
        for days, count in ((29, 0), (2, 1), (10, 1)):
            world.clock.pass_by(days=days)
            assert (await look(world))["credential.rotation_due"] == count
        await publish_anew(world, configuration, validation=None, rotation={"every": "40d"})
        assert (await look(world))["credential.rotation_due"] == 1
        await upgrade(world)
        world.clock.pass_by(minutes=1)
        assert (await look(world))["credential.rotation_due"] == 2

    async def test_every_version_falls_due_anew(self, world: World) -> None:
        await world.create(metadata={"rotateEvery": "30d"})
        world.clock.pass_by(days=31)
        await look(world)
        await world.rotate()
        assert (await look(world))["credential.rotation_due"] == 1
        world.clock.pass_by(days=31)
        assert (await look(world))["credential.rotation_due"] == 2

    async def test_an_end_is_announced_a_notice_period_before_and_when_it_comes(self, world: World) -> None:
        await world.create(validUntil="2027-01-20T12:00:00Z")
        expiring, expired = {"credential.expiring": 1}, {"credential.expired": 1}
        for days, notices in ((29, {}), (2, expiring), (20, expiring), (10, expiring | expired)):
            world.clock.pass_by(days=days)
            assert await look(world) == notices

    async def test_a_notice_says_of_what_and_since_when(self, world: World) -> None:
        credential = await world.create(validUntil="2027-01-20T12:00:00Z")
        world.clock.pass_by(days=31)
        await look(world)
        [notice] = [event for event in await world.audit() if event.event == "credential.expiring"]
        assert (notice.credential_id, notice.credential_name) == (credential.id, "db-password")
        assert notice.identity.id == "system:check_rotations"
        assert datetime.fromisoformat(notice.details["since"]) == NOON + 30 * DAY

    async def test_an_end_that_is_near_from_the_start_is_announced_at_once(self, world: World) -> None:
        await world.create(validUntil="2026-11-30T12:00:00Z")
        world.clock.pass_by(seconds=1)
        assert await look(world) == {"credential.expiring": 1}

    async def test_an_end_that_is_moved_is_announced_again(self, world: World) -> None:
        await world.create(validUntil="2026-11-30T12:00:00Z")
        world.clock.pass_by(days=1)
        await look(world)
        await world.update(validUntil="2027-11-30T12:00:00Z")
        assert await look(world) == {"credential.expiring": 1}
        world.clock.pass_by(days=360)
        assert await look(world) == {"credential.expiring": 2}

    async def test_an_end_that_stays_is_not_announced_again_by_a_rotation(self, world: World) -> None:
        await world.create(validUntil="2026-11-30T12:00:00Z")
        world.clock.pass_by(days=1)
        await look(world)
        await world.rotate()
        world.clock.pass_by(days=1)
        assert await look(world) == {"credential.expiring": 1}

    async def test_a_timer_that_did_not_run_for_a_long_time_tells_all_that_was_missed(self, world: World) -> None:
        await world.create(validUntil="2026-12-30T12:00:00Z", policy={"rotateEvery": "10d"})
        world.clock.pass_by(days=365)
        every = {"credential.rotation_due": 1, "credential.expiring": 1, "credential.expired": 1}
        assert await look(world) == every
        assert await look(world) == every

    async def test_a_timer_that_fires_twice_at_once_tells_once(self, world: World) -> None:
        await world.create(validUntil="2026-11-30T12:00:00Z")
        world.clock.pass_by(days=1)
        other = another_worker(world)
        await asyncio.gather(world.vault.check_rotations(), other.check_rotations())
        assert await told(world) == {"credential.expiring": 1}

    @pytest.mark.parametrize("call", range(1, 9))
    async def test_a_timer_that_crashed_anywhere_tells_once(self, world: World, call: int) -> None:
        await world.create(validUntil="2026-11-30T12:00:00Z")
        world.clock.pass_by(days=1)
        world.restart(Plan(crash_after=call))
        with pytest.raises(Crash):
            await world.vault.check_rotations()
        world.restart()
        world.clock.pass_by(hours=1)
        assert await look(world) == {"credential.expiring": 1}

    async def test_nothing_is_announced_of_what_was_revoked_or_deleted(self, world: World) -> None:
        await world.create(validUntil="2026-12-30T12:00:00Z")
        await world.create(name="gone", validUntil="2026-12-30T12:00:00Z")
        await world.revoke()
        await world.vault.credentials.delete(ALICE, "gone", None, NOON)
        world.clock.pass_by(days=60)
        assert await look(world) == {}

    async def test_a_longer_notice_period_reaches_credentials_that_are_there(self, world: World) -> None:
        await world.create(validUntil="2027-06-01T12:00:00Z")
        rules = ReplaceTenantRules(notice_period=300 * DAY)
        await world.vault.tenants.replace(ADA, rules, None, world.clock())
        world.clock.pass_by(minutes=1)
        await world.vault.reconcile()
        world.clock.pass_by(minutes=1)
        assert await look(world) == {"credential.expiring": 1}

    async def test_a_default_to_rotate_reaches_credentials_that_are_there(self, world: World) -> None:
        for number in range(5):
            await world.create(name=f"credential-{number}")
        await world.vault.tenants.replace(ADA, ReplaceTenantRules(defaults=ROTATING), None, world.clock())
        world.clock.pass_by(minutes=1)
        await world.vault.reconcile()
        world.clock.pass_by(days=31)
        assert await look(world) == {"credential.rotation_due": 5}

    async def test_tenants_do_not_hear_of_each_other(self, world: World) -> None:
        await world.create(validUntil="2026-11-30T12:00:00Z")
        world.clock.pass_by(days=1)
        await look(world)
        assert await world.audit("fabrikam") == []


class TestVerdicts:
    async def create_token(self, world: World, end: str) -> Credential:
        return await world.create(type="oauth-token", fields={"accessToken": "opaque", "expiresAt": end})

    async def test_a_value_that_is_past_its_own_end_is_found_invalid_once(self, world: World) -> None:
        await self.create_token(world, "2026-11-22T12:00:00Z")
        assert await validation(world) == ("valid", "accepted")
        world.clock.pass_by(days=1, seconds=1)
        for _ in range(2):
            assert (await look(world))["credential.validated"] == 1
            assert await validation(world) == ("invalid", "value-ended")

    async def test_a_new_value_is_valid_again(self, world: World) -> None:
        await self.create_token(world, "2026-11-22T12:00:00Z")
        world.clock.pass_by(days=1, seconds=1)
        await look(world)
        fields = {"accessToken": "fresh", "expiresAt": "2026-11-25T12:00:00Z"}
        body = RotateCredential.model_validate({"fields": fields})
        await world.vault.credentials.rotate(ALICE, "db-password", body, None, None, world.clock())
        assert await validation(world) == ("valid", "accepted")
        world.clock.pass_by(days=4)
        assert (await look(world))["credential.validated"] == 2

    async def test_a_value_without_an_end_is_not_looked_at(self, world: World) -> None:
        await world.create()
        world.clock.pass_by(days=1000)
        assert (await world.vault.check_credentials()).done == 0

"""Attacks on leases and credentials that once succeeded: with twins, stale workers, outages and sheer numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from tests.api.app import App
from tests.faults import Crash
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, MONA, TENANTS, World
from tests.workers import another_worker
from vault_core.credential import MAX_KEPT_VERSIONS, State
from vault_core.credential_requests import RotateCredential
from vault_core.cursors import decoded, encoded
from vault_core.errors import (
    IdempotencyKeyReused,
    InvalidInput,
    LeaseEnded,
    LeaseLimitReached,
    Unavailable,
    VersionLimitReached,
)
from vault_core.grants import Granted
from vault_core.lease import LeaseState
from vault_core.names import check_name
from vault_core.policies import LeasePolicy
from vault_core.repeats import Once
from vault_core.stores import Change, Discard, Row, Table
from vault_core.tenants import ReplaceTenantRules
from vault_core.vault import Vault

Step = Callable[[tuple[Change, ...]], Awaitable[None]]
ONCE = Once("key", "lease", b"{}")
DAY = timedelta(hours=24)


@pytest.fixture
def world() -> World:
    return World()


@dataclass
class Interrupted:
    """A table where something happens just before or just after a commit."""

    table: Table
    before: Step | None = None
    after: Step | None = None

    def __post_init__(self) -> None:
        self.read, self.query = self.table.read, self.table.query

    async def commit(self, *changes: Change) -> list[Row]:
        if self.before:
            await self.before(changes)
        written = await self.table.commit(*changes)
        if self.after:
            await self.after(changes)
        return written


def worker_with(world: World, **tables: Any) -> Vault:
    """Another worker over the same stores, some of whose tables are interrupted."""
    return Vault(replace(world.stores, **tables), TENANTS, world.clock, world.outbound)


async def audit_is_down(changes: tuple[Change, ...]) -> None:
    raise Unavailable("The audit cannot be written.")


async def die_after_the_lease_row(changes: tuple[Change, ...]) -> None:
    if any(not isinstance(one, Discard) and one.row.key.startswith("lease:") for one in changes):
        raise Crash


async def lease_once(world: World, vault: Vault, ttl: timedelta | None = None) -> Granted:
    return await vault.grants.grant(DEPLOY_AGENT, "db-password", ttl, ONCE, world.clock())


class TestRepeatedLeases:
    async def test_the_lease_that_one_twin_handed_out_is_not_taken_back_by_the_other(self, world: World) -> None:
        await world.create_for_agents(policy={"maxLeases": 1})
        handed_out: list[Granted] = []

        async def the_twin_arrives_and_the_audit_goes_down(changes: tuple[Change, ...]) -> None:
            if not handed_out:
                handed_out.append(await lease_once(world, world.vault))
                await audit_is_down(changes)

        audit = Interrupted(world.stores.audit, before=the_twin_arrives_and_the_audit_goes_down)
        with pytest.raises(Unavailable):
            await lease_once(world, worker_with(world, audit=audit))
        seen = await world.vault.leases.read(DEPLOY_AGENT, handed_out[0].lease.id, world.clock())
        assert seen.state is LeaseState.ACTIVE
        with pytest.raises(LeaseLimitReached):
            await world.lease(ALICE)

    async def cut_short_on_a_stale_credential(self, world: World, stale: Vault) -> None:
        """Let a worker that does not know of the last changes die between the lease row and its verification."""
        world.clock.pass_by(seconds=1)
        with pytest.raises(Crash):
            await lease_once(world, stale, 20 * timedelta(hours=1))
        world.clock.pass_by(seconds=5)

    async def stale_worker(self, world: World) -> Vault:
        """A worker that remembers the credential as it is now, and dies when it writes a lease."""
        stale = worker_with(world, leases=Interrupted(world.stores.leases, after=die_after_the_lease_row))
        await stale.credentials.read(ALICE, "db-password", world.clock())
        return stale

    async def test_a_repeat_never_hands_over_a_replaced_value_of_a_lease_that_was_cut_short(self, world: World) -> None:
        await world.create_for_agents()
        stale = await self.stale_worker(world)
        await world.rotate(value="new value")
        await self.cut_short_on_a_stale_credential(world, stale)
        granted = await lease_once(world, world.vault, 20 * timedelta(hours=1))
        assert (granted.lease.version, granted.value.get_secret_value()) == (2, "new value")

    async def test_a_repeat_never_honours_a_former_maximum_of_a_lease_that_was_cut_short(self, world: World) -> None:
        await world.create_for_agents()
        stale = await self.stale_worker(world)
        await world.update(policy={"maxLeaseTTL": "5m", "defaultLeaseTTL": "5m"})
        await self.cut_short_on_a_stale_credential(world, stale)
        granted = await lease_once(world, world.vault, 20 * timedelta(hours=1))
        assert granted.lease.expires_at == world.clock() + timedelta(minutes=5)

    async def test_a_repeat_on_a_destroyed_version_is_told_that_the_lease_has_ended(self, world: World) -> None:
        await world.create_for_agents()
        stale = await self.stale_worker(world)
        await world.rotate()
        world.clock.pass_by(seconds=1)
        await world.vault.reconcile()
        await self.cut_short_on_a_stale_credential(world, stale)
        with pytest.raises(LeaseEnded):
            await lease_once(world, world.vault, 20 * timedelta(hours=1))


class TestWithdrawnLeases:
    async def test_the_audit_tells_of_no_withdrawal_of_the_lease_that_was_granted(self, world: World) -> None:
        await world.create_for_agents()
        other = another_worker(world)
        await other.credentials.read(ALICE, "db-password", world.clock())
        await world.rotate()
        granted = await other.grants.grant(DEPLOY_AGENT, "db-password", None, None, world.clock())
        withdrawn = [event for event in await world.audit() if event.details.get("reason") == "withdrawn"]
        assert len(withdrawn) == 1
        assert withdrawn[0].lease_id != granted.lease.id
        assert [event.event for event in await world.audit() if event.lease_id == granted.lease.id] == ["lease.created"]

    async def test_a_renewal_that_was_taken_back_frees_its_place_at_the_old_end(self, world: World) -> None:
        await world.create_for_agents(policy={"maxLeases": 1, "maxLeaseTTL": "24h"})
        first = await world.lease(ttl=timedelta(minutes=10))
        world.clock.pass_by(minutes=9)
        unlucky = worker_with(world, audit=Interrupted(world.stores.audit, before=audit_is_down))
        with pytest.raises(Unavailable):
            await unlucky.leases.renew(DEPLOY_AGENT, first.lease.id, timedelta(hours=23), None, world.clock())
        world.clock.pass_by(minutes=1)
        assert await world.lease()


class TestSizes:
    async def test_a_credential_that_keeps_a_hundred_values_is_not_rotated_again_but_can_be_revoked(
        self, world: World
    ) -> None:
        await world.create_for_agents()
        for number in range(MAX_KEPT_VERSIONS - 1):
            newest = await world.lease(ttl=DAY)
            await world.rotate(value=f"value {number}")
        with pytest.raises(VersionLimitReached):
            await world.rotate(value="one too many")
        revoked = await world.revoke(MONA)
        assert {version.state for version in revoked.versions} == {State.REVOKED}
        seen = await world.vault.leases.read(DEPLOY_AGENT, newest.lease.id, world.clock())
        assert seen.state is LeaseState.REVOKED

    async def test_metadata_that_grows_patch_by_patch_is_refused_before_the_row_is_full(self, world: World) -> None:
        patterns = [{"type": "human", "email": '"' * 256, "id": f"{number}"} for number in range(50)]
        await world.create(policy={"allowedIdentities": patterns})
        parts = [{f"{part}-{number}-" + '"' * 120: '"' * 512 for number in range(16)} for part in range(4)]
        for part in parts[:3]:
            await world.update(metadata=part)
        with pytest.raises(InvalidInput):
            await world.update(metadata=parts[3])

    @pytest.mark.parametrize("part", ["a" * 513, "\U0001f600" * 257], ids=["letters", "surrogate pairs"])
    @pytest.mark.parametrize("at", [0, 1])
    def test_a_cursor_with_a_part_that_no_key_can_be_is_refused(self, part: str, at: int) -> None:
        whole, too_long = ("a" * 512, "k"), ["p", "k"]
        assert decoded(encoded(whole)) == whole
        too_long[at] = part
        with pytest.raises(InvalidInput):
            decoded(encoded((too_long[0], too_long[1])))


class TestNames:
    @pytest.mark.parametrize(
        "unseen", ["\u034f", "\u115f", "\u1160", "\u180b", "\u3164", "\ufe0f", "\uffa0", "\U000e0100"]
    )
    def test_a_name_with_a_letter_that_is_not_seen_is_refused(self, unseen: str) -> None:
        assert check_name("db-password") == "db-password"
        with pytest.raises(ValueError):
            check_name(f"db{unseen}-password")

    async def test_a_repeated_rotation_by_a_name_that_is_anothers_now_is_refused(self, world: World) -> None:
        async def rotate_once() -> None:
            body = RotateCredential.model_validate({"value": "next value"})
            once = Once("key", "rotate db-password", b"{}")
            await world.vault.credentials.rotate(ALICE, "db-password", body, None, once, world.clock())

        await world.create()
        await rotate_once()
        await world.vault.credentials.delete(ALICE, "db-password", None, world.clock())
        await world.create(value="leaked")
        with pytest.raises(IdempotencyKeyReused):
            await rotate_once()


class TestAnswers:
    async def test_an_etag_changes_with_the_tenants_defaults_and_the_old_one_still_fits(self, world: World) -> None:
        app = App(world)
        await app.create()
        before = await app.send("GET", "/credentials/db-password", ALICE)
        defaults = LeasePolicy.model_validate({"allowedIdentities": [{"type": "any"}]})
        await world.vault.tenants.replace(ADA, ReplaceTenantRules(defaults=defaults), None, world.clock())
        after = await app.send("GET", "/credentials/db-password", ALICE)
        assert before["effectivePolicy"] != after["effectivePolicy"]
        assert before.etag != after.etag
        patch: dict[str, Any] = {"description": "mine"}
        headers = {"If-Match": before.etag, "Content-Type": "application/merge-patch+json"}
        assert (await app.send("PATCH", "/credentials/db-password", ALICE, patch, headers)).status == 200

    async def test_a_hundred_who_ask_for_the_health_at_once_ask_the_stores_once(self, world: World) -> None:
        await asyncio.gather(*(world.vault.health.read() for _ in range(100)))
        assert world.ledger.total == 2

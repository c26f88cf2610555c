"""The timers: they tidy, in any order, any number of times, and decide nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import pytest

from tests.faults import Crash, Fault, Plan
from tests.vaults import ALICE, DEPLOY_AGENT, MALLORY, NOON, World
from tests.workers import another_worker
from vault_core.errors import NotFound, RowMissing, SecretMissing, Unavailable
from vault_core.lease import LeaseState
from vault_core.repeats import Once
from vault_core.stores import Delete, Keys, Partitions, Put
from vault_core.upkeep.runs import RUN_FOR, Report, Run

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    return World()


async def told(world: World, event: str) -> int:
    return Counter(each.event for each in await world.audit())[event]


async def due(world: World, queue: str = "lease") -> int:
    return len((await world.stores.due.query(Partitions(f"{queue}|", f"{queue}}}"))).rows)


async def intents(world: World) -> list[str]:
    rows = (await world.stores.vault.query(Keys("contoso", "intent:", "intent;"))).rows
    return [row.key.split("|")[1] for row in rows]


async def sweep(world: World) -> Report:
    return await world.vault.expire_leases()


class TestExpiringLeases:
    async def test_leases_past_their_end_are_marked_and_told(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        world.clock.pass_by(minutes=61)
        assert await sweep(world) == Report(done=1)
        [event] = [each for each in await world.audit() if each.event == "lease.expired"]
        assert (event.lease_id, event.at) == (lease_id, NOON + HOUR)
        assert (event.identity.id, event.details) == ("system:expire_leases", {"holder": "id-deploy-agent"})
        assert await due(world) == 0

    async def test_a_lease_that_runs_is_left_alone(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        world.clock.pass_by(minutes=59)
        assert await sweep(world) == Report()
        assert await due(world) == 1

    @pytest.mark.parametrize("leases", [3, 12])
    async def test_a_renewed_lease_is_looked_at_again_when_it_ends(self, world: World, leases: int) -> None:
        await world.create_for_agents()
        ids = [(await world.lease()).lease.id for _ in range(leases)]
        world.clock.pass_by(minutes=30)
        await world.vault.leases.renew(DEPLOY_AGENT, ids[0], None, None, world.clock())
        world.clock.pass_by(minutes=32)
        await sweep(world)
        assert (await told(world, "lease.expired"), await due(world)) == (leases - 1, 1)
        seen = await world.vault.leases.read(DEPLOY_AGENT, ids[0], world.clock())
        assert seen.state is LeaseState.ACTIVE
        world.clock.pass_by(minutes=30)
        await sweep(world)
        assert (await told(world, "lease.expired"), await due(world)) == (leases, 0)

    async def test_a_lease_that_was_ended_before_is_not_told_as_expired(self, world: World) -> None:
        await world.create_for_agents()
        await world.vault.leases.revoke(DEPLOY_AGENT, (await world.lease()).lease.id, NOON)
        world.clock.pass_by(minutes=61)
        await sweep(world)
        assert (await told(world, "lease.expired"), await due(world)) == (0, 0)

    @pytest.mark.parametrize("leases", [2, 20])
    async def test_a_sweep_that_runs_twice_at_once_tells_each_lease_once(self, world: World, leases: int) -> None:
        await world.create_for_agents()
        for _ in range(leases):
            await world.lease()
        world.clock.pass_by(minutes=61)
        other = another_worker(world)
        await asyncio.gather(sweep(world), other.expire_leases())
        world.clock.pass_by(minutes=7)
        await sweep(world)
        assert (await told(world, "lease.expired"), await due(world)) == (leases, 0)

    async def test_a_sweep_that_did_not_run_for_a_day_makes_up_for_it(self, world: World) -> None:
        await world.create_for_agents()
        for minutes in range(60):
            await world.lease(ttl=timedelta(minutes=minutes + 1))
        for number in range(20):
            await world.create_for_agents(name=f"credential-{number}")
            await world.lease(reference=f"credential-{number}")
        world.clock.pass_by(days=1)
        assert await sweep(world) == Report(done=80)
        assert (await told(world, "lease.expired"), await due(world)) == (80, 0)

    @pytest.mark.parametrize("leases", [2, 20])
    async def test_a_sweep_that_crashed_anywhere_is_made_up_for(self, leases: int) -> None:
        call = 0
        while True:
            call += 1
            world = World()
            await world.create_for_agents()
            for _ in range(leases):
                await world.lease()
            world.clock.pass_by(minutes=61)
            world.restart(Plan(crash_after=call))
            try:
                await sweep(world)
            except Crash:
                world.restart()
                world.clock.pass_by(minutes=7)
                await sweep(world)
                assert (await told(world, "lease.expired"), await due(world)) == (leases, 0)
            else:
                break
        assert call > 5

    async def test_one_broken_item_does_not_stop_the_rest(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        broken = await world.create_for_agents()
        await world.create_for_agents(name="well")
        broken_lease = (await world.lease()).lease
        await world.lease(reference="well")
        row = await world.stores.leases.read(f"contoso|{broken.id}", f"lease:{broken_lease.reference.token}")
        await world.stores.leases.commit(Put(row.with_document({"not": "a lease"})))
        world.clock.pass_by(minutes=61)
        with caplog.at_level(logging.WARNING):
            report = await sweep(world)
        assert (report.done, report.failed) == (1, 1)
        assert (await told(world, "lease.expired"), await due(world)) == (1, 1)
        assert "item=put-off" in caplog.text

    async def test_what_failed_is_tried_again(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        world.clock.pass_by(minutes=61)
        world.restart(Plan(faults={2: Fault()}))
        assert (await sweep(world)).failed == 1
        world.clock.pass_by(minutes=7)
        assert await sweep(world) == Report(done=1)

    async def test_a_due_row_without_its_lease_is_dropped(self, world: World) -> None:
        credential = await world.create_for_agents()
        lease = (await world.lease()).lease
        row = await world.stores.leases.read(f"contoso|{credential.id}", f"lease:{lease.reference.token}")
        await world.stores.leases.commit(Delete(row))
        world.clock.pass_by(minutes=61)
        assert (await sweep(world)).failed == 0
        assert (await told(world, "lease.expired"), await due(world)) == (0, 0)

    async def test_the_leases_of_every_tenant_are_swept(self, world: World) -> None:
        await world.create_for_agents()
        await world.create(MALLORY)
        await world.lease()
        await world.lease(MALLORY)
        world.clock.pass_by(minutes=61)
        assert await sweep(world) == Report(done=2)
        assert [event.event for event in await world.audit("fabrikam")].count("lease.expired") == 1


class TestForgettingLeases:
    async def test_an_ended_lease_can_be_looked_up_for_a_week(self, world: World) -> None:
        credential = await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        world.clock.pass_by(minutes=61)
        await sweep(world)
        world.clock.pass_by(days=7)
        await world.vault.reconcile()
        assert (await world.vault.leases.read(DEPLOY_AGENT, lease_id, world.clock())).state is LeaseState.EXPIRED
        world.clock.pass_by(days=1)
        await world.vault.reconcile()
        with pytest.raises(NotFound):
            await world.vault.leases.read(DEPLOY_AGENT, lease_id, world.clock())
        span = Keys(f"contoso|{credential.id}", "lease:", "lease;")
        assert (await world.stores.leases.query(span)).rows == []
        assert await due(world, "forget") == 0

    async def test_a_lease_that_runs_or_ended_lately_is_not_forgotten_with_the_old_ones(self, world: World) -> None:
        await world.create_for_agents()
        old = (await world.lease()).lease.id
        world.clock.pass_by(minutes=61)
        await sweep(world)
        world.clock.pass_by(days=8)
        running, ended = (await world.lease()).lease.id, (await world.lease()).lease.id
        await world.vault.leases.revoke(DEPLOY_AGENT, ended, world.clock())
        await world.vault.reconcile()
        for lease_id, state in ((running, LeaseState.ACTIVE), (ended, LeaseState.REVOKED)):
            assert (await world.vault.leases.read(DEPLOY_AGENT, lease_id, world.clock())).state is state
        with pytest.raises(NotFound):
            await world.vault.leases.read(DEPLOY_AGENT, old, world.clock())


class TestReconciling:
    async def test_the_value_of_a_creation_that_was_cut_short_is_destroyed(self, world: World) -> None:
        await world.create(name="another")
        world.restart()
        await world.create(name="dry-run")
        commits = [call.number for call in world.ledger.calls if (call.store, call.method) == ("vault", "commit")]
        world.restart(Plan(crash_after=commits[-1] - 1))
        with pytest.raises(Crash):
            await world.create()
        [name] = [call.subject for call in world.ledger.calls if (call.store, call.method) == ("secrets", "write")]
        world.restart()
        assert await world.stores.secrets.read(name)
        world.clock.pass_by(minutes=9)
        await world.vault.reconcile()
        assert await world.stores.secrets.read(name)
        world.clock.pass_by(minutes=2)
        await world.vault.reconcile()
        with pytest.raises(SecretMissing):
            await world.stores.secrets.read(name)
        assert await intents(world) == []
        assert await world.create()

    @pytest.mark.parametrize("turns", range(0, 60, 4))
    async def test_a_request_that_is_slow_beyond_measure_never_comes_to_point_to_a_discarded_value(
        self, world: World, turns: int
    ) -> None:
        await world.create()
        late = another_worker(world, lambda: NOON + timedelta(minutes=11))

        async def reconcile_meanwhile() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await late.reconcile()

        rotation, _ = await asyncio.gather(world.rotate(), reconcile_meanwhile(), return_exceptions=True)
        shown = await world.vault.credentials.read(ALICE, "db-password", NOON)
        assert await world.stores.secrets.read(shown.credential.newest.secret or "")
        assert shown.credential.newest.number == (1 if isinstance(rotation, Unavailable) else 2)

    async def test_reconciling_twice_at_once_is_safe(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        await world.rotate()
        await world.revoke()
        await world.create(name="gone")
        await world.vault.credentials.delete(ALICE, "gone", None, NOON)
        for _ in range(4):
            world.clock.pass_by(days=40)
            other = another_worker(world)
            await asyncio.gather(world.vault.reconcile(), other.reconcile())
        assert await intents(world) == []

    async def test_keys_that_never_became_current_stay_named_and_harm_nothing(self, world: World) -> None:
        world.restart(Plan(crash_after=3))
        with pytest.raises(Crash):
            await world.create()
        world.restart()
        await world.create()
        row = await world.stores.vault.read("contoso", "keys")
        [abandoned] = row.document["candidates"]
        await world.vault.reconcile()
        assert abandoned not in row.document["keys"].values()
        world.restart()
        assert await world.vault.credentials.read(ALICE, "db-password", world.clock())

    async def test_an_idempotency_key_is_forgotten_after_a_day(self, world: World) -> None:
        await world.create_for_agents()
        await world.vault.grants.grant(DEPLOY_AGENT, "db-password", None, Once("key", "lease", b"{}"), NOON)
        requests = Keys("contoso", "request:", "request;")
        world.clock.pass_by(hours=23)
        await world.vault.reconcile()
        assert len((await world.stores.vault.query(requests)).rows) == 1
        world.clock.pass_by(hours=2)
        await world.vault.reconcile()
        assert (await world.stores.vault.query(requests)).rows == []

    async def test_what_keeps_failing_is_tried_ever_more_rarely(self, world: World) -> None:
        credential = await world.create()
        await world.rotate()
        key = f"credential:{credential.id}"
        row = await world.stores.vault.read("contoso", key)
        await world.stores.vault.commit(Put(row.with_document({"broken": True})))
        waits = []
        for _ in range(4):
            world.clock.pass_by(seconds=1)
            assert (await world.vault.reconcile()).failed == 1
            [entry] = (await world.stores.vault.query(Keys("contoso", "intent:", "intent;"))).rows
            at = entry.key.removeprefix("intent:").partition("|")[0]
            waits.append(at)
            world.clock.pass_by(hours=7)
        assert len(set(waits)) == 4
        await world.stores.vault.commit(Put(row))
        assert (await world.vault.reconcile()).failed == 0
        assert await intents(world) == []


class TestRuns:
    async def test_a_run_ends_when_its_time_is_up_and_says_that_it_left_some(self, world: World) -> None:
        run = Run("test", world.clock(), world.clock)
        seen: list[int] = []

        async def work(item: int) -> int:
            seen.append(item)
            world.clock.pass_by(seconds=10)
            return 1

        async def put_off(item: int) -> None:
            raise AssertionError

        report = await run.each(range(100), work, put_off)
        assert report.left_some
        assert report.done == len(seen) < 100
        assert world.clock() - NOON < RUN_FOR + timedelta(seconds=100)

    async def test_a_run_that_cannot_even_put_off_goes_on(self, world: World) -> None:
        async def fail(item: int) -> int:
            raise RowMissing("some key")

        async def fail_again(item: int) -> None:
            raise RowMissing("some key")

        report = await Run("test", NOON, world.clock).each(range(3), fail, fail_again)
        assert report == Report(failed=3)

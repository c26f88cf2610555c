"""The audit: what is written, what is found again, and that nothing is told of values."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import watch
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, MALLORY, MONA, NOON, Clock, World, memory_stores
from vault_core.audit import AuditEvent, AuditLog, AuditQuery, Event, Outcome
from vault_core.identities import Caller
from vault_core.stores import Partitions
from vault_core.stores.memory import MemoryTable
from vault_core.tenants import ReplaceTenantRules

DAY = timedelta(days=1)
OFFSETS = st.timedeltas(-3 * DAY, 3 * DAY)
EVER = AuditQuery(since=NOON - 400 * DAY, until=NOON + 400 * DAY)


def event(caller: Caller = ALICE, *, after: timedelta = timedelta(0), what: Event = Event.LEASE_CREATED) -> AuditEvent:
    return what.by(caller, NOON + after, credential_id="c", lease_id="l")


async def found(log: AuditLog, tenant: str = "contoso", query: AuditQuery = EVER) -> list[AuditEvent]:
    return list((await log.query(tenant, query, limit=1000)).events)


class TestWriting:
    async def test_what_was_written_is_found(self) -> None:
        log = AuditLog(MemoryTable())
        written = Event.ACCESS_DENIED.by(
            BOB, NOON, credential_name="db-password", outcome=Outcome.DENIED, details={"action": "lease"}
        )
        await log.write(written)
        assert await found(log) == [written]

    async def test_the_newest_comes_first(self) -> None:
        log = AuditLog(MemoryTable())
        offsets = [timedelta(minutes=5), timedelta(0), 3 * DAY, timedelta(milliseconds=1), -2 * DAY]
        for offset in offsets:
            await log.write(event(after=offset))
        assert [each.at - NOON for each in await found(log)] == sorted(offsets, reverse=True)

    async def test_an_event_that_is_told_again_is_one_event(self) -> None:
        log = AuditLog(MemoryTable())
        once = event()
        await log.write(once)
        await log.write(once, event(BOB))
        assert len(await found(log)) == 2

    async def test_many_events_cost_a_call_for_every_hundred_of_a_day(self) -> None:
        stores, ledger = watch(memory_stores())
        log = AuditLog(stores.audit)
        await log.write(*(event(after=timedelta(seconds=number)) for number in range(250)))
        assert (ledger.total, ledger.rounds) == (3, 1)
        await log.write(*(event(after=DAY * number) for number in range(3)))
        assert ledger.total == 6
        assert len(await found(log)) == 253

    async def test_an_event_without_effect_is_followed_by_one_that_says_so(self) -> None:
        log = AuditLog(MemoryTable())
        first = event()
        await log.write(first, first.failed("name-taken"))
        [undone] = [each for each in await found(log) if each.outcome is Outcome.FAILED]
        assert undone.details == {"code": "name-taken", "eventId": first.id}
        assert (undone.event, undone.at, undone.identity) == (first.event, first.at, first.identity)


class TestFinding:
    @pytest.fixture
    async def log(self) -> AuditLog:
        log = AuditLog(MemoryTable())
        await log.write(
            event(ALICE), event(BOB, after=DAY, what=Event.LEASE_REVOKED), event(DEPLOY_AGENT, after=2 * DAY)
        )
        await log.write(replace(event(ALICE, after=3 * DAY), credential_id="d", lease_id=None, outcome=Outcome.DENIED))
        await log.write(event(MALLORY))
        return log

    @pytest.mark.parametrize(
        ("query", "days"),
        [
            ({}, [3, 2, 1, 0]),
            ({"event": "lease.revoked"}, [1]),
            ({"identity": "id-alice"}, [3, 0]),
            ({"identity": "alice@contoso.example"}, [3, 0]),
            ({"identity": "deploy-agent"}, [2]),
            ({"credential_id": "d"}, [3]),
            ({"lease_id": "l"}, [2, 1, 0]),
            ({"outcome": Outcome.DENIED}, [3]),
            ({"since": NOON + DAY}, [3, 2, 1]),
            ({"until": NOON + DAY}, [0]),
            ({"since": NOON + DAY, "until": NOON + DAY + timedelta(microseconds=1)}, [1]),
            ({"identity": "id-alice", "outcome": Outcome.ALLOWED}, [0]),
            ({"identity": "id-mallory"}, []),
        ],
        ids=str,
    )
    async def test_every_filter_that_is_given_must_match(
        self, log: AuditLog, query: dict[str, Any], days: list[int]
    ) -> None:
        assert [(each.at - NOON) // DAY for each in await found(log, query=replace(EVER, **query))] == days

    async def test_a_tenant_hears_of_itself_only(self, log: AuditLog) -> None:
        assert {each.tenant for each in await found(log)} == {"contoso"}
        assert [each.identity for each in await found(log, "fabrikam")] == [MALLORY.identity]
        assert await found(log, "contos") == []

    async def test_pages_join_up(self) -> None:
        log = AuditLog(MemoryTable())
        written = [event(after=timedelta(hours=number)) for number in range(75)]
        await log.write(*written)
        seen: list[AuditEvent] = []
        after: tuple[str, str] | None = None
        while True:
            page = await log.query("contoso", EVER, limit=10, after=after)
            seen += page.events
            if (after := page.after) is None:
                break
        assert seen == written[::-1]

    @given(offsets=st.lists(OFFSETS, max_size=12), window=st.tuples(OFFSETS, OFFSETS))
    @settings(max_examples=40, deadline=None)
    async def test_a_time_range_holds_what_is_in_it(
        self, offsets: list[timedelta], window: tuple[timedelta, timedelta]
    ) -> None:
        log = AuditLog(MemoryTable())
        for offset in offsets:
            await log.write(event(after=offset))
        since, until = min(window), max(window)
        seen = [each.at - NOON for each in await found(log, query=AuditQuery(NOON + since, NOON + until))]
        assert sorted(seen) == sorted(offset for offset in offsets if since <= offset < until)
        assert [at // timedelta(milliseconds=1) for at in seen] == sorted(
            (at // timedelta(milliseconds=1) for at in seen), reverse=True
        )


class TestWhatIsTold:
    async def test_everything_that_is_done_is_told(self) -> None:
        world = World()
        credentials, leases = world.vault.credentials, world.vault.leases
        await world.create_for_agents()
        held = (await world.lease()).lease.id
        await leases.renew(DEPLOY_AGENT, held, None, None, NOON)
        await leases.revoke(DEPLOY_AGENT, held, NOON)
        await world.update(description="new", policy={"maxLeases": 2})
        await world.rotate()
        await credentials.suspend(ALICE, "db-password", None, None, NOON)
        await credentials.resume(ALICE, "db-password", None, None, NOON)
        await credentials.transfer(ALICE, "db-password", "id-bob", NOON)
        await world.vault.tenants.replace(ADA, ReplaceTenantRules(), None, NOON)
        await world.revoke(BOB)
        await credentials.delete(BOB, "db-password", None, NOON)
        told = {each.event: each.identity.id for each in await world.audit()}
        assert told == {
            "credential.created": "id-alice",
            "lease.created": "id-deploy-agent",
            "lease.renewed": "id-deploy-agent",
            "lease.revoked": "id-deploy-agent",
            "credential.updated": "id-alice",
            "policy.updated": "id-alice",
            "credential.rotated": "id-alice",
            "credential.suspended": "id-alice",
            "credential.resumed": "id-alice",
            "credential.owner_changed": "id-alice",
            "tenant.settings_updated": "id-ada",
            "credential.revoked": "id-bob",
            "credential.deleted": "id-bob",
        }

    async def test_no_value_is_ever_told(self) -> None:
        world = World()
        await world.create_for_agents(value="canary-one")
        await world.lease()
        await world.rotate(value="canary-two")
        await world.revoke(MONA)
        rows = (await world.stores.audit.query(Partitions("contoso|", "contoso}"))).rows
        assert len(rows) == 5
        assert "canary" not in repr(rows)

    async def test_the_session_and_purpose_of_a_lease_are_told(self) -> None:
        world = World()
        await world.create_for_agents()
        identity = DEPLOY_AGENT.identity.model_copy(update={"session_id": "s-1"}).with_purpose("nightly build")
        await world.lease(replace(DEPLOY_AGENT, identity=identity))
        [told] = [each for each in await world.audit() if each.event == "lease.created"]
        assert (told.identity.session_id, told.identity.purpose) == ("s-1", "nightly build")

    async def test_what_a_timer_does_is_told_under_its_own_name(self) -> None:
        world = World(clock=Clock())
        await world.create_for_agents()
        await world.lease()
        world.clock.pass_by(hours=2)
        await world.vault.expire_leases()
        [told] = [each for each in await world.audit() if each.event == "lease.expired"]
        assert told.identity.id == "system:expire_leases"

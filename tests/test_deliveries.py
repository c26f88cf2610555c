"""Events on their way to subscribers: none is lost, none waits for another's subscriber, none shows a value."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import datetime, timedelta

import pytest

from tests.faults import Crash, Fault, Plan
from tests.outbound import Answer, Received
from tests.subscribers import HELD_FOR, OTHER_URL, URL, answers, dead, pending, signed_by, subscribe, told, update
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, MALLORY, NOON, TENANTS, World, person
from tests.workers import another_worker
from vault_core.audit import AuditEvent, AuditEventView, Event
from vault_core.deliveries import GIVE_UP_AFTER, KEEP_DEAD, MOST_REPLAYED, RETRIES, Delivery, DeliveryState
from vault_core.errors import NotFound, SubscriptionDisabled, Unavailable
from vault_core.identities import Caller, Role
from vault_core.outbound import Reply
from vault_core.stores import Keys, Put
from vault_core.subscription import MAX_SUBSCRIPTIONS, Subscription
from vault_core.subscriptions import Issued
from vault_core.upkeep.deliveries import LIMITS
from vault_core.upkeep.runs import Report
from vault_core.vault import Vault

DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    return World()


async def subscribed(world: World, url: str = URL, *events: str, answer: int | None = 204) -> Issued:
    """A subscription that holds everywhere."""
    issued = await subscribe(world, url, *events, answer=answer)
    world.clock.now += HELD_FOR
    return issued


async def tell(world: World, number: int = 1, caller: Caller = ALICE) -> list[AuditEvent]:
    """Tell the audit of as many events, a second apart."""
    events = [
        Event.CREDENTIAL_UPDATED.by(caller, world.clock.now + timedelta(seconds=second), credential_id="c")
        for second in range(number)
    ]
    await world.vault.audit.write(*events)
    world.clock.pass_by(seconds=number)
    return events


async def deliver(world: World) -> Report:
    return await world.vault.deliver_events()


async def rows(world: World, tenant: str = "contoso") -> list[str]:
    """The keys of what waits, what was given up, and what is to be forgotten."""
    found = []
    for kind in ("delivery", "dead-letter", "forget"):
        found += [row.key for row in (await world.stores.vault.query(Keys(tenant, f"{kind}:", f"{kind};"))).rows]
    return found


async def fail_until_dead(world: World, subscription: Subscription) -> None:
    """Run the timer at every instant at which something is tried, until nothing waits."""
    while waiting := await pending(world, subscription):
        world.clock.now = max(world.clock.now, waiting[0].at)
        await deliver(world)
        world.clock.pass_by(seconds=1)


class TestPuttingOnTheirWay:
    async def test_what_happens_is_delivered_signed(self, world: World) -> None:
        issued = await subscribed(world)
        credential = await world.create()
        assert await deliver(world) == Report(done=1)
        [call] = world.outbound.received
        [event] = [one for one in await world.audit() if one.event == "credential.created"]
        assert signed_by(call, issued.secret)
        assert (call.url, call.headers["webhook-id"]) == (URL, event.id)
        assert call.json["type"] == "credential.created"
        assert call.json["data"]["credentialId"] == credential.id
        assert await rows(world) == []

    async def test_a_message_holds_the_event_as_the_audit_shows_it(self, world: World) -> None:
        await subscribed(world)
        await world.create()
        await deliver(world)
        [call] = world.outbound.received
        [event] = [one for one in await world.audit() if one.event == "credential.created"]
        shown = json.loads(AuditEventView.of(event).model_dump_json(by_alias=True, exclude_none=True))
        assert call.json == {"type": "credential.created", "timestamp": shown["at"], "data": shown}
        assert call.body.decode() == json.dumps(call.json, separators=(",", ":"), ensure_ascii=False)

    async def test_only_what_was_asked_for_is_delivered(self, world: World) -> None:
        await subscribed(world, URL, "credential.rotated", "lease.*")
        await world.create_for_agents()
        await world.lease()
        await world.rotate()
        await deliver(world)
        assert sorted(told(world)) == ["credential.rotated", "lease.created"]

    async def test_every_subscriber_gets_its_own(self, world: World) -> None:
        await subscribe(world, URL, "credential.*")
        await subscribed(world, OTHER_URL, "*")
        await world.create_for_agents()
        await world.lease()
        await deliver(world)
        assert (told(world), sorted(told(world, OTHER_URL))) == (
            ["credential.created"],
            ["credential.created", "lease.created"],
        )

    async def test_what_was_refused_is_told_too(self, world: World) -> None:
        await subscribed(world)
        event = Event.CREDENTIAL_CREATED.by(ALICE, world.clock())
        await world.vault.audit.write(event, event.failed("name-taken"))
        await deliver(world)
        outcomes = {call.json["data"]["outcome"] for call in world.outbound.received}
        assert outcomes == {"allowed", "failed"}

    async def test_a_new_subscription_holds_everywhere_within_ten_seconds(self, world: World) -> None:
        other = another_worker(world)
        await other.audit.write(Event.CREDENTIAL_UPDATED.by(ALICE, NOON))
        issued = await subscribed(world)
        await other.audit.write(Event.CREDENTIAL_UPDATED.by(ALICE, world.clock()))
        assert len(await pending(world, issued.subscription)) == 1

    async def test_another_tenants_events_are_not_told(self, world: World) -> None:
        await subscribed(world, URL, "*")
        await world.create(MALLORY)
        await deliver(world)
        assert world.outbound.received == []

    async def test_an_event_that_is_told_again_waits_once(self, world: World) -> None:
        issued = await subscribed(world)
        event = Event.CREDENTIAL_UPDATED.by(ALICE, world.clock())
        for _ in range(3):
            await world.vault.audit.write(event)
        [waiting] = await pending(world, issued.subscription)
        assert (waiting.id, waiting.attempts) == (event.id, 0)

    async def test_an_event_that_is_told_again_later_has_the_same_id(self, world: World) -> None:
        await subscribed(world)
        event = Event.CREDENTIAL_UPDATED.by(ALICE, world.clock())
        for _ in range(2):
            await world.vault.audit.write(event)
            await deliver(world)
        assert [call.headers["webhook-id"] for call in world.outbound.received] == [event.id] * 2
        assert len({call.body for call in world.outbound.received}) == 1

    @pytest.mark.parametrize("number", [1, 250])
    async def test_nothing_is_done_whose_event_cannot_be_put_on_its_way(self, world: World, number: int) -> None:
        await subscribed(world)
        world.restart()
        await tell(world, number)
        calls = [call.number for call in world.ledger.calls if call.store == "vault"]
        assert len(calls) >= 2
        for call in calls:
            world.restart(Plan(faults={call: Fault()}))
            with pytest.raises(Unavailable):
                await tell(world, number)

    async def test_no_value_is_ever_in_a_message_or_a_row(self, world: World) -> None:
        await subscribed(world, URL, "*")
        await world.create_for_agents(value="canary-one")
        await world.lease()
        await world.rotate(value="canary-two")
        await world.revoke()
        waiting = (await world.stores.vault.query(Keys("contoso", "delivery:", "delivery;"))).rows
        await deliver(world)
        assert len(world.outbound.received) == len(waiting) >= 4
        assert "canary" not in repr([*waiting, *(call.body for call in world.outbound.received)])


class TestWhatItCosts:
    async def test_who_has_no_subscription_pays_one_read_in_ten_seconds(self, world: World) -> None:
        await tell(world)
        world.ledger.calls.clear()
        world.clock.now += HELD_FOR
        for _ in range(9):
            await tell(world)
        assert (world.ledger.count("vault"), world.ledger.count("audit")) == (1, 9)

    async def test_what_nobody_asked_for_costs_nothing_more(self, world: World) -> None:
        await subscribed(world, URL, "locker.*")
        await tell(world)
        world.ledger.calls.clear()
        await tell(world)
        assert world.ledger.total == 1

    async def test_what_somebody_asked_for_costs_one_call_at_the_same_time(self, world: World) -> None:
        await subscribed(world)
        await subscribed(world, OTHER_URL)
        await world.vault.tenants.rules("contoso")
        world.ledger.calls.clear()
        await tell(world)
        assert (world.ledger.total, world.ledger.rounds) == (2, 1)

    async def test_a_lease_with_a_subscriber_takes_one_call_more_and_no_round(self, world: World) -> None:
        await subscribed(world, URL, "lease.*")
        await world.create_for_agents()
        await world.lease()
        world.ledger.calls.clear()
        await world.lease()
        assert (world.ledger.total, world.ledger.rounds) == (5, 2)

    async def test_a_run_with_nothing_due_asks_each_tenant_and_each_subscription_once(self, world: World) -> None:
        await subscribed(world)
        await subscribed(world, OTHER_URL)
        await world.vault.tenants.rules("contoso")
        world.ledger.calls.clear()
        await deliver(world)
        assert world.ledger.count("vault") == 3 + 2


class TestFailures:
    @pytest.mark.parametrize("status", [None, 302, 400, 429, 500])
    async def test_what_is_not_taken_is_tried_again(self, world: World, status: int | None) -> None:
        issued = await subscribed(world, answer=status)
        [event] = await tell(world)
        assert await deliver(world) == Report()
        assert await deliver(world) == Report()
        assert len(world.outbound.received) == 1
        world.outbound.answers[URL] = answers(200)
        world.clock.pass_by(seconds=70)
        assert await deliver(world) == Report(done=1)
        first, second = world.outbound.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == event.id
        assert first.body == second.body
        assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
        assert await pending(world, issued.subscription) == []

    async def test_it_is_tried_ever_more_rarely_and_given_up_after_ten_attempts(self, world: World) -> None:
        issued = await subscribed(world, answer=500)
        await tell(world)
        tried_at: list[datetime] = []
        while waiting := await pending(world, issued.subscription):
            world.clock.now = max(world.clock.now, waiting[0].at)
            tried_at.append(world.clock.now)
            await deliver(world)
        assert len(world.outbound.received) == len(RETRIES) + 1
        waits = [after - before for before, after in itertools.pairwise(tried_at)]
        for wait, planned in zip(waits, RETRIES, strict=True):
            assert planned <= wait <= planned * 1.1
        [given_up] = await dead(world, issued.subscription)
        assert (given_up.attempts, given_up.at) == (10, tried_at[-1])

    async def test_those_that_failed_together_do_not_come_back_together(self, world: World) -> None:
        issued = await subscribed(world, answer=500)
        await tell(world, 3)
        await deliver(world)
        assert len({one.at for one in await pending(world, issued.subscription)}) == 3

    async def test_the_last_attempt_can_succeed(self, world: World) -> None:
        issued = await subscribed(world, answer=500)
        await tell(world)
        for _ in RETRIES:
            await deliver(world)
            [waiting] = await pending(world, issued.subscription)
            world.clock.now = waiting.at
        world.outbound.answers[URL] = answers(200)
        assert await deliver(world) == Report(done=1)
        assert await rows(world) == []

    async def test_what_waits_too_long_behind_others_is_given_up(self, world: World) -> None:
        issued = await subscribed(world, answer=500)
        await tell(world, 20)
        world.clock.now += GIVE_UP_AFTER
        await deliver(world)
        assert (len(await dead(world, issued.subscription)), world.outbound.received) == (20, [])

    async def test_a_signing_secret_that_cannot_be_read_now_loses_nothing(self, world: World) -> None:
        await subscribed(world)
        await tell(world)
        world.outbound.answers[URL] = answers(500)
        world.restart()
        await deliver(world)
        *_, read = [call.number for call in world.ledger.calls if call.store == "secrets"]
        world.outbound.answers[URL] = answers(200)
        world.clock.pass_by(minutes=2)
        world.restart(Plan(faults={read: Fault()}))
        assert (await deliver(world)).failed == 1
        world.restart()
        world.clock.pass_by(minutes=6)
        assert (await deliver(world)).done == 1


class TestOthers:
    async def test_a_dead_subscriber_with_a_long_queue_costs_few_calls_and_delays_nobody(self, world: World) -> None:
        theirs = await subscribed(world, answer=None)
        for _ in range(5):
            await tell(world, 1000)
        await subscribe(world, "https://fabrikam.example/", caller=MALLORY)
        await subscribed(world, OTHER_URL)
        await update(world, theirs.subscription, description="still dead")
        await tell(world, 10)
        await tell(world, 10, MALLORY)
        world.ledger.calls.clear()
        assert (await deliver(world)).done == 20
        assert len(world.outbound.calls_to(OTHER_URL)) == 10
        assert len(world.outbound.calls_to("https://fabrikam.example/")) == 10
        assert len(world.outbound.calls_to(URL)) <= LIMITS.in_vain + 1
        assert world.ledger.total <= 3 * 2 + 20 * 2 + 15
        world.clock.pass_by(seconds=30)
        world.ledger.calls.clear()
        await deliver(world)
        assert world.ledger.total <= 3 * 2 + 10

    async def test_one_that_never_answers_is_overtaken_by_all_others(self, world: World) -> None:
        let_go = asyncio.Event()

        async def hang(call: Received) -> Reply:
            await let_go.wait()
            return Reply(200, b"")

        def count(call: Received) -> Reply:
            if len(world.outbound.calls_to(OTHER_URL)) == 10:
                let_go.set()
            return Reply(200, b"")

        await subscribe(world)
        await subscribed(world, OTHER_URL)
        slow: Answer = hang
        world.outbound.answers |= {URL: slow, OTHER_URL: count}
        await tell(world, 10)
        assert (await deliver(world)).done == 20

    async def test_tenants_with_many_slow_subscribers_hold_up_no_other_tenant(self, world: World) -> None:
        world.vault = Vault(world.stores, (*TENANTS, "wingtip"), world.clock, world.outbound)
        let_go = asyncio.Event()
        answered: list[str] = []

        async def slow(call: Received) -> Reply:
            await let_go.wait()
            answered.append("slow")
            return Reply(200, b"")

        def prompt(call: Received) -> Reply:
            let_go.set()
            answered.append("prompt")
            return Reply(200, b"")

        admins = [person("ada", Role.ADMIN, tenant=tenant) for tenant in (*TENANTS, "wingtip")]
        for admin in admins:
            number = 1 if admin.tenant == "wingtip" else MAX_SUBSCRIPTIONS
            for one in range(number):
                await subscribe(world, f"https://{admin.tenant}.example/{one}", caller=admin, answer=None)
        world.outbound.answers = {f"https://{t}.example/{n}": slow for t in TENANTS for n in range(MAX_SUBSCRIPTIONS)}
        world.outbound.answers["https://wingtip.example/0"] = prompt
        world.clock.now += HELD_FOR
        for admin in admins:
            await tell(world, 2, admin)
        async with asyncio.timeout(60):  # held up, it would never end
            report = await deliver(world)
        assert (report.done, answered[0]) == (2 * (3 * MAX_SUBSCRIPTIONS + 1), "prompt")

    async def test_a_tenant_whose_rows_are_broken_stops_no_other(self, world: World) -> None:
        await subscribed(world)
        await subscribe(world, "https://fabrikam.example/", caller=MALLORY)
        world.clock.now += HELD_FOR
        await tell(world)
        await tell(world, caller=MALLORY)
        row = await world.stores.vault.read("fabrikam", "settings:subscriptions")
        await world.stores.vault.commit(Put(row.with_document({"key": 1, "sealed": "bm90aGluZw=="})))
        world.clock.now += HELD_FOR
        report = await deliver(world)
        assert (report.done, report.failed) == (1, 1)
        assert told(world) == ["credential.updated"]


class TestChangesMeanwhile:
    async def test_what_waits_for_a_disabled_subscription_is_dropped_when_its_turn_comes(self, world: World) -> None:
        issued = await subscribed(world)
        await tell(world, 3)
        await update(world, issued.subscription, enabled=False)
        assert await deliver(world) == Report()
        assert (await rows(world), world.outbound.received) == ([], [])

    async def test_what_waits_goes_to_the_new_url(self, world: World) -> None:
        issued = await subscribed(world, answer=500)
        await tell(world)
        await deliver(world)
        world.outbound.answers[OTHER_URL] = answers(200)
        await update(world, issued.subscription, url=OTHER_URL)
        world.clock.pass_by(minutes=2)
        await deliver(world)
        assert told(world, OTHER_URL) == ["credential.updated"]

    async def test_a_subscription_that_is_deleted_while_the_run_lasts_gets_nothing_more(self, world: World) -> None:
        issued = await subscribed(world)
        await tell(world, 30)

        async def delete(call: Received) -> Reply:
            if len(world.outbound.received) == 1:
                await world.vault.subscriptions.delete(ADA, issued.subscription.id, None, world.clock())
            return Reply(200, b"")

        world.outbound.answers[URL] = delete
        await deliver(world)
        assert len(world.outbound.received) <= 1 + LIMITS.at_once_in_lane * 5
        assert [key for key in await rows(world) if not key.startswith("forget")] == []

    async def test_both_secrets_sign_what_waited_through_a_rotation(self, world: World) -> None:
        issued = await subscribed(world)
        await tell(world)
        new = await world.vault.subscriptions.rotate_secret(ADA, issued.subscription.id, None, world.clock())
        await deliver(world)
        [call] = world.outbound.received
        assert signed_by(call, new.secret)
        assert signed_by(call, issued.secret)


class TestTwinsAndCrashes:
    async def test_two_runs_at_once_deliver_each_event_once(self, world: World) -> None:
        await subscribed(world)
        events = await tell(world, 40)
        other = another_worker(world)
        reports = await asyncio.gather(deliver(world), other.deliver_events())
        assert sorted(call.headers["webhook-id"] for call in world.outbound.received) == sorted(
            event.id for event in events
        )
        assert sum(report.done for report in reports) == 40
        assert await rows(world) == []

    @pytest.mark.parametrize("attempts", [0, len(RETRIES)], ids=["first", "last"])
    async def test_a_run_that_crashed_anywhere_loses_nothing(self, attempts: int) -> None:
        call = 0
        while True:
            call += 1
            world = World()
            issued = await subscribed(world, answer=500)
            [event] = await tell(world)
            for _ in range(attempts):
                await deliver(world)
                [waiting] = await pending(world, issued.subscription)
                world.clock.now = waiting.at
            world.outbound.received.clear()
            world.outbound.answers[URL] = answers(200)
            world.restart(Plan(crash_after=call))
            try:
                await deliver(world)
            except Crash:
                world.restart()
                world.clock.pass_by(minutes=2)
                await world.vault.subscriptions.replay("contoso", issued.subscription.id, None, world.clock())
                await deliver(world)
                assert await rows(world) == []
                assert {one.headers["webhook-id"] for one in world.outbound.received} == {event.id}
            else:
                break
        assert call >= 5

    async def test_an_operation_that_crashed_anywhere_either_told_or_was_not_done(self) -> None:
        call = 0
        while True:
            call += 1
            world = World()
            await subscribed(world, URL, "credential.created")
            world.restart(Plan(crash_after=call))
            try:
                await world.create()
            except Crash:
                world.restart()
                made = [row.key for row in (await world.stores.vault.query(Keys("contoso", "name:", "name;"))).rows]
                await deliver(world)
                assert len(told(world)) >= len(made)
            else:
                break
        assert call > 5


class TestDeadLetters:
    @pytest.fixture
    async def issued(self, world: World) -> Issued:
        """A subscription with three dead letters, whose subscriber is well again."""
        issued = await subscribed(world, answer=500)
        await tell(world, 3)
        await fail_until_dead(world, issued.subscription)
        world.outbound.answers[URL] = answers(200)
        world.outbound.received.clear()
        return issued

    async def replay(self, world: World, issued: Issued, delivery: str | None = None) -> tuple[int, bool]:
        return await world.vault.subscriptions.replay("contoso", issued.subscription.id, delivery, world.clock())

    async def test_are_sent_again_when_somebody_asks(self, world: World, issued: Issued) -> None:
        given_up = await dead(world, issued.subscription)
        await deliver(world)
        assert world.outbound.received == []
        assert await self.replay(world, issued) == (3, False)
        assert await deliver(world) == Report(done=3)
        assert {call.headers["webhook-id"] for call in world.outbound.received} == {one.id for one in given_up}
        assert await rows(world) == []

    async def test_are_sent_again_one_by_one(self, world: World, issued: Issued) -> None:
        one, *others = await dead(world, issued.subscription)
        assert await self.replay(world, issued, one.id) == (1, False)
        assert [each.id for each in await dead(world, issued.subscription)] == [each.id for each in others]
        with pytest.raises(NotFound):
            await self.replay(world, issued, one.id)

    async def test_begin_anew_and_can_be_given_up_again(self, world: World, issued: Issued) -> None:
        world.outbound.answers[URL] = answers(500)
        await self.replay(world, issued)
        assert {(one.attempts, one.at) for one in await pending(world, issued.subscription)} == {(0, world.clock())}
        await fail_until_dead(world, issued.subscription)
        assert len(await dead(world, issued.subscription)) == 3

    async def test_of_two_who_ask_at_once_each_is_sent_once(self, world: World, issued: Issued) -> None:
        other = another_worker(world).subscriptions
        counts = await asyncio.gather(
            self.replay(world, issued), other.replay("contoso", issued.subscription.id, None, world.clock())
        )
        assert sum(count for count, _ in counts) == 3
        await deliver(world)
        assert len(world.outbound.received) == 3

    async def test_are_not_sent_to_a_disabled_subscription(self, world: World, issued: Issued) -> None:
        await update(world, issued.subscription, enabled=False)
        with pytest.raises(SubscriptionDisabled):
            await self.replay(world, issued)
        assert len(await dead(world, issued.subscription)) == 3

    async def test_are_forgotten_after_thirty_days(self, world: World, issued: Issued) -> None:
        world.clock.now += KEEP_DEAD - DAY
        await world.vault.reconcile()
        assert len(await dead(world, issued.subscription)) == 3
        world.clock.now += DAY
        await world.vault.reconcile()
        assert await rows(world) == []

    async def test_that_were_sent_again_are_not_forgotten_in_their_place(self, world: World, issued: Issued) -> None:
        world.outbound.answers[URL] = answers(500)
        world.clock.now += KEEP_DEAD - timedelta(hours=1)
        await self.replay(world, issued)
        world.clock.now += timedelta(hours=2)
        await world.vault.reconcile()
        assert len(await pending(world, issued.subscription)) == 3

    async def test_are_sent_again_in_bounded_numbers(self, world: World) -> None:
        issued = await subscribed(world, answer=500)
        await tell(world, MOST_REPLAYED + 20)
        world.clock.now += GIVE_UP_AFTER
        await deliver(world)
        assert await self.replay(world, issued) == (MOST_REPLAYED, True)
        assert await self.replay(world, issued) == (20, False)


async def test_what_waits_and_what_was_given_up_is_listed_in_pages(world: World) -> None:
    issued = await subscribed(world, answer=500)
    events = await tell(world, 7)
    page = world.vault.subscriptions.deliveries
    seen: list[Delivery] = []
    after = ""
    while True:
        found = await page("contoso", issued.subscription.id, DeliveryState.PENDING, after, 3)
        seen += found.deliveries
        if (after := found.after or "") == "":
            break
    assert [one.id for one in seen] == [event.id for event in events]


async def test_a_lease_is_told_to_whom_it_concerns_alone(world: World) -> None:
    await subscribed(world, URL, "lease.created")
    await world.create_for_agents()
    granted = await world.lease(DEPLOY_AGENT)
    await deliver(world)
    [call] = world.outbound.received
    assert call.json["data"]["leaseId"] == granted.lease.id
    assert call.json["data"]["identity"]["name"] == "deploy-agent"

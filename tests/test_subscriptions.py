"""What administrators do with subscriptions."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.faults import Crash, Fault, Plan
from tests.subscribers import HELD_FOR, OTHER_URL, URL, dead, pending, signed_by, subscribe, told, update
from tests.vaults import ADA, MALLORY, NOON, World, sealed_table
from tests.workers import another_worker
from vault_core import deliveries
from vault_core.audit import AuditEvent, Event
from vault_core.deliveries import Deliveries
from vault_core.errors import (
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    SecretMissing,
    StaleVersion,
    SubscriptionLimitReached,
    TooSoon,
    Unavailable,
)
from vault_core.repeats import Once
from vault_core.stores import Keys
from vault_core.subscription import (
    MAX_SUBSCRIPTIONS,
    CreateSubscription,
    SubscriptionList,
    UpdateSubscription,
    covers,
    subject_of,
)
from vault_core.subscriptions import Issued, Subscriptions

DAY = timedelta(days=1)
WANTED = CreateSubscription(url=URL, events=("*",))
ONCE = Once("key-1", "create subscription", b"{}")


@pytest.fixture
def world() -> World:
    return World()


async def events(world: World) -> list[AuditEvent]:
    """What was told of subscriptions, the newest first."""
    return [one for one in await world.audit() if one.event.startswith("subscription.")]


async def secret_names(world: World) -> list[str]:
    found = await world.vault.subscriptions.all("contoso")
    return sorted(SubscriptionList(subscriptions=tuple(found)).secrets)


async def intents(world: World) -> list[str]:
    rows = (await world.stores.vault.query(Keys("contoso", "intent:", "intent;"))).rows
    return [row.key.split("|")[1] for row in rows]


async def waiting(world: World) -> list[str]:
    """The keys of what waits to be delivered, and of what was given up."""
    table = world.stores.vault
    pages = [await table.query(Keys("contoso", f"{kind}:", f"{kind};")) for kind in ("delivery", "dead-letter")]
    return [row.key for page in pages for row in page.rows]


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "covered"),
        [
            ("*", {*Event}),
            ("credential.rotated", {Event.CREDENTIAL_ROTATED}),
            ("value.*", {Event.VALUE_READ, Event.VALUE_WRITTEN}),
        ],
        ids=["everything", "one", "all of a kind"],
    )
    def test_cover(self, pattern: str, covered: set[Event]) -> None:
        assert {event for event in Event if covers(pattern, event)} == covered

    @pytest.mark.parametrize("pattern", ["", "credential", "cred*", "cred.*", "credential.rot*", "no.such", ".*", "**"])
    def test_that_cover_nothing_are_refused(self, pattern: str) -> None:
        with pytest.raises(ValidationError):
            CreateSubscription(url=URL, events=(pattern,))

    def test_are_at_least_one(self) -> None:
        with pytest.raises(ValidationError):
            CreateSubscription(url=URL, events=())

    def test_that_are_given_twice_are_kept_once(self) -> None:
        assert CreateSubscription(url=URL, events=("*", "value.*", "*")).events == ("*", "value.*")


class TestCreating:
    async def test_shows_the_secret_and_keeps_it_as_a_value(self, world: World) -> None:
        issued = await subscribe(world, description="The shop")
        assert issued.secret.get_secret_value().startswith("whsec_")
        assert [one.description for one in await world.vault.subscriptions.all("contoso")] == ["The shop"]
        [name] = await secret_names(world)
        assert issued.secret.get_secret_value() in (await world.stores.secrets.read(name)).get_secret_value()
        assert await intents(world) == []

    async def test_is_told_with_the_host_alone(self, world: World) -> None:
        issued = await subscribe(world, "https://hooks.contoso.example/T0/secret-path", "value.*")
        [event] = await events(world)
        assert (event.event, event.identity) == ("subscription.created", ADA.identity)
        assert event.details == {
            "subscription": issued.subscription.id,
            "host": "hooks.contoso.example",
            "events": ["value.*"],
        }

    @pytest.mark.parametrize("url", ["http://contoso.example/", "https://vault.internal/", "nonsense"])
    async def test_refuses_a_url_that_the_vault_may_not_call(self, world: World, url: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            await subscribe(world, url)
        [fault] = refused.value.errors
        assert (fault.field, url in fault.message) == ("url", False)
        assert await world.audit() == []

    async def test_stops_at_twenty(self, world: World) -> None:
        for _ in range(MAX_SUBSCRIPTIONS):
            await subscribe(world)
        told_before = len(await events(world))
        with pytest.raises(SubscriptionLimitReached):
            await subscribe(world)
        assert (len(await secret_names(world)), len(await events(world))) == (MAX_SUBSCRIPTIONS, told_before)
        assert await subscribe(world, caller=MALLORY)

    async def test_that_is_repeated_gives_the_same_with_its_secret(self, world: World) -> None:
        first = await world.vault.subscriptions.create(ADA, WANTED, ONCE, NOON)
        again = await world.vault.subscriptions.create(ADA, WANTED, ONCE, NOON)
        assert again == first
        assert len(await world.vault.subscriptions.all("contoso")) == 1
        with pytest.raises(IdempotencyKeyReused):
            await world.vault.subscriptions.create(ADA, WANTED, Once("key-1", "create subscription", b"{1}"), NOON)

    async def test_twice_at_once_with_one_key_makes_one(self, world: World) -> None:
        other = another_worker(world).subscriptions
        both = await asyncio.gather(
            *(one.create(ADA, WANTED, ONCE, NOON) for one in (world.vault.subscriptions, other))
        )
        assert both[0] == both[1]
        [made] = await world.vault.subscriptions.all("contoso")
        assert made == both[0].subscription
        assert await intents(world) == []

    async def test_at_once_without_a_key_makes_both(self, world: World) -> None:
        other = another_worker(world).subscriptions
        await asyncio.gather(*(one.create(ADA, WANTED, None, NOON) for one in (world.vault.subscriptions, other)))
        assert len(await secret_names(world)) == 2
        assert await intents(world) == []

    async def test_that_crashed_anywhere_can_be_repeated_and_leaves_no_secret_behind(self) -> None:
        call = 0
        while True:
            call += 1
            world = World()
            await subscribe(world, OTHER_URL)
            world.restart(Plan(crash_after=call))
            try:
                await world.vault.subscriptions.create(ADA, WANTED, ONCE, NOON)
            except Crash:
                names = await written_secrets(world)
                world.restart()
                issued = await world.vault.subscriptions.create(ADA, WANTED, ONCE, NOON)
                assert len(await world.vault.subscriptions.all("contoso")) == 2
                world.clock.pass_by(minutes=11)
                await world.vault.reconcile()
                assert await intents(world) == []
                await only_named_ones_are_left(world, names)
                assert (await issued_again(world, issued)).secret == issued.secret
            else:
                break
        assert call > 5


async def written_secrets(world: World) -> set[str]:
    return {one.subject for one in world.ledger.calls if (one.store, one.method) == ("secrets", "write")}


async def only_named_ones_are_left(world: World, names: set[str]) -> None:
    for name in names - set(await secret_names(world)):
        with pytest.raises(SecretMissing):
            await world.stores.secrets.read(name)


async def issued_again(world: World, issued: Issued) -> Issued:
    return await world.vault.subscriptions.create(ADA, WANTED, ONCE, world.clock())


class TestUpdating:
    async def test_changes_what_is_given_alone(self, world: World) -> None:
        before = (await subscribe(world, description="The shop")).subscription
        world.clock.pass_by(minutes=1)
        after = await update(world, before, events=["value.*"], enabled=False)
        assert after == await world.vault.subscriptions.read("contoso", before.id)
        assert (after.url, after.events, after.description, after.enabled) == (URL, ("value.*",), "The shop", False)
        assert (after.created_at, after.updated_at, after.tag != before.tag) == (NOON, world.clock(), True)
        assert (await events(world))[0].details == {
            "subscription": before.id,
            "events": ["value.*"],
            "enabled": False,
        }

    async def test_null_returns_to_the_default(self, world: World) -> None:
        before = (await subscribe(world, description="The shop", enabled=False)).subscription
        after = await update(world, before, description=None, enabled=None)
        assert (after.description, after.enabled) == ("", True)

    @pytest.mark.parametrize(
        "patch", [{"url": None}, {"events": None}, {"events": []}, {"url": ""}, {"id": "x"}], ids=str
    )
    def test_what_cannot_be_meant_is_refused(self, patch: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            UpdateSubscription.model_validate(patch)

    async def test_refuses_a_url_that_the_vault_may_not_call(self, world: World) -> None:
        before = (await subscribe(world)).subscription
        with pytest.raises(InvalidInput):
            await update(world, before, url="https://vault.internal/")
        assert await world.vault.subscriptions.read("contoso", before.id) == before

    async def test_on_a_tag_that_was_overtaken_is_refused(self, world: World) -> None:
        before = (await subscribe(world)).subscription
        await update(world, before, description="new")
        patch = UpdateSubscription(description="newer")
        with pytest.raises(StaleVersion):
            await world.vault.subscriptions.update(ADA, before.id, patch, before.tag, NOON)

    async def test_of_another_subscription_meanwhile_is_not_lost(self, world: World) -> None:
        one, two = (await subscribe(world)).subscription, (await subscribe(world, OTHER_URL)).subscription
        worker = another_worker(world).subscriptions
        await asyncio.gather(
            update(world, one, description="one"),
            worker.update(ADA, two.id, UpdateSubscription(description="two"), two.tag, NOON),
        )
        assert [each.description for each in await world.vault.subscriptions.all("contoso")] == ["one", "two"]


class TestRotatingTheSecret:
    async def rotate(self, world: World, issued: Issued, once: Once | None = None) -> Issued:
        return await world.vault.subscriptions.rotate_secret(ADA, issued.subscription.id, once, world.clock())

    async def test_signs_with_both_for_a_day(self, world: World) -> None:
        first = await subscribe(world)
        second = await self.rotate(world, first)
        assert second.secret != first.secret
        for passed, old_signs in ((timedelta(0), True), (timedelta(hours=23), True), (timedelta(hours=2), False)):
            world.clock.now += passed
            await world.vault.subscriptions.test(ADA, first.subscription.id, world.clock())
            call = world.outbound.calls_to(URL)[-1]
            assert (signed_by(call, second.secret), signed_by(call, first.secret)) == (True, old_signs)
            world.clock.pass_by(minutes=1)

    async def test_is_told_without_a_secret(self, world: World) -> None:
        issued = await subscribe(world)
        await self.rotate(world, issued)
        told_of = (await events(world))[0]
        assert (told_of.event, told_of.details) == (
            "subscription.secret_rotated",
            {"subscription": issued.subscription.id},
        )

    async def test_lets_go_of_a_secret_whose_day_is_over(self, world: World) -> None:
        issued = await subscribe(world)
        [first] = await secret_names(world)
        await self.rotate(world, issued)
        world.clock.pass_by(hours=25)
        await self.rotate(world, issued)
        with pytest.raises(SecretMissing):
            await world.stores.secrets.read(first)
        assert await intents(world) == []

    async def test_that_is_repeated_is_done_once(self, world: World) -> None:
        issued, once = await subscribe(world), Once("key-2", "rotate secret", b"")
        first = await self.rotate(world, issued, once)
        assert await self.rotate(world, issued, once) == first
        assert len(await secret_names(world)) == 2

    async def test_twice_at_once_with_one_key_is_done_once(self, world: World) -> None:
        issued, once = await subscribe(world), Once("key-2", "rotate secret", b"")
        both = await asyncio.gather(
            self.rotate(world, issued, once),
            another_worker(world).subscriptions.rotate_secret(ADA, issued.subscription.id, once, NOON),
        )
        assert both[0] == both[1]
        assert len(await secret_names(world)) == 2
        assert await intents(world) == []


class TestDeleting:
    async def delete(self, world: World, issued: Issued, if_match: str | None = None) -> None:
        await world.vault.subscriptions.delete(ADA, issued.subscription.id, if_match, world.clock())

    async def test_destroys_its_secrets_and_what_waits(self, world: World) -> None:
        issued = await subscribe(world, answer=None)
        await world.vault.subscriptions.rotate_secret(ADA, issued.subscription.id, None, NOON)
        world.clock.now += HELD_FOR
        await world.create()
        names = await secret_names(world)
        await self.delete(world, issued)
        await only_named_ones_are_left(world, set(names))
        assert await world.vault.subscriptions.all("contoso") == ()
        rows = (await world.stores.vault.query(Keys("contoso", "d", "e"))).rows
        assert rows == []
        assert (await events(world))[0].event == "subscription.deleted"

    async def test_what_a_slow_worker_puts_on_its_way_meanwhile_is_dropped_later(self, world: World) -> None:
        issued = await subscribe(world)
        slow = another_worker(world)
        await slow.tenants.rules("contoso")
        await self.delete(world, issued)
        event = Event.CREDENTIAL_CREATED.by(ADA, world.clock())
        await slow.audit.write(event)
        assert len((await world.stores.vault.query(Keys("contoso", "delivery:", "delivery;"))).rows) == 1
        world.clock.pass_by(minutes=3)
        await world.vault.reconcile()
        assert (await world.stores.vault.query(Keys("contoso", "delivery:", "delivery;"))).rows == []
        assert await intents(world) == []

    @pytest.mark.parametrize(("given_up", "left_after"), [(False, [150]), (True, [250, 50])], ids=["pending", "dead"])
    async def test_with_much_that_waits_is_done_in_bounded_steps(
        self, world: World, given_up: bool, left_after: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deliveries, "MOST_DROPPED", 3)
        issued = await subscribe(world)
        world.clock.now += HELD_FOR
        await world.vault.audit.write(*(Event.CREDENTIAL_CREATED.by(ADA, world.clock()) for _ in range(450)))
        if given_up:
            await self.give_all_up(world, issued)
        await self.delete(world, issued)
        for left in left_after:
            assert len(await waiting(world)) == left
            assert await intents(world) == ["unsubscribe"]
            world.clock.pass_by(minutes=3)
            world.restart()
            await world.vault.reconcile()
            calls = [call for call in world.ledger.calls if issued.subscription.id in call.subject]
            assert len(calls) <= 3 * 3 + 2  # of each page: it is read, 100 rows removed and their entries; pace, intent
        assert (await waiting(world), await intents(world)) == ([], [])

    async def give_all_up(self, world: World, issued: Issued) -> None:
        """Let what waits become dead letters."""
        found = Deliveries(sealed_table(world.stores))
        async for one in found.due("contoso", issued.subscription.id, world.clock()):
            await found.give_up(one, world.clock())

    async def test_on_a_tag_that_was_overtaken_is_refused(self, world: World) -> None:
        issued = await subscribe(world)
        await update(world, issued.subscription, description="new")
        with pytest.raises(StaleVersion):
            await self.delete(world, issued, issued.subscription.tag)

    async def test_twice_finds_nothing(self, world: World) -> None:
        issued = await subscribe(world)
        await self.delete(world, issued)
        with pytest.raises(NotFound):
            await self.delete(world, issued)

    async def test_that_crashed_anywhere_is_finished(self) -> None:
        call = 0
        while True:
            call += 1
            world = World()
            issued = await subscribe(world, answer=None)
            world.clock.now += HELD_FOR
            await world.create()
            names = await secret_names(world)
            world.restart(Plan(crash_after=call))
            try:
                await self.delete(world, issued)
            except Crash:
                world.restart()
                gone = not await world.vault.subscriptions.all("contoso")
                world.clock.pass_by(minutes=11)
                await world.vault.reconcile()
                if gone:
                    await only_named_ones_are_left(world, set(names))
                    assert (await world.stores.vault.query(Keys("contoso", "d", "e"))).rows == []
                assert await intents(world) == []
            else:
                break
        assert call > 5


class TestTesting:
    async def test_sends_a_signed_event_at_once(self, world: World) -> None:
        issued = await subscribe(world, enabled=False)
        assert await self.send_test(world, issued)
        [call] = world.outbound.received
        assert signed_by(call, issued.secret)
        assert call.json == {
            "type": "subscription.test",
            "timestamp": "2026-11-21T12:00:00.000Z",
            "data": {"subscription": issued.subscription.id},
        }

    @pytest.mark.parametrize("status", [None, 199, 302, 400, 410, 500])
    async def test_tells_only_that_it_was_not_taken(self, world: World, status: int | None) -> None:
        issued = await subscribe(world, answer=status)
        assert await self.send_test(world, issued) is False

    async def test_once_a_minute(self, world: World) -> None:
        issued, another = await subscribe(world), await subscribe(world, OTHER_URL)
        await self.send_test(world, issued)
        world.clock.pass_by(seconds=20)
        with pytest.raises(TooSoon) as refused:
            await self.send_test(world, issued)
        assert refused.value.retry_after == timedelta(seconds=40)
        assert await self.send_test(world, another)
        world.clock.pass_by(seconds=40)
        assert await self.send_test(world, issued)
        assert told(world) == ["subscription.test"] * 2

    async def send_test(self, world: World, issued: Issued) -> bool:
        return await world.vault.subscriptions.test(ADA, issued.subscription.id, world.clock())


class TestTenants:
    async def test_do_not_see_each_others(self, world: World) -> None:
        theirs = (await subscribe(world)).subscription.id
        ours: Subscriptions = world.vault.subscriptions
        assert await ours.all("fabrikam") == ()
        for refused in (
            ours.read("fabrikam", theirs),
            ours.update(MALLORY, theirs, UpdateSubscription(enabled=False), None, NOON),
            ours.rotate_secret(MALLORY, theirs, None, NOON),
            ours.test(MALLORY, theirs, NOON),
            ours.replay("fabrikam", theirs, None, NOON),
            ours.delete(MALLORY, theirs, None, NOON),
        ):
            with pytest.raises(NotFound):
                await refused
        assert (await ours.read("contoso", theirs)).enabled

    async def test_a_secret_opens_for_its_own_subscription_alone(self, world: World) -> None:
        issued = await subscribe(world)
        [name] = await secret_names(world)
        kept = (await world.stores.secrets.read(name)).get_secret_value()
        assert f'"{subject_of(issued.subscription.id)}"' in kept
        assert '"contoso"' in kept


async def test_an_outage_while_creating_is_no_refusal(world: World) -> None:
    await subscribe(world, OTHER_URL)
    world.restart()
    await subscribe(world)
    last = world.ledger.total
    world.restart(Plan(faults={last: Fault(applied=True)}))
    with pytest.raises(Unavailable):
        await world.vault.subscriptions.create(ADA, WANTED, None, NOON)
    world.restart()
    assert len(await world.vault.subscriptions.all("contoso")) == 3


async def test_nothing_waits_for_a_new_subscription(world: World) -> None:
    issued = await subscribe(world, URL, "*")
    assert (await pending(world, issued.subscription), await dead(world, issued.subscription)) == ([], [])

"""Checks by plan: each when it is due, none lost or doubled, and no slow or dead vendor holds up the others."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

import pytest
from pydantic import SecretStr

from tests.faults import Crash, Plan
from tests.outbound import Received, accepts, said
from tests.vaults import ALICE, MALLORY, NOON, TENANTS, Clock, World, agent, key_ring, sealed_table
from tests.vendors import ELSEWHERE, GOOD, NEW, URL, check_due, fill, publish, reread, rotate, validate
from tests.workers import another_worker
from vault_core import agenda
from vault_core.configuration import Configuration
from vault_core.credential_rows import CredentialRows, new_rows
from vault_core.credentials import new_id
from vault_core.identities import Caller, Role
from vault_core.outbound import Reply, Unreachable
from vault_core.sealing import SealedTable
from vault_core.stores import Keys
from vault_core.tenants import TenantRules
from vault_core.upkeep import value_checks
from vault_core.upkeep.value_checks import LIMITS
from vault_core.validation import Validation
from vault_core.values import Values
from vault_core.vault import Vault

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

WORKED = Validation(status="valid", checked_at=NOON, verdict_at=NOON, reason="confirmed", next_check_at=NOON)


@pytest.fixture
def world() -> World:
    return World()


@dataclass
class Vendor:
    """A vendor that takes its time; it knows how many ask at once, and what was asked how often, by credential."""

    clock: Clock
    takes: timedelta = timedelta(0)
    is_down: bool = False
    at_once: int = 0
    most_at_once: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    questions: set[tuple[str, str]] = field(default_factory=set)

    async def __call__(self, call: Received) -> Reply:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        credential_id = call.json["data"]["credential"]["id"]
        self.asked[credential_id] += 1
        self.questions.add((credential_id, call.headers["webhook-id"]))
        for _ in range(5):
            await asyncio.sleep(0)
        self.clock.now += self.takes
        self.at_once -= 1
        if self.is_down:
            raise Unreachable
        return Reply(200, json.dumps({"valid": True}).encode())


async def many(
    world: World, configuration: Configuration, count: int, caller: Caller = ALICE, known: Validation | None = None
) -> list[str]:
    """As many credentials from the configuration, written as the vault does but for the audit; their ids."""
    first = await fill(world, configuration, caller, name=f"credential of {configuration.id}")
    keys = key_ring(world.stores)
    table, values = SealedTable(world.stores.vault, "vault", keys), Values(world.stores.secrets, world.clock)
    ids = [first.id]
    validation = known or first.validation
    for number in range(1, count):
        credential_id, secret = new_id(world.clock()), values.new_name(caller.tenant)
        await values.write(secret, caller.tenant, credential_id, {"apiKey": SecretStr(GOOD)})
        version = first.newest.but(secret=secret)
        name = f"credential {number} of {configuration.id}"
        one = first.but(id=credential_id, name=name, versions=(version,), validation=validation)
        await table.commit(*new_rows(caller.tenant, one, TenantRules()))
        ids.append(credential_id)
    return ids


def quick(world: World) -> Vault:
    """A worker whose calls no ledger slows down."""
    return Vault(world.stores, TENANTS, world.clock, world.outbound)


async def known_of(world: World, tenant: str, ids: list[str]) -> list[Validation]:
    rows = CredentialRows(sealed_table(world.stores))
    return [(await rows.read(tenant, one)).credential.validation for one in ids]


async def told(world: World) -> list[str]:
    """The verdicts that the audit was told of, in order."""
    events = reversed(await world.audit())
    return [event.details["status"] for event in events if event.event == "credential.validated"]


class TestOneCredential:
    async def test_a_new_value_is_checked_in_the_next_run(self, world: World) -> None:
        await fill(world, await publish(world))
        await check_due(world, minutes=5)
        verdict = (await reread(world)).validation
        assert (verdict.status, verdict.checked_at) == ("valid", world.clock())

    async def test_then_as_often_as_the_vendor_says(self, world: World) -> None:
        await fill(world, await publish(world, validation={"url": URL, "everyHours": 6}))
        world.outbound.received.clear()
        for _ in range(20 * 60 // 5):
            await check_due(world, minutes=5)
        # After five minutes, then every 5.4 to 6.6 hours and at most one run later.
        assert len(world.outbound.received) == 4

    async def test_the_audit_is_told_when_the_verdict_changes_and_only_then(self, world: World) -> None:
        await fill(world, await publish(world))
        for answer in (accepts(GOOD), accepts(GOOD), None, said({"valid": False}), None, said({"valid": False})):
            world.outbound.answers = {URL: answer} if answer else {}
            await check_due(world, days=2)
        assert await told(world) == ["valid", "invalid"]
        [_, event] = [one for one in reversed(await world.audit()) if one.event == "credential.validated"]
        assert event.identity.id == "system:check_credentials"
        assert event.details["trigger"] == "scheduled"

    async def test_a_new_value_is_another_question(self, world: World) -> None:
        world.outbound.answers[URL] = accepts(NEW)
        await fill(world, await publish(world))
        await check_due(world, minutes=5)
        assert (await reread(world)).validation.status == "invalid"
        await rotate(world, apiKey=NEW)
        await check_due(world, minutes=5)
        assert (await reread(world)).validation.status == "valid"

    async def test_one_that_was_asked_for_meanwhile_puts_the_planned_one_off(self, world: World) -> None:
        await fill(world, await publish(world))
        world.outbound.received.clear()
        await validate(world)
        await check_due(world, minutes=5)
        assert len(world.outbound.received) == 1

    async def test_a_suspended_credential_waits_until_it_is_resumed(self, world: World) -> None:
        await fill(world, await publish(world))
        world.outbound.received.clear()
        await world.vault.credentials.suspend(ALICE, "northwind", None, None, NOON)
        await check_due(world, days=2)
        assert world.outbound.received == []
        await world.vault.credentials.resume(ALICE, "northwind", None, None, world.clock())
        await check_due(world, minutes=5)
        assert len(world.outbound.received) == 1

    async def test_nothing_is_sent_of_what_was_revoked_or_deleted(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        await fill(world, configuration, name="deleted")
        world.outbound.received.clear()
        await world.revoke(reference="northwind")
        await world.vault.credentials.delete(ALICE, "deleted", None, NOON)
        for _ in range(3):
            await check_due(world, days=1)
        assert world.outbound.received == []

    async def test_nothing_is_sent_of_what_has_ended(self, world: World) -> None:
        await fill(world, await publish(world), validUntil="2026-11-24T12:00:00Z")
        world.outbound.received.clear()
        for _ in range(10):
            await check_due(world, hours=22)
        assert 2 <= len(world.outbound.received) <= 3

    async def test_the_types_own_end_needs_no_vendor_and_is_told_once(self, world: World) -> None:
        fields = [{"id": name, "label": name, "type": "password"} for name in ("accessToken", "expiresAt")]
        configuration = await publish(world, credentialType="oauth-token", fields=fields)
        await fill(world, configuration, fields={"accessToken": GOOD, "expiresAt": "2026-11-21T18:00:00Z"})
        await check_due(world, minutes=5)
        world.outbound.received.clear()
        for _ in range(4):
            await check_due(world, hours=7)
        assert (await reread(world)).validation.reason == "value-ended"
        assert await told(world) == ["valid", "invalid"]
        assert world.outbound.received == []

    async def test_a_vendor_whose_configuration_lost_its_secrets_is_not_asked(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration, validate=True)
        await world.stores.secrets.delete(configuration.signing[0].secret)
        world.restart()
        world.outbound.received.clear()
        await check_due(world, days=2)
        verdict = (await reread(world)).validation
        assert (verdict.status, verdict.consecutive_unknown) == ("valid", 1)
        assert world.outbound.received == []


class TestAVendorThatIsDown:
    async def run_for(self, world: World, span: timedelta, vendor: Vendor) -> list[int]:
        """Run the timer every five minutes; the number of calls of each run."""
        vault, calls = quick(world), list[int]()
        for _ in range(int(span / (5 * MINUTE))):
            world.clock.now += 5 * MINUTE
            before = vendor.asked.total()
            await vault.check_credentials()
            calls.append(vendor.asked.total() - before)
        return calls

    @pytest.mark.slow
    async def test_for_a_day_it_changes_no_verdict_and_is_asked_a_bounded_number_of_times(self, world: World) -> None:
        configuration = await publish(world)
        vendor = Vendor(world.clock)
        world.outbound.answers[URL] = vendor
        ids = await many(world, configuration, 200)
        await self.run_for(world, 5 * MINUTE, vendor)
        before = await known_of(world, "contoso", ids)
        assert {one.status for one in before} == {"valid"}
        vendor.is_down = True
        world.clock.now += DAY * 1.1  # everything is due
        vendor.asked.clear()
        calls = await self.run_for(world, DAY, vendor)
        after = await known_of(world, "contoso", ids)
        stands = ("status", "reason", "verdict_at", "field_errors")
        assert [[getattr(one, name) for name in stands] for one in after] == [
            [getattr(one, name) for name in stands] for one in before
        ]
        # In a run: eight in vain close the lane, while seven more may be on their way.
        assert max(calls) <= LIMITS.in_vain + LIMITS.at_once_in_lane - 1
        # Of one credential: the first call, then waits of 5, 10, … 320 minutes and 6 hours, a tenth less at the least:
        # 0.9 * (5 + 10 + 20 + 40 + 80 + 160 + 320) = 571.5 minutes after the eighth, then one in 324 minutes.
        of_one = 8 + int((DAY / MINUTE - 571.5) // 324)
        assert max(vendor.asked.values()) <= of_one
        assert min(one.consecutive_unknown for one in after) >= 1

    async def test_when_it_is_back_all_are_checked_again(self, world: World) -> None:
        configuration = await publish(world)
        vendor = Vendor(world.clock, is_down=True)
        world.outbound.answers[URL] = vendor
        ids = await many(world, configuration, 50)
        await self.run_for(world, 12 * HOUR, vendor)
        assert {one.status for one in await known_of(world, "contoso", ids)} == {"unknown"}
        vendor.is_down = False
        await self.run_for(world, 6.6 * HOUR + 5 * MINUTE, vendor)  # the longest wait, and a run
        known = await known_of(world, "contoso", ids)
        assert {(one.status, one.consecutive_unknown) for one in known} == {("valid", 0)}

    async def test_it_holds_up_no_other_vendor_and_no_other_tenant(self, world: World) -> None:
        down, up = Vendor(world.clock, is_down=True), Vendor(world.clock)
        dead = await publish(world, audience="everyone")
        alive = await publish(world, audience="everyone", validation={"url": ELSEWHERE})
        world.outbound.answers |= {URL: down, ELSEWHERE: up}
        await many(world, dead, 60)
        ours, theirs = await many(world, alive, 40), await many(world, alive, 40, MALLORY)
        world.clock.now += 5 * MINUTE
        report = await quick(world).check_credentials()
        assert up.asked == Counter(ours + theirs)
        assert down.asked.total() <= LIMITS.in_vain + LIMITS.at_once_in_lane - 1
        assert (report.done, report.failed, report.left_some) == (80, 0, True)


class TestValuesThatCannotBeRead:
    async def test_they_hold_up_no_others_at_the_same_vendor(self, world: World) -> None:
        vendor, configuration = Vendor(world.clock), await publish(world)
        world.outbound.answers[URL] = vendor
        for number in range(2 * LIMITS.in_vain):
            broken = await fill(world, configuration, name=f"broken-{number}")
            await world.stores.secrets.write(broken.newest.secret or "", SecretStr("{}"))
        world.clock.now += MINUTE
        readable = [(await fill(world, configuration, name=f"credential-{number}")).id for number in range(5)]
        world.clock.now += 5 * MINUTE
        report = await quick(world).check_credentials()
        assert vendor.asked == Counter(readable)
        assert (report.done, report.failed) == (5, 2 * LIMITS.in_vain)


class TestASlowVendor:
    @pytest.mark.parametrize("minutes", range(1, 6))
    async def test_tenants_take_turns_whoever_has_more_to_ask(
        self, world: World, minutes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(value_checks, "LIMITS", replace(LIMITS, of_lane=20))
        vendor, configuration = Vendor(world.clock), await publish(world, audience="everyone")
        world.outbound.answers[URL] = vendor
        await many(world, configuration, 60)
        few = await many(world, configuration, 8, MALLORY)
        world.clock.now += minutes * MINUTE  # which tenant a run begins with depends on when it begins
        await quick(world).check_credentials()
        assert vendor.asked.total() == 20
        assert sum(vendor.asked[one] for one in few) == 8

    async def test_what_is_left_is_done_in_the_runs_that_follow(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(value_checks, "LIMITS", replace(LIMITS, of_lane=50))
        vendor, configuration = Vendor(world.clock), await publish(world)
        world.outbound.answers[URL] = vendor
        ids = await many(world, configuration, 200)
        vault = quick(world)
        for run in range(1, 5):
            world.clock.now += 5 * MINUTE
            await vault.check_credentials()
            assert vendor.asked.total() == run * 50
        assert vendor.asked == Counter(ids)

    @pytest.mark.slow
    async def test_ten_thousand_checks_hold_up_nobody_and_none_is_lost_or_doubled(self, world: World) -> None:
        slow, fast = Vendor(world.clock, timedelta(milliseconds=200)), Vendor(world.clock)
        sluggish = await publish(world, audience="everyone")
        prompt = await publish(world, audience="everyone", validation={"url": ELSEWHERE})
        world.outbound.answers |= {URL: slow, ELSEWHERE: fast}
        ids = await many(world, sluggish, 10_000, known=WORKED)
        others = await many(world, prompt, 30) + await many(world, prompt, 30, MALLORY)
        world.clock.now += 5 * MINUTE
        for run in (1, 2):
            began = world.clock.now
            report = await quick(world).check_credentials()
            assert (report.failed, report.left_some) == (0, True)
            assert world.clock.now - began < 5 * MINUTE
            assert fast.asked == Counter(others)
            assert slow.asked.total() == run * LIMITS.of_lane
            world.clock.now = began + 5 * MINUTE
        assert max(slow.most_at_once, fast.most_at_once) <= LIMITS.at_once_in_lane
        assert max(slow.asked.values()) == 1
        due = await self.due_at(world, world.clock.now)
        assert due == set(ids) - set(slow.asked), "each is either done or still due"
        known = await known_of(world, "contoso", sorted(slow.asked))
        assert all(one.next_check_at and one.next_check_at > one.checked_at + 21 * HOUR for one in known)

    async def due_at(self, world: World, now: datetime) -> set[str]:
        """The credentials of contoso whose check is due."""
        table = sealed_table(world.stores)
        found, after = set[str](), ""
        while page := await agenda.due(table, "contoso", agenda.Queue.CHECK, now, 1000, after):
            found |= {entry.subject for entry in page}
            after = page[-1].row.key
        return found

    async def test_with_many_hosts_it_holds_up_no_other_vendor(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(value_checks, "LIMITS", replace(LIMITS, at_once=16, at_once_of_party=2))
        let_go = asyncio.Event()
        answered: list[str] = []

        async def slow(call: Received) -> Reply:
            await let_go.wait()
            answered.append("slow")
            return Reply(200, b'{"valid": true}')

        def prompt(call: Received) -> Reply:
            let_go.set()
            answered.append("prompt")
            return Reply(200, b'{"valid": true}')

        for number in range(20):
            url = f"https://host-{number}.northwind.example/"
            configuration = await publish(world, validation={"url": url})
            await fill(world, configuration, name=f"slow-{number}")
            world.outbound.answers[url] = slow
        world.clock.now += MINUTE  # its turn comes last
        other = await publish(world, agent("fabrikam-vendor", Role.VENDOR, tenant="fabrikam"))
        await fill(world, other, name="prompt")
        world.outbound.answers[URL] = prompt
        world.clock.now += 5 * MINUTE
        async with asyncio.timeout(60):  # held up, it would never end
            report = await quick(world).check_credentials()
        assert (report.done, answered[0]) == (21, "prompt")


class TestTwinsAndCrashes:
    async def test_a_timer_that_fires_twice_at_once_asks_about_each_value_once(self, world: World) -> None:
        vendor = Vendor(world.clock)
        configuration = await publish(world)
        world.outbound.answers[URL] = vendor
        ids = await many(world, configuration, 60)
        world.clock.now += 5 * MINUTE
        twins = [another_worker(world) for _ in range(3)]
        reports = await asyncio.gather(*(twin.check_credentials() for twin in twins))
        assert sum(report.failed for report in reports) == 0
        await another_worker(world).check_credentials()
        assert vendor.asked == Counter(ids)
        assert {one.checks for one in await known_of(world, "contoso", ids)} == {1}

    async def test_a_planned_check_and_one_that_is_asked_for_are_one_call(self, world: World) -> None:
        vendor = Vendor(world.clock)
        await fill(world, await publish(world))
        world.outbound.answers[URL] = vendor
        world.clock.now += 5 * MINUTE
        other = another_worker(world)
        await asyncio.gather(
            world.vault.check_credentials(),
            other.validations.validate(ALICE, "northwind", world.clock()),
            return_exceptions=True,
        )
        assert vendor.asked.total() == 1

    @pytest.mark.parametrize("seed", range(6))
    async def test_a_run_that_died_anywhere_is_made_up_for(self, seed: int) -> None:
        world = World()
        vendor = Vendor(world.clock)
        configuration = await publish(world)
        world.outbound.answers[URL] = vendor
        ids = await many(world, configuration, 30)
        world.clock.now += 5 * MINUTE
        died_at = Random(seed).randint(1, 5 * len(ids))  # noqa: S311 - any will do
        world.restart(Plan(crash_after=died_at))
        with pytest.raises(Crash):
            await world.vault.check_credentials()
        asked_before = set(vendor.asked)
        world.restart()
        world.clock.now += 5 * MINUTE
        assert (await world.vault.check_credentials()).failed == 0
        known = await known_of(world, "contoso", ids)
        assert {(one.status, one.checks) for one in known} == {("valid", 1)}
        assert set(vendor.asked) == set(ids)
        # Who was asked again was asked the same question, and only as the answer was lost.
        assert len(vendor.questions) == len(ids)
        assert {one for one, count in vendor.asked.items() if count > 1} <= asked_before
        assert max(vendor.asked.values()) <= 2
        world.clock.now += HOUR
        await world.vault.check_credentials()
        assert len(vendor.questions) == len(ids)

    async def test_of_one_credential_every_step_can_be_the_last(self) -> None:
        step, finished = 0, False
        while not finished:
            step += 1
            world = World()
            vendor = Vendor(world.clock)
            await fill(world, await publish(world))
            world.outbound.answers[URL] = vendor
            world.clock.now += 5 * MINUTE
            world.restart(Plan(crash_after=step))
            try:
                await world.vault.check_credentials()
                finished = world.ledger.total < step
            except Crash:
                pass
            world.restart()
            world.clock.now += 5 * MINUTE
            await world.vault.check_credentials()
            verdict = (await reread(world)).validation
            assert (verdict.status, verdict.checks) == ("valid", 1)
            assert len(vendor.questions) == 1
            assert await told(world) == ["valid"]
            assert len(await world.vault.validations.history(ALICE, "northwind", world.clock())) == 1
        assert step > 8


async def test_what_is_no_longer_current_is_dropped_and_asks_nothing(world: World) -> None:
    await fill(world, await publish(world))
    for _ in range(5):
        world.clock.now += 2 * MINUTE
        await validate(world)
    world.outbound.received.clear()
    await check_due(world, minutes=5)
    assert world.outbound.received == []
    entries = (await world.stores.vault.query(Keys("contoso", "check:", "check;"))).rows
    assert len(entries) == 5  # one for each check that was recorded, each due when its credential next is, or stale
    await check_due(world, days=3)
    assert len((await world.stores.vault.query(Keys("contoso", "check:", "check;"))).rows) == 1

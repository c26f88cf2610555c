"""Validation at somebody's word: what it finds, keeps, tells and refuses, and who is given the same answer."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.outbound import Answer, Received, accepts, said
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, MALLORY, MONA, NOON, OTTO, VIC, World
from tests.vendors import GOOD, NEW, URL, fill, leased, publish, reread, rotate, validate
from tests.workers import another_worker
from vault_core.errors import (
    AccessDenied,
    ConfigurationNotUsable,
    CredentialChanged,
    CredentialRevoked,
    NotFound,
    TooSoon,
    ValueRefused,
)
from vault_core.outbound import Reply
from vault_core.stores import Keys
from vault_core.validation import Check, Trigger
from vault_core.vendor_answers import WITHHELD

MINUTES = timedelta(minutes=1)
INVALID = said({"valid": False, "errors": [{"field": "apiKey", "message": "has expired"}]})


@pytest.fixture
def world() -> World:
    return World()


async def history(world: World, caller: Any = ALICE) -> list[Check]:
    return await world.vault.validations.history(caller, "northwind", world.clock())


class Slow:
    """A vendor that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answered = asyncio.Event()

    async def __call__(self, call: Received) -> Reply:
        self.asked.set()
        await self.answered.wait()
        answer = accepts(GOOD, NEW)(call)
        assert isinstance(answer, Reply)
        return answer


class TestWhatIsFound:
    async def test_a_value_that_works_is_valid(self, world: World) -> None:
        await fill(world, await publish(world))
        checked = await validate(world)
        assert (checked.check.status, checked.check.reason, checked.check.version) == ("valid", "confirmed", 1)
        verdict = (await reread(world)).validation
        assert (verdict.status, verdict.checked_at, verdict.verdict_at) == ("valid", NOON, NOON)
        assert checked.shown.credential.validation == verdict
        assert verdict.next_check_at is not None
        assert timedelta(hours=21.6) <= verdict.next_check_at - NOON <= timedelta(hours=26.4)

    async def test_a_value_that_does_not_work_is_invalid_and_can_still_be_leased(self, world: World) -> None:
        await fill(world, await publish(world))
        world.outbound.answers[URL] = INVALID
        checked = await validate(world)
        assert [(fault.field, fault.message) for fault in checked.check.field_errors] == [("apiKey", "has expired")]
        assert (await reread(world)).validation.field_errors == checked.check.field_errors
        assert await leased(world) == {"apiKey": GOOD}

    async def test_no_answer_leaves_the_verdict_and_is_counted(self, world: World) -> None:
        await fill(world, await publish(world), validate=True)
        world.outbound.answers.clear()
        for count in (1, 2, 3):
            world.clock.pass_by(minutes=2)
            checked = await validate(world)
            verdict = (await reread(world)).validation
            assert (checked.check.status, checked.check.reason) == ("unknown", "unreachable")
            assert (verdict.status, verdict.reason, verdict.consecutive_unknown) == ("valid", "confirmed", count)
            assert (verdict.checked_at, verdict.verdict_at) == (world.clock(), NOON)

    async def test_a_verdict_that_follows_silence_ends_the_count(self, world: World) -> None:
        await fill(world, await publish(world))
        world.outbound.answers.clear()
        await validate(world)
        world.clock.pass_by(minutes=2)
        world.outbound.answers[URL] = INVALID
        await validate(world)
        verdict = (await reread(world)).validation
        assert (verdict.status, verdict.consecutive_unknown) == ("invalid", 0)

    async def test_a_value_past_its_own_end_is_invalid_without_asking(self, world: World) -> None:
        fields = [{"id": name, "label": name, "type": "password"} for name in ("accessToken", "expiresAt")]
        configuration = await publish(world, credentialType="oauth-token", fields=fields)
        await fill(world, configuration, fields={"accessToken": GOOD, "expiresAt": "2026-11-22T12:00:00Z"})
        world.outbound.received.clear()
        world.clock.pass_by(days=2)
        assert (await validate(world)).check.reason == "value-ended"
        assert world.outbound.received == []

    async def test_without_an_endpoint_the_types_own_word_is_all_there_is(self, world: World) -> None:
        await world.create(name="northwind")
        assert ((await validate(world)).check.status, (await validate(world)).check.reason) == ("valid", "accepted")
        await fill(world, await publish(world, validation=None), name="no-endpoint")
        assert (await validate(world, reference="no-endpoint")).check.reason == "accepted"
        assert world.outbound.received == []

    async def test_what_holds_no_value_or_was_revoked_is_not_validated(self, world: World) -> None:
        await world.create(name="empty", attributes=[{"name": "mine"}], fields={})
        with pytest.raises(ConfigurationNotUsable):
            await validate(world, reference="empty")
        await fill(world, await publish(world))
        await world.revoke(reference="northwind")
        with pytest.raises(CredentialRevoked):
            await validate(world)

    async def test_a_value_that_was_rotated_meanwhile_is_not_given_the_old_ones_verdict(self, world: World) -> None:
        await fill(world, await publish(world))

        async def rotates(call: Received) -> Reply:
            await rotate(world, apiKey=NEW)
            return Reply(200, b'{"valid": false}')

        world.outbound.answers[URL] = rotates
        with pytest.raises(CredentialChanged):
            await validate(world)
        verdict = (await reread(world)).validation
        assert (verdict.status, verdict.reason) == ("unknown", "not-checked")

    async def test_what_was_deleted_meanwhile_is_not_there(self, world: World) -> None:
        await fill(world, await publish(world))

        async def deletes(call: Received) -> Reply:
            await world.vault.credentials.delete(ALICE, "northwind", None, NOON)
            return Reply(200, b'{"valid": true}')

        world.outbound.answers[URL] = deletes
        with pytest.raises(NotFound):
            await validate(world)


class TestWhoMay:
    @pytest.mark.parametrize("caller", [ALICE, MONA], ids=["owner", "manager"])
    async def test_the_owner_and_a_manager_validate(self, world: World, caller: Any) -> None:
        await fill(world, await publish(world))
        assert (await validate(world, caller)).check.by == caller.identity

    async def test_whoever_may_lease_alone_may_not_make_the_vault_call_out(self, world: World) -> None:
        policy = {"allowedIdentities": [{"type": "any"}]}
        await fill(world, await publish(world), policy=policy)
        world.outbound.received.clear()
        for caller in (DEPLOY_AGENT, BOB):
            with pytest.raises(AccessDenied):
                await validate(world, caller)
        assert await history(world, BOB) == []
        assert world.outbound.received == []

    @pytest.mark.parametrize("caller", [BOB, VIC, OTTO, MALLORY], ids=["user", "viewer", "auditor", "another tenant"])
    async def test_to_those_who_do_not_see_it_it_does_not_exist(self, world: World, caller: Any) -> None:
        await fill(world, await publish(world))
        with pytest.raises(NotFound):
            await validate(world, caller)
        with pytest.raises(NotFound):
            await history(world, caller)


class TestPace:
    async def test_a_credential_is_checked_once_a_minute(self, world: World) -> None:
        await fill(world, await publish(world))
        await validate(world)
        world.clock.pass_by(seconds=20)
        with pytest.raises(TooSoon) as refused:
            await validate(world, MONA)
        assert refused.value.retry_after == timedelta(seconds=40)
        world.clock.pass_by(seconds=40)
        assert (await validate(world)).check.status == "valid"

    async def test_another_worker_keeps_the_same_pace(self, world: World) -> None:
        await fill(world, await publish(world))
        await validate(world)
        with pytest.raises(TooSoon):
            await another_worker(world).validations.validate(ALICE, "northwind", world.clock())

    async def test_validating_and_rotating_share_the_minute(self, world: World) -> None:
        await fill(world, await publish(world))
        await validate(world)
        with pytest.raises(TooSoon):
            await rotate(world, validate=True, apiKey=NEW)
        assert await leased(world) == {"apiKey": GOOD}

    async def test_a_host_is_asked_thirty_times_a_minute(self, world: World) -> None:
        configuration = await publish(world)
        for number in range(31):
            await fill(world, configuration, name=f"credential-{number}")
        world.outbound.received.clear()
        for number in range(30):
            await validate(world, reference=f"credential-{number}")
        with pytest.raises(TooSoon):
            await validate(world, reference="credential-30")
        with pytest.raises(TooSoon):
            await fill(world, configuration, name="new", validate=True)
        assert len(world.outbound.received) == 30
        world.clock.pass_by(minutes=1)
        assert (await validate(world, reference="credential-30")).check.status == "valid"


class TestWhatIsToldAndKept:
    async def test_every_check_that_was_asked_for_is_told(self, world: World) -> None:
        credential = await fill(world, await publish(world))
        for answer in (accepts(GOOD), accepts(GOOD), None, INVALID):
            world.outbound.answers = {URL: answer} if answer else {}
            await validate(world, MONA)
            world.clock.pass_by(minutes=2)
        told = [one for one in reversed(await world.audit()) if one.event == "credential.validated"]
        assert [one.details["status"] for one in told] == ["valid", "valid", "unknown", "invalid"]
        assert {(one.identity.id, one.credential_id) for one in told} == {(MONA.identity.id, credential.id)}
        assert told[0].details == {
            "status": "valid",
            "reason": "confirmed",
            "trigger": "asked",
            "host": "api.northwind.example",
        }

    async def test_the_history_is_newest_first_and_says_who_asked_and_why(self, world: World) -> None:
        await fill(world, await publish(world), validate=True)
        world.outbound.answers[URL] = accepts(GOOD, NEW)
        for minutes, act in ((2, validate(world, MONA)), (2, rotate(world, validate=True, apiKey=NEW))):
            world.clock.pass_by(minutes=minutes)
            await act
        world.clock.pass_by(days=2)
        await world.vault.check_credentials()
        kept = [(one.trigger, one.by.id, one.version, one.at) for one in await history(world)]
        assert kept == [
            (Trigger.SCHEDULED, "system:check_credentials", 2, NOON + 4 * MINUTES + timedelta(days=2)),
            (Trigger.ROTATED, ALICE.identity.id, 2, NOON + 4 * MINUTES),
            (Trigger.ASKED, MONA.identity.id, 1, NOON + 2 * MINUTES),
            (Trigger.CREATED, ALICE.identity.id, 1, NOON),
        ]

    async def test_the_history_keeps_the_last_hundred(self, world: World) -> None:
        await fill(world, await publish(world, validation=None))
        for _ in range(103):
            world.clock.pass_by(minutes=1)
            await validate(world)
        kept = await history(world)
        assert [one.at for one in kept] == [world.clock() - number * MINUTES for number in range(100)]

    async def test_the_history_goes_with_the_credential(self, world: World) -> None:
        credential = await fill(world, await publish(world))
        await validate(world)
        await world.vault.credentials.delete(ALICE, "northwind", None, NOON)
        world.clock.pass_by(days=3)
        await world.vault.check_credentials()  # entries of the agenda go when their time has come
        keys = [row.key for row in (await world.stores.vault.query(Keys("contoso", "", "~"))).rows]
        assert keys
        assert not [key for key in keys if credential.id in key]

    async def test_who_sees_the_credential_sees_its_history(self, world: World) -> None:
        policy = {"allowedIdentities": [{"type": "human", "email": "vic@*"}]}
        await fill(world, await publish(world), policy=policy)
        await validate(world)
        assert await history(world, VIC) == await history(world, ALICE) != []


ECHOES = [
    GOOD,
    GOOD.upper(),
    " ".join(GOOD),
    b64encode(GOOD.encode()).decode(),
    GOOD.encode().hex(),
    quote(GOOD, safe="").replace("_", "%5F"),
    GOOD[:10],
    json.dumps({"sent": GOOD}),
]


def complaining(message: str) -> Answer:
    return said({"valid": False, "errors": [{"field": "apiKey", "message": message}, {"field": GOOD, "message": ""}]})


class TestVendorsText:
    @pytest.mark.parametrize("echo", ECHOES, ids=[f"echo {number}" for number in range(len(ECHOES))])
    async def test_an_echo_of_the_value_is_shown_to_nobody(self, world: World, echo: str) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        world.outbound.answers[URL] = complaining(f"no such key: {echo}")
        await validate(world)
        faults = (await reread(world)).validation.field_errors
        assert [(fault.field, fault.message) for fault in faults] == [("apiKey", WITHHELD), ("", "")]
        assert [one.field_errors for one in await history(world)] == [faults]
        with pytest.raises(ValueRefused) as refused:
            await fill(world, configuration, name="another", validate=True)
        assert [(fault.field, fault.message) for fault in refused.value.errors] == [
            ("fields.apiKey", WITHHELD),
            ("fields", "is not valid"),
        ]
        assert echo not in str([(one.details, one.credential_name) for one in await world.audit()])

    async def test_what_is_told_is_one_short_line_of_visible_characters(self, world: World) -> None:
        await fill(world, await publish(world))
        world.outbound.answers[URL] = complaining(f"has\x00 ex\u202epired\r\n<b>now</b> {'x' * 500}")
        await validate(world)
        message = (await reread(world)).validation.field_errors[0].message
        assert message.startswith("has expired <b>now</b> xxx")
        assert message.isprintable()
        assert len(message) <= 200


class TestInFlight:
    async def test_whoever_asks_meanwhile_is_given_the_same_answer(self, world: World) -> None:
        await fill(world, await publish(world))
        vendor = world.outbound.answers[URL] = Slow()
        world.outbound.received.clear()
        first = asyncio.create_task(validate(world))
        await vendor.asked.wait()
        others = [asyncio.create_task(validate(world, caller)) for caller in (MONA, ALICE)]
        for _ in range(200):
            await asyncio.sleep(0)
        vendor.answered.set()
        answers = await asyncio.gather(first, *others)
        assert len(world.outbound.received) == 1
        assert {id(one) for one in answers} == {id(answers[0])}
        assert len(await history(world)) == 1

    async def test_whoever_may_not_validate_is_not_let_in_by_another_who_may(self, world: World) -> None:
        await fill(world, await publish(world))
        vendor = world.outbound.answers[URL] = Slow()
        first = asyncio.create_task(validate(world))
        await vendor.asked.wait()
        with pytest.raises(NotFound):
            await validate(world, BOB)
        vendor.answered.set()
        await first

    async def test_who_gives_up_waiting_does_not_end_it_for_others(self, world: World) -> None:
        await fill(world, await publish(world))
        vendor = world.outbound.answers[URL] = Slow()
        world.outbound.received.clear()
        first = asyncio.create_task(validate(world))
        await vendor.asked.wait()
        other = asyncio.create_task(validate(world, MONA))
        for _ in range(200):
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        vendor.answered.set()
        assert (await other).check.status == "valid"
        assert len(world.outbound.received) == 1

    async def test_when_all_give_up_the_answer_is_kept_all_the_same(self, world: World) -> None:
        await fill(world, await publish(world))
        vendor = world.outbound.answers[URL] = Slow()
        only = asyncio.create_task(validate(world))
        await vendor.asked.wait()
        only.cancel()
        vendor.answered.set()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*under_way, return_exceptions=True)
        assert only.cancelled()
        assert (await reread(world)).validation.status == "valid"

    async def test_another_credential_or_another_value_is_another_question(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        await fill(world, configuration, name="another")
        vendor = world.outbound.answers[URL] = Slow()
        first = asyncio.create_task(validate(world))
        await vendor.asked.wait()
        vendor.asked.clear()
        second = asyncio.create_task(validate(world, reference="another"))
        await vendor.asked.wait()
        await rotate(world, apiKey=NEW)
        with pytest.raises(TooSoon):
            await validate(world)
        vendor.answered.set()
        assert (await second).check.status == "valid"
        with pytest.raises(CredentialChanged):
            await first

    async def test_a_check_that_failed_holds_up_none_that_follows(self, world: World) -> None:
        await fill(world, await publish(world))

        def breaks(call: Received) -> Reply:
            raise RuntimeError("broken")

        world.outbound.answers[URL] = breaks
        with pytest.raises(RuntimeError):
            await validate(world)
        world.outbound.answers[URL] = accepts(GOOD)
        world.clock.pass_by(minutes=1)
        assert (await validate(world)).check.status == "valid"

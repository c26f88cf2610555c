"""Proofs: a vendor is asked about a new value before it is accepted, on demand or because it must be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.outbound import Received, accepts
from tests.vaults import ALICE, NOON, World
from tests.vendors import (
    GOOD,
    NEW,
    URL,
    fill,
    leased,
    publish,
    publish_anew,
    reread,
    rotate,
    upgrade,
)
from vault_core.credential import Status, status
from vault_core.errors import (
    CredentialExpired,
    NotFound,
    ValueRefused,
)

DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    return World()


class TestProof:
    """A new value is asked about before it is accepted: when the caller wants it, or the configuration demands it."""

    REQUIRED = {"url": URL, "required": True}

    @pytest.mark.parametrize("demanded", [True, False], ids=["demanded", "asked for"])
    async def test_an_invalid_value_is_refused_and_nothing_is_kept(self, world: World, demanded: bool) -> None:
        configuration = await publish(world, validation=self.REQUIRED if demanded else {"url": URL})
        await world.create()  # the tenant's key is there
        world.ledger.calls.clear()
        with pytest.raises(ValueRefused):
            await fill(world, configuration, validate=not demanded, fields={"apiKey": NEW})
        assert world.ledger.count("secrets", "write") == 0
        assert not [call for call in world.ledger.calls if call.method == "commit" and "credential:" in call.subject]
        assert not [call for call in world.ledger.calls if call.method == "commit" and "name:" in call.subject]
        with pytest.raises(NotFound):
            await reread(world)
        assert (await fill(world, configuration)).name == "northwind"

    async def test_a_valid_value_is_let_in_with_its_verdict(self, world: World) -> None:
        credential = await fill(world, await publish(world, validation=self.REQUIRED))
        verdict = credential.validation
        assert (verdict.status, verdict.reason, verdict.checked_at, verdict.checks) == ("valid", "confirmed", NOON, 1)

    async def test_an_unknown_answer_lets_it_in_marked(self, world: World) -> None:
        configuration = await publish(world, validation=self.REQUIRED)
        world.outbound.answers.clear()
        verdict = (await fill(world, configuration)).validation
        assert (verdict.status, verdict.reason, verdict.consecutive_unknown) == ("unknown", "unreachable", 1)
        assert verdict.next_check_at is not None
        assert NOON < verdict.next_check_at < NOON + timedelta(minutes=6)

    async def test_nobody_is_asked_when_nobody_wants_it(self, world: World) -> None:
        configuration = await publish(world)
        world.outbound.received.clear()
        verdict = (await fill(world, configuration)).validation
        assert (verdict.status, verdict.reason, verdict.next_check_at) == ("unknown", "not-checked", NOON)
        assert world.outbound.received == []

    @pytest.mark.parametrize("demanded", [True, False], ids=["demanded", "asked for"])
    async def test_a_rotation_to_an_invalid_value_changes_nothing(self, world: World, demanded: bool) -> None:
        configuration = await publish(world, validation=self.REQUIRED if demanded else {"url": URL})
        await fill(world, configuration, validate=True)
        before = await reread(world)
        world.clock.pass_by(minutes=2)
        world.ledger.calls.clear()
        with pytest.raises(ValueRefused):
            await rotate(world, validate=not demanded, apiKey=NEW)
        assert world.ledger.count("secrets", "write") == 0
        assert await reread(world) == before
        assert await leased(world) == {"apiKey": GOOD}

    async def test_the_old_value_is_leased_until_the_vendor_has_answered(self, world: World) -> None:
        await fill(world, await publish(world))
        seen = list[tuple[int, dict[str, str]]]()
        before = await world.lease(ALICE, "northwind")

        async def look(call: Received) -> Any:
            credential = await reread(world)
            seen.append((credential.newest.number, await leased(world)))
            return await answer(call)

        async def answer(call: Received) -> Any:
            return accepts(NEW)(call)

        world.outbound.answers[URL] = look
        rotated = await rotate(world, validate=True, apiKey=NEW)
        assert seen == [(1, {"apiKey": GOOD})]
        assert (rotated.newest.number, rotated.validation.status) == (2, "valid")
        assert await leased(world) == {"apiKey": NEW}
        assert before.fields["apiKey"].get_secret_value() == GOOD

    async def test_an_unknown_answer_lets_a_rotation_through_marked(self, world: World) -> None:
        await fill(world, await publish(world), validate=True)
        world.outbound.answers.clear()
        world.clock.pass_by(minutes=2)
        verdict = (await rotate(world, validate=True, apiKey=NEW)).validation
        assert (verdict.status, verdict.reason, verdict.checks) == ("unknown", "unreachable", 2)

    @pytest.mark.parametrize("by", ["write", "upgrade"])
    async def test_no_way_around_a_demand(self, world: World, by: str) -> None:
        configuration = await publish(world, validation=self.REQUIRED)
        await fill(world, configuration)
        await publish_anew(world, configuration, validation=self.REQUIRED)
        world.clock.pass_by(minutes=2)
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "write": lambda: world.vault.values.write(
                ALICE, "northwind", {"apiKey": SecretStr(NEW)}, None, world.clock()
            ),
            "upgrade": lambda: upgrade(world, fields={"apiKey": NEW}),
        }
        with pytest.raises(ValueRefused):
            await ways[by]()
        assert await leased(world) == {"apiKey": GOOD}

    async def test_every_guess_is_told_to_the_audit(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        for number in range(3):
            world.clock.pass_by(minutes=2)
            with pytest.raises(ValueRefused):
                await rotate(world, validate=True, apiKey=f"a wrong guess {number}")
            with pytest.raises(ValueRefused):
                await fill(
                    world, configuration, name="new", validate=True, fields={"apiKey": f"a wrong guess {number}"}
                )
        told = [one for one in await world.audit() if one.event == "credential.validated"]
        assert [(one.identity.id, one.details["status"]) for one in told] == [(ALICE.identity.id, "invalid")] * 6
        assert sorted({one.details["trigger"] for one in told}) == ["created", "rotated"]
        assert not [one for one in await world.audit() if "guess" in str(one)]

    async def test_leaving_the_value_as_it_is_needs_no_proof_to_move_on(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        await publish_anew(world, configuration, validation=self.REQUIRED)
        world.outbound.received.clear()
        await upgrade(world)
        assert world.outbound.received == []

    async def test_a_type_that_ends_is_expired_whatever_its_vendor_says(self, world: World) -> None:
        fields = [{"id": name, "label": name, "type": "password"} for name in ("accessToken", "expiresAt")]
        configuration = await publish(world, credentialType="oauth-token", fields=fields)
        await fill(
            world, configuration, validate=True, fields={"accessToken": GOOD, "expiresAt": "2026-11-22T12:00:00Z"}
        )
        world.clock.pass_by(days=2)
        credential = await reread(world)
        assert (credential.validation.status, status(credential, world.clock(), DAY)) == ("valid", Status.EXPIRED)
        with pytest.raises(CredentialExpired):
            await leased(world)

"""Every operation with each of its calls to a store failing in turn: a safe repeat is all that it ever takes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.acting import Operation, Reply
from tests.faults import Fault, Plan
from tests.operations import CALLS, REQUESTS, TIMERS
from tests.stepping import at_each
from tests.sweeping import (
    calls_of,
    faults_of,
    observe,
    settle,
    untold,
    untold_at_once,
    untold_values,
    ways_of,
    world_before,
)
from vault_core.errors import Unavailable

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# To the vault, a timeout, a 429, a 503 and a broken connection are one and the same: `tests/stores` shows that.
KINDS = {
    "refused": Fault(Unavailable("Not now.", timedelta(seconds=7))),
    "answer lost": Fault(Unavailable("Who knows.", timedelta(seconds=7)), applied=True),
}


async def failures_of(operation: Operation) -> list[tuple[int, str]]:
    """Every way in which each call of the operation to a store can fail."""
    return [(call, kind) for call in await calls_of(operation) for kind in KINDS]


@pytest.mark.parametrize("operation", [*REQUESTS, *CALLS], ids=str)
async def test_a_request_whose_store_fails_succeeds_or_can_be_repeated(operation: Operation) -> None:
    await at_each(failures_of(operation), lambda failure: _succeeds_or_can_be_repeated(operation, *failure))


async def _succeeds_or_can_be_repeated(operation: Operation, call: int, kind: str) -> None:
    ways = await ways_of(operation)
    world = await world_before(operation, Plan(faults={call: KINDS[kind]}))
    answer = await operation.act(world)
    assert isinstance(answer, Reply)
    assert await faults_of(world) == []
    seen = await observe(world)
    if answer.status < 400:
        assert seen == ways.through
        assert not await untold_at_once(world, ways)
    else:
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "7")
        granted_to_nobody = operation.unseen and operation.anew
        outcomes = (ways.without,) if granted_to_nobody else (ways.without, ways.through)
        assert operation.by_steps or seen in outcomes
        world.clock.pass_by(seconds=7)
        again = await operation.act(world)
        assert isinstance(again, Reply)
        refused = seen == ways.through and again.code in operation.refused_again
        assert refused or again.status < 400, again.code
        assert await faults_of(world) + await untold_values(world, again) == []
    await settle(world)
    assert await faults_of(world, settled=True) == []
    settled = await observe(world)
    assert settled.lasting == ways.through_settled.lasting
    assert operation.anew or settled.leases == ways.through_settled.leases


@pytest.mark.parametrize("operation", TIMERS, ids=str)
async def test_a_timer_whose_store_fails_does_the_rest_in_its_next_runs(operation: Operation) -> None:
    await at_each(failures_of(operation), lambda failure: _does_the_rest_later(operation, *failure))


async def _does_the_rest_later(operation: Operation, call: int, kind: str) -> None:
    ways = await ways_of(operation)
    world = await world_before(operation, Plan(faults={call: KINDS[kind]}))
    try:
        await operation.act(world)
    except Unavailable:
        assert await world.vault.health.read()
    assert await faults_of(world) == []
    await settle(world)
    assert await faults_of(world, settled=True) == []
    assert await observe(world) == ways.through_settled
    assert not await untold(world, ways)

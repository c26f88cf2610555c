"""Every operation stopped after each of its calls to a store: nothing is lost, nothing is leaked, nothing is stuck."""

from __future__ import annotations

import logging

import pytest

from tests.acting import Operation, Reply
from tests.faults import Crash, Plan
from tests.operations import CALLS, KEYED, REQUESTS, TIMERS
from tests.stepping import at_each
from tests.sweeping import (
    calls_of,
    everything_in,
    faults_of,
    let_months_pass,
    observe,
    settle,
    untold,
    untold_values,
    ways_of,
    world_before,
)
from tests.vaults import World
from vault_core.agenda import Task
from vault_core.api.routes import ROUTES

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


def each_of(*operations: Operation) -> pytest.MarkDecorator:
    """Run the test once for each of the operations; it stops it after every call to a store that it makes."""
    return pytest.mark.parametrize("operation", operations, ids=str)


async def stopped(operation: Operation, call: int) -> World:
    """The world in which the process died when this call had been applied, and another one has started."""
    world = await world_before(operation, Plan(crash_after=call))
    with pytest.raises(Crash):
        await operation.act(world)
    world.restart()
    return world


@each_of(*REQUESTS, *CALLS, *TIMERS)
async def test_an_operation_that_is_stopped_came_through_or_never_was(operation: Operation) -> None:
    await at_each(calls_of(operation), lambda call: _came_through_or_never_was(operation, call))


async def _came_through_or_never_was(operation: Operation, call: int) -> None:
    ways, world = await ways_of(operation), await stopped(operation, call)
    seen = await observe(world)
    assert await faults_of(world) == []
    assert operation.by_steps or seen in (ways.without, ways.through)
    await settle(world)
    assert await faults_of(world, settled=True) == []
    if seen in (ways.without, ways.through):
        assert await observe(world) == (ways.through_settled if seen == ways.through else ways.without_settled)
    if seen == ways.through != ways.without and not operation.unseen:
        assert not await untold(world, ways)
    await let_months_pass(world)
    assert await faults_of(world, settled=True) == []


@each_of(*REQUESTS, *CALLS)
async def test_a_request_that_is_stopped_can_be_repeated(operation: Operation) -> None:
    await at_each(calls_of(operation), lambda call: _can_be_repeated(operation, call))


async def _can_be_repeated(operation: Operation, call: int) -> None:
    ways, world = await ways_of(operation), await stopped(operation, call)
    came_through = await observe(world) == ways.through
    world.clock.pass_by(seconds=1)
    answer = await operation.act(world)
    assert isinstance(answer, Reply)
    refused = came_through and answer.code in operation.refused_again
    assert refused or answer.status < 400, answer.code
    assert await faults_of(world) + await untold_values(world, answer) == []
    await settle(world)
    assert await faults_of(world, settled=True) == []
    seen = await observe(world)
    assert seen.lasting == ways.through_settled.lasting
    assert operation.anew or seen.leases == ways.through_settled.leases
    assert operation.anew or (refused and operation.unseen) or not await untold(world, ways)


@each_of(*KEYED)
async def test_a_request_that_is_stopped_has_one_effect_if_it_is_repeated_much_later(operation: Operation) -> None:
    await at_each(calls_of(operation), lambda call: _has_one_effect(operation, call))


async def _has_one_effect(operation: Operation, call: int) -> None:
    ways, world = await ways_of(operation), await stopped(operation, call)
    await settle(world)
    answer = await operation.act(world)
    assert isinstance(answer, Reply)
    assert answer.status < 400, answer.code
    assert await faults_of(world) + await untold_values(world, answer) == []
    seen = await observe(world)
    assert (len(seen.leases), seen.how_many) == (len(ways.through.leases), ways.through.how_many)
    await settle(world)
    assert await faults_of(world, settled=True) == []
    assert (await observe(world)).lasting == ways.through_settled.lasting
    assert not await untold(world, ways)


async def test_every_route_that_writes_is_swept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vault_core.api.edge"):
        for operation in REQUESTS:
            await operation.act(await world_before(operation))
    served = {record.message.partition("operation=")[2].partition(" ")[0] for record in caplog.records}
    assert served >= {route.name for route in ROUTES if route.method != "GET"}


async def test_every_task_of_the_agenda_is_swept() -> None:
    before = [await everything_in(await world_before(operation)) for operation in TIMERS]
    kept = [contents for estate in before for contents in estate.tenants.values()]
    assert {task for contents in kept for task in Task if contents.intents(task)} == set(Task)

"""What the sweeps rely on: no step that fails is passed over, and what is looked at is what is kept by now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tests.acting import ONE, Act, create, lease, passing, post, request
from tests.faults import Crash
from tests.stepping import at_each
from tests.sweeping import empty_world, everything_in
from tests.vaults import ALICE


async def three() -> Sequence[int]:
    return [1, 2, 3]


async def test_every_step_that_fails_is_told_with_its_failure() -> None:
    async def fails_but_once(step: int) -> None:
        if step == 1:
            raise Crash
        if step == 3:
            pytest.fail("not this one")

    with pytest.raises(BaseExceptionGroup, match=r"of 3 steps, these failed: 1; 3") as told:
        await at_each(three(), fails_but_once)
    assert [(type(one), one.__notes__) for one in told.value.exceptions] == [
        (Crash, ["at 1"]),
        (pytest.fail.Exception, ["at 3"]),
    ]


async def test_nothing_to_check_is_a_failure() -> None:
    async def none() -> Sequence[int]:
        return []

    async def never(_: int) -> None:
        raise AssertionError

    with pytest.raises(AssertionError, match="nothing to check"):
        await at_each(none(), never)


async def test_what_is_meant_for_another_thread_is_done_in_this_one() -> None:
    async def check(_: int) -> None:
        assert await asyncio.to_thread(threading.get_ident) == threading.get_ident()

    await at_each(three(), check)


@pytest.mark.parametrize(
    "act",
    [create("other"), post("revoke"), lease(), request(ALICE, "DELETE", ONE), passing(seconds=1)],
    ids=["create", "revoke", "lease", "delete", "time"],
)
async def test_a_world_in_which_something_happened_is_looked_at_again(act: Act) -> None:
    world = empty_world()
    await create()(world)
    before = await everything_in(world)
    assert await everything_in(world) is before
    await act(world)
    assert await everything_in(world) != before

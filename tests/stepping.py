"""Checks of many steps in one test, which would take longer to be told apart than to be made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from tests.faults import Crash

Step = TypeVar("Step")


class _InThisThread(ThreadPoolExecutor):
    """Does at once what is meant for another thread: else it would be chance after which calls that is done."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as failure:  # noqa: BLE001 - it is for who waits
            done.set_exception(failure)
        return done


async def at_each(steps: Awaitable[Sequence[Step]], check: Callable[[Step], Awaitable[None]]) -> None:
    """Check every step, whatever came of those before it; then tell of all at which the check failed."""
    asyncio.get_running_loop().set_default_executor(_InThisThread())
    failed: list[tuple[Step, BaseException]] = []
    found = await steps
    assert found, "there is nothing to check"
    for step in found:
        try:
            await check(step)
        except (Exception, Crash, pytest.fail.Exception) as failure:  # noqa: BLE001 - told below, with all the others
            failure.add_note(f"at {step}")
            failed.append((step, failure))
    if failed:
        where = "; ".join(str(step) for step, _ in failed)
        raise BaseExceptionGroup(f"of {len(found)} steps, these failed: {where}", [failure for _, failure in failed])

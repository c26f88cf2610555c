"""Runs timer functions: on their schedules, and now when asked; one run of a timer at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

from azure.functions.timer import TimerRequest

from local.functions_host.invocation import invoke
from local.functions_host.registration import TimerFunction

LONGEST_NAP = timedelta(seconds=30)
PAST_DUE_AFTER = timedelta(seconds=1)
_log = logging.getLogger("functions-host")


async def _nap(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())


def _now() -> datetime:
    return datetime.now(UTC)


class Timer:
    """A timer function and its runs."""

    def __init__(
        self,
        timer: TimerFunction,
        *,
        clock: Callable[[], datetime] = _now,
        nap: Callable[[timedelta], Awaitable[None]] = _nap,
    ) -> None:
        self.name = timer.function.name
        self._timer = timer
        self._clock = clock
        self._nap = nap
        self._one_at_a_time = asyncio.Lock()

    async def run(self, *, past_due: bool = False) -> None:
        """Run the function now, after a run that is under way; what it raises is logged."""
        async with self._one_at_a_time:
            try:
                await invoke(self._timer.function, TimerRequest(past_due=past_due))
            except Exception:  # noqa: BLE001 - a failed run must not end the timer
                _log.exception("%s failed", self.name)

    async def run_on_schedule(self) -> None:
        """Run the function whenever it is due, for ever. Occurrences that pass during a run are skipped."""
        due = self._clock()
        while True:
            # A nap may end a little early: never the same occurrence twice.
            due = self._timer.schedule.next_after(max(due, self._clock()))
            # Short naps, so that a clock that was set, or a machine that slept, is noticed.
            while (left := due - self._clock()) > timedelta(0):
                await self._nap(min(left, LONGEST_NAP))
            await self.run(past_due=self._clock() - due > PAST_DUE_AFTER)


class Timers:
    """The timers of an app, by name without regard to case."""

    def __init__(self, timers: Iterable[TimerFunction]) -> None:
        self._timers = {timer.function.name.lower(): Timer(timer) for timer in timers}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to run every timer on its schedule."""
        for timer in self._timers.values():
            self._keep(asyncio.create_task(timer.run_on_schedule()))

    def run_now(self, name: str) -> bool:
        """Begin a run of the timer; `False` when there is none of this name."""
        timer = self._timers.get(name.lower())
        if timer:
            self._keep(asyncio.create_task(timer.run()))
        return timer is not None

    async def stop(self) -> None:
        """End every run where it stands, as a host that goes away does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

"""Timer runs, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.functions_host.ncrontab import Schedule
from local.functions_host.registration import Function, TimerFunction
from local.functions_host.timers import Timer, Timers


class MovingClock:
    """A clock that moves on when someone naps, and ends the test when it passes `end`."""

    def __init__(self, end: datetime) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.end = end

    def __call__(self) -> datetime:
        return self.now

    async def nap(self, duration: timedelta) -> None:
        self.now += duration
        if self.now > self.end:
            raise asyncio.CancelledError


def timer(call: Callable[..., Any], clock: MovingClock, schedule: str = "0 * * * * *") -> Timer:
    function = TimerFunction(Function("tidy", "timer", call), Schedule.parse(schedule))
    return Timer(function, clock=clock, nap=clock.nap)


async def run_to_the_end(timer: Timer) -> None:
    with pytest.raises(asyncio.CancelledError):
        await timer.run_on_schedule()


async def test_a_timer_runs_at_every_occurrence_and_is_told_it_is_in_time() -> None:
    clock = MovingClock(end=datetime(2026, 1, 1, 0, 3, 30, tzinfo=UTC))
    runs: list[tuple[datetime, bool]] = []

    async def tidy(timer: Any) -> None:
        runs.append((clock.now, timer.past_due))

    await run_to_the_end(timer(tidy, clock))
    assert runs == [(datetime(2026, 1, 1, 0, minute, tzinfo=UTC), False) for minute in (1, 2, 3)]


async def test_a_run_that_raises_does_not_end_the_timer(caplog: pytest.LogCaptureFixture) -> None:
    clock = MovingClock(end=datetime(2026, 1, 1, 0, 2, 30, tzinfo=UTC))

    async def tidy(timer: Any) -> None:
        raise RuntimeError("on purpose")

    await run_to_the_end(timer(tidy, clock))
    assert [record.message for record in caplog.records] == ["tidy failed", "tidy failed"]


async def test_occurrences_that_pass_during_a_run_are_skipped() -> None:
    clock = MovingClock(end=datetime(2026, 1, 1, 0, 6, tzinfo=UTC))
    runs: list[datetime] = []

    async def tidy(timer: Any) -> None:
        runs.append(clock.now)
        clock.now += timedelta(minutes=2, seconds=30)

    await run_to_the_end(timer(tidy, clock))
    assert runs == [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (1, 4)]


async def test_a_timer_that_overslept_is_past_due() -> None:
    clock = MovingClock(end=datetime(2026, 1, 1, 3, tzinfo=UTC))
    late: list[bool] = []

    async def oversleep(duration: timedelta) -> None:
        await clock.nap(timedelta(hours=2))

    async def tidy(timer: Any) -> None:
        late.append(timer.past_due)

    function = TimerFunction(Function("tidy", "timer", tidy), Schedule.parse("0 * * * * *"))
    await run_to_the_end(Timer(function, clock=clock, nap=oversleep))
    assert late == [True]


async def test_a_nap_that_ends_early_does_not_run_an_occurrence_twice() -> None:
    clock = MovingClock(end=datetime(2026, 1, 1, 0, 2, 30, tzinfo=UTC))
    runs: list[datetime] = []

    async def tidy(timer: Any) -> None:
        runs.append(clock.now)
        clock.now -= timedelta(milliseconds=5)

    await run_to_the_end(timer(tidy, clock))
    assert runs == [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (1, 2)]


async def test_two_runs_of_a_timer_never_overlap() -> None:
    clock = MovingClock(end=datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
    under_way: list[int] = []
    seen: list[int] = []

    async def tidy(timer: Any) -> None:
        under_way.append(1)
        seen.append(len(under_way))
        await asyncio.sleep(0)
        under_way.pop()

    once = timer(tidy, clock)
    await asyncio.gather(once.run(), once.run(), once.run())
    assert seen == [1, 1, 1]


async def test_a_timer_is_run_now_by_its_name_without_regard_to_case() -> None:
    ran = asyncio.Event()

    def tidy(timer: Any) -> None:
        loop.call_soon_threadsafe(ran.set)

    loop = asyncio.get_running_loop()
    timers = Timers([TimerFunction(Function("Tidy", "timer", tidy), Schedule.parse("0 0 0 1 1 *"))])
    assert timers.run_now("tIDY")
    assert not timers.run_now("another")
    async with asyncio.timeout(5):
        await ran.wait()
    await timers.stop()

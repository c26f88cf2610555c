"""How a timer runs: measured, told to the health check, and in recovery mode only looking at what it would do."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from vault_core import telemetry
from vault_core.health import HealthCheck
from vault_core.telemetry import LEASES_ACTIVE, TIMER_BACKLOG, TIMER_ITEMS, TIMER_LAG, TIMER_RUN, Span, span
from vault_core.upkeep.outlook import Outlook, Waiting
from vault_core.upkeep.runs import Report, Run

_log = logging.getLogger(__name__)

Work = Callable[[Run], Awaitable[Report]]


class TimedRuns:
    """Runs timers. With `recovering`, none of them does anything."""

    def __init__(
        self, health: HealthCheck, outlook: Outlook, clock: Callable[[], datetime], *, recovering: bool
    ) -> None:
        self._health = health
        self._outlook = outlook
        self._clock = clock
        self._recovering = recovering

    async def run(self, timer: str, work: Work, lasts: timedelta) -> Report:
        """Do the timer's work for so long, or in recovery mode tell what there is to do; return what was done."""
        with span(TIMER_RUN, timer=timer) as opened:
            opened.note(outcome="crashed")
            now = self._clock()
            if self._recovering:
                return await self._look_only(timer, now, opened)
            if telemetry.is_on():
                await self._measure(timer, now)
            report = await work(Run(timer, now, self._clock, lasts))
            await self._health.beat(timer, report)
            opened.note(outcome="failures" if report.failed else "ok")
        TIMER_ITEMS.add(report.done, timer=timer, outcome="done")
        TIMER_ITEMS.add(report.failed, timer=timer, outcome="failed")
        return report

    async def _look_only(self, timer: str, now: datetime, opened: Span) -> Report:
        waiting = await self._outlook.of_timer(timer, now)
        for one in waiting:
            _log.warning(
                "timer=%s recovery=would-do tenant=%s task=%s due=%d oldest=%s",
                timer,
                one.tenant,
                one.task,
                one.due,
                one.oldest_at.isoformat(),
            )
        _tell(timer, waiting, now)
        await self._health.beat(timer, Report(), paused_with=sum(one.due for one in waiting))
        opened.note(outcome="paused")
        return Report()

    async def _measure(self, timer: str, now: datetime) -> None:
        try:
            _tell(timer, await self._outlook.of_timer(timer, now), now)
            if timer == "expire_leases":
                LEASES_ACTIVE.set(await self._outlook.active_leases(now))
        except Exception as failure:  # noqa: BLE001 - the work itself will find out, and is not to be kept from trying
            _log.warning('timer=%s error=%s reason="what is due cannot be counted"', timer, type(failure).__name__)


def _tell(timer: str, waiting: Sequence[Waiting], now: datetime) -> None:
    oldest = min((one.oldest_at for one in waiting), default=now)
    TIMER_LAG.set((now - oldest).total_seconds(), timer=timer)
    TIMER_BACKLOG.set(sum(one.due for one in waiting), timer=timer)

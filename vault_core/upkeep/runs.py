"""One run of a timer: many items, some at a time, none of which can spoil the run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeVar

from vault_core.identities import Caller, Identity

_log = logging.getLogger(__name__)

RUN_FOR = timedelta(seconds=45)  # under the minute after which the next run begins
_AT_ONCE = 8

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: how many items it finished, how many failed and were put off, and whether it left some."""

    done: int = 0
    failed: int = 0
    left_some: bool = False

    def __add__(self, other: Report) -> Report:
        return Report(self.done + other.done, self.failed + other.failed, self.left_some or other.left_some)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the timer `name` that began at `now` and ends, finished or not, when it has lasted so long."""

    name: str
    now: datetime
    clock: Callable[[], datetime]
    lasts: timedelta = RUN_FOR

    @property
    def over(self) -> bool:
        """Whether the run has had its time."""
        return self.clock() - self.now > self.lasts

    def caller(self, tenant: str) -> Caller:
        """Return the identity under which the timer acts in the tenant."""
        return Caller(tenant, Identity.system(self.name), frozenset(), frozenset())

    async def each(
        self, items: Iterable[Item], work: Callable[[Item], Awaitable[int]], put_off: Callable[[Item], Awaitable[None]]
    ) -> Report:
        """Work on every item, a few at a time; put off those that fail."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def attempt(item: Item) -> Report:
            async with places:
                if self.over:
                    return Report(left_some=True)
                return await self._attempt(item, work, put_off)

        reports = await asyncio.gather(*map(attempt, items))
        return sum(reports, Report())

    async def each_tenant(self, tenants: Iterable[str], work: Callable[[str], Awaitable[Report]]) -> Report:
        """Work for one tenant after the other; what is wrong with one is no reason to pass over the rest."""
        report = Report()
        # Who comes last may find the time used up, so each run has an order of its own.
        for tenant in sorted(tenants, key=lambda name: sha256(f"{self.now.isoformat()}|{name}".encode()).digest()):
            try:
                report += await work(tenant)
            except Exception as failure:  # noqa: BLE001
                _log.error("timer=%s tenant=%s error=%s", self.name, tenant, type(failure).__name__)
                report += Report(failed=1)
        return report

    async def _attempt(
        self, item: Item, work: Callable[[Item], Awaitable[int]], put_off: Callable[[Item], Awaitable[None]]
    ) -> Report:
        try:
            return Report(done=await work(item))
        except Exception as failure:  # noqa: BLE001 - no item, however broken, may stop the others
            _log.warning("timer=%s item=put-off error=%s", self.name, type(failure).__name__)
        try:
            await put_off(item)
        except Exception as failure:  # noqa: BLE001
            _log.warning("timer=%s item=not-put-off error=%s", self.name, type(failure).__name__)
        return Report(failed=1)

"""Is the vault able to work, and do its timers run? Told to anyone, so it names nothing of any tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_core.errors import RowMissing, Unavailable
from vault_core.stores import Keys, Put, Row, Secrets, Table
from vault_core.upkeep.runs import Report

_PARTITION = "timer"  # in the `due` table; no queue has this name
_ANSWER_HOLDS = timedelta(seconds=5)  # anyone may ask: the stores are asked at most this often


@dataclass(frozen=True, slots=True)
class Beat:
    """What is known of a timer: when its last run ended, and what that run did.

    In recovery mode it did nothing; `paused_with` is how many things it had to do.
    """

    timer: str
    ran_at: datetime
    report: Report
    failing_runs: int
    paused_with: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What answers and what does not; `beats` holds the timers that ever ran."""

    tables: bool
    key_vault: bool
    beats: tuple[Beat, ...]

    @property
    def well(self) -> bool:
        """Whether requests can be served."""
        return self.tables and self.key_vault


class HealthCheck:
    """Asks the stores, and keeps the heartbeats of the timers."""

    def __init__(self, due: Table, secrets: Secrets, clock: Callable[[], datetime]) -> None:
        self._due = due
        self._secrets = secrets
        self._clock = clock
        self._asking = asyncio.Lock()
        self._last: tuple[datetime, Health] | None = None

    async def read(self) -> Health:
        """Return the health of the vault, at most five seconds old."""
        async with self._asking:
            if self._last is None or self._clock() - self._last[0] > _ANSWER_HOLDS:
                beats, key_vault = await asyncio.gather(self._beats(), self._key_vault_answers())
                self._last = (self._clock(), Health(beats is not None, key_vault, beats or ()))
            return self._last[1]

    async def beat(self, timer: str, report: Report, paused_with: int | None = None) -> None:
        """Note that a run of the timer has ended, and how many runs in a row had failures."""
        failing = 0
        if report.failed:
            try:
                failing = int((await self._due.read(_PARTITION, timer)).document["failingRuns"]) + 1
            except RowMissing:
                failing = 1
        document = {
            "ranAt": self._clock().isoformat(),
            "done": report.done,
            "failed": report.failed,
            "leftSome": report.left_some,
            "failingRuns": failing,
        } | ({} if paused_with is None else {"pausedWith": paused_with})
        await self._due.commit(Put(Row(_PARTITION, timer, document)))

    async def _beats(self) -> tuple[Beat, ...] | None:
        try:
            page = await self._due.query(Keys(_PARTITION, "", "~"))
        except Unavailable:
            return None
        return tuple(_beat(row) for row in page.rows)

    async def _key_vault_answers(self) -> bool:
        try:
            await self._secrets.ping()
        except Unavailable:
            return False
        return True


def _beat(row: Row) -> Beat:
    kept = row.document
    report = Report(kept["done"], kept["failed"], kept["leftSome"])
    return Beat(row.key, datetime.fromisoformat(kept["ranAt"]), report, kept["failingRuns"], kept.get("pausedWith"))

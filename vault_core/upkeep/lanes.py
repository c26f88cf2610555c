"""Work that waits for others, in lanes: who is slow or dead holds up nobody but who waits for the same party.

A lane holds the items that wait for one other side. Some of them are worked on at once, and lanes side by side. A lane
whose last attempts all were in vain is closed for the rest of the run; what it still holds is left for the next.

Lanes cost nothing: host names are free, and so are subscriptions. So those that one party answers for share a number of
places, which is a part of all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vault_core.concurrency import gathered
from vault_core.upkeep.runs import Report, Run

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Work = Callable[[Item], Awaitable[bool | None]]
"""Works on an item: True when that went well, False when the other side failed, None when there was nothing to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many items are worked on at once, in a lane, of a party and in all; how many of a lane in a run.

    `in_vain` is how many attempts in a row close a lane.
    """

    at_once_in_lane: int
    at_once_of_party: int
    at_once: int
    of_lane: int
    in_vain: int


@dataclass(frozen=True, slots=True)
class Lane(Generic[Item]):
    """Items that wait for one other side, which the party answers for; `size` is how many, where that is known."""

    party: str
    items: AsyncIterator[Item]
    size: int | None = None


def lane_of(party: str, items: Sequence[Item]) -> Lane[Item]:
    """Return a lane of items that are known already."""

    async def each() -> AsyncIterator[Item]:
        for item in items:
            yield item

    return Lane(party, each(), len(items))


async def in_lanes(run: Run, lanes: Iterable[Lane[Item]], work: Work[Item], limits: Limits) -> Report:
    """Work on the items of all lanes until they are done, or closed, or the run is over.

    `done` counts what went well. What the other side failed at is not counted as failed: that tells of the vault alone.
    A lane reads its items when it comes to them, so that few are held in memory.
    """
    places = asyncio.Semaphore(limits.at_once)
    of_party: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(limits.at_once_of_party))
    workers: list[Coroutine[None, None, Report]] = []
    for lane in lanes:
        opened = _OpenLane(lane, of_party[lane.party], limits)
        workers += [_go_along(opened, run, work, places) for _ in range(_workers(lane, limits))]
    return sum(await gathered(workers), Report())


def _workers(lane: Lane[Item], limits: Limits) -> int:
    """Return how many work in the lane: of many thousand short lanes, idle ones would take the memory."""
    return limits.at_once_in_lane if lane.size is None else min(lane.size, limits.at_once_in_lane)


class _OpenLane(Generic[Item]):
    """The items of one lane, and how the last attempts went."""

    def __init__(self, lane: Lane[Item], places_of_party: asyncio.Semaphore, limits: Limits) -> None:
        self.places_of_party = places_of_party
        self._items = lane.items
        self._limits = limits
        self._reading = asyncio.Lock()
        self._taken = 0
        self._in_vain = 0
        self._ended = False

    @property
    def closed(self) -> bool:
        return self._in_vain >= self._limits.in_vain or self._taken >= self._limits.of_lane

    async def next(self) -> Item | None:
        """Return the next item, None at the end."""
        async with self._reading:  # one worker at a time, as an iterator wants it
            if self._ended or self.closed:
                return None
            try:
                item = await anext(self._items, None)
            except Exception:
                self._ended = True
                raise
            self._ended = item is None
            self._taken += 1
            return item

    def note(self, went_well: bool | None) -> None:
        if went_well is not None:
            self._in_vain = 0 if went_well else self._in_vain + 1


async def _go_along(lane: _OpenLane[Item], run: Run, work: Work[Item], places: asyncio.Semaphore) -> Report:
    report = Report()
    while True:
        async with lane.places_of_party, places:  # in this order: who waits for the first keeps none of the second
            if run.over or lane.closed:
                return report + Report(left_some=True)
            step = await _step(lane, run, work)
        if step is None:
            return report
        report += step


async def _step(lane: _OpenLane[Item], run: Run, work: Work[Item]) -> Report | None:
    """Work on the next item of the lane; None when there is none."""
    try:
        item = await lane.next()
        if item is None:
            return None
        went_well = await work(item)
    except Exception as failure:  # noqa: BLE001 - no item, however broken, may stop the others
        _log.warning("timer=%s item=left error=%s", run.name, type(failure).__name__)
        return Report(failed=1)
    lane.note(went_well)
    return Report(done=int(went_well is True))

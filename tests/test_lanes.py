"""Lanes: who is slow, dead or busy holds up nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.faults import Crash
from tests.vaults import NOON, Clock
from vault_core.errors import RowMissing
from vault_core.upkeep import deliveries, value_checks
from vault_core.upkeep.lanes import Lane, Limits, in_lanes, lane_of
from vault_core.upkeep.runs import RUN_FOR, Report, Run

AMPLE = Limits(at_once_in_lane=2, at_once_of_party=50, at_once=50, of_lane=10_000, in_vain=3)
Item = tuple[str, int]


def lanes(**sizes: int) -> list[Lane[Item]]:
    """Lanes of so many items, each of a party of its own."""
    return [lane_of(name, [(name, number) for number in range(size)]) for name, size in sizes.items()]


def lanes_of(party: str, count: int) -> list[Lane[Item]]:
    """So many lanes of one party, each with a single item."""
    return [lane_of(party, [(party, number)]) for number in range(count)]


def a_run(clock: Clock | None = None, lasts: timedelta = RUN_FOR) -> Run:
    return Run("test", NOON, clock or Clock(), lasts)


class Worker:
    """Works on items and remembers them. Some lanes answer in vain; the stuck one not before all others are done."""

    def __init__(self, *dead: str, stuck: str = "") -> None:
        self.seen: list[Item] = []
        self.dead = dead
        self.stuck = stuck
        self.let_go = asyncio.Event()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def __call__(self, item: Item) -> bool | None:
        name, _ = item
        self.seen.append(item)
        for what in (name, "all"):
            self.now[what] += 1
            self.most[what] = max(self.most[what], self.now[what])
        if self.count("well") == 30:
            self.let_go.set()
        if name == self.stuck:
            await self.let_go.wait()
        await asyncio.sleep(0)
        for what in (name, "all"):
            self.now[what] -= 1
        return name not in self.dead

    def count(self, name: str) -> int:
        return sum(lane == name for lane, _ in self.seen)


async def test_every_item_is_worked_on_once() -> None:
    work = Worker()
    report = await in_lanes(a_run(), lanes(one=5, two=40, three=0), work, AMPLE)
    assert sorted(work.seen) == sorted([*(("one", n) for n in range(5)), *(("two", n) for n in range(40))])
    assert report == Report(done=45)


async def test_a_lane_is_worked_on_in_its_order() -> None:
    work = Worker()
    await in_lanes(a_run(), lanes(one=20), work, AMPLE)
    assert work.seen == [("one", number) for number in range(20)]


async def test_no_more_are_worked_on_at_once_than_the_lane_and_all_lanes_allow() -> None:
    work = Worker()
    limits = Limits(at_once_in_lane=3, at_once_of_party=7, at_once=7, of_lane=100, in_vain=3)
    await in_lanes(a_run(), lanes(a=30, b=30, c=30, d=30), work, limits)
    assert max(work.most[name] for name in "abcd") == 3
    assert work.most["all"] == 7


async def test_a_lane_that_fails_is_closed_and_costs_the_others_nothing() -> None:
    work = Worker("dead")
    report = await in_lanes(a_run(), lanes(dead=5000, well=30), work, AMPLE)
    assert work.count("dead") <= AMPLE.in_vain + AMPLE.at_once_in_lane - 1
    assert work.count("well") == 30
    assert report == Report(done=30, left_some=True)


async def test_a_lane_that_does_not_answer_holds_up_nobody_else() -> None:
    work = Worker(stuck="slow")
    report = await in_lanes(a_run(), lanes(slow=10, well=30), work, AMPLE)
    assert report.done == 40
    assert Counter(name for name, _ in work.seen[: 30 + AMPLE.at_once_in_lane]) == {"well": 30, "slow": 2}


@pytest.mark.parametrize("limits", [value_checks.LIMITS, deliveries.LIMITS], ids=["checks", "deliveries"])
async def test_a_party_with_many_lanes_that_do_not_answer_holds_up_no_other_party(limits: Limits) -> None:
    work = Worker(stuck="slow")
    async with asyncio.timeout(60):  # held up, it would never end
        report = await in_lanes(a_run(), [*lanes_of("slow", 300), *lanes(well=30)], work, limits)
    assert report.done == 330
    assert work.most["slow"] == limits.at_once_of_party
    assert Counter(name for name, _ in work.seen[: 30 + limits.at_once_of_party]) == {
        "well": 30,
        "slow": limits.at_once_of_party,
    }


async def test_short_lanes_have_no_more_workers_than_items() -> None:
    most = 0

    async def work(item: Item) -> bool | None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        return True

    present = len(asyncio.all_tasks())
    await in_lanes(a_run(), [*lanes_of("one", 100), *lanes(few=3, many=50)], work, value_checks.LIMITS)
    assert most == present + 100 + 3 + value_checks.LIMITS.at_once_in_lane


async def test_a_success_between_failures_keeps_the_lane_open() -> None:
    answers = iter([False, False, True, False, False, True, False, False, False, True])

    async def work(item: Item) -> bool | None:
        return next(answers)

    limits = Limits(at_once_in_lane=1, at_once_of_party=1, at_once=1, of_lane=100, in_vain=3)
    report = await in_lanes(a_run(), lanes(one=10), work, limits)
    assert (report.done, list(answers)) == (2, [True])


async def test_what_had_nothing_to_do_is_neither_a_success_nor_a_failure() -> None:
    async def work(item: Item) -> bool | None:
        return None

    assert await in_lanes(a_run(), lanes(one=10), work, AMPLE) == Report()


async def test_a_lane_has_its_share_of_a_run_and_no_more() -> None:
    work = Worker()
    limits = Limits(at_once_in_lane=2, at_once_of_party=50, at_once=50, of_lane=25, in_vain=3)
    report = await in_lanes(a_run(), lanes(much=1000, little=5), work, limits)
    assert (work.count("much"), work.count("little")) == (25, 5)
    assert report == Report(done=30, left_some=True)


async def test_no_item_begins_once_the_run_is_over() -> None:
    clock = Clock()

    async def work(item: Item) -> bool | None:
        clock.pass_by(seconds=10)
        return True

    limits = Limits(at_once_in_lane=1, at_once_of_party=1, at_once=1, of_lane=100, in_vain=3)
    report = await in_lanes(a_run(clock, timedelta(seconds=35)), lanes(one=50), work, limits)
    assert report == Report(done=4, left_some=True)


async def test_an_item_that_breaks_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def work(item: Item) -> bool | None:
        if item == ("one", 3):
            raise RowMissing("some key")
        return True

    report = await in_lanes(a_run(), lanes(one=10, two=10), work, AMPLE)
    assert report == Report(done=19, failed=1)
    assert "some key" not in caplog.text


async def test_items_that_cannot_be_read_end_their_own_lane_alone() -> None:
    async def broken() -> AsyncIterator[Item]:
        yield ("broken", 0)
        raise RowMissing("some key")

    work = Worker()
    report = await in_lanes(a_run(), [Lane("broken", broken()), *lanes(well=10)], work, AMPLE)
    assert (work.count("broken"), work.count("well")) == (1, 10)
    assert report == Report(done=11, failed=1)


async def test_a_lane_reads_its_items_when_it_comes_to_them() -> None:
    read = 0

    async def endless() -> AsyncIterator[Item]:
        nonlocal read
        while True:
            read += 1
            yield ("dead", read)

    await in_lanes(a_run(), [Lane("dead", endless())], Worker("dead"), AMPLE)
    assert read <= AMPLE.in_vain + AMPLE.at_once_in_lane


async def test_a_crash_is_no_failure_of_an_item() -> None:
    async def work(item: Item) -> bool | None:
        raise Crash

    with pytest.raises(Crash):
        await in_lanes(a_run(), lanes(one=1), work, AMPLE)

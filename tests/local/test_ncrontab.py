"""Timer schedules: examples from the documentation of the timer trigger, and what holds for all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.ncrontab import Schedule, ScheduleInvalid

SOME_MONDAY = datetime(2026, 11, 23, 10, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * * *", "2026-11-23 10:07:31"),
        ("0 * * * * *", "2026-11-23 10:08:00"),
        ("0 */5 * * * *", "2026-11-23 10:10:00"),
        ("30 7 * * * *", "2026-11-23 11:07:30"),
        ("0 0 * * * *", "2026-11-23 11:00:00"),
        ("0 0 */2 * * *", "2026-11-23 12:00:00"),
        ("0 0 9-17 * * *", "2026-11-23 11:00:00"),
        ("0 30 9 * * *", "2026-11-24 09:30:00"),
        ("0 30 9 * * 1-5", "2026-11-24 09:30:00"),
        ("0 30 9 * Jan Mon", "2027-01-04 09:30:00"),
        ("0 30 9 * january monday", "2027-01-04 09:30:00"),
        ("0 0 0 1,15 * *", "2026-12-01 00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 0 29 2 Mon", "2044-02-29 00:00:00"),
        ("0 10/20 * * * *", "2026-11-23 10:10:00"),
        ("0 5-50/15 * * * *", "2026-11-23 10:20:00"),
        ("59 59 23 31 12 *", "2026-12-31 23:59:59"),
    ],
)
def test_the_next_occurrence_follows_the_expression(expression: str, expected: str) -> None:
    following = Schedule.parse(expression).next_after(SOME_MONDAY)
    assert following == datetime.fromisoformat(f"{expected}+00:00")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * * *",
        "* * * * * * *",
        "60 * * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * * 13 *",
        "* * * * * 7",
        "*/0 * * * * *",
        "5-1 * * * * *",
        "*-5 * * * * *",
        "1,,2 * * * * *",
        "-1 * * * * *",
        "1- * * * * *",
        "* * * ? * *",
        "Jan * * * * *",
        "0 0 0 30 2 *",
        "0 0 0 31 4,6,9,11 *",
        "٣ * * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ScheduleInvalid):
        Schedule.parse(expression)


def numbers(lowest: int, highest: int) -> st.SearchStrategy[str]:
    number = st.integers(lowest, highest)
    part = st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}"),
        st.integers(1, highest).map(lambda step: f"*/{step}"),
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


expressions = st.tuples(
    numbers(0, 59), numbers(0, 59), numbers(0, 23), numbers(1, 28), numbers(1, 12), numbers(0, 6)
).map(" ".join)
START = datetime(2020, 1, 1, tzinfo=UTC)
instants = st.timedeltas(timedelta(0), timedelta(days=365 * 40)).map(lambda passed: START + passed)


def fits(schedule: Schedule, instant: datetime) -> bool:
    return (
        instant.second in schedule.seconds
        and instant.minute in schedule.minutes
        and instant.hour in schedule.hours
        and instant.day in schedule.days
        and instant.month in schedule.months
        and instant.isoweekday() % 7 in schedule.weekdays
    )


@given(expressions, instants)
def test_the_next_occurrence_is_later_and_fits_every_field(expression: str, instant: datetime) -> None:
    schedule = Schedule.parse(expression)
    following = schedule.next_after(instant)
    assert following > instant
    assert fits(schedule, following)


@given(expressions, instants)
def test_no_occurrence_lies_between_an_instant_and_the_next(expression: str, instant: datetime) -> None:
    schedule = Schedule.parse(expression)
    following = schedule.next_after(instant)
    second = instant.replace(microsecond=0)
    for _ in range(200):
        second += timedelta(seconds=1)
        if second >= following:
            break
        assert not fits(schedule, second)
    hour = instant.replace(minute=schedule.minutes[0], second=schedule.seconds[0], microsecond=0)
    for _ in range(200):
        hour += timedelta(hours=1)
        if hour >= following:
            break
        assert not fits(schedule, hour)


@given(expressions, instants)
def test_occurrences_follow_one_another_in_order(expression: str, instant: datetime) -> None:
    schedule = Schedule.parse(expression)
    first = schedule.next_after(instant)
    assert schedule.next_after(first - timedelta(microseconds=1)) == first
    assert schedule.next_after(first) > first

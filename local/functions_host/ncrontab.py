"""Schedules as timer triggers write them: six-field NCRONTAB expressions, second first, in UTC.

A field is a list of `*`, a number, a range `a-b`, each with an optional step `/n`; months and days of the week
may be named. A day must fit both the day of the month and the day of the week. Source: the documentation of the
timer trigger of Azure Functions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_LONGEST_MONTHS = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>[0-9]+))?", re.ASCII)


class ScheduleInvalid(Exception):
    """An expression that is not a schedule, or one that never comes."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a place in an expression may hold."""

    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[int, ...]:
        """Return the numbers that the text allows, in ascending order."""
        return tuple(sorted({number for part in text.split(",") for number in self._part(part)}))

    def _part(self, text: str) -> range:
        found = _PART.fullmatch(text)
        if not found:
            raise self._invalid()
        first, last, step = found["first"], found["last"], found["step"]
        if first == "*" and last is None:
            return range(self.lowest, self.highest + 1, self._step(step))
        start = self._number(first)
        alone = self.highest if step else start
        end = self._number(last) if last is not None else alone
        if start > end:
            raise ScheduleInvalid(f"a range of the field {self.name} must ascend")
        return range(start, end + 1, self._step(step))

    def _step(self, text: str | None) -> int:
        if text is None:
            return 1
        if int(text) < 1:
            raise self._invalid()
        return int(text)

    def _number(self, text: str) -> int:
        for number, name in enumerate(self.names, self.lowest):
            if text.lower() in (name.lower(), name[:3].lower()):
                return number
        if not text.isdecimal() or not self.lowest <= int(text) <= self.highest:
            raise self._invalid()
        return int(text)

    def _invalid(self) -> ScheduleInvalid:
        return ScheduleInvalid(f"the field {self.name} takes {self.lowest} to {self.highest}, *, ranges and steps")


_FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day", 1, 31),
    Field("month", 1, 12, _MONTHS),
    Field("day of the week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The instants at which a timer is due."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def parse(cls, expression: str) -> Schedule:
        """Read the expression; `ScheduleInvalid` when it is none, or names only days that no month has."""
        texts = expression.split()
        if len(texts) != len(_FIELDS):
            raise ScheduleInvalid("an expression has six fields: second minute hour day month day-of-week")
        schedule = cls(*(field.parse(text) for field, text in zip(_FIELDS, texts, strict=True)))
        if schedule.days[0] > max(_LONGEST_MONTHS[month] for month in schedule.months):
            raise ScheduleInvalid("no month of the expression has such a day")
        return schedule

    def next_after(self, instant: datetime) -> datetime:
        """Return the first instant of the schedule after the given one; both are in UTC, to the second."""
        start = instant.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        moment = self._first_from(start.time()) if self._has(start.date()) else None
        if moment:
            return datetime.combine(start, moment, UTC)
        day = next(day for day in _days_after(start.date()) if self._has(day))
        return datetime.combine(day, time(self.hours[0], self.minutes[0], self.seconds[0]), UTC)

    def _has(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _first_from(self, start: time) -> time | None:
        for hour in (hour for hour in self.hours if hour >= start.hour):
            for minute in (minute for minute in self.minutes if (hour, minute) >= (start.hour, start.minute)):
                for second in self.seconds:
                    if time(hour, minute, second) >= start:
                        return time(hour, minute, second)
        return None


def _days_after(day: date) -> Iterator[date]:
    return (day + timedelta(days=count) for count in itertools.count(1))

"""Durations as people write them: `90s`, `15m`, `8h`, `90d`, `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

LONGEST = timedelta(days=3650)
PATTERN = r"^([1-9][0-9]{0,8}d)?([1-9][0-9]{0,8}h)?([1-9][0-9]{0,8}m)?([1-9][0-9]{0,8}s)?$"

_GRAMMAR = re.compile(PATTERN.strip("^$"))
_SECONDS_OF_UNIT = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SHAPE = (
    "A duration is written like 90s, 15m, 8h, 90d or 1h30m: whole days, hours, minutes and seconds in this "
    f"order, from 1s to {LONGEST.days}d"
)


def parse(text: str) -> timedelta:
    """Return the duration that the text stands for, 1 second to 3650 days; `ValueError` otherwise.

    Units are `d`, `h`, `m`, `s`, in this order, each at most once, with a positive integer of at most nine
    digits.
    """
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(_SHAPE)
    seconds = sum(int(part[:-1]) * _SECONDS_OF_UNIT[part[-1]] for part in match.groups() if part)
    if not 1 <= seconds <= LONGEST.total_seconds():
        raise ValueError(_SHAPE)
    return timedelta(seconds=seconds)


def render(duration: timedelta) -> str:
    """Return the canonical text of a duration (`90m` is `1h30m`), which `parse` reads back unchanged.

    `ValueError` for what has no text: a fraction of a second, less than 1 second, more than 3650 days.
    """
    if duration.microseconds or not timedelta(seconds=1) <= duration <= LONGEST:
        raise ValueError(_SHAPE)
    left = duration.days * 86_400 + duration.seconds
    text = ""
    for unit, seconds in _SECONDS_OF_UNIT.items():
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return text


def _read(given: object) -> timedelta:
    if isinstance(given, timedelta):
        render(given)
        return given
    if isinstance(given, str):
        return parse(given)
    raise ValueError(_SHAPE)


Duration = Annotated[
    timedelta,
    BeforeValidator(_read),
    PlainSerializer(render, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "minLength": 2, "examples": ["15m", "8h", "1h30m", "90d"]}),
]
"""A model field that takes and gives the text (or takes a `timedelta`), and never a bare number."""

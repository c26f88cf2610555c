"""Reads a JSON object or list from an untrusted body, within limits that hold before anything is built from it.

RFC 8259 leaves open what to do with duplicate names, huge numbers, deep nesting and unpaired surrogates; here
each is refused, so that every later reader of the same bytes sees the same thing. No refusal quotes the body.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from vault_core.errors import InvalidInput

MAX_DEPTH = 16
MAX_LENIENT_DEPTH = 24  # a filter of the Control Room face that is nested ten deep takes 22
MAX_PARTS = 1000
MAX_DIGITS = 20
_PART = frozenset("[{,")

# An unterminated string matches to the end of the text: were it skipped, the search would begin again at each
# quote inside it and take quadratic time.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+\\?"?|[\[\]{},]', re.DOTALL)


def parse(body: bytes, *, max_parts: int = MAX_PARTS) -> dict[str, Any]:
    """Return the object that the UTF-8 text holds; `InvalidInput` when it is anything else.

    At most 16 deep, 1,000 members and items in all unless told otherwise, and 20 digits in a whole number. A byte
    order mark, `NaN`, infinities and duplicate names are refused.
    """
    document = _read(body, MAX_DEPTH, max_parts)
    if not isinstance(document, dict):
        raise InvalidInput("The body must be a JSON object.")
    return document


def parse_object_or_list(body: bytes) -> dict[str, Any] | list[Any]:
    """Return the object or list that the UTF-8 text holds, at most 24 deep, else within the limits of `parse`."""
    document = _read(body, MAX_LENIENT_DEPTH, MAX_PARTS)
    if not isinstance(document, dict | list):
        raise InvalidInput("The body must be a JSON object or list.")
    return document


def parts_in(text: str) -> int:
    """Return how many members and items the limits count in a JSON text."""
    return sum(token[0] in _PART for token in _TOKEN.finditer(text))


def _read(body: bytes, max_depth: int, max_parts: int) -> object:
    text = _decode(body)
    _check_size(text, max_depth, max_parts)
    return _load(text)


def _decode(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("The body must be UTF-8.") from None
    if text.startswith("\ufeff"):
        raise InvalidInput("The body must not start with a byte order mark.")
    return text


def _check_size(text: str, max_depth: int, max_parts: int) -> None:
    depth = parts = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        depth += (mark in "[{") - (mark in "]}")
        parts += mark in _PART
        if depth > max_depth:
            raise InvalidInput(f"The body must not be nested deeper than {max_depth}.")
        if parts > max_parts:
            raise InvalidInput(f"The body must not have more than {max_parts} members and items in all.")


def _load(text: str) -> object:
    try:
        document: object = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_int=_bounded_int,
            parse_float=_finite_float,
            parse_constant=_refuse_constant,
        )
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError:
        raise InvalidInput("The body is not well-formed JSON.") from None
    except UnicodeEncodeError:
        raise InvalidInput("A string in the body holds half of a surrogate pair.") from None
    return document


def _without_duplicates(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(members)
    if len(unique) < len(members):
        raise InvalidInput("An object in the body names a member twice.")
    return unique


def _bounded_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise InvalidInput(f"A whole number in the body has more than {MAX_DIGITS} digits.")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise InvalidInput("A number in the body is too large.")
    return number


def _refuse_constant(_: str) -> NoReturn:
    raise InvalidInput("The body holds a number that JSON does not have.")

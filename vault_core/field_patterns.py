"""Patterns that a vendor writes and that run on other tenants' values: they match whole values, at a bounded cost.

The engine, Rust's, never backtracks: it takes time in proportion to the length of the text times the size of the
compiled pattern. A few characters of pattern can compile to megabytes, so that product is what is bounded here.
"""

from __future__ import annotations

from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

from vault_core.credential_types.given import Fault

MAX_PATTERN = 256

# The engine compiles to 10 MiB at most. That as many copies of a pattern still fit bounds the size of one: to 1.25 MiB,
# which is kept in memory, and to a match of about a tenth of a second for the longest text.
_FEWEST_COPIES = 8
_CHARACTERS_A_COPY = 64
_KEPT = 32
_KEPT_BY_PYDANTIC = 50  # it keeps as many patterns that were compiled last, of whatever size


def check_pattern(pattern: str, longest: int) -> None:
    """Return when the pattern may be matched with texts of up to `longest` characters; `Fault` otherwise.

    A call takes up to 0.3 seconds of CPU.
    """
    try:
        _check(pattern, longest)
    finally:
        _forget_what_was_measured()


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole text matches a pattern that `check_pattern` let pass."""
    return _compiled(_whole(pattern)).isinstance_python(text)


def _check(pattern: str, longest: int) -> None:
    # Alone as well: `a)|(b` is only well-formed inside of the parentheses that make it match whole values.
    if not (_compiles(pattern) and _compiles(_whole(pattern))):
        raise Fault(
            "is no regular expression that is understood here: no look-around, no back-references, "
            "no comment at its end, and not too large"
        )
    copies = max(_FEWEST_COPIES, longest // _CHARACTERS_A_COPY)
    if not _compiles(f"(?:{_whole(pattern)}){{{copies}}}"):
        raise Fault(
            "takes too much work to match: give the field a smaller maxLength, repeat less often, "
            r"and write [A-Za-z0-9_] for \w or [0-9] for \d"
        )


def _forget_what_was_measured() -> None:
    """Push out of pydantic's memory what was compiled to find out its size: a vendor could fill hundreds of MiB."""
    for number in range(_KEPT_BY_PYDANTIC):
        _compile(str(number))


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"


def _compiles(pattern: str) -> bool:
    try:
        _compile(pattern)
    except SchemaError:
        return False
    return True


def _compile(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True))


_compiled = lru_cache(maxsize=_KEPT)(_compile)

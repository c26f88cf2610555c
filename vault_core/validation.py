"""What is known of whether a value works, and when it is asked again. Pure rules.

A verdict is `valid` or `invalid`. An answer that says neither is `unknown`: it never changes a verdict that stands, is
counted, and the question is put again ever more rarely.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from vault_core.identities import Identity
from vault_core.records import Record
from vault_core.vendor_answers import FieldFault, Outcome, Verdict

VALUE_ENDED = "value-ended"  # the reason of a value that its own type knows to be over
KEPT_CHECKS = 100  # of one credential; the next one takes the place of the oldest
_FIRST_RETRY = timedelta(minutes=5)
_LONGEST_RETRY = timedelta(hours=6)
_JITTER = 0.1  # checks that were planned together drift apart by up to a tenth of their interval


class Validation(Record):
    """What is known of whether the value works. `reason` is the short code of the verdict that stands.

    `next_check_at` is when the vendor is asked again; `checks` counts how often the value was checked so far.
    """

    status: Verdict
    checked_at: datetime
    verdict_at: datetime
    reason: str | None = None
    field_errors: tuple[FieldFault, ...] = ()
    next_check_at: datetime | None = None
    consecutive_unknown: int = 0
    checks: int = 0


class Trigger(StrEnum):
    """Why a value was checked."""

    CREATED = "created"
    ROTATED = "rotated"
    ASKED = "asked"
    SCHEDULED = "scheduled"


class Check(Record):
    """One check, as the history keeps it."""

    at: datetime
    version: int
    trigger: Trigger
    by: Identity
    status: Verdict
    reason: str
    field_errors: tuple[FieldFault, ...] = ()


def unchecked(holds_a_value: bool, now: datetime, *, by_vendor: bool) -> Validation:
    """Return what is known of a value that was just accepted by the rules of its type alone."""
    if not holds_a_value:
        return Validation(status="unknown", checked_at=now, verdict_at=now, reason="no-value")
    if by_vendor:
        return Validation(status="unknown", checked_at=now, verdict_at=now, reason="not-checked", next_check_at=now)
    return Validation(status="valid", checked_at=now, verdict_at=now, reason="accepted")


def concluded(known: Validation, outcome: Outcome, every: timedelta | None, now: datetime, seed: str) -> Validation:
    """Return what is known after an answer; `every` is how often the vendor is asked, None for never again.

    `seed` decides the jitter: the same for the same check, however often it is recorded.
    """
    counted = known.but(checked_at=now, checks=known.checks + 1)
    if outcome.status == "unknown":
        wait = retry_after(known.consecutive_unknown, every)
        unknown = counted.but(
            consecutive_unknown=known.consecutive_unknown + 1,
            next_check_at=_jittered(now, wait, seed) if every else None,
        )
        # As long as there is no verdict, what was found last is all that can be told.
        return unknown.but(reason=outcome.reason) if known.status == "unknown" else unknown
    return counted.but(
        status=outcome.status,
        verdict_at=now if outcome.status != known.status else known.verdict_at,
        reason=outcome.reason,
        field_errors=outcome.field_errors,
        next_check_at=_jittered(now, every, seed) if every else None,
        consecutive_unknown=0,
    )


def retry_after(unknown_so_far: int, every: timedelta | None) -> timedelta:
    """Return how long to wait after an answer that said nothing: 5 minutes, doubling, up to 6 hours or `every`."""
    wait: timedelta = _FIRST_RETRY * 2 ** min(unknown_so_far, 10)
    return min(wait, _LONGEST_RETRY, every or _LONGEST_RETRY)


def _jittered(now: datetime, wait: timedelta, seed: str) -> datetime:
    share = int.from_bytes(sha256(seed.encode()).digest()[:4], "big") / 2**32  # 0 to 1
    return now + wait * (1 - _JITTER + 2 * _JITTER * share)

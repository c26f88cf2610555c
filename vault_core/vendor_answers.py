"""What a vendor's answer says of the values that it was asked about.

An answer says something by its status alone where the vendor's configuration lists statuses, else by its body: status
200 with `{"valid": true}` or `{"valid": false, "errors": [{"field", "message"}]}`. What a vendor writes is shown to
people who may not see the values, so a message is shown only as far as it repeats nothing of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from vault_core import strict_json
from vault_core.echoes import Echoes, visible
from vault_core.errors import InvalidInput
from vault_core.outbound import Reply
from vault_core.records import Record

Verdict = Literal["valid", "invalid", "unknown"]

MAX_FIELD_ERRORS = 20
MAX_MESSAGE = 200
WITHHELD = "The vendor's message is not shown: it repeats a part of a value."

_NO_VERDICT = frozenset({408, 429})
_SEARCHED = 1_000  # characters of a message; far more than are shown, so that what is cut off is recognised too


class FieldFault(Record):
    """What a vendor says of one field. `field` is a field of the configuration or empty; the text is safe to show."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The statuses that are a verdict by themselves; when both sets are empty, the body says it."""

    valid_statuses: frozenset[int]
    invalid_statuses: frozenset[int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer says. `reason` is a short code.

    `confirmed` and `rejected` are verdicts. `unknown` are: `unreachable`, no answer; `inconclusive`, a status that
    says nothing of the values; `unreadable`, a body that is not what it must be.
    """

    status: Verdict
    reason: str
    field_errors: tuple[FieldFault, ...] = ()


_CONFIRMED = Outcome("valid", "confirmed")
_REJECTED = Outcome("invalid", "rejected")
_UNREACHABLE = Outcome("unknown", "unreachable")
_INCONCLUSIVE = Outcome("unknown", "inconclusive")
_UNREADABLE = Outcome("unknown", "unreadable")


def can_be_a_verdict(status: int) -> bool:
    """Return whether a vendor can mean its verdict by the status: not by a redirect, a delay or an outage."""
    return (200 <= status < 300 or 400 <= status < 500) and status not in _NO_VERDICT


def outcome(reply: Reply | None, rules: Rules, values: Mapping[str, SecretStr], field_ids: Collection[str]) -> Outcome:
    """Return what the reply says of the values; None stands for no reply. Whatever a vendor sends, nothing is raised.

    At most 20 field errors are kept, each message cut to 200 characters, or replaced when it repeats a part of a
    value, plain or encoded. An error names its field only if that is one of `field_ids`.
    """
    if reply is None:
        return _UNREACHABLE
    if rules.valid_statuses or rules.invalid_statuses:
        return _by_status(reply.status, rules)
    if reply.status != 200:
        return _INCONCLUSIVE
    answer = _read(reply.body)
    if answer is None:
        return _UNREADABLE
    return _CONFIRMED if answer.valid else _rejected(answer.errors or [], values, field_ids)


def _by_status(status: int, rules: Rules) -> Outcome:
    valid, invalid = status in rules.valid_statuses, status in rules.invalid_statuses
    if valid == invalid or not can_be_a_verdict(status):
        return _INCONCLUSIVE
    return _CONFIRMED if valid else _REJECTED


class _Error(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    field: str = ""
    message: str = ""


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    valid: bool
    errors: list[_Error] | None = None


def _read(body: bytes) -> _Answer | None:
    """Return the answer or None: a refusal raised from here would carry what was found as its context."""
    try:
        return _Answer.model_validate(strict_json.parse(body))
    except (InvalidInput, ValidationError):
        return None


def _rejected(errors: Sequence[_Error], values: Mapping[str, SecretStr], field_ids: Collection[str]) -> Outcome:
    if not errors:
        return _REJECTED
    echoes = Echoes(values.values())
    faults = (
        FieldFault(field=error.field if error.field in field_ids else "", message=_shown(error.message, echoes))
        for error in errors[:MAX_FIELD_ERRORS]
    )
    return Outcome("invalid", "rejected", tuple(faults))


def _shown(message: str, echoes: Echoes) -> str:
    text = visible(message)[:_SEARCHED]
    return WITHHELD if echoes.are_in(text) else text[:MAX_MESSAGE].rstrip()

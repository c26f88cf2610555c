"""What goes over the wire: the ancestor of every request and answer model, instants, and their refusals.

What pydantic says about a refused input is retold here without a piece of that input: some of its own
messages quote one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SecretStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from vault_core.errors import FieldError, InvalidInput

_MONTH_AND_DAY = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
_OFFSET = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
INSTANT_PATTERN = f"^(19[7-9][0-9]|[2-9][0-9]{{3}})-{_MONTH_AND_DAY}T{_TIME}{_OFFSET}$"


def wire_name(name: str) -> str:
    """Return the name that a field has on the wire: `maxLeaseTTL` for `max_lease_ttl`."""
    return to_camel(name).replace("Ttl", "TTL")


class WireModel(BaseModel):
    """A request body, the query of a request, or an answer. Python names inside, camelCase on the wire."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        populate_by_name=True,
        extra="forbid",
        hide_input_in_errors=True,
        frozen=True,
    )


def _read_rfc_3339(value: object) -> object:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and re.fullmatch(INSTANT_PATTERN, value, re.ASCII):
            return datetime.fromisoformat(value)
    except ValueError:  # the 31st of a month that has 30 days
        pass
    raise PydanticCustomError("instant", "must be an instant such as 2026-01-27T19:07:12Z, from 1970 on")


def _in_utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise PydanticCustomError("instant", "must say its offset from UTC, such as Z")
    try:
        instant = value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("instant", "must be between the years 1970 and 9999") from None
    if instant.year < 1970:
        raise PydanticCustomError("instant", "must be between the years 1970 and 9999")
    return instant


def iso_text(instant: datetime) -> str:
    """Return the instant as it goes over the wire: `2026-01-27T19:07:12.363Z`."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    BeforeValidator(_read_rfc_3339),
    AfterValidator(_in_utc),
    PlainSerializer(iso_text, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT_PATTERN}),
]
"""An aware UTC `datetime`, 1970 to 9999: RFC 3339 with any offset in, `2026-01-27T19:07:12.363Z` out."""

RevealedSecret = Annotated[
    SecretStr,
    PlainSerializer(SecretStr.get_secret_value, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "password"}),  # a secret's own schema says that no answer has it
]
"""A secret that the JSON of its model shows in clear: only for answers that hand a value over."""

MAX_ERRORS = 20
_SHOWN_NAME = re.compile(r"[A-Za-z]+(_[A-Za-z]+)*")
_UNION_BRANCH = re.compile(r"(literal|tuple)\[.*\]")  # a step that pydantic adds, and no caller sent
_MAX_SHOWN_NAME = 32
_KNOWN_TO_PYDANTIC = frozenset(get_args(core_schema.ErrorType))
_NOT_AN_OBJECT = "must be an object"
_NOT_A_LIST = "must be a list"
_NOT_A_NUMBER = "must be a number"
_ENUM_MEMBER = re.compile(r"<[\w.]+: ('[^']*')>")
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the required form",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large",
    "int_from_float": "must be a whole number",
    "float_type": _NOT_A_NUMBER,
    "float_parsing": _NOT_A_NUMBER,
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "none_required": "must be null",
    "uuid_parsing": "must be a UUID",
    "uuid_type": "must be a UUID",
    "url_parsing": "must be a URL",
    "model_type": _NOT_AN_OBJECT,
    "model_attributes_type": _NOT_AN_OBJECT,
    "dataclass_type": _NOT_AN_OBJECT,
    "dict_type": _NOT_AN_OBJECT,
    "list_type": _NOT_A_LIST,
    "tuple_type": _NOT_A_LIST,
    "set_type": _NOT_A_LIST,
    "frozen_set_type": _NOT_A_LIST,
    "union_tag_invalid": "is of an unknown kind: {discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "does not say its kind: {discriminator} is required",
}


def invalid_input(refused: ValidationError) -> InvalidInput:
    """Return the refusal that tells a caller what pydantic found, without a piece of the input.

    Names at most 20 fields. The name of an unknown field, or a key of a map, is shown when it is short and of
    plain letters; else a `?` stands for it. The text of a `ValueError` or `PydanticCustomError` that a
    validator of ours raised is told as it is, so it must never quote what it refuses.
    """
    told = refused.errors(include_url=False, include_context=True, include_input=False)
    places = [fault["loc"] for fault in told]
    faults = [fault for fault in told if not _is_short_for_faults_inside(fault, places)][:MAX_ERRORS]
    return InvalidInput(
        "Correct the fields that are named and send the request again.",
        tuple(FieldError(_path(fault["loc"]), _message(fault)) for fault in faults),
    )


def _is_short_for_faults_inside(fault: ErrorDetails, places: list[tuple[int | str, ...]]) -> bool:
    """Return whether a list is called too short only because its items are at fault, which are told of anyway."""
    depth = len(fault["loc"])
    return fault["type"] == "too_short" and any(
        len(place) > depth and place[:depth] == fault["loc"] for place in places
    )


def _path(location: tuple[int | str, ...]) -> str:
    steps = (step for step in location if not (isinstance(step, str) and _UNION_BRANCH.fullmatch(step)))
    return ".".join(str(step) if isinstance(step, int) else shown_name(step) for step in steps)


def shown_name(name: str) -> str:
    """Return a name from the input if it is safe to repeat, or `?`: someone may have pasted a value there."""
    safe = len(name) <= _MAX_SHOWN_NAME and _SHOWN_NAME.fullmatch(name)
    return name if safe else "?"


def _message(fault: ErrorDetails) -> str:
    kind = fault["type"]
    if kind == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    if kind not in _KNOWN_TO_PYDANTIC:
        return fault["msg"]
    # Only what the model itself says may fill a place: limits and choices, never what was given.
    told = {name: _ENUM_MEMBER.sub(r"\1", str(value)) for name, value in fault.get("ctx", {}).items()}
    return _MESSAGES.get(kind, "is not valid").format_map(told)

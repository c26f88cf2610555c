"""What every type does with the fields it was given: read them, and gather what is wrong with them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from pydantic import SecretStr

from vault_core.credential_types.shape import Field, Fields
from vault_core.errors import FieldError, ValueRefused

BULLETS = "••••"
MAX_CHARACTERS = 24_000
"""The longest field that is looked at; all fields of a value together have a limit of their own elsewhere."""

_SAFE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_MAX_UNKNOWN = 10

Read = TypeVar("Read")


class Fault(Exception):
    """What is wrong with a field, said without quoting it. `field` overrides the one being read."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Faults:
    """The faults of one value, gathered so that one refusal names every field."""

    def __init__(self, type_name: str) -> None:
        self._type_name = type_name
        self._errors: list[FieldError] = []

    def add(self, field: str, message: str) -> None:
        """Note that the field is at fault."""
        self._errors.append(FieldError(f"fields.{field}", message))

    def attempt(self, field: str, read: Callable[[], Read]) -> Read | None:
        """Return what `read` returns; when it raises `Fault`, note that under the field and return None."""
        try:
            return read()
        except Fault as fault:
            self.add(fault.field or field, fault.message)
            return None

    def refuse_any(self) -> None:
        """Raise `ValueRefused` when a fault was noted.

        Call it outside of any `except`, so that the refusal carries no exception that could hold the value.
        """
        if self._errors:
            raise refused(self._type_name, *self._errors)


def refused(type_name: str, *errors: FieldError) -> ValueRefused:
    """Return the refusal of a value for these reasons."""
    reasons = " ".join(f"`{error.field}` {error.message}." for error in errors)
    return ValueRefused(f"This is not a usable value for the type {type_name}. {reasons}", errors)


class PrimaryValue:
    """Reading and rendering for the types whose single `value` is their primary field."""

    fields: tuple[Field, ...]

    def parse(self, value: SecretStr) -> Fields:
        """Return the value as the primary field."""
        return {self.fields[0].name: value}

    def render(self, fields: Fields) -> SecretStr:
        """Return the primary field."""
        return fields[self.fields[0].name]


def read_fields(type_name: str, spec: Sequence[Field], fields: Fields) -> dict[str, str]:
    """Return the plain text of the given fields.

    `ValueRefused` names each field that is unknown, missing, empty, over `MAX_CHARACTERS` or not Unicode.
    """
    faults = Faults(type_name)
    known = {field.name for field in spec}
    for name in [name for name in fields if name not in known][:_MAX_UNKNOWN]:
        _add_unknown(faults, name, known)
    for field in spec:
        if field.name in fields:
            faults.attempt(field.name, partial(check_text, fields[field.name]))
        elif field.required:
            faults.add(field.name, "is missing")
    faults.refuse_any()
    return {name: text.get_secret_value() for name, text in fields.items()}


def _add_unknown(faults: Faults, name: str, known: set[str]) -> None:
    allowed = f"the type has {', '.join(sorted(known))}"
    if _SAFE_NAME.fullmatch(name):
        faults.add(name, f"is not a field of this type; {allowed}")
    else:
        faults.add("*", f"holds an unknown field; {allowed}")


def check_text(given: SecretStr) -> None:
    """Refuse what is empty, over `MAX_CHARACTERS`, or not Unicode."""
    text = given.get_secret_value()
    if not text:
        raise Fault("is empty")
    if len(text) > MAX_CHARACTERS:
        raise Fault(f"is longer than {MAX_CHARACTERS} characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Fault("holds half of a surrogate pair, which is not Unicode text")


def check_one_line(text: str) -> None:
    """Refuse control characters, and white space at either end: a sign of a slip in copying."""
    if text != text.strip():
        raise Fault("begins or ends with white space; give it without")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise Fault("holds control characters")


def instant_text(at: datetime) -> str:
    """Return an aware instant as ISO 8601 in UTC with `Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""The fields that a vendor defines: what a definition must be, and what values fit it. Pure rules.

A vendor's labels, hints and choices are shown to people of other tenants, and its patterns run on their values. No
refusal quotes a value.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from vault_core.credential_requests import TypeName
from vault_core.credential_types import TYPES
from vault_core.credential_types.given import MAX_CHARACTERS, Fault, check_one_line, check_text
from vault_core.echoes import visible
from vault_core.errors import FieldError, InvalidInput, ValueRefused
from vault_core.field_kinds import KINDS, KindName, check_no_sign_in
from vault_core.field_patterns import MAX_PATTERN, check_pattern, matches
from vault_core.wire import MAX_ERRORS, WireModel, shown_name, wire_name

_MAX_UNKNOWN = 10
_SHOWN_CHOICES = 10
_TYPES_THAT_FIT = {
    **dict.fromkeys(("privateKey", "certificate", "chain"), ("pem",)),
    "url": ("password", "text"),  # of a database, and so not one of http
}
"""The types that the values of a credential type's field can have, where not every one does."""


def _check_shown(text: str) -> str:
    if visible(text) != text:
        raise ValueError("must be one line, without control or invisible characters and needless spaces")
    return text


Length = Annotated[int, Field(ge=1, le=MAX_CHARACTERS)]
Choice = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_check_shown)]


class FieldDefinition(WireModel):
    """A field as a vendor defines it. Lengths are in characters; a `pattern` must match the whole value."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,49}$")]
    label: Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_check_shown)]
    hint: Annotated[str, StringConstraints(max_length=255), AfterValidator(_check_shown)] | None = None
    type: KindName
    required: bool = True
    secret: bool = True
    pattern: (
        Annotated[str, StringConstraints(min_length=1, max_length=MAX_PATTERN), AfterValidator(_check_shown)] | None
    ) = None
    min_length: Length | None = None
    max_length: Length | None = None
    choices: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=100)] | None = None
    default: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)] | None = None

    @property
    def longest(self) -> int:
        """The most characters that a value can have."""
        return self.max_length or KINDS[self.type].longest


FieldDefinitions = Annotated[tuple[FieldDefinition, ...], Field(min_length=1, max_length=50)]


def check_definitions(fields: Sequence[FieldDefinition], credential_type: TypeName | None) -> None:
    """Return when the fields are consistent and fit the credential type that they build on, if there is one.

    `InvalidInput` names what is at fault, such as `fields.3.pattern`, 20 at most. Each pattern takes up to 0.3
    seconds of CPU; the first one at fault is the last that is looked at.
    """
    faults = [*_repeated_ids(fields), *(_faults_with_type(fields, credential_type) if credential_type else ())]
    for number, field in enumerate(fields):
        found = _faults_in(field)
        faults += (FieldError(f"fields.{number}.{wire_name(part)}", message) for part, message in found)
        if len(faults) >= MAX_ERRORS or any(part == "pattern" for part, _ in found):
            break  # a pattern at fault takes long to be found out
    if faults:
        raise InvalidInput("Correct the fields that are named and send the request again.", tuple(faults[:MAX_ERRORS]))


def accept(fields: Sequence[FieldDefinition], given: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
    """Return the values, in the order of the fields, with the defaults of those that were left out.

    `ValueRefused` names each field at fault, as `fields.apiKey`, and ends with the vendor's hint.
    """
    defaults = {field.id: SecretStr(field.default) for field in fields if field.default is not None}
    values = {**defaults, **given}
    found = (_fault_of(field, values.get(field.id)) for field in fields)
    faults = (*_unknown(fields, given), *(fault for fault in found if fault))
    if faults:
        raise ValueRefused("The values do not fit the configuration; correct the fields that are named.", faults)
    return {field.id: values[field.id] for field in fields if field.id in values}


def wrong_values(fields: Sequence[FieldDefinition]) -> dict[str, SecretStr]:
    """Return random values, which no system can know, for every field; where there is a default, that.

    They are of the type and length of their fields, but do not follow patterns. A field with choices has one of them,
    which may be right.
    """
    return {field.id: SecretStr(_wrong(field)) for field in fields}


def _wrong(field: FieldDefinition) -> str:
    if field.default is not None:
        return field.default
    if field.choices:
        return secrets.choice(field.choices)
    kind = KINDS[field.type]
    return kind.wrong(min(max(kind.usual, field.min_length or 1), field.longest))


def _fault_of(field: FieldDefinition, value: SecretStr | None) -> FieldError | None:
    if value is None and not field.required:
        return None
    try:
        _check(field, value or SecretStr(""))
    except Fault as fault:
        hint = f" ({field.hint})" if field.hint else ""
        return FieldError(f"fields.{field.id}", fault.message + hint)
    return None


def _check(field: FieldDefinition, value: SecretStr) -> None:
    text, kind = value.get_secret_value(), KINDS[field.type]
    if not text:
        raise Fault(f"is required: {field.label}" if field.required else "is empty: leave it out, or give it a value")
    check_text(value)
    if kind.one_line:
        check_one_line(text)
    if field.min_length is not None and len(text) < field.min_length:
        raise Fault(f"must have at least {_characters(field.min_length)}")
    if len(text) > field.longest:
        raise Fault(f"must have at most {_characters(field.longest)}")
    if field.choices and text not in field.choices:
        raise Fault(f"must be one of {_listed(field.choices)}")
    kind.check(text)
    if field.type == "url" and not field.secret:
        check_no_sign_in(text)
    if field.pattern is not None and not matches(field.pattern, text):
        raise Fault(f"must match the pattern {field.pattern}")


def _characters(count: int) -> str:
    return f"{count} character{'' if count == 1 else 's'}"


def _listed(choices: Sequence[str]) -> str:
    if len(choices) > _SHOWN_CHOICES:
        return f"the {len(choices)} choices of the configuration"
    return ", ".join(choices)


def _unknown(fields: Sequence[FieldDefinition], given: Mapping[str, SecretStr]) -> Iterator[FieldError]:
    ids = [field.id for field in fields]
    shown = dict.fromkeys(shown_name(name) for name in given if name not in ids)
    for name in list(shown)[:_MAX_UNKNOWN]:
        yield FieldError(f"fields.{name}", f"is not a field of this configuration; it has {', '.join(ids)}")


def _faults_in(field: FieldDefinition) -> list[tuple[str, str]]:
    """Return what is wrong with a definition, each with the part of it that is at fault."""
    faults = [*_shape_faults(field), *_length_faults(field)]
    # What comes now builds on the parts before.
    if not faults and field.pattern is not None:
        faults += _pattern_faults(field.pattern, field.longest)
    if not faults and field.default is not None:
        faults += _default_faults(field, field.default)
    return faults


def _shape_faults(field: FieldDefinition) -> Iterator[tuple[str, str]]:
    kind = KINDS[field.type]
    if (field.type == "choice") != (field.choices is not None):
        yield "choices", "is required for the type choice, and for no other"
    if len(set(field.choices or ())) < len(field.choices or ()):
        yield "choices", "must not hold one twice"
    if kind.always_secret and not field.secret:
        yield "secret", f"must be true for the type {field.type}"
    if field.pattern is not None and not kind.has_pattern:
        yield "pattern", f"is not possible for the type {field.type}"
    if field.default is not None and field.secret:
        yield "default", "is possible only for a field that is not secret: everyone who sees the field can read it"


def _length_faults(field: FieldDefinition) -> Iterator[tuple[str, str]]:
    kind = KINDS[field.type]
    for part, length in (("min_length", field.min_length), ("max_length", field.max_length)):
        if length is not None and not kind.has_lengths:
            yield part, f"is not possible for the type {field.type}"
        elif length is not None and length > kind.longest:
            yield part, f"must be at most {kind.longest} for the type {field.type}"
    if not kind.has_lengths or field.max_length is None:
        return
    if field.max_length < kind.least_room:
        yield "max_length", f"must be at least {kind.least_room} for the type {field.type}"
    if (field.min_length or 0) > field.max_length:
        yield "min_length", "must not be greater than maxLength"


def _pattern_faults(pattern: str, longest: int) -> Iterator[tuple[str, str]]:
    try:
        check_pattern(pattern, longest)
    except Fault as fault:
        yield "pattern", fault.message


def _default_faults(field: FieldDefinition, default: str) -> Iterator[tuple[str, str]]:
    try:
        _check(field, SecretStr(default))
    except Fault as fault:
        yield "default", f"is refused by the field itself: it {fault.message}"


def _repeated_ids(fields: Sequence[FieldDefinition]) -> Iterator[FieldError]:
    seen = set[str]()
    for number, field in enumerate(fields):
        if field.id.lower() in seen:
            yield FieldError(f"fields.{number}.id", "is the id of an earlier field, without regard to case")
        seen.add(field.id.lower())


def _faults_with_type(fields: Sequence[FieldDefinition], type_name: TypeName) -> Iterator[FieldError]:
    by_folded_id = {field.id.lower(): (f"fields.{number}", field) for number, field in enumerate(fields)}
    for wanted in TYPES[type_name].fields:
        place, field = by_folded_id.get(wanted.name.lower(), ("", None))
        if field is None:
            if wanted.required:
                yield FieldError("fields", f"must have {wanted.name}, which the type {type_name} requires")
            continue
        if field.id != wanted.name:
            yield FieldError(f"{place}.id", f"must be written {wanted.name}, as the type {type_name} has it")
        if wanted.required and not field.required:
            yield FieldError(f"{place}.required", f"must be true: the type {type_name} requires it")
        if wanted.secret and not field.secret:
            yield FieldError(f"{place}.secret", f"must be true: in the type {type_name} it is secret")
        fitting = _TYPES_THAT_FIT.get(wanted.name)
        if fitting and field.type not in fitting:
            yield FieldError(f"{place}.type", f"must be {' or '.join(fitting)} for the type {type_name}")

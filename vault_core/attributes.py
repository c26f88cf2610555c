"""The named parts of a credential, and the rules of their life. No value, no store, no clock.

The fields of a type are attributes; a credential of the type `generic-secret` may bring attributes of its own instead.
A *standard* attribute has one value for all, which is kept in the credential's version. A *user-provided* one has a
value per consumer, which that consumer gives and nobody else can read.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from vault_core import credential_types
from vault_core.credential_types.given import BULLETS, Faults, read_fields, refused
from vault_core.credential_types.shape import Accepted, Details, Fields
from vault_core.errors import FieldError, InvalidInput
from vault_core.names import check_name, fold
from vault_core.records import Record
from vault_core.wire import WireModel

MAX_ATTRIBUTES = 50
OWN_TYPE: Final = "generic-secret"
"""The one type whose credentials may bring attributes of their own."""

AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(check_name)]
AttributeDescription = Annotated[str, StringConstraints(max_length=255)]


class ValueMark(Record):
    """That an attribute has a value, since when and from whom; `revision` counts its changes. Never the value."""

    revision: int = 0
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class Attribute(Record):
    """A named part of a credential. `value` marks a standard value; `id` names it in the document of values.

    `masked` values are left out where all values are read at once; `password_flag` says that a value must go into
    password fields only. `revision` counts changes of the definition.
    """

    id: str
    name: str
    description: str = ""
    user_provided: bool = False
    masked: bool = True
    password_flag: bool = False
    revision: int = 0
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    value: ValueMark | None = None


class AttributeDefinition(WireModel):
    """An attribute as a caller defines it."""

    name: AttributeName
    description: AttributeDescription = ""
    user_provided: bool = False
    masked: bool = True
    password_flag: bool = False


class KnownAttribute(AttributeDefinition):
    """An attribute of a credential's own, with the id that names its values."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class ChangedAttribute(AttributeDefinition):
    """An attribute as it is to be: with the `id`, or else the name, of one that is there, that one is changed."""

    id: Annotated[str | None, StringConstraints(max_length=64)] = None


KnownAttributes = Annotated[tuple[KnownAttribute, ...], Field(min_length=1, max_length=MAX_ATTRIBUTES)]
Definitions = Annotated[tuple[AttributeDefinition, ...], Field(min_length=1, max_length=MAX_ATTRIBUTES)]
ChangedAttributes = Annotated[tuple[ChangedAttribute, ...], Field(min_length=1, max_length=MAX_ATTRIBUTES)]


class OwnAttributes:
    """What a credential's own attributes accept, in the shape that every type of credential has."""

    name = OWN_TYPE

    def __init__(self, attributes: Sequence[Attribute]) -> None:
        self._all_names = {one.id: one.name for one in attributes}
        self._names = {one.id: one.name for one in attributes if not one.user_provided}
        self.fields = tuple(
            credential_types.Field(one.id, one.description, required=False, secret=one.masked)
            for one in attributes
            if not one.user_provided
        )

    def parse(self, value: SecretStr) -> Fields:
        """Return the value as that of the only standard attribute; `ValueRefused` when there are several, or none."""
        if len(self.fields) != 1:
            raise refused(self.name, FieldError("value", "cannot be told apart: name the attributes in `fields`"))
        return {self.fields[0].name: value}

    def render(self, fields: Fields) -> SecretStr:
        """Return the value of the only attribute, or the JSON text of several by their names."""
        plain = {
            self._all_names[key]: text.get_secret_value() for key, text in fields.items() if key in self._all_names
        }
        return SecretStr(next(iter(plain.values())) if len(plain) == 1 else json.dumps(plain, ensure_ascii=False))

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept any text that is not empty for each attribute; attributes may be left out."""
        # Under their names, which are what a refusal tells.
        spec = [credential_types.Field(name, "", required=False) for name in self._names.values()]
        read_fields(self.name, spec, {self._names[key]: text for key, text in fields.items()})
        return Accepted(fields, {})

    def essence(self, fields: Fields) -> SecretStr:
        """Return what a value is recognised by: all that is in it."""
        plain = {key: fields[key].get_secret_value() for key in sorted(fields)}
        return SecretStr(json.dumps(plain, ensure_ascii=False))

    def display(self, details: Details) -> str:
        """Return bullets: nothing is known of the values."""
        return BULLETS

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept any values; that they differ is checked for all types alike."""


def of_type(type_name: str, by: str, now: datetime) -> tuple[Attribute, ...]:
    """Return the fields of a type as the attributes of a credential."""
    return tuple(
        Attribute(
            id=field.name,
            name=field.name,
            description=field.description,
            masked=field.secret,
            created_at=now,
            created_by=by,
            updated_at=now,
            updated_by=by,
        )
        for field in credential_types.TYPES[type_name].fields
    )


def are_own(type_name: str, attributes: Sequence[Attribute]) -> bool:
    """Return whether the attributes are the credential's own, not the fields of its type."""
    known = {field.name for field in credential_types.TYPES[type_name].fields}
    return not all(one.id in known for one in attributes)


def defined(wanted: Sequence[AttributeDefinition], by: str, now: datetime) -> tuple[Attribute, ...]:
    """Return new attributes; `InvalidInput` when two have one name."""
    return redefined((), [ChangedAttribute(**one.model_dump()) for one in wanted], by, now)


def restored(wanted: Sequence[KnownAttribute], by: str, now: datetime) -> tuple[Attribute, ...]:
    """Return new attributes under ids that they had elsewhere; `InvalidInput` when two have one id, or one name."""
    if len({one.id for one in wanted}) < len(wanted):
        raise InvalidInput("Give each attribute an id of its own.", (FieldError("attributes", "hold an id twice"),))
    new = defined([AttributeDefinition(**one.model_dump(exclude={"id"})) for one in wanted], by, now)
    return tuple(one.but(id=known.id) for one, known in zip(new, wanted, strict=True))


def redefined(
    present: Sequence[Attribute], wanted: Sequence[ChangedAttribute], by: str, now: datetime
) -> tuple[Attribute, ...]:
    """Return the attributes as wanted: those named by an id, or without one by their name, are kept or changed.

    Others that are wanted are new, others that are present go. One that is no longer what it was (standard or
    user-provided) loses its values. Raises `InvalidInput` when two have one name, or an id is unknown.
    """
    known = {one.id: one for one in present}
    _check_distinct(wanted, known)
    by_id = {one.id for one in wanted}
    # Clients that do not send ids back mean the attribute that they name: its values must not be lost unseen.
    named = {fold(one.name): one for one in present if one.id not in by_id}
    before = [known.get(one.id) if one.id else named.get(fold(one.name)) for one in wanted]
    return tuple(_redefined(old, new, by, now) for old, new in zip(before, wanted, strict=True))


def _redefined(before: Attribute | None, wanted: ChangedAttribute, by: str, now: datetime) -> Attribute:
    given = wanted.model_dump(exclude={"id"})
    if before is None:
        return Attribute(id=secrets.token_hex(8), **given, created_at=now, created_by=by, updated_at=now, updated_by=by)
    if given == {name: getattr(before, name) for name in given}:
        return before
    value = before.value if wanted.user_provided == before.user_provided else None
    return before.but(**given, value=value, revision=before.revision + 1, updated_at=now, updated_by=by)


def _check_distinct(wanted: Sequence[ChangedAttribute], known: Mapping[str, Attribute]) -> None:
    names: set[str] = set()
    ids: set[str] = set()
    faults = []
    for place, one in enumerate(wanted):
        if fold(one.name) in names:
            faults.append(
                FieldError(f"attributes.{place}.name", "is the name of another attribute, regardless of case")
            )
        if one.id and (one.id not in known or one.id in ids):
            faults.append(FieldError(f"attributes.{place}.id", "is no attribute of this credential, or given twice"))
        names.add(fold(one.name))
        ids.add(one.id or "")
    if faults:
        raise InvalidInput("Give each attribute a name of its own, and ids only as you read them.", tuple(faults))


def marked(
    attributes: Sequence[Attribute], held: Collection[str], given: Collection[str], by: str, now: datetime
) -> tuple[Attribute, ...]:
    """Return the attributes knowing which standard values are `held`, and which of those were `given` just now."""
    return tuple(one.but(value=_mark(one, held, given, by, now)) for one in attributes)


def _mark(
    attribute: Attribute, held: Collection[str], given: Collection[str], by: str, now: datetime
) -> ValueMark | None:
    if attribute.user_provided or attribute.id not in held:
        return None
    return set_now(attribute.value, by, now) if attribute.id in given or not attribute.value else attribute.value


def set_now(mark: ValueMark | None, by: str, now: datetime) -> ValueMark:
    """Return the mark of a value that was just set, for the first time when it had none."""
    if mark is None:
        return ValueMark(created_at=now, created_by=by, updated_at=now, updated_by=by)
    return mark.but(revision=mark.revision + 1, updated_at=now, updated_by=by)


def by_id(attributes: Sequence[Attribute], named: Fields) -> dict[str, SecretStr]:
    """Return standard values that were given by the attributes' names, under the attributes' ids.

    `ValueRefused` names what is no attribute, and what only its consumers can give.
    """
    return _by_id(attributes, named, user_provided=False, otherwise="is given by each consumer for itself")


def own_by_id(attributes: Sequence[Attribute], named: Fields) -> dict[str, SecretStr]:
    """Return a consumer's own values that were given by the attributes' names, under the attributes' ids.

    `ValueRefused` names what is no attribute, what has one value for all, and what is no usable text.
    """
    given = _by_id(attributes, named, user_provided=True, otherwise="has one value for all, set by rotating")
    check_own(attributes, given)
    return given


def check_own(attributes: Sequence[Attribute], given: Fields) -> None:
    """Return when a consumer's own values, given by the attributes' ids, are usable texts; else `ValueRefused`."""
    names = {one.id: one.name for one in attributes if one.id in given}
    spec = [credential_types.Field(name, "") for name in names.values()]
    read_fields(OWN_TYPE, spec, {names[key]: text for key, text in given.items()})


def _by_id(
    attributes: Sequence[Attribute], named: Fields, *, user_provided: bool, otherwise: str
) -> dict[str, SecretStr]:
    known = {fold(one.name): one for one in attributes}
    faults = Faults(OWN_TYPE)
    found: dict[str, SecretStr] = {}
    for name, text in named.items():
        attribute = known.get(fold(name))
        if attribute is None:
            faults.add("*", f"names an unknown attribute; there are {', '.join(one.name for one in attributes)}")
        elif attribute.user_provided is not user_provided:
            faults.add(attribute.name, otherwise)
        else:
            found[attribute.id] = text
    faults.refuse_any()
    return found


def by_name(attributes: Sequence[Attribute], values: Fields) -> dict[str, SecretStr]:
    """Return values kept under the attributes' ids under the attributes' names, in the attributes' order."""
    return {one.name: values[one.id] for one in attributes if one.id in values}

"""What a credential accepts that was made from a vendor's configuration, in the shape that every type has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from pydantic import SecretStr

from vault_core.attributes import Attribute, OwnAttributes
from vault_core.credential_types import TYPES, Accepted, CredentialType, Fields
from vault_core.credential_types.shape import Details


class ConfiguredAttributes(OwnAttributes):
    """The rules of the type that the configuration builds on, for the fields of that type; any text for the others.

    The configuration's own rules come before these: see `configuration_fields.accept`.
    """

    def __init__(self, type_name: str, attributes: Sequence[Attribute]) -> None:
        super().__init__(attributes)
        self.name = type_name
        base, ids = TYPES[type_name], {one.id for one in attributes}
        builds_on_it = all(field.name in ids for field in base.fields if field.required)
        self._base: CredentialType | None = base if builds_on_it else None
        self._of_base = {field.name for field in base.fields} if self._base else set()
        self._adds_to_it = bool(ids - self._of_base)

    def parse(self, value: SecretStr) -> Fields:
        """Return the value as the type reads it, or as that of the only attribute."""
        return super().parse(value) if self._base is None or self._adds_to_it else self._base.parse(value)

    def render(self, fields: Fields) -> SecretStr:
        """Return the value as the type renders it, or the JSON text of several attributes."""
        return super().render(fields) if self._base is None or self._adds_to_it else self._base.render(fields)

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept what the type accepts of its fields, and any text for the others."""
        accepted = super().accept(fields, now)
        if self._base is None:
            return accepted
        of_type = self._base.accept({key: text for key, text in fields.items() if key in self._of_base}, now)
        return Accepted({**fields, **of_type.fields}, of_type.details, of_type.ends_at)

    def builds_on(self, ids: Collection[str]) -> bool:
        """Return whether any of these attributes is a field of the type, which has a say in what may replace it."""
        return not self._of_base.isdisjoint(ids)

    def display(self, details: Details) -> str:
        """Return how the type shows a value, or bullets."""
        return self._base.display(details) if self._base else super().display(details)

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept what may replace a value of the type."""
        if self._base:
            self._base.check_replacement(old, new, allow_target_change=allow_target_change)

    def essence(self, fields: Fields) -> SecretStr:
        """Return what a value is recognised by: as the type says, unless there is more to it."""
        return super().essence(fields) if self._base is None or self._adds_to_it else fields[self._base.fields[0].name]

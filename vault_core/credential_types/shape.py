"""The shape that every credential type has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import SecretStr

Fields = Mapping[str, SecretStr]
Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a type. `secret` fields are masked wherever they are shown without being asked for by name."""

    name: str
    description: str
    required: bool = True
    secret: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """A value that its type accepted.

    `fields` is what is stored. `details` is what the vault worked out and may show: JSON values only, never
    secret. `ends_at` is the value's own end (a token's `expiresAt`, a certificate's `notAfter`), aware UTC.
    """

    fields: Fields
    details: Details
    ends_at: datetime | None = None


class CredentialType(Protocol):
    """What a module of this package offers as its `TYPE`."""

    name: str
    fields: tuple[Field, ...]  # the primary field first

    def parse(self, value: SecretStr) -> Fields:
        """Return the fields that a caller's single `value` stands for; `ValueRefused` when it cannot be read."""
        ...

    def render(self, fields: Fields) -> SecretStr:
        """Return the single `value` of these fields: what `parse` would read back."""
        ...

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Check the fields and work out the details; `ValueRefused` names each field at fault and why."""
        ...

    def display(self, details: Details) -> str:
        """Return the form that tells one credential from another without showing the value."""
        ...

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Return when a value with the details `new` may replace one with `old`; `ValueRefused` otherwise.

        That the values differ is checked elsewhere, for all types alike, by their fingerprints.
        `allow_target_change` is the owner's word that a new driver or host is meant.
        """
        ...

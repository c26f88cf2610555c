"""`generic-secret`: any text that is not empty."""

from __future__ import annotations

from datetime import datetime

from vault_core.credential_types.given import BULLETS, PrimaryValue, read_fields
from vault_core.credential_types.shape import Accepted, CredentialType, Details, Field, Fields


class GenericSecret(PrimaryValue):
    """Any text; the vault works out nothing from it."""

    name = "generic-secret"
    fields: tuple[Field, ...] = (Field("value", "The secret"),)

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept any text that is not empty, line breaks included."""
        read_fields(self.name, self.fields, fields)
        return Accepted(fields, {})

    def display(self, details: Details) -> str:
        """Return bullets: nothing is known of the value."""
        return BULLETS

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept any value; that it differs is checked for all types alike."""


TYPE: CredentialType = GenericSecret()

"""The ancestor of everything that is kept as a row's document."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from vault_core.wire import wire_name


class Record(BaseModel):
    """A kept record. It is never changed: a rule returns a new one. It never holds a value."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        populate_by_name=True,
        extra="forbid",
        hide_input_in_errors=True,
        frozen=True,
    )

    def document(self) -> dict[str, Any]:
        """Return the record as the JSON object that is stored."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Return the record that was stored as this JSON object."""
        return cls.model_validate(document)

    def but(self, **changes: Any) -> Self:
        """Return this record with some fields changed."""
        return self.model_copy(update=changes)

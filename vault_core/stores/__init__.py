"""The ports: what the services ask of a table and of a secret store, and what they are promised.

A `Table` keeps rows; `Secrets` keeps values. Neither knows a rule of the vault. The adapters are
`memory` (fast tests), `tables` (Azure Tables) and `key_vault` (Azure Key Vault); all pass the contract
suite in `tests/stores`.

Every method may raise `Unavailable` when the store is down, throttled or too slow. After that it is unknown
whether a write was applied. An outage never looks like an absence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import SecretStr

Document = Mapping[str, Any]
Column = str | int | bool | datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON document plus the few columns that a query needs.

    `etag` is empty until the row was read or written; it names the exact state of the row. Keys are at most
    512 characters without `/ \\ # ?` and control characters. The document is at most 500 KB as ASCII JSON.
    """

    partition: str
    key: str
    document: Document
    columns: Mapping[str, Column] = field(default_factory=dict)
    etag: str = ""

    def with_document(self, document: Document) -> Row:
        return replace(self, document=document)


@dataclass(frozen=True, slots=True)
class Insert:
    """Add the row; `RowExists` when its key is taken."""

    row: Row


@dataclass(frozen=True, slots=True)
class Replace:
    """Put the row in place of the one with `row.etag`; `RowChanged` when that one is changed or gone."""

    row: Row


@dataclass(frozen=True, slots=True)
class Put:
    """Add the row or put it in place of whatever is there."""

    row: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the row with this etag; `RowChanged` when it is changed or gone."""

    row: Row


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove the row whatever its state. Alone in a commit, absence is success; among others it is `RowChanged`."""

    partition: str
    key: str


Change = Insert | Replace | Put | Delete | Discard


@dataclass(frozen=True, slots=True)
class Compare:
    """A column compared with a value. A row that lacks the column does not match."""

    column: str
    operator: Literal["eq", "ne", "lt", "le", "gt", "ge"]
    value: Column


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple[Condition, ...]


Condition = Compare | AllOf | AnyOf
"""What rows must meet: at most 11 comparisons in all, of which `ne` counts twice."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The rows of one partition with `start <= key < end`, and `key > after` when that is given."""

    partition: str
    start: str
    end: str
    after: str = ""


@dataclass(frozen=True, slots=True)
class Partitions:
    """The rows of all partitions with `start <= partition < end`, behind the row `after` when that is given."""

    start: str
    end: str
    after: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in ascending order of partition, then key. Empty only when `more` is false."""

    rows: Sequence[Row]
    more: bool


class Table(Protocol):
    """Rows by partition and key. Keys are compared as their code units, with case.

    A conflict is reported only when someone else's write caused it: a retry whose first try was applied
    without an answer is a success.
    """

    async def read(self, partition: str, key: str) -> Row:
        """Return the row as it is now; `RowMissing` when there is none."""
        ...

    async def commit(self, *changes: Change) -> list[Row]:
        """Apply up to 100 changes of one partition, all or none; return the written rows with their new etags.

        `RowExists` or `RowChanged`, with the key at fault, when a change does not fit what is there. Removed rows
        are not among the returned.
        """
        ...

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        """Return up to `limit` (1 to 1,000) rows of the span that meet the condition."""
        ...


class Secrets(Protocol):
    """Values by name. A name is written once and never used again, so what it names never changes."""

    def new_name(self, tenant: str) -> str:
        """Return a name that was never used: opaque, lower-case, and naming the vault that will hold it."""
        ...

    async def write(self, name: str, value: SecretStr) -> None:
        """Keep the value (1 to 25,000 bytes of UTF-8); `SecretMissing` when the name was deleted.

        Writing the same value again is harmless.
        """
        ...

    async def read(self, name: str) -> SecretStr:
        """Return the value; `SecretMissing` when absent or deleted, `SecretDisabled` when disabled."""
        ...

    async def disable(self, name: str) -> None:
        """Make the value unreadable but keep it. `SecretMissing` when absent or deleted. Repeatable."""
        ...

    async def delete(self, name: str) -> None:
        """Remove the value. Absence is success."""
        ...

    async def ping(self) -> None:
        """Return when every vault answers; `Unavailable` otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything the vault keeps: who reads `docs/data.md` finds each row of each of these."""

    vault: Table
    leases: Table
    due: Table
    audit: Table
    catalog: Table
    secrets: Secrets

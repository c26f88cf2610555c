"""Stores in memory, for tests: with the promises and the cost of a query of the cloud, without the wait."""

from __future__ import annotations

import hashlib
import json
import uuid
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import eq, ge, gt, le, lt, ne

from pydantic import SecretStr

from vault_core.errors import RowChanged, RowExists, RowMissing, SecretDisabled, SecretMissing, StoreConflict
from vault_core.stores import (
    AllOf,
    AnyOf,
    Change,
    Column,
    Compare,
    Condition,
    Delete,
    Discard,
    Insert,
    Keys,
    Page,
    Partitions,
    Replace,
    Row,
)
from vault_core.stores.limits import (
    check_changes,
    check_condition,
    check_key,
    check_limit,
    check_secret_name,
    check_secret_value,
    code_units,
    document_texts,
    plain_column,
    plain_columns,
    position,
    written_row,
)

_OPERATORS = {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row with its document as text, so that nothing is shared with who wrote or reads it."""

    row: Row
    text: str

    def copy(self) -> Row:
        row = self.row
        return Row(row.partition, row.key, json.loads(self.text), dict(row.columns), row.etag)


@dataclass(slots=True)
class _Partition:
    name: str
    rows: dict[bytes, _Kept] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)

    def put(self, kept: _Kept) -> None:
        at = code_units(kept.row.key)
        if at not in self.rows:
            insort(self.order, at)
        self.rows[at] = kept

    def remove(self, key: str) -> None:
        at = code_units(key)
        if self.rows.pop(at, None):
            del self.order[bisect_left(self.order, at)]

    def behind(self, key: str) -> Iterator[_Kept]:
        first = bisect_right(self.order, code_units(key))
        return (self.rows[self.order[index]] for index in range(first, len(self.order)))

    def between(self, span: Keys) -> Iterator[_Kept]:
        first = bisect_left(self.order, code_units(span.start))
        if span.after:
            first = max(first, bisect_right(self.order, code_units(span.after)))
        last = bisect_left(self.order, code_units(span.end))
        return (self.rows[self.order[index]] for index in range(first, last))


class MemoryTable:
    """A `Table` in this process. Keys are sorted: a query costs what lies in its span, not what is kept."""

    def __init__(self) -> None:
        self._partitions: dict[bytes, _Partition] = {}
        self._order: list[bytes] = []
        self._writes = 0

    @property
    def writes(self) -> int:
        """How often a row was written or removed."""
        return self._writes

    def copy(self) -> MemoryTable:
        """Return a table that holds the same, and goes its own way."""
        twin = MemoryTable()
        twin._partitions = {
            at: _Partition(one.name, dict(one.rows), list(one.order)) for at, one in self._partitions.items()
        }
        twin._order, twin._writes = list(self._order), self._writes
        return twin

    async def read(self, partition: str, key: str) -> Row:
        check_key(partition, key)
        kept = self._find(partition, key)
        if kept is None:
            raise RowMissing(key)
        return kept.copy()

    async def commit(self, *changes: Change) -> list[Row]:
        check_changes(changes)
        rows = [row for change in changes if (row := written_row(change))]
        texts = document_texts(rows)
        columns = [plain_columns(row.columns) for row in rows]
        for change in changes:
            self._check_fits(change, alone=len(changes) == 1)
        for change in changes:
            if not written_row(change):
                self._remove(*position(change))
        return [self._put(*given) for given in zip(rows, texts, columns, strict=True)]

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        check_limit(limit)
        check_condition(where)
        kept = self._within(span) if isinstance(span, Keys) else self._across(span)
        found = [k.copy() for k in islice((k for k in kept if not where or _meets(k.row, where)), limit + 1)]
        return Page(found[:limit], more=len(found) > limit)

    def _find(self, partition: str, key: str) -> _Kept | None:
        found = self._partitions.get(code_units(partition))
        return found.rows.get(code_units(key)) if found else None

    def _check_fits(self, change: Change, *, alone: bool) -> None:
        partition, key = position(change)
        kept = self._find(partition, key)
        conflict: type[StoreConflict] | None = None
        match change:
            case Insert() if kept:
                conflict = RowExists
            case Replace(row) | Delete(row) if kept is None or kept.row.etag != row.etag:
                conflict = RowChanged
            case Discard() if kept is None and not alone:
                conflict = RowChanged
        if conflict:
            raise conflict(key)

    def _put(self, row: Row, text: str, columns: Mapping[str, Column]) -> Row:
        at = code_units(row.partition)
        if at not in self._partitions:
            self._partitions[at] = _Partition(row.partition)
            insort(self._order, at)
        self._writes += 1
        written = replace(row, etag=f'W/"{self._writes}"')
        self._partitions[at].put(_Kept(replace(written, columns=columns), text))
        return written

    def _remove(self, partition: str, key: str) -> None:
        at = code_units(partition)
        if found := self._partitions.get(at):
            self._writes += 1
            found.remove(key)
            if not found.rows:
                del self._partitions[at]
                del self._order[bisect_left(self._order, at)]

    def _within(self, span: Keys) -> Iterator[_Kept]:
        found = self._partitions.get(code_units(span.partition))
        return found.between(span) if found else iter(())

    def _across(self, span: Partitions) -> Iterator[_Kept]:
        first = bisect_left(self._order, code_units(span.start))
        last = bisect_left(self._order, code_units(span.end))
        partition, key = span.after or ("", "")
        if span.after:
            first = max(first, bisect_left(self._order, code_units(partition)))
        for index in range(first, last):
            found = self._partitions[self._order[index]]
            yield from found.behind(key if found.name == partition else "")


def _meets(row: Row, condition: Condition) -> bool:
    match condition:
        case AllOf(conditions):
            return all(_meets(row, each) for each in conditions)
        case AnyOf(conditions):
            return any(_meets(row, each) for each in conditions)
        case Compare(column, operator, value):
            return _compares(row.columns.get(column), operator, plain_column(value))


def _compares(kept: Column | None, operator: str, value: Column) -> bool:
    if type(kept) is not type(value):
        return False
    if isinstance(kept, str) and isinstance(value, str):
        return bool(_OPERATORS[operator](code_units(kept), code_units(value)))
    return bool(_OPERATORS[operator](kept, value))


class MemorySecrets:
    """`Secrets` in this process."""

    def __init__(self) -> None:
        self._values: dict[str, SecretStr | None] = {}
        self._disabled: set[str] = set()

    def new_name(self, tenant: str) -> str:
        return f"memory/t{hashlib.sha256(tenant.encode()).hexdigest()[:12]}-{uuid.uuid4().hex}"

    async def write(self, name: str, value: SecretStr) -> None:
        check_secret_name(name)
        check_secret_value(value.get_secret_value())
        if self._values.get(name, value) is None:
            raise SecretMissing(name)
        self._values[name] = value
        self._disabled.discard(name)

    async def read(self, name: str) -> SecretStr:
        value = self._kept(name)
        if name in self._disabled:
            raise SecretDisabled(name)
        return value

    async def disable(self, name: str) -> None:
        self._kept(name)
        self._disabled.add(name)

    async def delete(self, name: str) -> None:
        check_secret_name(name)
        if name in self._values:
            self._values[name] = None

    async def ping(self) -> None:
        return None

    def _kept(self, name: str) -> SecretStr:
        check_secret_name(name)
        value = self._values.get(name)
        if value is None:
            raise SecretMissing(name)
        return value

"""What the contract tests say often: rows, and pages read to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from vault_core.stores import Column, Condition, Insert, Keys, Page, Partitions, Row, Table


def row(key: str, document: object = 0, *, partition: str = "p", **columns: Column) -> Row:
    return Row(partition, key, {"is": document}, columns)


async def added(table: Table, *rows: Row) -> list[Row]:
    return [written for each in rows for written in await table.commit(Insert(each))]


async def keys_of(table: Table, span: Keys | Partitions, where: Condition | None = None) -> list[str]:
    return [each.key for each in (await table.query(span, where=where)).rows]


async def pages_of(
    table: Table, span: Keys | Partitions, *, where: Condition | None = None, limit: int
) -> AsyncIterator[Page]:
    """Yield page after page, each behind the last row of the one before, as a service does."""
    while True:
        page = await table.query(span, where=where, limit=limit)
        yield page
        if not page.more:
            return
        last = page.rows[-1]
        if isinstance(span, Keys):
            span = replace(span, after=last.key)
        else:
            span = replace(span, after=(last.partition, last.key))

"""What every adapter of a `Table` refuses, because Azure Tables could not hold it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tests.stores.rows import added, keys_of, row
from vault_core.stores import Change, Column, Delete, Discard, Insert, Keys, Put, Replace, Row, Table


@pytest.mark.parametrize(
    "key", ["", "a/b", "a\\b", "a#b", "a?b", "a\nb", "a\x85b", "\x7f", "k" * 513, "🔑" * 257, "\ud800"]
)
async def test_a_key_that_azure_cannot_hold_is_refused(table: Table, key: str) -> None:
    for commit in (Insert(row(key)), Put(row("k", partition=key)), Discard("p", key)):
        with pytest.raises(ValueError):
            await table.commit(commit)
    with pytest.raises(ValueError):
        await table.read("p", key)
    with pytest.raises(ValueError):
        await table.read(key, "k")


@pytest.mark.parametrize(
    "document",
    [
        {"a": object()},
        {"a": float("nan")},
        {"a": b"x"},
        {"a": "x" * 500_000},
        {"a": "é" * 90_000},
        {"a": {1, 2}},
    ],
    ids=["object", "nan", "bytes", "long", "long-escaped", "set"],
)
async def test_a_document_that_is_no_json_or_too_long_is_refused_with_all_its_commit(
    table: Table, document: dict[str, object]
) -> None:
    with pytest.raises(ValueError) as refused:
        await table.commit(Insert(row("fine")), Insert(Row("p", "k", document)))
    assert refused.value.__cause__ is None
    assert await keys_of(table, Keys("p", "a", "z")) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001 - the naive one is the point
        {"n": 2**63},
        {"text": "x" * 1_025},
        {"document": "x"},
        {"Document2": "x"},
        {"write": "x"},
        {"rowKey": "x"},
        {"a b": 1},
        {f"c{n}": n for n in range(17)},
    ],
    ids=lambda columns: next(iter(columns)),
)
async def test_columns_that_no_row_can_hold_are_refused(table: Table, columns: dict[str, Column]) -> None:
    with pytest.raises(ValueError):
        await table.commit(Insert(Row("p", "k", {}, columns)))


async def test_changes_that_cannot_be_one_commit_are_refused(table: Table) -> None:
    [written] = await added(table, row("k"))
    impossible: list[list[Change]] = [
        [Insert(row(f"n{n}")) for n in range(101)],
        [Insert(row("a")), Insert(row("b", partition="q"))],
        [Put(row("a")), Discard("p", "a")],
        [Replace(replace(written, etag=""))],
        [Delete(replace(written, etag="*"))],
        [Insert(row(f"n{n}", "x" * 499_000)) for n in range(8)],
    ]
    for changes in impossible:
        with pytest.raises(ValueError):
            await table.commit(*changes)
    assert await keys_of(table, Keys("p", "a", "z")) == ["k"]

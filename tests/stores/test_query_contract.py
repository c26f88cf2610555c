"""What a `Table` promises about queries, held by every adapter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.stores.rows import added, keys_of, pages_of, row
from vault_core.stores import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Delete,
    Insert,
    Keys,
    Partitions,
    Put,
    Row,
    Table,
)

NOON = datetime(2026, 1, 1, 12, 0, 0, 500_000, UTC)
EVERY_KEY = Keys("p", " ", "\uffff")
EVERY_PARTITION = Partitions(" ", "\uffff")


async def test_a_span_of_keys_begins_with_its_start_and_stops_before_its_end(table: Table) -> None:
    await added(table, row("a"), row("b"), row("b:1"), row("b:2"), row("c"), row("b", partition="q"))
    assert await keys_of(table, Keys("p", "b", "c")) == ["b", "b:1", "b:2"]
    assert await keys_of(table, Keys("p", "b:", "b;")) == ["b:1", "b:2"]
    assert await keys_of(table, Keys("q", "a", "c")) == ["b"]
    assert await keys_of(table, Keys("nowhere", "a", "c")) == []
    assert await keys_of(table, Keys("p", "c", "a")) == []


async def test_a_span_of_keys_goes_on_behind_the_key_given(table: Table) -> None:
    await added(table, *(row(key) for key in "abcd"))
    assert await keys_of(table, Keys("p", "a", "d", after="b")) == ["c"]
    assert await keys_of(table, Keys("p", "b", "d", after="a")) == ["b", "c"]
    assert await keys_of(table, Keys("p", "a", "d", after="bb")) == ["c"]
    assert await keys_of(table, Keys("p", "a", "d", after="z")) == []


async def test_a_span_of_partitions_holds_all_their_rows_in_order(table: Table) -> None:
    await added(table, *(row(key, partition=p) for p in ("m2", "m1", "m10", "n", "l") for key in ("b", "a")))
    page = await table.query(Partitions("m", "n"))
    assert [each.partition + each.key for each in page.rows] == ["m1a", "m1b", "m10a", "m10b", "m2a", "m2b"]


async def test_a_span_of_partitions_goes_on_behind_the_row_given(table: Table) -> None:
    await added(table, *(row(key, partition=p) for p in ("m1", "m2", "m3") for key in ("a", "b")))

    async def behind(*after: str) -> list[str]:
        page = await table.query(Partitions("m1", "m3", after=(after[0], after[1])))
        return [each.partition + each.key for each in page.rows]

    assert await behind("m1", "a") == ["m1b", "m2a", "m2b"]
    assert await behind("m1", "b") == ["m2a", "m2b"]
    assert await behind("m1a", "b") == ["m2a", "m2b"]
    assert await behind("m0", "z") == ["m1a", "m1b", "m2a", "m2b"]
    assert await behind("m2", "b") == []


async def test_keys_are_ordered_by_code_unit_with_case(table: Table) -> None:
    keys = ["B", "a", "\ufffd", "🔑", "é", "Z", "-", "~", "0"]
    await added(table, *(row(key) for key in keys))
    expected = sorted(keys, key=lambda key: key.encode("utf-16-be"))
    assert await keys_of(table, EVERY_KEY) == expected
    assert expected.index("🔑") < expected.index("\ufffd")


async def test_whole_rows_are_returned(table: Table) -> None:
    [written] = await added(table, row("k", "x" * 70_000, n=1, at=NOON))
    page = await table.query(EVERY_KEY)
    assert (list(page.rows), page.more) == ([written], False)


async def test_pages_follow_each_other_without_gap_or_repeat(table: Table) -> None:
    await table.commit(*(Insert(row(f"k{n:02}")) for n in range(25)))
    pages = [page async for page in pages_of(table, Keys("p", "k", "l"), limit=10)]
    assert [each.key for page in pages for each in page.rows] == [f"k{n:02}" for n in range(25)]
    assert all(page.rows for page in pages if page.more)
    assert all(len(page.rows) <= 10 for page in pages)
    assert not pages[-1].more


async def test_pages_of_partitions_follow_each_other_without_gap_or_repeat(table: Table) -> None:
    await added(table, *(row(key, partition=f"p{n}") for n in range(4) for key in "abc"))
    pages = [page async for page in pages_of(table, Partitions("p0", "p4"), limit=2)]
    expected = [f"p{n}{key}" for n in range(4) for key in "abc"]
    assert [each.partition + each.key for page in pages for each in page.rows] == expected


async def test_pages_of_a_condition_are_empty_only_at_the_end(table: Table) -> None:
    await table.commit(*(Insert(row(f"k{n:02}", n=n % 10)) for n in range(60)))
    where = Compare("n", "eq", 9)
    pages = [page async for page in pages_of(table, Keys("p", "k", "l"), where=where, limit=2)]
    assert [each.key for page in pages for each in page.rows] == ["k09", "k19", "k29", "k39", "k49", "k59"]
    assert all(page.rows for page in pages if page.more)


async def test_rows_removed_between_pages_do_not_disturb_the_rest(table: Table) -> None:
    await added(table, *(row(key) for key in "abcdef"))
    seen: list[str] = []
    async for page in pages_of(table, Keys("p", "a", "z"), limit=2):
        seen += [each.key for each in page.rows]
        await table.commit(*map(Delete, page.rows))
    assert seen == list("abcdef")


async def test_a_thousand_rows_are_one_page(table: Table) -> None:
    for hundred in range(10):
        await table.commit(*(Insert(row(f"k{hundred}{n:02}")) for n in range(100)))
    assert len((await table.query(Keys("p", "k", "l"))).rows) == 1_000


@pytest.mark.parametrize("limit", [0, -1, 1_001])
async def test_a_page_outside_one_to_a_thousand_rows_is_refused(table: Table, limit: int) -> None:
    with pytest.raises(ValueError):
        await table.query(EVERY_KEY, limit=limit)


STORED: dict[str, tuple[object, object, object]] = {
    "text": ("a'b", "b", "🔑"),
    "number": (-5, 0, 1),
    "large": (2**31, 2**32 - 1, 2**62),
    "at": (NOON - timedelta(microseconds=1), NOON, NOON + timedelta(days=400)),
}
MATCHES = {"eq": "m", "ne": "lh", "lt": "l", "le": "lm", "gt": "h", "ge": "mh"}


@pytest.mark.parametrize("operator", MATCHES)
@pytest.mark.parametrize("column", STORED)
async def test_a_column_is_compared_by_its_own_order(table: Table, column: str, operator: str) -> None:
    low, middle, high = STORED[column]
    rows = [Row("p", key, {}, {column: value}) for key, value in zip("lmh", (low, middle, high), strict=True)]  # type: ignore[dict-item]
    await table.commit(*map(Insert, rows))
    found = await keys_of(table, EVERY_KEY, Compare(column, operator, middle))  # type: ignore[arg-type]
    assert sorted(found) == sorted(MATCHES[operator])


@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, 2**31, -(2**31), 2**32, -(2**63), 2**63 - 1])
async def test_every_whole_number_is_found_by_itself(table: Table, value: int) -> None:
    await added(table, row("same", n=value), row("other", n=value ^ 1))
    assert await keys_of(table, EVERY_KEY, Compare("n", "eq", value)) == ["same"]


@pytest.mark.parametrize("value", [True, False])
async def test_a_boolean_is_found_by_itself(table: Table, value: bool) -> None:
    await added(table, row("same", on=value), row("other", on=not value), row("lacking"))
    assert await keys_of(table, EVERY_KEY, Compare("on", "eq", value)) == ["same"]
    assert await keys_of(table, EVERY_KEY, Compare("on", "ne", value)) == ["other"]


@pytest.mark.parametrize(
    "text", ["O'Neil", "' or RowKey ne '", "''", "", "@v0", "a  b", "%27", "(", "ä漢🔑", "true", "+"]
)
async def test_a_text_is_compared_literally_whatever_it_holds(table: Table, text: str) -> None:
    await added(table, row("same", text=text), row("other", text="other"), row("lacking"))
    assert await keys_of(table, EVERY_KEY, Compare("text", "eq", text)) == ["same"]
    assert await keys_of(table, EVERY_KEY, Compare("text", "ne", text)) == ["other"]


@pytest.mark.parametrize("operator", MATCHES)
@pytest.mark.parametrize("column", STORED)
async def test_a_row_that_lacks_the_column_does_not_match(table: Table, column: str, operator: str) -> None:
    await added(table, row("lacking"))
    assert await keys_of(table, EVERY_KEY, Compare(column, operator, STORED[column][1])) == []  # type: ignore[arg-type]


CONDITIONS: list[tuple[Condition, list[str]]] = [
    (AllOf((Compare("a", "eq", 1), Compare("b", "eq", 1))), ["11"]),
    (AnyOf((Compare("a", "eq", 1), Compare("b", "eq", 1))), ["01", "10", "11"]),
    (
        AnyOf((AllOf((Compare("a", "eq", 0), Compare("b", "eq", 0))), Compare("b", "gt", 0))),
        ["00", "01", "11"],
    ),
    (AllOf((Compare("a", "eq", 1), AnyOf((Compare("b", "eq", 0), Compare("b", "eq", 1))))), ["10", "11"]),
    (AllOf((AnyOf((Compare("a", "eq", 1),)),)), ["10", "11"]),
]


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS, ids=range(len(CONDITIONS)))
async def test_conditions_join_by_and_and_or(table: Table, condition: Condition, expected: list[str]) -> None:
    await added(table, *(row(f"{a}{b}", a=a, b=b) for a in (0, 1) for b in (0, 1)))
    assert await keys_of(table, EVERY_KEY, condition) == expected
    assert await keys_of(table, Keys("p", "01", "11"), condition) == [k for k in expected if "01" <= k < "11"]
    page = await table.query(EVERY_PARTITION, where=condition)
    assert [each.key for each in page.rows] == expected


async def test_a_condition_does_not_reach_outside_its_span(table: Table) -> None:
    await added(table, row("k", n=1), row("k", partition="q", n=1))
    anything = AnyOf((Compare("n", "eq", 1), Compare("n", "ne", 1)))
    assert [each.partition for each in (await table.query(EVERY_KEY, where=anything)).rows] == ["p"]


async def test_a_query_sees_what_was_committed_before_it(table: Table) -> None:
    await table.commit(Put(row("k", n=1)))
    await table.commit(Put(row("k", n=2)))
    assert await keys_of(table, EVERY_KEY, Compare("n", "eq", 1)) == []
    assert await keys_of(table, EVERY_KEY, Compare("n", "eq", 2)) == ["k"]


@pytest.mark.parametrize("column", ["a eq 1 or b", "PartitionKey", "document", "@v", ""])
async def test_a_condition_on_what_is_no_column_is_refused(table: Table, column: str) -> None:
    with pytest.raises(ValueError):
        await table.query(EVERY_KEY, where=Compare(column, "eq", 1))


async def test_an_empty_list_of_conditions_is_refused(table: Table) -> None:
    for nothing in (AllOf(()), AnyOf(())):
        with pytest.raises(ValueError):
            await table.query(EVERY_KEY, where=nothing)


async def test_a_condition_of_more_comparisons_than_the_table_service_takes_is_refused(table: Table) -> None:
    await added(table, row("k", n=11))
    eleven = tuple(Compare("n", "eq", number) for number in range(1, 12))
    assert await keys_of(table, EVERY_KEY, AnyOf(eleven)) == ["k"]
    for too_many in ((*eleven, Compare("n", "eq", 12)), (*eleven[1:], Compare("n", "ne", 1))):
        with pytest.raises(ValueError):
            await table.query(EVERY_KEY, where=AllOf((AnyOf(too_many),)))

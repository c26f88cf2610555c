"""What a `Table` promises about reading and committing, held by every adapter."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest

from tests.stores.rows import added, keys_of, row
from vault_core.errors import RowChanged, RowExists, RowMissing, StoreConflict
from vault_core.stores import Change, Delete, Discard, Insert, Keys, Put, Replace, Row, Table

ODD = [
    "O'Neil",
    "''",
    "a b",
    "ä-ø-漢字",
    "🔑",
    "100%25",
    "a+b&c=d",
    "$batch",
    "@p",
    "(x)",
    "name:É",
    "~",
    "-" * 512,
]


async def test_a_row_is_read_as_it_was_inserted(table: Table) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    given = Row("p", "k", {"a": [1, None, 2.5, {"b": "ü"}], "c": True}, {"text": "x", "n": 7, "on": False, "at": at})
    [written] = await table.commit(Insert(given))
    assert written == replace(given, etag=written.etag)
    assert await table.read("p", "k") == written
    assert written.etag


async def test_reading_an_absent_row_says_so(table: Table) -> None:
    await added(table, row("other"))
    for partition, key in [("p", "k"), ("q", "other")]:
        with pytest.raises(RowMissing) as missing:
            await table.read(partition, key)
        assert missing.value.key == key


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_keys_and_texts_may_hold_quotes_and_any_script(table: Table, odd: str) -> None:
    given = Row(odd, odd, {odd: odd}, {"text": odd})
    [written] = await table.commit(Insert(given))
    assert await table.read(odd, odd) == written
    [replaced] = await table.commit(Replace(written))
    await table.commit(Put(row("beside", partition=odd)), Replace(replaced))
    assert await keys_of(table, Keys(odd, odd, odd + "!")) == [odd]
    await table.commit(Discard(odd, odd))
    with pytest.raises(RowMissing):
        await table.read(odd, odd)


async def test_keys_differ_by_case_and_by_unicode_form(table: Table) -> None:
    await added(table, row("Name"), row("name"), row("\u00e9"), row("e\u0301"))
    assert (await table.read("p", "Name")).key == "Name"
    assert len(await keys_of(table, Keys("p", " ", "\uffff"))) == 4


async def test_text_in_a_document_may_hold_control_characters_and_lone_surrogates(table: Table) -> None:
    text = "\x00\x1f\x7f\u2028\ud800\\u0041\"'\r\n"
    await added(table, row("k", text))
    assert (await table.read("p", "k")).document == {"is": text}


@pytest.mark.parametrize("text", ["x" * 400_000, "é" * 80_000, '"\\' * 120_000], ids=["plain", "accents", "quotes"])
async def test_a_long_document_comes_back_whole(table: Table, text: str) -> None:
    [written] = await added(table, row("k", text))
    assert (await table.read("p", "k")).document == {"is": text}
    await table.commit(Replace(written.with_document({"is": "short"})))
    assert (await table.read("p", "k")).document == {"is": "short"}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_several_long_documents_are_one_commit(table: Table) -> None:
    rows = [row(f"k{n}", "x" * 490_000) for n in range(7)]
    await table.commit(*map(Insert, rows))
    assert (await table.read("p", "k6")).document == rows[6].document


async def test_what_the_caller_does_to_a_document_afterwards_is_not_stored(table: Table) -> None:
    inner = {"a": 1}
    await table.commit(Insert(Row("p", "k", {"inner": inner})))
    inner["a"] = 2
    read = await table.read("p", "k")
    assert read.document == {"inner": {"a": 1}}
    read.document["inner"]["a"] = 3
    assert (await table.read("p", "k")).document == {"inner": {"a": 1}}


class Light(StrEnum):
    RED = "red"


async def test_columns_come_back_as_plain_values_in_utc(table: Table) -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    await added(table, row("k", light=Light.RED, at=at, low=-(2**63), high=2**63 - 1, one=1, yes=True))
    columns = (await table.read("p", "k")).columns
    assert columns == {"light": "red", "at": at, "low": -(2**63), "high": 2**63 - 1, "one": 1, "yes": True}
    types = {name: type(value) for name, value in columns.items()}
    assert types == {"light": str, "at": datetime, "low": int, "high": int, "one": int, "yes": bool}
    assert isinstance(columns["at"], datetime)
    assert columns["at"].tzinfo == UTC


async def test_inserting_a_taken_key_is_a_conflict_and_changes_nothing(table: Table) -> None:
    [first] = await added(table, row("k", "first"))
    with pytest.raises(RowExists) as conflict:
        await table.commit(Insert(row("k", "second")))
    assert conflict.value.key == "k"
    assert await table.read("p", "k") == first


async def test_a_row_is_replaced_by_the_etag_it_was_read_with(table: Table) -> None:
    [first] = await added(table, row("k", "first", n=1))
    [second] = await table.commit(Replace(replace(first, document={"is": "second"}, columns={"m": 2})))
    assert second.etag != first.etag
    assert await table.read("p", "k") == second
    assert second.columns == {"m": 2}


async def test_every_write_makes_a_new_etag_even_of_the_same_content(table: Table) -> None:
    [first] = await added(table, row("k"))
    [second] = await table.commit(Put(row("k")))
    with pytest.raises(RowChanged):
        await table.commit(Replace(first))
    await table.commit(Replace(second))


@pytest.mark.parametrize("change", [Replace, Delete])
async def test_a_changed_row_is_neither_replaced_nor_deleted(table: Table, change: type[Replace | Delete]) -> None:
    [first] = await added(table, row("k", "first"))
    [second] = await table.commit(Replace(first.with_document({"is": "second"})))
    with pytest.raises(RowChanged) as conflict:
        await table.commit(change(first))
    assert conflict.value.key == "k"
    assert await table.read("p", "k") == second


@pytest.mark.parametrize("change", [Replace, Delete])
async def test_a_row_that_is_gone_is_neither_replaced_nor_deleted(table: Table, change: type[Replace | Delete]) -> None:
    [first] = await added(table, row("k"))
    await table.commit(Discard("p", "k"))
    with pytest.raises(RowChanged) as conflict:
        await table.commit(change(first))
    assert conflict.value.key == "k"


async def test_put_adds_and_replaces_whatever_is_there(table: Table) -> None:
    [first] = await table.commit(Put(row("k", "first", n=1)))
    [second] = await table.commit(Put(row("k", "second")))
    assert second.etag not in ("", first.etag)
    assert await table.read("p", "k") == second
    assert second.columns == {}


async def test_delete_removes_the_row_and_returns_nothing(table: Table) -> None:
    [first] = await added(table, row("k"))
    assert await table.commit(Delete(first)) == []
    with pytest.raises(RowMissing):
        await table.read("p", "k")


async def test_discard_alone_removes_any_state_and_tolerates_absence(table: Table) -> None:
    [first] = await added(table, row("k"))
    await table.commit(Replace(first))
    assert await table.commit(Discard("p", "k")) == []
    assert await table.commit(Discard("p", "k")) == []
    with pytest.raises(RowMissing):
        await table.read("p", "k")


async def test_a_key_that_was_freed_can_be_taken_again(table: Table) -> None:
    [first] = await added(table, row("k", "first"))
    await table.commit(Delete(first))
    [second] = await added(table, row("k", "second"))
    with pytest.raises(RowChanged):
        await table.commit(Replace(first))
    assert await table.read("p", "k") == second


async def test_a_commit_of_all_kinds_is_applied_and_returns_the_written_rows_in_order(table: Table) -> None:
    replaced, deleted, _ = await added(table, row("replaced"), row("deleted"), row("discarded"))
    written = await table.commit(
        Put(row("put", 1)),
        Delete(deleted),
        Replace(replaced.with_document({"is": 2})),
        Discard("p", "discarded"),
        Insert(row("inserted", 3)),
    )
    assert [each.key for each in written] == ["put", "replaced", "inserted"]
    assert [await table.read("p", each.key) for each in written] == written
    assert await keys_of(table, Keys("p", "a", "z")) == ["inserted", "put", "replaced"]


async def test_etags_of_a_commit_are_good_for_the_next(table: Table) -> None:
    first = await table.commit(*(Insert(row(f"k{n}")) for n in range(3)))
    second = await table.commit(*map(Replace, first))
    assert await table.commit(*map(Delete, second)) == []
    assert await keys_of(table, Keys("p", "a", "z")) == []


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("fault", ["insert", "replace", "delete", "discard", "replace-gone", "delete-gone"])
async def test_one_change_that_does_not_fit_undoes_all_and_is_named(table: Table, fault: str, place: int) -> None:
    [kept, stale] = await added(table, row("kept"), row("at-fault"))
    await table.commit(Put(row("at-fault", "changed")))
    gone = replace(stale, key="gone")
    faults: dict[str, tuple[Change, type[StoreConflict]]] = {
        "insert": (Insert(row("at-fault")), RowExists),
        "replace": (Replace(stale), RowChanged),
        "delete": (Delete(stale), RowChanged),
        "discard": (Discard("p", "gone"), RowChanged),
        "replace-gone": (Replace(gone), RowChanged),
        "delete-gone": (Delete(gone), RowChanged),
    }
    change, expected = faults[fault]
    changes: list[Change] = [Replace(kept.with_document({"is": "new"})), Insert(row("added"))]
    changes.insert(place, change)
    with pytest.raises(StoreConflict) as conflict:
        await table.commit(*changes)
    assert (type(conflict.value), conflict.value.key) == (
        expected,
        "gone" if "gone" in repr(change) else "at-fault",
    )
    assert await keys_of(table, Keys("p", "a", "z")) == ["at-fault", "kept"]
    assert await table.read("p", "kept") == kept


async def test_a_hundred_changes_are_one_commit(table: Table) -> None:
    rows = await table.commit(*(Insert(row(f"k{n:03}", n)) for n in range(100)))
    assert len({each.etag for each in rows} | {""}) > 1
    assert (await table.read("p", "k099")).document == {"is": 99}
    with pytest.raises(RowExists):
        await table.commit(*(Insert(row(f"k{n:03}")) for n in range(99, 199)))
    assert len(await keys_of(table, Keys("p", "k", "l"))) == 100


async def test_committing_nothing_does_nothing(table: Table) -> None:
    assert await table.commit() == []


async def test_of_two_replacements_of_one_state_one_wins(table: Table) -> None:
    [first] = await added(table, row("k"))
    outcomes = await asyncio.gather(
        *(table.commit(Replace(first.with_document({"is": n}))) for n in range(2)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["RowChanged", "list"]


async def test_of_twenty_inserts_of_one_key_one_wins(table: Table) -> None:
    outcomes = await asyncio.gather(*(table.commit(Insert(row("k", n))) for n in range(20)), return_exceptions=True)
    winners = [each for each in outcomes if isinstance(each, list)]
    assert len(winners) == 1
    assert sum(isinstance(each, RowExists) for each in outcomes) == 19
    assert await table.read("p", "k") == winners[0][0]

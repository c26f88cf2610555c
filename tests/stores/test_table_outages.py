"""What `AzureTable` makes of a store that fails: an outage is `Unavailable`, never an absence or a conflict."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.data.tables.aio import TableClient

from local.cloud import LocalCloud
from tests.stores.rows import added, keys_of, row
from tests.stores.tokens import storage_token
from tests.stores.unreliable_network import Mishap, UnreliableNetwork, unreliable_network
from vault_core.errors import RowChanged, RowExists, RowMissing, Unavailable
from vault_core.stores import Change, Delete, Discard, Insert, Keys, Put, Replace, Row
from vault_core.stores import outages as outages_module
from vault_core.stores.outages import client_options, open_transport
from vault_core.stores.tables import AzureTable, table_client

pytestmark = pytest.mark.slow

SPAN = Keys("p", "a", "z")
Operation = Callable[[AzureTable, Row], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "read": lambda table, there: table.read("p", there.key),
    "query": lambda table, there: table.query(SPAN),
    "insert": lambda table, there: table.commit(Insert(row("new"))),
    "replace": lambda table, there: table.commit(Replace(there)),
    "put": lambda table, there: table.commit(Put(row("new"))),
    "delete": lambda table, there: table.commit(Delete(there)),
    "discard": lambda table, there: table.commit(Discard("p", there.key)),
    "several": lambda table, there: table.commit(Replace(there), Insert(row("new"))),
    "removals": lambda table, there: table.commit(Delete(there), Discard("p", "also")),
}
ONCE = {"delete", "removals"}


@pytest.fixture
async def network(azure_table: AzureTable, local_parts: LocalCloud) -> AsyncIterator[UnreliableNetwork]:
    async with unreliable_network(local_parts.tables_url, local_parts.authority) as network:
        yield network


@pytest.fixture
async def far_table(
    azure_table: AzureTable, network: UnreliableNetwork, local_parts: LocalCloud
) -> AsyncIterator[AzureTable]:
    """The same table as `azure_table`, over the unreliable network, with an impatient client."""
    options = {**client_options("tables"), "retry_backoff_factor": 0, "read_timeout": 0.3}
    name = azure_table._client.table_name
    async with TableClient(network.url, name, credential=storage_token(local_parts), **options) as client:
        yield AzureTable(client)


async def two_rows(table: AzureTable) -> Row:
    there, _ = await added(table, row("there"), row("also"))
    return there


MISHAPS = {
    "503": Mishap("status", status=503),
    "500": Mishap("status", status=500),
    "429": Mishap("status", status=429),
    "408": Mishap("status", status=408),
    "reset": Mishap("reset"),
    "silence": Mishap("silence"),
}


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_lasting_outage_is_unavailable(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork, operation: str, mishap: str
) -> None:
    there = await two_rows(azure_table)
    network.mishaps.extend([MISHAPS[mishap]] * 20)
    with pytest.raises(Unavailable):
        await OPERATIONS[operation](far_table, there)
    assert await keys_of(azure_table, SPAN) == ["also", "there"]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_long_pause_is_not_sat_out_but_handed_on(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork, operation: str
) -> None:
    there = await two_rows(azure_table)
    network.mishaps.append(Mishap("status", status=429, headers={"Retry-After": "30"}))
    with pytest.raises(Unavailable) as unavailable:
        await OPERATIONS[operation](far_table, there)
    assert unavailable.value.retry_after == timedelta(seconds=30)
    assert network.requests == 1


@pytest.mark.parametrize("asked", ["soon", "-1e999", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_a_strange_pause_is_not_sat_out(far_table: AzureTable, network: UnreliableNetwork, asked: str) -> None:
    network.mishaps.append(Mishap("status", status=503, headers={"Retry-After": asked}))
    network.mishaps.append(Mishap("status", status=503, headers={"Retry-After": "30"}))
    with pytest.raises(Unavailable):
        await far_table.read("p", "k")


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - ONCE))
async def test_a_short_outage_is_sat_out(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork, operation: str
) -> None:
    there = await two_rows(azure_table)
    network.mishaps.extend([Mishap("status", status=503)] * 2)
    await OPERATIONS[operation](far_table, there)
    assert network.requests == 3


async def test_nothing_is_waited_for_longer_than_the_patience(
    far_table: AzureTable, network: UnreliableNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages_module, "PATIENCE", timedelta(milliseconds=100))
    network.mishaps.append(Mishap("silence"))
    with pytest.raises(Unavailable):
        await far_table.read("p", "k")
    assert network.requests == 1


CHANGES: dict[str, Callable[[Row, Row], list[Change]]] = {
    "insert": lambda one, two: [Insert(row("new", 1, n=1))],
    "replace": lambda one, two: [Replace(one.with_document({"is": 1}))],
    "put": lambda one, two: [Put(row("new", 1))],
    "insert and replace": lambda one, two: [Insert(row("new", 1)), Replace(one.with_document({"is": 2}))],
    "replace and delete": lambda one, two: [Replace(one.with_document({"is": 2})), Delete(two)],
    "delete and put": lambda one, two: [Delete(one), Put(row("new", 1))],
    "discard and insert": lambda one, two: [Discard("p", two.key), Insert(row("new", 1)), Put(row("newer"))],
}
LOST = {"lost": Mishap("reset", applied=True), "500": Mishap("status", applied=True, status=500)}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("kind", CHANGES)
async def test_a_commit_that_was_applied_without_an_answer_is_no_conflict_with_itself(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork, kind: str, lost: str
) -> None:
    one, two = await added(azure_table, row("one"), row("two"))
    changes = CHANGES[kind](one, two)
    network.mishaps.append(LOST[lost])
    try:
        written = await far_table.commit(*changes)
    except Unavailable:
        # The client repeats no POST on its own after a lost connection; an insert or several changes are one.
        assert (lost, kind) not in {("lost", "replace"), ("lost", "put")}
        assert lost == "lost"
        return
    assert network.requests > 1
    expected = [each.row for each in changes if isinstance(each, Insert | Replace | Put)]
    assert [(each.key, each.document, each.columns) for each in written] == [
        (each.key, each.document, each.columns) for each in expected
    ]
    assert [await azure_table.read("p", each.key) for each in written] == written
    await azure_table.commit(*map(Replace, written))


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("operation", sorted(ONCE))
async def test_removals_that_may_have_been_applied_are_unavailable_and_no_conflict(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork, operation: str, lost: str
) -> None:
    there = await two_rows(azure_table)
    network.mishaps.append(LOST[lost])
    with pytest.raises(Unavailable):
        await OPERATIONS[operation](far_table, there)
    assert network.requests == 1
    with pytest.raises(RowMissing):
        await azure_table.read("p", there.key)


@pytest.mark.parametrize("lost", LOST)
async def test_a_discard_without_an_answer_is_repeated(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork, lost: str
) -> None:
    await two_rows(azure_table)
    network.mishaps.append(LOST[lost])
    assert await far_table.commit(Discard("p", "there")) == []
    assert network.requests == 2


async def test_a_conflict_with_someone_else_stays_one_when_the_commit_was_repeated(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork
) -> None:
    there = await two_rows(azure_table)
    [theirs] = await azure_table.commit(Put(row("new", "theirs")))
    for change, conflict in ((Insert(row("new", "ours")), RowExists), (Replace(there), RowChanged)):
        if isinstance(change, Replace):
            await azure_table.commit(Put(row("there", "theirs")))
        network.mishaps.append(Mishap("status", status=503))
        with pytest.raises(conflict):
            await far_table.commit(change)
    assert await azure_table.read("p", "new") == theirs


async def test_a_commit_that_someone_else_overwrote_before_the_answer_is_not_taken_for_applied_in_full(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork
) -> None:
    there = await two_rows(azure_table)

    async def theirs() -> None:
        await azure_table.commit(Put(row("new", "theirs")))

    network.mishaps.append(Mishap("status", applied=True, status=500, then=theirs))
    with pytest.raises(Unavailable):
        await far_table.commit(Replace(there.with_document({"is": "ours"})), Insert(row("new", "ours")))
    assert (await azure_table.read("p", "new")).document == {"is": "theirs"}


async def test_empty_pages_are_passed_over(
    azure_table: AzureTable, far_table: AzureTable, network: UnreliableNetwork
) -> None:
    await two_rows(azure_table)
    network.mishaps.extend([Mishap("empty page")] * 3)
    page = await far_table.query(SPAN)
    assert ([each.key for each in page.rows], page.more) == (["also", "there"], False)
    assert network.requests == 4


async def test_an_empty_page_at_the_end_is_empty_without_more(
    far_table: AzureTable, network: UnreliableNetwork
) -> None:
    network.mishaps.append(Mishap("empty page"))
    page = await far_table.query(SPAN)
    assert (list(page.rows), page.more) == ([], False)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_refusal_of_the_apps_identity_is_unavailable_and_logged_without_keys(
    azure_table: AzureTable,
    far_table: AzureTable,
    network: UnreliableNetwork,
    operation: str,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = await two_rows(azure_table)
    network.mishaps.extend([Mishap("status", status=status)] * 5)
    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable):
        await OPERATIONS[operation](far_table, there)
    assert str(status) in caplog.text
    assert there.key not in caplog.text


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - {"discard"}))
async def test_a_table_that_does_not_exist_is_a_fault_and_no_absence(local_parts: LocalCloud, operation: str) -> None:
    there = Row("p", "there", {}, etag="W/\"datetime'2026-01-01T00%3A00%3A00.0000000Z'\"")
    credential = storage_token(local_parts)
    async with table_client(local_parts.tables_url, "absent", credential, open_transport()) as client:
        with pytest.raises(HttpResponseError) as fault:
            await OPERATIONS[operation](AzureTable(client), there)
    assert fault.value.status_code in (400, 404)


async def test_what_is_neither_outage_nor_conflict_is_raised_as_it_is(
    far_table: AzureTable, network: UnreliableNetwork
) -> None:
    network.mishaps.append(Mishap("status", status=400))
    with pytest.raises(HttpResponseError) as fault:
        await far_table.read("p", "k")
    assert not isinstance(fault.value, ResourceNotFoundError)


async def test_a_proxy_in_the_environment_is_not_sent_the_apps_tokens(
    azure_table: AzureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    await added(azure_table, row("k"))
    assert (await azure_table.read("p", "k")).key == "k"

"""Rows in Azure Tables.

A row is an entity: its columns are properties, its document is ASCII JSON in the properties `document`,
`document1`, `document2` … of 32,000 characters each, and `write` is a random mark of the commit that wrote
it. The mark tells a conflict that someone else caused from one with our own first try, whose answer was lost
and which the SDK repeated.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, takewhile
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables import (
    EdmType,
    EntityProperty,
    TableEntity,
    TableErrorCode,
    TableTransactionError,
    UpdateMode,
)
from azure.data.tables.aio import TableClient

from vault_core.errors import RowChanged, RowExists, RowMissing, StoreConflict, Unavailable
from vault_core.stores import (
    Change,
    Column,
    Condition,
    Delete,
    Discard,
    Document,
    Insert,
    Keys,
    Page,
    Partitions,
    Put,
    Replace,
    Row,
)
from vault_core.stores.filters import odata_filter
from vault_core.stores.limits import (
    check_changes,
    check_condition,
    check_key,
    check_limit,
    document_texts,
    is_column_name,
    plain_column,
    plain_columns,
    position,
    written_row,
)
from vault_core.stores.outages import Service, answering, client_options

_SERVICE: Service = "tables"
_PART_LENGTH = 32_000
_CONFLICTS: Mapping[type[Change], Mapping[int | None, type[StoreConflict]]] = {
    Insert: {409: RowExists},
    Replace: {404: RowChanged, 412: RowChanged},
    Put: {},
    Delete: {404: RowChanged, 412: RowChanged},
    Discard: {404: RowChanged},
}

# The SDK repeats no POST whose connection broke, as an idle one does when the service has closed it. These may be
# repeated: their mark tells when the first try was applied.
_REPEATED: Mapping[str, Any] = {"retry_on_methods": frozenset({"POST"})}

_Entity = dict[str, Any]
_Operation = tuple[str, _Entity, dict[str, Any]]


def table_client(url: str, table: str, credential: AsyncTokenCredential, transport: AioHttpTransport) -> TableClient:
    """Return a client that waits and repeats within the limits of `outages`. Closing the transport ends it."""
    return TableClient(url, table, credential=credential, transport=transport, **client_options(_SERVICE))


class AzureTable:
    """A `Table` in Azure Tables."""

    def __init__(self, client: TableClient) -> None:
        self._client = client

    async def read(self, partition: str, key: str) -> Row:
        check_key(partition, key)
        return _row(await self._entity(partition, key))

    async def commit(self, *changes: Change) -> list[Row]:
        check_changes(changes)
        rows = [row for change in changes if (row := written_row(change))]
        write = secrets.token_hex(8)
        entities = [_entity(row, text, write) for row, text in zip(rows, document_texts(rows), strict=True)]
        if not changes:
            return []
        try:
            etags = await self._apply(changes, entities)
        except (RowExists, RowChanged) as conflict:
            etags = await self._etags_applied_before(write, rows, conflict)
        return [replace(row, etag=etag) for row, etag in zip(rows, etags, strict=True)]

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        check_limit(limit)
        check_condition(where)
        text, parameters = odata_filter(span, where)
        pages: Any = self._client.query_entities(text, parameters=parameters, results_per_page=limit).by_page()
        # Azure may answer with an empty page that others follow.
        while True:
            async with answering(_SERVICE):
                rows = [_row(entity) async for entity in await anext(pages)]
            more = bool(pages.continuation_token)
            if rows or not more:
                return Page(rows, more)

    async def _entity(self, partition: str, key: str) -> TableEntity:
        async with answering(_SERVICE):
            try:
                return await self._client.get_entity(partition, key)
            except HttpResponseError as error:
                if error.status_code == 404 and not _is_table_missing(error):
                    raise RowMissing(key) from None
                raise

    async def _apply(self, changes: Sequence[Change], entities: Sequence[_Entity]) -> list[str]:
        """Return the new etags of the written rows."""
        written = iter(entities)
        operations = [_operation(change, next(written) if written_row(change) else None) for change in changes]
        async with answering(_SERVICE):
            try:
                if len(changes) == 1 and not isinstance(changes[0], Delete):
                    answers: Sequence[Mapping[str, Any]] = [await self._apply_alone(*operations[0])]
                else:
                    answers = await self._apply_together(operations, repeat=bool(entities))
            except HttpResponseError as error:
                if conflict := _conflict(error, changes):
                    raise conflict from None
                raise
        return [answer["etag"] for change, answer in zip(changes, answers, strict=True) if written_row(change)]

    async def _apply_alone(self, name: str, entity: _Entity, options: Mapping[str, Any]) -> Mapping[str, Any]:
        match name:
            case "create":
                return await self._client.create_entity(entity, **options, **_REPEATED)
            case "update":
                return await self._client.update_entity(entity, **options)
            case "upsert":
                return await self._client.upsert_entity(entity, **options)
            case _:
                await self._client.delete_entity(entity, **options)
                return {}

    async def _apply_together(self, operations: Sequence[_Operation], *, repeat: bool) -> Sequence[Mapping[str, Any]]:
        # A commit that only removes leaves no mark to know it by, so it is not tried twice. Even a single
        # `Delete` comes this way, because the SDK's own method takes a missing row for success.
        return await self._client.submit_transaction(operations, **(_REPEATED if repeat else {"retry_total": 0}))

    async def _etags_applied_before(self, write: str, rows: Sequence[Row], conflict: StoreConflict) -> list[str]:
        """Return the etags if an earlier try applied this very commit; else raise the conflict."""
        witness = next((row for row in rows if row.key == conflict.key), rows[0] if rows else None)
        if witness is None or write not in await self._marks(witness):
            raise conflict
        found = [await self._marks(row) for row in rows]
        if any(write not in marks for marks in found):
            raise Unavailable("The rows were changed again before the answer came. Try again.")
        return [marks[write] for marks in found]

    async def _marks(self, row: Row) -> dict[str, str]:
        """Return the etag that the row has now by the mark of its write; nothing when it is gone."""
        try:
            entity = await self._entity(row.partition, row.key)
        except RowMissing:
            return {}
        return {entity["write"]: _etag(entity)}


def _operation(change: Change, entity: _Entity | None) -> _Operation:
    """Return what the SDK takes for the change, alone or in a transaction."""
    match change:
        case Insert():
            return "create", entity or {}, {"response_preference": "return-no-content"}
        case Replace(row):
            return "update", entity or {}, {"mode": UpdateMode.REPLACE, **_if_unchanged(row)}
        case Put():
            return "upsert", entity or {}, {"mode": UpdateMode.REPLACE}
        case Delete(row):
            return "delete", _place(row.partition, row.key), _if_unchanged(row)
        case Discard(partition, key):
            return "delete", _place(partition, key), {}


def _if_unchanged(row: Row) -> dict[str, Any]:
    return {"etag": row.etag, "match_condition": MatchConditions.IfNotModified}


def _conflict(error: HttpResponseError, changes: Sequence[Change]) -> StoreConflict | None:
    """Return what the error says of the change at fault; nothing when the error is no conflict."""
    at_fault = changes[error.index if isinstance(error, TableTransactionError) else 0]
    conflict = _CONFLICTS[type(at_fault)].get(error.status_code)
    return conflict(position(at_fault)[1]) if conflict and not _is_table_missing(error) else None


def _is_table_missing(error: HttpResponseError) -> bool:
    return getattr(error, "error_code", None) == TableErrorCode.TABLE_NOT_FOUND


def _entity(row: Row, text: str, write: str) -> _Entity:
    parts = range(0, len(text), _PART_LENGTH)
    return {
        **_place(row.partition, row.key),
        **{name: _property(value) for name, value in plain_columns(row.columns).items()},
        **{_part_name(n): text[start : start + _PART_LENGTH] for n, start in enumerate(parts)},
        "write": write,
    }


def _place(partition: str, key: str) -> _Entity:
    return {"PartitionKey": partition, "RowKey": key}


def _row(entity: TableEntity) -> Row:
    parts = takewhile(bool, (entity.get(_part_name(n), "") for n in count()))
    columns = {name: _column(value) for name, value in entity.items() if is_column_name(name)}
    return Row(entity["PartitionKey"], entity["RowKey"], _document(parts), columns, _etag(entity))


def _document(parts: Iterable[str]) -> Document:
    """Return the document; an empty one for what the vault did not write, so that one such row spoils no query."""
    try:
        document = json.loads("".join(parts))
    except (TypeError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _part_name(number: int) -> str:
    return f"document{number or ''}"


def _etag(entity: TableEntity) -> str:
    return str(entity.metadata["etag"])


def _property(value: Column) -> Column | EntityProperty:
    return EntityProperty(value, EdmType.INT64) if type(value) is int else value


def _column(value: Any) -> Column:
    """Return the plain value of a property; the SDK wraps whole numbers and has its own instants."""
    if isinstance(value, EntityProperty):
        value = value.value
    if isinstance(value, datetime):
        value = datetime.combine(value.date(), value.time(), UTC)
    return plain_column(value)

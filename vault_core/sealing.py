"""Sealing: what the tables hold of a tenant is readable, and changeable, only through the vault.

A document is encrypted with AES-256-GCM under the tenant's data key. The associated data names tenant, table, row
and field, so a sealed document that is moved elsewhere, or was edited, does not open: someone who can write to
the tables cannot make himself the owner of a credential.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from cryptography.exceptions import InvalidTag

from vault_core.concurrency import gathered
from vault_core.errors import RowChanged, SealBroken
from vault_core.key_ring import KeyRing, TenantKeys
from vault_core.stores import Change, Condition, Delete, Discard, Keys, Page, Partitions, Replace, Row, Table

_NONCE = 12
_FIELD = "document"
_RESEALED = 200  # rows in a step
_BATCH = 100  # entities in one transaction of Azure Tables
_BATCH_BYTES = 3_000_000  # of the four MiB that it may take

_log = logging.getLogger(__name__)


class SealedTable:
    """A table whose documents are sealed on the way in and opened on the way out. Partitions are tenants."""

    def __init__(self, table: Table, name: str, keys: KeyRing) -> None:
        self._table = table
        self._name = name
        self._keys = keys

    async def read(self, partition: str, key: str) -> Row:
        """As `Table.read`; `SealBroken` when the row is not what the vault wrote there."""
        row = await self._table.read(partition, key)
        return self._opened(await self._keys_for(partition, [row]), row)

    async def commit(self, *changes: Change) -> list[Row]:
        """As `Table.commit`."""
        written = [change.row for change in changes if not isinstance(change, Delete | Discard)]
        keys = await self._keys.of(written[0].partition) if written else None
        sealed = [self._sealed(keys, change) for change in changes]
        done = await self._table.commit(*sealed)
        return [row.with_document(plain.document) for plain, row in zip(written, done, strict=True)]

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        """As `Table.query`, within one tenant."""
        if isinstance(span, Partitions):
            raise ValueError("sealed rows are read one tenant at a time")
        page = await self._table.query(span, where=where, limit=limit)
        if not page.rows:
            return page
        keys = await self._keys_for(span.partition, page.rows)
        return Page([self._opened(keys, row) for row in page.rows], page.more)

    async def reseal(self, tenant: str, after: str) -> str | None:
        """Seal under the current key what is sealed under an older one, up to 200 rows; return where to go on.

        None at the end. Rows that change meanwhile are left: whoever changes one seals it under the current key, when
        that has been current for longer than any process may not know of it. What does not open stays as it is.
        """
        page = await self._table.query(Keys(tenant, "", "~", after=after), limit=_RESEALED)
        keys = await self._keys.renewed(tenant)
        old = [row for row in page.rows if row.document.get("key") in keys.older]
        anew = [Replace(row) for row in map(partial(self._resealed, keys), old) if row]
        for batch in _by_size(anew):
            try:
                await self._table.commit(*batch)
            except RowChanged:
                await gathered(map(self._commit_unless_changed, batch))
        return page.rows[-1].key if page.more else None

    def _resealed(self, keys: TenantKeys, row: Row) -> Row | None:
        try:
            return self._seal(keys, self._opened(keys, row))
        except SealBroken as broken:
            _log.error('event=reseal tenant=%s error=SealBroken what="%s"', row.partition, broken)
            return None

    async def _commit_unless_changed(self, change: Replace) -> None:
        with suppress(RowChanged):
            await self._table.commit(change)

    async def _keys_for(self, tenant: str, rows: Iterable[Row]) -> TenantKeys:
        """Return the tenant's keys, looking for new ones when a row names one that is not known yet."""
        keys = await self._keys.of(tenant)
        numbers = list(keys.versions)  # what was edited may be no key of a mapping
        known = all(row.document.get("key") in numbers for row in rows)
        return keys if known else await self._keys.renewed(tenant)

    def _sealed(self, keys: TenantKeys | None, change: Change) -> Change:
        if keys is None or isinstance(change, Delete | Discard):
            return change
        return type(change)(self._seal(keys, change.row))

    def _seal(self, keys: TenantKeys, row: Row) -> Row:
        nonce = secrets.token_bytes(_NONCE)
        plain = json.dumps(row.document, separators=(",", ":"), ensure_ascii=False).encode()
        box = nonce + keys.versions[keys.current].sealing.encrypt(nonce, plain, self._place(row))
        return row.with_document({"key": keys.current, "sealed": base64.b64encode(box).decode()})

    def _opened(self, keys: TenantKeys, row: Row) -> Row:
        try:
            box = base64.b64decode(row.document["sealed"], validate=True)
            plain = keys.versions[row.document["key"]].sealing.decrypt(box[:_NONCE], box[_NONCE:], self._place(row))
        except (KeyError, TypeError, ValueError, InvalidTag):
            raise SealBroken(f"{self._name} {row.key.partition(':')[0]}") from None
        return row.with_document(json.loads(plain))

    def _place(self, row: Row) -> bytes:
        return "\n".join((row.partition, self._name, row.key, _FIELD)).encode()


def _by_size(changes: Sequence[Replace]) -> Iterator[list[Replace]]:
    """Yield the changes in transactions that a table takes: at most 100 of them, and 3 MB of documents."""
    batch: list[Replace] = []
    size = 0
    for change in changes:
        weight = len(change.row.document["sealed"])
        if batch and (len(batch) == _BATCH or size + weight > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += weight
    if batch:
        yield batch

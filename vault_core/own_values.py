"""Values that consumers give for themselves: of each credential, one set per consumer, which nobody else can read.

The order of writes:

    put      intent to discard → values, audit → {set, its index, intent removed, old discarded, intent to prune}
             → credential read again: unchanged → intent removed; changed → pruned
    remove   audit → {set and its index removed, old discarded}
    prune    as put or remove, for each consumer, when an attribute is gone

Whoever deletes, revokes or redefines a credential changes its row before it looks for sets. So either that look sees
the set, or who put the set sees the change. A set has two rows, so that it is found from either side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from vault_core import agenda
from vault_core.attributes import ValueMark
from vault_core.audit import AuditEvent, AuditLog
from vault_core.errors import CredentialChanged, RowChanged, RowMissing, SecretMissing, StoreConflict, Unavailable
from vault_core.pending_values import PendingValues
from vault_core.records import Record
from vault_core.stores import Change, Delete, Discard, Insert, Keys, Put, Replace, Row, Table
from vault_core.values import Values, check_size, subject_of

_PAGE = 200
_ATTEMPTS = 5


class OwnSet(Record):
    """What one consumer gave for one credential: the secret that holds the values, and a mark for each of them."""

    credential_id: str
    consumer_id: str
    secret: str
    marks: dict[str, ValueMark]


@dataclass(frozen=True, slots=True)
class FoundSet:
    """A set and the row it was read from."""

    own: OwnSet
    row: Row


class OwnValues:
    """Reads and writes the values that consumers gave. Who may is decided elsewhere."""

    def __init__(self, table: Table, values: Values, audit: AuditLog, pending: PendingValues) -> None:
        self._table = table
        self._values = values
        self._audit = audit
        self._pending = pending

    async def find(self, tenant: str, credential_id: str, consumer_id: str) -> FoundSet | None:
        """Return what the consumer gave for the credential, or None."""
        try:
            row = await self._table.read(tenant, _set_key(credential_id, consumer_id))
        except RowMissing:
            return None
        return FoundSet(OwnSet.from_document(row.document), row)

    async def given_by(self, tenant: str, consumer_id: str) -> dict[str, OwnSet]:
        """Return what the consumer gave, by credential; one call to the store per thousand."""
        prefix, after, more = f"own-values:{consumer_id}|", "", True
        found: dict[str, OwnSet] = {}
        while more:
            page = await self._table.query(Keys(tenant, prefix, f"{prefix}~", after=after))
            sets = [OwnSet.from_document(row.document) for row in page.rows]
            # An id may hold the mark that ends it here; the document tells.
            found |= {own.credential_id: own for own in sets if own.consumer_id == consumer_id}
            after, more = page.rows[-1].key if page.rows else after, page.more
        return found

    async def read(self, tenant: str, own: OwnSet) -> dict[str, SecretStr]:
        """Return the values by the attributes' ids; `SecretMissing` when they were replaced meanwhile."""
        return await self._values.read(own.secret, tenant, subject_of(own.credential_id, own.consumer_id))

    async def put(
        self,
        tenant: str,
        found: FoundSet | None,
        own: OwnSet,
        values: Mapping[str, SecretStr],
        told: AuditEvent,
        now: datetime,
        *more: Change,
    ) -> FoundSet:
        """Put the set and its values in place of what was found, with `more`, all or none; return it.

        `own.secret` is replaced by a new name. Raises `ValueRefused` when the values are too large, and `RowChanged`
        or `RowExists` when the set is no longer as it was found; then nothing has changed.
        """
        check_size(values)
        own = own.but(secret=self._values.new_name(tenant))
        subject = subject_of(own.credential_id, own.consumer_id)
        key = _set_key(own.credential_id, own.consumer_id)
        removals = await self._pending.write(tenant, subject, key, own.secret, values, [told], now)
        row = Row(tenant, key, own.document(), etag=found.row.etag if found else "")
        index = Row(tenant, _index_key(own.credential_id, own.consumer_id), {"consumerId": own.consumer_id})
        discard = _discard(tenant, found, now)
        try:
            [written, *_] = await self._table.commit(
                Replace(row) if found else Insert(row), Put(index), *removals, *map(Put, discard), *more
            )
        except Unavailable:
            raise  # perhaps it was applied: the intent tells the reconciler
        except StoreConflict:
            await self._pending.give_up(removals, [told], CredentialChanged.code)
            raise
        for entry in discard:
            await self._discarded(entry)
        return FoundSet(own, written)

    async def remove(self, tenant: str, found: FoundSet, told: AuditEvent | None, now: datetime) -> None:
        """Remove the set with its values, and tell the audit unless what it follows from was told.

        Raises `RowChanged` when the set is no longer as it was found.
        """
        own, discard = found.own, _discard(tenant, found, now)
        index = Discard(tenant, _index_key(own.credential_id, own.consumer_id))
        if told:
            await self._audit.write(told)
        try:
            await self._table.commit(Delete(found.row), index, *map(Put, discard))
        except StoreConflict:
            if told:
                await self._audit.write(told.failed(CredentialChanged.code))
            raise
        for entry in discard:
            await self._discarded(entry)

    async def of_credential(self, tenant: str, credential_id: str) -> AsyncIterator[FoundSet]:
        """Yield what each consumer gave for the credential."""
        prefix, after, more = f"consumer:{credential_id}|", "", True
        while more:
            page = await self._table.query(Keys(tenant, prefix, f"{prefix}~", after=after), limit=_PAGE)
            for row in page.rows:
                after = row.key
                if found := await self.find(tenant, credential_id, row.document["consumerId"]):
                    yield found
            more = page.more

    async def disable_all(self, tenant: str, credential_id: str) -> None:
        """Make what consumers gave for a revoked credential unreadable. Repeatable."""
        async for found in self.of_credential(tenant, credential_id):
            with suppress(SecretMissing):
                await self._values.disable(found.own.secret)

    async def destroy_all(self, tenant: str, credential_id: str, now: datetime) -> None:
        """Remove what consumers gave for the credential, with its values. Repeatable."""
        for _ in range(_ATTEMPTS):
            left = 0
            async for found in self.of_credential(tenant, credential_id):
                try:
                    await self.remove(tenant, found, None, now)
                except RowChanged:  # a twin was faster, or it was sealed anew: look again
                    left += 1
            if not left:
                return
        raise Unavailable("What consumers gave keeps changing; it is destroyed later.")

    async def _discarded(self, entry: Row) -> None:
        """Delete a value that no set names any longer; what fails here, the reconciler does later."""
        with suppress(Unavailable):
            await self._let_go(entry)

    async def _let_go(self, entry: Row) -> None:
        await self._values.destroy(entry.document["subject"])
        await self._table.commit(Discard(entry.partition, entry.key))


def without(own: OwnSet, attribute_ids: Collection[str]) -> OwnSet:
    """Return the set without the marks of these attributes."""
    return own.but(marks={one: mark for one, mark in own.marks.items() if one not in attribute_ids})


def _discard(tenant: str, found: FoundSet | None, now: datetime) -> list[Row]:
    return [agenda.discarding(tenant, now, found.own.secret, found.row.key)] if found else []


def _set_key(credential_id: str, consumer_id: str) -> str:
    return f"own-values:{consumer_id}|{credential_id}"


def _index_key(credential_id: str, consumer_id: str) -> str:
    return f"consumer:{credential_id}|{consumer_id}"

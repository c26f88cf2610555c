"""Where leases are kept: a row per lease and per place in the partition of its credential, and when each is due."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby

from vault_core.concurrency import batches, together
from vault_core.errors import RowChanged, RowMissing
from vault_core.lease import Lease, LeaseReference, LeaseState, Slot, ended
from vault_core.stores import (
    AllOf,
    Column,
    Compare,
    Condition,
    Delete,
    Discard,
    Insert,
    Keys,
    Partitions,
    Put,
    Replace,
    Row,
    Table,
)

_SHARDS = 16  # a partition of `due` takes 2,000 rows a second
_BATCH = 100
_MINUTE = "%Y%m%d%H%M"
KEEP_ENDED = timedelta(days=7)  # how long an ended lease can still be looked up
DUE_LEASE = "lease"
DUE_FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease and the row it was read from."""

    lease: Lease
    row: Row


@dataclass(frozen=True, slots=True)
class Place:
    """One of the places of `maxLeases`, and the row that says who has it."""

    slot: Slot
    lease_token: str
    row: Row


class LeaseRows:
    """Reads and writes leases, places, and the minutes at which leases end."""

    def __init__(self, leases: Table, due: Table) -> None:
        self.leases = leases
        self.due = due

    async def read(self, tenant: str, reference: LeaseReference) -> Held:
        """Return the lease; `RowMissing` when there is none with exactly this id."""
        row = await self.leases.read(partition(tenant, reference.credential_id), lease_key(reference.token))
        lease = Lease.from_document(row.document)
        if lease.id != str(reference):
            raise RowMissing(row.key)
        return Held(lease, row)

    async def place(self, tenant: str, reference: LeaseReference) -> Place | None:
        """Return the place that the lease has, or None when it has none (any more)."""
        if reference.slot is None:
            return None
        try:
            row = await self.leases.read(partition(tenant, reference.credential_id), slot_key(reference.slot))
        except RowMissing:
            return None
        place = _place(row)
        return place if place.lease_token == reference.token else None

    async def places(self, tenant: str, credential_id: str) -> list[Place]:
        """Return all places of the credential that were ever taken."""
        page = await self.leases.query(Keys(partition(tenant, credential_id), "slot:", "slot;"))
        return [_place(row) for row in page.rows]

    async def select(
        self, tenant: str, credential_id: str, where: Condition, tokens: tuple[str, str] = ("", "~")
    ) -> list[Held]:
        """Return up to 1,000 leases of the credential that meet the condition, from one call.

        `tokens` are the first and the last that may be among them.
        """
        first, last = tokens
        span = Keys(partition(tenant, credential_id), lease_key(first), lease_key(last) + "~")
        page = await self.leases.query(span, where=where)
        return [Held(Lease.from_document(row.document), row) for row in page.rows]

    async def kept(self, tenant: str, credential_id: str, limit: int) -> list[Lease]:
        """Return up to `limit` leases of the credential that are not forgotten yet, in no order; 1,000 from a call."""
        span = Keys(partition(tenant, credential_id), lease_key(""), lease_key("~"))
        return [Lease.from_document(row.document) async for row in _each(self.leases, span, limit)]

    async def take(self, lease: Lease, tenant: str, over: Place | None) -> None:
        """Write the lease, and take its place if it has one: a free one, or that of an ended lease.

        Raises `RowExists` or `RowChanged` when another was faster.
        """
        row = lease_row(tenant, lease)
        slot = slot_row(tenant, lease)
        if slot is None:
            await self.leases.commit(Insert(row))
        elif over is None:
            await self.leases.commit(Insert(row), Insert(slot))
        else:
            await self.leases.commit(Insert(row), Replace(_as_read(slot, over.row)))

    async def write_due(self, tenant: str, lease: Lease) -> None:
        """Note the minute at which the lease ends."""
        await self.due.commit(Put(due_row(tenant, lease)))

    async def replace(self, held: Held, lease: Lease, place: Place | None) -> tuple[Held, Place | None]:
        """Put the lease in place of what was read, and its place with it; `RowChanged` when either has changed."""
        tenant = held.row.partition.partition("|")[0]
        row = _as_read(lease_row(tenant, lease), held.row)
        slot = slot_row(tenant, lease)
        if place is None or slot is None:
            [row] = await self.leases.commit(Replace(row))
            return Held(lease, row), place
        if lease.ended:
            [row] = await self.leases.commit(Replace(row), Delete(place.row))
            return Held(lease, row), None
        row, slot = await self.leases.commit(Replace(row), Replace(_as_read(slot, place.row)))
        return Held(lease, row), _place(slot)

    async def withdraw(self, lease: Lease, tenant: str) -> None:
        """Remove a lease that nobody received, and free its place; `RowChanged` when a twin has received it.

        Absence is success.
        """
        try:
            held, place = await together(self.read(tenant, lease.reference), self.place(tenant, lease.reference))
        except RowMissing:
            return
        if held.lease != lease:
            raise RowChanged(held.row.key)
        try:
            await self.leases.commit(Delete(held.row), *([Delete(place.row)] if place else []))
        except RowChanged as conflict:
            if place is None or conflict.key != place.row.key:
                raise
            await self.leases.commit(Delete(held.row))  # another has the place already

    async def end(
        self, tenant: str, over: Sequence[Held], how: LeaseState, at: datetime, places: Sequence[Place] = ()
    ) -> None:
        """Mark these leases as over, a hundred rows at a time, and free those of the places that they have.

        Raises `RowChanged` when one has changed meanwhile.
        """
        taken = {place.lease_token: place for place in places}
        for batch in batches(over, _BATCH // 2 if places else _BATCH):
            rows = [_as_read(lease_row(tenant, ended(held.lease, how, at)), held.row) for held in batch]
            freed = [taken[token] for held in batch if (token := held.lease.reference.token) in taken]
            await self.leases.commit(*(Replace(row) for row in rows), *(Delete(place.row) for place in freed))

    async def due_before(self, queue: str, now: datetime, limit: int = 1000) -> list[Row]:
        """Return up to `limit` rows of the queue whose minute is over at `now`, oldest first."""
        page = await self.due.query(Partitions(f"{queue}|", f"{queue}|{now.astimezone(UTC):{_MINUTE}}"), limit=limit)
        return list(page.rows)

    def all_due_before(self, queue: str, now: datetime, limit: int) -> AsyncIterator[Row]:
        """Yield up to `limit` of those rows, oldest first; 1,000 from one call."""
        return _each(self.due, Partitions(f"{queue}|", f"{queue}|{now.astimezone(UTC):{_MINUTE}}"), limit)

    async def count_after(self, now: datetime, limit: int) -> int:
        """Return how many leases end after the minute of `now`, counted up to `limit`; 1,000 from one call."""
        span = Partitions(f"{DUE_LEASE}|{now.astimezone(UTC):{_MINUTE}}", f"{DUE_LEASE}|~")
        return len([row async for row in _each(self.due, span, limit)])

    async def put_off(self, rows: Sequence[Row], until: datetime) -> None:
        """Move rows of the `due` table to another minute."""
        for row in rows:
            queue, _, shard = row.partition.split("|")
            minute = f"{until.astimezone(UTC):{_MINUTE}}"
            await self.due.commit(Put(replace(row, partition=f"{queue}|{minute}|{shard}", etag="")))
        await self.drop_due(rows)

    async def drop_due(self, rows: Sequence[Row]) -> None:
        """Remove rows of the `due` table, a hundred of one partition at a time. Absence is success."""
        ordered = sorted(rows, key=lambda row: row.partition)
        for _, group in groupby(ordered, key=lambda row: row.partition):
            same = list(group)
            for start in range(0, len(same), _BATCH):
                await self._drop(same[start : start + _BATCH])

    async def _drop(self, batch: Sequence[Row]) -> None:
        try:
            await self.due.commit(*(Discard(row.partition, row.key) for row in batch))
        except RowChanged:  # a twin of this timer was faster with some of them
            for row in batch:
                await self.due.commit(Discard(row.partition, row.key))


async def _each(table: Table, span: Keys | Partitions, limit: int) -> AsyncIterator[Row]:
    """Yield up to `limit` rows of the span, in order; 1,000 from one call."""
    more = True
    while more and limit > 0:
        page = await table.query(span, limit=min(1000, limit))
        for row in page.rows:
            yield row
        if page.rows:
            last = page.rows[-1]
            span = (
                replace(span, after=last.key)
                if isinstance(span, Keys)
                else replace(span, after=(last.partition, last.key))
            )
        more, limit = page.more, limit - len(page.rows)


RUNNING = Compare("ended", "eq", False)


def overdue(now: datetime) -> Condition:
    """Leases past their end that are not marked as over."""
    return AllOf((RUNNING, Compare("expiresAt", "le", now)))


def minute_end(due: Row) -> datetime:
    """Return when the minute of a row of the `due` table is over."""
    _, minute, _ = due.partition.split("|")
    return datetime.strptime(minute, _MINUTE).replace(tzinfo=UTC) + timedelta(minutes=1)


def forgettable(before: datetime) -> Condition:
    """Leases that are marked as over and ended before this."""
    return AllOf((Compare("ended", "eq", True), Compare("expiresAt", "lt", before)))


def active(now: datetime) -> Condition:
    """Leases that are not marked as over and end after `now`."""
    return AllOf((RUNNING, Compare("expiresAt", "gt", now)))


def active_on(version: int, now: datetime) -> Condition:
    """Active leases on one version of the credential."""
    return AllOf((active(now), Compare("version", "eq", version)))


def active_up_to(version: int, now: datetime) -> Condition:
    """Active leases on versions of the credential up to this one."""
    return AllOf((active(now), Compare("version", "le", version)))


def active_without_place(now: datetime) -> Condition:
    """Active leases from before there was a limit."""
    return AllOf((active(now), Compare("placed", "eq", False)))


def partition(tenant: str, credential_id: str) -> str:
    """Return the partition of a credential's leases."""
    return f"{tenant}|{credential_id}"


def lease_key(token: str) -> str:
    """Return the key of a lease's row."""
    return f"lease:{token}"


def slot_key(number: int) -> str:
    """Return the key of a place's row."""
    return f"slot:{number:04d}"


def lease_row(tenant: str, lease: Lease) -> Row:
    """Return the row of the lease, with what sweeps and listings ask for as columns."""
    reference = lease.reference
    columns: dict[str, Column] = {
        "holder": lease.identity.id,
        "version": lease.version,
        "ended": lease.ended is not None,
        "placed": reference.slot is not None,
        "expiresAt": lease.expires_at,
    }
    return Row(partition(tenant, lease.credential_id), lease_key(reference.token), lease.document(), columns)


def slot_row(tenant: str, lease: Lease) -> Row | None:
    """Return the row of the lease's place, or None when it has none."""
    reference = lease.reference
    if reference.slot is None:
        return None
    document = {"lease": reference.token, "expiresAt": lease.expires_at.isoformat()}
    return Row(partition(tenant, lease.credential_id), slot_key(reference.slot), document)


def due_row(tenant: str, lease: Lease) -> Row:
    """Return the row that says when the lease ends. Those of a credential lie side by side: batches stay full."""
    document = {"tenant": tenant, "credential": lease.credential_id, "lease": lease.id}
    key = f"{lease.credential_id}|{lease.reference.token}"
    return Row(_due_partition(DUE_LEASE, lease.expires_at, lease.credential_id), key, document)


def due_token(due: Row) -> str:
    """Return the token of the lease that a row of the `due` table tells of."""
    return due.key.rpartition("|")[2]


def forget_row(tenant: str, credential_id: str, at: datetime) -> Row:
    """Return the row that says from which day on ended leases of the credential may be removed."""
    day = at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    document = {"tenant": tenant, "credential": credential_id}
    return Row(_due_partition(DUE_FORGET, day, credential_id), partition(tenant, credential_id), document)


def _due_partition(queue: str, at: datetime, credential_id: str) -> str:
    shard = sha256(credential_id.encode()).digest()[0] % _SHARDS
    return f"{queue}|{at.astimezone(UTC):{_MINUTE}}|{shard:x}"


def _place(row: Row) -> Place:
    slot = Slot(int(row.key.removeprefix("slot:")), datetime.fromisoformat(row.document["expiresAt"]))
    return Place(slot, row.document["lease"], row)


def _as_read(row: Row, read: Row) -> Row:
    return replace(row, etag=read.etag)

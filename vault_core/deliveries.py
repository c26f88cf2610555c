"""Events on their way to subscribers: an outbox, kept in the tenant's own partition.

An event is put here together with its row of the audit, once for each subscription that wants it. Before each attempt
to deliver it, it is moved to the instant of the next one, so a crash loses nothing, and whoever works on it at the same
time finds it gone. After the last attempt it is a dead letter, for 30 days.

    delivery:{subscription}|{instant}|{event id}       waits for the instant
    dead-letter:{subscription}|{instant}|{event id}    was given up at the instant

The key begins with the subscription, so one that does not answer makes nobody read past what waits for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from vault_core import agenda
from vault_core.audit import AuditEvent, AuditEventView
from vault_core.concurrency import batches, gathered
from vault_core.errors import NotFound, RowChanged
from vault_core.records import Record
from vault_core.stores import Change, Compare, Delete, Discard, Keys, Put, Row, Table
from vault_core.stores.removals import discard_all
from vault_core.tenants import TenantRows
from vault_core.wire import Instant, WireModel

RETRIES = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
_JITTER = 0.1  # of the wait, at most
GIVE_UP_AFTER = timedelta(days=4)  # when so much waits for a dead subscriber that its turn never comes
KEEP_DEAD = timedelta(days=30)
MOST_REPLAYED = 300  # by one request
MOST_DROPPED = 20  # pages in a call: what other tenants wait for comes behind it
_PAGE = 50
_BATCH = 100
_PUTS = 25  # of one transaction, which holds 3.5 MB: a policy with many patterns in all their letters takes 140 KB
_AT_ONCE = 8
_REPLAYS = _BATCH // 3  # a dead letter, when to forget it, and what takes its place are three changes


class DeliveryState(StrEnum):
    """Whether an event waits to be delivered, or was given up."""

    PENDING = "pending"
    DEAD = "dead"


class Message(WireModel):
    """What a subscriber gets (Standard Webhooks 1.0)."""

    type: str
    timestamp: Instant
    data: Any

    @property
    def body(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Delivery(Record):
    """An event on its way to a subscriber. `id` is the event's; `body` is what is sent, to the byte.

    `put_at` is when it was put on its way; `at` is when it is tried next or, of a dead letter, when it was given up.
    """

    id: str
    subscription_id: str
    event: str
    happened_at: datetime
    put_at: datetime
    at: datetime
    attempts: int = 0
    body: str


@dataclass(frozen=True, slots=True)
class FoundDelivery:
    """A delivery and the row it was read from."""

    delivery: Delivery
    row: Row


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, those that are tried or were given up first before others; `after` is where the next page begins."""

    deliveries: Sequence[Delivery]
    after: str | None


class Outbox:
    """Puts every event that is told to the audit on its way to those who want it."""

    def __init__(self, table: Table, rows: TenantRows, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._rows = rows
        self._clock = clock

    async def follow(self, *events: AuditEvent) -> None:
        """Put the events on their way. What is put again before it was tried is put once.

        A subscription counts within ten seconds of its creation. Raises `Unavailable`.
        """
        of_tenants: defaultdict[str, list[AuditEvent]] = defaultdict(list)
        for event in events:
            of_tenants[event.tenant].append(event)
        await gathered(self._put(tenant, told) for tenant, told in of_tenants.items())

    async def _put(self, tenant: str, events: Sequence[AuditEvent]) -> None:
        subscriptions = (await self._rows.known(tenant)).subscriptions.subscriptions
        puts = {
            row.key: Put(row)
            for event in events
            for one in subscriptions
            if one.wants(event.event)
            for row in [_waiting(tenant, _new(event, one.id, self._clock()))]
        }
        for some in batches(list(batches(list(puts.values()), _PUTS)), _AT_ONCE):
            await gathered(self._table.commit(*batch) for batch in some)


class Deliveries:
    """Finds what is on its way, and moves it on."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def due(self, tenant: str, subscription_id: str, now: datetime) -> AsyncIterator[FoundDelivery]:
        """Yield what is due for the subscription, the longest due first; one call to the store for every fifty."""
        prefix = _prefix(DeliveryState.PENDING, subscription_id)
        until = f"{prefix}{agenda.instant(now)}~"
        after, more = "", True
        while more:
            page = await self._table.query(Keys(tenant, prefix, until, after), limit=_PAGE)
            for row in page.rows:
                after = row.key
                yield FoundDelivery(Delivery.from_document(row.document), row)
            more = page.more

    async def claim(self, found: FoundDelivery, now: datetime) -> FoundDelivery:
        """Move what is about to be tried to its next attempt or, before its last one, to the dead letters.

        Raises `RowChanged` when somebody else did.
        """
        tried = found.delivery.but(attempts=found.delivery.attempts + 1)
        if tried.attempts > len(RETRIES):
            return await self._move(found, _dead(found.row.partition, tried.but(at=now)))
        return await self._move(found, [Put(_waiting(found.row.partition, tried.but(at=now + _wait(tried))))])

    async def give_up(self, found: FoundDelivery, now: datetime) -> None:
        """Move what has waited too long to the dead letters. Raises `RowChanged` as `claim`."""
        await self._move(found, _dead(found.row.partition, found.delivery.but(at=now)))

    async def _move(self, found: FoundDelivery, puts: Sequence[Put]) -> FoundDelivery:
        [row, *_] = await self._table.commit(*puts, Delete(found.row))
        return FoundDelivery(Delivery.from_document(row.document), row)

    async def delivered(self, claimed: FoundDelivery) -> None:
        """Remove what has arrived. Repeatable."""
        await discard_all(self._table, claimed.row.partition, _keys_of(claimed.row))

    async def page(
        self, tenant: str, subscription_id: str, state: DeliveryState, after: str, limit: int
    ) -> DeliveryPage:
        """Return up to `limit` deliveries of the subscription in this state, from one call to the store."""
        prefix = _prefix(state, subscription_id)
        behind = prefix + after if after else ""
        page = await self._table.query(Keys(tenant, prefix, f"{prefix}~", behind), limit=limit)
        last = page.rows[-1].key.removeprefix(prefix) if page.more and page.rows else None
        return DeliveryPage([Delivery.from_document(row.document) for row in page.rows], last)

    async def replay(
        self, tenant: str, subscription_id: str, delivery_id: str | None, now: datetime
    ) -> tuple[int, bool]:
        """Put dead letters on their way again: all of one event, or up to 300; return how many, and if there are more.

        Raises `NotFound` when the event has no dead letter here.
        """
        prefix = _prefix(DeliveryState.DEAD, subscription_id)
        where = Compare("event", "eq", delivery_id) if delivery_id else None
        page = await self._table.query(Keys(tenant, prefix, f"{prefix}~"), where=where, limit=MOST_REPLAYED)
        if delivery_id and not page.rows:
            raise NotFound("No such event was given up for this subscription; list its dead deliveries.")
        replayed = 0
        for batch in batches(page.rows, _REPLAYS):
            changes = [_replayed(row, now) for row in batch]
            try:
                await self._table.commit(*(change for one in changes for change in one))
                replayed += len(changes)
            except RowChanged:  # some are replayed or forgotten by somebody else: take them one by one
                for one in changes:
                    with suppress(RowChanged):
                        await self._table.commit(*one)
                        replayed += 1
        return replayed, page.more

    async def drop(self, found: FoundDelivery) -> None:
        """Remove what nobody waits for any longer. Repeatable."""
        await self._table.commit(Discard(found.row.partition, found.row.key))

    async def drop_all(self, tenant: str, subscription_id: str) -> bool:
        """Remove what waits for the subscription or was given up, up to 2,000 of them; return whether all is gone.

        Repeatable.
        """
        pages = MOST_DROPPED
        for state in DeliveryState:
            prefix, more = _prefix(state, subscription_id), True
            while more and pages:
                page = await self._table.query(Keys(tenant, prefix, f"{prefix}~"), limit=_BATCH)
                await discard_all(self._table, tenant, [key for row in page.rows for key in _keys_of(row)])
                more, pages = page.more, pages - 1
            if more:
                return False
        return True


_KINDS = {DeliveryState.PENDING: "delivery:", DeliveryState.DEAD: "dead-letter:"}


def _prefix(state: DeliveryState, subscription_id: str) -> str:
    return f"{_KINDS[state]}{subscription_id}|"


def _new(event: AuditEvent, subscription_id: str, now: datetime) -> Delivery:
    message = Message(type=event.event, timestamp=event.at, data=AuditEventView.of(event))
    return Delivery(
        id=event.id,
        subscription_id=subscription_id,
        event=event.event,
        happened_at=event.at,
        put_at=now,
        at=event.at,
        body=message.body,
    )


def _row(tenant: str, state: DeliveryState, delivery: Delivery) -> Row:
    key = f"{_prefix(state, delivery.subscription_id)}{agenda.instant(delivery.at)}|{delivery.id}"
    return Row(tenant, key, delivery.document(), {"event": delivery.id})


def _waiting(tenant: str, delivery: Delivery) -> Row:
    return _row(tenant, DeliveryState.PENDING, delivery)


def _dead(tenant: str, delivery: Delivery) -> list[Put]:
    row = _row(tenant, DeliveryState.DEAD, delivery)
    return [Put(row), Put(agenda.look(tenant, agenda.Queue.FORGET, delivery.at + KEEP_DEAD, row.key))]


def _keys_of(row: Row) -> list[str]:
    """Return the key of the row and, of a dead letter, that of the entry that would have it forgotten."""
    if not row.key.startswith(_KINDS[DeliveryState.DEAD]):
        return [row.key]
    given_up_at = Delivery.from_document(row.document).at
    return [row.key, agenda.key(agenda.Queue.FORGET, given_up_at + KEEP_DEAD, row.key)]


def _replayed(row: Row, now: datetime) -> tuple[Change, ...]:
    dead = Delivery.from_document(row.document)
    _, forget = _keys_of(row)
    fresh = _waiting(row.partition, dead.but(put_at=now, at=now, attempts=0))
    return Delete(row), Discard(row.partition, forget), Put(fresh)


def _wait(tried: Delivery) -> timedelta:
    """Return how long to wait before the next attempt: those that failed together do not come back together."""
    wait = RETRIES[tried.attempts - 1]
    digest = sha256(f"{tried.subscription_id}|{tried.id}|{tried.attempts}".encode()).digest()
    return wait * (1 + _JITTER * int.from_bytes(digest[:2], "big") / 0xFFFF)

"""Repeated requests: what an `Idempotency-Key` promises.

The first request with a key reserves it, together with the ids that its effect will have. Whoever repeats it, after
a lost answer or at the same time, works with the same ids, so the effect comes about once. The reservation is marked
done in the transaction of the effect. Keys are remembered for 24 hours.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from vault_core import agenda
from vault_core.errors import IdempotencyKeyReused, RowChanged, RowExists, RowMissing, Unavailable
from vault_core.identities import Caller
from vault_core.stores import Change, Insert, Replace, Row, Table

REMEMBERED_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a request the repeat of another: the caller's key, the operation with its subject, and the body."""

    key: str = field(repr=False)
    operation: str
    body: bytes = field(repr=False)

    def about(self, subject_id: str) -> Once:
        """Return the same with the subject's id: a name may be another's by the time of the repeat."""
        return replace(self, operation=f"{self.operation} {subject_id}")


@dataclass(frozen=True, slots=True)
class Reservation:
    """The plan of the first request with this key; `row` is None when the caller gave no key."""

    plan: dict[str, Any]
    row: Row | None = None
    repeated: bool = False
    done: bool = False

    @property
    def settled(self) -> tuple[Change, ...]:
        """The change that marks the request done; it belongs into the transaction of the effect."""
        if self.row is None:
            return ()
        return (Replace(self.row.with_document({**self.row.document, "done": True})),)


class Repeats:
    """Recognises repeated requests."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def reserve(self, caller: Caller, once: Once | None, plan: dict[str, Any], now: datetime) -> Reservation:
        """Return the reservation of this request, or of the one that it repeats.

        Raises `IdempotencyKeyReused` when the key came with another body or for another operation.
        """
        if once is None:
            return Reservation(plan)
        key = _row_key(caller, once)
        document = {"body": _digest(once), "plan": plan, "done": False}
        forget = agenda.look(caller.tenant, agenda.Queue.FORGET, now + REMEMBERED_FOR, key)
        try:
            row, _ = await self._table.commit(Insert(Row(caller.tenant, key, document)), Insert(forget))
        except RowExists:
            return await self._repeat(caller.tenant, key, once)
        return Reservation(plan, row)

    async def planned(self, caller: Caller, once: Once | None) -> dict[str, Any]:
        """Return the plan of the request that this one repeats, or nothing. Raises `IdempotencyKeyReused`."""
        row = await self._earlier(caller, once)
        return dict(row.document["plan"]) if row else {}

    async def done_before(self, caller: Caller, once: Once | None) -> dict[str, Any]:
        """Return the plan of the request that this one repeats, if that came through. Raises `IdempotencyKeyReused`."""
        row = await self._earlier(caller, once)
        return dict(row.document["plan"]) if row and row.document["done"] else {}

    async def settle(self, reservation: Reservation) -> None:
        """Mark a request done that had nothing to do, so that its repeat has nothing to do either."""
        with suppress(RowChanged):  # its twin did
            await self._table.commit(*reservation.settled)

    async def _earlier(self, caller: Caller, once: Once | None) -> Row | None:
        if once is None:
            return None
        try:
            row = await self._table.read(caller.tenant, _row_key(caller, once))
        except RowMissing:
            return None
        _check_same(row, once)
        return row

    async def _repeat(self, tenant: str, key: str, once: Once) -> Reservation:
        try:
            row = await self._table.read(tenant, key)
        except RowMissing:
            raise Unavailable("The request that this one repeats is just being forgotten; send it again.") from None
        _check_same(row, once)
        return Reservation(row.document["plan"], row, repeated=True, done=row.document["done"])


async def came_through(table: Table, tenant: str, key: str) -> bool:
    """Return whether the request that has the reservation with this key is done.

    A reservation that is not as it was read says nothing yet: it may have been sealed anew, or forgotten.
    """
    try:
        return bool((await table.read(tenant, key)).document["done"])
    except RowMissing:
        return False


def _digest(once: Once) -> str:
    return hashlib.sha256(once.operation.encode() + b"\n" + once.body).hexdigest()


def _check_same(row: Row, once: Once) -> None:
    if row.document["body"] != _digest(once):
        raise IdempotencyKeyReused("This Idempotency-Key was used for another request; choose a new key.")


def _row_key(caller: Caller, once: Once) -> str:
    # One identity's keys never meet another's; the operation is part of the body's comparison.
    named = "\n".join((caller.identity.id, once.key)).encode()
    return f"request:{hashlib.sha256(named).hexdigest()}"

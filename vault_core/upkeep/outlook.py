"""What the timers have to do: counted and told, and nothing done.

In recovery mode this is all that a timer does: after tables were brought back from a backup, what they hold may be
older than what happened since, and nobody wants leases ended, values destroyed or events sent because of it before
somebody has looked. Reading is all that this module can do: it is given no service that changes anything.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from vault_core import agenda
from vault_core.agenda import Entry, Queue, Task
from vault_core.concurrency import batches, gathered
from vault_core.deliveries import Deliveries
from vault_core.errors import SealBroken
from vault_core.lease_rows import DUE_FORGET, DUE_LEASE, KEEP_ENDED, LeaseRows, minute_end
from vault_core.names import as_id
from vault_core.stores import Row, Table
from vault_core.tenants import TenantRows

COUNTED = 1000  # of a queue: what is over that is not looked at
_NAMED = 20
_AT_ONCE = 8
_UNNAMED = frozenset({Task.DISCARD_VALUE.value, Task.RETIRE_KEY.value})  # what they are about is the name of a value
_LEASES_COUNTED = 10_000

UNREADABLE = "unreadable"
"""The task of a tenant whose rows in a queue do not open: a timer passes over the whole of them."""

_log = logging.getLogger(__name__)

TIMERS = ("expire_leases", "check_credentials", "check_rotations", "deliver_events", "reconcile")
"""Every timer there is: a method of the vault, and a function of the app."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Things of one kind that are due in a tenant: how many, since when the oldest, and what some are about."""

    timer: str
    tenant: str
    task: str
    due: int
    oldest_at: datetime
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Thing:
    tenant: str
    task: str
    due_at: datetime
    subject: str


class Outlook:
    """Looks at what is due, without touching it. In a queue of a tenant, up to 1,000 things are counted."""

    def __init__(
        self,
        tenant_names: Iterable[str],
        table: Table,
        leases: LeaseRows,
        decisions: TenantRows,
        deliveries: Deliveries,
    ) -> None:
        self._tenant_names = frozenset(tenant_names)
        self._table = table
        self._leases = leases
        self._decisions = decisions
        self._deliveries = deliveries

    async def of_timer(self, timer: str, now: datetime) -> list[Waiting]:
        """Return what is due for the timer, in all tenants."""
        return await self._waiting(timer, self._tenant_names, now)

    async def of_tenant(self, tenant: str, now: datetime) -> list[Waiting]:
        """Return what is due in the tenant, for all timers."""
        waiting = await gathered(self._waiting(timer, frozenset({tenant}), now) for timer in TIMERS)
        return [one for of_timer in waiting for one in of_timer]

    async def active_leases(self, now: datetime) -> int:
        """Return how many leases have their end before them, up to 10,000; those ended early count until then."""
        return await self._leases.count_after(now, _LEASES_COUNTED)

    async def _waiting(self, timer: str, tenants: frozenset[str], now: datetime) -> list[Waiting]:
        groups: defaultdict[tuple[str, str], list[_Thing]] = defaultdict(list)
        for thing in await self._things(timer, tenants, now):
            groups[thing.tenant, thing.task].append(thing)
        return [
            Waiting(
                timer=timer,
                tenant=tenant,
                task=task,
                due=len(group),
                oldest_at=min(one.due_at for one in group),
                subjects=() if task in _UNNAMED else tuple(dict.fromkeys(one.subject for one in group))[:_NAMED],
            )
            for (tenant, task), group in sorted(groups.items())
        ]

    async def _things(self, timer: str, tenants: frozenset[str], now: datetime) -> list[_Thing]:
        match timer:
            case "expire_leases":
                return await self._of_leases(DUE_LEASE, "lease", tenants, now)
            case "check_credentials":
                return await self._of_agenda(Queue.CHECK, tenants, now)
            case "check_rotations":
                return await self._of_agenda(Queue.ROTATION, tenants, now)
            case "deliver_events":
                return await self._of_subscriptions(tenants, now)
            case "reconcile":
                queues = (
                    self._of_agenda(Queue.INTENT, tenants, now),
                    self._of_agenda(Queue.FORGET, tenants, now),
                    self._of_leases(DUE_FORGET, "forget-leases", tenants, now - KEEP_ENDED),
                )
                return [thing for queue in await gathered(queues) for thing in queue]
            case _:
                raise ValueError(f"there is no timer {timer}")

    async def _of_leases(self, queue: str, task: str, tenants: frozenset[str], before: datetime) -> list[_Thing]:
        """Look at what all tenants have due, up to 10,000 things: they lie minute by minute, not tenant by tenant."""
        counts: Counter[str] = Counter()
        things: list[_Thing] = []
        async for row in self._leases.all_due_before(queue, before, _LEASES_COUNTED):
            thing = _of_lease(row, task)
            if thing and thing.tenant in tenants and counts[thing.tenant] < COUNTED:
                counts[thing.tenant] += 1
                things.append(thing)
        return things

    async def _of_agenda(self, queue: Queue, tenants: frozenset[str], now: datetime) -> list[_Thing]:
        async def of_tenant(tenant: str) -> list[_Thing]:
            entries = await agenda.due(self._table, tenant, queue, now, COUNTED)
            return [_Thing(tenant, _task(queue, entry), entry.due_at, entry.subject) for entry in entries]

        return await self._of_each(tenants, of_tenant, now)

    async def _of_subscriptions(self, tenants: frozenset[str], now: datetime) -> list[_Thing]:
        async def of_tenant(tenant: str) -> list[_Thing]:
            things: list[_Thing] = []
            for one in (await self._decisions.known(tenant)).subscriptions.subscriptions:
                async for found in self._deliveries.due(tenant, one.id, now):
                    things.append(_Thing(tenant, "delivery", found.delivery.at, one.id))
                    if len(things) >= COUNTED:
                        return things
            return things

        return await self._of_each(tenants, of_tenant, now)

    async def _of_each(
        self, tenants: frozenset[str], of_tenant: Callable[[str], Awaitable[list[_Thing]]], now: datetime
    ) -> list[_Thing]:
        """Look at one tenant after the other; of one whose rows do not open, that is told in place of the rest."""

        async def or_unreadable(tenant: str) -> list[_Thing]:
            try:
                return await of_tenant(tenant)
            except SealBroken as broken:
                _log.error('event=outlook tenant=%s error=SealBroken what="%s"', tenant, broken)
                return [_Thing(tenant, UNREADABLE, now, "")]

        things: list[_Thing] = []
        for some in batches(sorted(tenants), _AT_ONCE):
            things += [thing for found in await gathered(map(or_unreadable, some)) for thing in found]
        return things


def _of_lease(row: Row, task: str) -> _Thing | None:
    """Return what a row of the `due` table stands for; None for one that the vault did not write."""
    tenant, credential = row.document.get("tenant"), row.document.get("credential")
    try:
        due_at = minute_end(row)
    except ValueError:
        return None
    return (
        _Thing(tenant, task, due_at, str(as_id(credential) or ""))
        if isinstance(tenant, str) and isinstance(credential, str)
        else None
    )


def _task(queue: Queue, entry: Entry) -> str:
    return str(entry.row.document["task"]) if queue is Queue.INTENT else queue.value

"""The audit: who did what to what, and what was refused.

An event is written before the effect that it tells of, so the audit may tell of something that a crash then
prevented, but nothing happens untold. When an effect fails after its event was written, a second event with the
outcome `failed` follows.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from time import time_ns
from typing import Any, Protocol, Self

from vault_core.concurrency import together
from vault_core.identities import Caller, Identity
from vault_core.stores import AllOf, AnyOf, Compare, Condition, Partitions, Put, Row, Table
from vault_core.wire import Instant, WireModel

_LAST_DAY = 99_999_999
_LAST_MILLISECOND = 9_999_999_999_999
_LAST_NANOSECOND = (1 << 64) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BATCH = 100  # entities in one transaction of Azure Tables


class Outcome(StrEnum):
    """What became of it, as far as was known when the event was written."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


def _new_id() -> str:
    # Among events of one millisecond, those made later sort first, as their rows do.
    return f"{_LAST_NANOSECOND - time_ns():016x}{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that somebody did or was refused. Never holds a value."""

    event: str
    at: datetime
    tenant: str
    identity: Identity
    outcome: Outcome = Outcome.ALLOWED
    credential_id: str | None = None
    credential_name: str | None = None
    lease_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=_new_id)

    def failed(self, code: str) -> AuditEvent:
        """Return the event that says that what this one told of did not come to be."""
        details = {"code": code, "eventId": self.id}
        return replace(self, outcome=Outcome.FAILED, details=details, id=_new_id())


class Event(StrEnum):
    """Everything that is told; `by` makes an event of it."""

    CREDENTIAL_CREATED = "credential.created"
    CREDENTIAL_UPDATED = "credential.updated"
    CREDENTIAL_ROTATED = "credential.rotated"
    CREDENTIAL_REVOKED = "credential.revoked"
    CREDENTIAL_DELETED = "credential.deleted"
    CREDENTIAL_SUSPENDED = "credential.suspended"
    CREDENTIAL_RESUMED = "credential.resumed"
    CREDENTIAL_COMPROMISED = "credential.compromised"
    CREDENTIAL_OWNER_CHANGED = "credential.owner_changed"
    CREDENTIAL_VALIDATED = "credential.validated"
    CREDENTIAL_EXPIRING = "credential.expiring"
    CREDENTIAL_EXPIRED = "credential.expired"
    CREDENTIAL_ROTATION_DUE = "credential.rotation_due"
    VALUE_READ = "value.read"
    VALUE_WRITTEN = "value.written"
    LEASE_CREATED = "lease.created"
    LEASE_RENEWED = "lease.renewed"
    LEASE_EXPIRED = "lease.expired"
    LEASE_REVOKED = "lease.revoked"
    ACCESS_DENIED = "access.denied"
    POLICY_UPDATED = "policy.updated"
    TENANT_SETTINGS_UPDATED = "tenant.settings_updated"
    TENANT_DATA_KEY_ROTATED = "tenant.data_key_rotated"
    TENANT_EXPORTED = "tenant.exported"
    TENANT_IMPORTED = "tenant.imported"
    LOCKER_CREATED = "locker.created"
    LOCKER_UPDATED = "locker.updated"
    LOCKER_DELETED = "locker.deleted"
    LOCKER_MEMBER_CHANGED = "locker.member_changed"
    LOCKER_CONSUMER_CHANGED = "locker.consumer_changed"
    LOCKER_CREDENTIAL_ASSIGNED = "locker.credential_assigned"
    LOCKER_CREDENTIAL_REMOVED = "locker.credential_removed"
    SUBSCRIPTION_CREATED = "subscription.created"
    SUBSCRIPTION_UPDATED = "subscription.updated"
    SUBSCRIPTION_DELETED = "subscription.deleted"
    SUBSCRIPTION_SECRET_ROTATED = "subscription.secret_rotated"  # noqa: S105 - the name of an event
    CONFIGURATION_CREATED = "configuration.created"
    CONFIGURATION_UPDATED = "configuration.updated"
    CONFIGURATION_PUBLISHED = "configuration.published"
    CONFIGURATION_DEPRECATED = "configuration.deprecated"
    CONFIGURATION_DELETED = "configuration.deleted"
    CONFIGURATION_TESTED = "configuration.tested"
    CONFIGURATION_SECRET_ROTATED = "configuration.secret_rotated"  # noqa: S105 - the name of an event

    def by(self, caller: Caller, at: datetime, **about: Any) -> AuditEvent:
        """Return this event as done by the caller; `about` are further fields of `AuditEvent`."""
        return AuditEvent(self.value, at, caller.tenant, caller.identity, **about)


class AuditEventView(WireModel):
    """Something that was done or refused, as it is shown."""

    id: str
    event: str
    at: Instant
    tenant: str
    identity: Identity
    outcome: Outcome
    credential_id: str | None = None
    credential_name: str | None = None
    lease_id: str | None = None
    details: dict[str, Any]

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """Return the event as it is shown."""
        return cls(**{name: getattr(event, name) for name in cls.model_fields})


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which events to list: each given field must match. `since` is inclusive, `until` exclusive."""

    since: datetime
    until: datetime
    event: str | None = None
    credential_id: str | None = None
    identity: str | None = None
    lease_id: str | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Events, newest first; `after` is where the next page begins, None at the end."""

    events: Sequence[AuditEvent]
    after: tuple[str, str] | None


class Follower(Protocol):
    """Takes note of every event that is told; a repeat of one, with the same id and time, changes nothing."""

    async def follow(self, *events: AuditEvent) -> None:
        """Take note of the events. Raises `Unavailable` when that cannot be done."""
        ...


class AuditLog:
    """Appends events and finds them again. A follower hears of each of them at the same time."""

    def __init__(self, table: Table, follower: Follower | None = None) -> None:
        self._table = table
        self._follower = follower

    async def write(self, *events: AuditEvent) -> None:
        """Append the events; writing one with the same id and time again changes nothing.

        Raises `Unavailable` when that cannot be done, and then what the events tell of must not happen.
        """
        if self._follower is None:
            await self._append(events)
        else:
            await together(self._append(events), self._follower.follow(*events))

    async def _append(self, events: Sequence[AuditEvent]) -> None:
        if len(events) == 1:
            await self._table.commit(Put(_row(events[0])))
            return
        rows = sorted((_row(event) for event in events), key=lambda row: (row.partition, row.key))
        for _, group in groupby(rows, key=lambda row: row.partition):
            puts = [Put(row) for row in group]
            await asyncio.gather(
                *(self._table.commit(*puts[start : start + BATCH]) for start in range(0, len(puts), BATCH))
            )

    async def query(
        self, tenant: str, query: AuditQuery, *, limit: int, after: tuple[str, str] | None = None
    ) -> AuditPage:
        """Return up to `limit` events of the tenant, newest first, from one call to the store."""
        span = Partitions(start=_partition(tenant, query.until), end=_partition(tenant, query.since) + "~", after=after)
        page = await self._table.query(span, where=_condition(query), limit=limit)
        last = (page.rows[-1].partition, page.rows[-1].key) if page.more and page.rows else None
        return AuditPage([_event(row) for row in page.rows], last)


def _partition(tenant: str, at: datetime) -> str:
    # Later days sort first, so that one range over partitions reads newest first.
    return f"{tenant}|{_LAST_DAY - int(at.astimezone(UTC).strftime('%Y%m%d')):08d}"


def _reversed_time(at: datetime) -> str:
    return f"{_LAST_MILLISECOND - (at - _EPOCH) // timedelta(milliseconds=1):013d}"


def _row(event: AuditEvent) -> Row:
    identity = event.identity
    columns = {
        "event": event.event,
        "outcome": event.outcome.value,
        "identity": identity.id,
        "identityName": identity.email or identity.name,
        "credential": event.credential_id,
        "lease": event.lease_id,
        "at": event.at,
    }
    document = {
        "event": event.event,
        "at": event.at.isoformat(),
        "tenant": event.tenant,
        "identity": identity.document(),
        "outcome": event.outcome.value,
        "credentialId": event.credential_id,
        "credentialName": event.credential_name,
        "leaseId": event.lease_id,
        "details": dict(event.details),
        "id": event.id,
    }
    return Row(
        _partition(event.tenant, event.at),
        f"{_reversed_time(event.at)}|{event.id}",
        {name: value for name, value in document.items() if value is not None},
        {name: value for name, value in columns.items() if value is not None},
    )


def _event(row: Row) -> AuditEvent:
    kept = row.document
    return AuditEvent(
        event=kept["event"],
        at=datetime.fromisoformat(kept["at"]),
        tenant=kept["tenant"],
        identity=Identity.from_document(kept["identity"]),
        outcome=Outcome(kept["outcome"]),
        credential_id=kept.get("credentialId"),
        credential_name=kept.get("credentialName"),
        lease_id=kept.get("leaseId"),
        details=kept["details"],
        id=kept["id"],
    )


def _condition(query: AuditQuery) -> Condition:
    wanted: list[Condition] = [Compare("at", "ge", query.since), Compare("at", "lt", query.until)]
    if query.event:
        wanted.append(Compare("event", "eq", query.event))
    if query.outcome:
        wanted.append(Compare("outcome", "eq", query.outcome.value))
    if query.credential_id:
        wanted.append(Compare("credential", "eq", query.credential_id))
    if query.lease_id:
        wanted.append(Compare("lease", "eq", query.lease_id))
    if query.identity:
        either = (Compare("identity", "eq", query.identity), Compare("identityName", "eq", query.identity))
        wanted.append(AnyOf(either))
    return AllOf(tuple(wanted))

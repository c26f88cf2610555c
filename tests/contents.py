"""Everything that is kept for a tenant, read from the stores and opened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from pydantic import SecretStr

from tests.vaults import sealed_table
from vault_core.agenda import Task
from vault_core.audit import AuditEvent, AuditLog, AuditQuery, Event, Outcome
from vault_core.configuration import Configuration, Published
from vault_core.credential import Credential
from vault_core.deliveries import Delivery
from vault_core.errors import SecretDisabled
from vault_core.key_ring import KEYS_ROW
from vault_core.lease import Lease, LeaseState, state
from vault_core.lease_rows import DUE_LEASE
from vault_core.locker import Locker
from vault_core.own_values import OwnSet
from vault_core.stores import Partitions, Row, Secrets, Stores, Table
from vault_core.stores.memory import MemorySecrets
from vault_core.subscription import Subscription, SubscriptionList
from vault_core.tenants import SETTINGS_ROW, SUBSCRIPTIONS_ROW, TenantRules
from vault_core.transport_keys import TRANSPORT_KEY_ROW

EVER = AuditQuery(since=datetime(2000, 1, 1, tzinfo=UTC), until=datetime(2100, 1, 1, tzinfo=UTC))


class ListedSecrets(MemorySecrets):
    """Secrets in memory that tell which there are, and every value that there ever was."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.ever_written: list[SecretStr] = []

    async def write(self, name: str, value: SecretStr) -> None:
        await super().write(name, value)
        self.names.add(name)
        self.ever_written.append(value)

    async def delete(self, name: str) -> None:
        await super().delete(name)
        self.names.discard(name)

    @property
    def writes(self) -> tuple[int, ...]:
        """What is the same as long as nothing is written, disabled or deleted."""
        return len(self.ever_written), len(self._disabled), len(self.names)


@dataclass(frozen=True)
class Contents:
    """Everything that is kept for one tenant, opened. `secrets` are the values by name: None for one that is disabled.

    `lockers` and `own` are by the key of their row. `sealed_under` are the versions of the data key in use.
    """

    now: datetime
    rows: tuple[Row, ...]
    sealed_under: frozenset[int]
    keys: Mapping[str, Any]
    credentials: Mapping[str, Credential]
    lockers: Mapping[str, Locker]
    own: Mapping[str, OwnSet]
    leases: tuple[Lease, ...]
    places: Mapping[tuple[str, int], str]
    due: frozenset[str]
    events: tuple[AuditEvent, ...]
    secrets: Mapping[str, Mapping[str, Any] | None]

    def kept_under(self, prefix: str) -> list[Row]:
        return [row for row in self.rows if row.key.startswith(prefix)]

    @property
    def live(self) -> list[Credential]:
        return [one for one in self.credentials.values() if one.deleted_at is None]

    @property
    def live_lockers(self) -> list[Locker]:
        return [one for one in self.lockers.values() if one.deleted_at is None]

    @property
    def transport_secrets(self) -> set[str]:
        return {row.document["secret"] for row in self.kept_under(TRANSPORT_KEY_ROW)}

    def fields_of(self, secret: str | None) -> set[str] | None:
        """The fields of this value; None when it is disabled or gone."""
        envelope = self.secrets.get(secret) if secret else {"fields": ()}
        return None if envelope is None else set(envelope["fields"])

    @property
    def rules(self) -> TenantRules:
        settings = (row for row in self.rows if row.key == SETTINGS_ROW)
        return next((TenantRules.from_document(row.document) for row in settings), TenantRules())

    @cached_property
    def configurations(self) -> Mapping[str, Configuration]:
        found = (Configuration.from_document(row.document) for row in self.kept_under("configuration:"))
        return {one.id: one for one in found}

    @cached_property
    def frozen(self) -> Mapping[str, Published]:
        """The published versions of configurations, by the key of their row."""
        rows = self.kept_under("configuration-version:")
        return {row.key: Published.from_document(row.document) for row in rows}

    @cached_property
    def subscriptions(self) -> Sequence[Subscription]:
        rows = self.kept_under(SUBSCRIPTIONS_ROW)
        return [one for row in rows for one in SubscriptionList.from_document(row.document).subscriptions]

    @property
    def waiting(self) -> list[Delivery]:
        return [Delivery.from_document(row.document) for row in self.kept_under("delivery:")]

    @property
    def dead(self) -> list[Delivery]:
        return [Delivery.from_document(row.document) for row in self.kept_under("dead-letter:")]

    def intents(self, task: Task) -> list[Row]:
        return [row for row in self.kept_under("intent:") if row.document["task"] == task.value]

    def subjects(self, task: Task) -> set[str]:
        return {row.document["subject"] for row in self.intents(task)}

    @property
    def to_prune(self) -> set[str]:
        """The credentials of which the own values will be looked at: one was given when the credential changed."""
        return {row.document["credential"] for row in self.intents(Task.PRUNE)}

    def requests_to_forget(self) -> set[str]:
        return {row.document["subject"] for row in self.kept_under("forget:")}

    def told(self, *events: str, **about: object) -> int:
        """How often one of the events was told and not taken back; `about` are fields of it or of its details."""
        return sum(
            event.event in events
            and event.outcome is Outcome.ALLOWED
            and event.id not in self._taken_back
            and all(getattr(event, name, event.details.get(name)) == wanted for name, wanted in about.items())
            for event in self.events
        )

    @cached_property
    def _taken_back(self) -> frozenset[str]:
        return frozenset(event.details["eventId"] for event in self.events if event.outcome is Outcome.FAILED)

    def is_active(self, lease: Lease) -> bool:
        return state(lease, self.credentials.get(lease.credential_id), self.now) is LeaseState.ACTIVE

    def was_told(self, lease: Lease) -> bool:
        return bool(self.told(Event.LEASE_CREATED, Event.VALUE_READ, lease_id=lease.id))


async def read_contents(stores: Stores, tenant: str, secret_names: set[str], now: datetime) -> Contents:
    """Read everything that is kept for the tenant; `secret_names` are its values that are not deleted."""
    raw = [row async for row in all_of(stores.vault, Partitions(tenant, f"{tenant}~")) if row.partition == tenant]
    keys: Mapping[str, Any] = next((row.document for row in raw if row.key == KEYS_ROW), {})
    rows: list[Row] = []
    if keys.get("current"):
        sealed = sealed_table(stores)
        rows = [await sealed.read(tenant, row.key) for row in raw if row.key != KEYS_ROW]
    else:
        assert all(row.key == KEYS_ROW for row in raw), "rows were kept before the tenant had a key"
    leases = [row async for row in all_of(stores.leases, Partitions(f"{tenant}|", f"{tenant}}}"))]
    due = [row async for row in all_of(stores.due, Partitions(f"{DUE_LEASE}|", f"{DUE_LEASE}}}"))]
    return Contents(
        now=now,
        rows=tuple(rows),
        sealed_under=frozenset(row.document["key"] for row in raw if row.key != KEYS_ROW),
        keys=keys,
        credentials={
            row.key.removeprefix("credential:"): Credential.from_document(row.document)
            for row in rows
            if row.key.startswith("credential:")
        },
        lockers={row.key: Locker.from_document(row.document) for row in rows if row.key.startswith("locker:")},
        own={row.key: OwnSet.from_document(row.document) for row in rows if row.key.startswith("own-values:")},
        leases=tuple(Lease.from_document(row.document) for row in leases if row.key.startswith("lease:")),
        places={
            (row.partition.partition("|")[2], int(row.key.removeprefix("slot:"))): row.document["lease"]
            for row in leases
            if row.key.startswith("slot:")
        },
        due=frozenset(row.document["lease"] for row in due if row.document["tenant"] == tenant),
        events=tuple(await _events(stores, tenant)),
        secrets={name: await _opened(stores.secrets, name) for name in secret_names},
    )


async def all_of(table: Table, span: Partitions) -> AsyncIterator[Row]:
    """Yield the rows of the span, a page at a time."""
    more = True
    while more:
        page = await table.query(span)
        for row in page.rows:
            yield row
        more = page.more
        if page.rows:
            span = Partitions(span.start, span.end, after=(page.rows[-1].partition, page.rows[-1].key))


async def _events(stores: Stores, tenant: str) -> list[AuditEvent]:
    events: list[AuditEvent] = []
    after: tuple[str, str] | None = None
    while True:
        page = await AuditLog(stores.audit).query(tenant, EVER, limit=1000, after=after)
        events.extend(page.events)
        if (after := page.after) is None:
            return events


async def _opened(secrets: Secrets, name: str) -> Mapping[str, Any] | None:
    try:
        envelope: Mapping[str, Any] = json.loads((await secrets.read(name)).get_secret_value())
    except SecretDisabled:
        return None
    return envelope

"""What a tenant decides for all its credentials: defaults for policies, notice period, retention.

These settings, and the tenant's subscriptions, are needed by nearly every request. They are two rows side by side, so
one call reads both, and they are remembered together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_core import agenda
from vault_core.audit import AuditLog, Event
from vault_core.durations import Duration
from vault_core.errors import FieldError, InvalidInput, RowChanged, RowExists, StaleVersion
from vault_core.identities import Caller
from vault_core.policies import BUILT_IN_DEFAULTS, LeasePolicy
from vault_core.records import Record
from vault_core.stores import Change, Insert, Keys, Replace, Row, Table
from vault_core.subscription import SubscriptionList
from vault_core.wire import WireModel

SETTINGS_ROW = "settings"
SUBSCRIPTIONS_ROW = "settings:subscriptions"
FRESH_FOR = timedelta(seconds=10)


class TenantRules(Record):
    """The rules of one tenant. `retention` is how long a revoked value is kept, disabled, for the record."""

    defaults: LeasePolicy = BUILT_IN_DEFAULTS
    notice_period: Duration = timedelta(days=30)
    retention: Duration = timedelta(days=90)
    revision: int = 0
    uncounted_until: datetime | None = None  # leases granted without a place, before there was a limit, may run

    def policy_of(self, own: LeasePolicy) -> LeasePolicy:
        """Return a credential's policy completed by the tenant's defaults."""
        return own.completed_by(self.defaults)

    @property
    def tag(self) -> str:
        """The `ETag` of the rules."""
        return f"tenant.{self.revision}"


class ReplaceTenantRules(WireModel):
    """All the rules of a tenant; what is left out returns to the built-in default."""

    defaults: LeasePolicy = LeasePolicy()
    notice_period: Duration = timedelta(days=30)
    retention: Duration = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a tenant decided, and the rows that say so, by their keys; there is no row of what it never decided."""

    rules: TenantRules
    subscriptions: SubscriptionList
    rows: dict[str, Row]
    read_at: datetime


class TenantRows:
    """Reads and replaces what tenants decided, and remembers it for ten seconds."""

    def __init__(self, table: Table, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._clock = clock
        self._known: dict[str, Decisions] = {}

    async def known(self, tenant: str) -> Decisions:
        """Return what the tenant decided, at most ten seconds old."""
        known = self._known.get(tenant)
        return known if known and self._clock() - known.read_at <= FRESH_FOR else await self.current(tenant)

    async def current(self, tenant: str) -> Decisions:
        """Return what the tenant decided, as it is now."""
        read_at = self._clock()
        page = await self._table.query(Keys(tenant, SETTINGS_ROW, f"{SETTINGS_ROW}~"))
        return self._remember(tenant, {row.key: row for row in page.rows}, read_at)

    async def replace(self, tenant: str, before: Decisions, key: str, after: Record, *more: Change) -> list[Row]:
        """Put the record in place of the row that was read, with `more`, all or none; return the written rows.

        Raises `RowChanged` or `RowExists` when a row is not as it was read.
        """
        there = before.rows.get(key)
        new = Row(tenant, key, after.document(), etag=there.etag if there else "")
        written = await self._table.commit(Replace(new) if there else Insert(new), *more)
        self._remember(tenant, before.rows | {key: written[0]}, before.read_at)
        return written

    def _remember(self, tenant: str, rows: dict[str, Row], read_at: datetime) -> Decisions:
        settings, subscriptions = rows.get(SETTINGS_ROW), rows.get(SUBSCRIPTIONS_ROW)
        self._known[tenant] = Decisions(
            TenantRules.from_document(settings.document) if settings else TenantRules(),
            SubscriptionList.from_document(subscriptions.document) if subscriptions else SubscriptionList(),
            rows,
            read_at,
        )
        return self._known[tenant]


class Tenants:
    """Reads and replaces a tenant's rules. A change takes effect everywhere within ten seconds."""

    def __init__(self, rows: TenantRows, audit: AuditLog) -> None:
        self._rows = rows
        self._audit = audit

    async def rules(self, tenant: str) -> TenantRules:
        """Return the tenant's rules, at most ten seconds old."""
        return (await self._rows.known(tenant)).rules

    async def current(self, tenant: str) -> TenantRules:
        """Return the tenant's rules as they are now."""
        return (await self._rows.current(tenant)).rules

    async def replace(
        self, caller: Caller, wanted: ReplaceTenantRules, if_match: str | None, now: datetime
    ) -> TenantRules:
        """Replace the rules. Raises `InvalidInput`, and `StaleVersion` when they are not those of `if_match`."""
        before = await self._rows.current(caller.tenant)
        present = before.rules
        if if_match not in (None, present.tag):
            raise _stale()
        rules = TenantRules(
            defaults=wanted.defaults.completed_by(BUILT_IN_DEFAULTS),
            notice_period=wanted.notice_period,
            retention=wanted.retention,
            revision=present.revision + 1,
            uncounted_until=uncounted_until(present.defaults, present.uncounted_until, now + FRESH_FOR),
        )
        check_ttls(rules.defaults, "defaults")
        event = Event.TENANT_SETTINGS_UPDATED.by(caller, now, details=rules.document())
        await self._audit.write(event)
        look_again = agenda.intent(caller.tenant, agenda.Task.RESCHEDULE, now + FRESH_FOR, str(rules.revision))
        try:
            await self._rows.replace(caller.tenant, before, SETTINGS_ROW, rules, Insert(look_again))
        except (RowChanged, RowExists):
            await self._audit.write(event.failed(StaleVersion.code))
            raise _stale() from None
        return rules


def check_ttls(policy: LeasePolicy, where: str) -> None:
    """Return unless the default TTL is over the maximum; `InvalidInput` then."""
    longest, usual = policy.max_lease_ttl, policy.default_lease_ttl
    if longest and usual and usual > longest:
        fault = FieldError(f"{where}.defaultLeaseTTL", "must not be over maxLeaseTTL")
        raise InvalidInput("The default lease TTL is over the maximum; lower it or raise the maximum.", (fault,))


def uncounted_until(policy: LeasePolicy, known: datetime | None, now: datetime) -> datetime | None:
    """Return until when leases may run that were granted without a place, when a complete policy ends at `now`."""
    if policy.max_leases is not None or policy.max_lease_ttl is None:
        return known
    return max(now + policy.max_lease_ttl, known or now)


def _stale() -> StaleVersion:
    return StaleVersion("The tenant's settings changed since you read them; read them again and repeat your change.")

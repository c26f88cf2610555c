"""What a tenant decides for all its credentials: defaults for policies, notice period, retention."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from vault_core import agenda
from vault_core.audit import AuditLog, Event
from vault_core.durations import Duration
from vault_core.errors import FieldError, InvalidInput, RowChanged, RowExists, RowMissing, StaleVersion
from vault_core.identities import Caller
from vault_core.policies import BUILT_IN_DEFAULTS, LeasePolicy
from vault_core.records import Record
from vault_core.stores import Insert, Replace, Row, Table
from vault_core.wire import WireModel

SETTINGS_ROW = "settings"
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


class Tenants:
    """Reads and replaces a tenant's rules. A change takes effect everywhere within ten seconds."""

    def __init__(self, table: Table, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._audit = audit
        self._clock = clock
        self._known: dict[str, tuple[datetime, TenantRules]] = {}

    async def rules(self, tenant: str) -> TenantRules:
        """Return the tenant's rules, at most ten seconds old."""
        read_at, rules = self._known.get(tenant, (None, None))
        if rules is None or read_at is None or self._clock() - read_at > FRESH_FOR:
            rules, _ = await self._read(tenant)
            self._known[tenant] = (self._clock(), rules)
        return rules

    async def current(self, tenant: str) -> TenantRules:
        """Return the tenant's rules as they are now."""
        rules, _ = await self._read(tenant)
        return rules

    async def replace(
        self, caller: Caller, wanted: ReplaceTenantRules, if_match: str | None, now: datetime
    ) -> TenantRules:
        """Replace the rules. Raises `InvalidInput`, and `StaleVersion` when they are not those of `if_match`."""
        present, row = await self._read(caller.tenant)
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
        new = Row(caller.tenant, SETTINGS_ROW, rules.document(), etag=row.etag if row else "")
        look_again = agenda.intent(caller.tenant, agenda.Task.RESCHEDULE, now + FRESH_FOR, str(rules.revision))
        try:
            await self._table.commit(Replace(new) if row else Insert(new), Insert(look_again))
        except (RowChanged, RowExists):
            await self._audit.write(event.failed(StaleVersion.code))
            raise _stale() from None
        self._known[caller.tenant] = (self._clock(), rules)
        return rules

    async def _read(self, tenant: str) -> tuple[TenantRules, Row | None]:
        try:
            row = await self._table.read(tenant, SETTINGS_ROW)
        except RowMissing:
            return TenantRules(), None
        return TenantRules.from_document(row.document), row


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

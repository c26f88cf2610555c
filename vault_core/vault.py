"""The vault: its services, wired to the stores. It keeps no state of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from vault_core.admission import Admission
from vault_core.attribute_values import AttributeValues
from vault_core.audit import AuditLog
from vault_core.credential_listing import CredentialListing
from vault_core.credential_rows import CredentialRows
from vault_core.credential_writes import CredentialWrites
from vault_core.credentials import Credentials
from vault_core.endings import Endings
from vault_core.grants import Grants
from vault_core.health import HealthCheck
from vault_core.lease_rows import LeaseRows
from vault_core.leases import Leases
from vault_core.locker_rows import LockerRows
from vault_core.lockers import Lockers
from vault_core.new_values import NewValues
from vault_core.own_values import OwnValues
from vault_core.policies import Guard
from vault_core.redefinitions import Redefinitions
from vault_core.repeats import Repeats
from vault_core.sealing import KeyRing, SealedTable
from vault_core.stores import Stores
from vault_core.tenants import Tenants
from vault_core.transport_keys import TransportKeys
from vault_core.upkeep.expiry import LeaseExpiry
from vault_core.upkeep.notices import Notices
from vault_core.upkeep.reconciler import Reconciler
from vault_core.upkeep.runs import Report, Run
from vault_core.values import Values


class Vault:
    """Everything that can be asked of the vault, by noun, and what its timers do."""

    def __init__(self, stores: Stores, tenant_names: Iterable[str], clock: Callable[[], datetime]) -> None:
        names = tuple(tenant_names)
        keys = KeyRing(stores.vault, stores.secrets)
        sealed = SealedTable(stores.vault, "vault", keys)
        values = Values(stores.secrets, clock)
        rows, lease_rows = CredentialRows(sealed), LeaseRows(stores.leases, stores.due)
        self.audit = AuditLog(stores.audit)
        self.tenants = Tenants(sealed, self.audit, clock)
        self.health = HealthCheck(stores.due, stores.secrets, clock)
        guard, repeats = Guard(self.audit), Repeats(sealed)
        lockers = LockerRows(sealed)
        own_values = OwnValues(sealed, values, self.audit)
        admission = Admission(rows, lockers, self.tenants, guard)
        endings = Endings(rows, lease_rows, values, own_values, self.audit, self.tenants)
        new_values = NewValues(sealed, values, keys, self.audit, endings)
        writes = CredentialWrites(rows, new_values, self.audit)
        self.credentials = Credentials(
            rows, lockers, admission, writes, new_values, self.audit, self.tenants, repeats, endings
        )
        self.values = AttributeValues(rows, admission, writes, new_values, own_values, self.audit, endings)
        self.redefinitions = Redefinitions(admission, writes, new_values, endings)
        self.listing = CredentialListing(rows, lockers, self.tenants)
        self.lockers = Lockers(lockers, rows, admission, self.audit, guard, self.tenants, repeats, endings)
        self.grants = Grants(
            rows, lockers, admission, lease_rows, values, own_values, self.audit, guard, self.tenants, repeats
        )
        self.leases = Leases(rows, admission, lease_rows, self.audit, self.tenants, repeats)
        self.transport_keys = TransportKeys(sealed, stores.secrets, endings)
        self._clock = clock
        self._expiry = LeaseExpiry(names, rows, lease_rows, self.audit, endings)
        self._notices = Notices(names, rows, self.audit, self.tenants)
        self._reconciler = Reconciler(names, rows, endings, self.tenants)

    async def expire_leases(self) -> Report:
        """Mark the leases that are past their end."""
        return await self._timed("expire_leases", self._expiry.expire_leases)

    async def check_credentials(self) -> Report:
        """Find values that their own type knows to be over."""
        return await self._timed("check_credentials", self._notices.check_credentials)

    async def check_rotations(self) -> Report:
        """Announce rotations that are due, and credentials that end."""
        return await self._timed("check_rotations", self._notices.check_rotations)

    async def reconcile(self) -> Report:
        """Finish or undo what was left half-done, and forget what is past its time."""

        async def both(run: Run) -> Report:
            return await self._reconciler.reconcile(run) + await self._expiry.forget_leases(run)

        return await self._timed("reconcile", both)

    async def _timed(self, name: str, work: Callable[[Run], Awaitable[Report]]) -> Report:
        report = await work(Run(name, self._clock(), self._clock))
        await self.health.beat(name, report)
        return report

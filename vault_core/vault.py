"""The vault: its services, wired to the stores. It keeps no state of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from vault_core.admission import Admission
from vault_core.attribute_values import AttributeValues
from vault_core.audit import AuditLog
from vault_core.checks import Checks
from vault_core.compromises import Compromises
from vault_core.configuration_removal import ConfigurationRemoval
from vault_core.configuration_rows import ConfigurationRows
from vault_core.configurations import Configurations
from vault_core.contracts import Contracts
from vault_core.courier import Courier
from vault_core.creations import Creations
from vault_core.credential_listing import CredentialListing
from vault_core.credential_rows import CredentialRows
from vault_core.credential_writes import CredentialWrites
from vault_core.credentials import Credentials
from vault_core.data_keys import DataKeys
from vault_core.deliveries import Deliveries, Outbox
from vault_core.endings import Endings
from vault_core.exports import Exports
from vault_core.grants import Grants
from vault_core.health import HealthCheck
from vault_core.imported_credentials import ImportedCredentials
from vault_core.imports import Imports
from vault_core.key_ring import KeyRing
from vault_core.lease_rows import LeaseRows
from vault_core.leases import Leases
from vault_core.locker_rows import LockerRows
from vault_core.lockers import Lockers
from vault_core.new_values import NewValues
from vault_core.outbound import Outbound
from vault_core.own_values import OwnValues
from vault_core.paces import Paces
from vault_core.pending_values import PendingValues
from vault_core.policies import Guard
from vault_core.redefinitions import Redefinitions
from vault_core.repeats import Repeats
from vault_core.resolution import Resolution
from vault_core.sealing import SealedTable
from vault_core.stores import Stores
from vault_core.subscriptions import Subscriptions
from vault_core.summary import Summaries
from vault_core.tenants import TenantRows, Tenants
from vault_core.timed_runs import TimedRuns, Work
from vault_core.transport_keys import TransportKeys
from vault_core.trials import Trials
from vault_core.upgrades import Upgrades
from vault_core.upkeep.deliveries import EventDelivery
from vault_core.upkeep.expiry import LeaseExpiry
from vault_core.upkeep.notices import Notices
from vault_core.upkeep.outlook import Outlook
from vault_core.upkeep.reconciler import Reconciler
from vault_core.upkeep.runs import RUN_FOR, Report, Run
from vault_core.upkeep.value_checks import CHECK_FOR, ValueChecks
from vault_core.validations import Validations
from vault_core.values import Values
from vault_core.vendor_calls import VendorCalls


class Vault:
    """Everything that can be asked of the vault, by noun, and what its timers do.

    With `recovering`, timers only tell what they would do.
    """

    def __init__(
        self,
        stores: Stores,
        tenant_names: Iterable[str],
        clock: Callable[[], datetime],
        outbound: Outbound,
        *,
        recovering: bool = False,
    ) -> None:
        names = tuple(tenant_names)
        keys = KeyRing(stores.vault, stores.secrets, clock)
        sealed = SealedTable(stores.vault, "vault", keys)
        values = Values(stores.secrets, clock)
        rows, lease_rows = CredentialRows(sealed), LeaseRows(stores.leases, stores.due)
        decisions = TenantRows(sealed, clock)
        self.audit = AuditLog(stores.audit, Outbox(sealed, decisions, clock))
        self.tenants = Tenants(decisions, self.audit)
        self.health = HealthCheck(stores.due, stores.secrets, clock)
        guard, repeats, paces = Guard(self.audit), Repeats(sealed), Paces(sealed)
        lockers = LockerRows(sealed)
        pending = PendingValues(sealed, values, self.audit)
        own_values = OwnValues(sealed, values, self.audit, pending)
        admission = Admission(rows, lockers, self.tenants, guard)
        configurations = ConfigurationRows(sealed, stores.catalog, names)
        contracts = Contracts(configurations, outbound)
        calls = VendorCalls(contracts, values, outbound)
        checks = Checks(rows, calls, paces, self.audit)
        removal = ConfigurationRemoval(configurations, rows, values)
        endings = Endings(rows, lease_rows, values, own_values, checks, configurations, self.audit, self.tenants)
        new_values = NewValues(values, keys, self.audit, pending, contracts, checks)
        writes = CredentialWrites(rows, new_values, self.audit)
        self.creations = Creations(rows, admission, contracts, new_values, guard, self.tenants, repeats)
        self.credentials = Credentials(
            rows, lockers, admission, writes, new_values, self.audit, self.tenants, repeats, endings
        )
        self.values = AttributeValues(rows, admission, writes, new_values, own_values, self.audit, endings)
        self.compromises = Compromises(rows, admission, writes, lease_rows, endings, self.audit, repeats)
        self.redefinitions = Redefinitions(admission, writes, new_values, endings)
        self.upgrades = Upgrades(admission, contracts, writes, new_values)
        self.validations = Validations(admission, new_values, checks, self.audit)
        self.resolution = Resolution(sealed, rows, lockers, self.tenants, guard)
        self.listing = CredentialListing(rows, lockers, self.tenants)
        self.summaries = Summaries(self.listing)
        self.configurations = Configurations(
            configurations, removal, Trials(calls, paces, outbound), pending, values, self.audit, guard, repeats
        )
        deliveries, courier = Deliveries(sealed), Courier(values, outbound, clock)
        self.subscriptions = Subscriptions(
            sealed, decisions, deliveries, courier, outbound, paces, pending, values, self.audit, repeats
        )
        self.exports = Exports(sealed, decisions, self.audit)
        imported = ImportedCredentials(rows, lockers, contracts, guard, self.tenants, self.audit)
        self.imports = Imports(lockers, imported, self.subscriptions, self.tenants, self.audit)
        self.lockers = Lockers(lockers, rows, admission, self.audit, guard, self.tenants, repeats, endings)
        self.grants = Grants(
            rows, lockers, admission, lease_rows, values, own_values, self.audit, guard, self.tenants, repeats
        )
        self.leases = Leases(rows, admission, lease_rows, self.audit, self.tenants, repeats)
        self.data_keys = DataKeys(keys, sealed, stores.secrets, self.audit)
        self.transport_keys = TransportKeys(sealed, stores.secrets, endings)
        self.outlook = Outlook(names, sealed, lease_rows, decisions, deliveries)
        self.recovering = recovering
        self._timed_runs = TimedRuns(self.health, self.outlook, clock, recovering=recovering)
        self._expiry = LeaseExpiry(names, rows, lease_rows, self.audit, endings)
        self._notices = Notices(names, rows, self.audit, self.tenants)
        self._value_checks = ValueChecks(names, rows, new_values, checks, self.audit, self.tenants)
        self._reconciler = Reconciler(names, rows, endings, removal, self.subscriptions, self.tenants, self.data_keys)
        self._event_delivery = EventDelivery(names, decisions, deliveries, courier)

    async def expire_leases(self) -> Report:
        """Mark the leases that are past their end."""
        return await self._timed("expire_leases", self._expiry.expire_leases)

    async def check_credentials(self) -> Report:
        """Ask vendors whether values still work, and find those that their own type knows to be over."""
        return await self._timed("check_credentials", self._value_checks.check_credentials, CHECK_FOR)

    async def deliver_events(self) -> Report:
        """Bring events to those who subscribed to them."""
        return await self._timed("deliver_events", self._event_delivery.deliver_events)

    async def check_rotations(self) -> Report:
        """Announce rotations that are due, and credentials that end."""
        return await self._timed("check_rotations", self._notices.check_rotations)

    async def reconcile(self) -> Report:
        """Finish or undo what was left half-done, and forget what is past its time."""

        async def both(run: Run) -> Report:
            return await self._reconciler.reconcile(run) + await self._expiry.forget_leases(run)

        return await self._timed("reconcile", both)

    async def _timed(self, name: str, work: Work, lasts: timedelta = RUN_FOR) -> Report:
        return await self._timed_runs.run(name, work, lasts)

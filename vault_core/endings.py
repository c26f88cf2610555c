"""What must still happen after a credential was revoked, compromised, deleted, rotated or redefined, or its locker
deleted.

Every step can be repeated.

A request does it at once; the reconciler does it when the request was cut short, from the intent that was written in
the same transaction as the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from math import inf

from vault_core import agenda
from vault_core.audit import AuditLog, Event
from vault_core.checks import Checks
from vault_core.configuration_rows import ConfigurationRows
from vault_core.credential import Credential, State, destroyed, out_of_locker
from vault_core.credential_rows import CredentialRows, Found, credential_key
from vault_core.errors import CredentialChanged, RowChanged, RowMissing, SecretDisabled, SecretMissing, Unavailable
from vault_core.identities import Caller
from vault_core.lease import LeaseState
from vault_core.lease_events import revocation
from vault_core.lease_rows import Held, LeaseRows, active, active_on, active_up_to, partition
from vault_core.locker import Locker
from vault_core.locker_rows import locker_key
from vault_core.own_values import FoundSet, OwnValues, without
from vault_core.pending_values import discard_unless_held
from vault_core.stores import Compare, Condition, Delete, Discard, Keys, Put, Row
from vault_core.tenants import Tenants
from vault_core.values import Values

_ATTEMPTS = 10
_BATCH = 100


class Endings:
    """Finishes revocations, deletions and rotations."""

    def __init__(
        self,
        rows: CredentialRows,
        leases: LeaseRows,
        values: Values,
        own_values: OwnValues,
        checks: Checks,
        configurations: ConfigurationRows,
        audit: AuditLog,
        tenants: Tenants,
    ) -> None:
        self._checks = checks
        self._configurations = configurations
        self._rows = rows
        self._leases = leases
        self._values = values
        self._own_values = own_values
        self._audit = audit
        self._tenants = tenants

    async def finish_revocation(self, caller: Caller, credential_id: str, intent: Row, now: datetime) -> None:
        """End the leases and disable the values of a revoked credential; plan the end of its retention."""
        try:
            found = await self._rows.read(caller.tenant, credential_id)
        except RowMissing:
            return await self._drop(intent)
        if found.credential.newest.state is not State.REVOKED:  # imported again since it was revoked and deleted
            return await self._drop(intent)
        await self._end_leases(caller, found.credential, active(now), now)
        for version in found.credential.versions:
            if version.secret:
                with suppress(SecretMissing):
                    await self._values.disable(version.secret)
        await self._own_values.disable_all(caller.tenant, credential_id)
        rules = await self._tenants.rules(caller.tenant)
        revoked_at = found.credential.newest.revoked_at or now
        purge = agenda.purge(caller.tenant, revoked_at + rules.retention, credential_id, revoked_at)
        await self._rows.table.commit(Put(purge))
        return await self._drop(intent)

    async def finish_compromise(self, caller: Caller, intent: Row, now: datetime) -> None:
        """End the leases on the versions that were reported as compromised; those granted since then go on.

        Values that no lease is on any longer are destroyed.
        """
        asked = intent.document
        credential_id, version, revision = asked["credential"], int(asked["version"]), int(asked["revision"])
        with suppress(RowMissing):
            credential = (await self._rows.read(caller.tenant, credential_id)).credential
            if credential.revision >= revision:  # otherwise it was deleted and imported again since
                await self._end_leases(caller, credential, active_up_to(version, now), now, before=revision)
                for one in credential.versions:
                    if one.secret and one.number <= version and one.state is State.ROTATED:
                        await self.retire(caller, credential_id, one.number, now)
        return await self._drop(intent)

    async def finish_deletion(self, caller: Caller, credential_id: str, intent: Row, now: datetime) -> None:
        """End the leases, destroy the values and remove the rows of a deleted credential."""
        try:
            row = await self._rows.table.read(caller.tenant, credential_key(credential_id))
        except RowMissing:
            return await self._drop(intent)
        credential = Credential.from_document(row.document)
        if credential.deleted_at is None:  # imported again since
            return await self._drop(intent)
        await self._end_leases(caller, credential, active(now), now)
        await self._remove_leases(caller.tenant, credential_id)
        for version in credential.versions:
            if version.secret:
                await self._values.destroy(version.secret)
        await self._own_values.destroy_all(caller.tenant, credential_id, now)
        if credential.configuration or credential.validation.checks:
            await self._checks.forget(caller.tenant, credential_id)
        if credential.configuration:
            await self._configurations.unpin(caller.tenant, credential_id, credential.configuration)
        try:
            await self._rows.table.commit(Delete(row))
        except RowChanged:  # a twin was faster, or it was sealed anew: look again
            return await self.finish_deletion(caller, credential_id, intent, now)
        return await self._drop(intent)

    async def finish_pruning(self, caller: Caller, credential_id: str, intent: Row, now: datetime) -> None:
        """Destroy what consumers gave that the credential does not ask for any longer, or all if it is gone."""
        for _ in range(_ATTEMPTS):
            # A consumer may change its values meanwhile; a revocation or deletion may not see a set that is put here.
            with suppress(RowChanged, SecretMissing, SecretDisabled):
                if await self._is_pruned(caller, credential_id, now):
                    return await self._drop(intent)
        raise Unavailable("Consumers keep changing their values; those of removed attributes are destroyed later.")

    async def _is_pruned(self, caller: Caller, credential_id: str, now: datetime) -> bool:
        """Prune what is to be pruned; return whether no set was put, so that there is nothing to look at again."""
        try:
            found = await self._rows.read(caller.tenant, credential_id)
        except RowMissing:
            await self._own_values.destroy_all(caller.tenant, credential_id, now)
            return True
        if found.credential.newest.state is State.REVOKED:
            await self._own_values.disable_all(caller.tenant, credential_id)
            return True
        asked_for, pruned = {one.id for one in found.credential.user_provided}, 0
        async for given in self._own_values.of_credential(caller.tenant, credential_id):
            if gone := set(given.own.marks) - asked_for:
                await self._prune_set(caller, found, given, gone, now)
                pruned += 1
        return pruned == 0

    async def _prune_set(self, caller: Caller, found: Found, given: FoundSet, gone: set[str], now: datetime) -> None:
        told = Event.VALUE_WRITTEN.by(
            caller,
            now,
            credential_id=found.credential.id,
            credential_name=found.credential.name,
            details={"consumer": given.own.consumer_id, "removed": len(gone)},
        )
        left = without(given.own, gone)
        if not left.marks:
            await self._own_values.remove(found.tenant, given, told, now)
            return
        values = await self._own_values.read(found.tenant, given.own)
        kept = {key: text for key, text in values.items() if key in left.marks}
        await self._own_values.put(found.tenant, given, left, kept, told, now)

    async def finish_emptying(self, caller: Caller, locker_id: str, intent: Row, now: datetime) -> None:
        """Take the credentials out of a deleted locker, then remove its row."""
        locker = await self._deleted_locker(caller.tenant, locker_id)
        if locker is None:
            return await self._drop(intent)
        rules = await self._tenants.rules(caller.tenant)
        inside = Compare("locker", "eq", locker_id)
        span, conflicts = Keys(caller.tenant, "credential:", "credential;"), 0
        while rows := (await self._rows.table.query(span, where=inside, limit=_BATCH)).rows:
            if conflicts > _BATCH:
                raise Unavailable("The locker's credentials keep changing; they are taken out later.")
            for row in rows:
                found = Found(Credential.from_document(row.document), row)
                told = Event.LOCKER_CREDENTIAL_REMOVED.by(
                    caller,
                    now,
                    credential_id=found.credential.id,
                    credential_name=found.credential.name,
                    details={"locker": locker_id},
                )
                await self._audit.write(told)
                try:
                    await self._rows.replace(found, out_of_locker(found.credential, locker_id), rules)
                except RowChanged:  # it was changed meanwhile: look again
                    conflicts += 1
                    await self._audit.write(told.failed(CredentialChanged.code))
        try:
            await self._rows.table.commit(Delete(locker))
        except RowChanged:  # a twin was faster, or it was sealed anew: look again
            return await self.finish_emptying(caller, locker_id, intent, now)
        return await self._drop(intent)

    async def _deleted_locker(self, tenant: str, locker_id: str) -> Row | None:
        """Return the row of the locker; None when it is gone, or was imported again since."""
        try:
            row = await self._rows.table.read(tenant, locker_key(locker_id))
        except RowMissing:
            return None
        return row if Locker.from_document(row.document).deleted_at else None

    async def retire(self, caller: Caller, credential_id: str, number: int, now: datetime) -> datetime | None:
        """Destroy the value of a rotated version if its last lease is over; return when to try again otherwise."""
        for _ in range(_ATTEMPTS):
            with suppress(RowChanged):  # it was changed meanwhile, perhaps to retire another version: look again
                return await self._retire(caller.tenant, credential_id, number, now)
        raise Unavailable("The credential keeps changing; its rotated value is destroyed later.")

    async def _retire(self, tenant: str, credential_id: str, number: int, now: datetime) -> datetime | None:
        try:
            found = await self._rows.read(tenant, credential_id)
        except RowMissing:
            return None
        version = found.credential.version(number)
        if version is None or version.secret is None or version.state is not State.ROTATED:
            return None
        running = await self._leases.select(tenant, credential_id, active_on(number, now))
        if running:
            return max(held.lease.expires_at for held in running)
        await self._let_go(found, [number], now)
        return None

    async def purge(self, caller: Caller, credential_id: str, intent: Row, now: datetime) -> None:
        """Destroy the values of a revoked credential whose retention is over."""
        try:
            found = await self._rows.read(caller.tenant, credential_id)
        except RowMissing:
            return
        revoked_at = found.credential.newest.revoked_at
        if revoked_at is None or agenda.is_of_another(intent, revoked_at):  # imported again since, perhaps revoked too
            return
        held = [version.number for version in found.credential.versions if version.secret]
        await self._own_values.destroy_all(caller.tenant, credential_id, now)
        await self._let_go(found, held, now)

    async def discard_value(self, intent: Row) -> None:
        """Delete a value that nothing holds, as `pending_values.discard_unless_held`."""
        await discard_unless_held(self._rows.table, self._values, intent)

    async def _end_leases(
        self, caller: Caller, credential: Credential, which: Condition, now: datetime, *, before: float = inf
    ) -> None:
        """Mark these leases of the credential as revoked, each with its audit event, and free their places.

        Those alone that were granted when the credential had a revision before this one.
        """
        tenant, conflicts = caller.tenant, 0
        while running := await self._granted_before(before, tenant, credential.id, which):
            await self._audit.write(*(revocation(caller, held.lease, now) for held in running))
            placed = any(held.lease.reference.slot is not None for held in running)
            places = await self._leases.places(tenant, credential.id) if placed else []
            try:
                await self._leases.end(tenant, running, LeaseState.REVOKED, now, places)
            except RowChanged:  # renewed or ended meanwhile: look again
                conflicts += 1
                if conflicts > _ATTEMPTS:
                    raise Unavailable("Not all leases could be marked yet; none is honoured. Repeat it.") from None

    async def _granted_before(self, revision: float, tenant: str, credential_id: str, which: Condition) -> list[Held]:
        """Return some of these leases that were granted before this revision of the credential, or none at the end."""
        first = ""
        while held := await self._leases.select(tenant, credential_id, which, (first, "~")):
            if older := [one for one in held if one.lease.credential_revision < revision]:
                return older
            first = f"{held[-1].lease.reference.token}0"
        return []

    async def _let_go(self, found: Found, numbers: Sequence[int], now: datetime) -> None:
        """Record first that the values are gone, with intents to delete them: no pointer names a missing value."""
        credential = found.credential
        names = [version.secret for version in credential.versions if version.number in numbers and version.secret]
        for number in numbers:
            credential = destroyed(credential, number, now)
        intents = [agenda.discarding(found.tenant, now, name, found.row.key) for name in names]
        rules = await self._tenants.rules(found.tenant)
        await self._rows.replace(found, credential, rules, *(Put(intent) for intent in intents))
        for name, intent in zip(names, intents, strict=True):
            await self._values.destroy(name)
            await self._drop(intent)

    async def _remove_leases(self, tenant: str, credential_id: str) -> None:
        where = partition(tenant, credential_id)
        while rows := (await self._leases.leases.query(Keys(where, "", "~"), limit=_BATCH)).rows:
            with suppress(RowChanged):  # some went meanwhile: look again
                await self._leases.leases.commit(*(Discard(row.partition, row.key) for row in rows))

    async def _drop(self, intent: Row) -> None:
        await self._rows.table.commit(Discard(intent.partition, intent.key))

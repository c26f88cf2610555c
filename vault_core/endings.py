"""What must still happen after a credential was revoked, deleted or rotated. Every step can be repeated.

A request does it at once; the reconciler does it when the request was cut short, from the intent that was written in
the same transaction as the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from vault_core import agenda
from vault_core.audit import AuditLog
from vault_core.credential import Credential, State, destroyed
from vault_core.credential_rows import CredentialRows, Found, credential_key
from vault_core.errors import RowChanged, RowMissing, SecretMissing, Unavailable
from vault_core.identities import Caller
from vault_core.lease import LeaseState
from vault_core.lease_events import revocation
from vault_core.lease_rows import LeaseRows, active, active_on, partition
from vault_core.stores import Delete, Discard, Keys, Put, Row
from vault_core.tenants import Tenants
from vault_core.values import Values

_ATTEMPTS = 10
_BATCH = 100


class Endings:
    """Finishes revocations, deletions and rotations."""

    def __init__(
        self, rows: CredentialRows, leases: LeaseRows, values: Values, audit: AuditLog, tenants: Tenants
    ) -> None:
        self._rows = rows
        self._leases = leases
        self._values = values
        self._audit = audit
        self._tenants = tenants

    async def finish_revocation(self, caller: Caller, credential_id: str, intent: Row, now: datetime) -> None:
        """End the leases and disable the values of a revoked credential; plan the end of its retention."""
        try:
            found = await self._rows.read(caller.tenant, credential_id)
        except RowMissing:
            return await self._drop(intent)
        await self.end_leases(caller, found.credential, now)
        for version in found.credential.versions:
            if version.secret:
                with suppress(SecretMissing):
                    await self._values.disable(version.secret)
        rules = await self._tenants.rules(caller.tenant)
        revoked_at = found.credential.newest.revoked_at or now
        purge = agenda.intent(caller.tenant, agenda.Task.PURGE, revoked_at + rules.retention, credential_id)
        await self._rows.table.commit(Put(purge))
        return await self._drop(intent)

    async def finish_deletion(self, caller: Caller, credential_id: str, intent: Row, now: datetime) -> None:
        """End the leases, destroy the values and remove the rows of a deleted credential."""
        try:
            row = await self._rows.table.read(caller.tenant, credential_key(credential_id))
        except RowMissing:
            return await self._drop(intent)
        credential = Credential.from_document(row.document)
        await self.end_leases(caller, credential, now)
        await self._remove_leases(caller.tenant, credential_id)
        for version in credential.versions:
            if version.secret:
                await self._values.destroy(version.secret)
        with suppress(RowChanged):  # a twin was faster
            await self._rows.table.commit(Delete(row))
        return await self._drop(intent)

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

    async def purge(self, caller: Caller, credential_id: str, now: datetime) -> None:
        """Destroy the values of a revoked credential whose retention is over."""
        try:
            found = await self._rows.read(caller.tenant, credential_id)
        except RowMissing:
            return
        held = [version.number for version in found.credential.versions if version.secret]
        await self._let_go(found, held, now)

    async def discard_value(self, intent: Row) -> None:
        """Delete a value that no credential holds. The intent is claimed first, so that no credential can come to."""
        [claimed] = await self._rows.table.commit(agenda.claimed(intent))
        await self._values.destroy(intent.document["subject"])
        await self._drop(claimed)

    async def end_leases(self, caller: Caller, credential: Credential, now: datetime) -> int:
        """Mark every active lease of the credential as revoked, each with its audit event; return how many."""
        count = conflicts = 0
        while running := await self._leases.select(caller.tenant, credential.id, active(now)):
            await self._audit.write(*(revocation(caller, held.lease, now) for held in running))
            try:
                await self._leases.end(caller.tenant, running, LeaseState.REVOKED, now)
                count += len(running)
            except RowChanged:  # renewed or ended meanwhile: look again
                conflicts += 1
                if conflicts > _ATTEMPTS:
                    raise Unavailable("Not all leases could be marked yet; none is honoured. Repeat it.") from None
        return count

    async def _let_go(self, found: Found, numbers: Sequence[int], now: datetime) -> None:
        """Record first that the values are gone, with intents to delete them: no pointer names a missing value."""
        credential = found.credential
        names = [version.secret for version in credential.versions if version.number in numbers and version.secret]
        for number in numbers:
            credential = destroyed(credential, number, now)
        intents = [agenda.intent(found.tenant, agenda.Task.DISCARD_VALUE, now, name) for name in names]
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

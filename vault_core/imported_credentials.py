"""Credentials that are imported: all that was said of them, and no value; they wait for their owners to rotate them.

audit → (pin → configuration seen to be usable) → {credential, name, its agenda, its places, its locker's count}
"""

from __future__ import annotations

from datetime import datetime

from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.contracts import Contract, Contracts
from vault_core.creations import chosen, told_of_creation
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, credential_key, name_key, name_taken, new_rows
from vault_core.credentials import NAME_TAKEN, told
from vault_core.errors import (
    Conflict,
    CredentialChanged,
    CredentialRevoked,
    NameTaken,
    NotAMember,
    NotFound,
    RowChanged,
    RowExists,
    RowMissing,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.locker import with_credentials
from vault_core.locker_rows import FoundLocker, LockerRows
from vault_core.policies import Guard
from vault_core.portable import CredentialItem, restored
from vault_core.stores import Change
from vault_core.tenants import TenantRules, Tenants

_ATTEMPTS = 10


class ImportedCredentials:
    """Makes credentials that were exported elsewhere."""

    def __init__(
        self,
        rows: CredentialRows,
        lockers: LockerRows,
        contracts: Contracts,
        guard: Guard,
        tenants: Tenants,
        audit: AuditLog,
    ) -> None:
        self._rows = rows
        self._lockers = lockers
        self._contracts = contracts
        self._guard = guard
        self._tenants = tenants
        self._audit = audit

    async def restore(self, caller: Caller, item: CredentialItem, now: datetime) -> bool:
        """Make the credential; return False, and change nothing, when one with its id is there.

        Raises `CredentialRevoked`, `InvalidInput`, `NameTaken`, `NotAMember`, and `NotFound` and
        `ConfigurationNotUsable` when there is no such locker or configuration.
        """
        if await self._is_there(caller.tenant, item.id):
            return False
        if item.state == "revoked":
            raise CredentialRevoked("A revoked credential is exported for the record; it does not come to be again.")
        contract = None
        if item.configuration:
            contract = await chosen(self._contracts, self._guard, caller, item.configuration, now)
        credential = restored(item, contract, caller.identity, now)
        locker = await self._locker_of(caller.tenant, credential)
        rules = await self._tenants.rules(caller.tenant)
        events = _told(caller, credential, locker, now)
        await self._audit.write(*events)
        return await self._insert(caller.tenant, credential, contract, locker, rules, events, now)

    async def _insert(
        self,
        tenant: str,
        credential: Credential,
        contract: Contract | None,
        locker: FoundLocker | None,
        rules: TenantRules,
        events: list[AuditEvent],
        now: datetime,
    ) -> bool:
        """Make its rows; return False when a twin of the import was faster. Else what was told is taken back."""
        try:
            if contract:
                await self._contracts.pin(tenant, credential.id, contract, now)
            made = await self._commit(tenant, credential, locker, rules)
        except Unavailable:
            raise  # perhaps it was applied
        except VaultError as refusal:
            await self._audit.write(*(event.failed(refusal.code) for event in events))
            if contract:
                await self._contracts.unpin(tenant, credential.id, contract)
            raise
        if not made:
            await self._audit.write(*(event.failed(Conflict.code) for event in events))
        return made

    async def _commit(
        self, tenant: str, credential: Credential, locker: FoundLocker | None, rules: TenantRules
    ) -> bool:
        taken = name_taken(tenant, credential.id, credential.name)
        for _ in range(_ATTEMPTS):
            try:
                await self._rows.table.commit(*new_rows(tenant, credential, rules), taken, *_one_more_in(locker))
            except RowExists as conflict:
                if await self._is_there(tenant, credential.id):
                    return False
                if conflict.key == name_key(credential.name):
                    raise NameTaken(NAME_TAKEN) from None
                raise CredentialChanged("It was there a moment ago; import it again.") from None
            except RowChanged:
                locker = await self._locker_of(tenant, credential)
            else:
                return True
        raise CredentialChanged("Its locker keeps changing; import it again.")

    async def _locker_of(self, tenant: str, credential: Credential) -> FoundLocker | None:
        if credential.locker_id is None:
            return None
        try:
            found = await self._lockers.read(tenant, credential.locker_id)
        except RowMissing:
            raise NotFound("Its locker is not there; import that first, or leave `lockerId` out.") from None
        if not found.locker.is_member(credential.owner_id):
            raise NotAMember("While a credential is in a locker, its owner must be a member there; add them first.")
        return found

    async def _is_there(self, tenant: str, credential_id: str) -> bool:
        """Return whether there is one with this id; `CredentialChanged` while that is just being deleted.

        Its deletion would take away the pin of the new one.
        """
        try:
            row = await self._rows.table.read(tenant, credential_key(credential_id))
        except RowMissing:
            return False
        if Credential.from_document(row.document).deleted_at:
            raise CredentialChanged("It is just being deleted; import it again in a few minutes.")
        return True


def _one_more_in(locker: FoundLocker | None) -> tuple[Change, ...]:
    """Return the change that counts the credential; it fails unless the locker is still as it was found."""
    if locker is None:
        return ()
    return (locker.replaced_by(with_credentials(locker.locker, locker.locker.credentials + 1)),)


def _told(caller: Caller, credential: Credential, locker: FoundLocker | None, now: datetime) -> list[AuditEvent]:
    events = [told_of_creation(caller, credential, now, owner=credential.owner_id, imported=True)]
    if credential.suspended:
        events.append(told(Event.CREDENTIAL_SUSPENDED, caller, credential, now, reason=credential.suspended.reason))
    if locker:
        about = {"locker": locker.locker.id, "lockerName": locker.locker.name}
        events.append(told(Event.LOCKER_CREDENTIAL_ASSIGNED, caller, credential, now, **about))
    return events

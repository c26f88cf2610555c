"""The way to a credential: find it, find what the caller is in its locker, and ask the guard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from vault_core.concurrency import together
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, Found
from vault_core.errors import RowMissing
from vault_core.identities import Caller
from vault_core.locker import Locker
from vault_core.locker_rows import NOWHERE, FoundLocker, LockerRows
from vault_core.policies import NO_PART, Action, Decision, Guard, Part, Subject, decide
from vault_core.tenants import TenantRules, Tenants


@dataclass(frozen=True, slots=True)
class Admitted:
    """A credential that the caller was admitted to, and the tenant's rules.

    `parts` is what the caller is in its locker, if that had to be looked at.
    """

    found: Found
    rules: TenantRules
    parts: frozenset[Part] = NO_PART


class Admission:
    """Admits callers to credentials. The locker is read only when the answer depends on it."""

    def __init__(self, rows: CredentialRows, lockers: LockerRows, tenants: Tenants, guard: Guard) -> None:
        self._rows = rows
        self._lockers = lockers
        self._tenants = tenants
        self._guard = guard

    async def admit(self, caller: Caller, action: Action, reference: str, now: datetime) -> Admitted:
        """Return the credential with this id or name. Raises `NotFound` and `AccessDenied`, after recording it."""
        rules, found = await together(self._tenants.rules(caller.tenant), self._find(caller.tenant, reference))
        if found is None:
            await self.refuse_absent(caller, action, now)
        return await self.check(caller, action, found, rules, now)

    async def check(self, caller: Caller, action: Action, found: Found, rules: TenantRules, now: datetime) -> Admitted:
        """Return when the caller may do this to what was found; `NotFound` or `AccessDenied` otherwise."""
        about = subject(found.credential, rules)
        if decide(caller, action, about) is not Decision.ALLOWED:
            locker = await self._lockers.read_if_there(caller.tenant, found.credential.locker_id or NOWHERE)
            about = subject_in(caller, found.credential, rules, locker.locker if locker else None)
        await self._guard.admit(caller, action, about, now)
        return Admitted(found, rules, about.parts)

    async def check_in(
        self,
        caller: Caller,
        action: Action,
        found: Found,
        rules: TenantRules,
        locker: FoundLocker | None,
        now: datetime,
    ) -> None:
        """As `check`, with the credential's locker as it was read for the change that is to be made."""
        about = subject_in(caller, found.credential, rules, locker.locker if locker else None)
        await self._guard.admit(caller, action, about, now)

    async def refuse_absent(self, caller: Caller, action: Action, now: datetime) -> NoReturn:
        """Raise `NotFound`, on record, by the same work as for a credential that the caller may not know of."""
        await self._lockers.read_if_there(caller.tenant, NOWHERE)
        await self._guard.refuse_absent(caller, action, now)

    async def _find(self, tenant: str, reference: str) -> Found | None:
        try:
            return await self._rows.find(tenant, reference)
        except RowMissing:
            return None


def subject(credential: Credential, rules: TenantRules, parts: frozenset[Part] = NO_PART) -> Subject:
    """Return what the guard needs to know of the credential, and of the caller's parts in its locker."""
    return Subject(credential.id, credential.name, credential.owner_id, rules.policy_of(credential.policy), parts)


def subject_in(caller: Caller, credential: Credential, rules: TenantRules, locker: Locker | None) -> Subject:
    """Return what the guard needs to know, from the locker that the credential is in, if this is it."""
    return subject(
        credential, rules, locker.parts_of(caller) if locker and locker.id == credential.locker_id else NO_PART
    )

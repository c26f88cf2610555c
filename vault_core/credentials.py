"""Credentials: read, update, rotate, revoke, suspend, resume, transfer, delete.

The order of writes is such that a crash between any two loses nothing and leaks nothing:

    rotate   (vendor's proof) → intent to discard → value, audit
             → {credential if unchanged, intent removed, intent to retire the old}
    revoke   audit → {credential revoked, intent to finish} → leases ended → values disabled → intent becomes a purge
    delete   audit → {credential marked, name freed, intent to finish} → leases ended → values gone → row gone

What follows the braces is `endings.py`, which the reconciler runs as well when a crash cut it short. How credentials
come to be is in `creations.py`; values of single attributes are in `attribute_values.py`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from vault_core import agenda, credential_changes
from vault_core.admission import Admission
from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.concurrency import together
from vault_core.credential import (
    Credential,
    State,
    Suspension,
    changed,
    check_not_in_locker,
    check_not_revoked,
    check_not_still_compromised,
    check_room_for_a_version,
    check_same_place,
    check_unchanged,
    revoked,
    rotated,
)
from vault_core.credential_requests import RotateCredential, UpdateCredential
from vault_core.credential_rows import CredentialRows, Found, name_key, name_taken
from vault_core.credential_writes import CredentialWrites, Rule
from vault_core.endings import Endings
from vault_core.errors import (
    Conflict,
    CredentialChanged,
    NameTaken,
    NotAMember,
    NotFound,
    RowChanged,
    RowExists,
    RowMissing,
    StoreConflict,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.locker_rows import FoundLocker, LockerRows
from vault_core.names import fold
from vault_core.new_values import NewValues
from vault_core.policies import ABSENT, NO_PART, Action, Part
from vault_core.repeats import Once, Repeats
from vault_core.stores import Change, Discard, Put
from vault_core.tenants import TenantRules, Tenants

FINISH_AFTER = timedelta(minutes=2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAME_TAKEN = "A credential with this name exists, regardless of case; choose another name."


@dataclass(frozen=True, slots=True)
class Shown:
    """A credential with what its views need: the tenant's rules, and what the caller is in its locker, if known."""

    credential: Credential
    rules: TenantRules
    parts: frozenset[Part] = NO_PART


class Credentials:
    """What callers can do with credentials. Every method may raise `NotFound`, `AccessDenied` and `Unavailable`."""

    def __init__(
        self,
        rows: CredentialRows,
        lockers: LockerRows,
        admission: Admission,
        writes: CredentialWrites,
        new_values: NewValues,
        audit: AuditLog,
        tenants: Tenants,
        repeats: Repeats,
        endings: Endings,
    ) -> None:
        self._rows = rows
        self._lockers = lockers
        self._admission = admission
        self._writes = writes
        self._new_values = new_values
        self._audit = audit
        self._tenants = tenants
        self._repeats = repeats
        self._endings = endings

    async def read(self, caller: Caller, reference: str, now: datetime) -> Shown:
        """Return the credential with this id or name."""
        admitted = await self._admission.admit(caller, Action.READ, reference, now)
        return Shown(admitted.found.credential, admitted.rules, admitted.parts)

    async def id_of(self, tenant: str, name: str) -> str:
        """Return the id of the credential that has this name now; for those who may see everything of the tenant."""
        found = await self._find(tenant, name)
        if found is None:
            raise NotFound("No credential has this name now; name a deleted one by its id.")
        return found.credential.id

    async def update(
        self, caller: Caller, reference: str, patch: UpdateCredential, if_match: str | None, now: datetime
    ) -> Shown:
        """Change what the merge patch names.

        Raises `InvalidInput`, `StaleVersion`, `NameTaken`, `CredentialInLocker` (for a new name) and
        `CredentialRevoked`.
        """
        found, rules = await self._admit(caller, Action.UPDATE, reference, now)
        if "policy" in patch.model_fields_set:  # what held for leases until now must be known exactly
            rules = await self._tenants.current(caller.tenant)

        def rule(credential: Credential) -> Credential:
            check_unchanged(credential, if_match)
            check_not_revoked(credential)
            if patch.name not in (None, credential.name):
                check_not_in_locker(credential, "rename it")
                check_same_place(credential, found.credential)
            return credential_changes.updated(credential, patch, rules, caller.identity, now)

        events = [told(Event.CREDENTIAL_UPDATED, caller, found.credential, now, fields=_wire_names(patch))]
        if "policy" in patch.model_fields_set:
            policy = rule(found.credential).policy.model_dump(mode="json", by_alias=True, exclude_none=True)
            events.append(told(Event.POLICY_UPDATED, caller, found.credential, now, policy=policy))
        renaming = renamed(caller.tenant, found.credential, patch.name or found.credential.name)
        return await self._change(found, rules, rule, events, *renaming)

    async def rotate(
        self,
        caller: Caller,
        reference: str,
        wanted: RotateCredential,
        if_match: str | None,
        once: Once | None,
        now: datetime,
        *,
        validate: bool = False,
    ) -> Shown:
        """Make a new version the active one; leases on the one before run to their end.

        With `validate`, or when its configuration demands it, only a value that the vendor does not call invalid.
        Raises `ValueRefused`, `StaleVersion`, `CredentialChanged`, `CredentialRevoked`, `VersionLimitReached`,
        `TooSoon` and `IdempotencyKeyReused`.
        """
        found, rules = await self._admit(caller, Action.ROTATE, reference, now)
        reservation = await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
        if reservation.done:
            return await self._result(caller, found.credential.id)
        check_unchanged(found.credential, if_match)
        check_not_revoked(found.credential)
        check_room_for_a_version(found.credential)
        new = await self._new_values.accept_replacement(caller.tenant, found.credential, wanted, now)
        new = replace(new, to_be_proved=new.to_be_proved or validate)
        before = found.credential.newest.number

        def rule(credential: Credential) -> Credential:
            check_unchanged(credential, if_match)
            check_not_revoked(credential)
            if (credential.newest.number, credential.shape) != (before, found.credential.shape):
                raise CredentialChanged("Another change was faster; read the credential before you rotate it again.")
            return rotated(credential, new.accepted, new.given, new.secret, new.fingerprint, caller.identity, now)

        event = told(Event.CREDENTIAL_ROTATED, caller, found.credential, now, version=before + 1)
        try:
            kept = await self._writes.promote(caller, found, rules, rule, new, [event], now, *reservation.settled)
        except Unavailable:
            raise
        except VaultError:
            twin = await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
            if twin.done:  # the same request, sent twice at once
                return await self._result(caller, found.credential.id)
            raise
        return Shown(kept.credential, rules)

    async def revoke(
        self, caller: Caller, reference: str, reason: str | None, once: Once | None, now: datetime
    ) -> Shown:
        """Revoke the credential for good: once this returns, no lease on it is active. Repeatable."""
        found, rules = await self._admit(caller, Action.REVOKE, reference, now)
        await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
        credential_id = found.credential.id
        intent = agenda.intent(caller.tenant, agenda.Task.REVOKE, now + FINISH_AFTER, credential_id)
        if found.credential.newest.state is not State.REVOKED:
            event = told(Event.CREDENTIAL_REVOKED, caller, found.credential, now, reason=reason)
            await self._change(
                found, rules, lambda credential: revoked(credential, caller.identity, now, reason), [event], Put(intent)
            )
        await self._endings.finish_revocation(caller, credential_id, intent, now)
        return await self._result(caller, credential_id)

    async def suspend(
        self, caller: Caller, reference: str, reason: str | None, once: Once | None, now: datetime
    ) -> Shown:
        """Stop new leases and renewals until the credential is resumed; leases that run go on. Repeatable."""
        found, rules = await self._admit(caller, Action.SUSPEND, reference, now)
        reservation = await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
        if reservation.done:
            return await self._result(caller, found.credential.id)
        check_not_revoked(found.credential)
        if found.credential.suspended:
            await self._repeats.settle(reservation)
            return Shown(found.credential, rules)
        suspension = Suspension(at=now, by=caller.identity, reason=reason)

        def rule(credential: Credential) -> Credential:
            check_not_revoked(credential)
            return changed(credential, caller.identity, now, suspended=suspension)

        event = told(Event.CREDENTIAL_SUSPENDED, caller, found.credential, now, reason=reason)
        return await self._change(found, rules, rule, [event], *reservation.settled)

    async def resume(
        self, caller: Caller, reference: str, reason: str | None, once: Once | None, now: datetime
    ) -> Shown:
        """Let a suspended credential be leased again. Repeatable.

        Raises `CredentialNotUsable` for one that was reported as compromised and still holds what others may know.
        """
        found, rules = await self._admit(caller, Action.RESUME, reference, now)
        reservation = await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
        if reservation.done:
            return await self._result(caller, found.credential.id)
        check_not_revoked(found.credential)
        if not (found.credential.suspended or found.credential.compromised):
            await self._repeats.settle(reservation)
            return Shown(found.credential, rules)

        def rule(credential: Credential) -> Credential:
            check_not_revoked(credential)
            check_not_still_compromised(credential)
            return changed(credential, caller.identity, now, suspended=None, compromised=None)

        event = told(Event.CREDENTIAL_RESUMED, caller, found.credential, now, reason=reason)
        return await self._change(found, rules, rule, [event], *reservation.settled)

    async def transfer(self, caller: Caller, reference: str, owner_id: str, now: datetime) -> Shown:
        """Make another identity of the tenant the owner. Repeatable.

        Raises `NotAMember` when the credential is in a locker that the identity is no member of.
        """
        admitted = await self._admission.admit(caller, Action.TRANSFER, reference, now)
        found, rules = admitted.found, admitted.rules
        if found.credential.owner_id == owner_id:
            return Shown(found.credential, rules, admitted.parts)
        locker = await self._locker_of_member(found, owner_id)
        await self._admission.check_in(caller, Action.TRANSFER, found, rules, locker, now)

        def rule(credential: Credential) -> Credential:
            check_same_place(credential, found.credential)
            return changed(credential, caller.identity, now, owner_id=owner_id)

        event = told(Event.CREDENTIAL_OWNER_CHANGED, caller, found.credential, now, owner=owner_id)
        shown = await self._change(
            found,
            rules,
            rule,
            [event],
            *([locker.replaced_by(locker.locker)] if locker else []),  # fails unless it is still as it was found
        )
        return Shown(shown.credential, rules, locker.locker.parts_of(caller) if locker else NO_PART)

    async def _locker_of_member(self, found: Found, owner_id: str) -> FoundLocker | None:
        """Return the locker that the credential is in, if any. Raises `NotAMember`."""
        locker = await self._lockers.read_if_there(found.tenant, found.credential.locker_id)
        if locker and not locker.locker.is_member(owner_id):
            raise NotAMember("While the credential is in a locker, its owner must be a member there; add them first.")
        return locker

    async def delete(self, caller: Caller, reference: str, if_match: str | None, now: datetime) -> None:
        """Remove the credential with its values and free its name. Raises `StaleVersion`, `CredentialInLocker`."""
        found, rules = await self._admit(caller, Action.DELETE, reference, now)
        credential_id = found.credential.id
        intent = agenda.intent(caller.tenant, agenda.Task.DELETE, now + FINISH_AFTER, credential_id)

        def rule(credential: Credential) -> Credential:
            check_unchanged(credential, if_match)
            check_not_in_locker(credential, "delete it")
            check_same_place(credential, found.credential)
            return changed(credential, caller.identity, now, deleted_at=now)

        event = told(Event.CREDENTIAL_DELETED, caller, found.credential, now)
        freed = Discard(caller.tenant, name_key(found.credential.name))
        await self._change(found, rules, rule, [event], freed, Put(intent))
        await self._endings.finish_deletion(caller, credential_id, intent, now)

    async def _admit(self, caller: Caller, action: Action, reference: str, now: datetime) -> tuple[Found, TenantRules]:
        admitted = await self._admission.admit(caller, action, reference, now)
        return admitted.found, admitted.rules

    async def _find(self, tenant: str, reference: str) -> Found | None:
        try:
            return await self._rows.find(tenant, reference)
        except RowMissing:
            return None

    async def _result(self, caller: Caller, credential_id: str) -> Shown:
        found, rules = await together(self._find(caller.tenant, credential_id), self._tenants.rules(caller.tenant))
        if found is None:
            raise NotFound(ABSENT)
        return Shown(found.credential, rules)

    async def _change(
        self, found: Found, rules: TenantRules, rule: Rule, events: list[AuditEvent], *more: Change
    ) -> Shown:
        try:
            kept = await self._writes.change(found, rules, rule, events, *more)
        except (RowExists, RowChanged) as conflict:
            raise name_conflict(conflict) from None
        return Shown(kept.credential, rules)


def name_conflict(conflict: StoreConflict) -> Conflict:
    """Return the refusal of a change whose new name is taken, or whose old name or locker is no longer as found."""
    if isinstance(conflict, RowExists):
        return NameTaken(NAME_TAKEN)
    return CredentialChanged("The credential's name or locker changed at the same time; repeat the request.")


def renamed(tenant: str, credential: Credential, name: str) -> tuple[Change, ...]:
    """Return the changes that move the credential's name, if the new one is another regardless of case."""
    if fold(name) == fold(credential.name):
        return ()
    return name_taken(tenant, credential.id, name), Discard(tenant, name_key(credential.name))


def new_id(now: datetime) -> str:
    """Return a UUID whose order is that of creation (RFC 9562, version 7), so that lists need no sorting."""
    milliseconds, microseconds = divmod((now - _EPOCH) // timedelta(microseconds=1), 1000)
    within = microseconds * 4096 // 1000  # the twelve bits that the RFC leaves for a finer clock
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | within << 64 | 0b10 << 62 | secrets.randbits(62)))


def told(event: Event, caller: Caller, credential: Credential, now: datetime, **details: object) -> AuditEvent:
    about = {name: value for name, value in details.items() if value is not None}
    return event.by(caller, now, credential_id=credential.id, credential_name=credential.name, details=about)


def _wire_names(patch: UpdateCredential) -> list[str]:
    return sorted(str(UpdateCredential.model_fields[name].alias) for name in patch.model_fields_set)

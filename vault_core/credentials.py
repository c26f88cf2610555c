"""Credentials: create, read, list, update, rotate, revoke, suspend, resume, delete, transfer.

The order of writes is such that a crash between any two loses nothing and leaks nothing:

    create   intent to discard → value, audit → {credential, name, its agenda, intent removed}
    rotate   intent to discard → value, audit → {credential if unchanged, intent removed, intent to retire the old}
    revoke   audit → {credential revoked, intent to finish} → leases ended → values disabled → intent becomes a purge
    delete   audit → {credential marked, name freed, intent to finish} → leases ended → values gone → row gone

What follows the braces is `endings.py`, which the reconciler runs as well when a crash cut it short.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from vault_core import agenda, credential_changes
from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.concurrency import together
from vault_core.credential import (
    Credential,
    State,
    Suspension,
    changed,
    check_not_revoked,
    check_unchanged,
    revoked,
    rotated,
)
from vault_core.credential_requests import CreateCredential, RotateCredential, UpdateCredential
from vault_core.credential_rows import CredentialRows, Found, name_key, row_of, with_agenda
from vault_core.endings import Endings
from vault_core.errors import (
    Conflict,
    CredentialChanged,
    CredentialInLocker,
    NameTaken,
    NotFound,
    RowChanged,
    RowExists,
    RowMissing,
    StoreConflict,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.new_values import NewValues
from vault_core.policies import ABSENT, Action, Guard, Subject
from vault_core.repeats import Once, Repeats, Reservation
from vault_core.stores import Change, Delete, Discard, Insert, Put, Row
from vault_core.tenants import TenantRules, Tenants

FINISH_AFTER = timedelta(minutes=2)
_ATTEMPTS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shown:
    """A credential with the tenant's rules, which its view needs."""

    credential: Credential
    rules: TenantRules


class Credentials:
    """What callers can do with credentials. Every method may raise `NotFound`, `AccessDenied` and `Unavailable`."""

    def __init__(
        self,
        rows: CredentialRows,
        new_values: NewValues,
        audit: AuditLog,
        guard: Guard,
        tenants: Tenants,
        repeats: Repeats,
        endings: Endings,
    ) -> None:
        self._rows = rows
        self._new_values = new_values
        self._audit = audit
        self._guard = guard
        self._tenants = tenants
        self._repeats = repeats
        self._endings = endings

    async def create(self, caller: Caller, wanted: CreateCredential, once: Once | None, now: datetime) -> Shown:
        """Create a credential owned by the caller.

        Raises `InvalidInput`, `ValueRefused`, `NameTaken` and `IdempotencyKeyReused`.
        """
        new = await self._new_values.accept(caller.tenant, wanted, now)
        reservation = await self._repeats.reserve(caller, once, {"credential": _new_id(now)}, now)
        if reservation.done:
            return await self.read(caller, reservation.plan["credential"], now)  # perhaps it is another's by now
        rules = await self._tenants.rules(caller.tenant)
        credential = credential_changes.created(reservation.plan["credential"], wanted, new, caller.identity, now)
        event = _event(Event.CREDENTIAL_CREATED, caller, credential, now, type=wanted.type)
        intent = await self._new_values.write(caller.tenant, credential.id, new, event, now)
        try:
            await self._insert(caller.tenant, credential, rules, intent, reservation)
        except (RowExists, RowChanged) as conflict:
            await self._new_values.give_up(intent, event, Conflict.code)
            return await self._not_inserted(caller, credential, conflict)
        return Shown(credential, rules)

    async def read(self, caller: Caller, reference: str, now: datetime) -> Shown:
        """Return the credential with this id or name."""
        found, rules = await self._admit(caller, Action.READ, reference, now)
        return Shown(found.credential, rules)

    async def id_of(self, tenant: str, name: str) -> str:
        """Return the id of the credential that has this name now; for those who may see everything of the tenant."""
        found = await self._find(tenant, name)
        if found is None:
            raise NotFound("No credential has this name now; name a deleted one by its id.")
        return found.credential.id

    async def update(
        self, caller: Caller, reference: str, patch: UpdateCredential, if_match: str | None, now: datetime
    ) -> Shown:
        """Change what the merge patch names. Raises `InvalidInput`, `StaleVersion` and `CredentialRevoked`."""
        found, rules = await self._admit(caller, Action.UPDATE, reference, now)
        if "policy" in patch.model_fields_set:  # what held for leases until now must be known exactly
            rules = await self._tenants.current(caller.tenant)

        def rule(credential: Credential) -> Credential:
            check_unchanged(credential, if_match)
            check_not_revoked(credential)
            return credential_changes.updated(credential, patch, rules, caller.identity, now)

        events = [_event(Event.CREDENTIAL_UPDATED, caller, found.credential, now, fields=_wire_names(patch))]
        if "policy" in patch.model_fields_set:
            policy = rule(found.credential).policy.model_dump(mode="json", by_alias=True, exclude_none=True)
            events.append(_event(Event.POLICY_UPDATED, caller, found.credential, now, policy=policy))
        return await self._change(found, rules, rule, events)

    async def rotate(
        self,
        caller: Caller,
        reference: str,
        wanted: RotateCredential,
        if_match: str | None,
        once: Once | None,
        now: datetime,
    ) -> Shown:
        """Make a new version the active one; leases on the one before run to their end.

        Raises `ValueRefused`, `StaleVersion`, `CredentialChanged`, `CredentialRevoked`, `VersionLimitReached` and
        `IdempotencyKeyReused`.
        """
        found, rules = await self._admit(caller, Action.ROTATE, reference, now)
        reservation = await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
        if reservation.done:
            return await self._result(caller, found.credential.id)
        check_unchanged(found.credential, if_match)
        check_not_revoked(found.credential)
        new = await self._new_values.accept_replacement(caller.tenant, found.credential, wanted, now)
        before = found.credential.newest.number

        def rule(credential: Credential) -> Credential:
            check_unchanged(credential, if_match)
            check_not_revoked(credential)
            if credential.newest.number != before:
                raise CredentialChanged("Another rotation was faster; read the credential before you rotate it again.")
            return rotated(credential, new.accepted, new.secret, new.fingerprint, caller.identity, now)

        event = _event(Event.CREDENTIAL_ROTATED, caller, found.credential, now, version=before + 1)
        intent = await self._new_values.write(caller.tenant, found.credential.id, new, event, now)
        retire = agenda.retirement(caller.tenant, now, found.credential.id, before)
        try:
            kept = await self._replace(found, rules, rule, Delete(intent), Put(retire), *reservation.settled)
        except Unavailable:
            raise  # perhaps it was applied: the intent tells the reconciler
        except VaultError as refusal:
            await self._new_values.give_up(intent, event, refusal.code)
            twin = await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
            if twin.done:  # the same request, sent twice at once
                return await self._result(caller, found.credential.id)
            raise
        if kept.credential.newest.secret != new.secret:
            await self._new_values.give_up(intent, event, CredentialChanged.code)
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
            event = _event(Event.CREDENTIAL_REVOKED, caller, found.credential, now, reason=reason)
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

        event = _event(Event.CREDENTIAL_SUSPENDED, caller, found.credential, now, reason=reason)
        return await self._change(found, rules, rule, [event], *reservation.settled)

    async def resume(
        self, caller: Caller, reference: str, reason: str | None, once: Once | None, now: datetime
    ) -> Shown:
        """Let a suspended credential be leased again. Repeatable."""
        found, rules = await self._admit(caller, Action.RESUME, reference, now)
        reservation = await self._repeats.reserve(caller, once and once.about(found.credential.id), {}, now)
        if reservation.done:
            return await self._result(caller, found.credential.id)
        check_not_revoked(found.credential)
        if not found.credential.suspended:
            await self._repeats.settle(reservation)
            return Shown(found.credential, rules)

        def rule(credential: Credential) -> Credential:
            check_not_revoked(credential)
            return changed(credential, caller.identity, now, suspended=None)

        event = _event(Event.CREDENTIAL_RESUMED, caller, found.credential, now, reason=reason)
        return await self._change(found, rules, rule, [event], *reservation.settled)

    async def transfer(self, caller: Caller, reference: str, owner_id: str, now: datetime) -> Shown:
        """Make another identity of the tenant the owner. Repeatable."""
        found, rules = await self._admit(caller, Action.TRANSFER, reference, now)
        if found.credential.owner_id == owner_id:
            return Shown(found.credential, rules)
        event = _event(Event.CREDENTIAL_OWNER_CHANGED, caller, found.credential, now, owner=owner_id)
        return await self._change(
            found,
            rules,
            lambda credential: changed(credential, caller.identity, now, owner_id=owner_id),
            [event],
        )

    async def delete(self, caller: Caller, reference: str, if_match: str | None, now: datetime) -> None:
        """Remove the credential with its values and free its name. Raises `StaleVersion`, `CredentialInLocker`."""
        found, rules = await self._admit(caller, Action.DELETE, reference, now)
        credential_id = found.credential.id
        intent = agenda.intent(caller.tenant, agenda.Task.DELETE, now + FINISH_AFTER, credential_id)

        def rule(credential: Credential) -> Credential:
            check_unchanged(credential, if_match)
            if credential.locker_id:
                raise CredentialInLocker("Take the credential out of its locker before you delete it.")
            return changed(credential, caller.identity, now, deleted_at=now)

        event = _event(Event.CREDENTIAL_DELETED, caller, found.credential, now)
        freed = Discard(caller.tenant, name_key(found.credential.name))
        await self._change(found, rules, rule, [event], freed, Put(intent))
        await self._endings.finish_deletion(caller, credential_id, intent, now)

    async def _admit(self, caller: Caller, action: Action, reference: str, now: datetime) -> tuple[Found, TenantRules]:
        rules, found = await together(self._tenants.rules(caller.tenant), self._find(caller.tenant, reference))
        if found is None:
            await self._guard.refuse_absent(caller, action, now)
        await self._guard.admit(caller, action, subject(found.credential, rules), now)
        return found, rules

    async def _find(self, tenant: str, reference: str) -> Found | None:
        try:
            return await self._rows.find(tenant, reference)
        except RowMissing:
            return None

    async def _insert(
        self, tenant: str, credential: Credential, rules: TenantRules, intent: Row, reservation: Reservation
    ) -> None:
        credential, entries = with_agenda(tenant, credential, rules)
        name = Row(tenant, name_key(credential.name), {"credentialId": credential.id})
        await self._rows.table.commit(
            Insert(row_of(tenant, credential)), Insert(name), Delete(intent), *entries, *reservation.settled
        )

    async def _not_inserted(self, caller: Caller, credential: Credential, conflict: StoreConflict) -> Shown:
        if conflict.key == name_key(credential.name):
            # The name may be held by this very request, sent twice at once.
            holder = await self._find(caller.tenant, credential.name)
            if holder is None or holder.credential.id != credential.id:
                raise NameTaken("A credential with this name exists, regardless of case; choose another name.")
        if conflict.key.startswith("intent:"):
            raise Unavailable("Creating the credential took too long and was undone; repeat the request.")
        return await self._result(caller, credential.id)

    async def _result(self, caller: Caller, credential_id: str) -> Shown:
        found, rules = await together(self._find(caller.tenant, credential_id), self._tenants.rules(caller.tenant))
        if found is None:
            raise NotFound(ABSENT)
        return Shown(found.credential, rules)

    async def _change(
        self,
        found: Found,
        rules: TenantRules,
        rule: Callable[[Credential], Credential],
        events: list[AuditEvent],
        *more: Change,
    ) -> Shown:
        """Record, then apply the rule to the credential as it is when it is written."""
        rule(found.credential)  # refuse before recording that it was allowed
        await self._audit.write(*events)
        try:
            kept = await self._replace(found, rules, rule, *more)
        except VaultError as refusal:
            if not isinstance(refusal, Unavailable):  # then it is unknown whether it was applied
                await self._audit.write(*(event.failed(refusal.code) for event in events))
            raise
        return Shown(kept.credential, rules)

    async def _replace(
        self, found: Found, rules: TenantRules, rule: Callable[[Credential], Credential], *more: Change
    ) -> Found:
        """Replace the credential by what the rule makes of it, looking again when someone else was faster."""
        for _ in range(_ATTEMPTS):
            try:
                return await self._rows.replace(found, rule(found.credential), rules, *more)
            except RowChanged as conflict:
                if conflict.key != found.row.key:
                    return await self._settled_by_a_twin(found, conflict)
            owner_id = found.credential.owner_id
            try:
                found = await self._rows.read(found.tenant, found.credential.id)
            except RowMissing:
                raise NotFound(ABSENT) from None
            if found.credential.owner_id != owner_id:  # what the caller was admitted for may not hold any more
                raise CredentialChanged("The credential has a new owner; read it and repeat the request.")
        raise CredentialChanged("The credential keeps changing; read it and repeat the request.")

    async def _settled_by_a_twin(self, found: Found, conflict: RowChanged) -> Found:
        if not conflict.key.startswith("request:"):
            raise Unavailable("The request took too long and was undone; repeat it.") from None
        return await self._rows.read(found.tenant, found.credential.id)


def subject(credential: Credential, rules: TenantRules) -> Subject:
    """Return what the guard needs to know of the credential."""
    return Subject(credential.id, credential.name, credential.owner_id, rules.policy_of(credential.policy))


def _new_id(now: datetime) -> str:
    """Return a UUID whose order is that of creation (RFC 9562, version 7), so that lists need no sorting."""
    milliseconds, microseconds = divmod((now - _EPOCH) // timedelta(microseconds=1), 1000)
    within = microseconds * 4096 // 1000  # the twelve bits that the RFC leaves for a finer clock
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | within << 64 | 0b10 << 62 | secrets.randbits(62)))


def _event(event: Event, caller: Caller, credential: Credential, now: datetime, **details: object) -> AuditEvent:
    told = {name: value for name, value in details.items() if value is not None}
    return event.by(caller, now, credential_id=credential.id, credential_name=credential.name, details=told)


def _wire_names(patch: UpdateCredential) -> list[str]:
    return sorted(str(UpdateCredential.model_fields[name].alias) for name in patch.model_fields_set)

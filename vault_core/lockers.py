"""Lockers: create, read, list, redefine, delete; their members, consumers and credentials.

The order of writes:

    create, redefine, members, consumers    audit → {locker, its name}
    assign, take out                        audit → {credential if unchanged, locker if unchanged}
    delete                                  audit → {locker marked, name freed, intent} → credentials out → row gone

A credential whose locker is gone is in none: whoever reads it finds nobody's part in there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import NoReturn

from vault_core import agenda
from vault_core import locker as rules_of
from vault_core.admission import Admission, subject_in
from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.concurrency import together
from vault_core.credential import Credential, in_locker, out_of_locker
from vault_core.credential_rows import CredentialRows
from vault_core.credentials import FINISH_AFTER, Shown, new_id
from vault_core.endings import Endings
from vault_core.errors import (
    AccessDenied,
    CredentialChanged,
    NameTaken,
    NotFound,
    RowChanged,
    RowExists,
    RowMissing,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.locker import (
    LEADING,
    DefineLocker,
    Locker,
    LockerAction,
    Permission,
    may_with_locker,
    with_consumers,
    with_credentials,
    with_member,
)
from vault_core.locker_rows import FoundLocker, LockerRows, locker_name_key, name_taken, new_locker
from vault_core.names import fold
from vault_core.policies import Action, Guard, sees
from vault_core.repeats import Once, Repeats
from vault_core.stores import Change, Compare, Discard, Keys, Put
from vault_core.tenants import TenantRules, Tenants

ABSENT_LOCKER = "There is no such locker, or you may not see it; check the name or id and your access."
_NOT_YOURS = "Your part in this locker does not allow that; one of its owners can do it for you."
LOCKER_NAME_TAKEN = "A locker with this name exists, regardless of case; choose another name."
_ATTEMPTS = 5


class Lockers:
    """What callers can do with lockers. Every method may raise `NotFound`, `AccessDenied` and `Unavailable`."""

    def __init__(
        self,
        rows: LockerRows,
        credentials: CredentialRows,
        admission: Admission,
        audit: AuditLog,
        guard: Guard,
        tenants: Tenants,
        repeats: Repeats,
        endings: Endings,
    ) -> None:
        self._rows = rows
        self._credentials = credentials
        self._admission = admission
        self._audit = audit
        self._guard = guard
        self._tenants = tenants
        self._repeats = repeats
        self._endings = endings

    async def create(self, caller: Caller, wanted: DefineLocker, once: Once | None, now: datetime) -> Locker:
        """Create a locker; the caller becomes its first owner. Raises `NameTaken` and `IdempotencyKeyReused`."""
        reservation = await self._repeats.reserve(caller, once, {"locker": new_id(now)}, now)
        if reservation.done:
            return await self.read(caller, reservation.plan["locker"], now)
        locker = rules_of.created(reservation.plan["locker"], wanted, caller.identity, now)
        event = _told(Event.LOCKER_CREATED, caller, locker, now)
        await self._audit.write(event)
        try:
            await self._rows.table.commit(*new_locker(caller.tenant, locker), *reservation.settled)
        except (RowExists, RowChanged):
            await self._audit.write(event.failed(NameTaken.code))
            there = await self._rows.read_if_there(caller.tenant, locker.id)
            if there is None:
                raise NameTaken(LOCKER_NAME_TAKEN) from None
            return there.locker  # the same request, sent twice at once
        return locker

    async def read(self, caller: Caller, reference: str, now: datetime) -> Locker:
        """Return the locker with this id or name."""
        return (await self._admit(caller, LockerAction.SEE, reference, now)).locker

    async def seen_by(self, caller: Caller, after: str = "") -> AsyncIterator[Locker]:
        """Yield the lockers that the caller may see, in the order of their creation, from the id `after` on."""
        async for found in self._rows.all(caller.tenant, after):
            if may_with_locker(caller, LockerAction.SEE, found.locker.parts_of(caller)):
                yield found.locker

    async def redefine(
        self, caller: Caller, reference: str, wanted: DefineLocker, if_match: str | None, now: datetime
    ) -> Locker:
        """Change name and description. Raises `NameTaken`, and `StaleVersion` when the tag is of another edition."""
        found = await self._admit(caller, LockerAction.EDIT, reference, now)

        def rule(locker: Locker) -> Locker:
            rules_of.check_unchanged(locker, if_match)
            return rules_of.redefined(locker, wanted, caller.identity, now)

        renaming: tuple[Change, ...] = ()
        if fold(wanted.name) != fold(found.locker.name):
            freed = Discard(caller.tenant, locker_name_key(found.locker.name))
            renaming = (name_taken(caller.tenant, rule(found.locker)), freed)
        event = _told(Event.LOCKER_UPDATED, caller, found.locker, now, name=wanted.name)
        return await self._change(caller, LockerAction.EDIT, found, rule, event, now, *renaming)

    async def delete(self, caller: Caller, reference: str, if_match: str | None, now: datetime) -> None:
        """Remove the locker; its credentials are in none then. Raises `StaleVersion` as `redefine`."""
        found = await self._admit(caller, LockerAction.EDIT, reference, now)
        intent = agenda.intent(caller.tenant, agenda.Task.EMPTY, now + FINISH_AFTER, found.locker.id)

        def rule(locker: Locker) -> Locker:
            rules_of.check_unchanged(locker, if_match)
            return locker.but(deleted_at=now)

        event = _told(Event.LOCKER_DELETED, caller, found.locker, now)
        freed = Discard(caller.tenant, locker_name_key(found.locker.name))
        await self._change(caller, LockerAction.EDIT, found, rule, event, now, freed, Put(intent))
        await self._endings.finish_emptying(caller, found.locker.id, intent, now)

    async def set_member(
        self, caller: Caller, reference: str, member_id: str, permissions: tuple[Permission, ...], now: datetime
    ) -> Locker:
        """Give a member these permissions in place of what it had; without any, it is no member. Repeatable.

        Who makes, changes or removes an owner or manager must be an owner. Raises `LastOwner` and `LockerFull`.
        """
        found = await self._find(caller, reference, now)
        action = _to_change_member(found.locker, member_id, permissions)
        await self._check(caller, action, found, now)
        if set(found.locker.members.get(member_id, ())) == set(permissions):
            return found.locker

        def rule(locker: Locker) -> Locker:
            if _to_change_member(locker, member_id, permissions) is not action:
                raise CredentialChanged(_CHANGED)
            return with_member(locker, member_id, permissions)

        event = _told(
            Event.LOCKER_MEMBER_CHANGED, caller, found.locker, now, member=member_id, permissions=list(permissions)
        )
        return await self._change(caller, action, found, rule, event, now)

    async def add_consumers(self, caller: Caller, reference: str, roles: tuple[str, ...], now: datetime) -> Locker:
        """Let the bearers of these roles consume what is inside. Repeatable. Raises `LockerFull`."""
        return await self._consume(caller, reference, lambda present: (*present, *roles), now)

    async def remove_consumer(self, caller: Caller, reference: str, role: str, now: datetime) -> Locker:
        """Let the bearers of this role no longer consume what is inside. Repeatable."""
        return await self._consume(caller, reference, lambda present: tuple(one for one in present if one != role), now)

    async def assign(self, caller: Caller, reference: str, credential_reference: str, now: datetime) -> Shown:
        """Put a credential into the locker. Repeatable. Raises `CredentialInLocker` when it is in another one."""
        return await self._move(
            caller,
            LockerAction.ASSIGN,
            Event.LOCKER_CREDENTIAL_ASSIGNED,
            reference,
            credential_reference,
            in_locker,
            now,
        )

    async def take_out(self, caller: Caller, reference: str, credential_reference: str, now: datetime) -> Shown:
        """Take a credential out of the locker. Repeatable."""
        return await self._move(
            caller,
            LockerAction.REMOVE,
            Event.LOCKER_CREDENTIAL_REMOVED,
            reference,
            credential_reference,
            out_of_locker,
            now,
        )

    async def credentials_of(self, caller: Caller, reference: str, now: datetime) -> list[Shown]:
        """Return what is inside, as far as the caller reaches it: a participant its own only."""
        found, rules = await together(self._find(caller, reference, now), self._tenants.rules(caller.tenant))
        await self._check(caller, LockerAction.SEE, found, now)
        shown: list[Shown] = []
        span, more = Keys(caller.tenant, "credential:", "credential;"), True
        while more:
            page = await self._credentials.table.query(span, where=Compare("locker", "eq", found.locker.id))
            for row in page.rows:
                span = Keys(caller.tenant, span.start, span.end, after=row.key)
                credential = Credential.from_document(row.document)
                if credential.locker_id == found.locker.id and _reaches(caller, credential, rules, found.locker):
                    shown.append(Shown(credential, rules, found.locker.parts_of(caller)))
            more = page.more
        return shown

    async def _consume(
        self, caller: Caller, reference: str, consumers: Callable[[tuple[str, ...]], tuple[str, ...]], now: datetime
    ) -> Locker:
        found = await self._admit(caller, LockerAction.INVITE, reference, now)
        after = with_consumers(found.locker, consumers(found.locker.consumers))
        if after.consumers == found.locker.consumers:
            return found.locker
        event = _told(Event.LOCKER_CONSUMER_CHANGED, caller, found.locker, now, consumers=list(after.consumers))
        return await self._change(
            caller,
            LockerAction.INVITE,
            found,
            lambda locker: with_consumers(locker, consumers(locker.consumers)),
            event,
            now,
        )

    async def _move(
        self,
        caller: Caller,
        action: LockerAction,
        event: Event,
        reference: str,
        credential_reference: str,
        rule: Callable[[Credential, str], Credential],
        now: datetime,
    ) -> Shown:
        """Put a credential into the locker, or take it out, with both as they were found."""
        for _ in range(_ATTEMPTS):
            place = await self._admit(caller, LockerAction.SEE, reference, now)
            admitted = await self._admission.admit(caller, Action.READ, credential_reference, now)
            found, locker = admitted.found, place.locker
            await self._check(caller, action, place, now, found.credential)
            after = rule(found.credential, locker.id)
            if after is found.credential or after.locker_id == found.credential.locker_id:
                return Shown(found.credential, admitted.rules)
            told = _told(event, caller, locker, now, found.credential)
            await self._audit.write(told)
            number = locker.credentials + (1 if after.locker_id else -1)
            try:
                kept = await self._credentials.replace(
                    found, after, admitted.rules, place.replaced_by(with_credentials(locker, number))
                )
            except RowChanged:
                await self._audit.write(told.failed(CredentialChanged.code))
                continue
            return Shown(kept.credential, admitted.rules)
        raise CredentialChanged(_CHANGED)

    async def _change(
        self,
        caller: Caller,
        action: LockerAction,
        found: FoundLocker,
        rule: Callable[[Locker], Locker],
        event: AuditEvent,
        now: datetime,
        *more: Change,
    ) -> Locker:
        """Record, then apply the rule to the locker as it is when it is written, by one who may do so then."""
        rule(found.locker)  # refuse before recording that it was allowed
        await self._audit.write(event)
        try:
            for _ in range(_ATTEMPTS):
                after = rule(found.locker)
                try:
                    await self._rows.table.commit(found.replaced_by(after), *more)
                    return after
                except RowExists:
                    raise NameTaken(LOCKER_NAME_TAKEN) from None
                except RowChanged:
                    found = await self._look_again(caller, action, found, now)
            raise CredentialChanged(_CHANGED)
        except Unavailable:
            raise  # it is unknown whether it was applied
        except VaultError as refusal:
            await self._audit.write(event.failed(refusal.code))
            raise

    async def _look_again(
        self, caller: Caller, action: LockerAction, before: FoundLocker, now: datetime
    ) -> FoundLocker:
        found = await self._find(caller, before.locker.id, now)
        if found.locker.name != before.locker.name:
            raise CredentialChanged(_CHANGED)
        await self._check(caller, action, found, now)
        return found

    async def _admit(self, caller: Caller, action: LockerAction, reference: str, now: datetime) -> FoundLocker:
        found = await self._find(caller, reference, now)
        await self._check(caller, action, found, now)
        return found

    async def _find(self, caller: Caller, reference: str, now: datetime) -> FoundLocker:
        try:
            return await self._rows.find(caller.tenant, reference)
        except RowMissing:
            await self._refuse(caller, LockerAction.SEE, now)

    async def _check(
        self,
        caller: Caller,
        action: LockerAction,
        found: FoundLocker,
        now: datetime,
        credential: Credential | None = None,
    ) -> None:
        """Return when the caller may do this, with the credential if there is one; else refuse, on record."""
        parts = found.locker.parts_of(caller)
        own = credential is not None and caller.is_me(credential.owner_id)
        if may_with_locker(caller, action, parts, own=own):
            return
        if not may_with_locker(caller, LockerAction.SEE, parts):
            await self._refuse(caller, action, now, found.locker)
        await self._guard.record(caller, now, action, locker=found.locker.id)
        raise AccessDenied(_NOT_YOURS)

    async def _refuse(
        self, caller: Caller, action: LockerAction, now: datetime, locker: Locker | None = None
    ) -> NoReturn:
        await self._guard.record(caller, now, action, **({"locker": locker.id} if locker else {}))
        raise NotFound(ABSENT_LOCKER)


_CHANGED = "The locker changed at the same time; read it and repeat the request."


def _to_change_member(locker: Locker, member_id: str, permissions: tuple[Permission, ...]) -> LockerAction:
    touched = {*locker.members.get(member_id, ()), *permissions}
    return LockerAction.APPOINT if touched & LEADING else LockerAction.INVITE


def _reaches(caller: Caller, credential: Credential, rules: TenantRules, locker: Locker) -> bool:
    return credential.deleted_at is None and sees(caller, subject_in(caller, credential, rules, locker))


def _told(
    event: Event, caller: Caller, locker: Locker, now: datetime, credential: Credential | None = None, **details: object
) -> AuditEvent:
    return event.by(
        caller,
        now,
        credential_id=credential.id if credential else None,
        credential_name=credential.name if credential else None,
        details={"locker": locker.id, "lockerName": locker.name, **details},
    )

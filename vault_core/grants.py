"""Granting leases: how a value is handed out for a time.

A lease is granted from a remembered credential and verified afterwards, so that no hot row is needed:

    1. the audit event, the due row and the lease row are written at once; with `maxLeases`, a place is taken first
    2. the credential is read again. Unchanged: the value is handed over. Changed: the lease is withdrawn and the
       request is decided afresh

A revocation replaces the credential before it looks for leases. So either step 2 sees the revocation, or the
revocation sees the lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import SecretStr

from vault_core import lease as rules_of
from vault_core.admission import Admission, subject_in
from vault_core.attributes import by_name
from vault_core.audit import AuditLog
from vault_core.concurrency import together
from vault_core.credential import Credential, refusal_to_lease
from vault_core.credential_rows import CredentialRows, Found
from vault_core.errors import (
    CredentialIncomplete,
    LeaseEnded,
    LeaseLimitReached,
    RowChanged,
    RowExists,
    RowMissing,
    SecretDisabled,
    SecretMissing,
    StoreConflict,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.lease import Lease, LeaseState, Terms, free_places, granted
from vault_core.lease_events import creation, revocation, value_read
from vault_core.lease_rows import Held, LeaseRows, Place, active_without_place, lease_key, partition
from vault_core.locker import Locker
from vault_core.locker_rows import FoundLocker, LockerRows
from vault_core.own_values import OwnSet, OwnValues
from vault_core.policies import OVERLAP, Action, Decision, Guard, decide
from vault_core.repeats import Once, Repeats
from vault_core.telemetry import LEASES_GRANTED, LEASES_REFUSED
from vault_core.tenants import TenantRules, Tenants
from vault_core.values import Values

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease with the value, in the one answer that hands it over."""

    lease: Lease
    value: SecretStr
    fields: dict[str, SecretStr]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller asks of a lease. With an idempotency key (`keyed`), each try has the same token."""

    caller: Caller
    ttl: timedelta | None
    token: str
    keyed: bool
    now: datetime
    rules: TenantRules
    own: OwnSet | None = None

    def tried_anew(self) -> Wanted:
        """Return what is asked in another try: the audit knows each try by an id of its own."""
        return self if self.keyed else replace(self, token=rules_of.new_token())


class Grants:
    """Gives callers leases, and with them values."""

    def __init__(
        self,
        credentials: CredentialRows,
        lockers: LockerRows,
        admission: Admission,
        rows: LeaseRows,
        values: Values,
        own_values: OwnValues,
        audit: AuditLog,
        guard: Guard,
        tenants: Tenants,
        repeats: Repeats,
    ) -> None:
        self._credentials = credentials
        self._lockers = lockers
        self._admission = admission
        self._rows = rows
        self._values = values
        self._own_values = own_values
        self._audit = audit
        self._guard = guard
        self._tenants = tenants
        self._repeats = repeats

    async def grant(
        self, caller: Caller, reference: str, ttl: timedelta | None, once: Once | None, now: datetime
    ) -> Granted:
        """Lease the credential with this id or name to the caller, for `ttl` at most.

        Raises `LeaseLimitReached`, `CredentialRevoked`, `CredentialExpired`, `CredentialNotUsable`,
        `CredentialIncomplete` when an attribute has no value yet, `IdempotencyKeyReused`, and `LeaseEnded` when a
        repeated request's lease is over.
        """
        plan = {"token": rules_of.new_token(), "credential": reference}
        reservation = await self._repeats.reserve(caller, once, plan, now)
        reference = reservation.plan["credential"]  # a selector may mean another one by the time of a repeat
        rules = await self._tenants.rules(caller.tenant)
        wanted = Wanted(caller, ttl, reservation.plan["token"], once is not None, now, rules)
        remembered = self._credentials.remembered(caller.tenant, reference)
        repeated = reservation.repeated
        if remembered and not repeated and self._may_lease(caller, remembered, rules, now):
            with suppress(_ChangedMeanwhile, LeaseLimitReached, CredentialIncomplete):  # perhaps that is past
                return await self._try(wanted, remembered, rules, repeated=False)
            wanted, repeated = wanted.tried_anew(), wanted.keyed  # a twin of this request may have been faster
        for _ in range(_ATTEMPTS):
            found = await self._admit(caller, reference, rules, now)
            with suppress(_ChangedMeanwhile):
                return await self._try(wanted, found, rules, repeated=repeated)
            wanted, repeated = wanted.tried_anew(), wanted.keyed
        raise Unavailable("The credential keeps changing; try again in a moment.")

    async def named_before(self, caller: Caller, once: Once | None) -> str | None:
        """Return what the request leased that this one repeats: what it was wanted for may fit another by now."""
        return (await self._repeats.planned(caller, once)).get("credential")

    async def _admit(self, caller: Caller, reference: str, rules: TenantRules, now: datetime) -> Found:
        try:
            found = await self._credentials.find(caller.tenant, reference)
        except RowMissing:
            await self._admission.refuse_absent(caller, Action.LEASE, now)
        await self._admission.check(caller, Action.LEASE, found, rules, now)
        if refusal := refusal_to_lease(found.credential, now):
            raise refusal
        return found

    async def _try(self, wanted: Wanted, found: Found, rules: TenantRules, *, repeated: bool) -> Granted:
        """Grant a lease on what was found; `_ChangedMeanwhile` when that turns out to be stale."""
        wanted = replace(wanted, own=await self._own(wanted.caller, found))
        if repeated and (earlier := await self._earlier(wanted, found)):
            return await self._answer_again(wanted, earlier, found)
        limit = rules.policy_of(found.credential.policy).max_leases
        terms = rules_of.terms(found.credential, rules, wanted.ttl, wanted.now)
        if limit is None:
            lease = _make(wanted, found, terms, None)
            answer = await self._write_then_verify(wanted, lease, found)
        else:
            lease = await self._take_a_place(wanted, found, terms, rules, limit)
            answer = await self._verify_while_writing(wanted, lease, found)
        LEASES_GRANTED.add(tenant=found.tenant, type=found.credential.type)
        return answer

    async def _write_then_verify(self, wanted: Wanted, lease: Lease, found: Found) -> Granted:
        try:
            await together(
                self._rows.take(lease, found.tenant, None),
                self._rows.write_due(found.tenant, lease),
                self._audit.write(creation(wanted.caller, lease)),
            )
            return await self._hand_over(wanted, lease, found)
        except RowExists:  # the same request, sent twice at once
            raise _ChangedMeanwhile from None
        except Exception as failure:
            await self._withdraw(wanted, lease, failure)
            raise

    async def _verify_while_writing(self, wanted: Wanted, lease: Lease, found: Found) -> Granted:
        """With a place, the lease row is there already: what remains to be written goes out with the verification."""
        try:
            _, _, answer = await together(
                self._rows.write_due(found.tenant, lease),
                self._audit.write(creation(wanted.caller, lease)),
                self._hand_over(wanted, lease, found),
            )
        except Exception as failure:
            await self._withdraw(wanted, lease, failure)
            raise
        return answer

    async def _hand_over(self, wanted: Wanted, lease: Lease, found: Found) -> Granted:
        """Return the value if the credential, and the caller's right to it, are what the lease was decided on."""
        again, locker, fields = await asyncio.gather(
            self._credentials.read(found.tenant, lease.credential_id),
            self._locker_relied_on(wanted, found),
            self._fields(wanted, found, found.credential.newest.secret),
            return_exceptions=True,
        )
        if isinstance(again, RowMissing) or (isinstance(again, Found) and again.row.etag != found.row.etag):
            raise _ChangedMeanwhile
        for outcome in (again, locker):
            if isinstance(outcome, BaseException):
                raise outcome
        if isinstance(locker, FoundLocker) and not _may(wanted, found.credential, locker.locker):
            raise _ChangedMeanwhile
        if isinstance(fields, StoreConflict):
            await self._check_as_found(found)  # a revocation may have disabled the value since it was read above
            raise Unavailable("The value cannot be read from the secret store; tell the vault's operators.") from fields
        if isinstance(fields, BaseException):
            raise fields
        return _granted(lease, found.credential, fields)

    async def _check_as_found(self, found: Found) -> None:
        try:
            again = await self._credentials.read(found.tenant, found.credential.id)
        except RowMissing:
            raise _ChangedMeanwhile from None
        if again.row.etag != found.row.etag:
            raise _ChangedMeanwhile

    async def _locker_relied_on(self, wanted: Wanted, found: Found) -> FoundLocker | None:
        """Return the credential's locker if the caller's right rests on a part in it, to be verified."""
        if _may(wanted, found.credential, None):
            return None
        locker = await self._lockers.read_if_there(found.tenant, found.credential.locker_id)
        if locker is None:
            raise _ChangedMeanwhile
        return locker

    async def _own(self, caller: Caller, found: Found) -> OwnSet | None:
        """Return what the caller gave for itself; `CredentialIncomplete` when the credential asks for more."""
        asked_for = found.credential.user_provided
        if not asked_for:
            return None
        given = await self._own_values.find(found.tenant, found.credential.id, caller.identity.id)
        missing = [one.name for one in asked_for if not given or one.id not in given.own.marks]
        if missing:
            raise CredentialIncomplete(f"Set your own values of this credential first: {', '.join(missing)}.")
        return given.own if given else None

    async def _fields(self, wanted: Wanted, found: Found, secret: str | None) -> dict[str, SecretStr]:
        """Return the standard values of the version and the caller's own ones, by the attributes' ids."""

        async def standard() -> dict[str, SecretStr]:
            return await self._values.read(secret, found.tenant, found.credential.id) if secret else {}

        async def own() -> dict[str, SecretStr]:
            try:
                return await self._own_values.read(found.tenant, wanted.own) if wanted.own else {}
            except (SecretMissing, SecretDisabled):
                raise _ChangedMeanwhile from None  # the caller replaced them meanwhile, or a revocation runs

        values, given = await together(standard(), own())
        asked_for = {one.id for one in found.credential.user_provided}
        return {**values, **{key: text for key, text in given.items() if key in asked_for}}

    def _may_lease(self, caller: Caller, found: Found, rules: TenantRules, now: datetime) -> bool:
        """Return whether a lease can be tried from what is remembered; it is verified afterwards."""
        locker = self._lockers.remembered(found.tenant, found.credential.locker_id)
        about = subject_in(caller, found.credential, rules, locker)
        return (
            decide(caller, Action.LEASE, about) is Decision.ALLOWED and refusal_to_lease(found.credential, now) is None
        )

    async def _take_a_place(self, wanted: Wanted, found: Found, terms: Terms, rules: TenantRules, limit: int) -> Lease:
        for _ in range(_ATTEMPTS):
            places, uncounted = await self._places(found, rules, wanted.now)
            known = {place.slot.number: place for place in places}
            for number in free_places([place.slot for place in places], uncounted, limit, wanted.now):
                lease = _make(wanted, found, terms, number)
                try:
                    await self._rows.take(lease, found.tenant, known.get(number))
                except (RowExists, RowChanged) as conflict:
                    if conflict.key == lease_key(wanted.token):
                        raise _ChangedMeanwhile from None
                    continue
                except Unavailable as failure:  # perhaps it was taken
                    await self._withdraw(wanted, lease, failure)
                    raise
                return lease
        raise Unavailable("Many ask for this credential at once; try again in a moment.")

    async def _places(self, found: Found, rules: TenantRules, now: datetime) -> tuple[list[Place], list[datetime]]:
        until = [one for one in (found.credential.uncounted_until, rules.uncounted_until) if one]
        if not any(one + OVERLAP > now for one in until):
            return await self._rows.places(found.tenant, found.credential.id), []
        places, held = await together(
            self._rows.places(found.tenant, found.credential.id),
            self._rows.select(found.tenant, found.credential.id, active_without_place(now - OVERLAP)),
        )
        return places, [one.lease.expires_at for one in held]

    async def _withdraw(self, wanted: Wanted, lease: Lease, failure: Exception) -> None:
        """Take back a lease that nobody received. What fails here is harmless: the lease ends by itself."""
        with suppress(Unavailable, RowChanged):
            await self._rows.withdraw(lease, wanted.caller.tenant)
            if wanted.keyed and isinstance(failure, _ChangedMeanwhile):
                return  # the next try has the same id, and will be told of
            await self._audit.write(revocation(wanted.caller, lease, wanted.now, reason="withdrawn"))

    async def _earlier(self, wanted: Wanted, found: Found) -> Held | None:
        """Return the lease that an earlier request with the same idempotency key was given."""
        try:
            row = await self._rows.leases.read(partition(found.tenant, found.credential.id), lease_key(wanted.token))
        except RowMissing:
            return None
        return Held(Lease.from_document(row.document), row)

    async def _answer_again(self, wanted: Wanted, earlier: Held, found: Found) -> Granted:
        """Hand over the value of a lease that an earlier try was given, or was about to be given."""
        lease, version = earlier.lease, found.credential.version(earlier.lease.version)
        active = rules_of.state(lease, found.credential, wanted.now) is LeaseState.ACTIVE
        if not active or version is None or (version.secret is None and not version.holds_nothing):
            raise LeaseEnded("The lease that this Idempotency-Key made is over; use a new key for a new lease.")
        if rules_of.never_verified(lease, found.credential):
            await self._withdraw(wanted, lease, _ChangedMeanwhile())
            raise _ChangedMeanwhile
        try:  # from here on the earlier try can no longer take the lease back
            await self._rows.replace(earlier, lease.but(repeated_at=wanted.now), None)
        except RowChanged:
            raise _ChangedMeanwhile from None
        told = value_read(wanted.caller, lease, wanted.now)
        if lease.renewed_at:
            await self._audit.write(told)
        else:  # the first try may have been cut short before it wrote these
            await together(
                self._rows.write_due(found.tenant, lease), self._audit.write(creation(wanted.caller, lease), told)
            )
        try:
            fields = await self._fields(wanted, found, version.secret)
        except StoreConflict as fault:
            raise Unavailable("The value cannot be read from the secret store; tell its operators.") from fault
        return _granted(lease, found.credential, fields)


@contextmanager
def refusals_counted(caller: Caller) -> Iterator[None]:
    """Count what the caller is refused a lease with."""
    try:
        yield
    except VaultError as refusal:
        LEASES_REFUSED.add(tenant=caller.tenant, reason=refusal.code)
        raise


class _ChangedMeanwhile(Exception):
    """The credential is not what the lease was decided on: decide afresh."""


def _may(wanted: Wanted, credential: Credential, locker: Locker | None) -> bool:
    about = subject_in(wanted.caller, credential, wanted.rules, locker)
    return decide(wanted.caller, Action.LEASE, about) is Decision.ALLOWED


def _granted(lease: Lease, credential: Credential, fields: dict[str, SecretStr]) -> Granted:
    return Granted(lease, credential.kind.render(fields), by_name(credential.attributes, fields))


def _make(wanted: Wanted, found: Found, terms: Terms, slot: int | None) -> Lease:
    return granted(found.credential, terms, slot, wanted.token, wanted.caller.identity, wanted.ttl, wanted.now)

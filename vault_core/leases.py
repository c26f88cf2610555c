"""Leases that were granted: renew, read, list, revoke. How one is granted is in `grants.py`."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from vault_core import lease as rules_of
from vault_core.admission import Admission
from vault_core.audit import AuditEvent, AuditLog, Event, Outcome
from vault_core.concurrency import together
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, Found
from vault_core.errors import (
    LeaseEnded,
    NotFound,
    RowChanged,
    RowMissing,
    Unavailable,
)
from vault_core.identities import Caller, Role
from vault_core.lease import (
    ABSENT,
    Lease,
    LeaseReference,
    LeaseState,
    ended,
    renewed,
)
from vault_core.lease_events import renewal, revocation
from vault_core.lease_rows import Held, LeaseRows, Place, active, partition
from vault_core.policies import Action
from vault_core.repeats import Once, Repeats
from vault_core.stores import AnyOf, Compare, Condition, Keys, Page, Partitions
from vault_core.tenants import Tenants

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease as it is now."""

    lease: Lease
    state: LeaseState


@dataclass(frozen=True, slots=True)
class LeasePage:
    """Leases, and where the next page begins: None at the end."""

    leases: list[Seen]
    after: tuple[str, str] | None


class Leases:
    """What callers can do with leases. Every method may raise `NotFound`, `AccessDenied` and `Unavailable`."""

    def __init__(
        self,
        credentials: CredentialRows,
        admission: Admission,
        rows: LeaseRows,
        audit: AuditLog,
        tenants: Tenants,
        repeats: Repeats,
    ) -> None:
        self._credentials = credentials
        self._admission = admission
        self._rows = rows
        self._audit = audit
        self._tenants = tenants
        self._repeats = repeats

    async def renew(
        self, caller: Caller, lease_id: str, ttl: timedelta | None, once: Once | None, now: datetime
    ) -> Seen:
        """Extend the caller's lease. Raises `LeaseEnded`, `VersionRotated` and what forbids a lease now."""
        reservation = await self._repeats.reserve(caller, once, {"at": now.isoformat()}, now)
        first_asked_at = datetime.fromisoformat(reservation.plan["at"])
        reference = LeaseReference.parse(lease_id)
        rules = await self._tenants.rules(caller.tenant)
        for _ in range(_ATTEMPTS):
            held, found, place = await self._look(caller.tenant, reference)
            if held is None or found is None or not caller.is_me(held.lease.identity.id):
                return await self._hide(caller, lease_id, now)
            await self._admission.check(caller, Action.LEASE, found, rules, now)
            lease = renewed(held.lease, found.credential, rules, ttl, now)
            if reference.slot is not None and place is None:
                raise LeaseEnded("This lease has lost its place; lease the credential anew.")
            if reservation.repeated and held.lease.renewed_at and held.lease.renewed_at >= first_asked_at:
                return Seen(held.lease, LeaseState.ACTIVE)
            with suppress(RowChanged):
                await self._extend(held, lease, place, renewal(caller, lease, now))
                return Seen(lease, LeaseState.ACTIVE)
        raise Unavailable("The lease keeps changing; try again in a moment.")

    async def _extend(self, held: Held, lease: Lease, place: Place | None, told: AuditEvent) -> None:
        """Write the renewal and its event at once, and take back the renewal when the event cannot be written."""
        kept, recorded = await asyncio.gather(
            self._rows.replace(held, lease, place), self._audit.write(told), return_exceptions=True
        )
        if isinstance(kept, RowChanged) and recorded is None:
            await self._audit.write(told.failed("lease-changed"))
        if isinstance(kept, BaseException):
            raise kept
        if isinstance(recorded, BaseException):
            extended, its_place = kept
            with suppress(Unavailable, RowChanged):
                await self._rows.replace(extended, held.lease, its_place)
            raise recorded

    async def read(self, caller: Caller, lease_id: str, now: datetime) -> Seen:
        """Return the caller's lease, or one of a credential that the caller owns or manages. Never the value."""
        reference = LeaseReference.parse(lease_id)
        held, found = await together(
            self._held(caller.tenant, reference), self._found(caller.tenant, reference.credential_id)
        )
        if held is None or not _may_see(caller, held.lease, found):
            return await self._hide(caller, lease_id, now)
        return Seen(held.lease, rules_of.state(held.lease, found.credential if found else None, now))

    async def revoke(self, caller: Caller, lease_id: str, now: datetime) -> None:
        """End the lease at once; for its holder, the credential's owner, or a manager. Repeatable."""
        reference = LeaseReference.parse(lease_id)
        for _ in range(_ATTEMPTS):
            held, found, place = await self._look(caller.tenant, reference)
            if held is None or not _may_see(caller, held.lease, found):
                await self._hide(caller, lease_id, now)
            credential = found.credential if found else None
            if rules_of.state(held.lease, credential, now) is not LeaseState.ACTIVE:
                return
            await self._audit.write(revocation(caller, held.lease, now))
            with suppress(RowChanged):
                await self._rows.replace(held, ended(held.lease, LeaseState.REVOKED, now), place)
                return
        raise Unavailable("The lease keeps changing; try again in a moment.")

    async def list_own(self, caller: Caller, limit: int, after: tuple[str, str] | None, now: datetime) -> LeasePage:
        """Return the caller's leases in all credentials, in no particular order."""
        span = Partitions(f"{caller.tenant}|", f"{caller.tenant}}}", after)
        page = await self._rows.leases.query(span, where=_held_by(caller), limit=limit)
        return await self._page(caller.tenant, page, now)

    async def list_of(
        self, caller: Caller, reference: str, limit: int, after: tuple[str, str] | None, now: datetime
    ) -> LeasePage:
        """Return the leases of a credential: all for its owner or a manager, their own for others who see it."""
        found = (await self._admission.admit(caller, Action.READ, reference, now)).found
        span = Keys(partition(caller.tenant, found.credential.id), "lease:", "lease;", after=after[1] if after else "")
        where = None if _manages(caller, found.credential) else _held_by(caller)
        page = await self._rows.leases.query(span, where=where, limit=limit)
        return await self._page(caller.tenant, page, now)

    async def outstanding(self, tenant: str, credential_id: str, now: datetime) -> Counter[int]:
        """Return how many leases are active on each version of the credential; at most 1,000 are counted."""
        held = await self._rows.select(tenant, credential_id, active(now))
        return Counter(one.lease.version for one in held)

    async def _look(self, tenant: str, reference: LeaseReference) -> tuple[Held | None, Found | None, Place | None]:
        return await together(
            self._held(tenant, reference),
            self._found(tenant, reference.credential_id),
            self._rows.place(tenant, reference),
        )

    async def _held(self, tenant: str, reference: LeaseReference) -> Held | None:
        try:
            return await self._rows.read(tenant, reference)
        except RowMissing:
            return None

    async def _found(self, tenant: str, credential_id: str) -> Found | None:
        try:
            return await self._credentials.read(tenant, credential_id)
        except RowMissing:
            return None

    async def _page(self, tenant: str, page: Page, now: datetime) -> LeasePage:
        leases = [Lease.from_document(row.document) for row in page.rows]
        # What a lease is depends on its credential: a revocation counts before the lease is marked.
        ids = sorted({lease.credential_id for lease in leases if not lease.ended})
        found = dict(zip(ids, await asyncio.gather(*(self._found(tenant, one) for one in ids)), strict=True))
        known = {one: there.credential for one, there in found.items() if there}
        seen = [Seen(lease, rules_of.state(lease, known.get(lease.credential_id), now)) for lease in leases]
        last = (page.rows[-1].partition, page.rows[-1].key) if page.more and page.rows else None
        return LeasePage(seen, last)

    async def _hide(self, caller: Caller, lease_id: str, now: datetime) -> NoReturn:
        await self._audit.write(
            Event.ACCESS_DENIED.by(caller, now, lease_id=lease_id, outcome=Outcome.DENIED, details={"action": "lease"})
        )
        raise NotFound(ABSENT)


def _held_by(caller: Caller) -> Condition:
    return AnyOf(tuple(Compare("holder", "eq", alias) for alias in sorted(caller.ids)))


def _manages(caller: Caller, credential: Credential) -> bool:
    return caller.is_me(credential.owner_id) or caller.has(Role.MANAGER)


def _may_see(caller: Caller, lease: Lease, found: Found | None) -> bool:
    return caller.is_me(lease.identity.id) or (found is not None and _manages(caller, found.credential))

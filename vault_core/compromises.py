"""A credential whose values others may know: frozen at once, its leases ended, and told who was given them.

    compromise   audit → {credential frozen, intent to finish} → leases ended → intent removed → holders looked up

Frozen, it gives no value to anybody until its values are others: a rotation, which is due from then on, ends it.
Every step can be repeated, and the reconciler ends the leases when the request was cut short.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from vault_core import agenda
from vault_core.admission import Admission, Admitted
from vault_core.audit import AuditEvent, AuditLog, AuditQuery, Event, Outcome
from vault_core.concurrency import together
from vault_core.credential import Credential, compromised
from vault_core.credential_rows import CredentialRows
from vault_core.credential_writes import CredentialWrites
from vault_core.credentials import FINISH_AFTER, Shown, told
from vault_core.endings import Endings
from vault_core.errors import CredentialChanged, NotFound, RowMissing, Unavailable
from vault_core.identities import Caller, Identity
from vault_core.lease import Lease
from vault_core.lease_rows import KEEP_ENDED, LeaseRows
from vault_core.policies import ABSENT, OVERLAP, Action
from vault_core.repeats import Once, Repeats, Reservation
from vault_core.stores import Put, Row

LOOK_FOR = timedelta(seconds=15)  # at the audit, where a busy tenant has very much
_ATTEMPTS = 5
_PAGE = 1000
_LEASES = _READS = 20_000


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who was given the values of a version: since when, when last, by how many leases and other readings.

    The identity is as it was proven the last time.
    """

    identity: Identity
    version: int | None
    since: datetime
    last_at: datetime
    leases: int
    reads: int


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Everybody who was given the credential's values since `complete_since`; of earlier times the audit tells."""

    holders: tuple[Holder, ...]
    complete_since: datetime


@dataclass(frozen=True, slots=True)
class _Handover:
    identity: Identity
    version: int | None
    at: datetime
    reads: int


class Compromises:
    """Takes reports that others may know a credential's values."""

    def __init__(
        self,
        rows: CredentialRows,
        admission: Admission,
        writes: CredentialWrites,
        leases: LeaseRows,
        endings: Endings,
        audit: AuditLog,
        repeats: Repeats,
    ) -> None:
        self._rows = rows
        self._admission = admission
        self._writes = writes
        self._leases = leases
        self._endings = endings
        self._audit = audit
        self._repeats = repeats

    async def report(
        self, caller: Caller, reference: str, reason: str | None, once: Once | None, now: datetime
    ) -> tuple[Shown, Disclosure]:
        """Freeze the credential, end its leases, and return who was given its values. Repeatable.

        A revoked credential stays as it is. Raises `NotFound`, `AccessDenied`, `CredentialChanged`.
        """
        admitted = await self._admission.admit(caller, Action.COMPROMISE, reference, now)
        credential_id = admitted.found.credential.id
        reservation = await self._repeats.reserve(caller, once and once.about(credential_id), {}, now)
        frozen = admitted.found.credential
        if not reservation.done:
            frozen = await self._freeze(caller, admitted, reason, reservation, now)
        if frozen.compromised:
            await self._endings.finish_compromise(caller, _intent(caller.tenant, frozen, now), now)
        try:
            present = await self._rows.read(caller.tenant, credential_id)
        except RowMissing:
            raise NotFound(ABSENT) from None
        disclosure = await self._disclosure(caller.tenant, present.credential, now)
        return Shown(present.credential, admitted.rules, admitted.parts), disclosure

    async def _freeze(
        self, caller: Caller, admitted: Admitted, reason: str | None, reservation: Reservation, now: datetime
    ) -> Credential:
        """Freeze the credential with the values that it holds at that moment; return it as it is then."""
        for _ in range(_ATTEMPTS):
            before = admitted.found.credential
            after = compromised(before, caller.identity, now, reason)
            if after == before:
                await self._repeats.settle(reservation)
                return before
            rule = partial(_frozen, before.revision, by=caller.identity, now=now, reason=reason)
            version = before.newest.number
            event = told(Event.CREDENTIAL_COMPROMISED, caller, before, now, reason=reason, version=version)
            intent = Put(_intent(caller.tenant, after, now))
            try:
                kept = await self._writes.change(
                    admitted.found, admitted.rules, rule, [event], intent, *reservation.settled
                )
            except CredentialChanged:  # perhaps to another value, which is meant then: look again
                admitted = await self._admission.admit(caller, Action.COMPROMISE, before.id, now)
            else:
                return kept.credential
        raise CredentialChanged("The credential keeps changing; report it again at once.")

    async def _disclosure(self, tenant: str, credential: Credential, now: datetime) -> Disclosure:
        since = max(credential.created_at, now - KEEP_ENDED)
        leases, (events, complete_since) = await together(
            self._leases.kept(tenant, credential.id, _LEASES), self._reads(tenant, credential.id, since, now)
        )
        if len(leases) == _LEASES:  # there may be more of any time
            complete_since = now
        return Disclosure(tuple(_holders([*map(_by_lease, leases), *map(_by_reading, events)])), complete_since)

    async def _reads(
        self, tenant: str, credential_id: str, since: datetime, now: datetime
    ) -> tuple[list[AuditEvent], datetime]:
        """Return the readings without a new lease, and since when all are among them; day by day, newest first.

        What was found is told even if the audit has too much to be looked through in time, or there are more than
        20,000: the rest can be asked for.
        """
        events: list[AuditEvent] = []
        until, known_since = now + OVERLAP, now
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(LOOK_FOR.total_seconds()):
                while known_since > since:
                    day = max(since, until - timedelta(days=1))
                    async for page in self._reads_between(tenant, credential_id, day, until):
                        events += page
                        if len(events) >= _READS:
                            return events, known_since
                    until = known_since = day
        return events, known_since

    async def _reads_between(
        self, tenant: str, credential_id: str, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[AuditEvent]]:
        asked = AuditQuery(since, until, event=Event.VALUE_READ, credential_id=credential_id, outcome=Outcome.ALLOWED)
        page = await self._audit.query(tenant, asked, limit=_PAGE)
        yield page.events
        while page.after:
            page = await self._audit.query(tenant, asked, limit=_PAGE, after=page.after)
            yield page.events


def _frozen(revision: int, credential: Credential, *, by: Identity, now: datetime, reason: str | None) -> Credential:
    if credential.revision != revision:
        raise CredentialChanged("The credential changed at the same time; report it again.")
    return compromised(credential, by, now, reason)


def _intent(tenant: str, frozen: Credential, now: datetime) -> Row:
    version = frozen.compromised.version if frozen.compromised else frozen.newest.number
    return agenda.compromise(tenant, now + FINISH_AFTER, frozen.id, version, frozen.revision)


def _by_lease(lease: Lease) -> _Handover:
    return _Handover(lease.identity, lease.version, lease.issued_at, reads=0)


def _by_reading(event: AuditEvent) -> _Handover:
    return _Handover(event.identity, event.details.get("version"), event.at, reads=1)


def _holders(handovers: Iterable[_Handover]) -> list[Holder]:
    """Return what each identity was given of each version, the latest first."""
    groups: defaultdict[tuple[str, int | None], list[_Handover]] = defaultdict(list)
    for one in sorted(handovers, key=lambda handover: handover.at):
        groups[one.identity.id, one.version].append(one)
    holders = [
        Holder(
            identity=group[-1].identity,
            version=version,
            since=group[0].at,
            last_at=group[-1].at,
            leases=sum(1 - one.reads for one in group),
            reads=sum(one.reads for one in group),
        )
        for (_, version), group in groups.items()
    ]
    return sorted(holders, key=lambda holder: holder.last_at, reverse=True)

"""A lease and the rules of its life, as pure functions. No value, no store, no clock."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from vault_core.credential import Credential, State, refusal_to_lease
from vault_core.durations import Duration
from vault_core.errors import LeaseEnded, LeaseLimitReached, NotFound, VersionRotated
from vault_core.identities import Identity
from vault_core.policies import OVERLAP
from vault_core.records import Record
from vault_core.tenants import TenantRules

_ID = re.compile(r"([0-9a-f]{32})\.(n|0|[1-9][0-9]{0,3})\.([0-9a-f]{32})")
_TOKEN_BYTES = 16  # 128 bits: guessing a lease id is hopeless
_REFRESH_BEFORE = (0.10, 0.25)  # share of the TTL left when a holder should renew, at random between these
_randomness = secrets.SystemRandom()


class LeaseState(StrEnum):
    """What a lease is now; computed when read."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Cap(StrEnum):
    """What made a lease shorter than was asked."""

    CREDENTIAL = "credential-policy"
    TENANT = "tenant-policy"
    VALID_UNTIL = "valid-until"
    VALUE_END = "value-end"
    LEASE_MAXIMUM = "lease-maximum"


class Lease(Record):
    """The right of one identity to one version's value for a time. `repeated_at`: a repeat got the value too."""

    id: str
    credential_id: str
    credential_name: str
    credential_revision: int
    version: int
    identity: Identity
    ttl: Duration
    requested_ttl: Duration | None = None
    capped_by: Cap | None = None
    issued_at: datetime
    expires_at: datetime
    max_expires_at: datetime
    refresh_at: datetime
    renewed_at: datetime | None = None
    repeated_at: datetime | None = None
    ended: LeaseState | None = None
    ended_at: datetime | None = None

    @property
    def reference(self) -> LeaseReference:
        """What the id says."""
        return LeaseReference.parse(self.id)


@dataclass(frozen=True, slots=True)
class LeaseReference:
    """What a lease id carries: where its row is, so that looking it up is a point read."""

    credential_id: str
    slot: int | None
    token: str

    @classmethod
    def parse(cls, lease_id: str) -> LeaseReference:
        """Read a lease id; `NotFound` when it cannot be one."""
        parts = _ID.fullmatch(lease_id)
        if parts is None:
            raise NotFound(ABSENT)
        slot = None if parts[2] == "n" else int(parts[2])
        return cls(str(UUID(parts[1])), slot, parts[3])

    def __str__(self) -> str:
        slot = "n" if self.slot is None else self.slot
        return f"{UUID(self.credential_id).hex}.{slot}.{self.token}"


ABSENT = "There is no such lease, or it is not yours; check the id that you were given with the lease."


def new_token() -> str:
    """Return the secret part of a lease id: 128 random bits in hex."""
    return secrets.token_hex(_TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a lease may last, and what made it shorter than was asked."""

    ttl: timedelta
    expires_at: datetime
    max_expires_at: datetime
    capped_by: Cap | None


def terms(credential: Credential, rules: TenantRules, requested: timedelta | None, now: datetime) -> Terms:
    """Return the terms of a lease granted at `now`: what was asked, else the default, capped but never refused."""
    wanted = requested or rules.policy_of(credential.policy).default_lease_ttl or timedelta(hours=1)
    ends = _ends(credential)
    longest = _longest(credential, rules)
    caps = [*longest, *((end - now, cap) for end, cap in ends)]
    ttl, cap = min(caps, key=lambda one: one[0])
    max_expires_at = min([now + min(duration for duration, _ in longest), *(end for end, _ in ends)])
    if ttl < wanted:
        return Terms(ttl, now + ttl, max_expires_at, cap)
    return Terms(wanted, now + wanted, max_expires_at, None)


def granted(
    credential: Credential,
    terms: Terms,
    slot: int | None,
    token: str,
    identity: Identity,
    requested: timedelta | None,
    now: datetime,
) -> Lease:
    """Return the lease that these terms make."""
    return Lease(
        id=str(LeaseReference(credential.id, slot, token)),
        credential_id=credential.id,
        credential_name=credential.name,
        credential_revision=credential.revision,
        version=credential.newest.number,
        identity=identity,
        ttl=_whole_seconds(terms.ttl),
        requested_ttl=requested,
        capped_by=terms.capped_by,
        issued_at=now,
        expires_at=terms.expires_at,
        max_expires_at=terms.max_expires_at,
        refresh_at=_refresh_at(terms.expires_at, terms.ttl),
    )


def renewed(
    lease: Lease, credential: Credential, rules: TenantRules, requested: timedelta | None, now: datetime
) -> Lease:
    """Return the lease extended to `min(now + ttl, issuedAt + maxLeaseTTL, the credential's end)`, never shortened.

    Raises `LeaseEnded`, `VersionRotated`, or the reason why the credential cannot be leased.
    """
    present = state(lease, credential, now)
    if present is not LeaseState.ACTIVE:
        raise LeaseEnded(f"This lease is {present.value}; lease the credential anew.")
    if refusal := refusal_to_lease(credential, now):
        raise refusal
    if lease.version != credential.newest.number:
        raise VersionRotated("The credential was rotated; this lease runs to its end. Lease anew for the new value.")
    wanted = now + (requested or rules.policy_of(credential.policy).default_lease_ttl or lease.ttl)
    limits = [(lease.max_expires_at, Cap.LEASE_MAXIMUM), *_ends(credential)]
    limits += [(lease.issued_at + longest, cap) for longest, cap in _longest(credential, rules)]
    limit, cap = min(limits, key=lambda one: one[0])
    expires_at = max(min(wanted, limit), lease.expires_at)
    return lease.but(
        expires_at=expires_at,
        ttl=_whole_seconds(expires_at - now),
        requested_ttl=requested,
        capped_by=cap if limit < wanted else None,
        renewed_at=now,
        refresh_at=_refresh_at(expires_at, expires_at - now),
    )


def state(lease: Lease, credential: Credential | None, now: datetime) -> LeaseState:
    """Return what the lease is at `now`; a credential that is gone, revoked or compromised leaves none active."""
    if lease.ended:
        return lease.ended
    version = credential.version(lease.version) if credential else None
    if version and version.revoked_at and version.revoked_at >= lease.expires_at:
        return LeaseState.EXPIRED
    # A version that left the record was over long before the lease could be.
    if credential is None or credential.deleted_at or version is None or version.state is State.REVOKED:
        return LeaseState.REVOKED
    if credential.compromised and credential.compromised.at < lease.expires_at:
        return LeaseState.REVOKED
    return LeaseState.EXPIRED if now >= lease.expires_at else LeaseState.ACTIVE


def never_verified(lease: Lease, credential: Credential) -> bool:
    """Return whether the lease was decided on a credential as it was no more, and cut short before that showed."""
    version = credential.version(lease.version)
    if version and version.rotated_at and lease.issued_at > version.rotated_at:
        return True
    return lease.credential_revision != credential.revision and lease.issued_at > credential.updated_at


def ended(lease: Lease, how: LeaseState, at: datetime) -> Lease:
    """Return the lease as over."""
    return lease.but(ended=how, ended_at=at)


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the places of `maxLeases`, and the lease that has it until `expires_at`."""

    number: int
    expires_at: datetime


def free_places(slots: Sequence[Slot], uncounted: Iterable[datetime], max_leases: int, now: datetime) -> list[int]:
    """Return the places that may be taken, in random order; `LeaseLimitReached` when there is none.

    `uncounted` are the ends of active leases that have no place, from before there was a limit. They, and leases
    above the limit from before it was lowered, make places at the upper end unavailable: so two workers that see
    different numbers of them still never exceed the limit together.
    """
    # A lease beyond the end has no place whose loss would stop a renewal that is under way: it counts a little longer.
    lingering = {slot.number for slot in slots if slot.expires_at + OVERLAP > now}
    beyond = sum(number >= max_leases for number in lingering) + sum(end + OVERLAP > now for end in uncounted)
    end = max_leases
    while end > 0 and end + beyond > max_leases:
        end -= 1
        beyond += end in lingering
    live = {slot.number: slot.expires_at for slot in slots if slot.expires_at > now}
    places = [number for number in range(end) if number not in live]
    if not places:
        raise _limit_reached([*live.values(), *(end for end in uncounted if end > now)], max_leases, now)
    _randomness.shuffle(places)
    return places


def _limit_reached(ends: Iterable[datetime], max_leases: int, now: datetime) -> LeaseLimitReached:
    # Above the limit, as many leases as are too many must end before one end makes a place.
    last = sorted(ends)[-max_leases:]
    frees_at = last[0] if len(last) == max_leases else now + OVERLAP
    return LeaseLimitReached(
        f"Lease limit of {max_leases} reached; the next place frees at {frees_at:%H:%M:%S}Z.",
        frees_at=frees_at,
        retry_after=frees_at - now,
    )


def _longest(credential: Credential, rules: TenantRules) -> list[tuple[timedelta, Cap]]:
    own = credential.policy.max_lease_ttl
    tenant = rules.defaults.max_lease_ttl
    return [*([(own, Cap.CREDENTIAL)] if own else []), *([(tenant, Cap.TENANT)] if tenant else [])]


def _ends(credential: Credential) -> list[tuple[datetime, Cap]]:
    ends = ((credential.valid_until, Cap.VALID_UNTIL), (credential.ends_at, Cap.VALUE_END))
    return [(end, cap) for end, cap in ends if end]


def _whole_seconds(duration: timedelta) -> timedelta:
    """Return the duration as it can be told: up to a second more. `expires_at` alone says when a lease ends."""
    return timedelta(seconds=math.ceil(duration.total_seconds()))


def _refresh_at(expires_at: datetime, ttl: timedelta) -> datetime:
    return expires_at - ttl * _randomness.uniform(*_REFRESH_BEFORE)

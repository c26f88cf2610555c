"""What the audit is told of a lease.

An event that may be told more than once has the same id and time each time, so that telling it twice tells it once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vault_core.audit import AuditEvent, Event
from vault_core.identities import Caller
from vault_core.lease import Lease


def creation(caller: Caller, lease: Lease) -> AuditEvent:
    """Return the event that the lease was granted to its holder."""
    holder = Caller(caller.tenant, lease.identity, caller.roles, caller.aliases)
    return _told(Event.LEASE_CREATED, holder, lease, lease.issued_at, id=_stable_id("g", lease), details=_terms(lease))


def value_read(caller: Caller, lease: Lease, now: datetime) -> AuditEvent:
    """Return the event that the value was handed over again, to a repeat of the request that got the lease."""
    return _told(Event.VALUE_READ, caller, lease, now, details=_terms(lease))


def renewal(caller: Caller, lease: Lease, now: datetime) -> AuditEvent:
    """Return the event that the lease was extended."""
    return _told(Event.LEASE_RENEWED, caller, lease, now, details=_terms(lease))


def revocation(caller: Caller, lease: Lease, now: datetime, **details: str) -> AuditEvent:
    """Return the event that the lease was ended before its time."""
    about = {"holder": lease.identity.id, **details}
    return _told(Event.LEASE_REVOKED, caller, lease, now, id=_stable_id("r", lease), details=about)


def expiry(caller: Caller, lease: Lease) -> AuditEvent:
    """Return the event that the lease came to its end."""
    about = {"holder": lease.identity.id}
    return _told(Event.LEASE_EXPIRED, caller, lease, lease.expires_at, id=_stable_id("x", lease), details=about)


def _told(event: Event, caller: Caller, lease: Lease, at: datetime, **more: Any) -> AuditEvent:
    return event.by(
        caller,
        at,
        credential_id=lease.credential_id,
        credential_name=lease.credential_name,
        lease_id=lease.id,
        **more,
    )


def _terms(lease: Lease) -> dict[str, object]:
    return {"version": lease.version, "expiresAt": lease.expires_at.isoformat(timespec="seconds")}


def _stable_id(kind: str, lease: Lease) -> str:
    return kind + lease.reference.token[:23]

"""When a credential must be looked at again, and what is to be announced then. Pure rules.

Announced once each: that a rotation is due, that the credential is about to end, that it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_core import durations
from vault_core.audit import Event
from vault_core.credential import Credential, State, Validation
from vault_core.tenants import TenantRules

METADATA_ROTATE_EVERY = "rotateEvery"
_REMEMBERED = 30  # announcements; older ones are of ends and rotations long past


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something to tell at an instant; `key` tells one from another, so that none is told twice."""

    event: Event
    at: datetime
    key: str


def rotates_every(credential: Credential, rules: TenantRules) -> timedelta | None:
    """Return how often the value is to be replaced: as the policy says, else the metadata, else the tenant."""
    if credential.policy.rotate_every:
        return credential.policy.rotate_every
    written = credential.metadata.get(METADATA_ROTATE_EVERY)
    return durations.parse(written) if written else rules.defaults.rotate_every


def rotation_due_at(credential: Credential, rules: TenantRules) -> datetime | None:
    """Return when the present value is to be replaced, or None when it need not be."""
    every = rotates_every(credential, rules)
    if every is None or credential.newest.state is State.REVOKED:
        return None
    return credential.newest.created_at + every


def announcements(credential: Credential, rules: TenantRules) -> list[Announcement]:
    """Return what is still to be announced of the credential, soonest first."""
    if credential.newest.state is State.REVOKED or credential.deleted_at:
        return []
    planned = []
    if due := rotation_due_at(credential, rules):
        planned.append(Announcement(Event.CREDENTIAL_ROTATION_DUE, due, f"rotation-due:{due:%Y%m%dT%H%M%S}"))
    if ends := credential.ends:
        planned.append(
            Announcement(Event.CREDENTIAL_EXPIRING, ends - rules.notice_period, f"expiring:{ends:%Y%m%dT%H%M%S}")
        )
        planned.append(Announcement(Event.CREDENTIAL_EXPIRED, ends, f"expired:{ends:%Y%m%dT%H%M%S}"))
    return sorted((one for one in planned if one.key not in credential.announced), key=lambda one: one.at)


def next_look(credential: Credential, rules: TenantRules) -> datetime | None:
    """Return when the next announcement falls due, or None; what is overdue already is due with the last change."""
    return next((max(one.at, credential.updated_at) for one in announcements(credential, rules)), None)


def announced(credential: Credential, told: list[Announcement]) -> Credential:
    """Return the credential knowing that these were announced."""
    return credential.but(announced=(*credential.announced, *(one.key for one in told))[-_REMEMBERED:])


def next_check(credential: Credential) -> datetime | None:
    """Return when the type itself can find the value invalid: at its own end, unless that was found already."""
    ended = credential.validation.status == "invalid"
    dead = credential.newest.state is State.REVOKED or credential.deleted_at is not None
    return None if ended or dead else credential.ends_at


def checked(credential: Credential, now: datetime) -> Credential:
    """Return the credential with the verdict that its type can give by itself at `now`."""
    if credential.ends_at is None or now < credential.ends_at:
        return credential.but(validation=credential.validation.but(checked_at=now))
    return credential.but(validation=Validation(status="invalid", checked_at=now, verdict_at=now, reason="value-ended"))

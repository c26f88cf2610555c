"""When a credential must be looked at again, and what is to be announced then. Pure rules.

Announced once each: that a rotation is due, that the credential is about to end, that it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_core import durations
from vault_core.audit import Event
from vault_core.credential import Credential, State
from vault_core.tenants import TenantRules
from vault_core.validation import VALUE_ENDED
from vault_core.vendor_answers import Outcome

METADATA_ROTATE_EVERY = "rotateEvery"
_REMEMBERED = 30  # announcements; older ones are of ends and rotations long past


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something to tell at an instant; `key` tells one from another, so that none is told twice."""

    event: Event
    at: datetime
    key: str


def rotates_every(credential: Credential, rules: TenantRules) -> timedelta | None:
    """Return how often the value is to be replaced.

    As the credential's policy says, else its metadata, else the configuration it was made from, else the tenant.
    """
    if credential.policy.rotate_every:
        return credential.policy.rotate_every
    written = credential.metadata.get(METADATA_ROTATE_EVERY)
    if written:
        return durations.parse(written)
    advised = credential.configuration.rotate_every if credential.configuration else None
    return advised or rules.defaults.rotate_every


def rotation_due_at(credential: Credential, rules: TenantRules) -> datetime | None:
    """Return when the present value is to be replaced, or None when it need not be."""
    if credential.newest.state is State.REVOKED:
        return None
    every = rotates_every(credential, rules)
    planned = credential.newest.created_at + every if every else None
    reported = credential.compromised.at if credential.compromised else None
    return min((at for at in (planned, reported) if at), default=None)


def is_rotation_due(credential: Credential, rules: TenantRules, now: datetime) -> bool:
    """Return whether the present value was to be replaced by `now`."""
    due = rotation_due_at(credential, rules)
    return due is not None and due <= now


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
    """Return when the value is to be checked: at its own end, and when its vendor is to be asked again."""
    if credential.newest.state is State.REVOKED or credential.deleted_at is not None:
        return None
    own_end = credential.ends_at if credential.validation.reason != VALUE_ENDED else None
    return min((at for at in (own_end, _next_question(credential)) if at), default=None)


def _next_question(credential: Credential) -> datetime | None:
    """Return when the vendor is to be asked again, or None for a value that nobody could use then."""
    at = credential.validation.next_check_at
    if at is None or credential.suspended or credential.compromised or credential.newest.secret is None:
        return None
    return None if credential.ends and at >= credential.ends else at


def own_verdict(credential: Credential, now: datetime) -> Outcome | None:
    """Return what the type itself says of the value at `now`: that it is past its own end, or nothing."""
    if credential.ends_at is None or now < credential.ends_at:
        return None
    return Outcome("invalid", VALUE_ENDED)

"""Who may do what, and how long a lease may last.

`LeasePolicy` is the part of a credential, or of a tenant's defaults, that governs leases. `decide` is the table of
rights as a pure function; `Guard` asks it, writes refusals to the audit and raises them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NoReturn

from pydantic import Field

from vault_core.audit import AuditLog, Event, Outcome
from vault_core.durations import Duration
from vault_core.errors import AccessDenied, NotFound
from vault_core.identities import Caller, Identity, IdentityPattern, Role
from vault_core.wire import WireModel

MAX_PLACES = 1000
OVERLAP = timedelta(minutes=1)  # a request may still run that began this long ago, or on a clock that is behind
MaxLeases = Annotated[int, Field(ge=1, le=MAX_PLACES, description="Leases that may be active at once")]


class LeasePolicy(WireModel):
    """Rules for the leases of a credential. What is left out comes from the tenant's defaults."""

    max_lease_ttl: Annotated[Duration | None, Field(alias="maxLeaseTTL")] = None
    default_lease_ttl: Annotated[Duration | None, Field(alias="defaultLeaseTTL")] = None
    max_leases: MaxLeases | None = None
    allowed_identities: Annotated[tuple[IdentityPattern, ...] | None, Field(max_length=50)] = None
    rotate_every: Duration | None = None

    def completed_by(self, defaults: LeasePolicy) -> LeasePolicy:
        """Return this policy with what it leaves out taken from `defaults`."""
        return defaults.model_copy(update={name: getattr(self, name) for name in self.given()})

    def given(self) -> frozenset[str]:
        """Return the names of the rules that this policy sets itself."""
        return frozenset(name for name in type(self).model_fields if getattr(self, name) is not None)

    def allows(self, identity: Identity) -> bool:
        """Return whether the identity is one of those that may lease."""
        return any(pattern.matches(identity) for pattern in self.allowed_identities or ())


BUILT_IN_DEFAULTS = LeasePolicy(
    max_lease_ttl=timedelta(hours=24), default_lease_ttl=timedelta(hours=1), allowed_identities=()
)


class Action(StrEnum):
    """What can be done to a credential."""

    READ = "read"
    UPDATE = "update"
    ROTATE = "rotate"
    REVOKE = "revoke"
    SUSPEND = "suspend"
    RESUME = "resume"
    DELETE = "delete"
    TRANSFER = "transfer"
    LEASE = "lease"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of a credential when rights to it are decided; `policy` is complete."""

    credential_id: str
    credential_name: str
    owner_id: str
    policy: LeasePolicy


class Decision(StrEnum):
    """Allowed; denied to someone who may know of the subject; or hidden from someone who may not."""

    ALLOWED = "allowed"
    DENIED = "denied"
    HIDDEN = "hidden"


def sees(caller: Caller, subject: Subject) -> bool:
    """Return whether the caller may know of the credential at all."""
    return caller.has(Role.VIEWER) and (
        caller.has(Role.MANAGER) or caller.is_me(subject.owner_id) or subject.policy.allows(caller.identity)
    )


def may(caller: Caller, action: Action, subject: Subject) -> bool:
    """Return whether the caller may do this; the table of rights, row by row."""
    owner = caller.is_me(subject.owner_id)
    match action:
        case Action.READ:
            return sees(caller, subject)
        case Action.LEASE:  # a manager or administrator has no right to a value
            return caller.has(Role.USER) and (owner or subject.policy.allows(caller.identity))
        case Action.TRANSFER:
            return owner or caller.has(Role.LOCKER_ADMIN)
        case _:
            return owner or caller.has(Role.MANAGER)


def decide(caller: Caller, action: Action, subject: Subject) -> Decision:
    """Decide on identity, action and what is known; no value is touched."""
    if may(caller, action, subject):
        return Decision.ALLOWED
    return Decision.DENIED if sees(caller, subject) else Decision.HIDDEN


class Guard:
    """The one door to a credential: decides, records refusals, refuses."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def admit(self, caller: Caller, action: Action, subject: Subject, now: datetime) -> None:
        """Return when the caller may go on; `AccessDenied` or `NotFound` otherwise, after recording it.

        The caller must not perform the operation if this raises.
        """
        decision = decide(caller, action, subject)
        if decision is Decision.ALLOWED:
            return
        await self._record(caller, action, now, subject)
        if decision is Decision.HIDDEN:
            raise NotFound(ABSENT)
        raise AccessDenied(f"Your identity may not {action} this credential; its owner can allow it or do it for you.")

    async def refuse_absent(self, caller: Caller, action: Action, now: datetime) -> NoReturn:
        """Record a request for what does not exist, then raise `NotFound`: the same work as for a hidden subject."""
        await self._record(caller, action, now, None)
        raise NotFound(ABSENT)

    async def _record(self, caller: Caller, action: Action, now: datetime, subject: Subject | None) -> None:
        await self._audit.write(
            Event.ACCESS_DENIED.by(
                caller,
                now,
                credential_id=subject.credential_id if subject else None,
                credential_name=subject.credential_name if subject else None,
                outcome=Outcome.DENIED,
                details={"action": action.value},
            )
        )


ABSENT = "There is no such credential, or you may not see it; check the name or id and your access."

"""Who may do what, and how long a lease may last.

`LeasePolicy` is the part of a credential, or of a tenant's defaults, that governs leases. `decide` is the table of
rights as a pure function; `Guard` asks it, writes refusals to the audit and raises them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    COMPROMISE = "compromise"
    DELETE = "delete"
    TRANSFER = "transfer"
    LEASE = "lease"
    VALIDATE = "validate"
    UPGRADE = "upgrade"


class Part(StrEnum):
    """What a caller is in a locker. One may have several parts."""

    CONSUMER = "consumer"
    PARTICIPANT = "participant"
    MANAGER = "manager"
    OWNER = "owner"


NO_PART: frozenset[Part] = frozenset()
REACHES_ALL_INSIDE = frozenset({Part.CONSUMER, Part.MANAGER, Part.OWNER})  # a participant reaches its own only


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of a credential when rights to it are decided; `policy` is complete.

    `parts` is what the caller is in the locker that the credential is in.
    """

    credential_id: str
    credential_name: str
    owner_id: str
    policy: LeasePolicy
    parts: frozenset[Part] = field(default=NO_PART)


class Decision(StrEnum):
    """Allowed; denied to someone who may know of the subject; or hidden from someone who may not."""

    ALLOWED = "allowed"
    DENIED = "denied"
    HIDDEN = "hidden"


def sees(caller: Caller, subject: Subject) -> bool:
    """Return whether the caller may know of the credential at all."""
    return caller.has(Role.LOCKER_ADMIN) or (
        caller.has(Role.VIEWER)
        and (
            caller.has(Role.MANAGER)
            or caller.is_me(subject.owner_id)
            or subject.policy.allows(caller.identity)
            or bool(subject.parts & REACHES_ALL_INSIDE)
        )
    )


def may(caller: Caller, action: Action, subject: Subject) -> bool:
    """Return whether the caller may do this; the table of rights, row by row."""
    owner, parts = caller.is_me(subject.owner_id), subject.parts
    match action:
        case Action.READ:
            return sees(caller, subject)
        case Action.LEASE:  # a manager or administrator has no right to a value
            reaches = owner or subject.policy.allows(caller.identity) or bool(parts & REACHES_ALL_INSIDE)
            return caller.has(Role.USER) and reaches
        case Action.UPGRADE:  # it may name another endpoint, to which the value is sent then
            return owner
        case Action.TRANSFER:
            return owner or caller.has(Role.LOCKER_ADMIN) or Part.OWNER in parts
        case Action.ROTATE:
            return owner or bool(parts & {Part.MANAGER, Part.OWNER}) or _holds(caller, Role.MANAGER, Role.LOCKER_ADMIN)
        case _:
            return owner or caller.has(Role.MANAGER)


def _holds(caller: Caller, *roles: Role) -> bool:
    return any(caller.has(role) for role in roles)


def decide(caller: Caller, action: Action, subject: Subject) -> Decision:
    """Decide on identity, action and what is known; no value is touched."""
    if may(caller, action, subject):
        return Decision.ALLOWED
    return Decision.DENIED if sees(caller, subject) else Decision.HIDDEN


_REFUSED = {
    Action.COMPROMISE: "You may not report this credential as compromised; tell its owner or a manager at once.",
}


class Guard:
    """The one door to a credential: decides, records refusals, refuses. What it guards else is decided by its noun."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def admit(self, caller: Caller, action: Action, subject: Subject, now: datetime) -> None:
        """Return when the caller may go on; `AccessDenied` or `NotFound` otherwise, after recording it.

        The caller must not perform the operation if this raises.
        """
        decision = decide(caller, action, subject)
        if decision is Decision.ALLOWED:
            return
        await self.record(
            caller, now, action, credential_id=subject.credential_id, credential_name=subject.credential_name
        )
        if decision is Decision.HIDDEN:
            raise NotFound(ABSENT)
        raise AccessDenied(
            _REFUSED.get(
                action, f"Your identity may not {action} this credential; its owner can allow it or do it for you."
            )
        )

    async def refuse_absent(self, caller: Caller, action: Action, now: datetime) -> NoReturn:
        """Record a request for what does not exist, then raise `NotFound`: the same work as for a hidden subject."""
        await self.record(caller, now, action)
        raise NotFound(ABSENT)

    async def record(
        self,
        caller: Caller,
        now: datetime,
        action: str,
        *,
        credential_id: str | None = None,
        credential_name: str | None = None,
        **about: str,
    ) -> None:
        """Write a refusal to the audit."""
        await self._audit.write(
            Event.ACCESS_DENIED.by(
                caller,
                now,
                credential_id=credential_id,
                credential_name=credential_name,
                outcome=Outcome.DENIED,
                details={"action": str(action), **about},
            )
        )


ABSENT = "There is no such credential, or you may not see it; check the name or id and your access."

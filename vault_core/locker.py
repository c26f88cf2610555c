"""A locker, who has which part in it, and the rules of its life, as pure functions. No store, no clock.

consumer      sees what is inside, and leases it; a role of the token, not a person
participant   puts its own credentials in and takes them out; reaches no others
manager       reaches all that is inside, and says who participates and consumes
owner         says who owns and manages, too; there is always one
locker-admin  administers every locker of the tenant, and reads no value
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from vault_core.attributes import AttributeName
from vault_core.errors import FieldError, InvalidInput, LastOwner, LockerFull, StaleVersion
from vault_core.identities import Caller, Identity, Role
from vault_core.names import fold
from vault_core.policies import Part
from vault_core.records import Record
from vault_core.wire import WireModel

MAX_MEMBERS = 500
MAX_CONSUMERS = 100
MAX_ROLE_NAME = 128
_RESERVED = "oauth_"  # the Control Room's own lockers begin so


class Permission(StrEnum):
    """What a member of a locker is there for; each contains those after it."""

    OWN = "own"
    MANAGE = "manage"
    PARTICIPATE = "participate"


_PARTS = {Permission.OWN: Part.OWNER, Permission.MANAGE: Part.MANAGER, Permission.PARTICIPATE: Part.PARTICIPANT}
LEADING = frozenset({Permission.OWN, Permission.MANAGE})


def _not_reserved(name: str) -> str:
    if fold(name).startswith(_RESERVED):
        raise ValueError(f"must not start with {_RESERVED}")
    return name


LockerName = Annotated[AttributeName, AfterValidator(_not_reserved)]
LockerDescription = Annotated[str, StringConstraints(max_length=255)]
Permissions = Annotated[tuple[Permission, ...], Field(min_length=1, max_length=len(Permission))]


class DefineLocker(WireModel):
    """A locker's name and description."""

    name: LockerName
    description: LockerDescription = ""


class Locker(Record):
    """Credentials that are shared, and with whom. `members` are permissions by identity id, `consumers` roles.

    `edition` counts changes of name and description; `revision` all changes. `credentials` is how many are inside.
    """

    id: str
    name: str
    description: str = ""
    members: dict[str, tuple[Permission, ...]]
    consumers: tuple[str, ...] = ()
    credentials: int = 0
    created_at: datetime
    created_by: Identity
    updated_at: datetime
    updated_by: Identity
    edition: int = 0
    revision: int = 0
    deleted_at: datetime | None = None

    @property
    def tag(self) -> str:
        """The `ETag` of the locker as it is shown; a writer must know its edition."""
        return tag_of(self.id, self.edition, self.revision)

    def is_member(self, identity_id: str) -> bool:
        """Return whether the identity has a permission here."""
        return identity_id in self.members

    def parts_of(self, caller: Caller) -> frozenset[Part]:
        """Return what the caller is here: by the permissions of each of its ids, and by the roles of its token."""
        held = {part for one in caller.ids if one in self.members for part in self.members[one]}
        consumes = {Part.CONSUMER} if caller.role_names & set(self.consumers) else set()
        return frozenset({_PARTS[permission] for permission in held} | consumes)


def tag_of(locker_id: str, edition: int, revision: int = 0) -> str:
    """Return the tag of the locker in this edition."""
    return f"{locker_id[-12:]}.{edition}.{revision}"


class LockerAction(StrEnum):
    """What can be done to a locker."""

    SEE = "see"
    EDIT = "edit"
    APPOINT = "appoint owners and managers of"
    INVITE = "invite participants and consumers of"
    ASSIGN = "put this credential into"
    REMOVE = "take this credential out of"


_ALLOWED: Mapping[LockerAction, frozenset[Part]] = {
    LockerAction.SEE: frozenset(Part),
    LockerAction.EDIT: frozenset({Part.MANAGER, Part.OWNER}),
    LockerAction.APPOINT: frozenset({Part.OWNER}),
    LockerAction.INVITE: frozenset({Part.MANAGER, Part.OWNER}),
    LockerAction.ASSIGN: frozenset(),
    LockerAction.REMOVE: frozenset({Part.MANAGER, Part.OWNER}),
}
_ALLOWED_OWN: Mapping[LockerAction, frozenset[Part]] = {
    LockerAction.ASSIGN: frozenset({Part.PARTICIPANT, Part.MANAGER, Part.OWNER}),
    LockerAction.REMOVE: frozenset({Part.PARTICIPANT, Part.MANAGER, Part.OWNER}),
}
"""What a part allows with a credential that is the caller's own."""


def may_with_locker(caller: Caller, action: LockerAction, parts: frozenset[Part], *, own: bool = False) -> bool:
    """Return whether the caller may do this; `own`: with a credential of the caller's. The table of rights."""
    if caller.has(Role.LOCKER_ADMIN):
        return True
    if not caller.has(Role.VIEWER):
        return False
    return bool(parts & _ALLOWED[action]) or (own and bool(parts & _ALLOWED_OWN.get(action, frozenset())))


def check_role_name(name: str) -> str:
    """Return the name if a role of a token can have it: 1 to 128 printable characters; `InvalidInput` otherwise.

    A slash, `.` and `..` are refused: no path could name the role to remove it, since hosts leave `%2F` in paths as it
    is, and clients resolve dots.
    """
    fits = 0 < len(name) <= MAX_ROLE_NAME and name.isprintable() and unicodedata.is_normalized("NFKC", name)
    if not fits or name in (".", "..") or "/" in name or "%2f" in name.lower():
        raise InvalidInput(
            "Name a role as the tokens of its bearers do.", (FieldError("role", "can be no role's name"),)
        )
    return name


def created(locker_id: str, wanted: DefineLocker, by: Identity, now: datetime) -> Locker:
    """Return a new locker whose first owner is its creator."""
    return Locker(
        id=locker_id,
        name=wanted.name,
        description=wanted.description,
        members={by.id: (Permission.OWN,)},
        created_at=now,
        created_by=by,
        updated_at=now,
        updated_by=by,
    )


def restored(
    locker_id: str,
    wanted: DefineLocker,
    members: Mapping[str, tuple[Permission, ...]],
    consumers: tuple[str, ...],
    by: Identity,
    now: datetime,
) -> Locker:
    """Return a new, empty locker with these members and consumers. Raises `LastOwner`, `LockerFull`, `InvalidInput`."""
    _check_members(members)
    roles = _distinct(tuple(map(check_role_name, consumers)))
    held = {one: tuple(each for each in Permission if each in given) for one, given in members.items()}
    return created(locker_id, wanted, by, now).but(members=held, consumers=roles)


def redefined(locker: Locker, wanted: DefineLocker, by: Identity, now: datetime) -> Locker:
    """Return the locker with another name and description."""
    return _changed(
        locker,
        name=wanted.name,
        description=wanted.description,
        edition=locker.edition + 1,
        updated_at=now,
        updated_by=by,
    )


def with_member(locker: Locker, member_id: str, permissions: tuple[Permission, ...]) -> Locker:
    """Return the locker with these permissions of a member; without any, it is none. `LastOwner`, `LockerFull`."""
    members = {one: held for one, held in locker.members.items() if one != member_id}
    if permissions:
        members[member_id] = tuple(one for one in Permission if one in permissions)
    _check_members(members)
    return _changed(locker, members=members)


def with_consumers(locker: Locker, roles: tuple[str, ...]) -> Locker:
    """Return the locker with these roles as its consumers. Raises `LockerFull`."""
    return _changed(locker, consumers=_distinct(roles))


def with_credentials(locker: Locker, number: int) -> Locker:
    """Return the locker knowing how many credentials are inside."""
    return _changed(locker, credentials=number)


def check_unchanged(locker: Locker, if_match: str | None) -> None:
    """Return when the caller's tag names the present edition, or is absent; else `StaleVersion`.

    Members, consumers and credentials may have changed: a writer of name and description undoes nothing there.
    """
    if if_match is not None and if_match.rpartition(".")[0] != locker.tag.rpartition(".")[0]:
        raise StaleVersion("The locker changed since you read it; read it again and repeat your change.")


def _check_members(members: Mapping[str, tuple[Permission, ...]]) -> None:
    if not any(Permission.OWN in held for held in members.values()):
        raise LastOwner("A locker always has an owner; make another member one first.")
    if len(members) > MAX_MEMBERS:
        raise LockerFull(f"A locker has at most {MAX_MEMBERS} members; remove one first.")


def _distinct(roles: tuple[str, ...]) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(roles))
    if len(distinct) > MAX_CONSUMERS:
        raise LockerFull(f"A locker has at most {MAX_CONSUMERS} consumers; remove one first.")
    return distinct


def _changed(locker: Locker, **changes: Any) -> Locker:
    return locker.but(revision=locker.revision + 1, **changes)

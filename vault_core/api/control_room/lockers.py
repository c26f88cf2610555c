"""Handlers of lockers, as a Control Room has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from vault_core.api.control_room.credentials import CredentialRows, PageView, credential_view
from vault_core.api.control_room.dialect import LenientList, LenientModel, LooseId
from vault_core.api.control_room.face import AnyObject, ControlRoom, id_of, user_of, version_of
from vault_core.api.control_room.lists import LOCKER_FIELDS, FieldValue, Listing, ListRequest
from vault_core.api.repeated import once
from vault_core.api.routing import Answer, Call
from vault_core.identities import Caller
from vault_core.locker import (
    DefineLocker,
    Locker,
    LockerDescription,
    LockerName,
    Permission,
    check_role_name,
    tag_of,
)
from vault_core.policies import Part
from vault_core.wire import Instant, WireModel


class LockerBody(LenientModel):
    """A locker to create, or as it is to be; without `description` a present one stays."""

    name: LockerName
    description: LockerDescription | None = None
    version: LooseId | None = None

    def definition(self, present: str = "") -> DefineLocker:
        """Return what the vault is asked for."""
        return DefineLocker(name=self.name, description=present if self.description is None else self.description)


def _lower(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


class MemberBody(LenientModel):
    """What a member is there for."""

    permissions: Annotated[
        tuple[Annotated[Permission, BeforeValidator(_lower)], ...], Field(min_length=1, max_length=len(Permission))
    ]


class ConsumerBody(LenientModel):
    """A role that consumes, by either name that clients give the field."""

    id: LooseId | None = None
    role_id: LooseId | None = None

    @model_validator(mode="after")
    def _names_a_role(self) -> Self:
        if self.id is None and self.role_id is None:
            raise ValueError("must name a role as `id`")
        return self

    @property
    def role(self) -> str:
        """The role's name."""
        return check_role_name(self.id or self.role_id or "")


class ConsumersBody(LenientList[ConsumerBody]):
    """Roles that consume."""


class MemberView(WireModel):
    """A member and what it is there for."""

    id: str
    permissions: tuple[Permission, ...]


class MemberRows(WireModel):
    """The members of a locker."""

    list: tuple[MemberView, ...]


class ConsumerView(WireModel):
    """A role that consumes; its name is its id."""

    id: str
    name: str


class ConsumerRows(WireModel):
    """The consumers of a locker."""

    list: tuple[ConsumerView, ...]


class LockerPermission(WireModel):
    """What the caller is in a locker."""

    is_consumer: bool
    is_owner: bool
    is_manager: bool
    is_participant: bool


class LockerView(WireModel):
    """A locker, and what the caller is in it."""

    id: str
    name: str
    description: str
    members: tuple[MemberView, ...]
    count_of_credentials: int
    locker_permission: LockerPermission
    created_by: str
    created_on: Instant
    updated_by: str
    updated_on: Instant
    version: str


class LockerPage(WireModel):
    """One page of lockers."""

    page: PageView
    list: tuple[LockerView, ...]


async def create_locker(room: ControlRoom, call: Call[LockerBody]) -> Answer:
    """Create a locker; the caller becomes its first owner."""
    repeat = once(call, "create locker")
    locker = await room.vault.lockers.create(call.caller, call.body.definition(), repeat, call.now)
    return Answer(201, _view(locker, call.caller))


async def list_lockers(room: ControlRoom, call: Call[AnyObject]) -> Answer:
    """List the lockers that the caller may see, as filter, sort and page ask."""
    request = ListRequest.read(call.body.root)
    listing = Listing(request, LOCKER_FIELDS, _fields)
    async for locker in room.vault.lockers.seen_by(call.caller):
        listing.add(locker)
    found = listing.page()
    page = PageView(offset=found.offset, total=found.total, total_filter=found.total_filter)
    return Answer(200, LockerPage(page=page, list=tuple(_view(one, call.caller) for one in found.items)))


async def read_locker(room: ControlRoom, call: Call) -> Answer:
    """Read a locker by its id."""
    locker = await room.vault.lockers.read(call.caller, id_of(call, "locker"), call.now)
    return Answer(200, _view(locker, call.caller))


async def update_locker(room: ControlRoom, call: Call[LockerBody]) -> Answer:
    """Change name and description of a locker."""
    reference, version = id_of(call, "locker"), version_of(call.body.version)
    if_match = None if version is None else tag_of(reference, version)
    present = await room.vault.lockers.read(call.caller, reference, call.now)
    wanted = call.body.definition(present.description)
    locker = await room.vault.lockers.redefine(call.caller, reference, wanted, if_match, call.now)
    return Answer(200, _view(locker, call.caller))


async def delete_locker(room: ControlRoom, call: Call) -> Answer:
    """Delete a locker; its credentials are in none then."""
    await room.vault.lockers.delete(call.caller, id_of(call, "locker"), None, call.now)
    return Answer(204)


async def list_locker_credentials(room: ControlRoom, call: Call) -> Answer:
    """List the credentials in a locker; a participant sees only its own."""
    shown = await room.vault.lockers.credentials_of(call.caller, id_of(call, "locker"), call.now)
    given = await room.vault.values.given_by(call.caller)
    rows = tuple(credential_view(one, call.caller, given.get(one.credential.id)) for one in shown)
    return Answer(200, CredentialRows(list=rows))


async def assign_credential(room: ControlRoom, call: Call) -> Answer:
    """Put a credential into a locker."""
    locker, credential = id_of(call, "locker"), id_of(call, "credential")
    shown = await room.vault.lockers.assign(call.caller, locker, credential, call.now)
    given = await room.vault.values.given_for(call.caller, shown.credential)
    return Answer(200, credential_view(shown, call.caller, given))


async def take_credential_out(room: ControlRoom, call: Call) -> Answer:
    """Take a credential out of a locker."""
    await room.vault.lockers.take_out(call.caller, id_of(call, "locker"), id_of(call, "credential"), call.now)
    return Answer(204)


async def list_consumers(room: ControlRoom, call: Call) -> Answer:
    """List the roles that consume what is in a locker."""
    locker = await room.vault.lockers.read(call.caller, id_of(call, "locker"), call.now)
    return Answer(200, _consumers(locker))


async def add_consumers(room: ControlRoom, call: Call[ConsumersBody]) -> Answer:
    """Let the bearers of roles consume what is in a locker."""
    roles = tuple(one.role for one in call.body.root)
    locker = await room.vault.lockers.add_consumers(call.caller, id_of(call, "locker"), roles, call.now)
    return Answer(201, _consumers(locker))


async def remove_consumer(room: ControlRoom, call: Call) -> Answer:
    """Let the bearers of a role no longer consume what is in a locker."""
    await room.vault.lockers.remove_consumer(call.caller, id_of(call, "locker"), call.path["role"], call.now)
    return Answer(204)


async def list_members(room: ControlRoom, call: Call) -> Answer:
    """List the members of a locker."""
    locker = await room.vault.lockers.read(call.caller, id_of(call, "locker"), call.now)
    return Answer(200, MemberRows(list=_members(locker)))


async def set_member(room: ControlRoom, call: Call[MemberBody]) -> Answer:
    """Give a member of a locker these permissions."""
    member = user_of(call)
    locker = await room.vault.lockers.set_member(
        call.caller, id_of(call, "locker"), member, call.body.permissions, call.now
    )
    return Answer(200, MemberView(id=member, permissions=locker.members[member]))


async def remove_member(room: ControlRoom, call: Call) -> Answer:
    """Remove a member from a locker."""
    await room.vault.lockers.set_member(call.caller, id_of(call, "locker"), user_of(call), (), call.now)
    return Answer(204)


def _members(locker: Locker) -> tuple[MemberView, ...]:
    return tuple(MemberView(id=one, permissions=held) for one, held in locker.members.items())


def _consumers(locker: Locker) -> ConsumerRows:
    return ConsumerRows(list=tuple(ConsumerView(id=role, name=role) for role in locker.consumers))


def _view(locker: Locker, caller: Caller) -> LockerView:
    parts = locker.parts_of(caller)
    return LockerView(
        id=locker.id,
        name=locker.name,
        description=locker.description,
        members=_members(locker),
        count_of_credentials=locker.credentials,
        locker_permission=LockerPermission(
            is_consumer=Part.CONSUMER in parts,
            is_owner=Part.OWNER in parts,
            is_manager=Part.MANAGER in parts,
            is_participant=Part.PARTICIPANT in parts,
        ),
        created_by=locker.created_by.id,
        created_on=locker.created_at,
        updated_by=locker.updated_by.id,
        updated_on=locker.updated_at,
        version=str(locker.edition),
    )


def _fields(locker: Locker) -> Mapping[str, FieldValue]:
    return {
        "id": locker.id,
        "name": locker.name,
        "description": locker.description,
        "createdBy": locker.created_by.id,
        "createdOn": locker.created_at,
        "updatedBy": locker.updated_by.id,
        "updatedOn": locker.updated_at,
    }

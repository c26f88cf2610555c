"""Handlers of lockers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vault_core.api.credential_views import CredentialList, credential_view
from vault_core.api.credentials import identity_id_in_path, shown_credential
from vault_core.api.repeated import once
from vault_core.api.routing import Answer, Call
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.identities import Identity
from vault_core.locker import DefineLocker, Locker, Permission, Permissions, check_role_name
from vault_core.vault import Vault
from vault_core.wire import Instant, WireModel


class MemberView(WireModel):
    """A member of a locker and what it is there for."""

    id: str
    permissions: tuple[Permission, ...]


class LockerView(WireModel):
    """A locker, with whom it is shared, and how many credentials are inside."""

    id: str
    name: str
    description: str
    members: tuple[MemberView, ...]
    consumers: Annotated[tuple[str, ...], Field(description="Roles whose bearers consume what is inside")]
    credentials: int
    created_at: Instant
    created_by: Identity
    updated_at: Instant
    updated_by: Identity


class LockerList(WireModel):
    """A page of lockers; `next` is the cursor of the next page, absent at the end."""

    items: tuple[LockerView, ...]
    next: str | None = None


class LockerQuery(WireModel):
    """Which page of lockers to list."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


class SetMember(WireModel):
    """What a member is there for, in place of what it was."""

    permissions: Permissions


async def create_locker(vault: Vault, call: Call[DefineLocker]) -> Answer:
    """Create a locker; the caller becomes its first owner."""
    locker = await vault.lockers.create(call.caller, call.body, once(call, "create locker"), call.now)
    return Answer(201, _view(locker), {"Location": f"/api/v1/lockers/{locker.id}"}, locker.tag)


async def list_lockers(vault: Vault, call: Call[None, LockerQuery]) -> Answer:
    """List the lockers that the caller may see."""
    limit, position = call.query.limit, decoded(call.query.cursor)
    seen: list[Locker] = []
    async for locker in vault.lockers.seen_by(call.caller, position[1] if position else ""):
        seen.append(locker)
        if len(seen) > limit:
            break
    more = encoded(("", seen[limit - 1].id)) if len(seen) > limit else None
    return Answer(200, LockerList(items=tuple(map(_view, seen[:limit])), next=more))


async def read_locker(vault: Vault, call: Call) -> Answer:
    """Read a locker by its id or name."""
    return _shown(await vault.lockers.read(call.caller, call.path["locker"], call.now))


async def replace_locker(vault: Vault, call: Call[DefineLocker]) -> Answer:
    """Change name and description of a locker."""
    return _shown(await vault.lockers.redefine(call.caller, call.path["locker"], call.body, call.if_match, call.now))


async def delete_locker(vault: Vault, call: Call) -> Answer:
    """Delete a locker; its credentials are in none then."""
    await vault.lockers.delete(call.caller, call.path["locker"], call.if_match, call.now)
    return Answer(204)


async def set_locker_member(vault: Vault, call: Call[SetMember]) -> Answer:
    """Give a member of a locker these permissions."""
    member = identity_id_in_path(call, "member")
    permissions = call.body.permissions
    return _shown(await vault.lockers.set_member(call.caller, call.path["locker"], member, permissions, call.now))


async def remove_locker_member(vault: Vault, call: Call) -> Answer:
    """Remove a member from a locker."""
    member = identity_id_in_path(call, "member")
    await vault.lockers.set_member(call.caller, call.path["locker"], member, (), call.now)
    return Answer(204)


async def add_locker_consumer(vault: Vault, call: Call) -> Answer:
    """Let the bearers of a role consume what is in a locker."""
    role = check_role_name(call.path["role"])
    return _shown(await vault.lockers.add_consumers(call.caller, call.path["locker"], (role,), call.now))


async def remove_locker_consumer(vault: Vault, call: Call) -> Answer:
    """Let the bearers of a role no longer consume what is in a locker."""
    await vault.lockers.remove_consumer(call.caller, call.path["locker"], call.path["role"], call.now)
    return Answer(204)


async def list_locker_credentials(vault: Vault, call: Call) -> Answer:
    """List the credentials in a locker, as far as the caller reaches them."""
    shown = await vault.lockers.credentials_of(call.caller, call.path["locker"], call.now)
    return Answer(200, CredentialList(items=tuple(credential_view(one, call.now) for one in shown)))


async def assign_credential(vault: Vault, call: Call) -> Answer:
    """Put a credential into a locker."""
    locker, credential = call.path["locker"], call.path["credential"]
    return shown_credential(await vault.lockers.assign(call.caller, locker, credential, call.now), call)


async def take_credential_out(vault: Vault, call: Call) -> Answer:
    """Take a credential out of a locker."""
    await vault.lockers.take_out(call.caller, call.path["locker"], call.path["credential"], call.now)
    return Answer(204)


def _shown(locker: Locker) -> Answer:
    return Answer(200, _view(locker), etag=locker.tag)


def _view(locker: Locker) -> LockerView:
    members = tuple(MemberView(id=one, permissions=held) for one, held in locker.members.items())
    return LockerView(**{name: getattr(locker, name) for name in _COPIED}, members=members)


_COPIED = LockerView.model_fields.keys() & Locker.model_fields.keys() - {"members"}

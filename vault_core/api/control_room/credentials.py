"""Handlers of credentials, as a Control Room has them: a name, and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from vault_core.admission import subject
from vault_core.api.control_room.dialect import LenientModel, LooseId
from vault_core.api.control_room.face import AnyObject, ControlRoom, id_of, user_of, version_of
from vault_core.api.control_room.lists import CREDENTIAL_FIELDS, FieldValue, Listing, ListRequest
from vault_core.api.repeated import once
from vault_core.api.routing import Answer, Call
from vault_core.attributes import (
    MAX_ATTRIBUTES,
    OWN_TYPE,
    Attribute,
    AttributeDefinition,
    AttributeDescription,
    AttributeName,
    ChangedAttribute,
)
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RedefineCredential
from vault_core.credentials import Shown
from vault_core.identities import Caller
from vault_core.own_values import OwnSet
from vault_core.policies import Action, may
from vault_core.wire import Instant, WireModel


class AttributeBody(LenientModel):
    """An attribute as it is to be; a value inside is ignored. With `id`, one that is kept or changed."""

    id: Annotated[LooseId, Field(max_length=64)] | None = None
    name: AttributeName
    description: AttributeDescription = ""
    user_provided: bool = False
    masked: bool = False
    password_flag: bool = False

    def definition(self) -> AttributeDefinition:
        """Return what the vault is asked for when it is to be new."""
        return AttributeDefinition(**self.model_dump(exclude={"id"}))

    def change(self) -> ChangedAttribute:
        """Return what the vault is asked for when it may be there."""
        return ChangedAttribute(**self.model_dump())


Attributes = Annotated[tuple[AttributeBody, ...], Field(min_length=1, max_length=MAX_ATTRIBUTES)]


class NewCredential(LenientModel):
    """A credential to create; its values are set afterwards."""

    name: AttributeName
    description: AttributeDescription = ""
    attributes: Attributes


class ChangedCredential(LenientModel):
    """A credential as it is to be; without `description` or `attributes` these stay as they are."""

    name: AttributeName
    description: AttributeDescription | None = None
    attributes: Attributes | None = None
    version: LooseId | None = None


class ListQuery(LenientModel):
    """Whether to list only what the caller has given a value to."""

    consumed: bool = False


class NameQuery(LenientModel):
    """The name to look for; all without one."""

    name: str | None = None


class Permissions(WireModel):
    """What the caller may do with a credential."""

    can_transfer_ownership: bool


class AttributeView(WireModel):
    """An attribute, without its value."""

    id: str
    name: str
    description: str
    user_provided: bool
    masked: bool
    password_flag: bool
    created_by: str
    created_on: Instant
    updated_by: str
    updated_on: Instant
    version: str


class CredentialView(WireModel):
    """A credential, without its values. `completed`: every attribute has its value, the caller's own included."""

    id: str
    name: str
    description: str
    locker_id: str | None = None
    owner_id: str
    attributes: tuple[AttributeView, ...]
    completed: bool
    permissions: Permissions
    created_by: str
    created_on: Instant
    updated_by: str
    updated_on: Instant
    version: str


class CredentialRows(WireModel):
    """Credentials."""

    list: tuple[CredentialView, ...]


class PageView(WireModel):
    """Where the rows begin, how many there are in all, and how many meet the filter."""

    offset: int
    total: int
    total_filter: int


class CredentialPage(CredentialRows):
    """One page of credentials."""

    page: PageView


async def create_credential(room: ControlRoom, call: Call[NewCredential]) -> Answer:
    """Create a credential with its attributes."""
    body = call.body
    wanted = CreateCredential(
        name=body.name,
        type=OWN_TYPE,
        description=body.description,
        attributes=tuple(one.definition() for one in body.attributes),
    )
    shown = await room.vault.creations.create(call.caller, wanted, once(call, "create"), call.now)
    return Answer(201, credential_view(shown, call.caller, None))


async def list_credentials(room: ControlRoom, call: Call[AnyObject, ListQuery]) -> Answer:
    """List the credentials that the caller may see, as filter, sort and page ask."""
    consumed = call.query.consumed
    page, rows = await _page(room, call, ListRequest.read(call.body.root), consumed_only=consumed)
    return Answer(200, CredentialPage(page=page, list=rows))


async def find_credentials(room: ControlRoom, call: Call[None, NameQuery]) -> Answer:
    """List the credentials that the caller may see and that have this name."""
    name = call.query.name
    named = {"filter": {"operator": "eq", "field": "name", "value": name}} if name else {}
    _, rows = await _page(room, call, ListRequest.read(named), consumed_only=False)
    return Answer(200, CredentialRows(list=rows))


async def _page(
    room: ControlRoom, call: Call[Any, Any], request: ListRequest, *, consumed_only: bool
) -> tuple[PageView, tuple[CredentialView, ...]]:
    given = await room.vault.values.given_by(call.caller)
    listing = Listing(request, CREDENTIAL_FIELDS, _fields)
    async for shown in room.vault.listing.visible(call.caller, call.now):
        if not consumed_only or shown.credential.id in given:
            listing.add(shown)
    found = listing.page()
    rows = tuple(credential_view(one, call.caller, given.get(one.credential.id)) for one in found.items)
    return PageView(offset=found.offset, total=found.total, total_filter=found.total_filter), rows


async def read_credential(room: ControlRoom, call: Call) -> Answer:
    """Read a credential by its id; never its values."""
    return await _shown(room, call, await room.vault.credentials.read(call.caller, id_of(call, "credential"), call.now))


async def update_credential(room: ControlRoom, call: Call[ChangedCredential]) -> Answer:
    """Change name, description and attributes; an attribute that is left out goes with its values."""
    body = call.body
    attributes = None if body.attributes is None else tuple(one.change() for one in body.attributes)
    wanted = RedefineCredential(name=body.name, description=body.description, attributes=attributes)
    reference, edition = id_of(call, "credential"), version_of(body.version)
    return await _shown(
        room, call, await room.vault.redefinitions.redefine(call.caller, reference, wanted, edition, call.now)
    )


async def delete_credential(room: ControlRoom, call: Call) -> Answer:
    """Delete a credential with its values."""
    await room.vault.credentials.delete(call.caller, id_of(call, "credential"), None, call.now)
    return Answer(204)


async def transfer_credential(room: ControlRoom, call: Call) -> Answer:
    """Make another user the owner of a credential."""
    reference, owner = id_of(call, "credential"), user_of(call)
    return await _shown(room, call, await room.vault.credentials.transfer(call.caller, reference, owner, call.now))


async def _shown(room: ControlRoom, call: Call[Any, Any], shown: Shown) -> Answer:
    given = await room.vault.values.given_for(call.caller, shown.credential)
    return Answer(200, credential_view(shown, call.caller, given))


def credential_view(shown: Shown, caller: Caller, given: OwnSet | None) -> CredentialView:
    """Return the credential as the caller sees it who gave these values of its own."""
    credential = shown.credential
    about = subject(credential, shown.rules, shown.parts)
    return CredentialView(
        id=credential.id,
        name=credential.name,
        description=credential.description,
        locker_id=credential.locker_id,
        owner_id=credential.owner_id,
        attributes=tuple(map(_attribute_view, credential.attributes)),
        completed=_is_completed(credential, given),
        permissions=Permissions(can_transfer_ownership=may(caller, Action.TRANSFER, about)),
        created_by=credential.created_by.id,
        created_on=credential.created_at,
        updated_by=credential.updated_by.id,
        updated_on=credential.updated_at,
        version=str(credential.edition),
    )


def _attribute_view(attribute: Attribute) -> AttributeView:
    return AttributeView(
        id=attribute.id,
        name=attribute.name,
        description=attribute.description,
        user_provided=attribute.user_provided,
        masked=attribute.masked,
        password_flag=attribute.password_flag,
        created_by=attribute.created_by,
        created_on=attribute.created_at,
        updated_by=attribute.updated_by,
        updated_on=attribute.updated_at,
        version=str(attribute.revision),
    )


def _is_completed(credential: Credential, given: OwnSet | None) -> bool:
    own = given.marks if given else {}
    return not credential.lacks and all(one.id in own for one in credential.user_provided)


def _fields(shown: Shown) -> Mapping[str, FieldValue]:
    credential = shown.credential
    return {
        "id": credential.id,
        "name": credential.name,
        "description": credential.description,
        "ownerId": credential.owner_id,
        "lockerId": credential.locker_id,
        "createdBy": credential.created_by.id,
        "createdOn": credential.created_at,
        "updatedBy": credential.updated_by.id,
        "updatedOn": credential.updated_at,
    }

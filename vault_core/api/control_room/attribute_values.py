"""Handlers of attribute values."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr

from vault_core.api.control_room.dialect import LenientModel, LooseId
from vault_core.api.control_room.face import ControlRoom, id_of, version_of
from vault_core.api.routing import Answer, Call
from vault_core.attribute_values import ShownValue
from vault_core.attributes import MAX_ATTRIBUTES
from vault_core.errors import FieldError, InvalidInput
from vault_core.identities import Caller
from vault_core.transport import check_same_key, decrypted, encrypted, read_public_key
from vault_core.wire import Instant, RevealedSecret, WireModel

_MAX_KEY = 8192


def _as_text(given: object) -> object:
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


Value = Annotated[SecretStr, BeforeValidator(_as_text)]


class ValuesQuery(LenientModel):
    """Which value to read, or all; whose own ones; and the caller's public key, if they are to be encrypted to it."""

    credential_attribute_id: LooseId | None = None
    user_id: LooseId | None = None
    encryption_key: Annotated[str | None, Field(max_length=_MAX_KEY)] = None


class KeyQuery(LenientModel):
    """The server's own public key, when values are encrypted to it."""

    encryption_key: Annotated[str | None, Field(max_length=_MAX_KEY)] = None


class NewValue(LenientModel):
    """A value and the attribute that it is for."""

    credential_attribute_id: LooseId
    value: Value


class NewValues(LenientModel):
    """Values to set; those that are there already are replaced."""

    list: Annotated[
        tuple[NewValue, ...],
        Field(min_length=1, max_length=MAX_ATTRIBUTES, validation_alias=AliasChoices("list", "attributeValues")),
    ]
    encryption_key: Annotated[str | None, Field(max_length=_MAX_KEY)] = None


class ChangedValue(LenientModel):
    """A value in place of the present one, whose version the caller read."""

    value: Value
    version: LooseId | None = None
    encryption_key: Annotated[str | None, Field(max_length=_MAX_KEY)] = None


class ValueView(WireModel):
    """A value of an attribute; empty where it is not handed out. `userId` tells whose own it is."""

    id: str
    credential_attribute_id: str
    value: RevealedSecret
    user_id: str | None = None
    password: bool
    created_by: str
    created_on: Instant
    updated_by: str
    updated_on: Instant
    version: str


class ValueRows(WireModel):
    """Values of attributes."""

    list: tuple[ValueView, ...]


class PublicKey(WireModel):
    """The server's key that values may be encrypted to: base64 of an `RSAKeyValue` in XML."""

    public_key: str


async def list_attribute_values(room: ControlRoom, call: Call[None, ValuesQuery]) -> Answer:
    """Read the values that the caller may have: masked ones only when asked for by their attribute."""
    query, reference = call.query, id_of(call, "credential")
    key = None if query.encryption_key is None else read_public_key(query.encryption_key)  # before anything is opened
    if query.credential_attribute_id is None:
        found = await room.vault.values.read_all(call.caller, reference, call.now, query.user_id)
    else:
        found = await room.vault.values.read_one(
            call.caller, reference, query.credential_attribute_id, call.now, query.user_id
        )
    return Answer(200, ValueRows(list=tuple(_view(one, key) for one in found)))


async def set_attribute_values(room: ControlRoom, call: Call[NewValues, KeyQuery]) -> Answer:
    """Set values: standard ones for all, user-provided ones for the caller alone."""
    given = call.body.list
    if max(Counter(one.credential_attribute_id for one in given).values()) > 1:
        fault = FieldError("credentialAttributeId", "is given twice")
        raise InvalidInput("Give each attribute one value.", (fault,))
    key = call.query.encryption_key or call.body.encryption_key
    values = await _plain(room, call.caller, {one.credential_attribute_id: one.value for one in given}, key, call.now)
    found = await room.vault.values.write(call.caller, id_of(call, "credential"), values, None, call.now)
    return Answer(200, ValueRows(list=tuple(_view(one, None) for one in found)))


async def replace_attribute_value(room: ControlRoom, call: Call[ChangedValue, KeyQuery]) -> Answer:
    """Replace a value, unless it changed since the caller read it."""
    body = call.body
    attribute, revision = call.path["value"], version_of(body.version)
    key = call.query.encryption_key or body.encryption_key
    values = await _plain(room, call.caller, {attribute: body.value}, key, call.now)
    reference = id_of(call, "credential")
    found = await room.vault.values.replace(call.caller, reference, attribute, values[attribute], revision, call.now)
    return Answer(200, _view(found, None))


async def delete_attribute_value(room: ControlRoom, call: Call) -> Answer:
    """Delete a value: the standard one, or the caller's own."""
    await room.vault.values.remove(call.caller, id_of(call, "credential"), call.path["value"], call.now)
    return Answer(204)


async def read_transport_key(room: ControlRoom, call: Call) -> Answer:
    """Read the public key that values may be encrypted to."""
    key = await room.vault.transport_keys.of(call.caller.tenant, call.now)
    return Answer(200, PublicKey(public_key=key.public_text))


async def _plain(
    room: ControlRoom, caller: Caller, values: Mapping[str, SecretStr], key: str | None, now: datetime
) -> Mapping[str, SecretStr]:
    """Return the values as they are to be kept: decrypted, when the caller says with the server's key that they are."""
    if key is None:
        return values
    ours = await room.vault.transport_keys.of(caller.tenant, now)
    check_same_key(key, ours.private_key.public_key())

    def opened() -> dict[str, SecretStr]:
        return {name: decrypted(box.get_secret_value(), ours.private_key) for name, box in values.items()}

    return await asyncio.to_thread(opened)  # two milliseconds each: others wait in this thread


def _view(shown: ShownValue, key: RSAPublicKey | None) -> ValueView:
    value = shown.value or SecretStr("")
    if shown.value and key is not None:
        value = SecretStr(encrypted(shown.value, key))
    mark = shown.mark
    return ValueView(
        id=shown.attribute.id,
        credential_attribute_id=shown.attribute.id,
        value=value,
        user_id=shown.consumer_id,
        password=shown.attribute.password_flag,
        created_by=mark.created_by,
        created_on=mark.created_at,
        updated_by=mark.updated_by,
        updated_on=mark.updated_at,
        version=str(mark.revision),
    )

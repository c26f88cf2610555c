"""Lockers, the people in them, and credentials with attributes of their own, over a `World`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from tests.contents import ListedSecrets
from tests.sweeping import faults_of
from tests.vaults import ALICE, World, memory_stores, person
from vault_core.attribute_values import ShownValue
from vault_core.attributes import Attribute
from vault_core.credential import Credential
from vault_core.credential_requests import RedefineCredential
from vault_core.errors import VaultError
from vault_core.identities import Caller, Role
from vault_core.locker import DefineLocker, Locker, Permission
from vault_core.vault import Vault

BOTS = "finance-bots"
OWN, MANAGE, PARTICIPATE = Permission.OWN, Permission.MANAGE, Permission.PARTICIPATE


def new_world() -> World:
    """A world whose stores tell all that they keep."""
    return World(replace(memory_stores(), secrets=ListedSecrets()))


def bearer(name: str, *roles: Role, of: tuple[str, ...] = (BOTS,)) -> Caller:
    """A person of contoso whose token has other roles too: those that a locker's consumers are named by."""
    plain = person(name, *(roles or (Role.USER,)))
    return Caller(plain.tenant, plain.identity, plain.roles, plain.aliases, frozenset(of))


CARA = bearer("cara")
CARL = bearer("carl")
DORA = person("dora", Role.USER)

LOGIN: list[dict[str, Any]] = [
    {"name": "host", "masked": False},
    {"name": "password", "passwordFlag": True},
    {"name": "user", "userProvided": True, "masked": False},
    {"name": "pin", "userProvided": True},
]
"""Two standard attributes and two that each consumer gives for itself."""


async def create_login(world: World, **wanted: Any) -> Credential:
    """A credential of Alice called `sap` with the attributes of `LOGIN` and both standard values."""
    body = {
        "name": "sap",
        "attributes": LOGIN,
        "fields": {"host": "sap.example", "password": "standard secret"},
    } | wanted
    return await world.create(**body)


async def make_locker(world: World, owner: Caller = ALICE, name: str = "finance", description: str = "") -> Locker:
    """A locker of that owner."""
    wanted = DefineLocker(name=name, description=description)
    return await world.vault.lockers.create(owner, wanted, None, world.clock())


async def join(world: World, member: Caller, *permissions: Permission, locker: str = "finance") -> Locker:
    """Give a member of Alice's locker these permissions; without any, it is none any longer."""
    return await world.vault.lockers.set_member(ALICE, locker, member.identity.id, permissions, world.clock())


async def let_consume(world: World, *roles: str, locker: str = "finance") -> Locker:
    """Let the bearers of these roles consume what is in Alice's locker."""
    return await world.vault.lockers.add_consumers(ALICE, locker, roles or (BOTS,), world.clock())


async def put_in(world: World, reference: str, owner: Caller = ALICE, locker: str = "finance") -> Credential:
    """Put the credential of that owner into the locker."""
    return (await world.vault.lockers.assign(owner, locker, reference, world.clock())).credential


async def take_out(world: World, reference: str, caller: Caller = ALICE, locker: str = "finance") -> Credential:
    """Take the credential out of the locker."""
    return (await world.vault.lockers.take_out(caller, locker, reference, world.clock())).credential


async def share(world: World, reference: str) -> Locker:
    """Put Alice's credential into her locker `finance`, which finance bots consume."""
    await make_locker(world)
    locker = await let_consume(world)
    await put_in(world, reference)
    return locker


async def give_own(world: World, consumer: Caller, reference: str = "sap", **values: str) -> list[ShownValue]:
    """Set the consumer's own values by the attributes' names."""
    given = {name: SecretStr(text) for name, text in values.items()}
    return await world.vault.values.set_own(consumer, reference, given, world.clock())


async def give_standard(world: World, caller: Caller = ALICE, reference: str = "sap", **values: str) -> Credential:
    """Set standard values by the attributes' names, in one request."""
    credential = (await world.vault.credentials.read(caller, reference, world.clock())).credential
    given = {attribute(credential, name).id: SecretStr(text) for name, text in values.items()}
    await world.vault.values.write(caller, credential.id, given, None, world.clock())
    return (await world.vault.credentials.read(caller, reference, world.clock())).credential


async def redefine(
    world: World,
    credential: Credential,
    attributes: list[dict[str, Any]] | None,
    caller: Caller = ALICE,
    edition: int | None = None,
    **changes: str,
) -> Credential:
    """Give the credential these attributes in place of its present ones."""
    body = {"name": credential.name, "description": credential.description, "attributes": attributes} | changes
    wanted = RedefineCredential.model_validate(body)
    shown = await world.vault.redefinitions.redefine(caller, credential.id, wanted, edition, world.clock())
    return shown.credential


def attribute(credential: Credential, name: str) -> Attribute:
    """The attribute of that name."""
    return next(one for one in credential.attributes if one.name == name)


def as_defined(credential: Credential, *names: str, **changes: Any) -> list[dict[str, Any]]:
    """The credential's attributes of these names as a caller would send them back, each with the changes."""
    kept = ("id", "name", "description", "user_provided", "masked", "password_flag")
    return [
        {name: getattr(one, name) for name in kept} | changes
        for one in credential.attributes
        if not names or one.name in names
    ]


def plain(values: Mapping[str, SecretStr]) -> dict[str, str]:
    """The values as text."""
    return {name: text.get_secret_value() for name, text in values.items()}


async def read_values(vault: Vault, caller: Caller, reference: str, world: World) -> dict[str, str | None]:
    """All values that the caller may have, by the attributes' names: None for those that are not opened."""
    shown = await vault.values.read_all(caller, reference, world.clock())
    return {one.attribute.name: one.value.get_secret_value() if one.value else None for one in shown}


async def at_once(*requests: Awaitable[object]) -> list[object]:
    """The answers of requests that run at the same time, refusals among them."""
    answers = await asyncio.gather(*requests, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, VaultError):
            raise answer
    return list(answers)


async def told(world: World, event: str) -> list[str]:
    """The outcomes of all events of this name, in the order in which they were told."""
    return [one.outcome.value for one in reversed(await world.audit()) if one.event == event]


async def assert_sound(world: World, *, settled: bool = False) -> None:
    """Every rule of what is kept holds; once `settled`, nothing is left to be finished."""
    assert await faults_of(world, settled=settled) == []

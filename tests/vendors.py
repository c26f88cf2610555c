"""Vendors in tests: Northwind, whose products' credentials Contoso keeps, and what it publishes."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from tests.outbound import accepts
from tests.vaults import ALICE, World, agent
from vault_core.api.leases import CreateLease
from vault_core.configuration import Configuration, Definition
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RotateCredential, UpgradeCredential
from vault_core.errors import InvalidInput, ValueRefused
from vault_core.identities import Caller, Role
from vault_core.resolution import Selector
from vault_core.validations import Checked

NORA = agent("northwind-vendor", Role.VENDOR, tenant="northwind")
URL = "https://api.northwind.example/validate"
ELSEWHERE = "https://elsewhere.northwind.example/validate"
GOOD = "nw_live_0123456789abcdef"
NEW = "nw_live_fedcba9876543210"
FIELDS: list[dict[str, Any]] = [
    {"id": "apiKey", "label": "API key", "hint": "You find it under Settings", "type": "password", "minLength": 12},
    {"id": "account", "label": "Account", "type": "text", "secret": False, "required": False},
]


def definition(**changes: Any) -> Definition:
    """A definition of Northwind's: an API key and an account, checked at `URL` once a day."""
    body: dict[str, Any] = {
        "name": "Northwind API",
        "audience": ["contoso"],
        "scope": "products",
        "products": ["nw-mail"],
        "fields": FIELDS,
        "validation": {"url": URL},
    }
    return Definition.model_validate(body | changes)


async def publish(world: World, by: Caller = NORA, **changes: Any) -> Configuration:
    """Create and publish a configuration, whose endpoint calls `GOOD` valid and all else invalid."""
    wanted = definition(**changes)
    if wanted.validation:
        world.outbound.answers.setdefault(wanted.validation.url, accepts(GOOD))
    issued = await world.vault.configurations.create(by, wanted, None, world.clock())
    return await world.vault.configurations.publish(by, issued.configuration.id, None, None, world.clock())


async def publish_anew(world: World, configuration: Configuration, by: Caller = NORA, **changes: Any) -> Configuration:
    """Edit a published configuration and publish it as the next version."""
    wanted = definition(**changes)
    if wanted.validation:
        world.outbound.answers.setdefault(wanted.validation.url, accepts(GOOD))
    await world.vault.configurations.edit(by, configuration.id, wanted, None, world.clock())
    return await world.vault.configurations.publish(by, configuration.id, None, None, world.clock())


async def fill(
    world: World,
    configuration: Configuration,
    caller: Caller = ALICE,
    *,
    version: int | None = None,
    validate: bool = False,
    **wanted: Any,
) -> Credential:
    """Create a credential from the configuration."""
    chosen = {"id": configuration.id, "version": version}
    body = {"name": "northwind", "configuration": chosen, "fields": {"apiKey": GOOD}} | wanted
    request = CreateCredential.model_validate(body)
    shown = await world.vault.creations.create(caller, request, None, world.clock(), validate=validate)
    return shown.credential


async def rotate(
    world: World, caller: Caller = ALICE, reference: str = "northwind", *, validate: bool = False, **fields: str
) -> Credential:
    """Rotate fields of a credential."""
    body = RotateCredential.model_validate({"fields": fields})
    shown = await world.vault.credentials.rotate(caller, reference, body, None, None, world.clock(), validate=validate)
    return shown.credential


async def upgrade(world: World, caller: Caller = ALICE, reference: str = "northwind", **wanted: Any) -> Credential:
    """Move a credential on to a newer version."""
    body = UpgradeCredential.model_validate(wanted)
    return (await world.vault.upgrades.upgrade(caller, reference, body, None, world.clock())).credential


async def validate(world: World, caller: Caller = ALICE, reference: str = "northwind") -> Checked:
    """Validate a credential now."""
    return await world.vault.validations.validate(caller, reference, world.clock())


async def reread(world: World, reference: str = "northwind") -> Credential:
    """Alice's credential as it is now."""
    return (await world.vault.credentials.read(ALICE, reference, world.clock())).credential


async def leased(world: World, reference: str = "northwind") -> dict[str, str]:
    """The fields that Alice is given when she leases the credential."""
    granted = await world.lease(ALICE, reference)
    return {name: text.get_secret_value() for name, text in granted.fields.items()}


async def faults_of(act: Awaitable[object]) -> dict[str, str]:
    """Do what must be refused; the fields at fault, and why."""
    with pytest.raises((ValueRefused, InvalidInput)) as refused:
        await act
    refusal = refused.value
    assert isinstance(refusal, ValueRefused | InvalidInput)
    return {fault.field: fault.message for fault in refusal.errors}


async def check_due(world: World, **later: float) -> None:
    """Let time pass, then run the timer that checks what is due."""
    world.clock.now += timedelta(**later)
    await world.vault.check_credentials()


def selecting(**wanted: str) -> Selector:
    """A selector for `nw-mail` in production unless told otherwise."""
    return Selector.model_validate({"product": "nw-mail", "environment": "production"} | wanted)


def leasing(**wanted: str) -> CreateLease:
    """A request for a lease by a selector."""
    return CreateLease.model_validate({"product": "nw-mail", "environment": "production"} | wanted)

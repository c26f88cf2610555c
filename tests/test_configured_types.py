"""Configurations that build on one of the six types: its rules hold for its own fields, and for those alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.credential_types.key_material import dns, ed25519_key, issue, pem, rsa_key
from tests.vaults import ALICE, NOON, World
from tests.vendors import (
    GOOD,
    NEW,
    faults_of,
    fill,
    leased,
    publish,
    publish_anew,
    rotate,
    upgrade,
)
from vault_core.configuration import Configuration

DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    return World()


@dataclass(frozen=True)
class Sample:
    """Values of one type: a first one, one that may replace it, one that may not, and where that is at fault."""

    fields: dict[str, Any]
    next: dict[str, Any]
    worse: dict[str, Any]
    at_fault: str
    ends: bool = False


def tls(days: int) -> dict[str, Any]:
    return issue("mail.example.com", dns("mail.example.com"), not_after=NOON + days * DAY).fields


def samples() -> dict[str, Callable[[], Sample]]:
    """How to make values of the six types; keys and certificates only when they are asked for."""
    soon, late = "2026-12-21T12:00:00Z", "2027-01-21T12:00:00Z"
    database = "postgresql://app:one@db.example.com/orders"
    return {
        "api-key": lambda: Sample(
            {"value": f"sk_live_{GOOD}"}, {"value": f"sk_live_{NEW}"}, {"value": "a\nb"}, "value"
        ),
        "oauth-token": lambda: Sample(
            {"accessToken": "one", "expiresAt": soon},
            {"accessToken": "two", "expiresAt": late},
            {"accessToken": "two"},
            "expiresAt",
            ends=True,
        ),
        "ssh-key": lambda: Sample(
            {"privateKey": pem(ed25519_key())},
            {"privateKey": pem(ed25519_key())},
            {"privateKey": pem(rsa_key(2048))},
            "privateKey",
        ),
        "tls-certificate": lambda: Sample(tls(30), tls(60), tls(20), "certificate", ends=True),
        "database-url": lambda: Sample(
            {"url": database},
            {"url": database.replace("one", "two")},
            {"url": database.replace("db.", "other.")},
            "url",
        ),
        "generic-secret": lambda: Sample({"value": GOOD}, {"value": NEW}, {"value": ""}, "value"),
    }


KINDS_OF_FIELDS = {"privateKey": "pem", "certificate": "pem", "chain": "pem"}
NOTE = {"id": "note", "label": "Note", "type": "text", "secret": False, "required": False}


async def publish_on(world: World, type_name: str, **changes: Any) -> Configuration:
    """A configuration that builds on a type, with a note beside its fields and no endpoint."""
    needed = {**samples()[type_name]().fields}
    fields = [
        {"id": name, "label": name, "type": KINDS_OF_FIELDS.get(name, "password"), "secret": True} for name in needed
    ]
    wanted = {"credentialType": type_name, "fields": [*fields, NOTE], "validation": None} | changes
    return await publish(world, **wanted)


@pytest.mark.parametrize("type_name", sorted(samples()))
class TestBuildingOnAType:
    async def test_what_the_type_works_out_is_there(self, world: World, type_name: str) -> None:
        sample = samples()[type_name]()
        configured = await fill(world, await publish_on(world, type_name), fields=sample.fields)
        plain = await world.create(name="plain", type=type_name, fields=sample.fields)
        assert (configured.type, configured.details, configured.ends_at) == (type_name, plain.details, plain.ends_at)
        assert configured.kind.display(configured.details) == plain.kind.display(plain.details)
        assert (configured.ends_at is not None) is sample.ends

    async def test_the_lease_gives_value_and_fields_as_the_type_does(self, world: World, type_name: str) -> None:
        sample = samples()[type_name]()
        configuration = await publish_on(world, type_name)
        without = [one for one in definition_fields(configuration) if one["id"] != "note"]
        alone = await publish_on(world, type_name, fields=without)
        await fill(world, alone, fields=sample.fields)
        await world.create(name="plain", type=type_name, fields=sample.fields)
        configured, plain = (await world.lease(ALICE, "northwind")), (await world.lease(ALICE, "plain"))
        assert (configured.value, configured.fields) == (plain.value, plain.fields)

    async def test_what_may_replace_what_is_as_the_type_says(self, world: World, type_name: str) -> None:
        sample = samples()[type_name]()
        await fill(world, await publish_on(world, type_name), fields=sample.fields)
        assert f"fields.{sample.at_fault}" in await faults_of(rotate(world, **sample.worse))
        assert (await rotate(world, **sample.next)).newest.number == 2
        assert sample.next.items() <= (await leased(world)).items()

    async def test_the_rest_can_change_while_the_types_own_value_stays(self, world: World, type_name: str) -> None:
        sample = samples()[type_name]()
        await fill(world, await publish_on(world, type_name), fields=sample.fields)
        await rotate(world, note="first")
        await world.vault.values.write(ALICE, "northwind", {"note": SecretStr("second")}, None, NOON)
        assert await leased(world) == sample.fields | {"note": "second"}
        await world.vault.values.remove(ALICE, "northwind", "note", NOON)
        assert await leased(world) == sample.fields

    async def test_it_moves_on_to_a_newer_version_with_the_value_that_it_has(
        self, world: World, type_name: str
    ) -> None:
        sample = samples()[type_name]()
        configuration = await publish_on(world, type_name)
        await fill(world, configuration, fields=sample.fields)
        await publish_anew(world, configuration, **renamed(configuration))
        upgraded = await upgrade(world)
        assert upgraded.configuration is not None
        assert (upgraded.configuration.version, upgraded.newest.number) == (2, 1)
        assert await leased(world) == sample.fields

    async def test_a_newer_version_is_no_way_around_what_may_replace_what(self, world: World, type_name: str) -> None:
        sample = samples()[type_name]()
        configuration = await publish_on(world, type_name)
        await fill(world, configuration, fields=sample.fields)
        await publish_anew(world, configuration, **renamed(configuration))
        worse = sample.worse if type_name != "oauth-token" else {"accessToken": "two"}
        assert f"fields.{sample.at_fault}" in await faults_of(upgrade(world, fields=worse))
        assert await leased(world) == sample.fields


def definition_fields(configuration: Configuration) -> list[dict[str, Any]]:
    assert configuration.latest is not None
    dumped: list[dict[str, Any]] = configuration.latest.definition.model_dump(mode="json", by_alias=True)["fields"]
    return dumped


def renamed(configuration: Configuration) -> dict[str, Any]:
    """The same definition under another name."""
    assert configuration.latest is not None
    dumped: dict[str, Any] = configuration.latest.definition.model_dump(mode="json", by_alias=True)
    return dumped | {"name": "Other"}

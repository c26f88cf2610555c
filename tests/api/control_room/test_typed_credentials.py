"""Credentials of the vault's own types, as they look through the Control Room face."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.control_room.app import Office, Room, refusal
from tests.credential_types.key_material import ed25519_key, issue, pem
from tests.vaults import ALICE, DEPLOY_AGENT, NOON
from vault_core.credential_types import TYPES

CERTIFICATE = issue(not_before=NOON.replace(month=1), not_after=NOON.replace(year=2030))
FIELDS: dict[str, dict[str, str]] = {
    "api-key": {"value": "sk_live_4eC39HqLyjWDarjtT1zdp7dc"},
    "oauth-token": {"accessToken": "access", "refreshToken": "refresh", "scopes": "read write"},
    "ssh-key": {"privateKey": pem(ed25519_key())},
    "tls-certificate": CERTIFICATE.fields,
    "database-url": {"url": "postgresql://app:s3cret@db.example/shop"},
    "generic-secret": {"value": "correct horse"},
}


async def typed(room: Room, kind: str) -> Any:
    """Create a credential of the type natively; return what this face shows of it."""
    created = await room.world.create(name="Native", type=kind, fields=FIELDS[kind])
    return (await room.send("GET", f"/credentials/{created.id}", ALICE)).body


async def replaced(room: Room, credential: Any, attribute: str, value: str) -> Any:
    path = f"/credentials/{credential['id']}/attributevalues/{attribute}"
    return await room.send("PUT", path, ALICE, {"value": value})


async def version_of(room: Room, credential: Any) -> int:
    shown = await room.world.vault.credentials.read(ALICE, credential["id"], room.world.clock())
    return shown.credential.newest.number


@pytest.mark.parametrize("kind", TYPES)
class TestOneOfAnyType:
    async def test_has_the_fields_of_its_type_as_attributes(self, room: Room, kind: str) -> None:
        shown = await typed(room, kind)
        told = [(one["id"], one["name"], one["masked"], one["userProvided"]) for one in shown["attributes"]]
        assert told == [(one.name, one.name, one.secret, False) for one in TYPES[kind].fields]
        assert shown["completed"] is True

    async def test_shows_each_value_when_it_is_asked_for(self, room: Room, kind: str) -> None:
        shown = await typed(room, kind)
        for name, value in FIELDS[kind].items():
            read = await room.values(shown["id"], ALICE, f"?credentialAttributeId={name}")
            assert read[name].strip() == value.strip()
        masked = {one.name for one in TYPES[kind].fields if one.secret}
        bulk = await room.values(shown["id"])
        assert {name for name, value in bulk.items() if not value} == masked & set(FIELDS[kind])

    async def test_may_be_sent_back_as_it_was_read(self, room: Room, kind: str) -> None:
        shown = await typed(room, kind)
        again = await room.send("PUT", f"/credentials/{shown['id']}", ALICE, shown | {"description": "new"})
        assert again.body == shown | {"description": "new", "version": "1"}

    async def test_keeps_the_attributes_of_its_type(self, room: Room, kind: str) -> None:
        shown = await typed(room, kind)
        first = shown["attributes"][0]
        for attributes in (
            [*shown["attributes"], {"name": "more"}],
            [first | {"masked": not first["masked"]}, *shown["attributes"][1:]],
            [{"name": "only"}],
        ):
            changed = await room.send("PUT", f"/credentials/{shown['id']}", ALICE, shown | {"attributes": attributes})
            assert refusal(changed) == (400, "invalid-input")
        assert (await room.send("GET", f"/credentials/{shown['id']}", ALICE)).body == shown

    async def test_needs_its_primary_value(self, room: Room, kind: str) -> None:
        shown = await typed(room, kind)
        primary = TYPES[kind].fields[0].name
        path = f"/credentials/{shown['id']}/attributevalues/{primary}"
        assert refusal(await room.send("DELETE", path, ALICE)) == (400, "value-refused")
        assert (await room.values(shown["id"], ALICE, f"?credentialAttributeId={primary}"))[primary]

    async def test_is_not_rotated_by_the_values_that_it_has(self, room: Room, kind: str) -> None:
        shown = await typed(room, kind)
        await room.give(shown, **FIELDS[kind])
        assert await version_of(room, shown) == 1


class TestAChangeOfOneValue:
    async def test_rotates_and_leaves_the_other_fields(self, room: Room) -> None:
        shown = await typed(room, "oauth-token")
        assert (await replaced(room, shown, "accessToken", "newer")).status == 200
        assert await version_of(room, shown) == 2
        assert await room.values(shown["id"], ALICE, "?credentialAttributeId=refreshToken") == {
            "refreshToken": "refresh"
        }

    async def test_of_a_secondary_field_rotates_too(self, room: Room) -> None:
        shown = await typed(room, "oauth-token")
        assert (await replaced(room, shown, "scopes", "read")).status == 200
        assert (await room.values(shown["id"]))["scopes"] == "read"
        assert await version_of(room, shown) == 2

    async def test_lets_leases_on_the_old_one_run_out(self, room: Room) -> None:
        created = await room.world.create_for_agents()
        granted = await room.world.lease(DEPLOY_AGENT)
        [changed] = (
            await room.send(
                "POST",
                f"/credentials/{created.id}/attributevalues",
                ALICE,
                {"list": [{"credentialAttributeId": "value", "value": "newer"}]},
            )
        )["list"]
        assert changed["version"] == "1"
        lease = await room.world.vault.leases.read(DEPLOY_AGENT, granted.lease.id, room.world.clock())
        assert (lease.lease.version, (await room.world.lease(DEPLOY_AGENT)).lease.version) == (1, 2)

    async def test_is_refused_when_the_type_refuses_it(self, room: Room) -> None:
        for kind, attribute, value in (
            ("database-url", "url", "not a url"),
            ("ssh-key", "privateKey", "not a key"),
            ("api-key", "value", " sk "),
        ):
            await room.world.create(name=kind, type=kind, fields=FIELDS[kind])
            [row] = (await room.send("GET", f"/credentials?name={kind}", ALICE))["list"]
            assert refusal(await replaced(room, row, attribute, value)) == (400, "value-refused")
            assert await version_of(room, row) == 1

    async def test_must_aim_at_the_same_database(self, room: Room) -> None:
        shown = await typed(room, "database-url")
        other = await replaced(room, shown, "url", "postgresql://app:n3w@other.example/shop")
        assert refusal(other) == (400, "value-refused")
        assert (await replaced(room, shown, "url", "postgresql://app:n3w@db.example/shop")).status == 200

    async def test_of_a_certificate_needs_both_parts_at_once(self, room: Room) -> None:
        shown = await typed(room, "tls-certificate")
        other = issue(not_before=NOON.replace(month=1), not_after=NOON.replace(year=2031))
        assert refusal(await replaced(room, shown, "certificate", other.pem)) == (400, "value-refused")
        await room.give(shown, **other.fields)
        assert await version_of(room, shown) == 2


async def test_a_credential_of_this_face_is_leased_natively_under_its_names(office: Office) -> None:
    granted = await office.room.world.lease(ALICE, office.own["id"])
    assert {name: text.get_secret_value() for name, text in granted.fields.items()} == {
        "username": "alice-sap",
        "password": "correct horse",
    }

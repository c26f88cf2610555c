"""What the tables hold is opened by the vault alone, and only where the vault put it."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, MALLORY, NOON, TENANTS, World, key_ring, memory_stores
from vault_core.errors import NotFound, RowMissing, SealBroken
from vault_core.key_ring import KEYS_ROW
from vault_core.repeats import Once
from vault_core.sealing import SealedTable
from vault_core.stores import Insert, Keys, Partitions, Put, Row, Stores, Table
from vault_core.tenants import ReplaceTenantRules


def sealed(stores: Stores, name: str = "vault") -> SealedTable:
    return SealedTable(stores.vault, name, key_ring(stores))


async def raw_rows(table: Table, *tenants: str) -> list[Row]:
    return [row for tenant in tenants for row in (await table.query(Keys(tenant, " ", "~"))).rows]


async def moved(stores: Stores, row: Row, partition: str, key: str) -> Row:
    """Put the row's sealed document elsewhere, as someone with access to the tables could."""
    await stores.vault.commit(Put(replace(row, partition=partition, key=key, etag="")))
    return await sealed(stores).read(partition, key)


@pytest.fixture
async def stores() -> Stores:
    """Stores in which two tenants keep a sealed row."""
    stores = memory_stores()
    for tenant in ("contoso", "fabrikam"):
        await sealed(stores).commit(Insert(Row(tenant, "row", {"owner": f"someone of {tenant}"})))
    return stores


async def test_what_was_sealed_opens_where_it_was_put(stores: Stores) -> None:
    assert (await sealed(stores).read("contoso", "row")).document == {"owner": "someone of contoso"}


async def test_another_process_opens_it_too(stores: Stores) -> None:
    page = await sealed(stores).query(Keys("contoso", "row", "row~"))
    assert [row.document for row in page.rows] == [{"owner": "someone of contoso"}]


async def test_equal_documents_do_not_look_equal(stores: Stores) -> None:
    table = sealed(stores)
    await table.commit(Insert(Row("contoso", "one", {"a": 1})), Insert(Row("contoso", "two", {"a": 1})))
    one, two = await stores.vault.read("contoso", "one"), await stores.vault.read("contoso", "two")
    assert one.document["sealed"] != two.document["sealed"]


async def test_a_row_that_is_moved_to_another_key_does_not_open(stores: Stores) -> None:
    row = await stores.vault.read("contoso", "row")
    with pytest.raises(SealBroken):
        await moved(stores, row, "contoso", "other")


async def test_a_row_that_is_moved_to_another_tenant_does_not_open(stores: Stores) -> None:
    row = await stores.vault.read("contoso", "row")
    with pytest.raises(SealBroken):
        await moved(stores, row, "fabrikam", "row")


async def test_a_row_of_another_table_does_not_open(stores: Stores) -> None:
    with pytest.raises(SealBroken):
        await sealed(stores, "another").read("contoso", "row")


@pytest.mark.parametrize(
    "edited",
    [
        {},
        {"owner": "mallory"},
        {"key": 1, "sealed": ""},
        {"key": 1, "sealed": "no base64!"},
        {"key": 2},
        {"key": "1"},
        {"key": None},
        {"sealed": None},
    ],
)
async def test_a_row_that_was_edited_does_not_open(stores: Stores, edited: dict[str, Any]) -> None:
    row = await stores.vault.read("contoso", "row")
    document = edited if "owner" in edited or not edited else {**row.document, **edited}
    await stores.vault.commit(Put(replace(row, document=document)))
    with pytest.raises(SealBroken):
        await sealed(stores).read("contoso", "row")


async def test_no_byte_of_a_sealed_document_can_be_changed(stores: Stores) -> None:
    row = await stores.vault.read("contoso", "row")
    box = base64.b64decode(row.document["sealed"])
    for place in range(len(box)):
        text = base64.b64encode(box[:place] + bytes([box[place] ^ 1]) + box[place + 1 :]).decode()
        await stores.vault.commit(Put(row.with_document({**row.document, "sealed": text})))
        with pytest.raises(SealBroken):
            await sealed(stores).read("contoso", "row")


async def test_a_broken_seal_says_where_but_not_what(stores: Stores) -> None:
    row = await stores.vault.read("contoso", "row")
    with pytest.raises(SealBroken) as broken:
        await moved(stores, row, "contoso", "credential:some-id")
    assert str(broken.value) == "not what the vault wrote there: vault credential"


async def test_sealed_rows_are_read_one_tenant_at_a_time(stores: Stores) -> None:
    with pytest.raises(ValueError, match="one tenant at a time"):
        await sealed(stores).query(Partitions("a", "z"))


async def test_a_key_of_another_tenant_is_not_taken(stores: Stores) -> None:
    """Someone with access to the tables points a tenant to keys of another, whose plain text he may know."""
    other = await stores.vault.read("fabrikam", KEYS_ROW)
    ours = await stores.vault.read("contoso", KEYS_ROW)
    await stores.vault.commit(Put(ours.with_document(other.document)))
    with pytest.raises(SealBroken):
        await sealed(stores).read("contoso", "row")


async def test_a_callers_value_that_imitates_a_tenants_key_is_not_taken_for_one() -> None:
    world = World()
    forged = json.dumps(
        {"for": "tenant-key", "tenant": "contoso", "version": 1, "sealing": "QUFB" * 11, "fingerprinting": "QUFB" * 11}
    )
    credential = await world.create(value=forged)
    keys = await world.stores.vault.read("contoso", KEYS_ROW)
    await world.stores.vault.commit(Put(keys.with_document({**keys.document, "keys": {"1": credential.newest.secret}})))
    world.restart()
    with pytest.raises(SealBroken):
        await world.lease(ALICE)


async def test_two_workers_that_meet_a_new_tenant_at_once_agree_on_its_keys() -> None:
    stores = memory_stores()
    rings = [key_ring(stores) for _ in range(6)]
    keys = await asyncio.gather(*(ring.of("contoso") for ring in rings))
    assert len({each.fingerprint(SecretStr("same")) for each in keys}) == 1


async def test_fingerprints_tell_equal_values_within_a_tenant_only() -> None:
    stores = memory_stores()
    ring = key_ring(stores)
    ours, theirs = await ring.of("contoso"), await ring.of("fabrikam")
    assert ours.fingerprint(SecretStr("same")) == ours.fingerprint(SecretStr("same"))
    assert ours.fingerprint(SecretStr("same")) != theirs.fingerprint(SecretStr("same"))
    assert ours.fingerprint(SecretStr("same")) != ours.fingerprint(SecretStr("other"))


async def test_keys_do_not_print_themselves() -> None:
    stores = memory_stores()
    keys = await key_ring(stores).of("contoso")
    secret = keys.versions[1].fingerprinting
    assert secret.hex() not in repr(keys) + repr(keys.versions)
    assert repr(secret) not in repr(keys) + repr(keys.versions)


class TestAWholeVault:
    @pytest.fixture
    async def world(self) -> World:
        """A vault in which every kind of row was written."""
        world = World()
        await world.create_for_agents(
            name="visible-name",
            description="visible description",
            metadata={"team": "visible-team", "rotateEvery": "90d"},
            validUntil="2027-01-01T00:00:00Z",
            marketplaces=["visible-market"],
        )
        once = Once("visible-key", "lease", b"{}")
        await world.vault.grants.grant(DEPLOY_AGENT, "visible-name", None, once, NOON)
        await world.vault.credentials.suspend(ALICE, "visible-name", "visible reason", None, NOON)
        await world.vault.tenants.replace(ADA, ReplaceTenantRules(), None, NOON)
        await world.rotate(reference="visible-name")
        await world.create(MALLORY, name="visible-name")
        return world

    async def test_no_row_can_be_read_in_clear_except_the_names_of_the_keys(self, world: World) -> None:
        rows = await raw_rows(world.stores.vault, *TENANTS)
        kinds = {row.key.partition(":")[0] for row in rows}
        assert kinds == {"credential", "name", "intent", "rotation", "request", "forget", "settings", KEYS_ROW}
        for row in rows:
            wanted = {"keys", "current", "since", "candidates"} if row.key == KEYS_ROW else {"key", "sealed"}
            assert set(row.document) == wanted

    async def test_the_only_columns_are_those_that_narrow_a_listing(self, world: World) -> None:
        rows = await raw_rows(world.stores.vault, *TENANTS)
        for row in rows:
            assert set(row.columns) == (
                {"owner", "shared", "ownPolicy"} if row.key.startswith("credential:") else set()
            )

    async def test_what_people_wrote_into_a_credential_is_in_no_document(self, world: World) -> None:
        rows = await raw_rows(world.stores.vault, *TENANTS)
        assert "visible" not in json.dumps([dict(row.document) for row in rows])

    async def test_every_row_opens_in_its_place_and_in_no_other(self, world: World) -> None:
        rows = [row for row in await raw_rows(world.stores.vault, "contoso") if row.key != KEYS_ROW]
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
            assert (await sealed(world.stores).read(row.partition, row.key)).document
            await world.stores.vault.commit(Put(row.with_document(other.document)))
            with pytest.raises(SealBroken):
                await sealed(world.stores).read(row.partition, row.key)
            await world.stores.vault.commit(Put(row))

    async def test_whoever_writes_to_the_tables_cannot_make_himself_owner(self, world: World) -> None:
        [row] = (await world.stores.vault.query(Keys("contoso", "credential:", "credential;"))).rows
        await world.stores.vault.commit(Put(replace(row, columns={**row.columns, "owner": "id-bob"})))
        world.restart()
        with pytest.raises(NotFound):
            await world.vault.credentials.read(BOB, "visible-name", NOON)

    async def test_a_deleted_row_is_missing_not_broken(self, world: World) -> None:
        with pytest.raises(RowMissing):
            await sealed(world.stores).read("contoso", "credential:none")

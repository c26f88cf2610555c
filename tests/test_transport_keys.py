"""The key of transport encryption: one a tenant, whoever asks, whatever crashes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from tests.contents import ListedSecrets
from tests.faults import Crash, Fault, Ledger, Plan, watch
from tests.outbound import FakeOutbound
from tests.vaults import NOON, TENANTS, World, key_ring, memory_stores, sealed_table
from vault_core.errors import SealBroken, Unavailable
from vault_core.stores import Keys, Put, Row, Stores
from vault_core.transport import decrypted, encrypted, read_public_key
from vault_core.transport_keys import TRANSPORT_KEY_ROW, TransportKeys
from vault_core.values import Values
from vault_core.vault import Vault

pytestmark = pytest.mark.slow


def transport_keys(stores: Stores) -> TransportKeys:
    """The transport keys of a worker that knows nothing yet."""
    return Vault(stores, TENANTS, lambda: NOON, FakeOutbound()).transport_keys


def worker(stores: Stores, plan: Plan | None = None) -> tuple[TransportKeys, Ledger]:
    """A worker under the plan, whose calls overlap with those of others, and the ledger of its calls."""
    watched, ledger = watch(stores, plan)
    return transport_keys(watched), ledger


class SlowSecrets(ListedSecrets):
    """Secrets of which one transport key is so long in being written that something else happens meanwhile."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def write(self, name: str, value: SecretStr) -> None:
        await super().write(name, value)
        if meanwhile := self.meanwhile:
            self.meanwhile = None
            await meanwhile()


async def stores_with(secrets: ListedSecrets) -> Stores:
    """Stores in which the tenant is known already."""
    stores = replace(memory_stores(), secrets=secrets)
    await key_ring(stores).of("contoso")
    return stores


@pytest.fixture
async def stores() -> Stores:
    return await stores_with(ListedSecrets())


async def made(stores: Stores) -> str:
    return (await transport_keys(stores).of("contoso", NOON)).public_text


async def kept(stores: Stores) -> set[str]:
    """The names of the secrets that hold a transport key."""
    assert isinstance(stores.secrets, ListedSecrets)
    values = {name: (await stores.secrets.read(name)).get_secret_value() for name in stores.secrets.names}
    return {name for name, value in values.items() if json.loads(value)["for"] == "transport-key"}


async def rows(stores: Stores, start: str) -> list[Row]:
    table = sealed_table(stores)
    return list((await table.query(Keys("contoso", start, f"{start}~"))).rows)


async def named(stores: Stores) -> set[str]:
    """The names that the row of the transport key holds: one, or none when there is no row."""
    return {row.document["secret"] for row in await rows(stores, TRANSPORT_KEY_ROW)}


async def reconcile(stores: Stores, after: timedelta) -> None:
    world = World(stores=stores)
    world.clock.now = NOON + after
    report = await world.vault.reconcile()
    assert (report.failed, report.left_some) == (0, False)


async def calls_of_making() -> list[int]:
    keys, ledger = worker(await stores_with(ListedSecrets()))
    await keys.of("contoso", NOON)
    return [call.number for call in ledger.calls]


EVERY_CALL = asyncio.run(calls_of_making())


class TestTheKey:
    async def test_what_is_encrypted_to_the_public_key_is_read_by_the_private_one(self, stores: Stores) -> None:
        key = await transport_keys(stores).of("contoso", NOON)
        public = read_public_key(key.public_text)
        assert (public.key_size, public.public_numbers().e) == (3072, 65537)
        box = encrypted(SecretStr("correct horse"), public)
        assert decrypted(box, key.private_key).get_secret_value() == "correct horse"

    async def test_another_process_has_the_same_key(self, stores: Stores) -> None:
        first = await transport_keys(stores).of("contoso", NOON)
        second = await transport_keys(stores).of("contoso", NOON)
        assert second.public_text == first.public_text
        box = encrypted(SecretStr("correct horse"), read_public_key(first.public_text))
        assert decrypted(box, second.private_key).get_secret_value() == "correct horse"

    async def test_every_tenant_has_its_own(self, stores: Stores) -> None:
        keys = transport_keys(stores)
        ours, theirs = await keys.of("contoso", NOON), await keys.of("fabrikam", NOON)
        assert ours.public_text != theirs.public_text

    async def test_it_is_looked_up_once_in_the_life_of_a_process(self, stores: Stores) -> None:
        keys, ledger = worker(stores)
        first = await keys.of("contoso", NOON)
        calls = ledger.total
        assert await keys.of("contoso", NOON + timedelta(days=400)) is first
        assert ledger.total == calls

    async def test_it_is_in_the_secret_store_alone_and_the_row_that_names_it_is_sealed(self, stores: Stores) -> None:
        await made(stores)
        assert await named(stores) == await kept(stores)
        row = await stores.vault.read("contoso", TRANSPORT_KEY_ROW)
        assert set(row.document) == {"key", "sealed"}
        assert row.columns == {}

    async def test_it_does_not_print_itself(self, stores: Stores) -> None:
        key = await transport_keys(stores).of("contoso", NOON)
        assert key.public_text not in repr(key)
        assert str(key.private_key.private_numbers().p) not in repr(key)

    async def test_it_is_written_ahead_of_its_row_and_the_intent_to_discard_it_ahead_of_both(
        self, stores: Stores
    ) -> None:
        keys, ledger = worker(stores)
        await keys.of("contoso", NOON)
        writes = [call for call in ledger.calls if call.method in ("commit", "write")]
        [name] = await named(stores)
        entry = f"contoso intent:20261121T121000.000000Z|discard-value|{name.replace('/', '~')}"
        assert [(call.store, call.subject) for call in writes] == [
            ("vault", f"Insert {entry}"),
            ("secrets", name),
            ("vault", f"Insert contoso {TRANSPORT_KEY_ROW}, Delete {entry}"),
        ]


class TestManyAtOnce:
    async def test_requests_of_one_process_make_one_key(self, stores: Stores) -> None:
        keys, ledger = worker(stores)
        found = await asyncio.gather(*(keys.of("contoso", NOON) for _ in range(20)))
        assert len({id(key) for key in found}) == 1
        assert ledger.count("secrets", "write") == 1

    async def test_whoever_gives_up_waiting_does_not_end_it_for_the_others(self, stores: Stores) -> None:
        keys, ledger = worker(stores)
        first = asyncio.create_task(keys.of("contoso", NOON))
        others = [asyncio.create_task(keys.of("contoso", NOON)) for _ in range(2)]
        await asyncio.sleep(0)
        first.cancel()
        one, two = await asyncio.gather(*others)
        assert first.cancelled()
        assert one is two
        assert ledger.count("secrets", "write") == 1

    async def test_workers_agree_on_one_key_and_the_others_are_discarded_at_once(self, stores: Stores) -> None:
        workers = [worker(stores) for _ in range(3)]
        found = await asyncio.gather(*(keys.of("contoso", NOON) for keys, _ in workers))
        assert [ledger.count("secrets", "write") for _, ledger in workers] == [1, 1, 1]
        assert len({key.public_text for key in found}) == 1
        assert await made(stores) == found[0].public_text
        assert len(await kept(stores)) == 1
        assert await rows(stores, "intent:") == []

    async def test_a_loser_that_cannot_tidy_leaves_it_to_the_reconciler(self) -> None:
        stores = await stores_with(slow := SlowSecrets())
        slow.meanwhile = lambda: made(stores)
        keys, _ = worker(stores, Plan(faults={len(EVERY_CALL) + 1: Fault()}))
        assert (await keys.of("contoso", NOON)).public_text == await made(stores)
        assert len(await kept(stores)) == 2
        await reconcile(stores, after=timedelta(minutes=11))
        assert len(await kept(stores)) == 1
        assert await kept(stores) == await named(stores)
        assert await rows(stores, "intent:") == []

    async def test_a_key_that_was_discarded_before_it_came_into_use_is_not_used(self) -> None:
        """A worker is so slow that the reconciler takes its key for an abandoned one."""
        stores = await stores_with(slow := SlowSecrets())
        slow.meanwhile = lambda: reconcile(stores, after=timedelta(minutes=11))
        keys = transport_keys(stores)
        with pytest.raises(Unavailable, match="try again"):
            await keys.of("contoso", NOON)
        assert await kept(stores) == await named(stores) == set()
        assert (await keys.of("contoso", NOON)).public_text == await made(stores)


class TestCrashesAndOutages:
    @pytest.mark.parametrize("call", EVERY_CALL)
    async def test_a_crash_leaves_nothing_that_is_not_tidied(self, stores: Stores, call: int) -> None:
        keys, _ = worker(stores, Plan(crash_after=call))
        with pytest.raises(Crash):
            await keys.of("contoso", NOON)
        await reconcile(stores, after=timedelta(minutes=11))
        assert await kept(stores) == await named(stores)
        assert await rows(stores, "intent:") == []
        assert await made(stores) == await made(stores)
        assert await kept(stores) == await named(stores) != set()

    @pytest.mark.parametrize("call", EVERY_CALL)
    async def test_a_crash_does_not_keep_another_process_from_making_the_key_at_once(
        self, stores: Stores, call: int
    ) -> None:
        keys, _ = worker(stores, Plan(crash_after=call))
        with pytest.raises(Crash):
            await keys.of("contoso", NOON)
        text = await made(stores)
        await reconcile(stores, after=timedelta(minutes=11))
        assert await kept(stores) == await named(stores)
        assert await made(stores) == text

    @pytest.mark.parametrize("applied", [False, True], ids=["not applied", "applied"])
    @pytest.mark.parametrize("call", EVERY_CALL)
    async def test_an_outage_is_told_and_the_same_process_can_try_again(
        self, stores: Stores, call: int, applied: bool
    ) -> None:
        keys, _ = worker(stores, Plan(faults={call: Fault(applied=applied)}))
        with pytest.raises(Unavailable):
            await keys.of("contoso", NOON)
        text = (await keys.of("contoso", NOON)).public_text
        await reconcile(stores, after=timedelta(minutes=11))
        assert await kept(stores) == await named(stores)
        assert await made(stores) == text


class TestWhatIsNotOurs:
    async def read_with(self, stores: Stores, value: str) -> None:
        """Look the key up when its secret holds the value."""
        await made(stores)
        [name] = await named(stores)
        await stores.secrets.write(name, SecretStr(value))
        with pytest.raises(SealBroken) as broken:
            await made(stores)
        assert str(broken.value) == "not what the vault wrote there: transport key"
        assert broken.value.__cause__ is broken.value.__context__ is None

    @pytest.mark.parametrize(
        "change",
        [{"for": "value"}, {"for": None}, {"tenant": "fabrikam"}, {"pem": ""}, {"pem": "none"}, {"pem": None}],
        ids=str,
    )
    async def test_an_envelope_that_says_anything_else_is_not_opened(
        self, stores: Stores, change: dict[str, Any]
    ) -> None:
        await made(stores)
        [name] = await named(stores)
        envelope = json.loads((await stores.secrets.read(name)).get_secret_value())
        await self.read_with(stores, json.dumps(envelope | change))

    @pytest.mark.parametrize("value", ["none", "{}", "[]", "null", '"text"', "1"])
    async def test_a_secret_without_an_envelope_is_not_opened(self, stores: Stores, value: str) -> None:
        await self.read_with(stores, value)

    async def test_a_key_of_another_kind_is_not_taken(self, stores: Stores) -> None:
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        envelope = {"for": "transport-key", "tenant": "contoso", "pem": pem.decode()}
        await self.read_with(stores, json.dumps(envelope))

    async def test_a_callers_value_that_imitates_a_key_is_not_taken_for_one(self, stores: Stores) -> None:
        await made(stores)
        [name] = await named(stores)
        forged = (await stores.secrets.read(name)).get_secret_value()
        values, theirs = Values(stores.secrets, lambda: NOON), stores.secrets.new_name("contoso")
        await values.write(theirs, "contoso", "credential-id", {"value": SecretStr(forged)})
        await self.read_with(stores, (await stores.secrets.read(theirs)).get_secret_value())

    async def test_the_row_cannot_be_pointed_elsewhere(self, stores: Stores) -> None:
        await made(stores)
        theirs = await transport_keys(stores).of("fabrikam", NOON)
        row = await stores.vault.read("fabrikam", TRANSPORT_KEY_ROW)
        await stores.vault.commit(Put(replace(row, partition="contoso", etag="")))
        with pytest.raises(SealBroken):
            await made(stores)
        assert theirs.public_text == (await transport_keys(stores).of("fabrikam", NOON)).public_text

    @pytest.mark.parametrize("end", ["disable", "delete"])
    async def test_a_key_that_is_gone_is_not_replaced_in_silence(self, stores: Stores, end: str) -> None:
        await made(stores)
        [name] = await named(stores)
        await getattr(stores.secrets, end)(name)
        with pytest.raises(SealBroken, match="the secret of a transport key is gone"):
            await made(stores)

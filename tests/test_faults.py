"""The watched stores: what they count, and how they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pydantic import SecretStr

from tests.faults import Crash, Fault, Ledger, Plan, watch
from vault_core.errors import RowMissing, SecretMissing, Unavailable
from vault_core.stores import Insert, Keys, Put, Row, Stores
from vault_core.stores.memory import MemorySecrets, MemoryTable

ROW = Row("p", "k", {})


def memory_stores() -> Stores:
    return Stores(MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), MemorySecrets())


async def rounds_of(operation: Callable[[Stores], Awaitable[object]]) -> int:
    stores, ledger = watch(memory_stores())
    await operation(stores)
    return ledger.rounds


async def test_calls_reach_the_store_and_are_listed_by_store_and_method() -> None:
    stores, ledger = watch(memory_stores())
    [written] = await stores.leases.commit(Insert(ROW))
    assert await stores.leases.read("p", "k") == written
    assert list((await stores.leases.query(Keys("p", "a", "z"))).rows) == [written]
    with pytest.raises(RowMissing):
        await stores.vault.read("p", "k")
    name = stores.secrets.new_name("t")
    await stores.secrets.write(name, SecretStr("v"))
    await stores.secrets.disable(name)
    await stores.secrets.delete(name)
    await stores.secrets.ping()
    with pytest.raises(SecretMissing):
        await stores.secrets.read(name)
    said = [f"{call.store}.{call.method}" for call in ledger.calls]
    assert said[:4] == ["leases.commit", "leases.read", "leases.query", "vault.read"]
    assert said[4:] == [f"secrets.{m}" for m in ("write", "disable", "delete", "ping", "read")]
    assert (ledger.count("leases"), ledger.count("leases", "read"), ledger.total) == (3, 1, 9)
    assert "Insert p k" in str(ledger)


async def test_calls_one_after_another_are_as_many_rounds() -> None:
    async def operation(stores: Stores) -> None:
        for key in "abc":
            await stores.vault.commit(Put(Row("p", key, {})))

    assert await rounds_of(operation) == 3


async def test_calls_made_together_are_one_round() -> None:
    async def operation(stores: Stores) -> None:
        async def late() -> None:
            await asyncio.sleep(0)
            await stores.audit.commit(Put(ROW))

        await asyncio.gather(stores.vault.commit(Put(ROW)), stores.secrets.ping(), late())

    assert await rounds_of(operation) == 1


async def test_the_longest_chain_is_what_counts() -> None:
    async def operation(stores: Stores) -> None:
        async def two() -> None:
            await stores.audit.commit(Put(ROW))
            await stores.audit.commit(Put(ROW))

        await asyncio.gather(two(), stores.vault.commit(Put(ROW)), stores.secrets.ping())
        await stores.vault.read("p", "k")

    assert await rounds_of(operation) == 3


def test_no_calls_are_no_rounds() -> None:
    assert Ledger().rounds == 0


async def test_a_crash_leaves_what_was_applied_and_ends_every_later_call() -> None:
    for crash_after in (1, 2, 3):
        kept = memory_stores()
        stores, ledger = watch(kept, Plan(crash_after=crash_after))
        for n in range(1, 4):
            if n < crash_after:
                await stores.vault.commit(Insert(Row("p", f"k{n}", {})))
            else:
                with pytest.raises(Crash):
                    await stores.vault.commit(Insert(Row("p", f"k{n}", {})))
        page = await kept.vault.query(Keys("p", "k", "l"))
        assert [row.key for row in page.rows] == [f"k{n}" for n in range(1, crash_after + 1)]
        assert ledger.total == 3


async def test_of_calls_made_together_those_behind_the_crash_are_not_applied() -> None:
    kept = memory_stores()
    stores, _ = watch(kept, Plan(crash_after=2))
    outcomes = await asyncio.gather(
        *(stores.vault.commit(Insert(Row("p", f"k{n}", {}))) for n in range(4)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Crash] * 4
    assert [row.key for row in (await kept.vault.query(Keys("p", "k", "l"))).rows] == ["k0", "k1"]


async def test_a_crash_hides_the_conflict_of_its_call() -> None:
    stores, _ = watch(memory_stores(), Plan(crash_after=1))
    with pytest.raises(Crash):
        await stores.vault.read("p", "k")


async def test_a_fault_strikes_its_call_alone_and_before_it_is_applied() -> None:
    kept = memory_stores()
    stores, _ = watch(kept, Plan(faults={2: Fault()}))
    await stores.secrets.ping()
    with pytest.raises(Unavailable):
        await stores.vault.commit(Insert(ROW))
    with pytest.raises(RowMissing):
        await kept.vault.read("p", "k")
    await stores.vault.commit(Insert(ROW))


async def test_an_applied_fault_loses_only_the_answer() -> None:
    kept = memory_stores()
    lost = Unavailable("lost")
    stores, _ = watch(kept, Plan(faults={1: Fault(lost, applied=True), 2: Fault(lost, applied=True)}))
    with pytest.raises(Unavailable) as raised:
        await stores.vault.commit(Insert(ROW))
    assert raised.value is lost
    assert (await kept.vault.read("p", "k")).key == "k"
    with pytest.raises(Unavailable):
        await stores.vault.read("p", "missing")

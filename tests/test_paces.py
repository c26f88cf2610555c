"""How often the vault calls out at the word of a caller, and that no number of callers gets around it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import watch
from tests.vaults import NOON, memory_stores, sealed_table
from vault_core.errors import TooSoon
from vault_core.paces import CALLS_PER_HOST, INTERVAL, Paces
from vault_core.stores import Keys, Stores

SECOND = timedelta(seconds=1)
HOST = "api.northwind.example"


def paces(stores: Stores | None = None) -> Paces:
    """Paces of a process of its own."""
    stores, _ = watch(stores or memory_stores())
    return Paces(sealed_table(stores))


async def claims(pace: Paces, at: datetime, tenant: str = "contoso", subject: str = "one") -> bool:
    try:
        await pace.claim(tenant, subject, at)
    except TooSoon:
        return False
    return True


async def takes(pace: Paces, at: datetime, tenant: str = "contoso", host: str = HOST) -> bool:
    try:
        await pace.take(tenant, host, at)
    except TooSoon:
        return False
    return True


class TestClaims:
    async def test_a_subject_is_claimed_once_a_minute(self) -> None:
        pace = paces()
        later = (0, 1, 59, 60, 61, 119, 120)
        assert [await claims(pace, NOON + n * SECOND) for n in later] == [True, False, False, True, False, False, True]

    async def test_a_refusal_says_when_it_can_be_claimed_and_claims_nothing(self) -> None:
        pace = paces()
        await pace.claim("contoso", "one", NOON)
        with pytest.raises(TooSoon, match="12:01:00Z") as refused:
            await pace.claim("contoso", "one", NOON + 45 * SECOND)
        assert refused.value.retry_after == 15 * SECOND
        assert await claims(pace, NOON + 60 * SECOND)

    async def test_subjects_and_tenants_are_claimed_apart(self) -> None:
        pace = paces()
        assert await claims(pace, NOON)
        assert await claims(pace, NOON, subject="another")
        assert await claims(pace, NOON, tenant="fabrikam")

    async def test_of_many_at_once_in_as_many_processes_one_has_it(self) -> None:
        stores = memory_stores()
        got = await asyncio.gather(*(claims(paces(stores), NOON) for _ in range(20)))
        assert sum(got) == 1
        got = await asyncio.gather(*(claims(paces(stores), NOON + INTERVAL) for _ in range(20)))
        assert sum(got) == 1

    async def test_what_is_forgotten_leaves_nothing_and_can_be_forgotten_again(self) -> None:
        stores = memory_stores()
        pace = paces(stores)
        await pace.claim("contoso", "one", NOON)
        for _ in range(2):
            await pace.forget("contoso", "one")
        assert (await stores.vault.query(Keys("contoso", "checking:", "checking;"))).rows == []

    @given(st.lists(st.integers(0, 400), min_size=1, max_size=30).map(sorted))
    def test_any_two_that_were_granted_are_a_minute_apart(self, at: list[int]) -> None:
        async def granted() -> list[int]:
            pace = paces()
            return [second for second in at if await claims(pace, NOON + second * SECOND)]

        got = asyncio.run(granted())
        assert got[0] == at[0]
        assert all(later - earlier >= 60 for earlier, later in pairwise(got))


class TestHosts:
    async def test_a_host_takes_thirty_calls_in_a_minute_of_one_tenant(self) -> None:
        pace = paces()
        assert [await takes(pace, NOON + n * SECOND) for n in range(31)] == [True] * CALLS_PER_HOST + [False]
        assert await takes(pace, NOON, tenant="fabrikam")
        assert await takes(pace, NOON, host="elsewhere.northwind.example")
        assert await takes(pace, NOON + INTERVAL)

    async def test_a_refusal_says_when_the_next_minute_begins(self) -> None:
        pace = paces()
        for _ in range(CALLS_PER_HOST):
            await pace.take("contoso", HOST, NOON)
        with pytest.raises(TooSoon, match="12:01:00Z") as refused:
            await pace.take("contoso", HOST, NOON + 50 * SECOND)
        assert refused.value.retry_after == 10 * SECOND

    async def test_no_more_are_taken_at_once_in_many_processes(self) -> None:
        stores = memory_stores()
        got = await asyncio.gather(*(takes(paces(stores), NOON) for _ in range(60)))
        assert 1 <= sum(got) <= CALLS_PER_HOST

    async def test_one_row_is_kept_of_a_host_however_often_it_is_called(self) -> None:
        stores = memory_stores()
        pace = paces(stores)
        for minute in range(50):
            await pace.take("contoso", HOST, NOON + minute * INTERVAL)
        rows = (await stores.vault.query(Keys("contoso", "pace:", "pace;"))).rows
        assert len(rows) == 1
        assert HOST not in str(rows), "who is called is nobody's to read"

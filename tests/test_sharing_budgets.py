"""What sharing may cost, in calls to the stores and rounds of them, on a warm worker: lockers, own values, listings.

pytestmark = pytest.mark.slow

Warm: the worker knows the tenant's keys and settings, and has served the credential and its locker before.
"""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from pydantic import SecretStr

from bench.population import add_credentials, credential_ids
from tests.sharing import (
    CARA,
    CARL,
    PARTICIPATE,
    bearer,
    create_login,
    give_own,
    join,
    let_consume,
    make_locker,
    new_world,
    put_in,
    share,
    take_out,
)
from tests.test_budgets import assert_within, spent
from tests.vaults import ALICE, BOB, LOLA, World
from vault_core.credential_listing import CredentialQuery
from vault_core.identities import Caller
from vault_core.lease import Lease


@pytest.fixture
async def world() -> World:
    """`db-password` and `sap`, of Alice, in her locker; Cara consumes both and gave what `sap` asks her for."""
    world = new_world()
    await world.create()
    await share(world, "db-password")
    await create_login(world)
    await put_in(world, "sap")
    await give_own(world, CARA, user="cara", pin="1111")
    return world


async def lease(world: World, caller: Caller, reference: str = "db-password") -> Lease:
    return (await world.lease(caller, reference)).lease


async def id_of(world: World, name: str) -> str:
    return (await world.vault.credentials.read(ALICE, name, world.clock())).credential.id


class TestLeases:
    async def test_a_part_in_a_locker_costs_one_call_more_to_verify_it_and_no_round(self, world: World) -> None:
        await lease(world, CARA)
        assert_within(await spent(world, partial(lease, world, ALICE)), rounds=2, tables=4)
        assert_within(await spent(world, partial(lease, world, CARA)), rounds=2, tables=5)
        assert world.ledger.count("vault") == 2  # credential and locker, again and at once

    async def test_a_limit_of_leases_adds_to_that_what_it_adds_to_any(self, world: World) -> None:
        await world.create(name="limited", policy={"maxLeases": 5})
        await put_in(world, "limited")
        await lease(world, CARA, "limited")
        assert_within(await spent(world, partial(lease, world, CARA, "limited")), rounds=3, tables=6)

    async def test_own_values_cost_one_round_and_one_call_more_to_find_them(self, world: World) -> None:
        await lease(world, CARA, "sap")
        assert_within(await spent(world, partial(lease, world, CARA, "sap")), rounds=3, tables=6)

    async def test_own_values_that_are_no_longer_in_memory_cost_a_call_of_their_own(self, world: World) -> None:
        await lease(world, CARA, "sap")
        world.clock.pass_by(seconds=61)
        await world.vault.tenants.rules("contoso")
        assert_within(await spent(world, partial(lease, world, CARA, "sap")), rounds=3, tables=6, secrets=2)

    async def test_a_worker_that_meets_credential_and_locker_for_the_first_time_takes_two_rounds_more(
        self, world: World
    ) -> None:
        await world.create(name="another")
        credential_id = await id_of(world, "db-password")
        world.restart()
        await world.vault.credentials.read(ALICE, "another", world.clock())
        cold = partial(lease, world, CARA, credential_id)
        assert_within(await spent(world, cold), rounds=4, tables=7, secrets=1)

    async def test_a_renewal_reads_the_locker_in_a_round_of_its_own(self, world: World) -> None:
        held = await lease(world, CARA)
        renew = partial(world.vault.leases.renew, CARA, held.id, None, None, world.clock())
        assert_within(await spent(world, renew), rounds=3, tables=5)


class TestValues:
    async def test_three_standard_values_of_one_request_are_one_write_to_the_secret_store(self, world: World) -> None:
        three = [{"name": name} for name in ("one", "two", "three")]
        credential = await create_login(world, name="three", attributes=three, fields={})
        values = {one.id: SecretStr("x") for one in credential.attributes}
        write = partial(world.vault.values.write, ALICE, credential.id, values, None, world.clock())
        assert_within(await spent(world, write), rounds=4, tables=4, secrets=1)
        assert world.ledger.count("secrets", "write") == 1

    async def test_reading_all_values_looks_at_credential_locker_and_own_set_and_tells_it(self, world: World) -> None:
        credential_id = await id_of(world, "sap")
        await lease(world, CARA, "sap")
        read = partial(world.vault.values.read_all, CARA, credential_id, world.clock())
        assert_within(await spent(world, read), rounds=5, tables=5)
        read = partial(world.vault.values.read_all, ALICE, credential_id, world.clock())
        assert_within(await spent(world, read), rounds=4, tables=4)

    async def test_reading_all_values_of_standard_attributes_looks_for_no_own_ones(self, world: World) -> None:
        credential_id = await id_of(world, "db-password")
        read = partial(world.vault.values.read_one, ALICE, credential_id, "value", world.clock())
        await read()
        assert_within(await spent(world, read), rounds=3, tables=3)

    async def test_own_values_are_one_write_to_the_secret_store_however_many(self, world: World) -> None:
        credential_id = await id_of(world, "sap")
        give = partial(give_own, world, CARL, credential_id, user="carl", pin="2222")
        assert_within(await spent(world, give), rounds=12, tables=12, secrets=1)
        assert world.ledger.count("secrets", "write") == 1

    async def test_forgetting_them_finds_them_tells_it_and_destroys_them(self, world: World) -> None:
        credential_id = await id_of(world, "sap")
        forget = partial(world.vault.values.forget_own, CARA, credential_id, world.clock())
        assert_within(await spent(world, forget), rounds=7, tables=6, secrets=1)

    async def test_what_one_gave_is_told_by_one_call_however_many_credentials(self, world: World) -> None:
        for number in range(5):
            await create_login(world, name=f"login-{number}")
            await give_own(world, ALICE, f"login-{number}", user="alice")
        given = partial(world.vault.values.given_by, ALICE)
        assert_within(await spent(world, given), rounds=1, tables=1)


class TestLockers:
    async def test_a_locker_is_read_by_one_call_and_by_name_by_two(self, world: World) -> None:
        locker = await world.vault.lockers.read(ALICE, "finance", world.clock())
        for reference, calls in ((locker.id, 1), ("finance", 2)):
            read = partial(world.vault.lockers.read, ALICE, reference, world.clock())
            assert_within(await spent(world, read), rounds=calls, tables=calls)

    async def test_a_credential_that_is_seen_through_its_locker_is_read_by_one_call_more(self, world: World) -> None:
        credential_id = await id_of(world, "sap")
        read = partial(world.vault.credentials.read, CARA, credential_id, world.clock())
        assert_within(await spent(world, read), rounds=2, tables=2)

    async def test_putting_in_and_taking_out_read_both_tell_it_and_write_both_at_once(self, world: World) -> None:
        credential = await world.create(name="another")
        for move in (put_in, take_out):
            locker = await world.vault.lockers.read(ALICE, "finance", world.clock())
            moving = partial(move, world, credential.id, locker=locker.id)
            assert_within(await spent(world, moving), rounds=4, tables=4)

    async def test_a_change_of_members_reads_tells_and_writes(self, world: World) -> None:
        locker = await world.vault.lockers.read(ALICE, "finance", world.clock())
        change = partial(join, world, BOB, PARTICIPATE, locker=locker.id)
        assert_within(await spent(world, change), rounds=3, tables=3)

    async def test_making_one_tells_and_writes(self, world: World) -> None:
        assert_within(await spent(world, partial(make_locker, world, name="treasury")), rounds=2, tables=2)

    async def test_deleting_one_tells_and_frees_each_credential_inside(self, world: World) -> None:
        costs = []
        for name, number in (("few", 2), ("more", 12)):
            locker = await make_locker(world, name=name)
            for each in range(number):
                await world.create(name=f"{name}-{each}")
                await put_in(world, f"{name}-{each}", locker=name)
            delete = partial(world.vault.lockers.delete, ALICE, locker.id, None, world.clock())
            costs.append((await spent(world, delete)).total)
        assert costs[1] - costs[0] == 2 * 10
        assert costs[0] <= 8 + 2 * 2


async def test_lockers_in_which_one_only_participates_are_not_searched() -> None:
    world = World()
    for number in range(12):
        await make_locker(world, name=f"locker-{number}")
        await join(world, BOB, PARTICIPATE, locker=f"locker-{number}")
    assert await visible(world, BOB) == 0
    assert_within(await spent(world, partial(visible, world, BOB)), rounds=2, tables=2)


VISIBLE = 500
OTHERS_IN_LOCKERS = 3_500
ALL = 10_000
SEEN_THROUGH = {"three-bots": 3, "twelve-bots": 12, "hundred-bots": 100}


@pytest.fixture(scope="module")
def crowded() -> World:
    """A tenant of 10,000 credentials: for each of three roles 500 in lockers that it consumes, 3,500 in those of
    others, and the rest in none."""
    return asyncio.run(_crowded())


async def _crowded() -> World:
    world = World()
    model, at = await world.create(), 1
    groups = [*((role, number, VISIBLE) for role, number in SEEN_THROUGH.items()), ("others", 20, OTHERS_IN_LOCKERS)]
    for role, number, inside in groups:
        lockers = []
        for one in range(number):
            lockers.append((await make_locker(world, name=f"{role}-{one}")).id)
            await let_consume(world, role, locker=lockers[-1])
        await add_credentials(world.stores, "contoso", model, credential_ids(at, inside), lockers)
        at += inside
    await add_credentials(world.stores, "contoso", model, credential_ids(at, ALL - at))
    return world


async def visible(world: World, caller: Caller) -> int:
    return len([one async for one in world.vault.listing.visible(caller, world.clock())])


@pytest.mark.slow
class TestListing500Of10000:
    """Ahead of all: one call that tells which lockers there are. Then what is seen comes a thousand rows a call."""

    async def test_through_three_lockers_one_query_names_them(self, crowded: World) -> None:
        caller = bearer("cara", of=("three-bots",))
        assert await visible(crowded, caller) == VISIBLE
        assert_within(await spent(crowded, partial(visible, crowded, caller)), rounds=2, tables=2)
        for sort in ("createdAt", "name"):
            page = CredentialQuery.model_validate({"limit": 200, "sort": sort})
            list_page = partial(crowded.vault.listing.page, caller, page, crowded.clock())
            assert_within(await spent(crowded, list_page), rounds=2, tables=2)

    async def test_through_twelve_two_queries_at_once_name_them(self, crowded: World) -> None:
        caller = bearer("cara", of=("twelve-bots",))
        assert await visible(crowded, caller) == VISIBLE
        assert_within(await spent(crowded, partial(visible, crowded, caller)), rounds=2, tables=3)
        list_page = partial(crowded.vault.listing.page, caller, CredentialQuery(limit=200), crowded.clock())
        assert_within(await spent(crowded, list_page), rounds=2, tables=3)

    async def test_through_a_hundred_the_5000_that_are_in_any_locker_are_looked_at(self, crowded: World) -> None:
        caller = bearer("cara", of=("hundred-bots",))
        assert await visible(crowded, caller) == VISIBLE
        assert_within(await spent(crowded, partial(visible, crowded, caller)), rounds=6, tables=6)

    async def test_one_locker_alone_is_found_by_its_name_and_read(self, crowded: World) -> None:
        caller = bearer("cara", of=("twelve-bots",))
        query = CredentialQuery(limit=200, locker="twelve-bots-0")
        list_page = partial(crowded.vault.listing.page, caller, query, crowded.clock())
        assert_within(await spent(crowded, list_page), rounds=4, tables=4)

    async def test_who_sees_everything_asks_for_no_lockers_and_reads_everything(self, crowded: World) -> None:
        assert await visible(crowded, LOLA) == ALL
        assert_within(await spent(crowded, partial(visible, crowded, LOLA)), rounds=10, tables=10)

    async def test_who_sees_nothing_reads_nothing_else(self, crowded: World) -> None:
        assert await visible(crowded, BOB) == 0
        assert_within(await spent(crowded, partial(visible, crowded, BOB)), rounds=2, tables=2)

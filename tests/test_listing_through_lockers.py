"""Listing credentials that are seen through lockers: few of them or many, by filter, in any order, page by page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.population import add_credentials, credential_ids
from tests.sharing import (
    CARA,
    DORA,
    MANAGE,
    PARTICIPATE,
    bearer,
    join,
    let_consume,
    make_locker,
    new_world,
    put_in,
    share,
    take_out,
)
from tests.vaults import ALICE, BOB, LOLA, MALLORY, MONA, NOON, World
from vault_core.credential_listing import _MOST_NAMED, CredentialQuery, _merged
from vault_core.identities import Caller, Role
from vault_core.policies import Part
from vault_core.stores import Page, Put, Row


async def page(world: World, caller: Caller, **query: object) -> tuple[list[str], str | None]:
    found = await world.vault.listing.page(caller, CredentialQuery.model_validate(query), world.clock())
    return [shown.credential.name for shown in found.shown], found.next


async def listed(world: World, caller: Caller, **query: object) -> list[str]:
    """All pages of the listing."""
    names, cursor = await page(world, caller, **query)
    while cursor:
        more, cursor = await page(world, caller, cursor=cursor, **query)
        names += more
    return names


async def visible(world: World, caller: Caller) -> list[str]:
    return [one.credential.name async for one in world.vault.listing.visible(caller, world.clock())]


async def many_lockers(count: int, each: int = 3) -> tuple[World, list[str]]:
    """Lockers of Alice with some credentials each, of which Cara consumes every second; and what she sees.

    The credentials of all lockers take turns in the order of their creation. One is her own, and in none.
    """
    world = new_world()
    lockers = []
    for number in range(count):
        lockers.append((await make_locker(world, name=f"locker-{number}")).id)
        if number % 2 == 0:
            await let_consume(world, locker=f"locker-{number}")
    model = await world.create()
    ids = credential_ids(1, count * each)
    await add_credentials(world.stores, "contoso", model, ids, lockers)
    await world.create(CARA, name="of-cara")
    return world, [*(f"filling-{one}" for one in ids[::2]), "of-cara"]


@pytest.mark.parametrize("count", [2, 14, 16, 18, 40], ids=lambda count: f"{count // 2} lockers")
async def test_everything_in_every_locker_is_listed_once_in_order_on_pages_of_any_length(count: int) -> None:
    world, names = await many_lockers(count)
    for limit in (4, 200):
        assert await listed(world, CARA, limit=limit) == names
        assert await listed(world, CARA, limit=limit, sort="name") == names
        assert await listed(world, CARA, limit=limit, sort="-name") == names[::-1]
    assert await listed(world, CARA, limit=1, name="*7*") == [name for name in names if "7" in name]
    assert await visible(world, CARA) == names


async def test_one_who_sees_through_more_lockers_than_are_named_is_shown_nothing_of_others() -> None:
    world, names = await many_lockers(2 * (_MOST_NAMED + 1), each=1)
    assert await visible(world, CARA) == names
    assert await listed(world, CARA, limit=50) == names


async def test_much_that_is_seen_through_many_lockers_comes_in_order_over_many_calls() -> None:
    """More rows than the store hands over at once, in lockers that take two queries."""
    world, names = await many_lockers(24, each=130)
    assert await visible(world, CARA) == names


async def test_each_sees_what_its_part_lets_it_see() -> None:
    world = new_world()
    for caller, name in ((ALICE, "of-alice"), (BOB, "of-bob"), (DORA, "of-dora")):
        await world.create(caller, name=name)
        world.clock.pass_by(milliseconds=1)
    await share(world, "of-alice")
    await join(world, BOB, PARTICIPATE)
    await put_in(world, "of-bob", BOB)
    everything = ["of-alice", "of-bob"]
    for caller, names in (
        (ALICE, everything),
        (CARA, everything),
        (BOB, ["of-bob"]),
        (DORA, ["of-dora"]),
        (LOLA, [*everything, "of-dora"]),
        (MONA, [*everything, "of-dora"]),
        (bearer("auditor", Role.AUDITOR), []),
        (bearer("cat", of=("finance-cats",)), []),
        (MALLORY, []),
    ):
        assert await listed(world, caller) == await visible(world, caller) == names
    await join(world, DORA, MANAGE)
    assert await visible(world, DORA) == [*everything, "of-dora"]
    await world.vault.lockers.delete(ALICE, "finance", None, world.clock())
    assert (await visible(world, CARA), await visible(world, DORA)) == ([], ["of-dora"])


async def test_the_shown_say_what_the_caller_is_in_their_locker() -> None:
    world = new_world()
    await world.create()
    await share(world, "db-password")
    parts = {
        caller.identity.id: [one.parts async for one in world.vault.listing.visible(caller, NOON)]
        for caller in (ALICE, CARA)
    }
    assert parts == {"id-alice": [{Part.OWNER}], "id-cara": [{Part.CONSUMER}]}


class TestTheLockerFilter:
    @pytest.fixture
    async def world(self) -> World:
        world = new_world()
        for name in ("inside", "outside"):
            await world.create(name=name)
        await share(world, "inside")
        await make_locker(world, LOLA, "hidden")
        await world.create(LOLA, name="of-lola")
        await put_in(world, "of-lola", LOLA, "hidden")
        return world

    async def test_names_a_locker_by_name_or_id(self, world: World) -> None:
        locker = await world.vault.lockers.read(ALICE, "finance", NOON)
        for reference in ("finance", "FINANCE", locker.id, locker.id.upper()):
            for caller in (ALICE, CARA, LOLA, MONA):
                assert await listed(world, caller, locker=reference) == ["inside"]
                assert await listed(world, caller, locker=reference, sort="-name") == ["inside"]

    async def test_shows_nothing_of_a_locker_that_the_caller_is_not_in_or_that_is_not_there(self, world: World) -> None:
        gone = "01890a5d-ac96-774b-bcce-b302099a8057"
        for reference in ("hidden", "no-such-locker", gone, "a/b", "#"):
            assert await listed(world, CARA, locker=reference) == []
        assert await listed(world, BOB, locker="finance") == []
        assert await listed(world, LOLA, locker="hidden") == ["of-lola"]

    async def test_believes_what_is_sealed_not_the_column_beside_it(self, world: World) -> None:
        locker = await world.vault.lockers.read(ALICE, "finance", NOON)
        outside = (await world.vault.credentials.read(ALICE, "outside", NOON)).credential
        row = await world.stores.vault.read("contoso", f"credential:{outside.id}")
        await world.stores.vault.commit(Put(replace(row, columns={**row.columns, "locker": locker.id})))
        assert await listed(world, ALICE, locker="finance") == ["inside"]
        assert await visible(world, CARA) == ["inside"]

    async def test_goes_with_other_filters(self, world: World) -> None:
        world.clock.pass_by(milliseconds=1)
        await world.create(name="inside-too", type="api-key")
        await put_in(world, "inside-too")
        assert await listed(world, CARA, locker="finance", type="api-key") == ["inside-too"]
        assert await listed(world, CARA, locker="finance", name="inside") == ["inside"]
        assert await listed(world, CARA, locker="finance", owner="me") == []
        assert await listed(world, ALICE, locker="finance", owner="me", limit=1) == ["inside", "inside-too"]


async def test_what_is_moved_between_lockers_is_seen_where_it_is() -> None:
    world = new_world()
    await world.create()
    await share(world, "db-password")
    await make_locker(world, name="treasury")
    await take_out(world, "db-password")
    await put_in(world, "db-password", locker="treasury")
    assert await visible(world, CARA) == await listed(world, CARA, locker="treasury") == []
    await let_consume(world, locker="treasury")
    assert await visible(world, CARA) == await listed(world, CARA, locker="treasury") == ["db-password"]


KEYS = [f"credential:{number:02}" for number in range(30)]


@settings(max_examples=200)
@given(data=st.data(), limit=st.integers(1, 5))
def test_answers_to_several_queries_are_merged_into_every_row_once_and_in_order(
    data: st.DataObject, limit: int
) -> None:
    answers = data.draw(st.lists(st.sets(st.sampled_from(KEYS)), min_size=1, max_size=4))
    assert merged(answers, limit) == sorted(set().union(*answers))


def merged(answers: list[set[str]], limit: int) -> list[str]:
    """The keys of all pages, each merged from one page of every answer."""
    after, more, keys = "", True, list[str]()
    while more:
        page = _merged([answer_to(each, after, limit) for each in answers])
        assert page.rows or not page.more
        keys += [row.key for row in page.rows]
        after, more = keys[-1] if keys else "", page.more
    return keys


def answer_to(there: Collection[str], after: str, limit: int) -> Page:
    """What a store answers that may hand over fewer rows than are asked for."""
    behind = sorted(key for key in there if key > after)
    return Page([Row("contoso", key, {}) for key in behind[:limit]], more=len(behind) > limit)

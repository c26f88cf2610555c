"""Configurations while others act on them and processes die: a deletion above all, which other tenants depend on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.contents import ListedSecrets
from tests.faults import Crash, Plan
from tests.sharing import new_world
from tests.test_configurations import delete, draft, finds, left_of, read
from tests.vaults import ALICE, MALLORY, NOON, World
from tests.vendors import NORA, definition, fill, publish
from tests.workers import another_worker
from vault_core.configuration import Configuration
from vault_core.credential import State as VersionState
from vault_core.errors import (
    NotFound,
    RowMissing,
    SecretMissing,
    VaultError,
)
from vault_core.stores import Keys, Put, Row

pytestmark = pytest.mark.slow


@pytest.fixture
def world() -> World:
    return World()


class TestMeanwhile:
    """Two at once: whichever comes first, no live credential is ever on a configuration that is gone."""

    async def assert_sound(self, world: World, configuration: Configuration) -> None:
        """Let the timers finish what was cut short; then look."""
        world.clock.pass_by(minutes=20)
        world.restart()
        await world.vault.reconcile()
        lives = False
        rows = (await world.stores.vault.query(Keys("contoso", "credential:", "credential;"))).rows
        for row in rows:
            shown = await world.vault.credentials.read(ALICE, row.key.removeprefix("credential:"), world.clock())
            lives |= shown.credential.newest.state is not VersionState.REVOKED
        try:
            found = await read(world, configuration)
        except NotFound:
            assert not lives, "a live credential is on a configuration that is gone"
            left = await left_of(world, configuration)
            assert all("|contoso|" in key for key in left), "more is left than a pin, which counts for nothing"
            return
        assert not found.deleting
        for one in found.signing:
            assert await world.stores.secrets.read(one.secret)
        assert await finds(world, configuration, ALICE)

    async def meet(self, first: str, second: str, at: int) -> bool:
        """Do the second just before the first makes that call; whether the first made so many calls."""
        world = World()
        configuration = await publish(world)
        if "revoke" in (first, second):
            await fill(world, configuration)
        others = another_worker(world)
        acts: dict[str, Callable[[Any], Awaitable[object]]] = {
            "delete": lambda vault: vault.configurations.delete(NORA, configuration.id, None, NOON),
            "create": lambda vault: fill_with(world, vault, configuration),
            "revoke": lambda vault: vault.credentials.revoke(ALICE, "northwind", None, None, NOON),
        }
        reached = False

        async def meanwhile() -> None:
            nonlocal reached
            reached = True
            await quietly(acts[second](others))

        world.restart(Plan(meanwhile={at: meanwhile}))
        await quietly(acts[first](world.vault))
        await self.assert_sound(world, configuration)
        return reached

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("create", "delete"),
            ("delete", "create"),
            ("delete", "delete"),
            ("delete", "revoke"),
            ("revoke", "delete"),
        ],
    )
    async def test_one_in_the_midst_of_another(self, first: str, second: str) -> None:
        call = 1
        while await self.meet(first, second, call):
            call += 1
        assert call > 5

    @pytest.mark.parametrize("lives", [True, False], ids=["in use", "not in use"])
    async def test_two_deletions_in_the_midst_of_each_other_are_refused_or_done(self, lives: bool) -> None:
        for call in range(1, 12):
            world = World()
            configuration = await publish(world)
            if lives:
                await fill(world, configuration)
            others = another_worker(world)
            deletion = lambda vault=others, of=configuration: quietly(  # noqa: E731
                vault.configurations.delete(NORA, of.id, None, NOON)
            )
            world.restart(Plan(meanwhile={call: deletion}))
            await quietly(world.vault.configurations.delete(NORA, configuration.id, None, NOON))
            await self.assert_sound(world, configuration)
            assert await finds(world, configuration, NORA) is lives

    async def test_a_creation_that_has_chosen_it_and_a_deletion_that_has_begun_see_each_other(self) -> None:
        """A creation waits ahead of its pin, or of what follows, and goes on ahead of each call of the deletion."""
        last = await calls_of_a_creation()
        for waits_at in range(last - 2, last + 1):
            call, finished = 0, False
            while not finished:
                call += 1
                finished = not await self.overlap(waits_at, call)
            assert call > 5

    async def overlap(self, waits_at: int, goes_on_at: int) -> bool:
        """Whether the deletion made so many calls."""
        world, waiting, going_on = World(), asyncio.Event(), asyncio.Event()
        configuration = await publish(world)

        async def wait() -> None:
            waiting.set()
            await going_on.wait()

        creating = World(world.stores, world.clock, Plan(meanwhile={waits_at: wait}), world.outbound)
        creation = asyncio.create_task(quietly(fill(creating, configuration)))
        await waiting.wait()
        reached = False

        async def go_on() -> None:
            nonlocal reached
            reached = True
            going_on.set()
            await creation

        world.restart(Plan(meanwhile={goes_on_at: go_on}))
        await quietly(delete(world, configuration))
        going_on.set()
        await creation
        await self.assert_sound(world, configuration)
        return reached

    async def test_one_deletion_never_takes_back_what_another_has_begun_to_remove(self) -> None:
        call, reached = 0, True
        while reached:
            call, reached = call + 1, False
            world = World()
            configuration = await publish(world)
            others = World(world.stores, world.clock, outbound=world.outbound)

            async def refuse_and_create(of: Configuration = configuration, others: World = others) -> None:
                """A creation that is to be refused has pinned; a deletion is refused for that; another creates."""
                nonlocal reached
                reached = True
                pin = Row("vendor:northwind", f"{of.id}|contoso|nobody", {"at": NOON.isoformat()})
                await others.stores.catalog.commit(Put(pin))
                await quietly(delete(others, of))
                await quietly(fill(others, of))

            world.restart(Plan(meanwhile={call: refuse_and_create}))
            await quietly(delete(world, configuration))
            await self.assert_sound(world, configuration)
        assert call > 5

    async def test_a_deletion_that_was_taken_back_is_not_done_later(self) -> None:
        call, finished, taken_back = 0, False, 0
        while not finished:
            call += 1
            world = World()
            configuration = await publish(world)
            await fill(world, configuration)
            world.restart(Plan(crash_after=call))
            try:
                await quietly(delete(world, configuration))
                finished = world.ledger.total < call
            except Crash:
                pass
            world.restart()
            stands = await finds(world, configuration, ALICE)
            await world.revoke(reference="northwind")
            world.clock.pass_by(minutes=3)
            await world.vault.reconcile()
            if stands:
                taken_back += 1
                assert await finds(world, configuration, ALICE)
        assert taken_back > 2

    async def test_a_deletion_that_crashed_anywhere_is_finished_or_undone(self) -> None:
        for lives in (True, False):
            call, finished = 0, False
            while not finished:
                call += 1
                world = World()
                configuration = await publish(world)
                if lives:
                    await fill(world, configuration)
                world.restart(Plan(crash_after=call))
                try:
                    await quietly(delete(world, configuration))
                    finished = world.ledger.total < call
                except Crash:
                    pass
                await self.assert_sound(world, configuration)

    async def test_a_publication_that_crashed_anywhere_is_done_or_not_and_can_be_repeated(self) -> None:
        call, finished = 0, False
        while not finished:
            call += 1
            world = World()
            published = await publish(world)
            await world.vault.configurations.edit(NORA, published.id, definition(audience=["fabrikam"]), None, NOON)
            world.restart(Plan(crash_after=call))
            try:
                await world.vault.configurations.publish(NORA, published.id, None, None, NOON)
                finished = world.ledger.total < call
            except Crash:
                pass
            world.restart()
            now = await read(world, published)
            assert now.latest is not None
            assert await finds(world, published, ALICE) is (now.latest.number == 1)
            if now.draft:
                await world.vault.configurations.publish(NORA, published.id, None, None, NOON)
            assert await finds(world, published, MALLORY)
            assert not await finds(world, published, ALICE)

    async def test_of_two_publications_at_once_one_is_made(self, world: World) -> None:
        made, others = await draft(world), another_worker(world)
        answers = await asyncio.gather(
            *(vault.configurations.publish(NORA, made.id, None, None, NOON) for vault in (world.vault, others)),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in answers) == ["Configuration", "StaleVersion"]
        _, versions = await world.vault.configurations.versions(NORA, made.id, NOON)
        assert [one.number for one in versions] == [1]


async def calls_of_a_creation() -> int:
    """How many calls a worker that knows nothing makes to create a credential from a configuration."""
    world = World()
    configuration = await publish(world)
    world.restart()
    await fill(world, configuration)
    return world.ledger.total


async def fill_with(world: World, vault: Any, configuration: Configuration) -> None:
    """Create a credential by another worker."""
    one = World(world.stores, world.clock, outbound=world.outbound)
    one.vault = vault
    await fill(one, configuration)


async def quietly(act: Awaitable[object]) -> None:
    """Let it be refused; anything else that it raises is a failure."""
    try:
        await act
    except VaultError:
        return


async def test_a_configuration_that_never_came_to_be_leaves_no_secret() -> None:
    call, finished = 0, False
    while not finished:
        call += 1
        world = new_world()
        world.restart(Plan(crash_after=call))
        try:
            await world.vault.configurations.create(NORA, definition(), None, NOON)
            finished = world.ledger.total < call
        except Crash:
            pass
        world.restart()
        world.clock.pass_by(minutes=15)
        await world.vault.reconcile()
        kept = (await world.vault.configurations.page(NORA, "", 10)).configurations
        assert isinstance(world.stores.secrets, ListedSecrets)
        signing = {name for name in world.stores.secrets.names if "whsec_" in await text_of(world, name)}
        assert signing == {secret.secret for one in kept for secret in one.signing}


async def text_of(world: World, name: str) -> str:
    try:
        return (await world.stores.secrets.read(name)).get_secret_value()
    except (RowMissing, SecretMissing):
        return ""

"""Credentials in lockers: put in, taken out, handed on, and freed when their locker is deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.faults import Crash, Plan
from tests.interleaving import at_every_moment
from tests.sharing import (
    CARA,
    DORA,
    MANAGE,
    OWN,
    PARTICIPATE,
    as_defined,
    assert_sound,
    at_once,
    create_login,
    join,
    let_consume,
    make_locker,
    new_world,
    put_in,
    redefine,
    share,
    take_out,
    told,
)
from tests.vaults import (
    ALICE,
    BOB,
    LOLA,
    NOON,
    VIC,
    World,
)
from vault_core.credentials import Shown
from vault_core.errors import (
    AccessDenied,
    CredentialChanged,
    CredentialInLocker,
    NotAMember,
    NotFound,
    StaleVersion,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.locker import DefineLocker, Locker
from vault_core.stores import Keys


@pytest.fixture
def world() -> World:
    return new_world()


async def seen(world: World, caller: Caller) -> list[str]:
    return [one.name async for one in world.vault.lockers.seen_by(caller)]


async def inside(world: World, caller: Caller, locker: str = "finance") -> list[str]:
    shown = await world.vault.lockers.credentials_of(caller, locker, world.clock())
    return [one.credential.name for one in shown]


async def read(world: World, reference: str = "finance", caller: Caller = LOLA) -> Locker:
    return await world.vault.lockers.read(caller, reference, world.clock())


async def shared_with_bob() -> World:
    """A credential of Alice in her locker, where Bob participates."""
    world = new_world()
    await world.create()
    await share(world, "db-password")
    await join(world, BOB, PARTICIPATE)
    return world


class TestPuttingIn:
    async def test_an_owner_puts_its_own_credential_in_and_the_locker_counts(self, world: World) -> None:
        credential = await world.create()
        locker = await make_locker(world)
        inside_now = await put_in(world, "db-password")
        assert (inside_now.locker_id, inside_now.revision) == (locker.id, credential.revision + 1)
        assert (await read(world)).credentials == 1
        assert (await take_out(world, "db-password")).locker_id is None
        assert (await read(world)).credentials == 0
        assert await told(world, "locker.credential_assigned") == ["allowed"]
        assert await told(world, "locker.credential_removed") == ["allowed"]
        await assert_sound(world)

    async def test_only_the_owner_of_the_credential_with_a_part_of_its_own_and_locker_admins_put_in(
        self, world: World
    ) -> None:
        agents = {"policy": {"allowedIdentities": [{"type": "any"}]}}
        await world.create(DORA, name="of-dora", **agents)
        await world.create(CARA, name="of-cara", **agents)
        await make_locker(world)
        await let_consume(world)
        await join(world, BOB, MANAGE)
        for caller, name in ((ALICE, "of-dora"), (BOB, "of-dora"), (CARA, "of-cara")):
            with pytest.raises(AccessDenied):
                await put_in(world, name, caller)
        with pytest.raises(NotFound):  # of the locker she knows nothing
            await put_in(world, "of-dora", DORA)
        with pytest.raises(NotFound):
            await put_in(world, "no-such-credential", ALICE)
        for member in (PARTICIPATE, MANAGE, OWN):
            await join(world, DORA, member)
            await put_in(world, "of-dora", DORA)
            await take_out(world, "of-dora", DORA)
        await put_in(world, "of-cara", LOLA)
        assert await inside(world, LOLA) == ["of-cara"]

    async def test_managers_and_owners_take_anything_out_participants_their_own(self, world: World) -> None:
        await world.create()
        await share(world, "db-password")
        await join(world, BOB, PARTICIPATE)
        await world.create(BOB, name="of-bob")
        await put_in(world, "of-bob", BOB)
        with pytest.raises(NotFound):  # a participant reaches no others
            await take_out(world, "db-password", BOB)
        with pytest.raises(AccessDenied):
            await take_out(world, "db-password", CARA)
        await join(world, DORA, MANAGE)
        await take_out(world, "db-password", DORA)
        await take_out(world, "of-bob", BOB)
        assert await inside(world, LOLA) == []

    async def test_a_credential_is_in_one_locker_at_most(self, world: World) -> None:
        await world.create()
        await make_locker(world)
        await make_locker(world, name="treasury")
        await put_in(world, "db-password")
        assert (await put_in(world, "db-password")).locker_id
        with pytest.raises(CredentialInLocker):
            await put_in(world, "db-password", locker="treasury")
        await take_out(world, "db-password", locker="treasury")  # it is not in there
        assert (await read(world)).credentials == 1
        assert await told(world, "locker.credential_assigned") == ["allowed"]
        assert await told(world, "locker.credential_removed") == []

    async def test_two_lockers_that_take_one_credential_at_once_get_it_once(self, world: World) -> None:
        await world.create()
        for name in ("finance", "treasury"):
            await make_locker(world, name=name)
        answers = await at_once(put_in(world, "db-password"), put_in(world, "db-password", locker="treasury"))
        assert sum(isinstance(answer, CredentialInLocker) for answer in answers) == 1
        assert sum([(await read(world, name)).credentials for name in ("finance", "treasury")]) == 1
        await assert_sound(world)

    async def test_many_who_come_and_go_at_once_are_counted(self, world: World) -> None:
        await make_locker(world)
        for number in range(4):
            await world.create(name=f"credential-{number}")
        await put_in(world, "credential-0")
        answers = await at_once(
            *(put_in(world, f"credential-{number}") for number in range(1, 4)), take_out(world, "credential-0")
        )
        assert {type(answer).__name__ for answer in answers} <= {"Credential", "CredentialChanged"}
        assert (await read(world)).credentials == len(await inside(world, ALICE))
        await assert_sound(world)

    async def test_a_locker_that_is_deleted_at_the_same_time_takes_nothing_with_it(self, world: World) -> None:
        await world.create()
        await make_locker(world)
        await at_once(put_in(world, "db-password"), world.vault.lockers.delete(ALICE, "finance", None, NOON))
        with pytest.raises(NotFound):
            await read(world)
        shown = await world.vault.credentials.read(ALICE, "db-password", NOON)
        assert shown.credential.locker_id is None
        await assert_sound(world)

    async def test_a_credential_that_is_deleted_at_the_same_time_is_in_no_locker(self, world: World) -> None:
        await world.create()
        await make_locker(world)
        await at_once(put_in(world, "db-password"), world.vault.credentials.delete(ALICE, "db-password", None, NOON))
        assert (await read(world)).credentials == len(await inside(world, ALICE))
        await assert_sound(world)

    async def test_a_lockers_people_rely_on_what_is_inside_being_what_it_was(self, world: World) -> None:
        await create_login(world)
        await share(world, "sap")
        credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
        attempts: list[Callable[[], Awaitable[object]]] = [
            partial(world.vault.credentials.delete, ALICE, "sap", None, NOON),
            partial(world.update, reference="sap", name="other"),
            partial(redefine, world, credential, as_defined(credential)),
        ]
        for attempt in attempts:
            with pytest.raises(CredentialInLocker):
                await attempt()
        assert (await world.update(reference="sap", description="fine")).description == "fine"
        assert await told(world, "credential.deleted") == []
        await take_out(world, "sap")
        for attempt in (attempts[2], attempts[0]):
            assert not isinstance(await attempt(), VaultError)


class TestTransferring:
    @pytest.fixture
    async def inside_finance(self) -> World:
        return await shared_with_bob()

    async def transfer(self, world: World, caller: Caller, owner: str) -> Shown:
        return await world.vault.credentials.transfer(caller, "db-password", owner, world.clock())

    async def test_what_is_in_a_locker_goes_to_one_of_its_members_only(self, inside_finance: World) -> None:
        for stranger in ("id-dora", "id-cara"):
            with pytest.raises(NotAMember):
                await self.transfer(inside_finance, ALICE, stranger)
        assert (await self.transfer(inside_finance, ALICE, "id-bob")).credential.owner_id == "id-bob"
        assert await told(inside_finance, "credential.owner_changed") == ["allowed"]

    async def test_what_is_in_none_goes_to_anyone(self, inside_finance: World) -> None:
        await take_out(inside_finance, "db-password")
        assert (await self.transfer(inside_finance, ALICE, "id-dora")).credential.owner_id == "id-dora"

    async def test_owners_of_the_locker_and_locker_admins_transfer_too_and_nobody_else(
        self, inside_finance: World
    ) -> None:
        await join(inside_finance, DORA, MANAGE)
        await join(inside_finance, VIC, OWN)
        for caller in (CARA, DORA):
            with pytest.raises(AccessDenied):
                await self.transfer(inside_finance, caller, "id-bob")
        with pytest.raises(NotFound):
            await self.transfer(inside_finance, BOB, "id-bob")
        await self.transfer(inside_finance, VIC, "id-bob")
        shown = await self.transfer(inside_finance, LOLA, "id-vic")
        assert shown.credential.owner_id == "id-vic"
        with pytest.raises(NotAMember):
            await self.transfer(inside_finance, LOLA, "id-lola")

    async def test_the_former_owner_keeps_what_the_locker_gives(self, inside_finance: World) -> None:
        await self.transfer(inside_finance, ALICE, "id-bob")
        assert (await inside_finance.lease(ALICE)).value.get_secret_value() == "correct horse"
        await take_out(inside_finance, "db-password")
        with pytest.raises(NotFound):
            await inside_finance.lease(ALICE)
        assert await inside_finance.lease(BOB)

    async def test_a_member_who_goes_before_the_transfer_is_written_gets_nothing(self) -> None:
        answers = []
        moments = at_every_moment(
            shared_with_bob,
            lambda worker: worker.credentials.transfer(ALICE, "db-password", "id-bob", NOON),
            lambda world: join(world, BOB),
        )
        async for moment in moments:
            shown = await moment.worker.credentials.read(LOLA, "db-password", NOON)
            assert shown.credential.owner_id == ("id-bob" if moment.came_through else "id-alice")
            assert moment.came_through or isinstance(moment.answer, NotAMember | CredentialChanged)
            await assert_sound(moment.world)
            answers.append(type(moment.answer))
        assert {NotAMember, CredentialChanged} == set(answers)

    async def test_a_credential_that_is_put_in_before_the_transfer_is_written_goes_to_no_stranger(self) -> None:
        async def begin() -> World:
            world = new_world()
            await world.create()
            await make_locker(world)
            return world

        moments = at_every_moment(
            begin,
            lambda worker: worker.credentials.transfer(ALICE, "db-password", "id-dora", NOON),
            lambda world: put_in(world, "db-password"),
        )
        async for moment in moments:
            shown = await moment.worker.credentials.read(LOLA, "db-password", NOON)
            assert shown.credential.locker_id
            assert isinstance(moment.answer, NotAMember | CredentialChanged)
            assert shown.credential.owner_id == "id-alice"


class TestDeleting:
    async def test_a_deleted_locker_frees_its_name_and_what_was_inside(self, world: World) -> None:
        await world.create()
        locker = await share(world, "db-password")
        await world.vault.lockers.delete(ALICE, "finance", None, NOON)
        for reference in ("finance", locker.id):
            with pytest.raises(NotFound):
                await read(world, reference)
        assert (await world.vault.credentials.read(ALICE, "db-password", NOON)).credential.locker_id is None
        with pytest.raises(NotFound):
            await world.vault.credentials.read(CARA, "db-password", NOON)
        await world.vault.credentials.delete(ALICE, "db-password", None, NOON)
        again = await make_locker(world, BOB)
        assert (again.id != locker.id, again.members, again.consumers) == (True, {"id-bob": (OWN,)}, ())
        await assert_sound(world)

    async def test_more_than_one_page_of_credentials_is_freed(self, world: World) -> None:
        await make_locker(world)
        for number in range(105):
            await world.create(name=f"credential-{number}")
            await put_in(world, f"credential-{number}")
        await world.vault.lockers.delete(ALICE, "finance", None, NOON)
        rows = (await world.stores.vault.query(Keys("contoso", "locker", "locker~"))).rows
        assert rows == []
        await assert_sound(world)

    async def test_a_deletion_that_is_cut_short_anywhere_is_finished_by_the_timer(self) -> None:
        for call in range(1, 40):
            world = new_world()
            await world.create()
            await share(world, "db-password")
            world.restart(Plan(crash_after=call))
            try:
                await world.vault.lockers.delete(ALICE, "finance", None, NOON)
                break
            except Crash:
                world.restart()
            gone = await seen(world, ALICE) == []
            with_part = await self.reaches(world, CARA)
            assert with_part is not gone
            world.clock.pass_by(minutes=3)
            await world.vault.reconcile()
            credential = (await world.vault.credentials.read(ALICE, "db-password", world.clock())).credential
            assert (credential.locker_id is None) is gone
            await assert_sound(world)
        else:
            raise AssertionError("it never came to its end")
        assert call > 6

    async def reaches(self, world: World, caller: Caller) -> bool:
        try:
            await world.lease(caller)
        except NotFound:
            return False
        return True

    async def test_a_credential_that_changes_while_its_locker_is_emptied_is_freed(self, world: World) -> None:
        await world.create()
        await share(world, "db-password")
        _, updated = await at_once(
            world.vault.lockers.delete(ALICE, "finance", None, NOON), world.update(description="new")
        )
        credential = (await world.vault.credentials.read(ALICE, "db-password", NOON)).credential
        assert credential.locker_id is None
        assert (credential.description == "new") is not isinstance(updated, VaultError)

    async def test_one_who_was_shown_another_edition_deletes_nothing(self, world: World) -> None:
        made = await make_locker(world)
        await world.vault.lockers.redefine(ALICE, made.id, DefineLocker(name="treasury"), None, NOON)
        with pytest.raises(StaleVersion):
            await world.vault.lockers.delete(ALICE, made.id, made.tag, NOON)
        assert await seen(world, ALICE) == ["treasury"]

"""Lockers: who makes, sees and changes them, and who is in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.faults import Fault, Plan
from tests.interleaving import at_every_moment
from tests.sharing import (
    BOTS,
    CARA,
    DORA,
    MANAGE,
    OWN,
    PARTICIPATE,
    assert_sound,
    at_once,
    bearer,
    join,
    let_consume,
    make_locker,
    new_world,
    put_in,
    share,
    told,
)
from tests.vaults import (
    ADA,
    ALICE,
    BOB,
    LOLA,
    MALLORY,
    MONA,
    NOON,
    TENANTS,
    VIC,
    World,
    person,
)
from vault_core.errors import (
    AccessDenied,
    CredentialChanged,
    IdempotencyKeyReused,
    LastOwner,
    NameTaken,
    NotFound,
    StaleVersion,
    Unavailable,
)
from vault_core.identities import Caller, Role
from vault_core.locker import DefineLocker, Locker
from vault_core.policies import Part
from vault_core.repeats import Once


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


class TestCreating:
    async def test_the_creator_owns_it_and_finds_it_by_id_and_name(self, world: World) -> None:
        made = await make_locker(world, description="of the finance team")
        for reference in (made.id, made.id.upper(), "finance", "FINANCE"):
            assert await read(world, reference, ALICE) == made
        assert (made.name, made.description, made.created_by) == ("finance", "of the finance team", ALICE.identity)
        assert await told(world, "locker.created") == ["allowed"]

    async def test_a_name_is_taken_regardless_of_case_and_the_refusal_is_told(self, world: World) -> None:
        await make_locker(world)
        with pytest.raises(NameTaken):
            await make_locker(world, BOB, "Finance")
        assert (await read(world)).created_by == ALICE.identity
        assert await told(world, "locker.created") == ["allowed", "allowed", "failed"]

    async def test_a_credential_and_a_locker_may_have_one_name(self, world: World) -> None:
        await make_locker(world, name="db-password")
        credential = await world.create()
        assert (await world.vault.credentials.read(ALICE, "db-password", NOON)).credential.id == credential.id

    async def test_a_repeated_request_makes_one_locker(self, world: World) -> None:
        once, wanted = Once("key", "create locker", b"{}"), DefineLocker(name="finance")
        create = partial(world.vault.lockers.create, ALICE, wanted, once, NOON)
        first, second = await at_once(create(), create())
        assert first == second == await create()
        with pytest.raises(IdempotencyKeyReused):
            await world.vault.lockers.create(ALICE, wanted, Once("key", "create locker", b"{1}"), NOON)

    async def test_two_who_want_one_name_at_once_get_one_locker(self, world: World) -> None:
        answers = await at_once(make_locker(world, ALICE), make_locker(world, BOB))
        assert sorted(type(answer).__name__ for answer in answers) == ["Locker", "NameTaken"]
        await assert_sound(world)


class TestSeeing:
    async def test_its_people_and_locker_admins_see_it_and_nobody_else(self, world: World) -> None:
        await make_locker(world)
        await let_consume(world)
        await join(world, BOB, PARTICIPATE)
        await join(world, VIC, MANAGE)
        for caller in (ALICE, BOB, VIC, CARA, LOLA):
            assert await seen(world, caller) == ["finance"]
            assert (await read(world, caller=caller)).name == "finance"
        for caller in (DORA, MONA, ADA, MALLORY, bearer("cat", of=("finance-cats",)), bearer("x", Role.AUDITOR)):
            assert await seen(world, caller) == []
            with pytest.raises(NotFound):
                await read(world, caller=caller)

    async def test_a_hidden_locker_looks_like_an_absent_one_and_costs_the_same(self, world: World) -> None:
        made = await make_locker(world)
        absent = "01890a5d-ac96-774b-bcce-b302099a8057"
        refusals = []
        for reference in (made.id, absent):
            world.ledger.calls.clear()
            with pytest.raises(NotFound) as refused:
                await read(world, reference, DORA)
            refusals.append((str(refused.value), [(call.store, call.method) for call in world.ledger.calls]))
        assert refusals[0] == refusals[1]
        denied = [one for one in await world.audit() if one.event == "access.denied"]
        assert [(one.identity, one.outcome) for one in denied] == [(DORA.identity, "denied")] * 2

    @pytest.mark.parametrize("reference", ["", "a/b", "#", "x" * 600, "a\nb"], ids=repr)
    async def test_what_can_be_no_locker_is_absent(self, world: World, reference: str) -> None:
        with pytest.raises(NotFound):
            await read(world, reference)

    async def test_lockers_are_seen_in_the_order_of_their_creation_from_any_of_them_on(self, world: World) -> None:
        made = []
        for name in ("zebra", "ant", "mole"):
            made.append(await make_locker(world, name=name))
            world.clock.pass_by(seconds=1)
        assert await seen(world, ALICE) == ["zebra", "ant", "mole"]
        assert [one.name async for one in world.vault.lockers.seen_by(ALICE, made[0].id)] == ["ant", "mole"]

    async def test_all_but_participants_see_all_that_is_inside(self, world: World) -> None:
        await world.create()
        await share(world, "db-password")
        world.clock.pass_by(milliseconds=1)
        await world.create(BOB, name="of-bob")
        await world.create(name="elsewhere")
        await join(world, BOB, PARTICIPATE)
        await put_in(world, "of-bob", BOB)
        await join(world, VIC, MANAGE)
        for caller in (ALICE, VIC, CARA, LOLA):
            assert await inside(world, caller) == ["db-password", "of-bob"]
        assert await inside(world, BOB) == ["of-bob"]
        with pytest.raises(NotFound):
            await inside(world, DORA)

    async def test_what_is_inside_says_what_the_caller_is_there(self, world: World) -> None:
        await world.create()
        await share(world, "db-password")
        [shown] = await world.vault.lockers.credentials_of(CARA, "finance", NOON)
        assert shown.parts == {Part.CONSUMER}


class TestRedefining:
    async def test_a_new_name_frees_the_old_one(self, world: World) -> None:
        made = await make_locker(world)
        wanted = DefineLocker(name="Treasury", description="new")
        await world.vault.lockers.redefine(ALICE, "finance", wanted, made.tag, NOON)
        assert (await read(world, "treasury")).id == made.id
        with pytest.raises(NotFound):
            await read(world, "finance")
        assert (await make_locker(world, BOB, "Finance")).id != made.id
        await assert_sound(world)

    async def test_the_same_name_in_other_letters_is_no_new_name(self, world: World) -> None:
        made = await make_locker(world)
        await world.vault.lockers.redefine(ALICE, "finance", DefineLocker(name="FINANCE"), None, NOON)
        assert (await read(world, "finance")).name == "FINANCE"
        assert (await read(world, made.id)).edition == 1
        await assert_sound(world)

    async def test_a_name_of_another_is_refused_and_the_refusal_is_told(self, world: World) -> None:
        await make_locker(world)
        await make_locker(world, BOB, "treasury")
        with pytest.raises(NameTaken):
            await world.vault.lockers.redefine(ALICE, "finance", DefineLocker(name="Treasury"), None, NOON)
        assert (await read(world, "treasury")).created_by == BOB.identity
        assert await told(world, "locker.updated") == ["allowed", "failed"]
        await assert_sound(world)

    async def test_a_writer_who_knows_an_earlier_edition_is_refused(self, world: World) -> None:
        made = await make_locker(world)
        await join(world, BOB, MANAGE)
        await world.vault.lockers.redefine(BOB, "finance", DefineLocker(name="finance"), made.tag, NOON)
        for change in (
            world.vault.lockers.redefine(ALICE, "finance", DefineLocker(name="mine"), made.tag, NOON),
            world.vault.lockers.delete(ALICE, "finance", made.tag, NOON),
        ):
            with pytest.raises(StaleVersion):
                await change
        assert (await read(world)).updated_by == BOB.identity

    async def test_members_who_come_at_the_same_time_stay(self, world: World) -> None:
        await make_locker(world)
        redefining = world.vault.lockers.redefine(ALICE, "finance", DefineLocker(name="treasury"), None, NOON)
        answers = await at_once(redefining, join(world, BOB, MANAGE), let_consume(world))
        assert not any(isinstance(answer, CredentialChanged) for answer in answers[:1])
        locker = await read(world, "treasury")
        assert locker.name == "treasury"
        for answer, came in zip(
            answers[1:], (BOB.identity.id in locker.members, BOTS in locker.consumers), strict=True
        ):
            assert isinstance(answer, Locker) is came
        await assert_sound(world)

    async def test_two_new_names_at_once_leave_one(self, world: World) -> None:
        await make_locker(world)
        rename = [
            world.vault.lockers.redefine(ALICE, "finance", DefineLocker(name=name), None, NOON)
            for name in ("treasury", "ledger")
        ]
        answers = await at_once(*rename)
        [kept] = [answer for answer in answers if isinstance(answer, Locker)]
        assert await seen(world, ALICE) == [kept.name]
        await assert_sound(world)


class TestMembers:
    async def test_an_owner_appoints_owners_and_managers_and_a_manager_invites_participants(self, world: World) -> None:
        await make_locker(world)
        await join(world, BOB, MANAGE)
        lockers = world.vault.lockers
        await lockers.set_member(BOB, "finance", "id-dora", (PARTICIPATE,), NOON)
        assert (await read(world)).members["id-dora"] == (PARTICIPATE,)
        for member, permissions in (("id-dora", (MANAGE,)), ("id-dora", (PARTICIPATE, OWN)), ("id-alice", ())):
            with pytest.raises(AccessDenied):
                await lockers.set_member(BOB, "finance", member, permissions, NOON)
        await lockers.set_member(BOB, "finance", "id-dora", (), NOON)
        assert set((await read(world)).members) == {"id-alice", "id-bob"}
        assert await told(world, "access.denied") == ["denied"] * 3

    async def test_a_manager_cannot_resign_but_an_owner_can_let_it_go(self, world: World) -> None:
        await make_locker(world)
        await join(world, BOB, MANAGE)
        with pytest.raises(AccessDenied):
            await world.vault.lockers.set_member(BOB, "finance", "id-bob", (), NOON)
        assert not (await join(world, BOB)).is_member("id-bob")

    async def test_participants_and_consumers_change_nothing(self, world: World) -> None:
        made = await make_locker(world)
        await let_consume(world)
        await join(world, BOB, PARTICIPATE)
        lockers = world.vault.lockers
        for caller in (BOB, CARA):
            changes: list[Callable[[], Awaitable[object]]] = [
                partial(lockers.redefine, caller, made.id, DefineLocker(name="mine"), None, NOON),
                partial(lockers.delete, caller, made.id, None, NOON),
                partial(lockers.set_member, caller, made.id, caller.identity.id, (OWN,), NOON),
                partial(lockers.set_member, caller, made.id, "id-dora", (PARTICIPATE,), NOON),
                partial(lockers.add_consumers, caller, made.id, ("others",), NOON),
                partial(lockers.remove_consumer, caller, made.id, BOTS, NOON),
            ]
            for change in changes:
                with pytest.raises(AccessDenied):
                    await change()
        assert await told(world, "locker.updated") == await told(world, "locker.deleted") == []

    async def test_the_last_owner_stays(self, world: World) -> None:
        await make_locker(world)
        for permissions in ((), (MANAGE,)):
            with pytest.raises(LastOwner):
                await world.vault.lockers.set_member(LOLA, "finance", "id-alice", permissions, NOON)
        assert await told(world, "locker.member_changed") == []
        await join(world, BOB, OWN)
        assert set((await join(world, ALICE)).members) == {"id-bob"}

    async def test_two_owners_who_dismiss_each_other_at_once_leave_one(self, world: World) -> None:
        await make_locker(world)
        await join(world, BOB, OWN)
        dismiss = world.vault.lockers.set_member
        await at_once(
            dismiss(ALICE, "finance", "id-bob", (), NOON),
            dismiss(BOB, "finance", "id-alice", (), NOON),
        )
        assert len((await read(world)).members) == 1
        await assert_sound(world)

    async def test_one_who_is_dismissed_before_it_is_written_appoints_nobody(self) -> None:
        async for moment in at_every_moment(
            self.led_by_two,
            lambda worker: worker.lockers.set_member(BOB, "finance", "id-dora", (OWN,), NOON),
            lambda world: join(world, BOB),
        ):
            assert isinstance(moment.answer, NotFound | AccessDenied)
            assert set((await read(moment.world)).members) == {"id-alice"}
            await assert_sound(moment.world)

    async def test_a_manager_does_not_remove_one_who_is_made_an_owner_before_it_is_written(self) -> None:
        async def begin() -> World:
            world = await self.led_by_two()
            await join(world, BOB, MANAGE)
            await join(world, DORA, PARTICIPATE)
            return world

        async for moment in at_every_moment(
            begin,
            lambda worker: worker.lockers.set_member(BOB, "finance", "id-dora", (), NOON),
            lambda world: join(world, DORA, OWN),
        ):
            assert isinstance(moment.answer, CredentialChanged | AccessDenied)
            assert (await read(moment.world)).members["id-dora"] == (OWN,)
            await assert_sound(moment.world)

    async def led_by_two(self) -> World:
        world = new_world()
        await make_locker(world)
        await join(world, BOB, OWN)
        return world

    async def test_what_is_so_already_is_not_told_again(self, world: World) -> None:
        await make_locker(world)
        await join(world, BOB, MANAGE, PARTICIPATE)
        before = await join(world, BOB, PARTICIPATE, MANAGE)
        await let_consume(world)
        after = await let_consume(world)
        await world.vault.lockers.remove_consumer(ALICE, "finance", "unknown", NOON)
        await join(world, DORA)
        assert (before.revision, after.revision) == (1, 2)
        assert await read(world) == after
        assert await told(world, "locker.member_changed") == ["allowed"]
        assert await told(world, "locker.consumer_changed") == ["allowed"]

    async def test_consumers_who_are_added_at_the_same_time_all_come(self, world: World) -> None:
        await make_locker(world)
        await at_once(*(let_consume(world, f"role-{number}") for number in range(4)))
        assert set((await read(world)).consumers) == {f"role-{number}" for number in range(4)}

    async def test_a_locker_admin_administers_every_locker(self, world: World) -> None:
        made, lockers = await make_locker(world), world.vault.lockers
        await lockers.set_member(LOLA, made.id, "id-bob", (OWN,), NOON)
        await lockers.add_consumers(LOLA, made.id, (BOTS,), NOON)
        await lockers.redefine(LOLA, made.id, DefineLocker(name="treasury"), None, NOON)
        await lockers.delete(LOLA, made.id, None, NOON)
        assert await seen(world, LOLA) == []

    async def test_a_change_whose_answer_was_lost_is_not_told_as_failed(self, world: World) -> None:
        await make_locker(world)
        world.restart()
        await read(world, caller=ALICE)
        before = world.ledger.total
        await join(world, DORA, PARTICIPATE)
        [number] = [
            call.number for call in world.ledger.calls[before:] if call.method == "commit" and "locker:" in call.subject
        ]
        world.restart(Plan(faults={number: Fault(applied=True)}))
        await read(world, caller=ALICE)
        with pytest.raises(Unavailable):
            await join(world, BOB, MANAGE)
        assert (await read(world)).members["id-bob"] == (MANAGE,)
        assert await told(world, "locker.member_changed") == ["allowed"] * 2


class TestTenants:
    async def test_no_locker_of_one_tenant_is_known_in_another(self, world: World) -> None:
        made = await make_locker(world)
        mallory = person("lola", Role.LOCKER_ADMIN, Role.ADMIN, tenant="fabrikam")
        alias = person("alice", Role.USER, tenant="fabrikam")
        for caller in (mallory, alias):
            for reference in (made.id, "finance"):
                with pytest.raises(NotFound):
                    await read(world, reference, caller)
                with pytest.raises(NotFound):
                    await world.vault.lockers.set_member(caller, reference, "id-alice", (), NOON)
            assert await seen(world, caller) == []
        theirs = await make_locker(world, alias)
        assert theirs.id != made.id
        assert "fabrikam" in TENANTS

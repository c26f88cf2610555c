"""Leases whose right rests on a part in a locker: as soon as that part is gone, none is granted or renewed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.interleaving import at_every_moment
from tests.sharing import (
    BOTS,
    CARA,
    CARL,
    DORA,
    MANAGE,
    OWN,
    PARTICIPATE,
    assert_sound,
    at_once,
    bearer,
    create_login,
    give_own,
    give_standard,
    join,
    let_consume,
    make_locker,
    new_world,
    plain,
    put_in,
    share,
    take_out,
    told,
)
from tests.vaults import ADA, ALICE, BOB, CI_RUNNER, LOLA, MONA, NOON, World, person
from tests.workers import another_worker
from vault_core.errors import AccessDenied, CredentialIncomplete, LeaseLimitReached, NotFound
from vault_core.grants import Granted
from vault_core.identities import Caller, Role
from vault_core.repeats import Once
from vault_core.vault import Vault

Change = Callable[[World], Awaitable[object]]
MANU = person("manu", Role.USER)


@pytest.fixture
async def world() -> World:
    """Alice's credential in her locker: Cara consumes, Bob participates, Manu manages, Dora owns the locker too."""
    return await shared()


async def shared() -> World:
    world = new_world()
    await world.create()
    await share(world, "db-password")
    for member, permission in ((BOB, PARTICIPATE), (MANU, MANAGE), (DORA, OWN)):
        await join(world, member, permission)
    return world


class TestWhoLeases:
    async def test_all_but_participants_lease_what_is_inside(self, world: World) -> None:
        for caller in (ALICE, CARA, MANU, DORA):
            granted = await world.lease(caller)
            assert granted.value.get_secret_value() == "correct horse"
            assert granted.lease.identity.id == caller.identity.id
            assert await world.vault.leases.renew(caller, granted.lease.id, None, None, NOON)
        for caller in (BOB, CI_RUNNER, bearer("cat", of=("finance-cats",))):
            with pytest.raises(NotFound):
                await world.lease(caller)

    async def test_a_participant_leases_its_own(self, world: World) -> None:
        await world.create(BOB, name="of-bob")
        await put_in(world, "of-bob", BOB)
        assert await world.lease(BOB, "of-bob")
        assert await world.lease(CARA, "of-bob")
        assert await world.lease(ALICE, "of-bob")

    async def test_a_part_without_the_role_of_a_user_gives_sight_but_no_value(self, world: World) -> None:
        for caller in (bearer("vic", Role.VIEWER), bearer("lola", Role.VIEWER, Role.LOCKER_ADMIN)):
            with pytest.raises(AccessDenied):
                await world.lease(caller)
        with pytest.raises(NotFound):
            await world.lease(bearer("otto", Role.AUDITOR))

    @pytest.mark.parametrize("caller", [LOLA, MONA, ADA], ids=lambda caller: caller.identity.id)
    async def test_locker_admins_managers_and_administrators_get_no_value(self, world: World, caller: Caller) -> None:
        with pytest.raises(AccessDenied):
            await world.lease(caller)
        assert (await told(world, "access.denied"), await told(world, "lease.created")) == (["denied"], [])

    async def test_a_part_in_another_locker_is_worth_nothing(self, world: World) -> None:
        await make_locker(world, name="treasury")
        await let_consume(world, "treasury-bots", locker="treasury")
        with pytest.raises(NotFound):
            await world.lease(bearer("tess", of=("treasury-bots",)))

    async def test_a_limit_of_leases_counts_consumers_too(self, world: World) -> None:
        await world.update(policy={"maxLeases": 1})
        await world.lease(CARA)
        with pytest.raises(LeaseLimitReached):
            await world.lease(CARL)


async def drop_the_role(world: World) -> object:
    return await world.vault.lockers.remove_consumer(ALICE, "finance", BOTS, world.clock())


async def delete_the_locker(world: World) -> None:
    await world.vault.lockers.delete(ALICE, "finance", None, world.clock())


async def take_it_out(world: World) -> object:
    return await take_out(world, "db-password")


async def move_it_to_another_locker(world: World) -> object:
    await take_out(world, "db-password")
    await make_locker(world, name="treasury")
    return await put_in(world, "db-password", locker="treasury")


ENDS: dict[str, Change] = {
    "the role is no consumer any longer": drop_the_role,
    "the locker is deleted": delete_the_locker,
    "the credential is taken out": take_it_out,
    "the credential is in another locker": move_it_to_another_locker,
}


@pytest.mark.parametrize("how", ENDS)
class TestEnds:
    async def test_neither_lease_nor_renewal_is_granted_any_longer_by_a_worker_that_remembers(
        self, world: World, how: str
    ) -> None:
        other = another_worker(world)
        granted = await other.grants.grant(CARA, "db-password", None, None, NOON)
        await other.leases.renew(CARA, granted.lease.id, None, None, NOON)
        await ENDS[how](world)
        running = await self.running(world)
        with pytest.raises(NotFound):
            await other.grants.grant(CARA, "db-password", None, None, NOON)
        with pytest.raises(NotFound):
            await other.leases.renew(CARA, granted.lease.id, None, None, NOON)
        assert await self.running(world) == running == 1
        assert await other.grants.grant(ALICE, "db-password", None, None, NOON)

    async def running(self, world: World) -> int:
        credential = (await world.vault.credentials.read(ALICE, "db-password", NOON)).credential
        return (await world.vault.leases.outstanding("contoso", credential.id, NOON)).total()

    async def test_a_repeated_request_is_decided_on_what_holds_now(self, world: World, how: str) -> None:
        other, once = another_worker(world), Once("key", "lease", b"{}")
        await other.grants.grant(CARA, "db-password", None, once, NOON)
        await ENDS[how](world)
        with pytest.raises(NotFound):
            await other.grants.grant(CARA, "db-password", None, once, NOON)

    async def test_a_lease_that_is_being_granted_by_a_worker_that_remembers_is_given_before_the_end_or_not_at_all(
        self, how: str
    ) -> None:
        async def lease(worker: Vault) -> object:
            return await worker.grants.grant(CARA, "db-password", None, None, NOON)

        outcomes = set()
        async for moment in at_every_moment(shared, lease, ENDS[how], before=lease):
            outcomes.add(moment.came_through)
            assert moment.came_through or isinstance(moment.answer, NotFound)
            with pytest.raises(NotFound):
                await lease(moment.worker)
            assert await self.running(moment.world) == 1 + moment.came_through
            await assert_sound(moment.world)
        assert False in outcomes

    async def test_values_are_not_read_any_longer_either(self, world: World, how: str) -> None:
        other = another_worker(world)
        assert await other.values.read_one(CARA, "db-password", "value", NOON)
        await ENDS[how](world)
        with pytest.raises(NotFound):
            await other.values.read_one(CARA, "db-password", "value", NOON)


class TestMembersWhoGo:
    @pytest.mark.parametrize("member", [MANU, DORA], ids=lambda caller: caller.identity.id)
    async def test_one_who_is_no_member_or_participates_only_gets_no_more_values(
        self, world: World, member: Caller
    ) -> None:
        other = another_worker(world)
        for permissions in ((PARTICIPATE,), ()):
            await join(world, member, MANAGE)
            lease = (await other.grants.grant(member, "db-password", None, None, NOON)).lease
            await join(world, member, *permissions)
            with pytest.raises(NotFound):
                await other.grants.grant(member, "db-password", None, None, NOON)
            with pytest.raises(NotFound):
                await other.leases.renew(member, lease.id, None, None, NOON)

    async def test_one_who_comes_is_served_at_once_by_a_worker_that_remembers_otherwise(self, world: World) -> None:
        other = another_worker(world)
        await other.grants.grant(ALICE, "db-password", None, None, NOON)
        newcomer = bearer("tess", of=("treasury-bots",))
        with pytest.raises(NotFound):
            await other.grants.grant(newcomer, "db-password", None, None, NOON)
        await let_consume(world, "treasury-bots")
        assert await other.grants.grant(newcomer, "db-password", None, None, NOON)

    async def test_one_whom_the_policy_allows_as_well_goes_on(self, world: World) -> None:
        other = another_worker(world)
        await world.update(policy={"allowedIdentities": [{"type": "human", "email": "cara@*"}]})
        lease = (await other.grants.grant(CARA, "db-password", None, None, NOON)).lease
        await delete_the_locker(world)
        assert await other.grants.grant(CARA, "db-password", None, None, NOON)
        assert await other.leases.renew(CARA, lease.id, None, None, NOON)

    async def test_a_former_owner_who_is_none_of_its_people_is_not_served(self, world: World) -> None:
        other = another_worker(world)
        await other.grants.grant(ALICE, "db-password", None, None, NOON)
        await world.vault.credentials.transfer(ALICE, "db-password", "id-bob", NOON)
        await world.vault.lockers.set_member(DORA, "finance", "id-alice", (), NOON)
        with pytest.raises(NotFound):
            await other.grants.grant(ALICE, "db-password", None, None, NOON)
        assert await other.grants.grant(BOB, "db-password", None, None, NOON)


async def shared_login() -> World:
    world = new_world()
    await create_login(world)
    await share(world, "sap")
    return world


class TestOwnValuesInLeases:
    async def test_a_lease_holds_the_standard_values_and_the_callers_own_in_the_order_of_the_attributes(self) -> None:
        world = await shared_login()
        await give_own(world, CARA, pin="1111", user="cara")
        granted = await world.lease(CARA, "sap")
        assert list(plain(granted.fields).items()) == [
            ("host", "sap.example"),
            ("password", "standard secret"),
            ("user", "cara"),
            ("pin", "1111"),
        ]
        assert json.loads(granted.value.get_secret_value()) == plain(granted.fields)

    async def test_a_lease_waits_for_all_of_the_callers_own_values_and_names_what_lacks(self) -> None:
        world = await shared_login()
        for given, lacking in (({}, "user, pin"), ({"user": "cara"}, "pin")):
            if given:
                await give_own(world, CARA, **given)
            with pytest.raises(CredentialIncomplete) as refused:
                await world.lease(CARA, "sap")
            assert lacking in refused.value.detail
        assert await told(world, "lease.created") == []

    async def test_a_lease_waits_for_all_standard_values_and_names_what_lacks(self) -> None:
        world = new_world()
        await create_login(world, fields={"host": "sap.example"})
        await give_own(world, ALICE, user="a", pin="1")
        with pytest.raises(CredentialIncomplete) as refused:
            await world.lease(ALICE, "sap")
        assert "password" in refused.value.detail
        await give_standard(world, password="p")
        assert await world.lease(ALICE, "sap")

    async def test_a_credential_of_only_user_provided_values_is_leased_without_any_of_its_own(self) -> None:
        world = new_world()
        pin = [{"name": "pin", "userProvided": True}]
        await create_login(world, attributes=pin, fields={})
        await give_own(world, ALICE, pin="1111")
        granted = await world.lease(ALICE, "sap")
        assert (granted.value.get_secret_value(), granted.lease.version) == ("1111", 0)
        assert await world.vault.leases.renew(ALICE, granted.lease.id, None, None, NOON)

    async def test_ones_own_value_that_is_replaced_while_a_lease_is_granted_is_the_old_or_the_new_one(self) -> None:
        async def begin() -> World:
            world = await shared_login()
            await give_own(world, CARA, user="cara", pin="old")
            return world

        async def lease(worker: Vault) -> Granted:
            return await worker.grants.grant(CARA, "sap", None, None, NOON)

        seen = set()
        async for moment in at_every_moment(begin, lease, lambda world: give_own(world, CARA, pin="new"), before=lease):
            assert isinstance(moment.answer, Granted)
            seen.add(plain(moment.answer.fields)["pin"])
            assert plain((await lease(moment.worker)).fields)["pin"] == "new"
            await assert_sound(moment.world, settled=True)
        assert "new" in seen
        assert seen <= {"old", "new"}

    async def test_ones_own_value_that_is_removed_while_a_lease_is_granted_ends_in_a_refusal_or_the_old_one(
        self,
    ) -> None:
        async def begin() -> World:
            world = await shared_login()
            await give_own(world, CARA, user="cara", pin="old")
            return world

        async def lease(worker: Vault) -> Granted:
            return await worker.grants.grant(CARA, "sap", None, None, NOON)

        async for moment in at_every_moment(
            begin, lease, lambda world: world.vault.values.forget_own(CARA, "sap", NOON), before=lease
        ):
            assert isinstance(moment.answer, Granted | CredentialIncomplete)
            with pytest.raises(CredentialIncomplete):
                await lease(moment.worker)

    async def test_a_repeated_request_gets_the_same_lease_with_the_callers_own_values(self) -> None:
        world = await shared_login()
        await give_own(world, CARA, user="cara", pin="1111")
        once = Once("key", "lease", b"{}")
        grant = partial(world.vault.grants.grant, CARA, "sap", None, once, NOON)
        first, again = await grant(), await grant()
        assert (again.lease.id, plain(again.fields)) == (first.lease.id, plain(first.fields))
        await give_own(world, CARA, pin="2222")
        assert plain((await grant()).fields)["pin"] == "2222"
        await give_standard(world, password="new")
        assert plain((await grant()).fields)["password"] == "standard secret"  # the lease is on the version before
        assert (await told(world, "lease.created"), await told(world, "value.read")) == (["allowed"], ["allowed"] * 3)
        await world.vault.values.forget_own(CARA, "sap", NOON)
        with pytest.raises(CredentialIncomplete):
            await grant()
        credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
        assert (await world.vault.leases.outstanding("contoso", credential.id, NOON)).total() == 1

    async def test_the_same_request_sent_twice_at_once_gets_one_lease(self) -> None:
        world = await shared_login()
        await give_own(world, CARA, user="cara", pin="1111")
        once = Once("key", "lease", b"{}")
        answers = await at_once(*(world.vault.grants.grant(CARA, "sap", None, once, world.clock()) for _ in range(3)))
        ids = {answer.lease.id for answer in answers if isinstance(answer, Granted)}
        assert len(ids) == 1
        credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
        assert (await world.vault.leases.outstanding("contoso", credential.id, NOON)).total() == 1
        await assert_sound(world)

    async def test_a_limit_of_leases_is_kept_with_own_values(self) -> None:
        world = await shared_login()
        await world.update(reference="sap", policy={"maxLeases": 1})
        for consumer in (CARA, CARL):
            await give_own(world, consumer, user="x", pin="1")
        granted = await at_once(world.lease(CARA, "sap"), world.lease(CARL, "sap"))
        assert sum(isinstance(answer, Granted) for answer in granted) == 1

    async def test_nothing_of_ones_own_is_needed_for_a_renewal(self) -> None:
        world = await shared_login()
        await give_own(world, CARA, user="cara", pin="1111")
        lease = (await world.lease(CARA, "sap")).lease
        await world.vault.values.forget_own(CARA, "sap", NOON)
        assert await world.vault.leases.renew(CARA, lease.id, None, None, NOON)

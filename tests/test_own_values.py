"""The values that consumers give for themselves: whose they are, how they change, and when they go."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import SecretStr

from tests.faults import Crash, Plan
from tests.interleaving import at_every_moment
from tests.sharing import (
    BOTS,
    CARA,
    CARL,
    MANAGE,
    PARTICIPATE,
    as_defined,
    assert_sound,
    at_once,
    attribute,
    bearer,
    create_login,
    give_own,
    join,
    new_world,
    plain,
    put_in,
    redefine,
    share,
    take_out,
    told,
)
from tests.sweeping import contents_of
from tests.vaults import ALICE, BOB, LOLA, MONA, NOON, VIC, World
from vault_core.credential import Credential
from vault_core.errors import (
    AccessDenied,
    CredentialIncomplete,
    CredentialRevoked,
    InvalidInput,
    NotFound,
    SecretDisabled,
    SecretMissing,
    ValueRefused,
)
from vault_core.identities import Caller, Identity
from vault_core.vault import Vault


@pytest.fixture
async def world() -> World:
    """A credential with two user-provided attributes in a locker that Cara and Carl consume."""
    return await shared_login()


async def shared_login() -> World:
    world = new_world()
    await create_login(world)
    await share(world, "sap")
    return world


async def own(world: World, caller: Caller) -> dict[str, str]:
    """What the caller gets of its own values when it leases."""
    fields = plain((await world.lease(caller, "sap")).fields)
    return {name: fields[name] for name in ("user", "pin") if name in fields}


async def marks(world: World, caller: Caller) -> dict[str, int]:
    """The attributes that the caller gave values for, and how often each was changed."""
    credential = (await world.vault.credentials.read(LOLA, "sap", world.clock())).credential
    given = (await world.vault.values.given_by(caller)).get(credential.id)
    names = {one.id: one.name for one in credential.attributes}
    return {names.get(key, key): mark.revision for key, mark in given.marks.items()} if given else {}


async def kept(world: World) -> list[str]:
    """The names of all values that the stores hold of consumers."""
    contents = await contents_of(world)
    return [own.secret for own in contents.own.values()]


class TestSetting:
    async def test_each_consumer_gets_its_own_values_and_nobody_elses(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        await give_own(world, CARL, user="carl", pin="2222")
        assert await own(world, CARA) == {"user": "cara", "pin": "1111"}
        assert await own(world, CARL) == {"user": "carl", "pin": "2222"}
        with pytest.raises(CredentialIncomplete):
            await own(world, ALICE)
        await assert_sound(world)

    async def test_what_is_left_out_stays_and_what_is_given_again_counts(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        world.clock.pass_by(minutes=1)
        shown = await give_own(world, CARA, PIN="3333")
        assert {one.attribute.name: (one.mark.revision, one.consumer_id, one.value) for one in shown} == {
            "user": (0, "id-cara", None),
            "pin": (1, "id-cara", None),
        }
        assert await own(world, CARA) == {"user": "cara", "pin": "3333"}
        assert len(await kept(world)) == 1
        await assert_sound(world, settled=True)

    async def test_the_same_values_again_change_and_tell_nothing(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        before = await kept(world)
        await give_own(world, CARA, pin="1111")
        assert await kept(world) == before
        assert await marks(world, CARA) == {"user": 0, "pin": 0}
        assert await told(world, "value.written") == ["allowed"]

    async def test_it_takes_the_right_to_lease(self, world: World) -> None:
        await join(world, BOB, PARTICIPATE)
        await join(world, VIC, MANAGE)
        for caller, refusal in ((BOB, NotFound), (VIC, AccessDenied), (LOLA, AccessDenied), (MONA, AccessDenied)):
            with pytest.raises(refusal):
                await give_own(world, caller, user="x")
        await give_own(world, ALICE, user="alice")
        assert await marks(world, ALICE) == {"user": 0}
        assert len(await kept(world)) == 1

    @pytest.mark.parametrize("named", [{"password": "hunter2"}, {"user": "cara", "unknown": "hunter2"}, {"pin": ""}])
    async def test_what_is_no_value_of_ones_own_is_refused_whole(self, world: World, named: dict[str, str]) -> None:
        with pytest.raises(ValueRefused) as refused:
            await give_own(world, CARA, **named)
        assert "hunter2" not in repr([refused.value, *refused.value.errors])
        assert await marks(world, CARA) == {}

    async def test_all_of_a_consumers_values_together_fit_into_one_secret(self, world: World) -> None:
        await give_own(world, CARA, user="x" * 12_000)
        with pytest.raises(ValueRefused):
            await give_own(world, CARA, pin="y" * 13_000)
        assert await marks(world, CARA) == {"user": 0}
        assert await told(world, "value.written") == ["allowed"]
        await assert_sound(world, settled=True)

    async def test_a_revoked_credential_takes_none(self, world: World) -> None:
        await world.revoke(reference="sap")
        with pytest.raises(CredentialRevoked):
            await give_own(world, CARA, user="cara")
        assert await kept(world) == []

    async def test_every_value_that_is_written_is_told_with_its_attributes_and_never_the_value(
        self, world: World
    ) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        [event] = [one for one in await world.audit() if one.event == "value.written"]
        assert (event.identity, event.credential_name) == (CARA.identity, "sap")
        assert event.details["attributes"] == ["user", "pin"]
        assert "1111" not in repr(event)


class TestAtOnce:
    async def test_two_requests_of_one_consumer_both_come_through(self, world: World) -> None:
        await at_once(give_own(world, CARA, user="cara"), give_own(world, CARA, pin="1111"))
        assert await own(world, CARA) == {"user": "cara", "pin": "1111"}
        await assert_sound(world, settled=True)

    async def test_consumers_who_give_at_the_same_time_do_not_hinder_each_other(self, world: World) -> None:
        people = [bearer(f"bot-{number}") for number in range(12)]
        await at_once(*(give_own(world, one, user=one.identity.id, pin="1") for one in people))
        for one in people:
            assert await own(world, one) == {"user": one.identity.id, "pin": "1"}

    async def test_what_is_given_while_the_attribute_goes_does_not_stay(self) -> None:
        async def remove_the_pin(world: World) -> Credential:
            await take_out(world, "sap")
            credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
            after = await redefine(world, credential, as_defined(credential, "host", "password", "user"))
            await put_in(world, "sap")
            return after

        async def give(worker: Vault) -> object:
            values = {"user": SecretStr("cara"), "pin": SecretStr("1111")}
            return await worker.values.set_own(CARA, "sap", values, NOON)

        refused = 0
        async for moment in at_every_moment(shared_login, give, remove_the_pin):
            assert set(await marks(moment.world, CARA)) <= {"user"}
            refused += isinstance(moment.answer, ValueRefused | InvalidInput)
            await assert_sound(moment.world, settled=True)
        assert refused

    async def test_what_is_given_while_the_credential_is_revoked_or_deleted_is_not_left_readable(self) -> None:
        async def give(worker: Vault) -> object:
            return await worker.values.set_own(CARA, "sap", {"user": SecretStr("cara")}, NOON)

        async def delete(world: World) -> None:
            await take_out(world, "sap")
            await world.vault.credentials.delete(ALICE, "sap", None, NOON)

        async for moment in at_every_moment(shared_login, give, lambda world: world.revoke(reference="sap")):
            await assert_sound(moment.world, settled=True)
        async for moment in at_every_moment(shared_login, give, delete):
            assert await kept(moment.world) == []
            await assert_sound(moment.world, settled=True)

    async def test_what_is_replaced_by_another_worker_meanwhile_is_merged_not_lost(self) -> None:
        async def give(worker: Vault) -> object:
            return await worker.values.set_own(CARA, "sap", {"user": SecretStr("cara")}, NOON)

        async for moment in at_every_moment(shared_login, give, lambda world: give_own(world, CARA, pin="1111")):
            assert moment.came_through
            assert await own(moment.world, CARA) == {"user": "cara", "pin": "1111"}
            await assert_sound(moment.world, settled=True)


class TestRemoving:
    async def test_a_consumer_forgets_what_it_gave_and_only_that(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        await give_own(world, CARL, user="carl", pin="2222")
        await world.vault.values.forget_own(CARA, "sap", NOON)
        await world.vault.values.forget_own(CARA, "sap", NOON)
        assert await marks(world, CARA) == {}
        assert await own(world, CARL) == {"user": "carl", "pin": "2222"}
        assert await told(world, "value.written") == ["allowed"] * 3
        await assert_sound(world, settled=True)

    async def test_a_single_value_goes_and_with_the_last_one_the_whole_set(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        credential = (await world.vault.credentials.read(CARA, "sap", NOON)).credential
        remove = world.vault.values.remove
        await remove(CARA, "sap", attribute(credential, "pin").id, NOON)
        assert await marks(world, CARA) == {"user": 0}
        with pytest.raises(NotFound):
            await remove(CARA, "sap", attribute(credential, "pin").id, NOON)
        await remove(CARA, "sap", attribute(credential, "user").id, NOON)
        assert await kept(world) == []
        await assert_sound(world, settled=True)

    async def test_one_who_lost_its_part_can_no_longer_touch_what_it_gave(self, world: World) -> None:
        await give_own(world, CARA, user="cara")
        await world.vault.lockers.remove_consumer(ALICE, "finance", BOTS, NOON)
        for attempt in (give_own(world, CARA, pin="1"), world.vault.values.forget_own(CARA, "sap", NOON)):
            with pytest.raises(NotFound):
                await attempt
        assert len(await kept(world)) == 1

    async def test_deleting_the_credential_destroys_them(self, world: World) -> None:
        for consumer in (CARA, CARL, ALICE):
            await give_own(world, consumer, user="x")
        secrets = await kept(world)
        await take_out(world, "sap")
        await world.vault.credentials.delete(ALICE, "sap", None, NOON)
        assert await kept(world) == []
        for secret in secrets:
            with pytest.raises(SecretMissing):
                await world.stores.secrets.read(secret)
        await assert_sound(world, settled=True)

    async def test_a_name_that_is_taken_again_has_none_of_its_former_life(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        await take_out(world, "sap")
        await world.vault.credentials.delete(ALICE, "sap", None, NOON)
        await create_login(world)
        await put_in(world, "sap")
        assert await marks(world, CARA) == {}
        with pytest.raises(CredentialIncomplete):
            await world.lease(CARA, "sap")

    async def test_revoking_the_credential_disables_them_until_they_are_destroyed_with_it(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        [secret] = await kept(world)
        await world.revoke(reference="sap")
        with pytest.raises(SecretDisabled):
            await world.stores.secrets.read(secret)
        retention = (await world.vault.tenants.rules("contoso")).retention
        world.clock.now += retention - timedelta(minutes=1)
        await world.vault.reconcile()
        assert await kept(world) == [secret]
        await assert_sound(world)
        world.clock.pass_by(minutes=2)
        await world.vault.reconcile()
        assert await kept(world) == []
        with pytest.raises(SecretMissing):
            await world.stores.secrets.read(secret)
        await assert_sound(world, settled=True)


class TestPruning:
    async def lose(self, world: World, *names: str, **changes: object) -> Credential:
        """Take the credential out of its locker and leave it with the attributes of these names."""
        await take_out(world, "sap")
        credential = (await world.vault.credentials.read(ALICE, "sap", world.clock())).credential
        return await redefine(world, credential, as_defined(credential, *names, **changes))

    async def test_values_of_an_attribute_that_goes_are_destroyed_and_others_stay(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        await give_own(world, CARL, pin="2222")
        secrets = await kept(world)
        await self.lose(world, "host", "password", "user")
        assert (await marks(world, CARA), await marks(world, CARL)) == ({"user": 0}, {})
        for secret in secrets:
            with pytest.raises(SecretMissing):
                await world.stores.secrets.read(secret)
        await put_in(world, "sap")
        assert await own(world, CARA) == {"user": "cara"}
        await assert_sound(world, settled=True)

    async def test_values_of_an_attribute_that_has_one_value_for_all_from_now_on_are_destroyed(
        self, world: World
    ) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        await self.lose(world, user_provided=False)
        assert await marks(world, CARA) == {}
        credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
        assert credential.lacks == ["user", "pin"]
        await assert_sound(world, settled=True)

    async def test_a_new_name_keeps_the_values(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        await take_out(world, "sap")
        credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
        definitions = as_defined(credential)
        definitions[3]["name"] = "token"
        await redefine(world, credential, definitions)
        await put_in(world, "sap")
        assert plain((await world.lease(CARA, "sap")).fields)["token"] == "1111"
        assert await told(world, "value.written") == ["allowed"]

    async def test_a_change_that_is_cut_short_anywhere_is_finished_by_the_timer(self) -> None:
        for call in range(1, 60):
            world = await shared_login()
            for consumer in (CARA, CARL):
                await give_own(world, consumer, user="x", pin="1111")
            await take_out(world, "sap")
            credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
            world.restart(Plan(crash_after=call))
            try:
                await redefine(world, credential, as_defined(credential, "host", "password", "user"))
                break
            except Crash:
                world.restart()
            await assert_sound(world)
            gone = len((await world.vault.credentials.read(ALICE, "sap", NOON)).credential.attributes) == 3
            world.clock.pass_by(minutes=11)
            await world.vault.reconcile()
            assert set(await marks(world, CARA)) == set(await marks(world, CARL))
            assert ("pin" in await marks(world, CARA)) is not gone
            await assert_sound(world, settled=True)
        else:
            raise AssertionError("it never came to its end")
        assert call > 12

    async def test_a_change_that_was_cut_short_before_a_revocation_keeps_no_timer_busy(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        await take_out(world, "sap")
        credential = (await world.vault.credentials.read(ALICE, "sap", NOON)).credential
        await self.stopped_before_pruning(world, credential)
        await world.revoke(reference="sap")
        world.clock.pass_by(minutes=11)
        report = await world.vault.reconcile()
        assert report.failed == 0
        world.clock.now += (await world.vault.tenants.rules("contoso")).retention
        await world.vault.reconcile()
        assert await kept(world) == []

    async def stopped_before_pruning(self, world: World, credential: Credential) -> None:
        """Remove an attribute, and stop the process as soon as that is written."""
        for call in range(1, 20):
            world.restart(Plan(crash_after=call))
            with pytest.raises(Crash):
                await redefine(world, credential, as_defined(credential, "host", "password", "user"))
            world.restart()
            if len((await world.vault.credentials.read(ALICE, "sap", NOON)).credential.attributes) == 3:
                return


class TestConsumersIds:
    @pytest.mark.parametrize("ids", [("id", "id|x"), ("a|b", "a"), ("x", "x|y|z")], ids=str)
    async def test_an_id_that_begins_like_anothers_shows_nothing_of_it(
        self, world: World, ids: tuple[str, str]
    ) -> None:
        first, second = (
            Caller("contoso", Identity(kind="human", id=one), CARA.roles, frozenset({one}), CARA.other_roles)
            for one in ids
        )
        await give_own(world, first, user="first", pin="1")
        await give_own(world, second, user="second", pin="2")
        assert await own(world, first) == {"user": "first", "pin": "1"}
        for caller in (first, second):
            [given] = (await world.vault.values.given_by(caller)).values()
            assert given.consumer_id == caller.identity.id
        await world.vault.values.forget_own(first, "sap", NOON)
        assert await own(world, second) == {"user": "second", "pin": "2"}

    async def test_what_one_gave_is_found_however_much_there_is(self, world: World) -> None:
        for number in range(3):
            await create_login(world, name=f"login-{number}")
            await put_in(world, f"login-{number}")
            await give_own(world, CARA, f"login-{number}", user="cara")
        await give_own(world, CARL, "login-1", user="carl")
        given = await world.vault.values.given_by(CARA)
        assert len(given) == 3
        assert all(key == own.credential_id for key, own in given.items())

    async def test_another_tenants_consumer_of_the_same_id_has_given_nothing(self, world: World) -> None:
        await give_own(world, CARA, user="cara")
        elsewhere = Caller("fabrikam", CARA.identity, CARA.roles, CARA.aliases, CARA.other_roles)
        assert await world.vault.values.given_by(elsewhere) == {}
        with pytest.raises(NotFound):
            await give_own(world, elsewhere, user="x")

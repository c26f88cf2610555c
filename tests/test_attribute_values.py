"""Single values: read, written and removed apart from leases, and what a change of the attributes does to them."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from tests.faults import Fault, Plan
from tests.interleaving import at_every_moment
from tests.sharing import (
    CARA,
    CARL,
    DORA,
    MANAGE,
    PARTICIPATE,
    assert_sound,
    at_once,
    attribute,
    create_login,
    give_own,
    give_standard,
    join,
    new_world,
    plain,
    read_values,
    share,
    told,
)
from tests.vaults import ADA, ALICE, BOB, LOLA, MONA, NOON, VIC, World
from vault_core.credential import Credential
from vault_core.errors import (
    AccessDenied,
    CredentialExpired,
    CredentialIncomplete,
    CredentialNotUsable,
    CredentialRevoked,
    InvalidInput,
    NotFound,
    StaleVersion,
    Unavailable,
    ValueRefused,
    VersionRotated,
)
from vault_core.grants import Granted
from vault_core.identities import Caller
from vault_core.lease import LeaseState
from vault_core.policies import LeasePolicy
from vault_core.tenants import ReplaceTenantRules
from vault_core.vault import Vault

ALL_VALUES = {"host": "sap.example", "password": None, "user": "cara", "pin": None}


@pytest.fixture
async def world() -> World:
    """A credential with two standard and two user-provided attributes in a locker that Cara consumes."""
    return await shared_login()


async def shared_login() -> World:
    world = new_world()
    await create_login(world)
    await share(world, "sap")
    return world


async def the_login(world: World) -> Credential:
    return (await world.vault.credentials.read(LOLA, "sap", world.clock())).credential


async def read_one(world: World, caller: Caller, name: str) -> str | None:
    """The value of one attribute, or None when there is none."""
    one = attribute(await the_login(world), name)
    shown = await world.vault.values.read_one(caller, "sap", one.id, world.clock())
    return shown[0].value.get_secret_value() if shown and shown[0].value else None


async def write(
    world: World, caller: Caller, values: dict[str, str], revision: int | None = None
) -> dict[str, tuple[int, str | None]]:
    """Set values by the attributes' names; return the revision of each mark, and whose own it is."""
    credential = await the_login(world)
    given = {attribute(credential, name).id: SecretStr(text) for name, text in values.items()}
    shown = await world.vault.values.write(caller, "sap", given, revision, world.clock())
    assert all(one.value is None for one in shown)
    return {one.attribute.name: (one.mark.revision, one.consumer_id) for one in shown}


class TestReading:
    async def test_all_values_are_read_but_masked_ones_are_not_opened(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        assert await read_values(world.vault, CARA, "sap", world) == ALL_VALUES
        [event] = [one for one in await world.audit() if one.event == "value.read"]
        assert (event.identity, event.details) == (CARA.identity, {"attributes": ["host", "user"], "version": 1})

    async def test_a_masked_value_is_opened_when_it_is_asked_for_by_itself(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        assert await read_one(world, CARA, "password") == "standard secret"
        assert await read_one(world, CARA, "pin") == "1111"
        assert [one.details["attributes"] for one in await world.audit() if one.event == "value.read"] == [
            ["pin"],
            ["password"],
        ]

    async def test_what_has_no_value_is_not_there(self, world: World) -> None:
        assert await read_values(world.vault, CARA, "sap", world) == {"host": "sap.example", "password": None}
        assert await read_one(world, CARA, "pin") is None
        assert await told(world, "value.read") == ["allowed"]

    async def test_only_masked_values_are_read_without_a_call_to_the_secrets_and_without_telling(self) -> None:
        world = new_world()
        await create_login(world, attributes=[{"name": "password"}], fields={"password": "p"})
        world.clock.pass_by(minutes=2)  # the value is remembered no longer
        world.ledger.calls.clear()
        assert await read_values(world.vault, ALICE, "sap", world) == {"password": None}
        assert world.ledger.count("secrets") == 0
        assert await told(world, "value.read") == []

    async def test_nobody_reads_what_another_gave(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        for caller in (ALICE, CARL):
            assert await read_values(world.vault, caller, "sap", world) == {"host": "sap.example", "password": None}
            assert await read_one(world, caller, "pin") is None

    async def test_it_takes_the_right_to_lease(self, world: World) -> None:
        await join(world, BOB, PARTICIPATE)
        await join(world, VIC, MANAGE)
        await join(world, DORA, MANAGE)
        for caller in (ALICE, CARA, DORA):
            assert "host" in await read_values(world.vault, caller, "sap", world)
        for caller, refusal in ((LOLA, AccessDenied), (VIC, AccessDenied), (MONA, AccessDenied), (BOB, NotFound)):
            with pytest.raises(refusal):
                await read_values(world.vault, caller, "sap", world)
            with pytest.raises(refusal):
                await read_one(world, caller, "password")
        assert await told(world, "value.read") == ["allowed"] * 3

    async def test_an_attribute_of_another_credential_is_none_of_this_one(self, world: World) -> None:
        other = await create_login(world, name="other")
        with pytest.raises(InvalidInput):
            await world.vault.values.read_one(ALICE, "sap", other.attributes[0].id, NOON)

    async def test_a_credential_that_cannot_be_used_hands_nothing_out(self, world: World) -> None:
        credentials = world.vault.credentials
        await credentials.suspend(ALICE, "sap", None, None, NOON)
        with pytest.raises(CredentialNotUsable):
            await read_values(world.vault, CARA, "sap", world)
        await credentials.resume(ALICE, "sap", None, None, NOON)
        await world.update(reference="sap", validFrom="2026-11-21T13:00:00Z", validUntil="2026-11-21T14:00:00Z")
        with pytest.raises(CredentialNotUsable):
            await read_values(world.vault, CARA, "sap", world)
        world.clock.pass_by(hours=1)
        assert await read_values(world.vault, CARA, "sap", world)
        world.clock.pass_by(hours=1)
        with pytest.raises(CredentialExpired):
            await read_values(world.vault, CARA, "sap", world)
        await world.revoke(reference="sap")
        with pytest.raises(CredentialRevoked):
            await read_values(world.vault, CARA, "sap", world)

    @pytest.mark.parametrize("where", ["credential", "tenant"])
    async def test_values_that_are_counted_out_are_leased_not_read(self, world: World, where: str) -> None:
        if where == "credential":
            await world.update(reference="sap", policy={"maxLeases": 3})
        else:
            rules = ReplaceTenantRules(defaults=LeasePolicy(max_leases=3))
            await world.vault.tenants.replace(ADA, rules, None, NOON)
        with pytest.raises(CredentialNotUsable):
            await read_values(world.vault, ALICE, "sap", world)
        with pytest.raises(CredentialNotUsable):
            await read_one(world, ALICE, "password")

    async def test_what_the_values_of_a_type_are_called_is_known(self, world: World) -> None:
        await world.create()
        assert await read_values(world.vault, ALICE, "db-password", world) == {"value": None}
        [shown] = await world.vault.values.read_one(ALICE, "db-password", "value", NOON)
        assert shown.value == SecretStr("correct horse")

    async def test_no_value_is_handed_out_that_cannot_be_told(self, world: World) -> None:
        world.restart()
        await read_values(world.vault, ALICE, "sap", world)
        [number] = [call.number for call in world.ledger.calls if call.store == "audit"]
        world.restart(Plan(faults={number: Fault()}))
        with pytest.raises(Unavailable):
            await read_values(world.vault, ALICE, "sap", world)

    async def test_ones_own_values_that_are_replaced_meanwhile_are_the_old_or_the_new_ones(self) -> None:
        async def begin() -> World:
            world = await shared_login()
            await give_own(world, CARA, user="old", pin="1111")
            return world

        async def read(worker: Vault) -> object:
            shown = await worker.values.read_all(CARA, "sap", NOON)
            return {one.attribute.name: one.value for one in shown}

        seen = set()
        async for moment in at_every_moment(begin, read, lambda world: give_own(world, CARA, user="new")):
            assert isinstance(moment.answer, dict)
            seen.add(moment.answer["user"].get_secret_value())
        assert seen == {"old", "new"}

    async def test_a_revocation_that_comes_meanwhile_leaves_no_way_to_read_afterwards(self) -> None:
        async def read(worker: Vault) -> object:
            return await worker.values.read_all(CARA, "sap", NOON)

        async for moment in at_every_moment(shared_login, read, lambda world: world.revoke(reference="sap")):
            with pytest.raises(CredentialRevoked):
                await read(moment.worker)


class TestWriting:
    async def test_all_standard_values_of_one_request_make_one_version(self, world: World) -> None:
        assert await write(world, ALICE, {"host": "new.example", "password": "new"}) == {
            "host": (1, None),
            "password": (1, None),
        }
        credential = await the_login(world)
        assert [version.number for version in credential.versions] == [1, 2]
        assert plain((await self.leased(world)).fields) | {"user": "", "pin": ""} == {
            "host": "new.example",
            "password": "new",
            "user": "",
            "pin": "",
        }
        [event] = [one for one in await world.audit() if one.event == "credential.rotated"]
        assert event.details == {"version": 2, "attributes": ["host", "password"]}
        await assert_sound(world)

    async def leased(self, world: World) -> Granted:
        await give_own(world, ALICE, user="alice", pin="0")
        return await world.lease(ALICE, "sap")

    async def test_what_is_left_out_stays_and_keeps_its_mark(self, world: World) -> None:
        before = attribute(await the_login(world), "password").value
        world.clock.pass_by(minutes=1)
        await write(world, ALICE, {"host": "new.example"})
        after = await the_login(world)
        assert attribute(after, "password").value == before
        host = attribute(after, "host").value
        assert host
        assert (host.revision, host.updated_at) == (1, world.clock())
        assert await read_one(world, ALICE, "password") == "standard secret"

    async def test_the_same_values_again_make_no_version(self, world: World) -> None:
        assert await write(world, ALICE, {"host": "sap.example", "password": "standard secret"}) == {
            "host": (0, None),
            "password": (0, None),
        }
        assert (await the_login(world)).newest.number == 1
        assert await told(world, "credential.rotated") == []

    async def test_values_that_change_places_are_not_the_same(self, world: World) -> None:
        await write(world, ALICE, {"host": "standard secret", "password": "sap.example"})
        assert await read_one(world, ALICE, "host") == "standard secret"

    async def test_a_first_value_makes_the_first_version(self) -> None:
        world = new_world()
        made = await create_login(world, fields={})
        assert (made.newest.number, made.newest.secret, made.lacks) == (0, None, ["host", "password"])
        after = await give_standard(world, host="h")
        assert ([version.number for version in after.versions], after.lacks) == ([0, 1], ["password"])
        after = await give_standard(world, password="p")
        assert ([version.number for version in after.versions], after.lacks) == ([0, 1, 2], [])
        await assert_sound(world)

    async def test_ones_own_and_standard_values_can_come_together(self, world: World) -> None:
        assert await write(world, ALICE, {"password": "new", "pin": "1111"}) == {
            "password": (1, None),
            "pin": (0, "id-alice"),
        }
        assert await read_one(world, ALICE, "pin") == "1111"
        assert (await the_login(world)).newest.number == 2
        await assert_sound(world)

    async def test_standard_values_are_written_by_who_may_rotate(self, world: World) -> None:
        await join(world, BOB, PARTICIPATE)
        await join(world, DORA, MANAGE)
        for number, caller in enumerate((ALICE, DORA, LOLA, MONA)):
            await write(world, caller, {"password": f"new {number}"})
        with pytest.raises(AccessDenied):
            await write(world, CARA, {"password": "x"})
        with pytest.raises(NotFound):
            await write(world, BOB, {"password": "x"})
        assert await read_one(world, ALICE, "password") == "new 3"

    async def test_one_who_may_write_the_one_kind_may_not_write_the_other_with_it(self, world: World) -> None:
        for caller in (LOLA, CARA):
            with pytest.raises(AccessDenied):
                await write(world, caller, {"password": "x", "pin": "1"})
        assert await read_one(world, CARA, "password") == "standard secret"
        assert await world.vault.values.given_by(CARA) == {}

    async def test_an_unknown_attribute_is_refused_with_all_the_rest(self, world: World) -> None:
        credential = await the_login(world)
        given = {attribute(credential, "host").id: SecretStr("x"), "f" * 16: SecretStr("hunter2")}
        with pytest.raises(InvalidInput) as refused:
            await world.vault.values.write(ALICE, "sap", given, None, NOON)
        assert "hunter2" not in repr([refused.value, *refused.value.errors])
        assert await read_one(world, ALICE, "host") == "sap.example"

    async def test_an_empty_value_is_refused_by_the_attributes_name(self, world: World) -> None:
        with pytest.raises(ValueRefused) as refused:
            await write(world, ALICE, {"password": ""})
        assert [fault.field for fault in refused.value.errors] == ["fields.password"]

    async def test_the_values_of_a_type_are_held_to_its_rules(self, world: World) -> None:
        await world.create(name="url", type="database-url", value="postgresql://a:b@db.example/app")
        given = {"url": SecretStr("mysql://a:b@db.example/app")}
        with pytest.raises(ValueRefused):
            await world.vault.values.write(ALICE, "url", given, None, NOON)
        await world.vault.values.write(ALICE, "url", {"url": SecretStr("postgresql://a:c@db.example/app")}, None, NOON)
        assert (await world.lease(ALICE, "url")).value.get_secret_value() == "postgresql://a:c@db.example/app"

    async def test_who_knows_an_earlier_value_is_refused(self, world: World) -> None:
        await give_own(world, CARA, pin="1111")
        assert await write(world, ALICE, {"password": "second"}, 0) == {"password": (1, None)}
        assert await write(world, CARA, {"pin": "2222"}, 0) == {"pin": (1, "id-cara")}
        for caller, values in ((ALICE, {"password": "third"}), (CARA, {"pin": "3333"})):
            for revision in (0, 2):
                with pytest.raises(StaleVersion):
                    await write(world, caller, values, revision)
        assert (await read_one(world, ALICE, "password"), await read_one(world, CARA, "pin")) == ("second", "2222")

    async def test_a_revoked_credential_takes_no_value(self, world: World) -> None:
        await world.revoke(reference="sap")
        for caller, values in ((ALICE, {"password": "x"}), (CARA, {"pin": "1"})):
            with pytest.raises(CredentialRevoked):
                await write(world, caller, values)

    async def test_leases_on_the_version_before_run_out(self, world: World) -> None:
        await give_own(world, CARA, user="cara", pin="1111")
        lease = (await world.lease(CARA, "sap")).lease
        await write(world, ALICE, {"password": "new"})
        seen = await world.vault.leases.read(CARA, lease.id, NOON)
        assert seen.state is LeaseState.ACTIVE
        with pytest.raises(VersionRotated):
            await world.vault.leases.renew(CARA, lease.id, None, None, NOON)

    async def test_values_of_several_who_write_at_once_all_come_through(self, world: World) -> None:
        await at_once(write(world, ALICE, {"host": "new.example"}), write(world, LOLA, {"password": "new"}))
        assert (await read_one(world, ALICE, "host"), await read_one(world, ALICE, "password")) == (
            "new.example",
            "new",
        )
        assert (await the_login(world)).newest.number == 3
        await assert_sound(world)

    async def test_a_value_another_worker_writes_meanwhile_is_not_lost(self) -> None:
        async def write_host(worker: Vault) -> object:
            credential = (await worker.credentials.read(ALICE, "sap", NOON)).credential
            given = {attribute(credential, "host").id: SecretStr("new.example")}
            return await worker.values.write(ALICE, "sap", given, None, NOON)

        async for moment in at_every_moment(
            shared_login, write_host, lambda world: give_standard(world, LOLA, password="new")
        ):
            world = moment.world
            assert moment.came_through
            assert (await read_one(world, ALICE, "host"), await read_one(world, ALICE, "password")) == (
                "new.example",
                "new",
            )
            await assert_sound(world)


class TestRemoving:
    async def test_a_standard_value_goes_with_a_new_version_that_lacks_it(self, world: World) -> None:
        credential = await the_login(world)
        await world.vault.values.remove(ALICE, "sap", attribute(credential, "host").id, NOON)
        after = await the_login(world)
        assert (after.newest.number, after.lacks) == (2, ["host"])
        assert await read_values(world.vault, ALICE, "sap", world) == {"password": None}
        with pytest.raises(NotFound):
            await world.vault.values.remove(ALICE, "sap", attribute(credential, "host").id, NOON)
        with pytest.raises(CredentialIncomplete):
            await world.lease(ALICE, "sap")
        await assert_sound(world)

    async def test_the_last_one_leaves_a_version_that_holds_nothing(self, world: World) -> None:
        for name in ("host", "password"):
            await world.vault.values.remove(ALICE, "sap", attribute(await the_login(world), name).id, NOON)
        after = await the_login(world)
        assert (after.newest.secret, after.newest.holds_nothing) == (None, True)
        assert await read_values(world.vault, ALICE, "sap", world) == {}
        await give_standard(world, host="h", password="p")
        assert (await the_login(world)).lacks == []
        await assert_sound(world)

    async def test_the_only_value_of_a_type_cannot_go(self, world: World) -> None:
        await world.create()
        with pytest.raises(ValueRefused):
            await world.vault.values.remove(ALICE, "db-password", "value", NOON)
        assert (await world.lease(ALICE)).value.get_secret_value() == "correct horse"

    async def test_consumers_remove_their_own_only(self, world: World) -> None:
        await give_own(world, CARA, pin="1111")
        credential = await the_login(world)
        with pytest.raises(AccessDenied):
            await world.vault.values.remove(CARA, "sap", attribute(credential, "host").id, NOON)
        with pytest.raises(NotFound):
            await world.vault.values.remove(CARL, "sap", attribute(credential, "pin").id, NOON)
        assert await read_one(world, CARA, "pin") == "1111"

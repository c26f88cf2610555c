"""A credential's attributes change: what is kept, what is lost, and what becomes of leases that are out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.interleaving import at_every_moment
from tests.sharing import (
    CARA,
    as_defined,
    assert_sound,
    at_once,
    attribute,
    create_login,
    give_own,
    give_standard,
    new_world,
    plain,
    redefine,
    told,
)
from tests.vaults import ALICE, BOB, LOLA, MONA, NOON, VIC, World
from tests.workers import another_worker
from vault_core.credential import Credential
from vault_core.credential_requests import RedefineCredential
from vault_core.errors import (
    AccessDenied,
    CredentialIncomplete,
    CredentialRevoked,
    InvalidInput,
    NameTaken,
    NotFound,
    SecretMissing,
    StaleVersion,
    VersionRotated,
)
from vault_core.lease import LeaseState
from vault_core.vault import Vault


@pytest.fixture
async def world() -> World:
    """A credential with two standard and two user-provided attributes, which anyone may lease by its policy."""
    return await a_login()


async def a_login() -> World:
    world = new_world()
    await create_login(world, policy={"allowedIdentities": [{"type": "any"}]})
    return world


async def the_login(world: World) -> Credential:
    return (await world.vault.credentials.read(ALICE, "sap", world.clock())).credential


async def test_attributes_that_are_sent_back_keep_their_values_and_no_version_is_made(world: World) -> None:
    before = await the_login(world)
    after = await redefine(world, before, as_defined(before), description="new")
    assert (after.attributes, after.versions) == (before.attributes, before.versions)
    assert (after.description, after.edition, after.revision) == ("new", 1, 1)
    assert await told(world, "credential.updated") == ["allowed"]
    assert await told(world, "credential.rotated") == []


async def test_without_attributes_these_stay(world: World) -> None:
    before = await the_login(world)
    assert (await redefine(world, before, None, description="new")).attributes == before.attributes


async def test_a_standard_attribute_that_goes_takes_its_value_with_it(world: World) -> None:
    before = await the_login(world)
    after = await redefine(world, before, as_defined(before, "password", "user", "pin"))
    assert [one.name for one in after.attributes] == ["password", "user", "pin"]
    assert [(version.number, version.state.value) for version in after.versions] == [(1, "rotated"), (2, "active")]
    world.clock.pass_by(seconds=1)
    await world.vault.reconcile()
    with pytest.raises(SecretMissing):
        await world.stores.secrets.read(before.newest.secret or "")
    await give_own(world, CARA, user="cara", pin="1")
    assert plain((await world.lease(CARA, "sap")).fields) == {"password": "standard secret", "user": "cara", "pin": "1"}
    [event] = [one for one in await world.audit() if one.event == "credential.rotated"]
    assert event.details == {"version": 2, "attributes": ["host"]}
    await assert_sound(world, settled=True)


async def test_a_standard_attribute_that_each_consumer_gives_from_now_on_loses_its_value(world: World) -> None:
    before = await the_login(world)
    definitions = as_defined(before)
    definitions[1]["user_provided"] = True
    after = await redefine(world, before, definitions)
    assert (attribute(after, "password").value, after.newest.number) == (None, 2)
    with pytest.raises(CredentialIncomplete):
        await world.lease(ALICE, "sap")
    await give_own(world, CARA, user="cara", pin="1", password="of cara")
    assert plain((await world.lease(CARA, "sap")).fields)["password"] == "of cara"
    back = as_defined(await the_login(world))
    back[1]["user_provided"] = False
    after = await redefine(world, after, back)
    assert (after.lacks, after.newest.number) == (["password"], 2)
    [given] = (await world.vault.values.given_by(CARA)).values()
    assert set(given.marks) == {one.id for one in after.user_provided}
    await assert_sound(world)


async def test_all_attributes_can_be_replaced_by_others(world: World) -> None:
    before = await the_login(world)
    await give_own(world, CARA, user="cara", pin="1")
    after = await redefine(world, before, [{"name": "token"}])
    assert (after.newest.secret, after.lacks, len(after.attributes)) == (None, ["token"], 1)
    assert await world.vault.values.given_by(CARA) == {}
    await give_standard(world, token="t")
    assert (await world.lease(ALICE, "sap")).value.get_secret_value() == "t"
    await assert_sound(world)


async def test_a_lease_that_is_out_runs_to_its_end_on_the_values_it_was_given(world: World) -> None:
    await give_own(world, CARA, user="cara", pin="1")
    lease = (await world.lease(CARA, "sap", timedelta(minutes=30))).lease
    before = await the_login(world)
    await redefine(world, before, as_defined(before, "host", "user", "pin"))
    world.clock.pass_by(seconds=1)
    await world.vault.reconcile()
    assert (await world.vault.leases.read(CARA, lease.id, NOON)).state is LeaseState.ACTIVE
    assert await world.stores.secrets.read(before.newest.secret or "")
    with pytest.raises(VersionRotated):
        await world.vault.leases.renew(CARA, lease.id, None, None, NOON)
    world.clock.pass_by(minutes=32)
    await world.vault.expire_leases()
    await world.vault.reconcile()
    with pytest.raises(SecretMissing):
        await world.stores.secrets.read(before.newest.secret or "")
    await assert_sound(world, settled=True)


async def test_a_lease_can_be_renewed_when_no_standard_value_was_lost(world: World) -> None:
    await give_own(world, CARA, user="cara", pin="1")
    lease = (await world.lease(CARA, "sap", timedelta(minutes=30))).lease
    before = await the_login(world)
    await redefine(world, before, [*as_defined(before, "host", "password", "user"), {"name": "token"}])
    with pytest.raises(CredentialIncomplete):  # the new attribute has no value yet
        await world.vault.leases.renew(CARA, lease.id, None, None, NOON)
    after = await the_login(world)
    await redefine(world, after, as_defined(after, "host", "password", "user"))
    assert await world.vault.leases.renew(CARA, lease.id, None, None, NOON)


async def test_a_new_name_frees_the_old_one(world: World) -> None:
    before = await the_login(world)
    after = await redefine(world, before, None, name="SAP Prod")
    assert (await world.vault.credentials.read(ALICE, "sap prod", NOON)).credential.id == before.id
    with pytest.raises(NotFound):
        await world.vault.credentials.read(ALICE, "sap", NOON)
    await create_login(world)
    with pytest.raises(NameTaken):
        await redefine(world, after, None, name="SAP")
    assert await told(world, "credential.updated") == ["allowed", "allowed", "failed"]
    await assert_sound(world)


async def test_who_knows_an_earlier_edition_is_refused_but_values_do_not_count(world: World) -> None:
    before = await the_login(world)
    await give_standard(world, password="new")
    await redefine(world, before, as_defined(before), edition=0, description="first")
    with pytest.raises(StaleVersion):
        await redefine(world, before, as_defined(before), edition=0, description="second")
    assert (await the_login(world)).description == "first"


async def test_only_those_who_may_update_redefine(world: World) -> None:
    credential = await the_login(world)
    for caller, refusal in ((BOB, AccessDenied), (LOLA, AccessDenied), (VIC, AccessDenied)):
        with pytest.raises(refusal):
            await redefine(world, credential, as_defined(credential), caller)
    assert await redefine(world, credential, as_defined(credential), MONA)


async def test_the_fields_of_a_type_cannot_change_but_name_and_description_can(world: World) -> None:
    credential = await world.create()
    same = await redefine(world, credential, as_defined(credential), description="new")
    assert (same.attributes, same.description) == (credential.attributes, "new")
    for attributes in ([{"name": "other"}], [*as_defined(credential), {"name": "other"}]):
        with pytest.raises(InvalidInput):
            await redefine(world, credential, attributes)
    assert (await world.lease(ALICE)).value.get_secret_value() == "correct horse"


async def test_a_revoked_credential_stays_as_it_is(world: World) -> None:
    credential = await the_login(world)
    await world.revoke(reference="sap")
    with pytest.raises(CredentialRevoked):
        await redefine(world, credential, as_defined(credential, "host"))


async def test_a_value_that_is_set_meanwhile_is_lost_with_its_attribute_or_the_change_is_refused() -> None:
    async def lose_the_host(worker: Vault) -> object:
        credential = (await worker.credentials.read(ALICE, "sap", NOON)).credential
        wanted = RedefineCredential.model_validate(
            {"name": "sap", "attributes": as_defined(credential, "password", "user", "pin")}
        )
        return await worker.redefinitions.redefine(ALICE, "sap", wanted, None, NOON)

    moments = at_every_moment(a_login, lose_the_host, lambda world: give_standard(world, MONA, password="new"))
    async for moment in moments:
        credential = await the_login(moment.world)
        assert ("host" in [one.name for one in credential.attributes]) is not moment.came_through
        assert credential.lacks == []
        await give_own(moment.world, ALICE, user="a", pin="1")
        assert plain((await moment.world.lease(ALICE, "sap")).fields)["password"] == "new"
        await assert_sound(moment.world)


async def test_a_worker_that_remembers_the_old_name_finds_what_has_it_now(world: World) -> None:
    other = another_worker(world)
    await world.create(name="former", policy={"allowedIdentities": [{"type": "any"}]}, value="first")

    async def lease(reference: str) -> str:
        return (await other.grants.grant(BOB, reference, None, None, NOON)).value.get_secret_value()

    assert await lease("former") == "first"
    await world.update(reference="former", name="latter")
    with pytest.raises(NotFound):
        await lease("former")
    assert await lease("latter") == "first"
    await world.create(name="FORMER", policy={"allowedIdentities": [{"type": "any"}]}, value="second")
    assert (await lease("former"), await lease("latter")) == ("second", "first")


async def test_two_credentials_can_change_names_and_a_worker_that_remembers_both_is_not_fooled(world: World) -> None:
    other = another_worker(world)
    for name in ("one", "two"):
        await world.create(name=name, value=f"value of {name}")
    for name in ("one", "two"):
        await other.grants.grant(ALICE, name, None, None, NOON)
    for before, after in (("one", "three"), ("two", "one"), ("three", "two")):
        await world.update(reference=before, name=after)
    for name, value in (("one", "value of two"), ("two", "value of one")):
        granted = await other.grants.grant(ALICE, name, None, None, NOON)
        assert (granted.value.get_secret_value(), granted.lease.credential_name) == (value, name)


async def test_a_new_name_in_other_letters_is_no_new_name(world: World) -> None:
    await world.create()
    renamed = await world.update(name="DB-PASSWORD")
    assert (renamed.name, renamed.edition) == ("DB-PASSWORD", 1)
    assert (await world.vault.credentials.read(ALICE, "db-password", NOON)).credential.name == "DB-PASSWORD"
    await assert_sound(world)


async def test_two_that_want_one_name_at_once_leave_it_to_one(world: World) -> None:
    for name in ("one", "two"):
        await world.create(name=name)
    answers = await at_once(world.update(reference="one", name="three"), world.update(reference="two", name="Three"))
    assert sorted(type(answer).__name__ for answer in answers) == ["Credential", "NameTaken"]
    await assert_sound(world)

"""Values that others may know: frozen at once, for everybody, until they are others; and told who was given them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import SecretStr

from tests.acting import ONE, send
from tests.faults import Crash, Fault, Plan
from tests.interleaving import at_every_moment
from tests.outbound import accepts
from tests.subscribers import subscribe, told
from tests.sweeping import contents_of, empty_world, twin_of
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, MALLORY, MONA, NOON, OTTO, VIC, World, sealed_table
from tests.vendors import GOOD, NEW, URL, fill, publish, publish_anew, reread, upgrade, validate
from tests.vendors import rotate as rotate_filled
from tests.workers import another_worker
from vault_core import agenda, compromises
from vault_core.compromises import Disclosure
from vault_core.credential import Credential, Status, status
from vault_core.credential_requests import RedefineCredential, RotateCredential
from vault_core.errors import (
    AccessDenied,
    CredentialNotUsable,
    LeaseEnded,
    NotFound,
    Unavailable,
)
from vault_core.identities import Caller
from vault_core.lease import Lease, LeaseState
from vault_core.policies import OVERLAP
from vault_core.repeats import Once
from vault_core.stores import Put
from vault_core.vault import Vault

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
OWN = [{"name": "user", "masked": False}, {"name": "password"}, {"name": "token"}]
GIVEN = {"user": "db-user", "password": "correct horse", "token": "t0ken-of-all"}
PIN = [{"name": "pin", "userProvided": True}]
ONCE = Once("key-1", "compromised", b"{}")


@pytest.fixture
def world() -> World:
    return empty_world()


async def report(
    world: World, caller: Caller = ALICE, reference: str = "db-password", *, once: Once | None = None, why: str = ""
) -> tuple[Credential, Disclosure]:
    shown, disclosure = await world.vault.compromises.report(caller, reference, why or None, once, world.clock())
    return shown.credential, disclosure


async def cut_short(world: World) -> None:
    """Report, and die just after the credential was frozen."""
    twin = twin_of(world)
    await report(twin)
    freeze = next(call.number for call in twin.ledger.calls if "|compromise|" in call.subject)
    world.restart(Plan(crash_after=freeze))
    with pytest.raises(Crash):
        await report(world)
    world.restart()


async def resume(world: World, caller: Caller = ALICE) -> Credential:
    return (await world.vault.credentials.resume(caller, "db-password", None, None, world.clock())).credential


async def state_of(world: World, lease: Lease) -> LeaseState:
    return (await world.vault.leases.read(MONA, lease.id, world.clock())).state


async def read_value(world: World, name: str, caller: Caller = DEPLOY_AGENT) -> str:
    """Read a value as the second face does."""
    attributes = (await reread(world, "db-password")).attributes
    [attribute] = [one for one in attributes if one.name == name]
    [shown] = await world.vault.values.read_one(caller, "db-password", attribute.id, world.clock())
    assert shown.value is not None
    return shown.value.get_secret_value()


async def write(world: World, **values: str) -> Credential:
    """Write values as the second face does."""
    ids = {one.name: one.id for one in (await reread(world, "db-password")).attributes}
    given = {ids[name]: SecretStr(text) for name, text in values.items()}
    await world.vault.values.write(ALICE, "db-password", given, None, world.clock())
    return await reread(world, "db-password")


async def remove(world: World, name: str) -> Credential:
    [attribute] = [one for one in (await reread(world, "db-password")).attributes if one.name == name]
    await world.vault.values.remove(ALICE, "db-password", attribute.id, world.clock())
    return await reread(world, "db-password")


async def rotate(world: World, **fields: str) -> Credential:
    body = RotateCredential.model_validate({"fields": fields})
    return (await world.vault.credentials.rotate(ALICE, "db-password", body, None, None, world.clock())).credential


async def of_own_attributes(world: World) -> Credential:
    return await world.create_for_agents(value=None, attributes=OWN, fields=GIVEN)


async def of_own_values_only(world: World) -> Credential:
    credential = await world.create_for_agents(value=None, attributes=PIN)
    await world.vault.values.set_own(DEPLOY_AGENT, "db-password", {"pin": SecretStr("4711")}, world.clock())
    return credential


async def events(world: World, event: str) -> int:
    return sum(one.event == event for one in await world.audit())


class TestFrozen:
    async def test_no_new_lease_is_granted_to_anybody(self, world: World) -> None:
        await world.create_for_agents()
        credential, _ = await report(world)
        assert status(credential, NOON, DAY) is Status.INACTIVE
        for caller in (ALICE, DEPLOY_AGENT):
            with pytest.raises(CredentialNotUsable, match="compromised"):
                await world.lease(caller)

    async def test_who_remembers_the_credential_as_it_was_is_refused_too(self, world: World) -> None:
        await world.create_for_agents()
        other = another_worker(world)
        await other.grants.grant(DEPLOY_AGENT, "db-password", None, None, NOON)
        await report(world)
        with pytest.raises(CredentialNotUsable):
            await other.grants.grant(DEPLOY_AGENT, "db-password", None, None, NOON)

    async def test_a_repeat_of_the_request_that_got_a_lease_gets_no_value_again(self, world: World) -> None:
        await world.create_for_agents()
        once = Once("key-2", "lease", b"{}")
        await world.vault.grants.grant(DEPLOY_AGENT, "db-password", None, once, NOON)
        await report(world)
        with pytest.raises(CredentialNotUsable):
            await world.vault.grants.grant(DEPLOY_AGENT, "db-password", None, once, NOON)

    async def test_leases_are_over_and_cannot_be_renewed(self, world: World) -> None:
        await world.create_for_agents()
        held = (await world.lease()).lease
        await report(world)
        assert await state_of(world, held) is LeaseState.REVOKED
        with pytest.raises(LeaseEnded):
            await world.vault.leases.renew(DEPLOY_AGENT, held.id, None, None, NOON)

    async def test_leases_show_as_over_even_if_the_report_was_cut_short(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        await cut_short(world)
        [seen] = (await world.vault.leases.list_of(ALICE, "db-password", 10, None, world.clock())).leases
        assert (seen.lease.ended, seen.state) == (None, LeaseState.REVOKED)
        with pytest.raises((LeaseEnded, CredentialNotUsable)):
            await world.vault.leases.renew(DEPLOY_AGENT, seen.lease.id, None, None, world.clock())

    async def test_a_lease_that_had_expired_before_is_not_called_revoked(self, world: World) -> None:
        await world.create_for_agents()
        held = (await world.lease(ttl=HOUR)).lease
        world.clock.pass_by(hours=2)
        await report(world)
        assert await state_of(world, held) is LeaseState.EXPIRED

    @pytest.mark.parametrize("caller", [ALICE, DEPLOY_AGENT], ids=["owner", "agent"])
    async def test_no_single_value_is_read_by_anybody(self, world: World, caller: Caller) -> None:
        await of_own_attributes(world)
        assert await read_value(world, "password", caller) == "correct horse"
        await report(world)
        with pytest.raises(CredentialNotUsable):
            await read_value(world, "password", caller)
        with pytest.raises(CredentialNotUsable):
            await world.vault.values.read_all(caller, "db-password", NOON)

    async def test_nobody_is_given_even_the_own_value(self, world: World) -> None:
        await of_own_values_only(world)
        assert await read_value(world, "pin") == "4711"
        await report(world)
        with pytest.raises(CredentialNotUsable):
            await read_value(world, "pin")

    async def test_no_vendor_is_asked_until_it_is_rotated(self, world: World) -> None:
        await fill(world, await publish(world))
        world.clock.pass_by(minutes=5)
        await report(world, reference="northwind")
        world.outbound.received.clear()
        world.clock.pass_by(days=3)
        await world.vault.check_credentials()
        with pytest.raises(CredentialNotUsable):
            await validate(world)
        assert world.outbound.received == []
        await rotate_filled(world, apiKey=NEW)
        world.outbound.answers[URL] = accepts(NEW)
        world.clock.pass_by(seconds=1)
        await world.vault.check_credentials()
        assert [call.values["apiKey"] for call in world.outbound.received] == [NEW]
        assert (await reread(world)).validation.status == "valid"

    async def test_nobody_reads_a_value_after_it_whenever_the_report_comes(self) -> None:
        async def begin() -> World:
            world = World()
            await world.create_for_agents(policy={"maxLeases": 2})
            return world

        async def leasing(vault: Vault) -> object:
            return await vault.grants.grant(DEPLOY_AGENT, "db-password", None, None, NOON)

        async for moment in at_every_moment(begin, leasing, report):
            page = await moment.world.vault.leases.list_of(ALICE, "db-password", 10, None, NOON)
            _, disclosure = await report(moment.world)
            assert all(seen.state is LeaseState.REVOKED for seen in page.leases)
            if moment.came_through:  # who was given the value before is among those who are told of
                assert [one.identity for one in disclosure.holders] == [DEPLOY_AGENT.identity]


class TestWhichLeasesEnd:
    async def test_those_on_all_versions_up_to_the_reported_one(self, world: World) -> None:
        await world.create_for_agents()
        first = (await world.lease()).lease
        await world.rotate()
        second = (await world.lease()).lease
        credential, _ = await report(world)
        assert [await state_of(world, one) for one in (first, second)] == [LeaseState.REVOKED] * 2
        assert await events(world, "lease.revoked") == 2
        assert [version.secret is None for version in credential.versions] == [True, False]

    async def test_many_of_them(self, world: World) -> None:
        await world.create_for_agents(policy={"maxLeases": 130})
        leases = [(await world.lease()).lease for _ in range(130)]
        await report(world)
        assert {await state_of(world, one) for one in leases} == {LeaseState.REVOKED}
        assert await events(world, "lease.revoked") == 130

    async def test_their_places_are_free_once_it_was_rotated(self, world: World) -> None:
        await world.create_for_agents(policy={"maxLeases": 1})
        await world.lease()
        await report(world)
        await world.rotate()
        assert (await world.lease()).lease.version == 2

    async def test_a_late_finish_ends_none_on_a_later_version(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        await cut_short(world)
        await world.rotate()
        later = (await world.lease()).lease
        world.clock.pass_by(minutes=5)
        await world.vault.reconcile()
        page = await world.vault.leases.list_of(ALICE, "db-password", 10, None, world.clock())
        assert {seen.lease.version: seen.state for seen in page.leases} == {
            1: LeaseState.REVOKED,
            2: LeaseState.ACTIVE,
        }
        assert later.version == 2

    async def test_a_late_finish_ends_none_that_was_granted_after_a_resumption(self, world: World) -> None:
        await of_own_values_only(world)
        before = (await world.lease()).lease
        await cut_short(world)
        await resume(world)
        after = (await world.lease()).lease
        assert (before.version, after.version) == (0, 0)
        world.clock.pass_by(minutes=5)
        await world.vault.reconcile()
        assert await state_of(world, before) is LeaseState.REVOKED
        assert await state_of(world, after) is LeaseState.ACTIVE

    async def test_a_repeat_with_the_same_key_ends_none_on_the_version_that_came_since(self, world: World) -> None:
        await world.create_for_agents()
        await report(world, once=ONCE)
        await world.rotate()
        later = (await world.lease()).lease
        credential, disclosure = await report(world, once=ONCE)
        assert credential.compromised is None
        assert await state_of(world, later) is LeaseState.ACTIVE
        assert [one.version for one in disclosure.holders] == [2]

    async def test_a_repeat_with_a_key_that_found_it_frozen_does_not_freeze_the_next_version(
        self, world: World
    ) -> None:
        await world.create_for_agents()
        await report(world)
        await report(world, once=ONCE)
        await world.rotate()
        credential, _ = await report(world, once=ONCE)
        assert credential.compromised is None

    async def test_a_rotation_in_the_midst_of_a_report_is_frozen_with_its_leases(self) -> None:
        async def begin() -> World:
            world = empty_world()
            await world.create_for_agents()
            return world

        async def reporting(vault: Vault) -> object:
            return await vault.compromises.report(ALICE, "db-password", None, None, NOON)

        async def rotate_and_lease(world: World) -> None:
            await world.rotate()
            await world.lease()

        async for moment in at_every_moment(begin, reporting, rotate_and_lease):
            world = moment.world
            assert moment.came_through
            credential = await reread(world, "db-password")
            page = await world.vault.leases.list_of(ALICE, "db-password", 10, None, NOON)
            if credential.compromised:
                assert credential.compromised.version == credential.newest.number
                told_of = (await contents_of(world)).told("credential.compromised", version=credential.newest.number)
                assert told_of == 1
                assert {seen.state for seen in page.leases} <= {LeaseState.REVOKED}
            else:  # it was rotated after the report
                assert [seen.state for seen in page.leases] == [LeaseState.ACTIVE]

    async def test_an_imported_credential_of_the_same_id_is_none_of_a_late_finishs_business(self, world: World) -> None:
        credential = await world.create_for_agents()
        held = (await world.lease()).lease
        stale = agenda.compromise("contoso", NOON, credential.id, 1, revision=17)  # of one with more changes than this
        await sealed_table(world.stores).commit(Put(stale))
        world.clock.pass_by(seconds=1)
        assert (await world.vault.reconcile()).done == 1
        assert await state_of(world, held) is LeaseState.ACTIVE


class TestUntilItsValuesAreOthers:
    async def test_a_rotation_ends_it(self, world: World) -> None:
        await world.create_for_agents()
        await report(world)
        credential = await world.rotate()
        assert (credential.compromised, status(credential, NOON, DAY)) == (None, Status.ACTIVE)
        assert (await world.lease()).value.get_secret_value() == "new value"

    async def test_a_resumption_does_not(self, world: World) -> None:
        await world.create_for_agents()
        await report(world)
        with pytest.raises(CredentialNotUsable, match="value"):
            await resume(world)
        assert await events(world, "credential.resumed") == 0
        assert (await reread(world, "db-password")).compromised

    async def test_nor_does_a_resumption_of_what_was_suspended_too(self, world: World) -> None:
        await world.create_for_agents()
        await world.vault.credentials.suspend(ALICE, "db-password", None, None, NOON)
        await report(world)
        with pytest.raises(CredentialNotUsable):
            await resume(world)
        await world.rotate()
        with pytest.raises(CredentialNotUsable, match="suspended"):
            await world.lease()
        assert status(await resume(world), NOON, DAY) is Status.ACTIVE

    async def test_an_update_does_not(self, world: World) -> None:
        await world.create_for_agents()
        await report(world)
        assert (await world.update(description="all is well")).compromised

    async def test_each_of_its_own_masked_values_must_be_another(self, world: World) -> None:
        await of_own_attributes(world)
        await report(world)
        assert (await rotate(world, user="another-user")).still_compromised == ["password", "token"]
        assert (await rotate(world, password="battery staple")).still_compromised == ["token"]
        with pytest.raises(CredentialNotUsable, match="token"):
            await resume(world)
        assert (await write(world, token="another-token")).compromised is None
        assert (await world.lease()).lease.version == 4

    async def test_the_same_value_given_again_is_no_other(self, world: World) -> None:
        await of_own_attributes(world)
        await report(world)
        assert (await rotate(world, user="x", password="correct horse")).still_compromised == ["password", "token"]
        assert (await write(world, user="y", token="t0ken-of-all")).still_compromised == ["password", "token"]

    async def test_a_field_of_a_type_that_stays_is_no_other(self, world: World) -> None:
        fields = {"accessToken": "first-access-token", "refreshToken": "refresh-for-good", "tokenType": "Bearer"}
        await world.create_for_agents(type="oauth-token", value=None, fields=fields)
        await report(world)
        kept = await rotate(world, **fields | {"accessToken": "second-access-token"})
        assert kept.still_compromised == ["refreshToken"]
        assert (await rotate(world, **fields | {"accessToken": "third", "refreshToken": "other"})).compromised is None

    async def test_a_type_is_rotated_though_its_old_value_is_gone(self, world: World) -> None:
        credential = await world.create_for_agents()
        await report(world)
        await world.stores.secrets.delete(str(credential.newest.secret))
        world.restart()
        assert (await world.rotate()).compromised is None

    async def test_what_is_removed_and_set_anew_is_another(self, world: World) -> None:
        await of_own_attributes(world)
        await report(world)
        assert (await remove(world, "password")).still_compromised == ["token"]
        assert (await write(world, password="battery staple")).still_compromised == ["token"]
        assert (await write(world, token="another-token")).compromised is None

    async def test_a_redefinition_that_loses_them_ends_it(self, world: World) -> None:
        await of_own_attributes(world)
        await report(world)
        wanted = RedefineCredential.model_validate({"name": "db-password", "attributes": [{"name": "user"}]})
        shown = await world.vault.redefinitions.redefine(ALICE, "db-password", wanted, None, NOON)
        assert shown.credential.compromised is None

    async def test_a_redefinition_that_unmasks_them_does_not(self, world: World) -> None:
        await of_own_attributes(world)
        await report(world)
        attributes = [{"name": name, "masked": False} for name in GIVEN]
        wanted = RedefineCredential.model_validate({"name": "db-password", "attributes": attributes})
        await world.vault.redefinitions.redefine(ALICE, "db-password", wanted, None, NOON)
        assert (await reread(world, "db-password")).still_compromised == ["password", "token"]
        with pytest.raises(CredentialNotUsable):
            await resume(world)

    async def test_moving_on_with_new_values_ends_it_and_without_does_not(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        await report(world, reference="northwind")
        await publish_anew(world, configuration, description="the second")
        assert (await upgrade(world)).still_compromised
        await publish_anew(world, configuration, description="the third")
        assert (await upgrade(world, fields={"apiKey": GOOD})).still_compromised
        await publish_anew(world, configuration, description="the fourth")
        assert (await upgrade(world, fields={"apiKey": NEW})).compromised is None

    async def test_where_all_values_are_the_consumers_own_its_owner_resumes_it(self, world: World) -> None:
        await of_own_values_only(world)
        await world.lease()
        credential, _ = await report(world)
        assert (status(credential, NOON, DAY), credential.still_compromised) == (Status.INACTIVE, [])
        assert (await resume(world)).compromised is None
        assert await world.lease()

    async def test_values_that_came_since_a_report_are_meant_by_the_next(self, world: World) -> None:
        await of_own_attributes(world)
        await report(world)
        await write(world, password="battery staple")
        credential, _ = await report(world, why="the new one too")
        assert credential.compromised
        assert (credential.compromised.version, credential.still_compromised) == (2, ["password", "token"])
        assert (await write(world, token="another-token")).still_compromised == ["password"]
        assert await events(world, "credential.compromised") == 2

    async def test_a_version_that_was_rotated_can_be_reported_anew(self, world: World) -> None:
        await world.create_for_agents()
        await report(world)
        await world.rotate()
        credential, _ = await report(world)
        assert credential.compromised
        assert credential.compromised.version == 2


class TestRepeats:
    @pytest.mark.parametrize("once", [None, ONCE], ids=["without a key", "with a key"])
    async def test_a_repeat_changes_nothing_and_tells_the_same(self, world: World, once: Once | None) -> None:
        await world.create_for_agents()
        await world.lease()
        world.clock.pass_by(minutes=1)
        first = await report(world, once=once, why="it was in a log")
        world.clock.pass_by(minutes=1)
        again = await report(world, once=once, why="it was in a log")
        assert again[0].compromised == first[0].compromised
        assert again[0].revision == first[0].revision
        assert again[1].holders == first[1].holders
        assert await events(world, "credential.compromised") == 1

    async def test_what_is_revoked_stays_so_and_its_holders_are_told(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        await world.revoke()
        credential, disclosure = await report(world)
        assert (credential.compromised, status(credential, NOON, DAY)) == (None, Status.REVOKED)
        assert [one.identity for one in disclosure.holders] == [DEPLOY_AGENT.identity]
        assert await events(world, "credential.compromised") == 0

    async def test_what_is_compromised_can_be_revoked_and_deleted(self, world: World) -> None:
        await world.create_for_agents()
        await report(world)
        assert status(await world.revoke(), NOON, DAY) is Status.REVOKED
        await world.vault.credentials.delete(ALICE, "db-password", None, NOON)
        with pytest.raises(NotFound):
            await report(world)


class TestWhoMayReport:
    @pytest.mark.parametrize("caller", [ALICE, MONA, ADA], ids=["owner", "manager", "admin"])
    async def test_the_owner_and_managers(self, world: World, caller: Caller) -> None:
        await world.create_for_agents()
        credential, _ = await report(world, caller, why="it was in a log")
        assert credential.compromised
        assert (credential.compromised.by, credential.compromised.reason) == (caller.identity, "it was in a log")

    @pytest.mark.parametrize(
        ("caller", "refusal"),
        [(DEPLOY_AGENT, AccessDenied), (BOB, NotFound), (VIC, NotFound), (OTTO, NotFound), (MALLORY, NotFound)],
        ids=["agent that may lease it", "stranger", "viewer", "auditor", "another tenant's"],
    )
    async def test_nobody_else(self, world: World, caller: Caller, refusal: type[Exception]) -> None:
        await world.create_for_agents()
        with pytest.raises(refusal):
            await report(world, caller)
        assert await world.lease()

    async def test_who_may_not_is_told_whom_to_tell(self, world: World) -> None:
        await world.create_for_agents()
        with pytest.raises(AccessDenied, match="tell its owner or a manager"):
            await report(world, DEPLOY_AGENT)

    async def test_a_manager_cannot_resume_it_either(self, world: World) -> None:
        await world.create_for_agents()
        await report(world)
        with pytest.raises(CredentialNotUsable):
            await resume(world, MONA)


class TestHolders:
    async def test_by_lease_and_by_reading_grouped_by_identity_and_version(self, world: World) -> None:
        await of_own_attributes(world)
        await world.lease()
        world.clock.pass_by(minutes=10)
        await world.lease()
        await read_value(world, "password")
        world.clock.pass_by(minutes=10)
        await read_value(world, "token", ALICE)
        await write(world, password="battery staple")
        world.clock.pass_by(minutes=10)
        await read_value(world, "password")
        _, disclosure = await report(world)
        minutes = [
            (
                one.identity.id,
                one.version,
                (one.since - NOON) // timedelta(minutes=1),
                (one.last_at - NOON) // timedelta(minutes=1),
                one.leases,
                one.reads,
            )
            for one in disclosure.holders
        ]
        assert minutes == [
            ("id-deploy-agent", 2, 30, 30, 0, 1),
            ("id-alice", 1, 20, 20, 0, 1),
            ("id-deploy-agent", 1, 0, 10, 2, 1),
        ]

    async def test_leases_that_ended_are_told_too_for_a_week(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease(ttl=HOUR)
        world.clock.pass_by(hours=2)
        await world.vault.expire_leases()
        world.clock.pass_by(days=6)
        await world.vault.reconcile()
        credential, disclosure = await report(world)
        assert ([one.leases for one in disclosure.holders], disclosure.complete_since) == ([1], credential.created_at)

    async def test_of_longer_ago_it_is_said_that_they_are_not_all(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease(ttl=HOUR)
        world.clock.pass_by(days=9)
        for timer in (world.vault.expire_leases, world.vault.reconcile):
            await timer()
        world.clock.pass_by(days=9)
        await world.vault.reconcile()
        _, disclosure = await report(world)
        assert (disclosure.holders, disclosure.complete_since) == ((), world.clock() - 7 * DAY)

    async def test_who_was_refused_is_no_holder(self, world: World) -> None:
        await world.create_for_agents()
        with pytest.raises(NotFound):
            await world.lease(BOB)
        world.clock.pass_by(minutes=1)
        assert (await report(world))[1].holders == ()

    async def test_more_readings_than_a_page_are_all_told(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compromises, "_PAGE", 3)
        await of_own_attributes(world)
        for _ in range(8):
            world.clock.pass_by(hours=7)
            await read_value(world, "password")
        _, disclosure = await report(world)
        assert ([one.reads for one in disclosure.holders], disclosure.complete_since) == ([8], NOON)

    async def test_more_leases_than_are_looked_at_make_it_incomplete(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compromises, "_LEASES", 3)
        await world.create_for_agents()
        for _ in range(4):
            await world.lease()
        world.clock.pass_by(minutes=1)
        _, disclosure = await report(world)
        assert (disclosure.holders[0].leases, disclosure.complete_since) == (3, world.clock())

    async def test_while_the_audit_cannot_be_read_it_is_frozen_and_answered(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        world.clock.pass_by(days=2)
        well = twin_of(world)
        await report(well)
        queries = [call.number for call in well.ledger.calls if (call.store, call.method) == ("audit", "query")]
        assert len(queries) == 3  # a day each
        known_since = (world.clock(), world.clock() + OVERLAP - DAY)
        for down, complete_since in zip(queries, known_since, strict=False):
            twin = twin_of(world)
            twin.restart(Plan(faults={down: Fault()}))
            credential, disclosure = await report(twin)
            assert credential.compromised
            assert ([one.leases for one in disclosure.holders], disclosure.complete_since) == ([1], complete_since)

    async def test_an_audit_with_too_much_in_it_is_not_waited_for(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compromises, "LOOK_FOR", timedelta(0))
        await world.create_for_agents()
        world.clock.pass_by(minutes=5)
        credential, disclosure = await report(world)
        assert credential.compromised
        assert disclosure.complete_since == world.clock()

    async def test_when_it_cannot_be_told_to_the_audit_nothing_is_frozen(self, world: World) -> None:
        await world.create_for_agents()
        world.restart()
        await world.vault.credentials.read(ALICE, "db-password", NOON)
        world.restart(Plan(faults={number: Fault() for number in range(1, 30)}))
        with pytest.raises(Unavailable):
            await report(world)
        world.restart()
        assert (await reread(world, "db-password")).compromised is None


class TestWhatFollows:
    async def test_a_rotation_is_due_at_once_and_announced_once(self, world: World) -> None:
        await of_own_attributes(world)
        await report(world)
        assert (await reread(world, "db-password")).rotation_look_at == NOON
        for _ in range(3):
            await world.vault.check_rotations()
            world.clock.pass_by(hours=1)
        await write(world, password="battery staple")  # not yet all that must be another
        await world.vault.check_rotations()
        assert await events(world, "credential.rotation_due") == 1
        assert (await send(world, ALICE, "GET", "/summary")).body["rotationDue"] == 1

    async def test_a_rotation_that_is_made_is_due_no_longer(self, world: World) -> None:
        await world.create_for_agents()
        await report(world)
        await world.rotate()
        await world.vault.check_rotations()
        assert (await reread(world, "db-password")).rotation_look_at is None
        assert await events(world, "credential.rotation_due") == 0

    async def test_subscribers_are_told(self, world: World) -> None:
        await subscribe(world)
        await world.create_for_agents()
        await report(world)
        world.clock.pass_by(seconds=1)
        await world.vault.deliver_events()
        assert "credential.compromised" in told(world)

    async def test_the_audit_is_told_who_why_and_of_what(self, world: World) -> None:
        credential = await world.create_for_agents()
        await report(world, MONA, why="it was in a log")
        [event] = [one for one in await world.audit() if one.event == "credential.compromised"]
        assert (event.identity, event.credential_id) == (MONA.identity, credential.id)
        assert event.details == {"reason": "it was in a log", "version": 1}

    async def test_it_is_asked_and_shown_over_http_without_any_value(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease()
        answer = await send(world, ALICE, "POST", f"{ONE}/compromised", {"reason": "it was in a log"})
        shown = answer.body["credential"]
        assert (answer.status, shown["status"]) == (200, "inactive")
        assert shown["compromised"] | {"by": None} == {
            "at": "2026-11-21T12:00:00.000Z",
            "by": None,
            "reason": "it was in a log",
            "version": 1,
        }
        [holder] = answer.body["holders"]
        assert (holder["identity"]["id"], holder["leases"], holder["reads"]) == ("id-deploy-agent", 1, 0)
        assert "correct horse" not in str(answer.body)
        read = await send(world, ALICE, "GET", ONE)
        assert read.body["compromised"] == shown["compromised"]
        resumed = await send(world, ALICE, "POST", f"{ONE}/resume", {})
        assert (resumed.status, resumed.code) == (409, "credential-not-usable")

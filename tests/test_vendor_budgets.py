"""What calls to the stores are spent on configurations: nothing for who has none, little and bounded for who has.

Warm: the worker knows the tenant's keys and settings, and has served the credential before.
"""

from __future__ import annotations

from functools import partial

import pytest

from tests.faults import Ledger
from tests.sharing import make_locker, put_in
from tests.test_budgets import assert_within, spent
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, MONA, World
from tests.vendors import GOOD, NEW, fill, publish, publish_anew, rotate, selecting, upgrade, validate
from vault_core.configuration import Configuration
from vault_core.credential_listing import CredentialQuery
from vault_core.errors import CredentialAmbiguous
from vault_core.grants import Granted
from vault_core.upkeep.value_checks import LIMITS

FOR_AGENTS = {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}


@pytest.fixture
def world() -> World:
    return World()


async def lease_resolved(world: World) -> Granted:
    selected = await world.vault.resolution.id_to_lease(DEPLOY_AGENT, selecting(), world.clock())
    return await world.lease(DEPLOY_AGENT, selected)


def calls_of(ledger: Ledger) -> list[str]:
    """What was called, store by store, in order."""
    return [f"{call.store}.{call.method}" for call in ledger.calls]


async def warmed(world: World) -> Configuration:
    """A configuration from which a credential was made that was leased once."""
    configuration = await publish(world)
    await fill(world, configuration, policy=FOR_AGENTS)
    await world.lease(DEPLOY_AGENT, "northwind")
    return configuration


class TestLeases:
    async def test_a_lease_of_a_configured_credential_costs_what_any_lease_costs(self, world: World) -> None:
        await warmed(world)
        ledger = await spent(world, partial(world.lease, DEPLOY_AGENT, "northwind"))
        assert_within(ledger, rounds=2, tables=4)

    async def test_to_resolve_what_is_leased_takes_one_round_of_two_calls_more(self, world: World) -> None:
        await warmed(world)
        assert_within(await spent(world, partial(lease_resolved, world)), rounds=3, tables=6)

    async def test_however_many_credentials_there_are_elsewhere(self, world: World) -> None:
        configuration = await warmed(world)
        for number in range(20):
            await fill(world, configuration, name=f"credential-{number}", environment="test")
            await world.create(name=f"another-{number}")
        assert (await spent(world, partial(lease_resolved, world))).total == 6

    @pytest.mark.slow
    async def test_nor_how_many_fit_that_the_caller_may_not_use(self, world: World) -> None:
        configuration = await warmed(world)
        for number in range(999):  # with what it may use a thousand: one call reads so many places
            await fill(world, configuration, BOB, name=f"hidden-{number}")
        await world.lease(DEPLOY_AGENT, "northwind")
        assert_within(await spent(world, partial(lease_resolved, world)), rounds=3, tables=6)
        read = partial(world.vault.resolution.read, DEPLOY_AGENT, selecting(), world.clock())
        assert_within(await spent(world, read), rounds=2, tables=3)

    async def test_what_is_hidden_in_many_lockers_takes_one_call_for_all_of_them(self, world: World) -> None:
        configuration = await warmed(world)
        for number in range(20):
            await fill(world, configuration, BOB, name=f"hidden-{number}")
            await make_locker(world, BOB, f"locker-{number}")
            await put_in(world, f"hidden-{number}", BOB, f"locker-{number}")
        read = partial(world.vault.resolution.read, DEPLOY_AGENT, selecting(), world.clock())
        assert_within(await spent(world, read), rounds=3, tables=4)

    async def test_of_many_that_fit_equally_a_part_is_read(self, world: World) -> None:
        configuration = await warmed(world)
        for number in range(80):
            await fill(world, configuration, BOB, name=f"shared-{number}", policy=FOR_AGENTS)

        async def resolve() -> None:
            with pytest.raises(CredentialAmbiguous):
                await world.vault.resolution.read(DEPLOY_AGENT, selecting(), world.clock())

        assert_within(await spent(world, resolve), rounds=2, tables=2 + 32)

    async def test_to_read_what_is_resolved_takes_one_call_more_for_each_that_fits(self, world: World) -> None:
        await warmed(world)
        read = partial(world.vault.resolution.read, ALICE, selecting(), world.clock())
        assert_within(await spent(world, read), rounds=2, tables=3)


class TestCreation:
    async def test_from_a_configuration_takes_six_calls_more(self, world: World) -> None:
        configuration = await warmed(world)
        ledger = await spent(world, partial(fill, world, configuration, name="another"))
        # Found by three reads at once, of which the pointer leads to a fourth; pinned, then seen to be usable.
        assert ledger.count("catalog") == 3
        assert_within(ledger, rounds=7, tables=9, secrets=1)

    async def test_a_proof_adds_the_pace_the_verdict_and_what_is_read_to_ask(self, world: World) -> None:
        configuration = await warmed(world)
        without = (await spent(world, partial(fill, world, configuration, name="without"))).total
        world.outbound.received.clear()
        ledger = await spent(world, partial(fill, world, configuration, name="with", validate=True))
        assert len(world.outbound.received) == 1
        # The host's pace read and written, the configuration with its secret, the event.
        assert ledger.total - without <= 5, str(ledger)

    async def test_one_that_has_no_configuration_pays_for_none(self, world: World) -> None:
        await warmed(world)
        assert_within(await spent(world, world.create), rounds=3, tables=3, secrets=1)
        assert_within(await spent(world, partial(world.rotate, value=NEW)), rounds=5, tables=5, secrets=1)
        assert "catalog" not in str(world.ledger)


class TestChanges:
    async def test_a_rotation_reads_what_is_kept_and_the_contract(self, world: World) -> None:
        await warmed(world)
        ledger = await spent(world, partial(rotate, world, apiKey=NEW))
        assert_within(ledger, rounds=6, tables=6, secrets=2)

    async def test_a_proof_before_a_rotation_is_eight_calls(self, world: World) -> None:
        await warmed(world)
        without = (await spent(world, partial(rotate, world, apiKey=NEW))).total
        ledger = await spent(world, partial(rotate, world, validate=True, apiKey=GOOD))
        # The minute and the host's pace, each read and written; the credential again; the configuration and its
        # signing secret; the event.
        assert ledger.total - without <= 8, str(ledger)

    async def test_an_upgrade_takes_a_rotation_and_what_it_has_to_find(self, world: World) -> None:
        configuration = await warmed(world)
        await publish_anew(world, configuration)
        ledger = await spent(world, partial(upgrade, world, fields={"account": "acme"}))
        assert_within(ledger, rounds=8, tables=10, secrets=1)


class TestChecks:
    async def test_one_that_is_asked_for_takes_a_bounded_number_of_calls(self, world: World) -> None:
        await warmed(world)
        world.outbound.received.clear()
        ledger = await spent(world, partial(validate, world))
        assert len(world.outbound.received) == 1
        # Name, credential; the minute and the host's pace, read and written, between them the credential again; the
        # configuration; the event; the verdict.
        assert_within(ledger, rounds=10, tables=10, secrets=0)

    async def test_one_that_is_planned_takes_seven_calls(self, world: World) -> None:
        configuration = await warmed(world)
        for number in range(9):
            await fill(world, configuration, name=f"credential-{number}")
        world.clock.pass_by(minutes=5)
        await world.vault.check_credentials()
        world.clock.pass_by(days=2)
        world.outbound.received.clear()
        ledger = await spent(world, world.vault.check_credentials)
        assert len(world.outbound.received) == 10
        # Of each: credential, value, the minute read and claimed, the credential again, configuration, verdict. Then
        # what is due of three tenants, and the beat; settings and signing secret are read by all that begin at once,
        # the data keys of tenant and vendor by one of them.
        assert ledger.total <= 10 * 7 + 4 + 2 + 2 * LIMITS.at_once_in_lane, str(ledger)

    async def test_the_signing_secret_is_not_read_for_every_check(self, world: World) -> None:
        configuration = await warmed(world)
        for number in range(30):
            await fill(world, configuration, name=f"credential-{number}")
        world.clock.pass_by(minutes=5)
        await spent(world, world.vault.check_credentials)
        reads = [call.subject for call in world.ledger.calls if (call.store, call.method) == ("secrets", "read")]
        assert reads.count(configuration.signing[0].secret) <= LIMITS.at_once_in_lane

    async def test_a_filter_by_verdict_or_configuration_costs_no_call_more(self, world: World) -> None:
        configuration = await warmed(world)
        query = CredentialQuery(validation="unknown", configuration=configuration.id, rotation=None)
        list_page = partial(world.vault.listing.page, MONA, query, world.clock())
        assert_within(await spent(world, list_page), rounds=1, tables=1)


async def test_a_list_of_what_is_published_takes_two_rounds(world: World) -> None:
    for _ in range(5):
        await publish(world, validation=None)
    ledger = await spent(world, partial(world.vault.configurations.page, ALICE, "", 50))
    assert_within(ledger, rounds=2, tables=2 + 5)


async def test_what_is_published_is_found_by_its_id_in_two_rounds(world: World) -> None:
    configuration = await publish(world)
    await world.create()
    ledger = await spent(world, partial(world.vault.configurations.read, ALICE, configuration.id, world.clock()))
    assert sorted(calls_of(ledger)) == ["catalog.read", "catalog.read", "vault.read", "vault.read"]
    assert ledger.rounds == 2

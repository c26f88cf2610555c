"""What was tried against configurations, checks and their paces, and holds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.outbound import Received, accepts
from tests.vaults import ALICE, BOB, NOON, World, sealed_table
from tests.vendors import ELSEWHERE, GOOD, NORA, URL, check_due, fill, publish, publish_anew, reread, validate
from vault_core.configuration_rows import configuration_key, version_key
from vault_core.credential import State
from vault_core.credential_requests import CreateCredential
from vault_core.errors import CredentialChanged, InvalidInput, NameTaken, NotFound, TooSoon
from vault_core.outbound import Reply
from vault_core.paces import CALLS_PER_HOST, Paces
from vault_core.repeats import Once
from vault_core.stores import Discard, Keys, Put, Row


@pytest.fixture
def world() -> World:
    return World()


async def pins_of(world: World) -> list[Row]:
    return list((await world.stores.catalog.query(Keys("vendor:northwind", "", "~"))).rows)


class TestWhoCanWriteToTheTables:
    async def test_keeps_no_credential_alive_by_removing_its_place(self, world: World) -> None:
        credential = await fill(world, await publish(world))
        await world.stores.vault.commit(Discard("contoso", f"place:production|nw-mail|{credential.id}"))
        assert (await world.revoke(reference="northwind")).newest.state is State.REVOKED
        await world.vault.credentials.delete(ALICE, "northwind", None, world.clock())

    async def test_sends_no_value_elsewhere_by_rolling_a_configuration_back(self, world: World) -> None:
        first = await publish(world)
        before = await world.stores.vault.read("northwind", configuration_key(first.id))
        second = await publish_anew(world, first)
        await fill(world, second)
        await world.stores.vault.commit(Put(before), Discard("northwind", version_key(first.id, 2)))
        world.restart()
        await publish_anew(world, first, validation={"url": ELSEWHERE})
        world.outbound.received.clear()
        world.clock.pass_by(minutes=2)
        assert (await validate(world)).check.reason == "configuration-gone"
        await check_due(world, days=2)
        assert world.outbound.calls_to(ELSEWHERE) == []

    @pytest.mark.parametrize("at", ["soon", "2026-11-21T12:00:00", "2126-11-21T12:00:00+00:00", None])
    async def test_holds_up_no_deletion_by_a_forged_pin(self, world: World, at: str | None) -> None:
        published = await publish(world)
        forged = Row("vendor:northwind", f"{published.id}|contoso|nobody", {"at": at} if at else {})
        await world.stores.catalog.commit(Put(forged))
        await world.vault.configurations.delete(NORA, published.id, None, world.clock())
        assert await pins_of(world) == []


class TestPaces:
    async def test_requests_around_a_full_minute_share_it(self) -> None:
        stores = World().stores
        paces, granted = Paces(sealed_table(stores)), 0
        edges = (NOON - timedelta(seconds=0.2), NOON + timedelta(seconds=0.2))
        for number in range(200):
            try:
                await paces.take("contoso", "api.northwind.example", edges[number % 2])
                granted += 1
            except TooSoon:
                continue
        assert granted <= CALLS_PER_HOST + 1

    async def test_a_call_that_is_refused_for_its_host_costs_no_minute(self, world: World) -> None:
        published = await publish(world)
        credential = await fill(world, published)
        for number in range(CALLS_PER_HOST):
            await fill(world, published, BOB, name=f"guess-{number}", validate=True)
        with pytest.raises(TooSoon, match="One host takes"):
            await validate(world)
        world.clock.pass_by(seconds=60)
        assert (await validate(world)).check.version == credential.newest.number

    async def test_a_vendor_tries_no_more_hosts_than_calls(self, world: World) -> None:
        calls = 0
        for number in range(CALLS_PER_HOST + 1):
            url = f"https://a{number}.victim.example/"
            world.outbound.answers[url] = accepts(GOOD)
            try:
                await publish(world, validation={"url": url})
                calls += 1
            except TooSoon:
                break
        assert calls == CALLS_PER_HOST

    async def test_definitions_with_patterns_are_checked_at_a_pace(self, world: World) -> None:
        field = {"id": "apiKey", "label": "API key", "type": "text", "pattern": "[a-z]{1,9}"}
        for _ in range(CALLS_PER_HOST):
            await publish(world, fields=[field], validation=None)
        with pytest.raises(TooSoon):
            await publish(world, fields=[field], validation=None)

    async def test_a_definition_has_ten_patterns_at_most(self, world: World) -> None:
        fields = [{"id": f"f{n}", "label": "Field", "type": "text", "pattern": "[a-z]"} for n in range(11)]
        with pytest.raises(InvalidInput, match="too many patterns"):
            await publish(world, fields=fields)


class TestRaces:
    async def test_a_verdict_for_one_environment_is_none_for_another(self, world: World) -> None:
        await fill(world, await publish(world), environment="test")

        async def moved_meanwhile(call: Received) -> Reply:
            await world.update(reference="northwind", environment="production")
            return Reply(200, b'{"valid": true}')

        world.outbound.answers[URL] = moved_meanwhile
        with pytest.raises(CredentialChanged):
            await validate(world)
        assert (await reread(world)).validation.status == "unknown"

    async def test_a_repeat_is_answered_though_the_configuration_was_deprecated_since(self, world: World) -> None:
        published = await publish(world)
        wanted = CreateCredential.model_validate(
            {"name": "northwind", "configuration": {"id": published.id}, "fields": {"apiKey": GOOD}}
        )
        once = Once("key-1", "create", b"{}")
        made = await world.vault.creations.create(ALICE, wanted, once, world.clock())
        await world.vault.configurations.deprecate(NORA, published.id, None, world.clock())
        again = await world.vault.creations.create(ALICE, wanted, once, world.clock())
        assert again.credential.id == made.credential.id

    async def test_a_creation_that_is_refused_leaves_no_pin(self, world: World) -> None:
        published = await publish(world)
        await fill(world, published)
        with pytest.raises(NameTaken):
            await fill(world, published)
        assert len(await pins_of(world)) == 1


async def test_a_version_is_for_the_audience_that_it_was_published_to(world: World) -> None:
    first = await publish(world, audience=["fabrikam"])
    second = await publish_anew(world, first, audience=["contoso"])
    with pytest.raises(NotFound):
        await fill(world, second, version=1)
    assert (await fill(world, second)).configuration is not None

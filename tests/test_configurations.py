"""A vendor's configuration from draft to removal, who finds it, and what its endpoint must tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.faults import Crash, Plan
from tests.outbound import Answer, accepts, said
from tests.sharing import new_world
from tests.vaults import ALICE, MALLORY, NOON, VIC, World, agent, person
from tests.vendors import ELSEWHERE, FIELDS, GOOD, NORA, URL, definition, fill, publish, publish_anew, upgrade, validate
from vault_core.configuration import Configuration, State
from vault_core.errors import (
    AccessDenied,
    ConfigurationInUse,
    ConfigurationNotUsable,
    EndpointUnfit,
    InvalidInput,
    NotFound,
    SecretMissing,
    StaleVersion,
)
from vault_core.identities import Caller, Role
from vault_core.outbound import Reply
from vault_core.repeats import Once
from vault_core.stores import Discard, Partitions, Put, Row

FIONA = agent("fabrikam-vendor", Role.VENDOR, tenant="fabrikam")
NED = person("ned", Role.MANAGER, Role.ADMIN, tenant="northwind")
VERA = agent("contoso-vendor", Role.VENDOR)
TWO_FIELDS = [*FIELDS, {"id": "region", "label": "Region", "type": "text", "secret": False, "required": False}]


@pytest.fixture
def world() -> World:
    return World()


async def draft(world: World, **changes: Any) -> Configuration:
    """A configuration that was created and not published."""
    world.outbound.answers.setdefault(URL, accepts(GOOD))
    return (await world.vault.configurations.create(NORA, definition(**changes), None, world.clock())).configuration


async def read(world: World, configuration: Configuration, by: Caller = NORA) -> Configuration:
    return await world.vault.configurations.read(by, configuration.id, world.clock())


async def finds(world: World, configuration: Configuration, by: Caller) -> bool:
    """Whether the caller finds it by its id; the list must say the same."""
    page = await world.vault.configurations.page(by, "", 200)
    listed = configuration.id in [one.id for one in page.configurations]
    try:
        await read(world, configuration, by)
    except NotFound:
        assert not listed
        return False
    assert listed
    return True


async def deprecate(world: World, configuration: Configuration) -> Configuration:
    return await world.vault.configurations.deprecate(NORA, configuration.id, None, world.clock())


async def delete(world: World, configuration: Configuration, if_match: str | None = None) -> None:
    await world.vault.configurations.delete(NORA, configuration.id, if_match, world.clock())


async def left_of(world: World, configuration: Configuration) -> list[str]:
    """The keys of what any table keeps about the configuration; but for the audit, and requests to forget."""
    rows = [
        *(await world.stores.vault.query(Partitions("", "~"))).rows,
        *(await world.stores.catalog.query(Partitions("", "~"))).rows,
    ]
    return [row.key for row in rows if configuration.id in row.key]


class TestLifecycle:
    async def test_a_draft_is_its_vendors_alone(self, world: World) -> None:
        made = await draft(world, audience="everyone")
        assert (made.state, made.latest, made.vendor) == (State.DRAFT, None, "northwind")
        assert await finds(world, made, NORA)
        assert not await finds(world, made, ALICE)
        assert not await finds(world, made, NED)

    async def test_publishing_freezes_the_draft_as_version_one(self, world: World) -> None:
        published = await publish(world)
        assert published.latest is not None
        assert (published.state, published.draft, published.latest.number) == (State.PUBLISHED, None, 1)
        assert published.latest.definition == definition()
        assert await finds(world, published, ALICE)

    async def test_there_is_nothing_to_publish_without_a_draft(self, world: World) -> None:
        published = await publish(world)
        with pytest.raises(ConfigurationNotUsable):
            await world.vault.configurations.publish(NORA, published.id, None, None, NOON)

    async def test_an_edit_changes_nothing_that_is_published(self, world: World) -> None:
        published = await publish(world)
        edited = await world.vault.configurations.edit(NORA, published.id, definition(name="Other"), None, NOON)
        assert (edited.state, edited.latest) == (State.PUBLISHED, published.latest)
        assert edited.draft == definition(name="Other")
        assert (await read(world, published, ALICE)).latest == published.latest

    async def test_versions_are_frozen_one_by_one(self, world: World) -> None:
        first = await publish(world)
        second = await publish_anew(world, first, fields=TWO_FIELDS)
        await publish_anew(world, second, name="Third")
        _, versions = await world.vault.configurations.versions(ALICE, first.id, NOON)
        assert [one.number for one in versions] == [3, 2, 1]
        assert [one.definition for one in versions] == [
            definition(name="Third"),
            definition(fields=TWO_FIELDS),
            definition(),
        ]

    async def test_from_a_deprecated_one_nothing_new_is_made_and_what_exists_works_on(self, world: World) -> None:
        published = await publish(world)
        await fill(world, published)
        deprecated = await deprecate(world, published)
        assert deprecated.state is State.DEPRECATED
        assert await deprecate(world, published) == deprecated
        with pytest.raises(ConfigurationNotUsable):
            await fill(world, published, name="another")
        assert (await validate(world)).check.status == "valid"
        assert (await world.lease(ALICE, "northwind")).fields["apiKey"].get_secret_value() == GOOD

    async def test_a_draft_cannot_be_deprecated(self, world: World) -> None:
        with pytest.raises(ConfigurationNotUsable):
            await deprecate(world, await draft(world))

    async def test_a_change_on_a_stale_view_is_refused(self, world: World) -> None:
        seen = await draft(world)
        await world.vault.configurations.edit(NORA, seen.id, definition(name="Other"), seen.tag, NOON)
        with pytest.raises(StaleVersion):
            await world.vault.configurations.edit(NORA, seen.id, definition(), seen.tag, NOON)
        with pytest.raises(StaleVersion):
            await world.vault.configurations.publish(NORA, seen.id, seen.tag, None, NOON)
        with pytest.raises(StaleVersion):
            await delete(world, seen, seen.tag)
        assert (await read(world, seen)).draft == definition(name="Other")

    async def test_the_same_request_sent_again_makes_no_second_one(self, world: World) -> None:
        once = Once("key", "create configuration", b"{}")
        first = await world.vault.configurations.create(NORA, definition(), once, NOON)
        again = await world.vault.configurations.create(NORA, definition(), once, NOON)
        assert again.configuration.id == first.configuration.id
        assert again.secret == first.secret
        assert len((await world.vault.configurations.page(NORA, "", 10)).configurations) == 1

    async def test_publishing_again_with_the_same_key_asks_and_changes_nothing(self, world: World) -> None:
        made, once = await draft(world), Once("key", "publish", b"")
        published = await world.vault.configurations.publish(NORA, made.id, None, once, NOON)
        assert await world.vault.configurations.publish(NORA, made.id, None, once, NOON) == published
        assert len(world.outbound.received) == 1

    async def test_every_step_is_told_to_the_vendors_audit_alone(self, world: World) -> None:
        published = await publish(world)
        await deprecate(world, published)
        await delete(world, published)
        told = [event.event for event in reversed(await world.audit("northwind"))]
        steps = ("created", "published", "deprecated", "deleted")
        assert told == [f"configuration.{step}" for step in steps]
        assert await world.audit("contoso") == []


class TestNegativeControl:
    @pytest.mark.parametrize(
        "answer",
        [
            said({"valid": True}),
            said({"valid": False}, 503),
            said({"valid": False}, 302),
            said({"valid": "false"}),
            said({"valid": False}, 429),
            lambda _: Reply(200, b"<html>"),
            None,
        ],
        ids=["valid to everything", "outage", "redirect", "no boolean", "too many", "no JSON", "unreachable"],
    )
    async def test_an_endpoint_that_does_not_call_wrong_values_invalid_is_not_published(
        self, world: World, answer: Answer | None
    ) -> None:
        made = await draft(world)
        world.outbound.answers = {URL: answer} if answer else {}
        with pytest.raises(EndpointUnfit):
            await world.vault.configurations.publish(NORA, made.id, None, None, NOON)
        assert await read(world, made) == made
        assert not await finds(world, made, ALICE)

    async def test_an_endpoint_that_answers_by_status_is_asked_likewise(self, world: World) -> None:
        endpoint = {"url": URL, "validStatuses": [204], "invalidStatuses": [401]}
        world.outbound.answers[URL] = lambda _: Reply(204, b"")
        with pytest.raises(EndpointUnfit):
            await publish(world, validation=endpoint)
        world.outbound.answers[URL] = lambda _: Reply(401, b"")
        assert (await publish(world, validation=endpoint)).latest is not None

    async def test_the_wrong_values_are_new_ones_every_time(self, world: World) -> None:
        await publish_anew(world, await publish(world))
        first, second = (call.values for call in world.outbound.received)
        assert first.keys() == second.keys() == {"apiKey", "account"}
        assert first["apiKey"] != second["apiKey"]
        assert len(first["apiKey"]) >= 12

    async def test_the_control_names_the_version_to_be_and_the_test_environment(self, world: World) -> None:
        published = await publish_anew(world, await publish(world))
        data = world.outbound.received[-1].json["data"]
        assert data["configuration"] == {"id": published.id, "version": 2}
        assert data["environment"] == "test"

    async def test_a_version_that_is_refused_leaves_the_one_before_in_force(self, world: World) -> None:
        published = await publish(world)
        world.outbound.answers[ELSEWHERE] = said({"valid": True})
        with pytest.raises(EndpointUnfit):
            await publish_anew(world, published, validation={"url": ELSEWHERE})
        assert (await read(world, published, ALICE)).latest == published.latest

    async def test_without_an_endpoint_nobody_is_asked(self, world: World) -> None:
        assert (await publish(world, validation=None)).state is State.PUBLISHED
        assert world.outbound.received == []

    async def test_a_url_that_may_not_be_called_is_refused_when_it_is_written(self, world: World) -> None:
        inside = {"validation": {"url": "https://vault.internal/"}}
        with pytest.raises(InvalidInput) as refused:
            await draft(world, **inside)
        assert [fault.field for fault in refused.value.errors] == ["validation.url"]
        made = await draft(world)
        with pytest.raises(InvalidInput):
            await world.vault.configurations.edit(NORA, made.id, definition(**inside), None, NOON)
        assert world.outbound.received == []


class TestWhoMayWhat:
    async def test_another_tenant_reads_what_is_published_to_it_and_changes_nothing(self, world: World) -> None:
        published = await publish(world)
        assert await finds(world, published, VIC)
        for act in changes(world, VERA, published):
            with pytest.raises(AccessDenied):
                await act()
        assert await read(world, published) == published

    async def test_to_those_who_do_not_see_it_it_does_not_exist(self, world: World) -> None:
        published = await publish(world)
        assert not await finds(world, published, MALLORY)
        for act in changes(world, FIONA, published):
            with pytest.raises(NotFound):
                await act()

    async def test_in_the_vendors_own_tenant_only_a_vendor_changes_it(self, world: World) -> None:
        published = await publish(world, audience=["northwind"])
        assert await finds(world, published, NED)
        for act in changes(world, NED, published):
            with pytest.raises(AccessDenied):
                await act()

    async def test_it_is_found_by_its_id_alone(self, world: World) -> None:
        await publish(world)
        with pytest.raises(NotFound):
            await world.vault.configurations.read(NORA, "Northwind API", NOON)

    async def test_what_is_published_to_everyone_is_found_by_everyone(self, world: World) -> None:
        published = await publish(world, audience="everyone")
        assert [await finds(world, published, who) for who in (NORA, NED, ALICE, MALLORY)] == [True] * 4

    async def test_a_list_is_read_a_page_at_a_time(self, world: World) -> None:
        made = []
        for number in range(7):
            world.clock.pass_by(minutes=1)
            made.append((await publish(world, audience=[["contoso"], "everyone"][number % 2], validation=None)).id)
        world.clock.pass_by(minutes=1)
        own = (await draft(world)).id
        for who, expected in ((ALICE, made), (NORA, [*made, own])):
            found, after = list[str](), ""
            for _ in range(20):
                page = await world.vault.configurations.page(who, after, 2)
                found += [one.id for one in page.configurations]
                if page.after is None:
                    break
                after = page.after
            assert found == expected


class TestAudience:
    async def test_who_is_no_longer_in_it_finds_nothing_and_keeps_what_exists(self, world: World) -> None:
        published = await publish(world)
        await fill(world, published)
        await publish_anew(world, published, audience=["fabrikam"])
        assert not await finds(world, published, ALICE)
        assert await finds(world, published, MALLORY)
        with pytest.raises(NotFound):
            await fill(world, published, name="another")
        with pytest.raises(NotFound):
            await upgrade(world)
        assert (await validate(world)).check.status == "valid"
        assert (await world.lease(ALICE, "northwind")).fields["apiKey"].get_secret_value() == GOOD

    async def test_an_older_version_is_of_no_help_to_those_outside(self, world: World) -> None:
        published = await publish(world)
        await publish_anew(world, published, audience=["fabrikam"])
        with pytest.raises(NotFound):
            await fill(world, published, version=1)

    async def test_a_draft_widens_it_only_once_it_is_published(self, world: World) -> None:
        published = await publish(world)
        await world.vault.configurations.edit(NORA, published.id, definition(audience="everyone"), None, NOON)
        assert not await finds(world, published, MALLORY)
        await world.vault.configurations.publish(NORA, published.id, None, None, NOON)
        assert await finds(world, published, MALLORY)


class TestDeletion:
    async def test_nothing_is_left_of_one_on_which_nothing_lives(self) -> None:
        world = new_world()
        published = await publish_anew(world, await publish(world, audience="everyone"), audience=["contoso"])
        secret = published.signing[0].secret
        await delete(world, published)
        assert not await finds(world, published, NORA)
        assert await left_of(world, published) == []
        with pytest.raises(SecretMissing):
            await world.stores.secrets.read(secret)

    async def test_it_is_refused_while_a_credential_of_another_tenant_lives_on_it(self, world: World) -> None:
        published = await publish(world)
        await fill(world, published)
        await publish_anew(world, published, audience=[])
        with pytest.raises(ConfigurationInUse):
            await delete(world, published)
        assert (await validate(world)).check.status == "valid"
        assert (await read(world, published)).latest is not None

    async def test_a_refused_deletion_leaves_it_as_usable_as_before(self, world: World) -> None:
        published = await publish(world)
        await fill(world, published)
        with pytest.raises(ConfigurationInUse):
            await delete(world, published)
        assert await finds(world, published, ALICE)
        assert (await fill(world, published, name="another")).configuration is not None

    @pytest.mark.parametrize("end", ["revoke", "delete"])
    async def test_it_is_allowed_once_that_credential_is_no_more(self, world: World, end: str) -> None:
        published = await publish(world)
        await fill(world, published)
        if end == "revoke":
            await world.revoke(reference="northwind")
        else:
            await world.vault.credentials.delete(ALICE, "northwind", None, NOON)
        await delete(world, published)
        assert await left_of(world, published) == []

    async def test_the_vendors_own_credentials_count_too(self, world: World) -> None:
        published = await publish(world, audience=["northwind"])
        await fill(world, published, person("nils", Role.USER, tenant="northwind"))
        with pytest.raises(ConfigurationInUse):
            await delete(world, published)

    async def test_a_credential_that_never_came_to_be_counts_for_ten_minutes(self, world: World) -> None:
        published = await publish(world)
        world.restart(Plan(crash_after=await calls_until_the_pin(published)))
        with pytest.raises(Crash):
            await fill(world, published)
        world.restart()
        with pytest.raises(ConfigurationInUse):
            await delete(world, published)
        world.clock.pass_by(minutes=11)
        await delete(world, published)
        assert await left_of(world, published) == []


async def calls_until_the_pin(published: Configuration) -> int:
    """The number of the call by which a worker that knows nothing pins a credential to the configuration."""
    world = World()
    same = await publish(world)
    world.restart()
    await fill(world, same)
    return next(call.number for call in world.ledger.calls if (call.store, call.method) == ("catalog", "commit"))


class TestCatalogRowsThatSomebodyForged:
    async def forge(self, world: World, partition: str, key: str, **document: Any) -> None:
        await world.stores.catalog.commit(Put(Row(partition, key, document)))

    async def assert_opens_nothing(self, world: World, configuration: Configuration, by: Caller) -> None:
        assert not await finds(world, configuration, by)
        with pytest.raises(NotFound):
            await fill(world, configuration, by)

    async def test_an_audience_that_was_widened_by_hand_opens_nothing(self, world: World) -> None:
        published = await publish(world)
        await self.forge(world, "audience:fabrikam", published.id, vendor="northwind")
        await self.forge(world, "audience:*", published.id, vendor="northwind")
        await self.assert_opens_nothing(world, published, MALLORY)

    async def test_a_pointer_to_a_draft_opens_nothing(self, world: World) -> None:
        made = await draft(world, audience="everyone")
        await self.forge(world, "audience:contoso", made.id, vendor="northwind")
        await self.assert_opens_nothing(world, made, ALICE)

    @pytest.mark.parametrize(
        "document",
        [{"vendor": "fabrikam"}, {"vendor": "bogus"}, {"vendor": ["northwind"]}, {"vendor": None}, {}],
        ids=["another tenant", "a tenant that is not served", "a list", "null", "nothing"],
    )
    async def test_a_pointer_that_points_elsewhere_opens_nothing(self, world: World, document: dict[str, Any]) -> None:
        published = await publish(world)
        await self.forge(world, "audience:contoso", published.id, **document)
        world.ledger.calls.clear()
        await self.assert_opens_nothing(world, published, ALICE)
        assert "bogus" not in str(world.ledger)

    async def test_a_pointer_at_another_configuration_leads_to_that_one(self, world: World) -> None:
        hidden, offered = await publish(world, audience=["fabrikam"]), await publish(world)
        await self.forge(world, "audience:contoso", hidden.id, vendor="northwind", configuration=offered.id)
        await self.assert_opens_nothing(world, hidden, ALICE)

    async def test_pins_that_were_deleted_let_the_vendor_go_and_send_nothing_anywhere(self, world: World) -> None:
        published = await publish(world)
        credential = await fill(world, published)
        await validate(world)
        await world.stores.catalog.commit(Discard("vendor:northwind", f"{published.id}|contoso|{credential.id}"))
        await delete(world, published)
        world.outbound.received.clear()
        world.clock.pass_by(days=2)
        checked = await validate(world)
        assert (checked.check.status, checked.check.reason) == ("unknown", "configuration-gone")
        assert checked.shown.credential.validation.status == "valid"
        assert (await world.lease(ALICE, "northwind")).fields["apiKey"].get_secret_value() == GOOD
        assert world.outbound.received == []

    async def test_pins_of_what_does_not_live_on_it_hold_up_nothing(self, world: World) -> None:
        published, another = await publish(world), await world.create()
        for pin in (f"bogus|{another.id}", f"contoso|{another.id}", "contoso|no-credential", "contoso"):
            at = "2020-01-01T00:00:00+00:00"
            await self.forge(world, "vendor:northwind", f"{published.id}|{pin}", at=at)
        await delete(world, published)
        assert await left_of(world, published) == []


def changes(world: World, by: Caller, of: Configuration) -> list[Callable[[], Awaitable[object]]]:
    """Every way to change a configuration."""
    configurations = world.vault.configurations
    return [
        lambda: configurations.edit(by, of.id, definition(name="Other"), None, NOON),
        lambda: configurations.publish(by, of.id, None, None, NOON),
        lambda: configurations.deprecate(by, of.id, None, NOON),
        lambda: configurations.delete(by, of.id, None, NOON),
        lambda: configurations.rotate_secret(by, of.id, None, NOON),
        lambda: configurations.test(by, of.id, {}, "test", (), NOON),
    ]

"""Credentials made from a vendor's configuration: what they accept, keep to, and move on from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.outbound import accepts
from tests.vaults import ALICE, LOLA, MONA, NOON, World
from tests.vendors import (
    ELSEWHERE,
    FIELDS,
    GOOD,
    NEW,
    NORA,
    URL,
    check_due,
    definition,
    faults_of,
    fill,
    leased,
    publish,
    publish_anew,
    reread,
    rotate,
    upgrade,
    validate,
)
from vault_core.attributes import ChangedAttribute
from vault_core.configuration import Configuration
from vault_core.credential import Credential, State
from vault_core.credential_requests import CreateCredential, RedefineCredential, RotateCredential
from vault_core.errors import (
    AccessDenied,
    ConfigurationNotUsable,
    CredentialExpired,
    CredentialNotUsable,
    NotFound,
)
from vault_core.repeats import Once

DAY = timedelta(days=1)
REGION = {"id": "region", "label": "Region", "hint": "eu or us", "type": "text", "secret": False, "maxLength": 2}


@pytest.fixture
def world() -> World:
    return World()


class TestCreation:
    async def test_it_pins_the_latest_version(self, world: World) -> None:
        configuration = await publish_anew(world, await publish(world), rotation={"every": "30d"})
        pinned = (await fill(world, configuration)).configuration
        assert pinned is not None
        assert (pinned.id, pinned.version, pinned.vendor) == (configuration.id, 2, "northwind")
        assert (pinned.host, pinned.check_every, pinned.rotate_every) == ("api.northwind.example", DAY, 30 * DAY)
        assert pinned.products == ("nw-mail",)

    async def test_an_older_version_can_be_chosen_and_one_that_never_was_cannot(self, world: World) -> None:
        configuration = await publish_anew(world, await publish(world))
        pinned = (await fill(world, configuration, version=1)).configuration
        assert pinned is not None
        assert pinned.version == 1
        with pytest.raises(NotFound):
            await fill(world, configuration, version=3, name="another")

    async def test_its_fields_are_its_attributes_and_secret_ones_are_masked(self, world: World) -> None:
        credential = await fill(world, await publish(world), fields={"apiKey": GOOD, "account": "acme"})
        about = {one.name: (one.description, one.masked, one.password_flag) for one in credential.attributes}
        assert about == {"apiKey": ("API key", True, True), "account": ("Account", False, False)}
        assert credential.type == "generic-secret"
        assert await leased(world) == {"apiKey": GOOD, "account": "acme"}

    async def test_each_field_at_fault_is_named_with_the_vendors_hint(self, world: World) -> None:
        configuration = await publish(world, fields=[*FIELDS, REGION])
        faults = await faults_of(fill(world, configuration, fields={"apiKey": "short", "region": "emea"}))
        assert faults == {
            "fields.apiKey": "must have at least 12 characters (You find it under Settings)",
            "fields.region": "must have at most 2 characters (eu or us)",
        }
        assert await faults_of(fill(world, configuration, fields={"apiKey": GOOD})) == {
            "fields.region": "is required: Region (eu or us)"
        }

    async def test_a_field_that_it_does_not_have_is_refused_with_those_that_it_has(self, world: World) -> None:
        [message] = (await faults_of(fill(world, await publish(world), fields={"token": GOOD}))).values()
        assert "apiKey, account" in message
        assert GOOD not in message

    async def test_a_single_value_is_that_of_the_only_field(self, world: World) -> None:
        await fill(world, await publish(world, fields=FIELDS[:1]), fields=None, value=GOOD)
        assert await leased(world) == {"apiKey": GOOD}
        two = await publish(world)
        assert "value" in await faults_of(fill(world, two, name="two", fields=None, value=GOOD))

    async def test_a_default_stands_in_for_what_is_left_out(self, world: World) -> None:
        fields = [*FIELDS, {**REGION, "default": "eu"}]
        await fill(world, await publish(world, fields=fields))
        assert await leased(world) == {"apiKey": GOOD, "region": "eu"}

    async def test_environment_marketplaces_and_validity_are_its_own(self, world: World) -> None:
        configuration = await publish(world)
        plain = await fill(world, configuration, name="plain")
        assert (plain.environment, plain.marketplaces, plain.valid_from, plain.valid_until) == (
            "production",
            (),
            None,
            None,
        )
        bounds: dict[str, Any] = {"validFrom": "2026-11-22T12:00:00Z", "validUntil": "2026-11-24T12:00:00Z"}
        credential = await fill(world, configuration, environment="preview", marketplaces=["de", "at"], **bounds)
        assert (credential.environment, credential.marketplaces) == ("preview", ("de", "at"))
        for days, expected in ((0, CredentialNotUsable), (2, None), (4, CredentialExpired)):
            world.clock.now = NOON + days * DAY
            if expected is None:
                await leased(world)
                continue
            with pytest.raises(expected):
                await leased(world)

    async def test_a_type_or_attributes_that_contradict_it_are_refused(self, world: World) -> None:
        configuration = await publish(world)
        assert await faults_of(fill(world, configuration, type="api-key")) == {
            "type": "is generic-secret in this configuration; leave it out"
        }
        with pytest.raises(ValueError, match="leave `attributes` out"):
            await fill(world, configuration, type="generic-secret", attributes=[{"name": "mine"}])

    async def test_the_same_request_sent_again_makes_one_credential_and_one_call(self, world: World) -> None:
        configuration, once = await publish(world), Once("key", "create", b"{}")
        world.outbound.received.clear()
        body = {"name": "northwind", "configuration": {"id": configuration.id}, "fields": {"apiKey": GOOD}}
        wanted = CreateCredential.model_validate(body)
        first = await world.vault.creations.create(ALICE, wanted, once, NOON, validate=True)
        again = await world.vault.creations.create(ALICE, wanted, once, NOON, validate=True)
        assert again.credential.id == first.credential.id
        assert len(world.outbound.received) == 1

    async def test_it_is_told_with_what_it_was_made_from(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        [event] = [one for one in await world.audit() if one.event == "credential.created"]
        assert event.details == {
            "type": "generic-secret",
            "configuration": configuration.id,
            "configurationVersion": 1,
        }


class TestRotation:
    async def test_what_is_left_out_stays(self, world: World) -> None:
        await fill(world, await publish(world), fields={"apiKey": GOOD, "account": "acme"})
        rotated = await rotate(world, apiKey=NEW)
        assert (rotated.newest.number, rotated.versions[0].state) == (2, State.ROTATED)
        assert await leased(world) == {"apiKey": NEW, "account": "acme"}

    async def test_leases_from_before_keep_the_value_that_they_were_given(self, world: World) -> None:
        await fill(world, await publish(world))
        before = await world.lease(ALICE, "northwind")
        await rotate(world, apiKey=NEW)
        seen = await world.vault.leases.read(ALICE, before.lease.id, world.clock())
        assert (seen.lease.version, seen.state.value) == (1, "active")

    async def test_the_same_values_are_no_rotation(self, world: World) -> None:
        await fill(world, await publish(world), fields={"apiKey": GOOD, "account": "acme"})
        assert await faults_of(rotate(world, apiKey=GOOD)) == {"fields": "is the value that is active now"}
        assert (await reread(world)).newest.number == 1

    async def test_a_new_value_must_fit_the_configuration_too(self, world: World) -> None:
        await fill(world, await publish(world))
        for value in ("short", "", f"{NEW}\n"):
            assert "fields.apiKey" in await faults_of(rotate(world, apiKey=value))
        assert await leased(world) == {"apiKey": GOOD}

    async def test_the_rules_are_those_of_the_pinned_version(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        await publish_anew(world, configuration, fields=[{**FIELDS[0], "minLength": 100}, REGION])
        assert (await rotate(world, apiKey=NEW)).newest.number == 2


class TestSingleValues:
    async def write(self, world: World, **values: str) -> None:
        given = {name: SecretStr(text) for name, text in values.items()}
        await world.vault.values.write(ALICE, "northwind", given, None, world.clock())

    async def test_they_are_written_under_the_configurations_rules(self, world: World) -> None:
        await fill(world, await publish(world))
        await self.write(world, account="acme")
        assert await leased(world) == {"apiKey": GOOD, "account": "acme"}
        assert "fields.apiKey" in await faults_of(self.write(world, apiKey="short"))

    async def test_a_required_one_cannot_be_removed(self, world: World) -> None:
        await fill(world, await publish(world))
        faults = await faults_of(world.vault.values.remove(ALICE, "northwind", "apiKey", NOON))
        assert faults == {"fields.apiKey": "is required: API key (You find it under Settings)"}
        assert await leased(world) == {"apiKey": GOOD}

    async def test_an_optional_one_can_be_removed_and_a_default_comes_back(self, world: World) -> None:
        fields = [*FIELDS, {**REGION, "default": "eu"}]
        values = {"apiKey": GOOD, "account": "acme", "region": "us"}
        await fill(world, await publish(world, fields=fields), fields=values)
        for name in ("account", "region"):
            await world.vault.values.remove(ALICE, "northwind", name, NOON)
        assert await leased(world) == {"apiKey": GOOD, "region": "eu"}


class TestRedefinition:
    async def redefine(self, world: World, **changes: Any) -> Credential:
        wanted = RedefineCredential.model_validate({"name": "northwind"} | changes)
        return (await world.vault.redefinitions.redefine(ALICE, "northwind", wanted, None, NOON)).credential

    async def test_the_attributes_are_the_vendors_to_define(self, world: World) -> None:
        await fill(world, await publish(world))
        for attributes in ([{"name": "apiKey"}], [{"name": "mine"}]):
            assert await faults_of(self.redefine(world, attributes=attributes)) == {
                "attributes": "are the fields of its configuration"
            }

    async def test_name_and_description_are_the_owners(self, world: World) -> None:
        credential = await fill(world, await publish(world))
        same = [
            ChangedAttribute(**{name: getattr(one, name) for name in ChangedAttribute.model_fields})
            for one in credential.attributes
        ]
        sent_back = [one.model_dump(by_alias=True) for one in same]
        assert (await self.redefine(world, name="Mail", description="ours", attributes=sent_back)).name == "Mail"


class TestAnotherUrl:
    """What a vendor publishes later sends no value anywhere, until the owner says so."""

    async def moved(self, world: World) -> Configuration:
        """A credential pinned to version 1, whose vendor published version 2 with another URL."""
        configuration = await publish(world)
        await fill(world, configuration)
        configuration = await publish_anew(world, configuration, validation={"url": ELSEWHERE})
        world.outbound.received.clear()
        return configuration

    def sent(self, world: World) -> dict[str, int]:
        urls = [call.url for call in world.outbound.received]
        return {url: urls.count(url) for url in urls}

    async def use(self, world: World) -> None:
        """Everything that asks the vendor about the credential."""
        await validate(world)
        await check_due(world, days=2)
        world.clock.pass_by(minutes=2)
        await rotate(world, apiKey=NEW, validate=True)

    async def test_nothing_is_sent_to_it_before_the_owner_upgrades(self, world: World) -> None:
        world.outbound.answers[URL] = accepts(GOOD, NEW)
        await self.moved(world)
        await self.use(world)
        assert self.sent(world) == {URL: 3}

    async def test_the_draft_of_it_takes_nothing_either(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        wanted = definition(validation={"url": ELSEWHERE})
        await world.vault.configurations.edit(NORA, configuration.id, wanted, None, NOON)
        world.outbound.received.clear()
        world.outbound.answers[URL] = accepts(GOOD, NEW)
        await self.use(world)
        assert self.sent(world) == {URL: 3}

    @pytest.mark.parametrize("caller", [MONA, LOLA], ids=["manager", "locker admin"])
    async def test_nobody_but_the_owner_can_upgrade(self, world: World, caller: Any) -> None:
        await self.moved(world)
        with pytest.raises(AccessDenied):
            await upgrade(world, caller)
        await self.use_old(world)

    async def use_old(self, world: World) -> None:
        await check_due(world, days=2)
        assert self.sent(world) == {URL: 1}

    async def test_afterwards_everything_goes_to_the_new_one_alone(self, world: World) -> None:
        world.outbound.answers[ELSEWHERE] = accepts(GOOD, NEW)
        await self.moved(world)
        upgraded = await upgrade(world)
        assert upgraded.configuration is not None
        assert (upgraded.configuration.version, upgraded.configuration.host) == (2, "elsewhere.northwind.example")
        assert self.sent(world) == {}
        world.clock.pass_by(minutes=2)
        await self.use(world)
        assert self.sent(world) == {ELSEWHERE: 3}

    async def test_the_standing_verdict_stands_until_the_new_one_answers(self, world: World) -> None:
        await self.moved(world)
        await validate(world)
        world.outbound.answers[ELSEWHERE] = accepts("nothing")
        upgraded = await upgrade(world)
        assert (upgraded.validation.status, upgraded.validation.next_check_at) == ("valid", world.clock())
        await check_due(world, minutes=5)
        assert (await reread(world)).validation.status == "invalid"

    async def test_an_upgrade_is_told_with_the_host_that_values_go_to(self, world: World) -> None:
        configuration = await self.moved(world)
        await upgrade(world)
        [event] = [one for one in await world.audit() if one.event == "credential.updated"]
        about = {"configuration": configuration.id, "version": 2, "host": "elsewhere.northwind.example"}
        assert event.details == {"fields": ["configuration"]} | about


class TestUpgrade:
    async def test_it_is_repeatable_and_never_goes_back(self, world: World) -> None:
        configuration = await publish_anew(world, await publish(world))
        await fill(world, configuration, version=1)
        upgraded = await upgrade(world)
        assert await upgrade(world) == upgraded
        with pytest.raises(ConfigurationNotUsable):
            await upgrade(world, version=1)
        with pytest.raises(NotFound):
            await upgrade(world, version=3)

    async def test_a_new_required_field_must_be_given(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        await publish_anew(world, configuration, fields=[*FIELDS, REGION])
        assert await faults_of(upgrade(world)) == {"fields.region": "is required: Region (eu or us)"}
        upgraded = await upgrade(world, fields={"region": "eu"})
        assert (upgraded.newest.number, upgraded.versions[0].state) == (2, State.ROTATED)
        assert await leased(world) == {"apiKey": GOOD, "region": "eu"}

    async def test_a_field_that_went_takes_its_value_along(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration, fields={"apiKey": GOOD, "account": "acme"})
        await publish_anew(world, configuration, fields=FIELDS[:1])
        upgraded = await upgrade(world)
        assert [one.name for one in upgraded.attributes] == ["apiKey"]
        assert await leased(world) == {"apiKey": GOOD}

    async def test_a_value_that_no_longer_fits_must_be_replaced(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        await publish_anew(world, configuration, fields=[{**FIELDS[0], "minLength": 30}])
        assert "fields.apiKey" in await faults_of(upgrade(world))
        assert await leased(world) == {"apiKey": GOOD}

    async def test_another_type_is_another_credential(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration)
        value = [{"id": "value", "label": "Key", "type": "password"}]
        await publish_anew(world, configuration, credentialType="api-key", fields=value)
        with pytest.raises(ConfigurationNotUsable):
            await upgrade(world)

    async def test_one_that_has_no_configuration_has_nothing_to_move_on_to(self, world: World) -> None:
        await world.create()
        with pytest.raises(ConfigurationNotUsable):
            await upgrade(world, reference="db-password")

    async def test_to_a_deprecated_one_nothing_moves_and_what_exists_works_on(self, world: World) -> None:
        world.outbound.answers[URL] = accepts(GOOD, NEW)
        configuration = await publish_anew(world, await publish(world))
        await fill(world, configuration, version=1)
        await world.vault.configurations.deprecate(NORA, configuration.id, None, NOON)
        with pytest.raises(ConfigurationNotUsable):
            await upgrade(world)
        await rotate(world, apiKey=NEW)
        assert await leased(world) == {"apiKey": NEW}
        await check_due(world, days=1)
        assert (await reread(world)).validation.status == "valid"


async def test_a_rotation_with_the_whole_value_as_one_text_fits_the_only_field(world: World) -> None:
    await fill(world, await publish(world, fields=FIELDS[:1]))
    body = RotateCredential.model_validate({"value": NEW})
    await world.vault.credentials.rotate(ALICE, "northwind", body, None, None, NOON)
    assert await leased(world) == {"apiKey": NEW}

"""The call that asks a vendor: exactly what is sent, and that a receiver's library verifies it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from tests.outbound import Received
from tests.vaults import NOON, Clock, World
from tests.vendors import GOOD, NEW, NORA, URL, check_due, definition, fill, publish, reread, rotate, validate
from vault_core.configuration import Configuration
from vault_core.configurations import Issued
from vault_core.errors import ConfigurationNotUsable, SecretMissing, TooSoon, ValueRefused
from vault_core.outbound import Reply
from vault_core.repeats import Once
from vault_core.vendor_answers import Outcome

DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def world_of_today() -> World:
    """A world whose clock is that of this machine, which the receiver's library compares with."""
    return World(clock=Clock(datetime.now(UTC).replace(microsecond=0)))


async def rotate_secret(world: World, configuration: Configuration, once: Once | None = None) -> Issued:
    return await world.vault.configurations.rotate_secret(NORA, configuration.id, once, world.clock())


async def try_out(world: World, configuration: Configuration, **values: str) -> Outcome:
    given = {name: SecretStr(text) for name, text in values.items()}
    return await world.vault.configurations.test(NORA, configuration.id, given, "preview", ("de",), world.clock())


def verifies(secret: SecretStr, call: Received) -> bool:
    try:
        Webhook(secret.get_secret_value()).verify(call.body, dict(call.headers))
    except WebhookVerificationError:
        return False
    return True


class TestBody:
    async def test_it_is_exactly_what_is_documented(self, world: World) -> None:
        configuration = await publish(world)
        credential = await fill(
            world,
            configuration,
            environment="preview",
            marketplaces=["de", "at"],
            fields={"apiKey": GOOD, "account": "Zürich ☃"},
        )
        await validate(world)
        call = world.outbound.received[-1]
        assert json.loads(call.body) == {
            "type": "credential.validation",
            "timestamp": "2026-11-21T12:00:00.000Z",
            "data": {
                "credential": {"id": credential.id, "name": "northwind"},
                "configuration": {"id": configuration.id, "version": 1},
                "environment": "preview",
                "marketplaces": ["de", "at"],
                "values": {"apiKey": GOOD, "account": "Zürich ☃"},
            },
        }
        assert "Zürich ☃".encode() in call.body
        assert call.url == URL

    async def test_the_headers_are_those_of_the_standard_and_tell_nothing_else(self, world: World) -> None:
        await fill(world, await publish(world))
        await validate(world)
        headers = world.outbound.received[-1].headers
        assert headers.keys() == {
            *("content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature"),
        }
        assert headers["content-type"] == "application/json"
        assert headers["webhook-timestamp"] == str(int(NOON.timestamp()))

    async def test_each_question_has_an_id_of_its_own(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration, validate=True)
        await fill(world, configuration, name="another", validate=True)
        for act in (lambda: validate(world), lambda: rotate(world, validate=True, apiKey=GOOD, account="acme")):
            world.clock.pass_by(minutes=2)
            await act()
        await check_due(world, days=2)
        ids = [call.headers["webhook-id"] for call in world.outbound.received]
        assert len(set(ids)) == len(ids) == 7

    async def test_a_proof_sends_the_new_values_whole(self, world: World) -> None:
        await fill(world, await publish(world), fields={"apiKey": GOOD, "account": "acme"})
        with pytest.raises(ValueRefused):
            await rotate(world, validate=True, apiKey=NEW)
        assert world.outbound.received[-1].values == {"apiKey": NEW, "account": "acme"}

    async def test_the_endpoint_is_given_the_time_that_the_vendor_asked_for(self, world: World) -> None:
        within = list[timedelta]()

        class Timed:
            def check(self, url: str) -> str:
                return world.outbound.check(url)

            async def post(self, url: str, headers: Any, body: bytes, within_: timedelta) -> Reply:
                within.append(within_)
                return await world.outbound.post(url, headers, body, within_)

        await fill(world, await publish(world, validation={"url": URL, "timeoutSeconds": 3}))
        world.vault = type(world.vault)(world.stores, ("contoso", "northwind"), world.clock, Timed())
        await validate(world)
        assert within == [timedelta(seconds=3)]


class TestSignature:
    async def test_a_receivers_library_verifies_it(self, world_of_today: World) -> None:
        world = world_of_today
        configuration = await publish(world)
        secret = (await rotate_secret(world, configuration)).secret
        await fill(world, configuration, validate=True)
        call = world.outbound.received[-1]
        assert verifies(secret, call)
        changed = Received(call.url, call.headers, call.body.replace(GOOD.encode(), NEW.encode()))
        assert not verifies(secret, changed)

    async def test_the_first_secret_is_the_one_that_was_shown_at_creation(self, world_of_today: World) -> None:
        world = world_of_today
        issued = await world.vault.configurations.create(NORA, definition(), None, world.clock())
        world.outbound.answers[URL] = lambda _: Reply(200, b'{"valid": false}')
        await world.vault.configurations.publish(NORA, issued.configuration.id, None, None, world.clock())
        assert verifies(issued.secret, world.outbound.received[-1])

    async def test_two_secrets_sign_for_a_day_after_a_rotation_and_then_one(self, world_of_today: World) -> None:
        world = world_of_today
        configuration = await publish(world)
        old = (await rotate_secret(world, configuration)).secret
        began = world.clock.now
        # The library compares with the clock of the machine, so what was before is put into the past.
        for age, signs in ((DAY - timedelta(seconds=1), [True, True]), (DAY, [False, True])):
            world.clock.now = began - age
            new = (await rotate_secret(world, configuration)).secret
            world.clock.now = began
            await try_out(world, configuration, apiKey=GOOD)
            call = world.outbound.received[-1]
            assert [verifies(one, call) for one in (old, new)] == signs
            old = new

    async def test_however_often_it_is_rotated_at_most_four_sign_and_the_newest_is_one(self, world: World) -> None:
        configuration = await publish(world)
        for _ in range(6):
            await rotate_secret(world, configuration)
        await try_out(world, configuration, apiKey=GOOD)
        assert len(world.outbound.received[-1].headers["webhook-signature"].split(" ")) == 4

    async def test_what_no_longer_signs_is_destroyed(self, world: World) -> None:
        configuration = await publish(world)
        first = configuration.signing[0].secret
        await rotate_secret(world, configuration)
        world.clock.now += 2 * DAY
        after = (await rotate_secret(world, configuration)).configuration
        assert first not in [one.secret for one in after.signing]
        world.clock.now += timedelta(minutes=1)
        await world.vault.reconcile()
        with pytest.raises(SecretMissing):
            await world.stores.secrets.read(first)

    async def test_a_rotation_that_is_repeated_shows_the_same_secret(self, world: World) -> None:
        configuration, once = await publish(world), Once("key", "rotate-secret", b"")
        first = await rotate_secret(world, configuration, once)
        again = await rotate_secret(world, configuration, once)
        assert (again.secret, again.configuration.signing) == (first.secret, first.configuration.signing)

    async def test_no_text_shows_a_secret(self, world: World) -> None:
        issued = await rotate_secret(world, await publish(world))
        assert issued.secret.get_secret_value().startswith("whsec_")
        assert "whsec_" not in f"{issued!r} {issued.configuration!r} {await world.audit('northwind')}"


class TestTryingOut:
    async def test_it_asks_about_what_is_given_and_keeps_nothing(self, world: World) -> None:
        configuration = await publish(world)
        assert (await try_out(world, configuration, apiKey=GOOD)).status == "valid"
        data = world.outbound.received[-1].json["data"]
        assert (data["environment"], data["marketplaces"]) == ("preview", ["de"])
        assert data["configuration"] == {"id": configuration.id, "version": 1}
        told = [one for one in await world.audit("northwind") if one.event == "configuration.tested"]
        assert [one.details for one in told] == [{"configuration": configuration.id, "host": "api.northwind.example"}]
        assert GOOD not in str(told)

    async def test_values_that_do_not_fit_are_not_sent(self, world: World) -> None:
        configuration = await publish(world)
        world.outbound.received.clear()
        with pytest.raises(ValueRefused):
            await try_out(world, configuration, apiKey="short")
        assert world.outbound.received == []

    async def test_it_is_of_no_use_without_an_endpoint_and_paced_with_one(self, world: World) -> None:
        with pytest.raises(ConfigurationNotUsable):
            await try_out(world, await publish(world, validation=None), apiKey=GOOD)
        configuration = await publish(world)
        world.clock.pass_by(minutes=1)
        for _ in range(30):
            await try_out(world, configuration, apiKey=GOOD)
        with pytest.raises(TooSoon):
            await try_out(world, configuration, apiKey=GOOD)


async def test_a_status_is_the_answer_where_the_vendor_says_so(world: World) -> None:
    endpoint = {"url": URL, "validStatuses": [200, 204], "invalidStatuses": [401, 403]}
    world.outbound.answers[URL] = lambda _: Reply(401, b"")
    await fill(world, await publish(world, validation=endpoint))
    for code, status in ((204, "valid"), (403, "invalid"), (500, "invalid"), (404, "invalid"), (200, "valid")):
        world.outbound.answers[URL] = lambda _, code=code: Reply(code, b'{"valid": true}')  # type: ignore[misc]
        world.clock.pass_by(minutes=2)
        await validate(world)
        assert (await reread(world)).validation.status == status

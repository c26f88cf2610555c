"""What is particular to the operations on subscriptions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tests.api.app import App, Reply
from tests.subscribers import OTHER_URL, URL, answers, signed_by
from tests.vaults import ADA, ALICE, MALLORY, MONA, OTTO
from vault_core.deliveries import GIVE_UP_AFTER
from vault_core.identities import Caller

WANTED = {"url": URL, "events": ["credential.*"], "description": "The shop"}
KEY = {"Idempotency-Key": "key-1"}


@pytest.fixture
def app() -> App:
    return App()


async def subscribe(app: App, caller: Caller = ADA, status: int | None = 204, **wanted: Any) -> Reply:
    """Subscribe, and have the subscriber answer with this status."""
    reply = await app.send("POST", "/subscriptions", caller, WANTED | wanted)
    assert reply.status == 201, reply.body
    if status:
        app.world.outbound.answers[reply["url"]] = answers(status)
    app.world.clock.pass_by(seconds=11)
    return reply


def at(subscription: Reply, rest: str = "") -> str:
    return f"/subscriptions/{subscription['id']}{rest}"


class TestCreating:
    async def test_shows_the_secret_once(self, app: App) -> None:
        made = await subscribe(app)
        assert made["signingSecret"].startswith("whsec_")
        assert made.headers["Location"] == f"/api/v1/subscriptions/{made['id']}"
        shown = await app.send("GET", at(made), ADA)
        assert (shown.status, shown.etag) == (200, made.etag)
        assert shown.body == {name: value for name, value in made.body.items() if name != "signingSecret"}
        assert (await app.send("GET", "/subscriptions", ADA)).body == {"items": [shown.body]}

    async def test_that_is_repeated_shows_it_again(self, app: App) -> None:
        first, again = [await app.send("POST", "/subscriptions", ADA, WANTED, KEY) for _ in range(2)]
        assert (again.status, again.body) == (201, first.body)
        other = await app.send("POST", "/subscriptions", ADA, WANTED | {"url": OTHER_URL}, KEY)
        assert other.code == (409, "idempotency-key-reused")

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ({"url": "http://hooks.contoso.example/"}, "url"),
            ({"url": "https://hooks.internal/"}, "url"),
            ({"url": "https://hooks.contoso.example/" + "a" * 2048}, "url"),
            ({"events": []}, "events"),
            ({"events": ["credential.read"]}, "events.0"),
            ({"events": ["*"] * 51}, "events"),
            ({"description": "a" * 256}, "description"),
            ({"enabled": "yes"}, "enabled"),
            ({"secret": "whsec_mine"}, "secret"),
        ],
        ids=lambda one: one if isinstance(one, str) else next(iter(one)),
    )
    async def test_refuses_what_cannot_be_meant(self, app: App, wanted: dict[str, Any], field: str) -> None:
        reply = await app.send("POST", "/subscriptions", ADA, WANTED | wanted)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), [field])
        assert "internal/" not in reply.content.decode()

    async def test_stops_at_twenty(self, app: App) -> None:
        for _ in range(20):
            await subscribe(app)
        reply = await app.send("POST", "/subscriptions", ADA, WANTED)
        assert reply.code == (409, "subscription-limit-reached")


class TestChanging:
    async def test_needs_the_present_tag(self, app: App) -> None:
        made = await subscribe(app)
        assert (await app.send("PATCH", at(made), ADA, {"enabled": False})).code == (428, "precondition-required")
        tag = {"If-Match": made.etag}
        changed = await app.send("PATCH", at(made), ADA, {"enabled": False, "description": None}, tag)
        assert (changed.status, changed["enabled"], changed["description"], changed["url"]) == (200, False, "", URL)
        assert (await app.send("PATCH", at(made), ADA, {"enabled": True}, tag)).code == (412, "stale-version")
        assert (await app.send("GET", at(made), ADA)).etag == changed.etag

    async def test_is_seen_by_who_asks_whether_it_changed(self, app: App) -> None:
        made = await subscribe(app)
        assert (await app.send("GET", at(made), ADA, headers={"If-None-Match": made.etag})).status == 304
        await app.send("POST", at(made, "/rotate-secret"), ADA)
        assert (await app.send("GET", at(made), ADA, headers={"If-None-Match": made.etag})).status == 200

    async def test_the_secret_shows_the_new_one_and_both_sign(self, app: App) -> None:
        made = await subscribe(app)
        rotated = await app.send("POST", at(made, "/rotate-secret"), ADA, headers=KEY)
        again = await app.send("POST", at(made, "/rotate-secret"), ADA, headers=KEY)
        assert rotated.body == again.body
        assert rotated["signingSecret"] != made["signingSecret"]
        assert (await app.send("POST", at(made, "/test"), ADA)).body == {"delivered": True}
        [call] = app.world.outbound.received
        assert signed_by(call, SecretStr(rotated["signingSecret"]))
        assert signed_by(call, SecretStr(made["signingSecret"]))

    async def test_ends_it(self, app: App) -> None:
        made = await subscribe(app)
        stale = await app.send("DELETE", at(made), ADA, headers={"If-Match": '"old"'})
        assert stale.code == (412, "stale-version")
        assert (await app.send("DELETE", at(made), ADA)).status == 204
        for method, rest in (
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/test"),
            ("GET", "/deliveries"),
            ("POST", "/replay"),
        ):
            assert (await app.send(method, at(made, rest), ADA)).code == (404, "not-found")


class TestTesting:
    @pytest.mark.parametrize("status", [None, 302, 401, 500])
    async def test_tells_nothing_of_what_the_other_side_answered(self, app: App, status: int | None) -> None:
        made = await subscribe(app, status=status)
        reply = await app.send("POST", at(made, "/test"), ADA)
        assert (reply.status, reply.body) == (200, {"delivered": False})

    async def test_too_soon_is_told_when_it_can_be_repeated(self, app: App) -> None:
        made = await subscribe(app)
        await app.send("POST", at(made, "/test"), ADA)
        app.world.clock.pass_by(seconds=15)
        reply = await app.send("POST", at(made, "/test"), ADA)
        assert (reply.code, reply.headers["Retry-After"]) == ((429, "too-soon"), "45")
        assert len(app.world.outbound.received) == 1


class TestDeliveries:
    async def test_are_listed_while_they_wait(self, app: App) -> None:
        made = await subscribe(app, status=500)
        await app.create()
        [waiting] = (await app.send("GET", at(made, "/deliveries"), ADA))["items"]
        assert (waiting["event"], waiting["state"], waiting["attempts"]) == ("credential.created", "pending", 0)
        await app.world.vault.deliver_events()
        [waiting] = (await app.send("GET", at(made, "/deliveries?state=pending"), ADA))["items"]
        assert (waiting["attempts"], waiting["nextAttemptAt"] > waiting["at"]) == (1, True)
        [event] = (await app.send("GET", "/audit?event=credential.created", ADA))["items"]
        assert (waiting["id"], waiting["at"]) == (event["id"], event["at"])

    async def test_are_paged(self, app: App) -> None:
        made = await subscribe(app)
        for number in range(5):
            await app.create(name=f"key-{number}")
        seen, query = [], "?limit=2"
        while query:
            page = await app.send("GET", at(made, f"/deliveries{query}"), ADA)
            seen += [one["id"] for one in page["items"]]
            query = f"?limit=2&cursor={page['next']}" if "next" in page.body else ""
        assert len(set(seen)) == len(seen) == 5

    async def test_that_were_given_up_can_be_sent_again(self, app: App) -> None:
        made = await subscribe(app)
        await app.create()
        await app.create(name="another")
        app.world.clock.now += GIVE_UP_AFTER
        app.world.clock.pass_by(minutes=1)
        await app.world.vault.deliver_events()
        given_up = (await app.send("GET", at(made, "/deliveries?state=dead"), ADA))["items"]
        assert [(one["state"], "givenUpAt" in one) for one in given_up] == [("dead", True)] * 2
        one = {"delivery": given_up[0]["id"]}
        assert (await app.send("POST", at(made, "/replay"), ADA, one)).body == {"replayed": 1, "more": False}
        assert (await app.send("POST", at(made, "/replay"), ADA, one)).code == (404, "not-found")
        assert (await app.send("POST", at(made, "/replay"), ADA)).body == {"replayed": 1, "more": False}
        assert (await app.world.vault.deliver_events()).done == 2

    async def test_to_a_disabled_subscription_are_not_sent_again(self, app: App) -> None:
        made = await subscribe(app, enabled=False)
        assert (await app.send("POST", at(made, "/replay"), ADA)).code == (409, "subscription-disabled")


async def test_events_take_their_whole_way_on_every_kind_of_store(any_app: App) -> None:
    made = await subscribe(any_app, status=500)
    await any_app.create()
    vault = any_app.world.vault
    await vault.deliver_events()
    [waiting] = (await any_app.send("GET", at(made, "/deliveries"), ADA))["items"]
    any_app.world.clock.now += GIVE_UP_AFTER
    any_app.world.clock.pass_by(minutes=1)
    await vault.deliver_events()
    [given_up] = (await any_app.send("GET", at(made, "/deliveries?state=dead"), ADA))["items"]
    assert given_up["id"] == waiting["id"]
    any_app.world.outbound.answers[URL] = answers(200)
    again = await any_app.send("POST", at(made, "/replay"), ADA, {"delivery": given_up["id"]})
    assert again.body == {"replayed": 1, "more": False}
    assert (await vault.deliver_events()).done == 1
    first, last = any_app.world.outbound.received
    assert (first.body, signed_by(last, SecretStr(made["signingSecret"]))) == (last.body, True)
    assert (await any_app.send("DELETE", at(made), ADA)).status == 204


async def test_subscriptions_are_for_administrators_of_the_tenant(app: App) -> None:
    made = await subscribe(app)
    for caller in (ALICE, MONA, OTTO):
        for method, path in (("GET", "/subscriptions"), ("GET", at(made)), ("DELETE", at(made))):
            assert (await app.send(method, path, caller)).code == (403, "access-denied")
    assert (await app.send("GET", at(made), MALLORY)).code == (404, "not-found")
    assert (await app.send("GET", "/subscriptions", MALLORY)).body == {"items": []}

"""Credentials that are made from vendors' configurations, as callers meet them: made, checked, moved on, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.api.app import SECRET, App, Reply
from tests.outbound import said
from tests.subscribers import answers
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, MALLORY, MONA, OTTO, VIC
from tests.vendors import FIELDS, GOOD, URL, publish, publish_anew
from vault_core.configuration import Configuration
from vault_core.identities import Caller

ONE = "/credentials/northwind"
BAD = "correct horse battery"
OTHER_GOOD = "nw_live_fedcba9876543210"
ANYONE: dict[str, Any] = {"policy": {"allowedIdentities": [{"type": "any"}]}}


@pytest.fixture
def app() -> App:
    return App()


async def create(
    app: App, made_from: Configuration, caller: Caller = ALICE, query: str = "", key: str = "", **wanted: Any
) -> Reply:
    """Ask for a credential made from the configuration: `northwind` unless told otherwise."""
    body = {"name": "northwind", "configuration": {"id": made_from.id}, "fields": {"apiKey": GOOD}} | wanted
    return await app.send("POST", f"/credentials{query}", caller, body, {"Idempotency-Key": key} if key else {})


async def created(app: App, made_from: Configuration, caller: Caller = ALICE, **wanted: Any) -> Reply:
    reply = await create(app, made_from, caller, **wanted)
    assert reply.status == 201, reply.body
    return reply


async def resolve(app: App, caller: Caller = ALICE, wanted: Mapping[str, str] = {}) -> Reply:
    query = "&".join(
        f"{name}={text}" for name, text in ({"product": "nw-mail", "environment": "production"} | dict(wanted)).items()
    )
    return await app.send("GET", f"/credentials/resolve?{query}", caller)


async def lease(app: App, caller: Caller = ALICE, wanted: Mapping[str, str] = {}, key: str = "") -> Reply:
    body = {"product": "nw-mail", "environment": "production"} | dict(wanted)
    return await app.send("POST", "/leases", caller, body, {"Idempotency-Key": key} if key else {})


class TestCreating:
    async def test_shows_what_it_was_made_from_and_never_a_value(self, app: App) -> None:
        configuration = await publish(app.world)
        made = await created(app, configuration, fields={"apiKey": GOOD, "account": "the-shop"}, environment="test")
        assert made["configuration"] == {"id": configuration.id, "version": 1, "vendor": "northwind"}
        assert (made["type"], made["environment"], made["ownerId"]) == ("generic-secret", "test", "id-alice")
        assert [
            (one["name"], one["description"], one["masked"], one["passwordFlag"], one["set"])
            for one in made["attributes"]
        ] == [("apiKey", "API key", True, True, True), ("account", "Account", False, False, True)]
        for value in (GOOD, "the-shop"):
            assert value.encode() not in made.content
        read = await app.send("GET", made.headers["Location"].removeprefix("/api/v1"), ALICE)
        assert (read.body, read.etag) == (made.body, made.etag)

    async def test_asks_nobody_unless_told_and_is_due_to_be_checked(self, app: App) -> None:
        configuration = await publish(app.world)
        app.world.outbound.received.clear()
        known = (await created(app, configuration))["validation"]
        assert (known["status"], known["reason"], "nextCheckAt" in known) == ("unknown", "not-checked", True)
        assert app.world.outbound.received == []

    async def test_with_the_vendors_consent_is_valid_at_once(self, app: App) -> None:
        configuration = await publish(app.world)
        made = await created(app, configuration, query="?validate=true")
        known = made["validation"]
        assert (known["status"], known["reason"], known["consecutiveUnknown"]) == ("valid", "confirmed", 0)
        [check] = (await app.send("GET", f"{ONE}/validations", ALICE))["items"]
        assert (check["trigger"], check["status"], check["version"], check["by"]["id"]) == (
            "created",
            "valid",
            1,
            "id-alice",
        )

    @pytest.mark.parametrize("by_definition", [True, False], ids=["the configuration demands it", "it was asked for"])
    async def test_against_the_vendors_word_is_refused(self, app: App, by_definition: bool) -> None:
        configuration = await publish(app.world, validation={"url": URL, "required": by_definition})
        app.world.outbound.answers[URL] = said(
            {"valid": False, "errors": [{"field": "apiKey", "message": "was withdrawn"}]}
        )
        reply = await create(
            app, configuration, query="" if by_definition else "?validate=true", fields={"apiKey": BAD}
        )
        assert (reply.code, reply.fields) == ((422, "value-refused"), ["fields.apiKey"])
        assert reply["errors"][0]["message"] == "was withdrawn"
        assert BAD.encode() not in reply.content
        assert (await app.send("GET", ONE, ALICE)).status == 404

    async def test_while_the_vendor_is_silent_is_let_in_and_marked(self, app: App) -> None:
        configuration = await publish(app.world)
        app.world.outbound.answers[URL] = answers(503)
        known = (await created(app, configuration, query="?validate=true"))["validation"]
        assert (known["status"], known["reason"], known["consecutiveUnknown"]) == ("unknown", "inconclusive", 1)

    async def test_may_be_repeated_with_its_key_and_asks_once(self, app: App) -> None:
        configuration = await publish(app.world)
        app.world.outbound.received.clear()
        first, again = [await create(app, configuration, query="?validate=true", key="k") for _ in range(2)]
        assert (first.status, first.body, first.etag) == (201, again.body, again.etag)
        assert len(app.world.outbound.received) == 1

    async def test_from_a_version_that_is_named(self, app: App) -> None:
        configuration = await publish_anew(app.world, await publish(app.world))
        older = await created(app, configuration, configuration={"id": configuration.id, "version": 1})
        newest = await created(app, configuration, name="newest")
        assert (older["configuration"]["version"], newest["configuration"]["version"]) == (1, 2)
        absent = await create(app, configuration, name="third", configuration={"id": configuration.id, "version": 3})
        assert absent.code == (404, "not-found")

    @pytest.mark.parametrize(
        ("wanted", "refusal", "field"),
        [
            ({"fields": {"apiKey": "short"}}, (422, "value-refused"), "fields.apiKey"),
            ({"fields": {}}, (422, "value-refused"), "fields.apiKey"),
            ({"fields": {"apiKey": GOOD, "pin": "1"}}, (422, "value-refused"), "fields.*"),
            ({"type": "api-key"}, (400, "invalid-input"), "type"),
            ({"attributes": [{"name": "x"}], "type": "generic-secret"}, (400, "invalid-input"), ""),
            ({"configuration": {"id": "northwind"}}, (400, "invalid-input"), "configuration.id"),
            ({"configuration": {"id": "0" * 36, "latest": True}}, (400, "invalid-input"), "configuration.latest"),
        ],
        ids=[
            "too short",
            "missing",
            "an unknown field",
            "another type",
            "attributes of its own",
            "a name",
            "an unknown choice",
        ],
    )
    async def test_that_does_not_fit_is_refused(
        self, app: App, wanted: dict[str, Any], refusal: tuple[int, str], field: str
    ) -> None:
        reply = await create(app, await publish(app.world), **wanted)
        assert (reply.code, reply.fields) == (refusal, [field])

    @pytest.mark.parametrize("given", ["yes%20please", "2", "null"])
    async def test_takes_no_other_word_for_validate(self, app: App, given: str) -> None:
        reply = await create(app, await publish(app.world), query=f"?validate={given}")
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["validate"])

    async def test_without_a_vendor_has_nobody_to_ask(self, app: App) -> None:
        reply = await app.send("POST", "/credentials?validate=true", ALICE, SECRET)
        assert (reply.status, reply["validation"]["status"]) == (201, "valid")
        assert app.world.outbound.received == []


class TestRotating:
    async def test_to_what_the_vendor_calls_invalid_leaves_the_old_value_in_place(self, app: App) -> None:
        await created(app, await publish(app.world))
        refused = await app.send("POST", f"{ONE}/rotate?validate=true", ALICE, {"fields": {"apiKey": BAD}})
        assert refused.code == (422, "value-refused")
        assert (await lease(app))["fields"]["apiKey"] == GOOD
        app.world.clock.pass_by(minutes=1)
        unasked = await app.send("POST", f"{ONE}/rotate", ALICE, {"fields": {"apiKey": BAD}})
        assert (unasked.status, unasked["version"]) == (200, 2)

    async def test_asks_the_vendor_once_a_minute(self, app: App) -> None:
        await created(app, await publish(app.world))
        rotate = f"{ONE}/rotate?validate=true"
        assert (await app.send("POST", rotate, ALICE, {"fields": {"apiKey": BAD}})).code == (422, "value-refused")
        soon = await app.send("POST", rotate, ALICE, {"fields": {"apiKey": "another wrong one"}})
        assert soon.code == (429, "too-soon")
        assert int(soon.headers["Retry-After"]) == 60


class TestValidating:
    async def test_tells_what_the_vendor_says_and_what_is_known_since(self, app: App) -> None:
        made = await created(app, await publish(app.world))
        app.world.clock.pass_by(seconds=5)
        reply = await app.send("POST", f"{ONE}/validate", ALICE)
        assert reply.status == 200
        assert (reply["check"]["status"], reply["check"]["trigger"], reply["check"]["by"]["id"]) == (
            "valid",
            "asked",
            "id-alice",
        )
        seen = await app.send("GET", ONE, ALICE)
        assert seen["validation"] == reply["validation"]
        assert seen["validation"]["checkedAt"] > made["validation"]["checkedAt"]

    async def test_shows_that_the_credential_changed_to_who_asks_again(self, app: App) -> None:
        await created(app, await publish(app.world))
        seen = await app.send("GET", ONE, ALICE)
        known = {"If-None-Match": seen.etag}
        assert (await app.send("GET", ONE, ALICE, headers=known)).status == 304
        for _ in range(2):  # the second finds the same, and yet it is known better
            app.world.clock.pass_by(minutes=2)
            await app.send("POST", f"{ONE}/validate", ALICE)
            again = await app.send("GET", ONE, ALICE, headers=known)
            assert again.status == 200
            assert again["validation"] != seen["validation"]
            seen, known = again, {"If-None-Match": again.etag}

    async def test_does_not_overtake_who_is_about_to_change_it(self, app: App) -> None:
        tag = (await created(app, await publish(app.world))).etag
        await app.send("POST", f"{ONE}/validate", ALICE)
        changed = await app.send("PATCH", ONE, ALICE, {"description": "x"}, {"If-Match": tag})
        assert changed.status == 200

    async def test_again_within_the_minute_is_too_soon(self, app: App) -> None:
        await created(app, await publish(app.world))
        assert (await app.send("POST", f"{ONE}/validate", ALICE)).status == 200
        app.world.clock.pass_by(seconds=20)
        soon = await app.send("POST", f"{ONE}/validate", MONA)
        assert (soon.code, soon.headers["Retry-After"]) == ((429, "too-soon"), "40")
        app.world.clock.pass_by(seconds=40)
        assert (await app.send("POST", f"{ONE}/validate", MONA)).status == 200

    async def test_keeps_a_verdict_that_stands_when_the_vendor_is_silent(self, app: App) -> None:
        await created(app, await publish(app.world), query="?validate=true")
        app.world.outbound.answers[URL] = answers(500)
        app.world.clock.pass_by(minutes=1)
        reply = await app.send("POST", f"{ONE}/validate", ALICE)
        assert (reply["check"]["status"], reply["check"]["reason"]) == ("unknown", "inconclusive")
        known = reply["validation"]
        assert (known["status"], known["reason"], known["consecutiveUnknown"]) == ("valid", "confirmed", 1)

    async def test_shows_the_vendors_words_but_for_what_repeats_the_value(self, app: App) -> None:
        await created(app, await publish(app.world))
        app.world.outbound.answers[URL] = said(
            {
                "valid": False,
                "errors": [
                    {"field": "apiKey", "message": "has\x00expired"},
                    {"field": "account", "message": f"does not own {GOOD}"},
                    {"field": "internal", "message": "x"},
                ],
            }
        )
        reply = await app.send("POST", f"{ONE}/validate", ALICE)
        faults = [(one["field"], one["message"]) for one in reply["validation"]["fieldErrors"]]
        assert [field for field, _ in faults] == ["apiKey", "account", ""]
        assert "\x00" not in faults[0][1]
        for path in (ONE, f"{ONE}/validations", "/credentials?validation=invalid"):
            shown = await app.send("GET", path, ALICE)
            assert b"account" in shown.content
            assert GOOD.encode() not in shown.content
        assert GOOD not in str(await app.world.audit())

    async def test_of_what_has_no_vendor_asks_its_own_type(self, app: App) -> None:
        await app.create()
        reply = await app.send("POST", "/credentials/db-password/validate", ALICE)
        assert (reply["check"]["status"], reply["check"]["reason"]) == ("valid", "accepted")

    async def test_of_a_revoked_one_is_refused(self, app: App) -> None:
        await created(app, await publish(app.world))
        await app.send("POST", f"{ONE}/revoke", ALICE)
        assert (await app.send("POST", f"{ONE}/validate", ALICE)).code == (409, "credential-revoked")

    async def test_is_on_record(self, app: App) -> None:
        await created(app, await publish(app.world))
        await app.send("POST", f"{ONE}/validate", MONA)
        [event] = (await app.send("GET", "/audit?event=credential.validated", OTTO))["items"]
        assert (event["identity"]["id"], event["details"]["status"], event["details"]["trigger"]) == (
            "id-mona",
            "valid",
            "asked",
        )


class TestTheHistory:
    async def test_tells_of_each_check_the_newest_first(self, app: App) -> None:
        await created(app, await publish(app.world), query="?validate=true")
        app.world.clock.pass_by(minutes=1)
        app.world.outbound.answers[URL] = said({"valid": False})
        await app.send("POST", f"{ONE}/validate", MONA)
        app.world.clock.pass_by(days=2)
        app.world.outbound.answers[URL] = answers(503)
        await app.world.vault.check_credentials()
        items = (await app.send("GET", f"{ONE}/validations", ALICE))["items"]
        assert [(one["trigger"], one["status"], one["reason"]) for one in items] == [
            ("scheduled", "unknown", "inconclusive"),
            ("asked", "invalid", "rejected"),
            ("created", "valid", "confirmed"),
        ]
        assert (await app.send("GET", ONE, ALICE))["validation"]["status"] == "invalid"

    async def test_is_empty_as_long_as_nobody_asked(self, app: App) -> None:
        await app.create()
        assert (await app.send("GET", "/credentials/db-password/validations", ALICE)).body == {"items": []}


class TestUpgrading:
    async def test_moves_on_to_the_latest_version_when_the_owner_says_so(self, app: App) -> None:
        configuration = await publish(app.world)
        before = await created(app, configuration)
        await publish_anew(app.world, configuration)
        assert (await app.send("GET", ONE, ALICE)).etag == before.etag
        after = await app.send("POST", f"{ONE}/upgrade", ALICE, {}, {"If-Match": before.etag})
        assert (after.status, after["configuration"]["version"], after["version"]) == (200, 2, 1)
        assert after.etag != before.etag
        again = await app.send("POST", f"{ONE}/upgrade", ALICE, {})
        assert (again.status, again.body) == (200, after.body)

    async def test_gives_values_to_what_is_new_in_it(self, app: App) -> None:
        configuration = await publish(app.world)
        await created(app, configuration)
        region = {"id": "region", "label": "Region", "type": "choice", "choices": ["eu", "us"], "secret": False}
        await publish_anew(app.world, configuration, fields=[*FIELDS, region])
        missing = await app.send("POST", f"{ONE}/upgrade", ALICE, {})
        assert (missing.code, missing.fields) == ((422, "value-refused"), ["fields.region"])
        moved = await app.send("POST", f"{ONE}/upgrade", ALICE, {"fields": {"region": "eu"}})
        assert (moved.status, [one["name"] for one in moved["attributes"]]) == (200, ["apiKey", "account", "region"])
        assert (await lease(app))["fields"] == {"apiKey": GOOD, "region": "eu"}

    async def test_on_a_tag_that_was_overtaken_is_refused(self, app: App) -> None:
        configuration = await publish(app.world)
        tag = (await created(app, configuration)).etag
        await publish_anew(app.world, configuration)
        await app.send("PATCH", ONE, ALICE, {"description": "x"}, {"If-Match": tag})
        reply = await app.send("POST", f"{ONE}/upgrade", ALICE, {}, {"If-Match": tag})
        assert reply.code == (412, "stale-version")

    async def test_to_an_older_version_or_from_none_is_refused(self, app: App) -> None:
        configuration = await publish_anew(app.world, await publish(app.world))
        await created(app, configuration)
        await app.create()
        for path, body in ((ONE, {"version": 1}), ("/credentials/db-password", {})):
            reply = await app.send("POST", f"{path}/upgrade", ALICE, body)
            assert reply.code == (409, "configuration-not-usable")


async def placed(app: App) -> dict[str, str]:
    """Credentials of Alice for one product and for all, for one marketplace and for all; their ids by name."""
    for_mail, for_all = await publish(app.world), await publish(app.world, scope="universal", products=[])
    wanted: list[tuple[str, Configuration, dict[str, Any]]] = [
        ("mail emea", for_mail, {"marketplaces": ["emea"]}),
        ("mail", for_mail, {}),
        ("all emea", for_all, {"marketplaces": ["emea"]}),
        ("all", for_all, {}),
        ("mail test", for_mail, {"environment": "test"}),
    ]
    return {name: (await created(app, made, name=name, **about))["id"] for name, made, about in wanted}


class TestResolving:
    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({"marketplace": "emea"}, "mail emea"),
            ({"marketplace": "apac"}, "mail"),
            ({}, "mail"),
            ({"product": "nw-chat", "marketplace": "emea"}, "all emea"),
            ({"product": "nw-chat", "marketplace": "apac"}, "all"),
            ({"product": "nw-chat"}, "all"),
            ({"environment": "test", "marketplace": "emea"}, "mail test"),
            ({"environment": "preview"}, None),
            ({"environment": "test", "product": "nw-chat"}, None),
        ],
        ids=lambda one: "-".join(one.values()) if isinstance(one, dict) else str(one),
    )
    async def test_finds_what_fits_best(self, app: App, wanted: dict[str, str], found: str | None) -> None:
        ids = await placed(app)
        reply, leased = await resolve(app, wanted=wanted), await lease(app, wanted=wanted)
        if found is None:
            assert (reply.code, leased.code) == ((404, "not-found"),) * 2
        else:
            assert reply.body == (await app.send("GET", f"/credentials/{ids[found]}", ALICE)).body
            assert (leased.status, leased["credentialId"], leased["fields"]["apiKey"]) == (201, ids[found], GOOD)

    async def test_shows_the_state_that_a_change_must_name(self, app: App) -> None:
        await placed(app)
        found = await resolve(app)
        path = f"/credentials/{found['id']}"
        assert (await app.send("PATCH", path, ALICE, {"description": "x"}, {"If-Match": found.etag})).status == 200

    async def test_between_two_that_fit_equally_is_refused(self, app: App) -> None:
        configuration = await publish(app.world)
        for name in ("first", "second"):
            await created(app, configuration, name=name)
        for reply in (await resolve(app), await lease(app)):
            assert reply.code == (409, "credential-ambiguous")
            assert b"first" not in reply.content
            assert b"second" not in reply.content
        await app.send("POST", "/credentials/second/suspend", ALICE)
        assert (await resolve(app))["name"] == "first"

    async def test_counts_nothing_that_the_caller_may_not_see(self, app: App) -> None:
        configuration = await publish(app.world)
        await created(app, configuration, name="of alice")
        assert (await resolve(app, BOB)).code == (404, "not-found")
        assert (await lease(app, BOB)).code == (404, "not-found")
        await created(app, configuration, BOB, name="of bob")
        assert (await resolve(app, BOB))["name"] == "of bob"
        assert (await lease(app, BOB))["credentialName"] == "of bob"
        assert (await resolve(app))["name"] == "of alice"
        assert (await resolve(app, MONA)).code == (409, "credential-ambiguous")  # a manager sees both

    async def test_for_a_lease_counts_nothing_that_the_caller_may_not_lease(self, app: App) -> None:
        configuration = await publish(app.world)
        await created(app, configuration, name="of alice")
        await created(app, configuration, MONA, name="of mona", **ANYONE)
        assert (await resolve(app, MONA)).code == (409, "credential-ambiguous")
        assert (await lease(app, MONA))["credentialName"] == "of mona"
        assert (await lease(app, DEPLOY_AGENT))["credentialName"] == "of mona"
        assert (await lease(app)).code == (409, "credential-ambiguous")

    async def test_of_another_tenants_credentials_finds_nothing(self, app: App) -> None:
        configuration = await publish(app.world, audience="everyone")
        await created(app, configuration, **ANYONE)
        assert (await resolve(app, MALLORY)).code == (404, "not-found")
        assert (await lease(app, MALLORY)).code == (404, "not-found")

    async def test_tells_why_the_one_that_fits_cannot_be_used(self, app: App) -> None:
        await created(app, await publish(app.world))
        await app.send("POST", f"{ONE}/suspend", ALICE)
        assert (await resolve(app))["status"] == "inactive"
        assert (await lease(app)).code == (409, "credential-not-usable")

    @pytest.mark.parametrize(
        ("query", "fields"),
        [
            ("?product=nw-mail", ["environment"]),
            ("?environment=production", ["product"]),
            ("", ["product", "environment"]),
            ("?product=nw-mail&environment=staging", ["environment"]),
            ("?product=*&environment=production", ["product"]),
            ("?product=nw-mail&environment=production&marketplace=a%20b", ["marketplace"]),
            ("?product=nw-mail&environment=production&credential=northwind", ["credential"]),
        ],
        ids=["no environment", "no product", "neither", "unknown environment", "wildcard", "bad marketplace", "named"],
    )
    async def test_of_a_wish_that_is_not_whole_names_the_parameter(
        self, app: App, query: str, fields: list[str]
    ) -> None:
        reply = await app.send("GET", f"/credentials/resolve{query}", ALICE)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), fields)

    async def test_is_not_in_the_way_of_a_credential_of_that_name(self, app: App) -> None:
        made = await app.create(name="resolve")
        assert (await app.send("GET", "/credentials/resolve", ALICE)).code == (400, "invalid-input")
        assert (await app.send("GET", "/credentials?name=resolve", ALICE))["items"] == [made.body]
        assert (await app.send("GET", f"/credentials/{made['id']}", ALICE)).body == made.body
        assert (await app.send("GET", "/credentials/resolve/versions", ALICE)).status == 200
        assert (await app.send("DELETE", "/credentials/resolve", ALICE)).status == 204


class TestLeasingByWhatItIsFor:
    @pytest.mark.parametrize(
        "wanted",
        [
            {"credential": "northwind", "product": "nw-mail", "environment": "production"},
            {"credential": "northwind", "marketplace": "emea"},
            {"product": "nw-mail"},
            {"environment": "production"},
            {"marketplace": "emea"},
            {},
        ],
        ids=lambda one: "-".join(one) or "nothing",
    )
    async def test_takes_either_a_name_or_a_whole_wish(self, app: App, wanted: dict[str, str]) -> None:
        await created(app, await publish(app.world))
        assert (await app.send("POST", "/leases", ALICE, wanted)).code == (400, "invalid-input")

    async def test_may_be_repeated_with_its_key(self, app: App) -> None:
        await created(app, await publish(app.world))
        first, again = [await lease(app, key="k") for _ in range(2)]
        assert (first.status, first.body) == (201, again.body)
        other = await lease(app, wanted={"marketplace": "emea"}, key="k")
        assert other.code == (409, "idempotency-key-reused")

    async def test_repeated_gives_the_same_though_another_fits_better_by_now(self, app: App) -> None:
        configuration, wanted = await publish(app.world), {"marketplace": "emea"}
        await created(app, configuration, name="for all")
        first = await lease(app, wanted=wanted, key="k")
        await created(app, configuration, name="for emea", marketplaces=["emea"])
        assert (await lease(app, wanted=wanted, key="k")).body == first.body
        assert (await lease(app, wanted=wanted))["credentialName"] == "for emea"

    async def test_keeps_to_the_policy_of_what_it_finds(self, app: App) -> None:
        await created(app, await publish(app.world), policy={"maxLeases": 1, "maxLeaseTTL": "5m"})
        granted = await lease(app, wanted={"ttl": "1h", "purpose": "to send mail"})
        assert (granted["ttl"], granted["cappedBy"] is not None) == ("5m", True)
        assert granted["identity"]["purpose"] == "to send mail"
        assert (await lease(app)).code == (409, "lease-limit-reached")


class TestListing:
    async def test_can_be_narrowed_to_what_was_made_from_one_configuration(self, app: App) -> None:
        one, other = await publish(app.world), await publish(app.world)
        await created(app, one, name="first")
        await created(app, other, name="second")
        await app.create()
        items = (await app.send("GET", f"/credentials?configuration={one.id}", ALICE))["items"]
        assert [each["name"] for each in items] == ["first"]
        assert (await app.send("GET", f"/credentials?configuration={one.id}", BOB))["items"] == []

    async def test_can_be_narrowed_by_what_is_known_of_the_values(self, app: App) -> None:
        configuration = await publish(app.world)
        for name, key in (("good", GOOD), ("bad", BAD), ("unasked", OTHER_GOOD)):
            made = await created(app, configuration, name=name, fields={"apiKey": key})
            if name != "unasked":
                await app.send("POST", f"/credentials/{made['id']}/validate", ALICE)
        for verdict, name in (("valid", "good"), ("invalid", "bad"), ("unknown", "unasked")):
            items = (await app.send("GET", f"/credentials?validation={verdict}", ALICE))["items"]
            assert [each["name"] for each in items] == [name]
        assert (await app.send("GET", "/credentials?validation=broken", ALICE)).fields == ["validation"]

    async def test_can_be_narrowed_to_what_is_due_to_be_rotated(self, app: App) -> None:
        configuration = await publish(app.world, rotation={"every": "90d"})
        await created(app, configuration)
        await app.create()
        due = "/credentials?rotation=due"
        assert (await app.send("GET", due, ALICE))["items"] == []
        app.world.clock.pass_by(days=91)
        [found] = (await app.send("GET", due, ALICE))["items"]
        assert (found["name"], found["rotationDueAt"]) == ("northwind", "2027-02-19T12:00:00.000Z")
        assert (await app.send("GET", "/credentials?rotation=later", ALICE)).fields == ["rotation"]


class TestTheSummary:
    async def test_counts_by_status_verdict_and_type(self, app: App) -> None:
        configuration = await publish(app.world, rotation={"every": "90d"})
        await created(app, configuration, query="?validate=true")
        await created(app, configuration, name="unasked")
        await app.create(type="api-key", value="sk_live_4eC39HqLyjWDarjtT1zdp7dc")
        await app.send("POST", "/credentials/db-password/suspend", ALICE)
        assert (await app.send("GET", "/summary", ALICE)).body == {
            "total": 3,
            "status": {"active": 2, "inactive": 1},
            "validation": {"valid": 2, "unknown": 1},
            "type": {"generic-secret": 2, "api-key": 1},
            "rotationDue": 0,
        }
        app.world.clock.pass_by(days=91)
        assert (await app.send("GET", "/summary", ALICE))["rotationDue"] == 2

    async def test_counts_for_each_what_they_see(self, app: App) -> None:
        configuration = await publish(app.world)
        await created(app, configuration, name="of alice")
        await created(app, configuration, BOB, name="of bob", **ANYONE)
        totals = [(await app.send("GET", "/summary", who))["total"] for who in (ALICE, BOB, VIC, MONA, MALLORY)]
        assert totals == [2, 1, 1, 2, 0]
        nothing = (await app.send("GET", "/summary", MALLORY)).body
        assert nothing == {"total": 0, "status": {}, "validation": {}, "type": {}, "rotationDue": 0}

    async def test_is_not_for_auditors(self, app: App) -> None:
        assert (await app.send("GET", "/summary", OTTO)).code == (403, "access-denied")

"""What is particular to the operations on vendors' configurations."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tests.api.app import App, Reply
from tests.outbound import accepts, said
from tests.subscribers import signed_by
from tests.vaults import ADA, ALICE, BOB, MALLORY, OTTO, VIC, person
from tests.vendors import ELSEWHERE, FIELDS, GOOD, NORA, URL, fill, publish, publish_anew
from vault_core.identities import Caller, Role

WANTED: dict[str, Any] = {
    "name": "Northwind API",
    "audience": ["contoso", "northwind"],
    "scope": "products",
    "products": ["nw-mail"],
    "fields": FIELDS,
    "validation": {"url": URL},
}
KEY = {"Idempotency-Key": "key-1"}
EVERYTHING_AT_NORTHWIND = person("nancy", *Role, tenant="northwind")


@pytest.fixture
def app() -> App:
    app = App()
    app.world.outbound.answers[URL] = accepts(GOOD)
    return app


async def draft(app: App, **wanted: Any) -> Reply:
    reply = await app.send("POST", "/configurations", NORA, WANTED | wanted)
    assert reply.status == 201, reply.body
    return reply


def at(configuration: Reply, rest: str = "") -> str:
    return f"/configurations/{configuration['id']}{rest}"


async def published(app: App, **wanted: Any) -> Reply:
    reply = await app.send("POST", at(await draft(app, **wanted), "/publish"), NORA)
    assert reply.status == 200, reply.body
    return reply


async def edit(app: App, configuration: Reply, **wanted: Any) -> Reply:
    tag = {"If-Match": (await app.send("GET", at(configuration), NORA)).etag}
    return await app.send("PUT", at(configuration), NORA, WANTED | wanted, tag)


async def use(app: App, configuration: Reply, caller: Caller = ALICE, **wanted: Any) -> Reply:
    body = {"name": "northwind", "configuration": {"id": configuration["id"]}, "fields": {"apiKey": GOOD}} | wanted
    return await app.send("POST", "/credentials", caller, body)


async def listed(app: App, caller: Caller, query: str = "") -> list[str]:
    return [one["id"] for one in (await app.send("GET", f"/configurations{query}", caller))["items"]]


class TestCreating:
    async def test_shows_the_signing_secret_once(self, app: App) -> None:
        made = await draft(app)
        assert made["signingSecret"].startswith("whsec_")
        shown = await app.send("GET", made.headers["Location"].removeprefix("/api/v1"), NORA)
        assert (shown.status, shown.etag) == (200, made.etag)
        assert shown.body == {name: value for name, value in made.body.items() if name != "signingSecret"}

    async def test_makes_a_draft_of_what_was_sent(self, app: App) -> None:
        made = await draft(app)
        assert (made["state"], made["vendor"], made["name"]) == ("draft", "northwind", "Northwind API")
        assert "latest" not in made.body
        kept = made["draft"]
        assert {name: kept[name] for name in ("name", "audience", "scope", "products")} == {
            name: WANTED[name] for name in ("name", "audience", "scope", "products")
        }
        assert [one["id"] for one in kept["fields"]] == ["apiKey", "account"]
        assert kept["validation"]["url"] == URL

    async def test_that_is_repeated_shows_the_same_secret_again(self, app: App) -> None:
        first, again = [await app.send("POST", "/configurations", NORA, WANTED, KEY) for _ in range(2)]
        assert (again.status, again.body) == (201, first.body)
        other = await app.send("POST", "/configurations", NORA, WANTED | {"name": "other"}, KEY)
        assert other.code == (409, "idempotency-key-reused")
        assert await listed(app, NORA) == [first["id"]]

    async def test_asks_no_endpoint(self, app: App) -> None:
        await draft(app)
        assert app.world.outbound.received == []

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ({"name": ""}, "name"),
            ({"fields": []}, "fields"),
            ({"fields": [*FIELDS, FIELDS[0]]}, "fields.2.id"),
            ({"fields": [FIELDS[0] | {"type": "colour"}]}, "fields.0.type"),
            ({"fields": [FIELDS[0] | {"min_length": 3}]}, "fields.0.min_length"),
            ({"fields": [FIELDS[0] | {"pattern": "("}]}, "fields.0.pattern"),
            ({"scope": "universal"}, ""),
            ({"products": ["a b"]}, "products.0"),
            ({"audience": [f"tenant-{number}" for number in range(91)]}, "audience"),
            ({"credentialType": "password"}, "credentialType"),
            ({"validation": {"url": "http://api.northwind.example/"}}, "validation.url"),
            ({"validation": {"url": "https://vault.internal/"}}, "validation.url"),
            ({"validation": {"url": URL, "timeoutSeconds": 16}}, "validation.timeoutSeconds"),
            ({"validation": {"url": URL, "validStatuses": [200]}}, "validation"),
            (
                {"validation": {"url": URL, "validStatuses": [302], "invalidStatuses": [401]}},
                "validation.validStatuses",
            ),
            ({"rotation": {"every": "soon"}}, "rotation.every"),
            ({"vendor": "contoso"}, "vendor"),
            ({"state": "published"}, "state"),
        ],
        ids=[
            "no name",
            "no fields",
            "a field twice",
            "unknown kind",
            "wrong spelling",
            "no pattern",
            "products of a universal one",
            "no product id",
            "too wide an audience",
            "unknown type",
            "in clear",
            "inside",
            "too slow",
            "half of the statuses",
            "a redirect as a verdict",
            "no duration",
            "another's",
            "published at once",
        ],
    )
    async def test_of_what_cannot_be_names_the_field(self, app: App, wanted: dict[str, Any], field: str) -> None:
        reply = await app.send("POST", "/configurations", NORA, WANTED | wanted)
        assert reply.code == (400, "invalid-input")
        assert reply.fields == [field]

    async def test_for_an_audience_that_cannot_be_says_what_one_is(self, app: App) -> None:
        reply = await app.send("POST", "/configurations", NORA, WANTED | {"audience": ["Contoso Ltd"]})
        assert reply.code == (400, "invalid-input")
        assert [(one["field"], one["message"]) for one in reply["errors"]] == [
            ("audience", "must be one of 'everyone'"),
            ("audience.0", "does not have the required form"),
        ]


class TestReading:
    async def test_shows_a_distributor_what_is_published_and_no_more(self, app: App) -> None:
        one = await published(app)
        await edit(app, one, name="next", audience=["contoso", "fabrikam"], validation={"url": ELSEWHERE})
        seen = (await app.send("GET", at(one), VIC)).body
        assert seen.keys() == {"id", "vendor", "name", "state", "latest", "createdAt", "updatedAt"}
        assert (seen["name"], seen["state"], seen["latest"]["version"]) == ("Northwind API", "published", 1)
        assert seen["latest"]["definition"]["validation"]["url"] == URL

    async def test_shows_its_vendor_the_draft_too_and_since_when_secrets_sign(self, app: App) -> None:
        one = await published(app)
        edited = await edit(app, one, name="next")
        assert edited.body == (await app.send("GET", at(one), NORA)).body
        assert (edited["name"], edited["draft"]["name"]) == ("next", "next")
        assert edited["latest"]["definition"]["name"] == "Northwind API"
        assert [one.keys() for one in edited["signingSecrets"]] == [{"createdAt"}]

    @pytest.mark.parametrize("rest", ["", "/versions"])
    async def test_tells_a_distributor_of_no_other_one(self, app: App, rest: str) -> None:
        one = await published(app, audience=["contoso", "fabrikam"])
        for caller in (ALICE, MALLORY):
            reply = await app.send("GET", at(one, rest), caller)
            other = {"contoso": b"fabrikam", "fabrikam": b"contoso"}[caller.tenant]
            assert f'"audience":["{caller.tenant}"]'.encode() in reply.content
            assert other not in reply.content
        assert b'"audience":["contoso","fabrikam"]' in (await app.send("GET", at(one, rest), NORA)).content

    async def test_tells_the_vendors_own_people_no_more_than_a_distributor(self, app: App) -> None:
        one = await published(app)
        nils = person("nils", Role.ADMIN, tenant="northwind")
        seen = await app.send("GET", at(one), nils)
        assert seen["latest"]["definition"]["audience"] == ["northwind"]
        assert not {"draft", "signingSecrets"} & seen.body.keys()

    async def test_tells_who_meets_it_that_it_is_for_everyone(self, app: App) -> None:
        one = await published(app, audience="everyone")
        seen = await app.send("GET", at(one), MALLORY)
        assert seen["latest"]["definition"]["audience"] == "everyone"

    async def test_goes_by_the_id_alone(self, app: App) -> None:
        one = await published(app)
        for reference in ("Northwind%20API", "northwind-api", f"{one['id']}%20", one["id"].replace("-", "")):
            assert (await app.send("GET", f"/configurations/{reference}", NORA)).code == (404, "not-found")
        assert (await app.send("GET", f"/configurations/{one['id'].upper()}", NORA)).body == one.body

    async def test_again_is_not_needed_until_it_changes(self, app: App) -> None:
        one = await draft(app)
        known = {"If-None-Match": one.etag}
        assert (await app.send("GET", at(one), NORA, headers=known)).status == 304
        for change in ("/publish", "/rotate-secret", "/deprecate"):
            changed = await app.send("POST", at(one, change), NORA)
            seen = await app.send("GET", at(one), NORA, headers=known)
            assert (seen.status, seen.etag) == (200, changed.etag), change
            known = {"If-None-Match": changed.etag}
            assert (await app.send("GET", at(one), NORA, headers=known)).status == 304


class TestEditing:
    async def test_leaves_what_is_published_as_it_is(self, app: App) -> None:
        one = await published(app)
        before = (await app.send("GET", at(one), ALICE))["latest"]
        edited = await edit(app, one, validation={"url": ELSEWHERE})
        assert (edited["state"], edited["draft"]["validation"]["url"]) == ("published", ELSEWHERE)
        assert (await app.send("GET", at(one), ALICE))["latest"] == before
        assert (await use(app, one))["configuration"]["version"] == 1

    async def test_needs_the_present_tag(self, app: App) -> None:
        one = await draft(app)
        assert (await app.send("PUT", at(one), NORA, WANTED)).code == (428, "precondition-required")
        tag = {"If-Match": one.etag}
        assert (await app.send("PUT", at(one), NORA, WANTED, tag)).status == 200
        assert (await app.send("PUT", at(one), NORA, WANTED, tag)).code == (412, "stale-version")

    async def test_into_what_cannot_be_is_refused(self, app: App) -> None:
        one = await draft(app)
        reply = await edit(app, one, validation={"url": "https://vault.internal/"})
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["validation.url"])


class TestPublishing:
    async def test_freezes_the_draft_as_the_next_version(self, app: App) -> None:
        one = await published(app)
        assert (one["state"], one["latest"]["version"], "draft" in one.body) == ("published", 1, False)
        await edit(app, one, name="next")
        two = await app.send("POST", at(one, "/publish"), NORA)
        assert (two["latest"]["version"], two["name"]) == (2, "next")
        versions = (await app.send("GET", at(one, "/versions"), VIC))["items"]
        assert [(each["version"], each["definition"]["name"]) for each in versions] == [
            (2, "next"),
            (1, "Northwind API"),
        ]

    async def test_without_a_draft_is_refused(self, app: App) -> None:
        one = await published(app)
        reply = await app.send("POST", at(one, "/publish"), NORA)
        assert reply.code == (409, "configuration-not-usable")

    async def test_may_be_repeated_with_its_key(self, app: App) -> None:
        one = await draft(app)
        first, again = [await app.send("POST", at(one, "/publish"), NORA, headers=KEY) for _ in range(2)]
        assert (first.status, first.body, first.etag) == (200, again.body, again.etag)
        assert len(app.world.outbound.received) == 1

    @pytest.mark.parametrize("answer", [{"valid": True}, {"ok": True}], ids=["calls all valid", "says nothing"])
    async def test_needs_an_endpoint_that_calls_a_wrong_value_invalid(self, app: App, answer: object) -> None:
        app.world.outbound.answers[URL] = said(answer)
        one = await draft(app)
        reply = await app.send("POST", at(one, "/publish"), NORA)
        assert reply.code == (409, "validation-endpoint-unfit")
        assert (await app.send("GET", at(one), NORA)).body == (await app.send("GET", at(one), NORA)).body
        assert (await app.send("GET", at(one), NORA))["state"] == "draft"
        assert (await app.send("GET", at(one), ALICE)).code == (404, "not-found")

    async def test_shows_it_to_its_audience_and_takes_it_from_who_is_no_longer_in_it(self, app: App) -> None:
        one = await published(app)
        made = await use(app, one)
        await edit(app, one, audience=["fabrikam"])
        assert (await app.send("GET", at(one), ALICE)).status == 200
        assert (await app.send("GET", at(one), MALLORY)).status == 404
        await app.send("POST", at(one, "/publish"), NORA)
        assert (await app.send("GET", at(one), ALICE)).code == (404, "not-found")
        assert (await listed(app, ALICE), await listed(app, MALLORY)) == ([], [one["id"]])
        assert (await use(app, one, name="another")).code == (404, "not-found")
        checked = await app.send("POST", f"/credentials/{made['id']}/validate", ALICE)
        assert checked["check"]["status"] == "valid"

    async def test_too_often_within_a_minute_is_refused_until_then(self, app: App) -> None:
        one = await draft(app)
        app.world.outbound.answers[URL] = said({"valid": True})
        codes = {(await app.send("POST", at(one, "/publish"), NORA)).code for _ in range(30)}
        reply = await app.send("POST", at(one, "/publish"), NORA)
        assert (codes, reply.code) == ({(409, "validation-endpoint-unfit")}, (429, "too-soon"))
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        app.world.clock.pass_by(seconds=int(reply.headers["Retry-After"]))
        assert (await app.send("POST", at(one, "/publish"), NORA)).code == (409, "validation-endpoint-unfit")


class TestDeprecating:
    async def test_lets_nothing_new_be_made_and_what_exists_work_on(self, app: App) -> None:
        one = await published(app)
        made = await use(app, one)
        deprecated = await app.send("POST", at(one, "/deprecate"), NORA)
        assert (deprecated.status, deprecated["state"]) == (200, "deprecated")
        assert (await use(app, one, name="another")).code == (409, "configuration-not-usable")
        assert (await app.send("GET", at(one), ALICE))["state"] == "deprecated"
        assert (await app.send("POST", f"/credentials/{made['id']}/validate", ALICE)).status == 200

    async def test_may_be_repeated(self, app: App) -> None:
        one = await published(app)
        first, again = [await app.send("POST", at(one, "/deprecate"), NORA) for _ in range(2)]
        assert (first.status, first.body, first.etag) == (again.status, again.body, again.etag)

    async def test_of_a_mere_draft_is_refused(self, app: App) -> None:
        reply = await app.send("POST", at(await draft(app), "/deprecate"), NORA)
        assert reply.code == (409, "configuration-not-usable")


class TestRotatingTheSecret:
    async def test_shows_the_new_one_once_and_both_sign(self, app: App) -> None:
        one = await draft(app)
        rotated, again = [await app.send("POST", at(one, "/rotate-secret"), NORA, headers=KEY) for _ in range(2)]
        assert (rotated.status, rotated.body) == (200, again.body)
        assert rotated["signingSecret"] != one["signingSecret"]
        shown = await app.send("GET", at(one), NORA)
        assert [sorted(each) for each in shown["signingSecrets"]] == [["createdAt", "until"], ["createdAt"]]
        await app.send("POST", at(one, "/test"), NORA, {"fields": {"apiKey": GOOD}})
        [call] = app.world.outbound.received
        for secret in (one["signingSecret"], rotated["signingSecret"]):
            assert signed_by(call, SecretStr(secret))

    async def test_on_a_tag_that_was_overtaken_is_refused(self, app: App) -> None:
        one = await draft(app)
        tag = {"If-Match": one.etag}
        assert (await app.send("POST", at(one, "/rotate-secret"), NORA, headers=tag)).status == 200
        assert (await app.send("POST", at(one, "/rotate-secret"), NORA, headers=tag)).code == (412, "stale-version")


class TestTrying:
    async def test_tells_what_the_endpoint_says_of_the_values(self, app: App) -> None:
        one = await draft(app)
        reply = await app.send("POST", at(one, "/test"), NORA, {"fields": {"apiKey": GOOD}})
        assert reply.body == {"status": "valid", "reason": "confirmed", "fieldErrors": []}
        asked = app.world.outbound.received[0].json["data"]
        assert (asked["values"], asked["environment"], asked["configuration"]) == (
            {"apiKey": GOOD},
            "test",
            {"id": one["id"], "version": 1},
        )

    async def test_repeats_no_value_whatever_the_endpoint_says(self, app: App) -> None:
        one = await draft(app)
        value = "nw_test_correct-horse"
        app.world.outbound.answers[URL] = said(
            {"valid": False, "errors": [{"field": "apiKey", "message": f"{value} is no key"}]}
        )
        reply = await app.send("POST", at(one, "/test"), NORA, {"fields": {"apiKey": value}})
        assert (reply["status"], reply["reason"], reply["fieldErrors"][0]["field"]) == ("invalid", "rejected", "apiKey")
        assert value.encode() not in reply.content
        assert value not in str(await app.world.audit("northwind"))

    @pytest.mark.parametrize(
        ("fields", "field"),
        [({"apiKey": "short"}, "fields.apiKey"), ({}, "fields.apiKey"), ({"apiKey": GOOD, "pin": "1"}, "fields.pin")],
        ids=["too short", "missing", "unknown"],
    )
    async def test_with_values_that_do_not_fit_asks_nobody(self, app: App, fields: dict[str, str], field: str) -> None:
        one = await draft(app)
        reply = await app.send("POST", at(one, "/test"), NORA, {"fields": fields})
        assert (reply.code, reply.fields) == ((422, "value-refused"), [field])
        assert app.world.outbound.received == []

    async def test_without_an_endpoint_is_refused(self, app: App) -> None:
        one = await draft(app, validation=None)
        reply = await app.send("POST", at(one, "/test"), NORA, {"fields": {"apiKey": GOOD}})
        assert reply.code == (409, "configuration-not-usable")


class TestDeleting:
    async def test_leaves_nothing_to_find(self, app: App) -> None:
        one = await published(app)
        deleted = await app.send("DELETE", at(one), NORA, headers={"If-Match": one.etag})
        assert (deleted.status, deleted.content) == (204, b"")
        for caller in (NORA, ALICE):
            for rest in ("", "/versions"):
                assert (await app.send("GET", at(one, rest), caller)).code == (404, "not-found")
            assert await listed(app, caller) == []
        assert (await app.send("DELETE", at(one), NORA)).code == (404, "not-found")

    async def test_is_refused_while_credentials_live_on_it_and_tells_neither_whose_nor_how_many(self, app: App) -> None:
        one = await published(app, audience=["contoso", "fabrikam"])
        headers = {"X-Request-Id": "r-1", "traceparent": f"00-{'4b' * 16}-00f067aa0ba902b7-01"}
        told = []
        for caller, name in ((ALICE, "northwind"), (BOB, "another"), (MALLORY, "third")):
            assert (await use(app, one, caller, name=name)).status == 201
            told.append(await app.send("DELETE", at(one), NORA, headers=headers))
        assert told[0].code == (409, "configuration-in-use")
        assert told == [told[0]] * 3
        for word in (b"contoso", b"fabrikam", b'northwind"', b"another", b"third"):
            assert word not in told[0].content

    async def test_is_possible_once_they_are_revoked(self, app: App) -> None:
        one = await published(app)
        made = await use(app, one)
        await app.send("POST", f"/credentials/{made['id']}/revoke", ALICE)
        assert (await app.send("DELETE", at(one), NORA)).status == 204

    async def test_on_a_tag_that_was_overtaken_is_refused(self, app: App) -> None:
        one = await draft(app)
        await edit(app, one)
        reply = await app.send("DELETE", at(one), NORA, headers={"If-Match": one.etag})
        assert reply.code == (412, "stale-version")


class TestListing:
    async def test_goes_page_by_page_over_what_one_made_and_what_is_published_to_one(self, app: App) -> None:
        vera = person("vera", Role.VENDOR)
        made = [(await publish(app.world)).id for _ in range(2)]
        made.append((await publish(app.world, vera, audience=["northwind"])).id)
        made.append((await publish(app.world, audience="everyone")).id)
        await draft(app)
        found: list[str] = []
        query = "?limit=2"
        for _ in range(4):
            page = (await app.send("GET", f"/configurations{query}", vera)).body
            found += [one["id"] for one in page["items"]]
            if "next" not in page:
                break
            query = f"?limit=2&cursor={page['next']}"
        assert found == sorted(made)
        assert await listed(app, MALLORY) == [made[-1]]

    async def test_shows_the_same_as_reading_each(self, app: App) -> None:
        one = await published(app)
        for caller in (NORA, ALICE):
            items = (await app.send("GET", "/configurations", caller))["items"]
            assert items == [(await app.send("GET", at(one), caller)).body]


class TestAVendor:
    """Northwind, of the credentials that Contoso made from its configuration."""

    async def test_has_no_way_to_them_or_their_values(self, app: App) -> None:
        one = await publish(app.world)
        made = await fill(app.world, one, policy={"allowedIdentities": [{"type": "any"}]})
        selecting = {"product": "nw-mail", "environment": "production"}
        for reference in (made.id, "northwind"):
            for method, path, body in (
                ("GET", f"/credentials/{reference}", None),
                ("GET", f"/credentials/{reference}/versions", None),
                ("GET", f"/credentials/{reference}/validations", None),
                ("POST", f"/credentials/{reference}/validate", None),
                ("POST", f"/credentials/{reference}/upgrade", {}),
                ("POST", "/leases", {"credential": reference}),
                ("POST", "/leases", selecting),
                ("GET", "/credentials/resolve?product=nw-mail&environment=production", None),
                ("GET", f"/leases?credential={reference}", None),
            ):
                assert (await app.send(method, path, EVERYTHING_AT_NORTHWIND, body)).code == (404, "not-found"), path
                assert (await app.send(method, path, NORA, body)).code == (403, "access-denied"), path
        for path in ("/credentials", f"/credentials?configuration={one.id}", "/leases"):
            assert (await app.send("GET", path, EVERYTHING_AT_NORTHWIND))["items"] == []
        assert (await app.send("GET", "/summary", EVERYTHING_AT_NORTHWIND))["total"] == 0

    async def test_hears_nothing_of_them_in_its_audit_nor_a_distributor_of_what_the_vendor_does(self, app: App) -> None:
        one = await publish(app.world)
        await fill(app.world, one, validate=True)
        await publish_anew(app.world, one)
        events = (await app.send("GET", "/audit", EVERYTHING_AT_NORTHWIND))["items"]
        assert {event["event"].partition(".")[0] for event in events} == {"configuration"}
        assert "contoso" not in str(events)
        told = {event["event"] for event in (await app.send("GET", "/audit", OTTO))["items"]}
        assert told == {"credential.created", "credential.validated"}

    async def test_is_told_of_what_it_did_itself(self, app: App) -> None:
        one = await published(app)
        await app.send("POST", at(one, "/test"), NORA, {"fields": {"apiKey": GOOD}})
        await app.send("POST", at(one, "/rotate-secret"), NORA)
        await app.send("POST", at(one, "/deprecate"), NORA)
        await app.send("DELETE", at(one), NORA)
        items = (await app.send("GET", "/audit", person("ned", Role.AUDITOR, tenant="northwind")))["items"]
        verbs = ["created", "published", "tested", "secret_rotated", "deprecated", "deleted"]
        assert sorted(one["event"] for one in items) == sorted(f"configuration.{verb}" for verb in verbs)
        assert GOOD not in str(items)
        assert "whsec_" not in str(items)


async def test_an_administrator_of_a_distributor_has_no_part_in_it(app: App) -> None:
    one = await published(app)
    assert (await app.send("DELETE", at(one), ADA)).code == (403, "access-denied")
    assert (await app.send("GET", at(one), ADA)).status == 200

"""What is particular to the audit, the tenant's settings, the caller, health, and the API's own description."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.api.app import BY_NAME, DOCUMENT, App
from tests.faults import Fault, Plan
from tests.permissions import PEOPLE
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, NOON, OTTO, VIC, World


@pytest.fixture
def app() -> App:
    return App()


class TestTheAudit:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", ["access.denied", "lease.created", "credential.created"]),
            ("event=lease.created", ["lease.created"]),
            ("outcome=denied", ["access.denied"]),
            ("identity=alice@contoso.example", ["credential.created"]),
            ("identity=deploy-agent", ["lease.created"]),
            ("identity=id-bob", ["access.denied"]),
            ("credential=DB-PASSWORD", ["access.denied", "lease.created", "credential.created"]),
            ("lease=none", []),
            ("since=2026-11-21T12:00:01Z", ["access.denied", "lease.created"]),
            ("until=2026-11-21T12:00:01Z", ["credential.created"]),
        ],
    )
    async def test_is_narrowed_by(self, app: App, query: str, found: list[str]) -> None:
        await app.world.create_for_agents()
        app.world.clock.pass_by(seconds=1)
        await app.world.lease()
        app.world.clock.pass_by(seconds=1)
        await app.send("GET", "/credentials/db-password", BOB)
        events = (await app.send("GET", f"/audit?{query}", OTTO))["items"]
        assert [event["event"] for event in events] == found
        assert {event["tenant"] for event in events} <= {"contoso"}

    async def test_is_paged_newest_first(self, app: App) -> None:
        for number in range(5):
            await app.world.create(name=f"key-{number}")
            app.world.clock.pass_by(days=2)
        names, query = [], "?limit=2"
        while query:
            page = await app.send("GET", f"/audit{query}", OTTO)
            names += [event["credentialName"] for event in page["items"]]
            query = f"?limit=2&cursor={page['next']}" if "next" in page.body else ""
        assert names == [f"key-{number}" for number in (4, 3, 2, 1, 0)]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("event=credential.read", "event"),
            ("outcome=maybe", "outcome"),
            ("since=2026-11-21T12:00:00Z&until=2026-11-21T12:00:00Z", "since"),
            ("since=yesterday", "since"),
            ("limit=201", "limit"),
            ("cursor=bm90IGEgY3Vyc29y", "cursor"),
        ],
    )
    async def test_refuses_a_filter_that_cannot_be_meant(self, app: App, query: str, field: str) -> None:
        reply = await app.send("GET", f"/audit?{query}", OTTO)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), [field])

    async def test_of_a_name_that_nothing_has_is_not_found(self, app: App) -> None:
        assert (await app.send("GET", "/audit?credential=no-such", OTTO)).code == (404, "not-found")


class TestTheTenant:
    async def test_begins_with_the_defaults_of_the_vault(self, app: App) -> None:
        assert (await app.send("GET", "/tenant", ADA)).body == {
            "defaults": {"maxLeaseTTL": "1d", "defaultLeaseTTL": "1h", "allowedIdentities": []},
            "noticePeriod": "30d",
            "retention": "90d",
        }

    async def test_is_replaced_as_a_whole(self, app: App) -> None:
        await app.send("PUT", "/tenant", ADA, {"noticePeriod": "14d"})
        after = await app.send("PUT", "/tenant", ADA, {"defaults": {"maxLeases": 5, "maxLeaseTTL": "2h"}})
        assert (after.status, after["noticePeriod"], after["retention"]) == (200, "30d", "90d")
        assert after["defaults"] == {
            "maxLeaseTTL": "2h",
            "defaultLeaseTTL": "1h",
            "maxLeases": 5,
            "allowedIdentities": [],
        }
        assert (await app.send("GET", "/tenant", ADA)).etag == after.etag

    async def test_is_not_replaced_on_a_tag_that_was_overtaken(self, app: App) -> None:
        tag = (await app.send("GET", "/tenant", ADA)).etag
        replies = [await app.send("PUT", "/tenant", ADA, {}, {"If-Match": tag}) for _ in range(2)]
        assert replies[0].status == 200
        assert replies[1].code == (412, "stale-version")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"defaults": {"defaultLeaseTTL": "2d"}}, "defaults.defaultLeaseTTL"),
            ({"noticePeriod": "0s"}, "noticePeriod"),
            ({"retention": None}, "retention"),
            ({"defaults": {"allowedIdentities": [{"type": "robot"}]}}, "defaults.allowedIdentities.0.type"),
        ],
    )
    async def test_refuses_what_contradicts_itself(self, app: App, body: Any, field: str) -> None:
        reply = await app.send("PUT", "/tenant", ADA, body)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), [field])


async def test_callers_learn_who_they_are(app: App) -> None:
    assert (await app.send("GET", "/me", VIC)).body == {
        "tenant": "contoso",
        "identity": {"type": "human", "id": "id-vic", "email": "vic@contoso.example"},
        "roles": ["viewer"],
        "otherRoles": [],
    }
    consumer = PEOPLE["consumer"]
    assert (await app.send("GET", "/me", consumer))["otherRoles"] == ["finance-bots"]
    assert (await app.send("GET", "/me", DEPLOY_AGENT))["identity"]["name"] == "deploy-agent"


class TestHealth:
    async def test_tells_of_the_timers_without_a_name_of_a_tenant(self, app: App) -> None:
        await app.world.create()
        await app.world.vault.reconcile()
        app.world.clock.pass_by(seconds=90)
        reply = await app.send("GET", "/health")
        assert reply.status == 200
        [timer] = reply["timers"]
        assert (timer["name"], timer["lagSeconds"], timer["failingRuns"]) == ("reconcile", 90, 0)
        assert not [word for word in (b"contoso", b"db-password", b"alice") if word in reply.content]

    @pytest.mark.parametrize("store", ["due", "secrets"])
    async def test_is_503_when_a_store_does_not_answer(self, store: str) -> None:
        probe = World()
        await App(probe).send("GET", "/health")
        [number] = [call.number for call in probe.ledger.calls if call.store == store]
        reply = await App(World(plan=Plan(faults={number: Fault()}))).send("GET", "/health")
        assert (reply.status, reply["status"]) == (503, "unavailable")
        part = "tables" if store == "due" else "keyVault"
        assert reply[part] == "unavailable"


def test_the_api_describes_itself_in_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    described = {operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()}
    assert described == set(BY_NAME)


async def test_the_page_of_the_api_names_every_operation_and_loads_nothing(app: App) -> None:
    reply = await app.send("GET", "/docs")
    page = reply.content.decode()
    assert all(route.path in page for route in BY_NAME.values())
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


async def test_audit_filters_reach_as_far_as_instants_do(app: App) -> None:
    await app.world.create(caller=ALICE)
    everything = "since=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59Z"
    assert len((await app.send("GET", f"/audit?{everything}", OTTO))["items"]) == 1
    assert (await app.send("GET", "/audit?until=1970-01-01T00:00:00Z", OTTO))["items"] == []
    assert app.world.clock() - NOON == timedelta(0)

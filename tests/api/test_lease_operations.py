"""What is particular to the operations on leases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.api.app import App, Reply
from tests.vaults import ALICE, BOB, CI_RUNNER, DEPLOY_AGENT, MONA, NOON, VIC
from vault_core.identities import Caller

ONE = "/credentials/db-password"
WISH = {"credential": "db-password"}


@pytest.fixture
def app() -> App:
    return App()


async def lease(app: App, caller: Caller = DEPLOY_AGENT, **wish: Any) -> Reply:
    reply = await app.send("POST", "/leases", caller, WISH | wish)
    assert reply.status == 201, reply.body
    return reply


class TestLeasing:
    async def test_hands_the_value_over_as_text_and_as_fields(self, app: App) -> None:
        await app.world.create_for_agents()
        granted = await lease(app, purpose="deploy the shop")
        assert (granted["value"], granted["fields"]) == ("correct horse", {"value": "correct horse"})
        assert granted.headers["Cache-Control"] == "no-store"
        assert granted["identity"]["purpose"] == "deploy the shop"
        assert (granted["state"], granted["ttl"], granted["version"]) == ("active", "1h", 1)
        assert "cappedBy" not in granted.body

    async def test_tells_where_the_lease_is_and_shows_it_there_without_the_value(self, app: App) -> None:
        await app.world.create_for_agents()
        granted = await lease(app)
        seen = await app.send("GET", granted.headers["Location"].removeprefix("/api/v1"), DEPLOY_AGENT)
        assert granted.body == seen.body | {"value": "correct horse", "fields": {"value": "correct horse"}}

    @pytest.mark.parametrize(
        ("ttl", "given", "capped_by"),
        [("30m", "30m", None), ("3h", "2h", "credential-policy"), ("100d", "2h", "credential-policy")],
    )
    async def test_caps_what_is_asked_and_says_why(self, app: App, ttl: str, given: str, capped_by: str) -> None:
        await app.world.create_for_agents(policy={"maxLeaseTTL": "2h"})
        granted = await lease(app, ttl=ttl)
        assert (granted["ttl"], granted["requestedTTL"], granted.body.get("cappedBy")) == (given, ttl, capped_by)

    @pytest.mark.parametrize(
        ("wish", "field"),
        [
            ({"credential": ""}, "credential"),
            ({"credential": 7}, "credential"),
            ({"ttl": "0s"}, "ttl"),
            ({"ttl": 3600}, "ttl"),
            ({"ttl": "5000d"}, "ttl"),
            ({"purpose": ""}, "purpose"),
            ({"purpose": "a\x00b"}, "purpose"),
            ({"identity": {"type": "human"}}, "identity"),
        ],
    )
    async def test_with_a_wrong_field_names_it(self, app: App, wish: Any, field: str) -> None:
        reply = await app.send("POST", "/leases", DEPLOY_AGENT, WISH | wish)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), [field])

    async def test_is_not_for_a_manager_who_sees_it_nor_for_a_stranger_who_does_not(self, app: App) -> None:
        await app.world.create_for_agents()
        refused = [(await app.send("POST", "/leases", who, WISH)).code for who in (MONA, BOB, CI_RUNNER, VIC)]
        assert refused == [
            (403, "access-denied"),
            (404, "not-found"),
            (404, "not-found"),
            (403, "access-denied"),
        ]

    async def test_over_the_limit_says_when_a_place_frees(self, app: App) -> None:
        await app.world.create_for_agents(policy={"maxLeases": 1})
        await lease(app, ttl="10m")
        refused = await app.send("POST", "/leases", DEPLOY_AGENT, WISH)
        assert refused.code == (409, "lease-limit-reached")
        assert 540 <= int(refused.headers["Retry-After"]) <= 600
        app.world.clock.pass_by(minutes=10)
        await lease(app)

    async def test_of_what_is_revoked_suspended_expired_or_not_yet_valid_is_refused(self, app: App) -> None:
        soon, later = ((NOON + timedelta(days=days)).isoformat() for days in (1, 2))
        await app.world.create_for_agents(validFrom=soon, validUntil=later)
        refused = [(await app.send("POST", "/leases", DEPLOY_AGENT, WISH)).code]
        app.world.clock.pass_by(days=1)
        await app.send("POST", f"{ONE}/suspend", ALICE)
        refused.append((await app.send("POST", "/leases", DEPLOY_AGENT, WISH)).code)
        app.world.clock.pass_by(days=1)
        refused.append((await app.send("POST", "/leases", DEPLOY_AGENT, WISH)).code)
        await app.send("POST", f"{ONE}/revoke", ALICE)
        refused.append((await app.send("POST", "/leases", DEPLOY_AGENT, WISH)).code)
        assert refused == [
            (409, "credential-not-usable"),
            (409, "credential-not-usable"),
            (409, "credential-expired"),
            (409, "credential-revoked"),
        ]

    async def test_may_be_repeated_with_its_key_and_gives_one_lease(self, app: App) -> None:
        await app.world.create_for_agents()
        key = {"Idempotency-Key": "k"}
        first, again = [await app.send("POST", "/leases", DEPLOY_AGENT, WISH, key) for _ in range(2)]
        assert (again.status, again.body) == (201, first.body)
        other = await app.send("POST", "/leases", DEPLOY_AGENT, WISH | {"ttl": "1m"}, key)
        assert other.code == (409, "idempotency-key-reused")
        assert len((await app.send("GET", "/leases", DEPLOY_AGENT))["items"]) == 1

    async def test_repeated_after_its_end_gives_no_value(self, app: App) -> None:
        await app.world.create_for_agents()
        key = {"Idempotency-Key": "k"}
        await app.send("POST", "/leases", DEPLOY_AGENT, WISH, key)
        app.world.clock.pass_by(hours=1)
        reply = await app.send("POST", "/leases", DEPLOY_AGENT, WISH, key)
        assert reply.code == (409, "lease-ended")

    async def test_with_anothers_key_gives_a_lease_of_ones_own(self, app: App) -> None:
        await app.world.create(policy={"allowedIdentities": [{"type": "any"}]})
        key = {"Idempotency-Key": "k"}
        granted = [await app.send("POST", "/leases", who, WISH, key) for who in (DEPLOY_AGENT, BOB)]
        assert [one["identity"]["id"] for one in granted] == ["id-deploy-agent", "id-bob"]
        assert granted[0]["id"] != granted[1]["id"]


class TestRenewing:
    async def test_extends_the_lease_up_to_its_maximum(self, app: App) -> None:
        await app.world.create_for_agents(policy={"maxLeaseTTL": "2h"})
        granted = await lease(app)
        app.world.clock.pass_by(minutes=59, seconds=59)
        renewed = await app.send("POST", f"/leases/{granted['id']}/renew", DEPLOY_AGENT, {"ttl": "90m"})
        assert renewed.status == 200
        assert (renewed["expiresAt"], renewed["cappedBy"]) == (granted["maxExpiresAt"], "lease-maximum")
        assert not {"value", "fields"} & set(renewed.body)

    async def test_is_refused_once_the_lease_is_over(self, app: App) -> None:
        await app.world.create_for_agents()
        granted = await lease(app)
        app.world.clock.pass_by(hours=1)
        assert (await app.send("POST", f"/leases/{granted['id']}/renew", DEPLOY_AGENT)).code == (409, "lease-ended")

    async def test_is_refused_on_a_version_that_was_replaced(self, app: App) -> None:
        await app.world.create_for_agents()
        granted = await lease(app)
        await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "new"})
        reply = await app.send("POST", f"/leases/{granted['id']}/renew", DEPLOY_AGENT)
        assert reply.code == (409, "version-rotated")
        assert (await app.send("GET", f"/leases/{granted['id']}", DEPLOY_AGENT))["state"] == "active"

    async def test_is_refused_while_the_credential_is_suspended(self, app: App) -> None:
        await app.world.create_for_agents()
        granted = await lease(app)
        await app.send("POST", f"{ONE}/suspend", ALICE)
        reply = await app.send("POST", f"/leases/{granted['id']}/renew", DEPLOY_AGENT)
        assert reply.code == (409, "credential-not-usable")

    async def test_is_for_the_holder_alone(self, app: App) -> None:
        await app.world.create_for_agents()
        granted = await lease(app)
        for who in (ALICE, MONA, BOB):
            reply = await app.send("POST", f"/leases/{granted['id']}/renew", who)
            assert reply.code == (404, "not-found")


class TestRevoking:
    async def test_ends_the_lease_and_may_be_repeated(self, app: App) -> None:
        await app.world.create_for_agents()
        granted = await lease(app)
        for _ in range(2):
            assert (await app.send("DELETE", f"/leases/{granted['id']}", DEPLOY_AGENT)).status == 204
        assert (await app.send("GET", f"/leases/{granted['id']}", DEPLOY_AGENT))["state"] == "revoked"

    @pytest.mark.parametrize(("who", "status"), [(ALICE, 204), (MONA, 204), (BOB, 404), (CI_RUNNER, 404)])
    async def test_is_also_for_the_owner_and_managers(self, app: App, who: Caller, status: int) -> None:
        await app.world.create_for_agents()
        granted = await lease(app)
        assert (await app.send("DELETE", f"/leases/{granted['id']}", who)).status == status
        state = (await app.send("GET", f"/leases/{granted['id']}", DEPLOY_AGENT))["state"]
        assert state == ("revoked" if status == 204 else "active")


class TestListing:
    async def test_shows_callers_their_own_and_owners_those_of_their_credential(self, app: App) -> None:
        await app.world.create(policy={"allowedIdentities": [{"type": "any"}]})
        for who in (DEPLOY_AGENT, BOB, BOB):
            await lease(app, who)

        async def count(caller: Caller, query: str = "") -> int:
            return len((await app.send("GET", f"/leases{query}", caller))["items"])

        of_it = "?credential=db-password"
        assert [await count(who) for who in (DEPLOY_AGENT, BOB, ALICE)] == [1, 2, 0]
        assert [await count(who, of_it) for who in (DEPLOY_AGENT, BOB, ALICE, MONA)] == [1, 2, 3, 3]

    async def test_pages_through_everything_once_and_never_shows_a_value(self, app: App) -> None:
        await app.world.create_for_agents()
        made = {(await lease(app))["id"] for _ in range(5)}
        for query in ("?limit=2", "?limit=2&credential=db-password"):
            seen, path = [], f"/leases{query}"
            while path:
                page = await app.send("GET", path, DEPLOY_AGENT)
                assert b"correct horse" not in page.content
                seen += [item["id"] for item in page["items"]]
                path = f"/leases{query}&cursor={page['next']}" if "next" in page.body else ""
            assert sorted(seen) == sorted(made)

    async def test_of_a_credential_that_the_caller_may_not_see_finds_none(self, app: App) -> None:
        await app.world.create_for_agents()
        assert (await app.send("GET", "/leases?credential=db-password", BOB)).code == (404, "not-found")

"""Reading and listing credentials."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.api.app import FOR_AGENTS, App
from tests.vaults import ALICE, BOB, CI_RUNNER, DEPLOY_AGENT, MONA, NOON, VIC

ONE = "/credentials/db-password"


@pytest.fixture
def app() -> App:
    return App()


def instant(**from_now: float) -> str:
    return (NOON + timedelta(**from_now)).isoformat()


class TestReading:
    async def test_finds_a_credential_by_its_id_or_its_name_in_any_case(self, app: App) -> None:
        created = await app.create()
        for reference in (created["id"], created["id"].upper(), "db-password", "DB-PASSWORD", "\uff44\uff42-password"):
            assert (await app.send("GET", f"/credentials/{reference}", ALICE)).body == created.body

    async def test_tells_a_status_that_time_has_changed_by_another_tag(self, app: App) -> None:
        first = await app.create(validUntil=instant(days=60))
        app.world.clock.pass_by(days=40)
        again = await app.send("GET", ONE, ALICE, headers={"If-None-Match": first.etag})
        assert (again.status, again["status"]) == (200, "expiring")

    async def test_hides_it_from_those_whom_it_does_not_concern(self, app: App) -> None:
        await app.create(**FOR_AGENTS)
        seen = {who.identity.id: (await app.send("GET", ONE, who)).status for who in (ALICE, MONA, DEPLOY_AGENT)}
        assert set(seen.values()) == {200}
        hidden = [(await app.send("GET", ONE, who)).code for who in (BOB, VIC, CI_RUNNER)]
        assert set(hidden) == {(404, "not-found")}


class TestListing:
    async def test_pages_through_everything_once(self, app: App) -> None:
        for number in range(7):
            await app.create(name=f"key-{number}")
        for sort in ("createdAt", "-name"):
            names, path = [], f"/credentials?sort={sort}&limit=3"
            while path:
                page = await app.send("GET", path, ALICE)
                names += [item["name"] for item in page["items"]]
                following = page.body.get("next")
                path = f"/credentials?sort={sort}&limit=3&cursor={following}" if following else ""
            assert sorted(names) == [f"key-{number}" for number in range(7)]

    async def test_goes_on_behind_the_longest_name(self, app: App) -> None:
        # Folded, these 14 letters are 252; and each of the 128 takes two places in a key.
        longest = ["\ufdfa" * 14, "\U00010400" * 128]
        for name in longest:
            await app.create(name=name)
        first = await app.send("GET", "/credentials?sort=name&limit=1", ALICE)
        second = await app.send("GET", f"/credentials?sort=name&limit=1&cursor={first['next']}", ALICE)
        assert {first["items"][0]["name"], second["items"][0]["name"]} == set(longest)

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("name=STRIPE*", ["stripe-live"]),
            ("type=api-key", ["stripe-live"]),
            ("environment=test", ["db-password"]),
            ("metadata.team=sh*", ["db-password"]),
            ("owner=me", ["stripe-live", "db-password"]),
            ("owner=id-bob", []),
            ("status=expiring", ["stripe-live"]),
            ("status=active&state=active", ["db-password"]),
            ("marketplace=apac", ["db-password"]),
            ("expiresBefore=2027-01-01T00:00:00Z", ["stripe-live"]),
            ("sort=-createdAt&limit=1", ["db-password"]),
        ],
    )
    async def test_is_narrowed_by(self, app: App, query: str, found: list[str]) -> None:
        key: dict[str, Any] = {"type": "api-key", "marketplaces": ["emea"], "validUntil": instant(days=20)}
        await app.create(name="stripe-live", **key, value="sk_live_1")
        app.world.clock.pass_by(seconds=1)
        await app.create(environment="test", metadata={"team": "shop"})
        listed = await app.send("GET", f"/credentials?{query}", ALICE)
        assert [item["name"] for item in listed["items"]] == found

"""Listing credentials: what a caller sees, narrowed, in order, a page at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.vaults import ADA, ALICE, BOB, CI_RUNNER, DEPLOY_AGENT, MALLORY, MONA, NOON, OTTO, VIC, World, person
from vault_core.credential import status
from vault_core.credential_listing import CredentialQuery
from vault_core.errors import InvalidInput
from vault_core.identities import Caller, Role
from vault_core.tenants import ReplaceTenantRules


async def page(world: World, caller: Caller, **query: object) -> tuple[list[str], str | None]:
    found = await world.vault.listing.page(caller, CredentialQuery.model_validate(query), world.clock())
    return [shown.credential.name for shown in found.shown], found.next


async def listed(world: World, caller: Caller = MONA, **query: object) -> list[str]:
    """All pages of the listing."""
    names, cursor = await page(world, caller, **query)
    while cursor:
        more, cursor = await page(world, caller, cursor=cursor, **query)
        names += more
    return names


@pytest.fixture
async def world() -> World:
    """Credentials of many kinds, created a minute apart."""
    world = World()
    agents = {"policy": {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}}
    wanted: list[tuple[Caller, dict[str, Any]]] = [
        (ALICE, {"name": "alpha", "metadata": {"team": "blue"}, **agents}),
        (ALICE, {"name": "Bravo", "type": "api-key", "environment": "test", "metadata": {"team": "Blues"}}),
        (BOB, {"name": "charlie", "validUntil": "2026-12-01T12:00:00Z", "marketplaces": ["azure"]}),
        (BOB, {"name": "delta", "validFrom": "2027-01-01T12:00:00Z", **agents}),
        (ALICE, {"name": "echo", "validUntil": "2027-12-01T12:00:00Z", "marketplaces": ["aws"]}),
        (MALLORY, {"name": "alpha"}),
    ]
    for owner, body in wanted:
        await world.create(owner, **body)
        world.clock.pass_by(minutes=1)
    await world.vault.credentials.suspend(BOB, "delta", None, None, world.clock())
    await world.revoke(ALICE, "echo")
    return world


@pytest.mark.parametrize(
    ("caller", "names"),
    [
        (MONA, ["alpha", "Bravo", "charlie", "delta", "echo"]),
        (ADA, ["alpha", "Bravo", "charlie", "delta", "echo"]),
        (ALICE, ["alpha", "Bravo", "echo"]),
        (BOB, ["charlie", "delta"]),
        (DEPLOY_AGENT, ["alpha", "delta"]),
        (CI_RUNNER, []),
        (VIC, []),
        (OTTO, []),
        (MALLORY, ["alpha"]),
        (person("nobody"), []),
    ],
    ids=lambda value: value.identity.id if isinstance(value, Caller) else "",
)
async def test_everyone_lists_what_they_may_see(world: World, caller: Caller, names: list[str]) -> None:
    assert await listed(world, caller) == names
    assert await listed(world, caller, sort="name") == names


async def test_what_the_tenants_defaults_allow_is_seen_too(world: World) -> None:
    rules = ReplaceTenantRules.model_validate({"defaults": {"allowedIdentities": [{"type": "agent"}]}})
    await world.vault.tenants.replace(ADA, rules, None, world.clock())
    assert await listed(world, CI_RUNNER) == ["Bravo", "charlie", "echo"]  # the others have rules of their own


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"type": "api-key"}, ["Bravo"]),
        ({"state": "revoked"}, ["echo"]),
        ({"state": "active"}, ["alpha", "Bravo", "charlie", "delta"]),
        ({"status": "expiring"}, ["charlie"]),
        ({"status": "inactive"}, ["delta"]),
        ({"status": "revoked"}, ["echo"]),
        ({"status": "active"}, ["alpha", "Bravo"]),
        ({"environment": "test"}, ["Bravo"]),
        ({"marketplace": "azure"}, ["alpha", "Bravo", "charlie", "delta"]),
        ({"owner": "id-bob"}, ["charlie", "delta"]),
        ({"owner": "me"}, []),
        ({"name": "ALPHA"}, ["alpha"]),
        ({"name": "*a*"}, ["alpha", "Bravo", "charlie", "delta"]),
        ({"name": "*"}, ["alpha", "Bravo", "charlie", "delta", "echo"]),
        ({"name": "a"}, []),
        ({"metadata": {"team": "blue"}}, ["alpha"]),
        ({"metadata": {"team": "blue*"}}, ["alpha", "Bravo"]),
        ({"metadata": {"team": "*", "other": "*"}}, []),
        ({"expiresBefore": "2027-01-01T00:00:00Z"}, ["charlie"]),
        ({"type": "generic-secret", "owner": "id-alice", "name": "e*"}, ["echo"]),
    ],
    ids=str,
)
async def test_every_filter_that_is_given_must_match(world: World, query: dict[str, Any], names: list[str]) -> None:
    assert await listed(world, **query) == names
    assert await listed(world, **query, limit=1) == names


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("createdAt", ["alpha", "Bravo", "charlie", "delta", "echo"]),
        ("-createdAt", ["echo", "delta", "charlie", "Bravo", "alpha"]),
        ("name", ["alpha", "Bravo", "charlie", "delta", "echo"]),
        ("-name", ["echo", "delta", "charlie", "Bravo", "alpha"]),
        ("type", ["Bravo", "alpha", "charlie", "delta", "echo"]),
        ("ends", ["charlie", "echo", "alpha", "Bravo", "delta"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_join_up_in_any_order(world: World, sort: str, limit: int, names: list[str]) -> None:
    assert await listed(world, sort=sort, limit=limit) == names


async def test_the_last_change_comes_last(world: World) -> None:
    world.clock.pass_by(hours=1)
    await world.update(reference="alpha", description="new")
    assert (await listed(world, sort="updatedAt"))[-1] == "alpha"
    assert (await listed(world, sort="-updatedAt"))[0] == "alpha"


async def test_a_page_says_whether_there_is_more(world: World) -> None:
    names, cursor = await page(world, MONA, limit=4)
    assert cursor
    assert len(names) == 4
    names, cursor = await page(world, MONA, limit=1, cursor=cursor)
    assert (names, cursor) == (["echo"], None)


async def test_a_deleted_credential_is_not_listed(world: World) -> None:
    await world.vault.credentials.delete(ALICE, "alpha", None, NOON)
    assert "alpha" not in await listed(world)


async def test_a_cursor_of_another_tenant_shows_nothing_of_it(world: World) -> None:
    _, cursor = await page(world, MONA, limit=1)
    names, _ = await page(world, MALLORY, cursor=cursor)
    assert set(names) <= {"alpha"}
    assert [
        shown.credential.owner_id
        for shown in (await world.vault.listing.page(MALLORY, CredentialQuery(cursor=cursor), NOON)).shown
    ] in ([], ["id-mallory"])


@pytest.mark.parametrize("cursor", ["x", "!!!", "bnVsbA==", "WzEsIDJd", "W10=", "é", "A" * 2048])
async def test_a_cursor_that_is_not_ours_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        await page(world, MONA, cursor=cursor)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": 201},
        {"limit": 10**9},
        {"limit": "many"},
        {"sort": "value"},
        {"status": "fine"},
        {"type": "robot"},
        {"name": ""},
        {"expiresBefore": "tomorrow"},
        {"metadata": {str(number): "x" for number in range(11)}},
        {"unknown": "x"},
        {"cursor": ""},
        {"cursor": "A" * 2049},
    ],
    ids=str,
)
def test_a_query_that_cannot_be_meant_is_refused(query: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CredentialQuery.model_validate(query)


async def test_a_listing_agrees_with_reading_one_by_one(world: World) -> None:
    found = await world.vault.listing.page(MONA, CredentialQuery(), world.clock())
    for shown in found.shown:
        one = await world.vault.credentials.read(MONA, shown.credential.id, world.clock())
        assert one.credential == shown.credential
        assert status(one.credential, world.clock(), one.rules.notice_period)


async def test_a_filter_that_passes_over_much_still_fills_its_pages() -> None:
    world = World()
    for number in range(60):
        await world.create(ALICE if number % 20 == 0 else BOB, name=f"credential-{number:02}")
        world.clock.pass_by(milliseconds=1)
    for caller in (ALICE, MONA):
        assert await listed(world, caller, owner="id-alice", limit=2) == [
            "credential-00",
            "credential-20",
            "credential-40",
        ]
    world.ledger.calls.clear()
    await page(world, ALICE, limit=2)
    assert [call.subject.split("'")[3] for call in world.ledger.calls] == ["locker:", "credential:"]


@given(text=st.text(max_size=60))
def test_no_text_is_too_strange_to_be_sought(text: str) -> None:
    try:
        query = CredentialQuery.model_validate({"name": text or "x", "metadata": {"k": text}})
    except ValidationError:
        return
    assert query.metadata == {"k": text}


async def test_roles_without_sight_see_nothing_even_of_their_own() -> None:
    world = World()
    await world.create(ALICE)
    without_role = person("alice")
    vendor = person("alice", Role.VENDOR)
    for caller in (without_role, vendor):
        assert await listed(world, caller) == []

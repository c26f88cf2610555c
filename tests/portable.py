"""Exports and imports in tests: a tenant with one of everything, and its way into another world."""

from __future__ import annotations

from typing import Any

from tests.api.app import App
from tests.subscribers import URL, subscribe
from tests.vaults import ADA, ALICE, BOB, LOLA, World
from vault_core.identities import Caller

SETTINGS = {
    "defaults": {"maxLeaseTTL": "12h", "defaultLeaseTTL": "30m", "allowedIdentities": []},
    "noticePeriod": "14d",
    "retention": "30d",
}
LOCKER_ID, CREDENTIAL_ID, SUBSCRIPTION_ID = (f"01a1ffe5-4600-7000-8000-00000000000{digit}" for digit in "123")


def locker_item(**changes: Any) -> dict[str, Any]:
    """The office's locker, in which Alice is the owner and Bob a participant."""
    members = {"id-alice": ["own"], "id-bob": ["participate"]}
    return {"kind": "locker", "id": LOCKER_ID, "name": "office", "members": members} | changes


def credential_item(**changes: Any) -> dict[str, Any]:
    """A secret of Alice's."""
    about = {"name": "db-password", "type": "generic-secret", "state": "active", "ownerId": "id-alice"}
    return {"kind": "credential", "id": CREDENTIAL_ID} | about | changes


def subscription_item(**changes: Any) -> dict[str, Any]:
    """A subscription to everything."""
    return {"kind": "subscription", "id": SUBSCRIPTION_ID, "url": URL, "events": ["*"]} | changes


async def exported(world: World, caller: Caller = ADA, limit: int = 100) -> list[dict[str, Any]]:
    """Everything that an export of the tenant holds."""
    items: list[dict[str, Any]] = []
    for page in await pages(world, caller, limit):
        items += page["items"]
    return items


async def pages(world: World, caller: Caller = ADA, limit: int = 100) -> list[dict[str, Any]]:
    """The pages of an export of the tenant."""
    app, found, path = App(world), [], f"/tenant/export?limit={limit}"
    while True:
        reply = await app.send("GET", path, caller)
        assert reply.status == 200, reply.body
        found.append(reply.body)
        if "next" not in reply.body:
            return found
        path = f"/tenant/export?limit={limit}&cursor={reply['next']}"


async def imported(world: World, *items: dict[str, Any], caller: Caller = ADA) -> list[dict[str, Any]]:
    """What became of these items when they were imported at once."""
    reply = await App(world).send("POST", "/tenant/import", caller, {"format": 1, "items": items})
    assert reply.status == 200, reply.body
    done: list[dict[str, Any]] = reply["items"]
    return done


async def outcomes(world: World, *items: dict[str, Any], caller: Caller = ADA) -> list[str]:
    """The outcome of each item, or the code of its refusal."""
    return [one.get("code", one["outcome"]) for one in await imported(world, *items, caller=caller)]


async def furnish(world: World) -> None:
    """Make one of everything that a tenant can have by itself; what was deleted is gone, and one is revoked."""
    app = App(world)
    members = "/lockers/office/members"
    attributes = [{"name": "user", "masked": False}, {"name": "pin", "userProvided": True, "description": "Yours"}]
    await world.create_for_agents(description="Orders", metadata={"team": "shop", "rotateEvery": "30d"})
    await world.create(BOB, name="stripe", type="api-key", value="sk_live_4eC39HqLyjWDarjtT1zdp7dc")
    await world.create(name="gone")
    await world.create(name="worn out")
    await world.create(
        name="portal", attributes=attributes, fields={"user": "root-of-all-evil"}, validUntil="2027-11-21T12:00:00Z"
    )
    for method, path, caller, body in (
        ("PUT", "/tenant", ADA, SETTINGS),
        ("POST", "/lockers", ALICE, {"name": "office", "description": "Of the office"}),
        ("PUT", f"{members}/id-bob", ALICE, {"permissions": ["manage", "participate"]}),
        ("PUT", "/lockers/office/consumers/finance-bots", ALICE, None),
        ("PUT", "/lockers/office/credentials/portal", ALICE, None),
        ("POST", "/lockers", LOLA, {"name": "empty"}),
        ("POST", "/credentials/stripe/suspend", BOB, {"reason": "a pause"}),
        ("PUT", "/credentials/db-password/owner/id-bob", ALICE, None),
        ("DELETE", "/credentials/gone", ALICE, None),
        ("POST", "/credentials/worn%20out/revoke", ALICE, None),
    ):
        reply = await app.send(method, path, caller, body)
        assert reply.status in (200, 201, 204), (path, reply.body)
    await subscribe(world, description="The chat")

"""The vault's story, told through real HTTP: what was sent, what came back, values masked.

Each step checks that the vault did what the story says; the first that fails ends it with exit status 1.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from local.cloud import local_cloud
from local.ports import Ports
from local.running import NothingRuns, Running, find_running
from local.stage import Stage, StoryFailed, Told, chapter, check


async def tell(folder: Path, ports: Ports, app: Path) -> int:
    """Start a local cloud, or use the one that runs, and tell the story. Return the exit status."""
    try:
        async with _running(folder, ports, app) as running, aiohttp.ClientSession() as session:
            await _story(Stage(running, session))
    except StoryFailed as fault:
        print(f"\nThe story ended early. {fault}", file=sys.stderr)
        return 1
    print("That is the vault. Start it for yourself with: make run")
    return 0


async def _story(stage: Stage) -> None:
    name = f"orders-api-{secrets.token_hex(3)}"
    first = await _stored_and_leased(stage, name)
    await _rotated_while_leased(stage, name, first)
    await _runs_out(stage, name)
    await _refused(stage, name)
    await _revoked(stage, name, first)
    await _audited(stage, name)
    await _shared_by_bots(stage)


async def _stored_and_leased(stage: Stage, name: str) -> Told:
    chapter("1. Alice stores a typed credential that deploy agents may lease")
    policy = {"maxLeaseTTL": "1h", "allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}
    value = f"sk_live_{secrets.token_hex(12)}"
    created = await stage.says(
        "alice",
        "POST",
        "/credentials",
        {"name": name, "type": "api-key", "value": value, "policy": policy},
        expect=201,
    )
    check("value" not in created.body, "no answer but a lease holds a value")

    chapter("2. An agent leases it, and gets the value with an end")
    wish = {"credential": name, "ttl": "8h", "purpose": "deploy the orders service"}
    lease = await stage.says("deploy-agent", "POST", "/leases", wish, expect=201)
    check(lease["value"] == value, "the agent has the value that Alice stored")
    check(lease["cappedBy"] == "credential-policy", "eight hours were cut to the credential's maximum of one")
    return lease


async def _rotated_while_leased(stage: Stage, name: str, first: Told) -> None:
    chapter("3. Alice rotates it while the lease lives: nobody is cut off")
    value = f"sk_live_{secrets.token_hex(12)}"
    await stage.says("alice", "POST", f"/credentials/{name}/rotate", {"value": value}, expect=200)
    second = await stage.says("deploy-agent", "POST", "/leases", {"credential": name}, expect=201)
    check(second["value"] == value and second["version"] == 2, "a new lease gets the new value")
    old = await stage.says("deploy-agent", "GET", f"/leases/{first['id']}", expect=200)
    check(old["state"] == "active" and old["version"] == 1, "the old lease is good until its end")


async def _runs_out(stage: Stage, name: str) -> None:
    chapter("4. A lease runs out by itself: no timer is needed for that")
    brief = await stage.says("deploy-agent", "POST", "/leases", {"credential": name, "ttl": "2s"}, expect=201)
    print("  (two seconds pass)\n")
    await asyncio.sleep(2.1)
    over = await stage.says("deploy-agent", "GET", f"/leases/{brief['id']}", expect=200)
    check(over["state"] == "expired", "the lease is over")


async def _refused(stage: Stage, name: str) -> None:
    chapter("5. Who may not, learns nothing")
    await stage.says("ci-runner", "POST", "/leases", {"credential": name}, expect=404)
    await stage.says("mona", "POST", "/leases", {"credential": name}, expect=403)
    await stage.says("mallory", "GET", f"/credentials/{name}", expect=404)
    print(
        "  A stranger, and another tenant, see nothing; a manager sees the credential, but has no right to its value.\n"
    )


async def _revoked(stage: Stage, name: str, first: Told) -> None:
    chapter("6. Alice revokes it: every lease ends at once")
    await stage.says("alice", "POST", f"/credentials/{name}/revoke", {"reason": "it leaked"}, expect=200)
    dead = await stage.says("deploy-agent", "GET", f"/leases/{first['id']}", expect=200)
    check(dead["state"] == "revoked", "the lease is dead")
    await stage.says("deploy-agent", "POST", "/leases", {"credential": name}, expect=409)


async def _audited(stage: Stage, name: str) -> None:
    chapter("7. The audit shows who did what")
    events = (await stage.says("otto", "GET", f"/audit?credential={name}", expect=200))["items"]
    for event in reversed(events):
        who = event["identity"].get("email") or event["identity"]["name"]
        print(f"  {event['at'][11:19]}  {event['event']:<22} {event['outcome']:<8} {who}")
    print()
    told = {event["event"] for event in events}
    missing = {
        "credential.created",
        "lease.created",
        "credential.rotated",
        "credential.revoked",
        "access.denied",
    } - told
    check(not missing, "everything that happened is there")


async def _shared_by_bots(stage: Stage) -> None:
    chapter("8. Alice uses a client of a Control Room, which knows this vault as its own")
    alice, mark = await stage.logs_in("alice"), secrets.token_hex(3)
    attributes = [{"name": "password", "masked": True}, {"name": "pin", "masked": True, "userProvided": True}]
    wanted = {"name": f"SAP login {mark}", "attributes": attributes}
    created = await alice.says("POST", "/credentials", wanted, expect=201)
    one, attribute, password = created["id"], created["attributes"][0]["id"], f"pw-{secrets.token_hex(12)}"
    values = {"list": [{"credentialAttributeId": attribute, "value": password}]}
    await alice.says("POST", f"/credentials/{one}/attributevalues", values, expect=200)
    locker = await alice.says("POST", "/lockers", {"name": f"Finance {mark}"}, expect=201)
    await alice.says("POST", f"/lockers/{locker['id']}/consumers", {"id": "finance-bots"}, expect=201)
    await alice.says("PUT", f"/lockers/{locker['id']}/credentials/{one}", expect=200)
    await _consumed(stage, one, password)


async def _consumed(stage: Stage, one: str, password: str) -> None:
    chapter("9. A bot whose token has the role gives a value of its own, and leases both")
    pin = f"pin-{secrets.token_hex(12)}"
    await stage.says("finance-bot", "POST", "/leases", {"credential": one}, expect=409)
    await stage.says("finance-bot", "PUT", f"/credentials/{one}/own-values", {"fields": {"pin": pin}}, expect=200)
    lease = await stage.says("finance-bot", "POST", "/leases", {"credential": one}, expect=201)
    check(lease["fields"] == {"password": password, "pin": pin}, "the bot has Alice's password, and its own pin")
    await stage.says("alice", "POST", "/leases", {"credential": one}, expect=409)
    await stage.says("hr-bot", "GET", f"/credentials/{one}", expect=404)
    print("  Alice does not get the bot's pin: she has none; a bot without the role sees nothing.\n")


@asynccontextmanager
async def _running(folder: Path, ports: Ports, app: Path) -> AsyncIterator[Running]:
    with suppress(NothingRuns):
        running = find_running(folder)
        print(f"Using the local cloud that runs at {running.functions}\n")
        yield running
        return

    def say(line: str) -> None:
        print(f"{line} ...", flush=True)

    log: list[str] = []
    async with local_cloud(folder=folder, ports=ports, app=app, say=say, on_log=log.append) as cloud:
        print()
        yield Running.of(cloud, folder)

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
    if (await stage.peeks("alice", "/health"))["recoveryMode"]:
        raise StoryFailed("The vault that runs is in recovery mode, in which timers do nothing: start it without.")
    name = f"orders-api-{secrets.token_hex(3)}"
    first = await _stored_and_leased(stage, name)
    await _rotated_while_leased(stage, name, first)
    await _runs_out(stage, name)
    await _refused(stage, name)
    await _revoked(stage, name, first)
    await _audited(stage, name)
    await _shared_by_bots(stage)
    await _defined_by_a_vendor(stage, f"nw-{secrets.token_hex(3)}")
    await _leaked(stage, f"leaked-{secrets.token_hex(3)}")
    await _looked_after(stage)


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


async def _defined_by_a_vendor(stage: Stage, product: str) -> None:
    configuration = await _published(stage, product)
    subscription = await _subscribed(stage)
    everywhere, german = await _filled(stage, product, configuration)
    await _resolved(stage, product, everywhere, german)
    await _found_invalid(stage, everywhere)
    await _cleared(stage, configuration, subscription, everywhere, german)


async def _published(stage: Stage, product: str) -> str:
    chapter("10. Northwind, a vendor, says what its keys look like and where they can be checked")
    key = {"id": "apiKey", "label": "API key", "type": "password", "minLength": 12}
    definition = {
        "name": f"Northwind {product}",
        "audience": ["contoso"],
        "scope": "products",
        "products": [product],
        "fields": [key, {"id": "account", "label": "Account", "type": "text", "secret": False, "required": False}],
        "validation": {"url": f"{stage.vendor_url}/validate"},
    }
    created = await stage.says("northwind-vendor", "POST", "/configurations", definition, expect=201)
    await stage.steers_vendor("/secret", {"secret": created["signingSecret"]}, "it will check the vault's signatures")
    await stage.steers_vendor("/accepts", {"acceptsAll": True}, "its endpoint calls every value valid")
    one = f"/configurations/{created['id']}"
    unfit = await stage.says("northwind-vendor", "POST", f"{one}/publish", {}, expect=409)
    check(unfit["code"] == "validation-endpoint-unfit", "an endpoint that says yes to everything is not published")
    await stage.steers_vendor("/accepts", {}, "its endpoint now accepts keys that begin with nw_live_")
    published = await stage.says("northwind-vendor", "POST", f"{one}/publish", {}, expect=200)
    check(published["latest"]["version"] == 1, "one that calls a random key invalid is")
    return str(created["id"])


async def _subscribed(stage: Stage) -> str:
    chapter("11. Ada, an administrator, wants to be told of what checks find")
    wish = {"url": f"{stage.vendor_url}/events", "events": ["credential.validated"]}
    created = await stage.says("ada", "POST", "/subscriptions", wish, expect=201)
    await stage.steers_vendor("/events-secret", {"secret": created["signingSecret"]}, "Ada's receiver is there too")
    return str(created["id"])


async def _filled(stage: Stage, product: str, configuration: str) -> tuple[str, str]:
    chapter("12. Alice makes credentials from it; the vendor is asked about them")
    await stage.says("alice", "GET", f"/configurations/{configuration}", expect=200)
    policy = {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}
    wanted = {"name": f"mail {product}", "configuration": {"id": configuration}, "policy": policy}
    wrong = {"apiKey": f"nw_test_{secrets.token_hex(12)}"}
    await stage.says("alice", "POST", "/credentials?validate=true", wanted | {"fields": wrong}, expect=422)
    right = {"apiKey": f"nw_live_{secrets.token_hex(12)}", "account": "contoso-mail"}
    made = await stage.says("alice", "POST", "/credentials?validate=true", wanted | {"fields": right}, expect=201)
    check(made["validation"]["status"] == "valid", "a wrong key got no further than this; the right one is valid")
    german = wanted | {"name": f"mail {product} de", "marketplaces": ["de"]}
    german["fields"] = {"apiKey": f"nw_live_{secrets.token_hex(12)}"}
    other = await stage.says("alice", "POST", "/credentials", german, expect=201)
    await stage.runs("check_credentials")

    async def is_valid() -> bool:
        seen = await stage.peeks("alice", f"/credentials/{other['id']}")
        return bool(seen["validation"]["status"] == "valid")

    await stage.until(is_valid, "what was not asked for at once, a timer asked the vendor about")
    return str(made["id"]), str(other["id"])


async def _resolved(stage: Stage, product: str, everywhere: str, german: str) -> None:
    chapter("13. An agent says what it needs a credential for, not which one")
    place = f"/credentials/resolve?product={product}&environment=production"
    there = await stage.says("deploy-agent", "GET", f"{place}&marketplace=de", expect=200)
    elsewhere = await stage.says("deploy-agent", "GET", f"{place}&marketplace=fr", expect=200)
    check((there["id"], elsewhere["id"]) == (german, everywhere), "the one for a marketplace goes before one for all")
    await stage.says("deploy-agent", "GET", place.replace("production", "test"), expect=404)
    wish = {"product": product, "environment": "production", "marketplace": "fr"}
    lease = await stage.says("deploy-agent", "POST", "/leases", wish, expect=201)
    check(lease["credentialId"] == everywhere, "and so it is leased; nothing of production is used for a test")


async def _found_invalid(stage: Stage, one: str) -> None:
    chapter("14. The vendor withdraws the key, and whoever subscribed hears of it")
    await stage.steers_vendor("/accepts", {"prefix": "nw_new_"}, "keys that begin with nw_live_ are withdrawn")
    checked = await stage.says("alice", "POST", f"/credentials/{one}/validate", expect=200)
    check(checked["validation"]["status"] == "invalid", "it does not work any longer")
    await stage.says("alice", "POST", f"/credentials/{one}/validate", expect=429)
    print("  Once a minute and no more: the vault is no tool for guessing keys.\n")
    await stage.runs("deliver_events")

    async def is_told() -> bool:
        told = [event for event in await stage.events_at_vendor() if event["data"].get("credentialId") == one]
        return any(event["verified"] and event["data"]["details"]["status"] == "invalid" for event in told)

    await stage.until(is_told, "the event arrived at Ada's receiver, with a signature that verifies")


async def _cleared(stage: Stage, configuration: str, subscription: str, *credentials: str) -> None:
    chapter("15. What credentials live on, its vendor cannot take away")
    await stage.says("northwind-vendor", "DELETE", f"/configurations/{configuration}", expect=409)
    for one in credentials:
        await stage.says("alice", "DELETE", f"/credentials/{one}", expect=204)
    await stage.says("northwind-vendor", "DELETE", f"/configurations/{configuration}", expect=204)
    await stage.says("ada", "DELETE", f"/subscriptions/{subscription}", expect=204)
    for path in ("/accepts", "/secret", "/events-secret"):
        await stage.steers_vendor(path, {}, f"{path} is as at the start")


async def _leaked(stage: Stage, name: str) -> None:
    chapter("16. A value may be known to others: Alice says so, and hears who was given it")
    policy = {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}
    wanted = {"name": name, "type": "api-key", "value": f"sk_live_{secrets.token_hex(12)}", "policy": policy}
    await stage.says("alice", "POST", "/credentials", wanted, expect=201)
    lease = await stage.says("deploy-agent", "POST", "/leases", {"credential": name}, expect=201)
    report = await stage.says("alice", "POST", f"/credentials/{name}/compromised", {"reason": "in a log"}, expect=200)
    check(report["credential"]["status"] == "inactive", "it is frozen at once")
    [holder] = report["holders"]
    print(f"  given to: {holder['identity']['name']}, since {holder['since'][11:19]}\n")
    check(holder["leases"] == 1, "the one who held it is named")
    ended = await stage.says("deploy-agent", "GET", f"/leases/{lease['id']}", expect=200)
    check(ended["state"] == "revoked", "its leases have ended")
    await stage.says("deploy-agent", "POST", "/leases", {"credential": name}, expect=409)
    another = {"value": f"sk_live_{secrets.token_hex(12)}"}
    await stage.says("alice", "POST", f"/credentials/{name}/rotate", another, expect=200)
    await stage.says("deploy-agent", "POST", "/leases", {"credential": name}, expect=201)
    check(holds=True, what="frozen until the value was another")
    await stage.says("alice", "DELETE", f"/credentials/{name}", expect=204)


async def _looked_after(stage: Stage) -> None:
    chapter("17. Ada gives the tenant another data key, and takes along what it has: all but values")
    before = await stage.says("ada", "GET", "/tenant/data-key", expect=200)
    after = await stage.says("ada", "POST", "/tenant/rotate-data-key", expect=200)
    check(after["resealing"] and after["version"] >= before["version"], "what the tables hold is sealed anew meanwhile")
    page = await stage.says("ada", "GET", "/tenant/export", expect=200)
    again = await stage.says("ada", "POST", "/tenant/import", page.body, expect=200)
    outcomes = [item["outcome"] for item in again["items"]]
    check(set(outcomes) == {"present"}, "an import changes nothing that is there")


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

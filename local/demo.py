"""The vault's story, told through real HTTP: what was sent, what came back, values masked.

Each step checks that the vault did what the story says; the first that fails ends it with exit status 1.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from local.cloud import local_cloud
from local.ports import Ports
from local.running import NothingRuns, Running, find_running

_MASK = "••••••••"
_VALUES = ("value", "fields")
_TELLING = ("name", "status", "state", "version", "display", "expiresAt", "cappedBy", "value", "code", "detail")


class StoryFailed(Exception):
    """The vault did not do what the story says."""


class Told:
    """What the vault answered: its status, its JSON, and its headers."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    def __getitem__(self, name: str) -> Any:
        return self.body[name]


class Stage:
    """Speaks to the vault as one of the known people and agents, and prints what is said."""

    def __init__(self, running: Running, session: aiohttp.ClientSession) -> None:
        self._running = running
        self._session = session
        self._tokens: dict[str, str] = {}

    async def says(self, who: str, method: str, path: str, body: Any = None, *, expect: int) -> Told:
        """Send a request as `who`, print both sides, and return the answer if its status is as expected."""
        if who not in self._tokens:
            self._tokens[who] = await self._running.token(who)
        print(f"  {who} → {method} {path}{'  ' + _compact(body) if body else ''}")
        headers = {"Authorization": f"Bearer {self._tokens[who]}"}
        url = f"{self._running.functions}/api/v1{path}"
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            told = Told(answer.status, json.loads(text) if text else None, answer.headers)
        print(f"  vault → {told.status} {_gist(told.body)}\n")
        if told.status != expect:
            raise StoryFailed(f"{who}: {method} {path} was answered with {told.status}, and {expect} was expected.")
        return told


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


async def _stored_and_leased(stage: Stage, name: str) -> Told:
    _chapter("1. Alice stores a typed credential that deploy agents may lease")
    policy = {"maxLeaseTTL": "1h", "allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}
    value = f"sk_live_{secrets.token_hex(12)}"
    created = await stage.says(
        "alice",
        "POST",
        "/credentials",
        {"name": name, "type": "api-key", "value": value, "policy": policy},
        expect=201,
    )
    _check("value" not in created.body, "no answer but a lease holds a value")

    _chapter("2. An agent leases it, and gets the value with an end")
    wish = {"credential": name, "ttl": "8h", "purpose": "deploy the orders service"}
    lease = await stage.says("deploy-agent", "POST", "/leases", wish, expect=201)
    _check(lease["value"] == value, "the agent has the value that Alice stored")
    _check(lease["cappedBy"] == "credential-policy", "eight hours were cut to the credential's maximum of one")
    return lease


async def _rotated_while_leased(stage: Stage, name: str, first: Told) -> None:
    _chapter("3. Alice rotates it while the lease lives: nobody is cut off")
    value = f"sk_live_{secrets.token_hex(12)}"
    await stage.says("alice", "POST", f"/credentials/{name}/rotate", {"value": value}, expect=200)
    second = await stage.says("deploy-agent", "POST", "/leases", {"credential": name}, expect=201)
    _check(second["value"] == value and second["version"] == 2, "a new lease gets the new value")
    old = await stage.says("deploy-agent", "GET", f"/leases/{first['id']}", expect=200)
    _check(old["state"] == "active" and old["version"] == 1, "the old lease is good until its end")


async def _runs_out(stage: Stage, name: str) -> None:
    _chapter("4. A lease runs out by itself: no timer is needed for that")
    brief = await stage.says("deploy-agent", "POST", "/leases", {"credential": name, "ttl": "2s"}, expect=201)
    print("  (two seconds pass)\n")
    await asyncio.sleep(2.1)
    over = await stage.says("deploy-agent", "GET", f"/leases/{brief['id']}", expect=200)
    _check(over["state"] == "expired", "the lease is over")


async def _refused(stage: Stage, name: str) -> None:
    _chapter("5. Who may not, learns nothing")
    await stage.says("ci-runner", "POST", "/leases", {"credential": name}, expect=404)
    await stage.says("mona", "POST", "/leases", {"credential": name}, expect=403)
    await stage.says("mallory", "GET", f"/credentials/{name}", expect=404)
    print(
        "  A stranger, and another tenant, see nothing; a manager sees the credential, but has no right to its value.\n"
    )


async def _revoked(stage: Stage, name: str, first: Told) -> None:
    _chapter("6. Alice revokes it: every lease ends at once")
    await stage.says("alice", "POST", f"/credentials/{name}/revoke", {"reason": "it leaked"}, expect=200)
    dead = await stage.says("deploy-agent", "GET", f"/leases/{first['id']}", expect=200)
    _check(dead["state"] == "revoked", "the lease is dead")
    await stage.says("deploy-agent", "POST", "/leases", {"credential": name}, expect=409)


async def _audited(stage: Stage, name: str) -> None:
    _chapter("7. The audit shows who did what")
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
    _check(not missing, "everything that happened is there")


def _chapter(title: str) -> None:
    print(f"{title}\n{'-' * len(title)}")


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise StoryFailed(f"It was expected that {what}.")
    print(f"  ✓ {what}\n")


def _masked(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    hidden: dict[str, Any] = {name: _MASK for name in _VALUES if name in body}
    return {**body, **hidden}


def _compact(body: Any) -> str:
    return json.dumps(_masked(body), ensure_ascii=False)


def _gist(body: Any) -> str:
    """Return what tells most of an answer, on one line."""
    if not isinstance(body, dict):
        return ""
    if "items" in body:
        return f"{len(body['items'])} items"
    return _compact({name: _masked(body)[name] for name in _TELLING if name in body})


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

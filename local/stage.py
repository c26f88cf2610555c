"""Where the vault's story is told: sends what someone says through real HTTP, and prints both sides, values masked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from local.running import Running

NATIVE = "/api/v1"
_MASK = "••••••••"
_SECRETS = frozenset({"value", "password", "token", "secret", "signingSecret"})
_TELLING = (
    *("name", "status", "state", "version", "display", "expiresAt", "cappedBy", "completed", "given", "validation"),
    *(
        "resealing",
        "outcome",
        "check",
        "secret",
        "signingSecret",
        "token",
        "value",
        "fields",
        "code",
        "message",
        "detail",
    ),
)
_VERDICTS = frozenset({"validation", "check"})
_PATIENCE_SECONDS = 20


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
        headers = await self._credentials_of(who)
        return await self.sends(who, method, f"{NATIVE}{path}", body, headers, expect=expect)

    async def logs_in(self, who: str) -> ControlRoomSession:
        """Log in as a client of a Control Room does, by user name and password."""
        body = {"username": who, "password": self._running.secret(who)}
        told = await self.sends(who, "POST", "/v2/authentication", body, {}, expect=200)
        return ControlRoomSession(self, who, told["token"])

    async def runs(self, timer: str) -> None:
        """Run a timer of the vault now, as an operator can."""
        await self._silently("POST", f"{self._running.functions}/admin/functions/{timer}", {}, expect=202)
        print(f"  (the timer {timer} runs)\n")

    @property
    def vendor_url(self) -> str:
        """Where the sample vendor is."""
        return self._running.vendor

    async def steers_vendor(self, path: str, body: Any, what: str) -> None:
        """Change how the sample vendor behaves, and print what happens there."""
        await self._silently("PUT", f"{self.vendor_url}{path}", body, expect=204)
        print(f"  (at the vendor: {what})\n")

    async def events_at_vendor(self) -> list[Any]:
        """Return what the sample vendor's own receiver of events has got."""
        return list(await self._silently("GET", f"{self.vendor_url}/events", None, expect=200))

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until it holds, and print what was shown; `StoryFailed` when it does not within twenty seconds."""
        for _ in range(_PATIENCE_SECONDS * 10):
            if await holds():
                check(holds=True, what=what)
                return
            await asyncio.sleep(0.1)
        check(holds=False, what=what)

    async def peeks(self, who: str, path: str) -> Any:
        """Return what `who` reads, without a word."""
        headers = await self._credentials_of(who)
        return await self._silently("GET", f"{self._running.functions}{NATIVE}{path}", None, headers, expect=200)

    async def _credentials_of(self, who: str) -> dict[str, str]:
        if who not in self._tokens:
            self._tokens[who] = await self._running.token(who)
        return {"Authorization": f"Bearer {self._tokens[who]}"}

    async def _silently(
        self, method: str, url: str, body: Any, headers: Mapping[str, str] | None = None, *, expect: int
    ) -> Any:
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            if answer.status != expect:
                raise StoryFailed(f"{method} {url} was answered with {answer.status}, and {expect} was expected.")
            return await answer.json() if answer.content_type == "application/json" else None

    async def sends(
        self, who: str, method: str, path: str, body: Any, headers: Mapping[str, str], *, expect: int
    ) -> Told:
        """Send a request with these headers; otherwise as `says`."""
        shown = path.removeprefix(NATIVE)
        print(f"  {who} → {method} {shown}{'  ' + _compact(body) if body else ''}")
        url = f"{self._running.functions}{path}"
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            told = Told(answer.status, json.loads(text) if text else None, answer.headers)
        print(f"  vault → {told.status} {_gist(told.body)}\n")
        if told.status != expect:
            raise StoryFailed(f"{who}: {method} {shown} was answered with {told.status}, and {expect} was expected.")
        return told


class ControlRoomSession:
    """Speaks to the vault as a client of a Control Room that has logged in."""

    def __init__(self, stage: Stage, who: str, token: str) -> None:
        self._stage = stage
        self._who = who
        self._token = token

    async def says(self, method: str, path: str, body: Any = None, *, expect: int) -> Told:
        """Send a request and return the answer, as `Stage.says` does."""
        headers = {"X-Authorization": self._token}
        return await self._stage.sends(self._who, method, f"/v2/credentialvault{path}", body, headers, expect=expect)


def chapter(title: str) -> None:
    """Begin a chapter."""
    print(f"{title}\n{'-' * len(title)}")


def check(holds: bool, what: str) -> None:
    """Print what was shown; `StoryFailed` when it does not hold."""
    if not holds:
        raise StoryFailed(f"It was expected that {what}.")
    print(f"  ✓ {what}\n")


def _masked(body: Any) -> Any:
    """Return the body with a mask in place of every secret, however deep."""
    if isinstance(body, list):
        return [_masked(item) for item in body]
    if not isinstance(body, dict):
        return body
    return {name: _masked_part(name, part) for name, part in body.items()}


def _masked_part(name: str, part: Any) -> Any:
    if name in _SECRETS and isinstance(part, str):
        return _MASK
    return dict.fromkeys(part, _MASK) if name == "fields" and isinstance(part, dict) else _masked(part)


def _compact(body: Any) -> str:
    return json.dumps(_masked(body), ensure_ascii=False)


def _gist(body: Any) -> str:
    """Return what tells most of an answer, on one line."""
    if not isinstance(body, dict):
        return ""
    rows = body.get("items", body.get("list"))
    if rows is not None:
        return f"{len(rows)} items"
    return _compact({name: _brief(name, body[name]) for name in _TELLING if name in body})


def _brief(name: str, part: Any) -> Any:
    """Return of a verdict what was found and why; anything else as it is."""
    return {key: part[key] for key in ("status", "reason")} if name in _VERDICTS else part

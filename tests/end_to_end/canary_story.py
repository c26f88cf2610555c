"""The story of the canaries: each goes through every operation and every failure, over HTTP."""

from __future__ import annotations

import gzip
import json
import urllib.parse
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from local.cloud import LocalCloud
from local.key_vault.faults import Fault
from tests.end_to_end.canaries import Canary, canaries, spoken

TIMERS = ("expire_leases", "check_credentials", "check_rotations", "deliver_events", "reconcile")
ANYONE = {"allowedIdentities": [{"type": "any"}]}
OUTAGES = (
    Fault(status=429, retry_after=30, times=2),
    Fault(status=503, retry_after=30, times=2),
    Fault(status=400, times=2),
    Fault(kind="reset", times=12),
    Fault(kind="lost", times=12),
)


@dataclass(frozen=True)
class Answer:
    """What came back, and to what, and to whom."""

    by: str
    asked: str
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text) if self.text else None

    @property
    def whole(self) -> str:
        return f"{self.status} {dict(self.headers)} {self.text}"


def _hands_over(method: str, url: str, status: int) -> bool:
    """Whether this is a lease that was granted, or a read of plain values."""
    if method == "POST":
        return url.endswith("/leases") and status == 201
    return method == "GET" and "/attributevalues" in url and "encryptionKey" not in url and status == 200


def _issues(method: str, url: str, status: int) -> bool:
    """Whether this shows a secret that signs, once."""
    return method == "POST" and url.endswith(("/configurations", "/subscriptions", "/rotate-secret")) and status < 300


@dataclass
class Story:
    """Tells the story to a vault. Keeps the answers, those that hand values over apart, and the values that were sent.

    Of these, `own` are by whose they are, `masked` not to be read with all others; `proofs` prove who one is.
    `issued` are the answers that show secrets that sign, and `signing` these.
    """

    cloud: LocalCloud
    session: aiohttp.ClientSession
    first: str
    second: str
    answers: list[Answer] = field(default_factory=list)
    grants: list[Answer] = field(default_factory=list)
    sent: list[Canary] = field(default_factory=list)
    own: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    masked: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    issued: list[Answer] = field(default_factory=list)
    signing: list[str] = field(default_factory=list)

    def new(self, whose: str | None = None) -> str:
        """Return a value that nobody has seen: everybody's, or the own one of a consumer."""
        mark = uuid.uuid4().hex
        self.sent.append(Canary("generic-secret", {"value": spoken(mark)}, (spoken(mark), mark)))
        if whose is not None:
            self.own[whose] += [spoken(mark), mark]
        return spoken(mark)

    async def tell(self) -> None:
        for canary, other in zip(canaries(self.first), canaries(self.second), strict=True):
            self.sent += [canary, other]
            await self._live_through(canary, other)
        await self._refused_values()
        await self._unreadable_bodies()
        await self._misplaced_values()
        for fault in OUTAGES:
            await self._outage(fault)
        for timer in TIMERS:
            await self._send("operator", "POST", f"{self.cloud.functions_url}/admin/functions/{timer}", None, {})
        await self._list_everything()

    async def call(self, method: str, path: str, body: Any = None, *, by: str = "alice", **headers: str) -> Answer:
        """Send a request as a known identity; `_` in the name of a header stands for `-`."""
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        token = {"Authorization": f"Bearer {self.cloud.identity.token(by)}"}
        return await self._send(by, method, f"{self.cloud.functions_url}/api/v1{path}", body, token | given)

    async def patch(self, path: str, body: Any) -> Answer:
        """Change a credential of Alice's as it is now."""
        return await self.call("PATCH", path, body, If_Match=(await self.call("GET", path)).headers["ETag"])

    async def room(self, method: str, path: str, body: Any = None, *, by: str = "alice") -> Answer:
        """Send a request as a known identity whose client was written for a Control Room."""
        token = {"X-Authorization": self.cloud.identity.token(by)}
        return await self._send(by, method, f"{self.cloud.functions_url}/v2/credentialvault{path}", body, token)

    async def unknown(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request that does not say from whom it is."""
        return await self._send("someone", method, f"{self.cloud.functions_url}{path}", body, {})

    async def _send(self, by: str, method: str, url: str, body: Any, headers: Mapping[str, str]) -> Answer:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        typed = {"Content-Type": "application/json"} if content else {}
        async with self.session.request(
            method, URL(url, encoded=True), data=content, headers=typed | dict(headers)
        ) as reply:
            answer = Answer(by, f"{method} {url}", reply.status, reply.headers, await reply.text())
        if _issues(method, url, answer.status):
            self.issued.append(answer)
            self.signing.append(answer.body["signingSecret"])
        else:
            (self.grants if _hands_over(method, url, answer.status) else self.answers).append(answer)
        return answer

    async def _live_through(self, canary: Canary, other: Canary) -> None:
        name, one = f"canary-{canary.type}", f"/credentials/canary-{canary.type}"
        wanted = {"name": name, "type": canary.type, "fields": canary.fields, "policy": ANYONE}
        for _ in range(2):  # the second is the repeat of the first
            await self.call("POST", "/credentials", wanted, Idempotency_Key=f"create-{name}")
        await self.call("POST", "/credentials", wanted)  # the name is taken
        for _ in range(2):
            lease = await self.call("POST", "/leases", {"credential": name}, by="bob", Idempotency_Key=f"lease-{name}")
        lease_path = f"/leases/{lease.body['id']}"
        await self.call("POST", f"{lease_path}/renew", {"ttl": "2h"}, by="bob")
        await self.call("POST", f"{one}/rotate", {"fields": canary.fields})  # the value that is active now
        await self.call("POST", f"{one}/rotate", {"fields": other.fields}, by="bob")  # not the owner
        for _ in range(2):
            await self.call("POST", f"{one}/rotate", {"fields": other.fields}, Idempotency_Key=f"rotate-{name}")
        await self.call("POST", "/leases", {"credential": name, "ttl": "10m"}, by="deploy-agent")
        changed = await self.patch(one, {"description": "a canary", "metadata": {"team": "web"}})
        assert changed.status == 200
        for path in (one, f"{one}/versions", lease_path, f"/leases?credential={name}"):
            await self.call("GET", path)
        await self.call("POST", f"{one}/suspend", {})
        await self.call("POST", "/leases", {"credential": name}, by="bob")
        await self.call("POST", f"{one}/resume", {})
        await self.call("DELETE", lease_path, by="bob")
        if canary.type in ("ssh-key", "api-key"):
            await self.call("POST", f"{one}/revoke", {"reason": "the story is over"})
        if canary.type in ("ssh-key", "database-url"):
            await self.call("DELETE", one)

    async def _refused_values(self) -> None:
        generic, _, token, key, certificate, url = canaries(self.first)
        text, body = spoken(self.first), {"name": "refused", "type": "generic-secret"}
        self.sent += [token, key, certificate, url]
        refused: list[dict[str, Any]] = [
            {"type": "api-key", "value": f"{text}\x07"},
            {"type": "oauth-token", "fields": token.fields | {"expiresAt": "2020-01-01T00:00:00Z"}},
            {"type": "oauth-token", "fields": token.fields | {"scopes": text}},
            {"type": "ssh-key", "fields": {"privateKey": key.fields["privateKey"], "passphrase": text}},
            {"type": "ssh-key", "fields": {"privateKey": key.fields["privateKey"][:-90]}},
            {"type": "ssh-key", "value": text},
            {"type": "tls-certificate", "fields": certificate.fields | {"privateKey": key.fields["privateKey"]}},
            {"type": "tls-certificate", "value": text},
            {"type": "database-url", "value": url.fields["url"].replace(":5432", ":port")},
            {"type": "database-url", "value": url.fields["url"].replace("postgresql", self.first)},
            {"value": text * 900},
            {"value": text, "fields": generic.fields},
            {"fields": {text: text}},
            {"value": [text]},
            {"fields": text},
            {"value": text, self.first: text},
            {"value": text, "type": text},
            {"value": text, "validUntil": text, "environment": text, "marketplaces": [text]},
            {"value": text, "policy": {"maxLeaseTTL": text, "maxLeases": text, "allowedIdentities": [{"type": text}]}},
            *({"value": text, "metadata": {key: text}} for key in ("password", "refresh_token", "PRIVATE-KEY")),
            {"value": text, "metadata": {"rotateEvery": text, text: "too long" * 80}},
        ]
        for wrong in refused:
            answer = await self.call("POST", "/credentials", body | wrong)
            assert 400 <= answer.status < 500, answer.asked
        one = "/credentials/canary-generic-secret"
        await self.patch(one, {"metadata": {"password": text}, "value": text})
        await self.call("POST", f"{one}/rotate", {"value": text, "allowTargetChange": text})

    async def _unreadable_bodies(self) -> None:
        text = json.dumps(spoken(self.first))
        whole = f'{{"name": "unread", "type": "generic-secret", "value": {text}}}'
        bodies = (whole[:-2], f"{whole}{text}", whole.replace("{", '{"value": ' + text + ",", 1), f"[{text}, NaN]")
        for body in (*bodies, "[" * 200 + text):
            answer = await self.call("POST", "/credentials", body.encode())
            assert answer.status == 400, answer.asked
        for media_type in ("text/plain", "application/json; charset=utf-16", self.first):
            await self.call("POST", "/credentials", whole.encode(), Content_Type=media_type)
        await self.call("POST", "/credentials", gzip.compress(whole.encode()), Content_Encoding="gzip")
        await self.call("POST", "/credentials", whole.encode("utf-16"))
        await self.call("POST", "/credentials", f"{whole}{' ' * 70_000}".encode())

    async def _misplaced_values(self) -> None:
        """A value where a name, a path, a query or a header belongs."""
        text, plain = spoken(self.first), f"sk_live_{self.first}"
        for value in (text, plain):
            quoted = urllib.parse.quote(value, safe="")
            one, lease = f"/credentials/{quoted}", f"/leases/{quoted}"
            for method, path in (
                *(("GET", path) for path in (one, f"{one}/versions", lease, f"/nothing/{quoted}", f"/audit/{quoted}")),
                *(("DELETE", path) for path in (one, lease)),
                *(("POST", f"{one}/{verb}") for verb in ("rotate", "revoke", "suspend", "resume")),
                ("POST", f"{lease}/renew"),
                ("PUT", f"/credentials/canary-generic-secret/owner/{urllib.parse.quote(text, safe='')}"),
            ):
                await self.call(method, path, {"value": value} if path.endswith("rotate") else None)
            for name in ("name", "owner", "cursor", "limit", "sort", "metadata.team", "expiresBefore", self.first):
                await self.call("GET", f"/credentials?{name}={quoted}")
            for name in ("credential", "identity", "lease", "event", "since", "cursor"):
                await self.call("GET", f"/audit?{name}={quoted}", by="ada")
            await self.call("GET", f"/leases?credential={quoted}&cursor={quoted}")
            await self.call("POST", "/leases", {"credential": value, "ttl": value})
            await self.call("POST", "/leases", {"credential": value})
        await self.call("POST", "/credentials", {"name": text, "type": "generic-secret", "value": text})
        await self.call("PATCH", "/credentials/canary-generic-secret", {"description": ""}, If_Match=f'"{plain}.1"')
        headers = (
            "If_Match",
            "If_None_Match",
            "Idempotency_Key",
            "Traceparent",
            "X_Request_Id",
            "Accept",
            "User_Agent",
        )
        for name in headers:
            for value in (f'"{plain}+/"', text.encode("ascii", "replace").decode()):
                for method, path in (("GET", "/credentials"), ("POST", "/leases"), ("DELETE", "/credentials/nothing")):
                    await self.call(method, path, {} if method == "POST" else None, **{name: value})
        for scheme in ("Bearer", "Basic", ""):
            await self.call("GET", "/me", Authorization=f"{scheme} {plain}")

    async def _outage(self, fault: Fault) -> None:
        """A Key Vault that does not answer, or refuses: a value on its way there and on its way back."""
        text, name = spoken(self.second), f"outage-{fault.kind}-{fault.status}"
        wanted = {"name": name, "type": "generic-secret", "value": text, "policy": ANYONE}
        for method, act in (
            ("PUT", ("POST", "/credentials", wanted)),
            ("PUT", ("POST", "/credentials/canary-generic-secret/rotate", {"value": f"{text}{fault.kind}"})),
            ("GET", ("POST", "/leases", {"credential": f"{name}-kept"})),
        ):
            await self.call("POST", "/credentials", wanted | {"name": f"{name}-kept"})
            self.cloud.key_vault.faults.add(fault.model_copy(update={"method": method}))
            await self.call(*act, Idempotency_Key=f"{name}-{method}")
            self.cloud.key_vault.faults.clear()

    async def _list_everything(self) -> None:
        for by in ("alice", "bob", "mona", "ada"):
            for path in ("/credentials?limit=200", "/leases?limit=200", "/me", "/tenant", "/health"):
                await self.call("GET", path, by=by)
        cursor: str | None = ""
        while cursor is not None:
            page = await self.call(
                "GET", f"/audit?limit=200&cursor={cursor}" if cursor else "/audit?limit=200", by="ada"
            )
            cursor = page.body.get("next")

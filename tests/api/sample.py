"""A small route table that has one of everything, and what is needed to send requests to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import azure.functions as func
from pydantic import Field, SecretStr

from vault_core import errors
from vault_core.api.description import described
from vault_core.api.edge import Edge
from vault_core.api.routing import AnonymousCall, Answer, Call, Open, Route
from vault_core.identities import Caller, Identity, Role
from vault_core.wire import Instant, RevealedSecret, WireModel

NOW = datetime(2026, 1, 27, 19, 7, 12, 363000, tzinfo=UTC)
TOKENS = {
    "viewer-token": frozenset({Role.VIEWER}),
    "user-token": frozenset({Role.USER}),
    "admin-token": frozenset({Role.ADMIN}),
    "auditor-token": frozenset({Role.AUDITOR}),
    "bare-token": frozenset[Role](),
}


class NewJar(WireModel):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    value: SecretStr
    max_lease_ttl: int | None = None
    metadata: dict[str, str] = {}


class JarChanges(WireModel):
    description: str | None = None


class JarFilter(WireModel):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    opened_before: Instant | None = None
    metadata: Annotated[dict[str, str], Field(description="`metadata.KEY=TEXT`")] = {}


class Jar(WireModel):
    name: str
    value: RevealedSecret | None = None
    description: str | None = None
    opened_at: Instant


class Jars(WireModel):
    items: tuple[Jar, ...]
    next: str | None = None


class Health(WireModel):
    healthy: bool


@dataclass(slots=True)
class Shelf:
    """The services behind the sample: keeps each call that reached a handler, and raises `fault` if set."""

    calls: list[AnonymousCall[Any, Any]] = field(default_factory=list)
    fault: BaseException | None = None

    def take(self, call: AnonymousCall[Any, Any]) -> None:
        self.calls.append(call)
        if self.fault is not None:
            raise self.fault


async def create_jar(shelf: Shelf, call: Call[NewJar]) -> Answer:
    """Create a jar.

    Only the first line is the summary.
    """
    shelf.take(call)
    jar = Jar(name=call.body.name, value=call.body.value, opened_at=call.now)
    return Answer(201, jar, {"Location": f"/api/v1/jars/{call.body.name}"}, etag="1")


async def list_jars(shelf: Shelf, call: Call[None, JarFilter]) -> Answer:
    """List the jars."""
    shelf.take(call)
    return Answer(200, Jars(items=(Jar(name="plum", opened_at=call.now),)))


async def read_jar(shelf: Shelf, call: Call) -> Answer:
    """Read a jar."""
    shelf.take(call)
    return Answer(200, Jar(name=call.path["jar"], opened_at=call.now), etag="7")


async def update_jar(shelf: Shelf, call: Call[JarChanges]) -> Answer:
    """Change a jar."""
    shelf.take(call)
    return Answer(200, Jar(name="plum", description=call.body.description, opened_at=call.now), etag="8")


async def open_jar(shelf: Shelf, call: Call) -> Answer:
    """Open a jar."""
    shelf.take(call)
    return Answer(204)


async def read_audit(shelf: Shelf, call: Call) -> Answer:
    """Read what was done."""
    shelf.take(call)
    return Answer(200, Jars(items=()))


async def read_me(shelf: Shelf, call: Call) -> Answer:
    """Tell who the caller is."""
    shelf.take(call)
    return Answer(200, Jars(items=()))


async def read_health(shelf: Shelf, call: AnonymousCall) -> Answer:
    """Tell whether the <shelf> & all stand."""
    shelf.take(call)
    return Answer(503, Health(healthy=False))


JAR = "/api/v1/jars/{jar}"
ROUTES = described(
    Route("POST", "/api/v1/jars", create_jar, Role.USER, {201: Jar}, body=NewJar, problems=(errors.NameTaken,)),
    Route("GET", "/api/v1/jars", list_jars, Role.VIEWER, {200: Jars}, query=JarFilter),
    Route("GET", JAR, read_jar, Role.VIEWER, {200: Jar, 304: None}),
    Route(
        "PATCH",
        JAR,
        update_jar,
        Role.USER,
        {200: Jar},
        body=JarChanges,
        problems=(errors.StaleVersion, errors.PreconditionRequired),
    ),
    Route("POST", JAR + "/open", open_jar, Role.USER, {204: None}, problems=(errors.StaleVersion,)),
    Route("GET", "/api/v1/audit", read_audit, (Role.ADMIN, Role.AUDITOR), {200: Jars}),
    Route("GET", "/api/v1/me", read_me, Open.ANY_CALLER, {200: Jars}),
    Route("GET", "/api/v1/health", read_health, Open.ANYONE, {200: Health, 503: Health}),
)
BY_NAME = {route.name: route for route in ROUTES}


class TokenTable:
    """An authenticator that knows a few tokens, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def identify(self, headers: Mapping[str, str], now: datetime) -> Caller:
        self.asked += 1
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in TOKENS:
            raise errors.Unauthenticated("Send a token.")
        person = Identity(kind="human", id="u-1", email="ann@example.com")
        return Caller(tenant="contoso", identity=person, roles=TOKENS[token], aliases=frozenset())


class Front:
    """An edge with fakes around it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.authenticator = TokenTable()
        self.denied: list[tuple[Caller, Route, datetime]] = []
        self.edge = Edge(self.shelf, self.authenticator, lambda: NOW, self._note)

    async def _note(self, caller: Caller, route: Route, now: datetime) -> None:
        self.denied.append((caller, route, now))

    async def send(
        self,
        operation: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        path: Mapping[str, str] | None = None,
        url: str = "",
        token: str | None = "user-token",
    ) -> func.HttpResponse:
        route = BY_NAME[operation]
        given = {"Content-Type": "application/json"} if body else {}
        given |= {"Authorization": f"Bearer {token}"} if token else {}
        request = func.HttpRequest(
            method=route.method,
            url=url or f"https://vault.example{route.path}",
            headers=given | dict(headers or {}),
            params=query,
            route_params=path or dict.fromkeys(route.parameters, "plum"),
            body=body,
        )
        return await self.edge.serve(route, request)

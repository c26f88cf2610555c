"""The API in this process: requests take the way of a URL to a registered function, over a vault in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func

from local.functions_host import routes as host
from tests.vaults import ALICE, World
from vault_core.api import openapi
from vault_core.api.denials import audit_denials
from vault_core.api.edge import Authenticator, Edge, register
from vault_core.api.problems import Problem
from vault_core.api.routes import ROUTES
from vault_core.api.routing import Route
from vault_core.errors import Unauthenticated
from vault_core.identities import Caller

ORIGIN = "https://vault.example"
BASE = "/api/v1"
BY_NAME = {route.name: route for route in ROUTES}
SECRET: dict[str, Any] = {"name": "db-password", "type": "generic-secret", "value": "correct horse"}
FOR_AGENTS: dict[str, Any] = {"policy": {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}}
DOCUMENT = openapi.document(ROUTES)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def code(self) -> tuple[int, str]:
        """The status and code of a refusal, which is checked to be a whole problem document."""
        assert self.headers["Content-Type"] == "application/problem+json"
        problem = Problem.model_validate_json(self.content)
        assert problem.status == self.status
        return self.status, problem.code

    @property
    def fields(self) -> list[str]:
        """The fields that a refusal names."""
        return [fault["field"] for fault in self.body.get("errors", ())]


class KnownCallers:
    """An authenticator that takes the word of a caller who was introduced."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}

    def token(self, caller: Caller) -> str:
        name = f"{caller.tenant}.{caller.identity.id}.{'+'.join(sorted(caller.role_names))}"
        self._callers[f"Bearer {name}"] = caller
        return name

    async def identify(self, headers: Mapping[str, str], now: datetime) -> Caller:
        caller = self._callers.get(headers.get("Authorization", ""))
        if caller is None:
            raise Unauthenticated("Send a token.")
        return caller


class _EdgeOfTheCall(Edge):
    """Passes each request on to the edge that it is meant for."""

    def __init__(self) -> None:
        self.meant: ContextVar[Edge] = ContextVar("meant")

    async def serve(self, route: Route, request: func.HttpRequest) -> func.HttpResponse:
        return await self.meant.get().serve(route, request)


class Functions:
    """The functions of the routes, reached by URL: registered once, since that takes longer than most tests."""

    def __init__(self, routes: Iterable[Route]) -> None:
        app, self._edge = func.FunctionApp(), _EdgeOfTheCall()
        register(app, routes, self._edge)
        self._routes = host.RouteTable(_routed(each) for each in app.get_functions())

    async def answer(
        self, edge: Edge, method: str, path: str, content: bytes, headers: Mapping[str, str]
    ) -> tuple[str, Reply]:
        """Send the edge exactly this, as far as a URL can carry it; return the name of the function, too."""
        raw_path, _, raw_query = path.partition("?")
        found = self._routes.find(method, raw_path)
        assert found, f"no function has the route {method} {raw_path}"
        function, parameters = found
        request = func.HttpRequest(
            method=method,
            url=ORIGIN + path,
            headers=headers,
            params={name: text for name, text in parse_qsl(raw_query, keep_blank_values=True) if text},
            route_params=parameters,
            body=content,
        )
        self._edge.meant.set(edge)
        answer = await function(request)
        reply = Reply(answer.status_code, {**answer.headers, "Content-Type": answer.mimetype}, answer.get_body())
        return function.__name__, reply


class App:
    """The functions of every route. Without an `authenticator`, callers are believed to be who they are.

    Whatever is sent, the answer must be one that the OpenAPI document foretells, and never a fault.
    """

    def __init__(self, world: World | None = None, authenticator: Authenticator | None = None) -> None:
        self.world = world or World()
        self._known = KnownCallers()
        vault = self.world.vault
        self._edge = Edge(vault, authenticator or self._known, self.world.clock, audit_denials(vault.audit))

    async def send(
        self,
        method: str,
        path: str,
        caller: Caller | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request; `path` is what follows `/api/v1`, percent-encoded; a body that is no bytes goes as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if content else {}
        given |= {"Authorization": f"Bearer {self._known.token(caller)}"} if caller else {}
        return await self.send_raw(method, BASE + path, content, given | dict(headers or {}))

    async def create(self, caller: Caller = ALICE, **wanted: Any) -> Reply:
        """Create a credential: a generic secret called `db-password` unless told otherwise."""
        reply = await self.send("POST", "/credentials", caller, SECRET | wanted)
        assert reply.status == 201, reply.body
        return reply

    async def send_raw(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        """Send exactly this, as far as a URL can carry it."""
        operation, reply = await FUNCTIONS.answer(self._edge, method, path, content, headers)
        _check_foretold(operation, reply)
        return reply


def _check_foretold(operation: str, reply: Reply) -> None:
    route = BY_NAME[operation]
    responses = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
    assert reply.status != 500, reply.content
    assert str(reply.status) in responses, f"{operation} answered {reply.status}"
    described = responses[str(reply.status)]
    if "$ref" in described:
        codes = described["$ref"].rpartition("/")[2].split(".")
        assert reply.code[1] in codes, f"{operation} answered {reply.code}"


def _routed(registered: Any) -> host.Route[Any]:
    trigger = registered.get_trigger().get_dict_repr()
    methods = [str(getattr(method, "value", method)) for method in trigger["methods"]]
    return host.Route.parse(trigger["route"], methods, registered.get_user_function())


FUNCTIONS = Functions(ROUTES)

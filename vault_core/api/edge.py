"""Where HTTP ends: every request goes through `Edge.serve`.

    sizes, media type, strict JSON → identify → role → path, query, body → handler → encode

What a request may look like, and how a refusal is told, its face decides: see `dialects.py`.
Limits come before any work on the token, so that a flood of large bodies costs little. One log line and one span
tell of each request; they hold no path, query, body or header but ids of a safe form. No other module of the API
knows Azure Functions.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from traceback import walk_tb
from typing import Any, Protocol

import azure.functions as func
from pydantic import BaseModel

from vault_core.api import decoding, problems
from vault_core.api.dialects import NATIVE, Dialect, Request
from vault_core.api.routing import AnonymousCall, Answer, Call, Route, Text
from vault_core.errors import AccessDenied, VaultError
from vault_core.identities import Caller
from vault_core.telemetry import REQUEST, Span, span

_log = logging.getLogger(__name__)

_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_MAX_CAUSES = 10


class Authenticator(Protocol):
    """Establishes who sent a request."""

    async def identify(self, headers: Mapping[str, str], now: datetime) -> Caller:
        """Return the caller; `Unauthenticated` when the headers prove none."""
        ...


OnDenied = Callable[[Caller, Route, datetime], Awaitable[None]]
"""What is done, before the answer, about a caller who has none of the roles that a route needs."""

Endpoint = Callable[[func.HttpRequest], Coroutine[Any, Any, func.HttpResponse]]


@dataclass(slots=True)
class _Visit:
    """What is known of a request in the course of it, for its log line and its answer."""

    request_id: str
    trace_id: str
    started: float
    tenant: str = "-"
    outcome: str = "ok"


class Edge:
    """Serves the operations of one face with the services of `vault`, which it passes to their handlers."""

    def __init__(
        self,
        vault: object,
        authenticator: Authenticator,
        clock: Callable[[], datetime],
        on_denied: OnDenied,
        dialect: Dialect = NATIVE,
    ) -> None:
        self._vault = vault
        self._authenticator = authenticator
        self._clock = clock
        self._on_denied = on_denied
        self._dialect = dialect

    async def serve(self, route: Route, request: func.HttpRequest) -> func.HttpResponse:
        """Answer the request, whatever happens: a refusal or a fault is told in the face's dialect."""
        origin = decoding.origin(request.headers)
        with span(REQUEST, origin, operation=route.name) as opened:
            trace_id = opened.trace_id or decoding.trace_id(origin)
            visit = _Visit(decoding.request_id(request.headers), trace_id, perf_counter())
            response = await self._answer(route, request, visit, opened)
            opened.note(status=response.status_code, outcome=visit.outcome)
            opened.note(tenant=visit.tenant, request=visit.request_id)
            _log_line(route, response.status_code, visit)
        return response

    async def _answer(self, route: Route, request: func.HttpRequest, visit: _Visit, opened: Span) -> func.HttpResponse:
        try:
            return _encode(await self._handle(route, _arrived(request), visit), route, request, visit)
        except VaultError as refusal:
            return self._refuse(refusal, visit)
        except Exception as failure:  # noqa: BLE001 - the last line: no fault may show itself to a caller
            opened.note(error=type(failure).__qualname__)
            _log.error('trace=%s operation=%s error="%s"', visit.trace_id, route.name, _trail(failure))
            return self._refuse(problems.InternalError(), visit)

    async def _handle(self, route: Route, request: Request, visit: _Visit) -> Answer:
        now = self._clock()
        self._dialect.check_arrival(route, request)
        if route.anonymous:
            return await route.handler(self._vault, AnonymousCall(**self._decoded(route, request, visit, now)))
        caller = await self._authenticator.identify(request.headers, now)
        visit.tenant = caller.tenant
        await self._admit(caller, route, now)
        return await route.handler(self._vault, Call(caller=caller, **self._decoded(route, request, visit, now)))

    async def _admit(self, caller: Caller, route: Route, now: datetime) -> None:
        if route.roles and not any(caller.has(role) for role in route.roles):
            await self._on_denied(caller, route, now)
            raise AccessDenied(f"Ask for the role {' or '.join(route.roles)}; your token does not hold it.")

    def _decoded(self, route: Route, request: Request, visit: _Visit, now: datetime) -> dict[str, Any]:
        decoded = self._dialect.decode(route, request)
        return {**decoded, "body_bytes": request.body, "request_id": visit.request_id, "now": now}

    def _refuse(self, refusal: VaultError, visit: _Visit) -> func.HttpResponse:
        visit.outcome = refusal.code
        told = self._dialect.tell(refusal, visit.trace_id)
        return _response(told.status, told.body, told.headers, visit)


def register(app: func.FunctionApp, routes: Iterable[Route], edge: Edge) -> None:
    """Add one HTTP-triggered function to the app for each route."""
    for route in routes:
        trigger = app.route(route=route.path.lstrip("/"), methods=[route.method], auth_level=func.AuthLevel.ANONYMOUS)
        app.function_name(route.name)(trigger(_endpoint(route, edge)))


def _endpoint(route: Route, edge: Edge) -> Endpoint:
    async def endpoint(req: func.HttpRequest) -> func.HttpResponse:
        return await edge.serve(route, req)

    # Not functools.wraps: the worker would follow __wrapped__ and inspect the handler's signature.
    endpoint.__name__ = endpoint.__qualname__ = route.name
    endpoint.__doc__ = route.summary
    return endpoint


def _arrived(request: func.HttpRequest) -> Request:
    return Request(
        method=request.method,
        url=request.url,
        headers=request.headers,
        query=request.params,
        path=request.route_params,
        body=request.get_body(),
    )


def _encode(answer: Answer, route: Route, request: func.HttpRequest, visit: _Visit) -> func.HttpResponse:
    headers = dict(answer.headers)
    if answer.etag is not None:
        headers["ETag"] = f'"{answer.etag}"'
        if 304 in route.answers and decoding.matches_none(request.headers, answer.etag):
            return _response(304, None, headers, visit)
    return _response(answer.status, answer.body, headers, visit)


def _response(
    status: int, body: BaseModel | Text | None, headers: Mapping[str, str], visit: _Visit
) -> func.HttpResponse:
    content, media_type = _content(body)
    return func.HttpResponse(
        content,
        status_code=status,
        mimetype=media_type,
        headers={**headers, **_ALWAYS, "X-Request-Id": visit.request_id},
    )


def _content(body: BaseModel | Text | None) -> tuple[str | None, str]:
    if isinstance(body, BaseModel):
        return body.model_dump_json(by_alias=True, exclude_none=True), decoding.JSON
    return (body.content, body.media_type) if body else (None, decoding.JSON)


def _log_line(route: Route, status: int, visit: _Visit) -> None:
    _log.info(
        "request=%s trace=%s tenant=%s operation=%s status=%d outcome=%s ms=%.1f",
        visit.request_id,
        visit.trace_id,
        visit.tenant,
        route.name,
        status,
        visit.outcome,
        (perf_counter() - visit.started) * 1000,
    )


def _trail(failure: BaseException) -> str:
    """Return the kinds of an exception and its causes, and where each arose.

    Never the text of one: it may quote input, and so may the lines and variables that a traceback shows.
    """
    return "; caused by ".join(_kind_and_place(cause) for cause in _causes(failure))


def _causes(failure: BaseException) -> Iterator[BaseException]:
    pending = [failure]
    for _ in range(_MAX_CAUSES):
        if not pending:
            return
        cause = pending.pop(0)
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            pending.extend(cause.exceptions)
        pending.extend(filter(None, [cause.__cause__ or cause.__context__]))


def _kind_and_place(failure: BaseException) -> str:
    kind = type(failure)
    frames = (
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in walk_tb(failure.__traceback__)
    )
    return f"{kind.__module__}.{kind.__qualname__} at {' > '.join(frames)}"

"""HTTP in and out of the functions, and the admin routes."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import azure.functions as func
from aiohttp import web

from local.functions_host.invocation import invoke
from local.functions_host.registration import App
from local.functions_host.routes import RouteTable
from local.functions_host.timers import Timers

LARGEST_BODY_BYTES = 100 * 1024 * 1024
_log = logging.getLogger("functions-host")


class FunctionsServer:
    """Answers every request with the function its route leads to: 404 for none, 500 for one that raises."""

    def __init__(self, app: App, timers: Timers) -> None:
        self._routes = RouteTable(app.routes)
        self._timers = timers
        self._names = app.names

    def application(self) -> web.Application:
        application = web.Application(client_max_size=LARGEST_BODY_BYTES)
        application.add_routes(
            [
                web.get("/admin/host/status", self._status),
                web.get("/admin/functions", self._list),
                web.post("/admin/functions/{name}", self._run_now),
                web.route("*", r"/{path:[\s\S]*}", self._function),
            ]
        )
        return application

    async def _function(self, request: web.Request) -> web.Response:
        found = self._routes.find(request.method, request.rel_url.raw_path)
        if found is None:
            return web.Response(status=404)
        function, parameters = found
        began = time.perf_counter()
        try:
            answer = _outgoing(await invoke(function, await _incoming(request, parameters)))
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - whatever a function raises is a 500
            _log.exception("%s failed", function.name)
            answer = web.Response(status=500)
        # Neither path nor query: a caller may have put a value there.
        _log.info("%s: %d in %.1f ms", function.name, answer.status, (time.perf_counter() - began) * 1000)
        return answer

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response({"state": "Running"})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response([{"name": name} for name in self._names])

    async def _run_now(self, request: web.Request) -> web.Response:
        try:
            json.loads(await request.read() or b"{}")
        except ValueError:
            return web.Response(status=400)
        return web.Response(status=202 if self._timers.run_now(request.match_info["name"]) else 404)


async def _incoming(request: web.Request, parameters: dict[str, str]) -> func.HttpRequest:
    """Return the request as the host hands it to the worker: names in lower case, repeated ones joined."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        _join(headers, name.lower(), value)
    return func.HttpRequest(
        method=request.method,
        url=f"{request.scheme}://{request.host}{request.rel_url}",
        headers=headers,
        params=_query(request),
        route_params=parameters,
        body=await request.read(),
    )


def _query(request: web.Request) -> dict[str, str]:
    """Return the query's values; names differ by more than case, and an empty value is as good as none."""
    query: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for name, value in request.query.items():
        _join(query, spelled.setdefault(name.lower(), name), value)
    return {name: value for name, value in query.items() if value}


def _join(joined: dict[str, str], name: str, value: str) -> None:
    joined[name] = f"{joined[name]},{value}" if name in joined else value


def _outgoing(answer: Any) -> web.Response:
    if isinstance(answer, str):
        return web.Response(text=answer)
    if not isinstance(answer, func.HttpResponse):
        raise TypeError(f"a function must return an HttpResponse or a str, not {type(answer).__name__}")
    response = web.Response(status=answer.status_code, body=answer.get_body())
    for name, value in answer.headers.items():
        response.headers.add(name, value)
    if "content-type" not in answer.headers:
        charset = f"; charset={answer.charset}" if answer.mimetype.startswith("text/") else ""
        response.headers["Content-Type"] = f"{answer.mimetype}{charset}"
    return response

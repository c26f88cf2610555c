"""A vendor that gives away what it was told: in every encoding, wherever an answer has room for it.

It also receives events. Everything that reaches it is kept, so that it can be searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import cycle, islice
from typing import Any

from aiohttp import web

from tests.end_to_end.canaries import forms

_ERRORS = 20  # as many as the vault keeps of one answer


class EchoingVendor:
    """Calls `good` values valid and all others invalid. `asked` and `told` are what came, headers and all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.good: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        self.asked_with: list[str] = []
        self.told: list[str] = []
        self._spoken = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.post("/validate", self._validate),
                web.post("/unreadable", self._unreadable),
                web.post("/broken", self._broken),
                web.post("/elsewhere", self._elsewhere),
                web.post("/events", self._receive),
            ]
        )
        return application

    async def _validate(self, request: web.Request) -> web.Response:
        values = await self._values(request)
        if self.good & set(values.values()):
            return web.json_response({"valid": True, "errors": list(self._errors(values))})
        return web.json_response({"valid": False, "errors": list(self._errors(values))})

    def _errors(self, values: dict[str, str]) -> Iterable[dict[str, str]]:
        """Errors that say each value in one form after the other, going on where the last answer ended."""
        said = [(field, form) for field, text in values.items() for form in sorted(forms(text))]
        for field, form in islice(cycle(said), self._spoken, self._spoken + _ERRORS):
            text = form.decode()
            yield {"field": field, "message": f"Do you really mean {text}?"}
        yield {"field": next(iter(values.values())), "message": "?"}
        self._spoken += _ERRORS

    async def _unreadable(self, request: web.Request) -> web.Response:
        return web.Response(text=f"Sorry: {await self._values(request)}")

    async def _broken(self, request: web.Request) -> web.Response:
        values = await self._values(request)
        return web.json_response({"valid": False, "errors": list(self._errors(values))}, status=500)

    async def _elsewhere(self, request: web.Request) -> web.Response:
        text = json.dumps(await self._values(request))
        return web.Response(status=302, reason="Found", headers={"Location": f"/validate?{text}", "X-Seen": text})

    async def _values(self, request: web.Request) -> dict[str, str]:
        question = await request.json()
        values: dict[str, str] = question["data"].pop("values")
        self.asked.append(values)
        self.asked_with.append(f"{request.path_qs} {dict(request.headers)} {json.dumps(question)}")
        return values

    async def _receive(self, request: web.Request) -> web.Response:
        self.told.append(f"{dict(request.headers)} {await request.text()}")
        return web.Response(status=204)

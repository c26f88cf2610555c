"""The sample vendor: checks values for the vault, and receives its event webhooks.

It verifies signatures by itself (Standard Webhooks 1.0), as a vendor would.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

_TOLERANCE = timedelta(minutes=5)
_KEPT_EVENTS = 10_000


class _Steering(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )


_Steered = TypeVar("_Steered", bound=_Steering)


class Conduct(_Steering):
    """How the vendor behaves: which values it accepts, and what is wrong with it.

    What is not given is as at the start.
    """

    prefix: str = Field(default="nw_live_", description="A value that begins so is accepted")
    accepts_all: bool = Field(default=False, description="Calls every value valid")
    broken: bool = Field(default=False, description="Answers every call of the vault with 500")
    delay_seconds: float = Field(default=0, ge=0, le=60, description="Lets every call of the vault wait")


def _check_form(secret: SecretStr) -> SecretStr:
    try:
        _key(secret.get_secret_value())
    except ValueError:
        raise ValueError("must be whsec_ and base64") from None
    return secret


class Signing(_Steering):
    """The secret that calls must be signed with; with none, any call is taken."""

    secret: Annotated[SecretStr, Field(min_length=38), AfterValidator(_check_form)] | None = None


class SampleVendor:
    """The vendor, served at `url`. `calls` counts validations; `events` is what was received, the oldest first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reset()

    def reset(self) -> None:
        """Behave as at the start, with no secrets and nothing received."""
        self.conduct = Conduct()
        self.signing = Signing()
        self.events_signing = Signing()
        self.calls = 0
        self.events: deque[dict[str, Any]] = deque(maxlen=_KEPT_EVENTS)

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.post("/validate", self._validate),
                web.get("/calls", self._calls),
                web.put("/accepts", self._accept),
                web.put("/secret", self._sign_validations_with),
                web.post("/events", self._receive),
                web.get("/events", self._received),
                web.delete("/events", self._forget),
                web.put("/events-secret", self._sign_events_with),
            ]
        )
        return application

    async def _validate(self, request: web.Request) -> web.Response:
        self.calls += 1
        await self._misbehave()
        if self.signing.secret and not _verifies(request, await request.read(), self.signing.secret):
            raise web.HTTPUnauthorized
        values = _member(await _object(request), "data", "values")
        if self.conduct.accepts_all or any(map(self._knows, values.values())):
            return web.json_response({"valid": True})
        errors = [{"field": field, "message": "is not known to this vendor"} for field in values]
        return web.json_response({"valid": False, "errors": errors})

    def _knows(self, value: object) -> bool:
        return isinstance(value, str) and value.startswith(self.conduct.prefix)

    async def _receive(self, request: web.Request) -> web.Response:
        await self._misbehave()
        secret, event = self.events_signing.secret, await _object(request)
        verified = secret is not None and _verifies(request, await request.read(), secret)
        received = {"id": request.headers.get("webhook-id"), "type": event.get("type"), "data": event.get("data")}
        self.events.append(received | {"verified": verified})
        if secret and not verified:
            raise web.HTTPUnauthorized
        return web.Response(status=204)

    async def _misbehave(self) -> None:
        conduct = self.conduct
        await asyncio.sleep(conduct.delay_seconds)
        if conduct.broken:
            raise web.HTTPInternalServerError

    async def _calls(self, _: web.Request) -> web.Response:
        return web.json_response({"calls": self.calls})

    async def _received(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.events))

    async def _forget(self, _: web.Request) -> web.Response:
        self.events.clear()
        return web.Response(status=204)

    async def _accept(self, request: web.Request) -> web.Response:
        self.conduct = await _steered(request, Conduct)
        return web.Response(status=204)

    async def _sign_validations_with(self, request: web.Request) -> web.Response:
        self.signing = await _steered(request, Signing)
        return web.Response(status=204)

    async def _sign_events_with(self, request: web.Request) -> web.Response:
        self.events_signing = await _steered(request, Signing)
        return web.Response(status=204)


def _verifies(request: web.Request, body: bytes, secret: SecretStr) -> bool:
    """Return whether one of the signatures is that of the secret over this very message, sent just now."""
    message, timestamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
    signed = f"{message}.{timestamp}.".encode(errors="surrogateescape") + body
    digest = hmac.digest(_key(secret.get_secret_value()), signed, "sha256")
    expected = b"v1," + base64.b64encode(digest)
    given = request.headers.get("webhook-signature", "").split(" ")
    return _is_recent(timestamp) and any(
        hmac.compare_digest(expected, one.encode(errors="surrogateescape")) for one in given
    )


def _is_recent(timestamp: str) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 10):
        return False
    return abs(datetime.now(UTC) - datetime.fromtimestamp(int(timestamp), UTC)) <= _TOLERANCE


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)


async def _steered(request: web.Request, steering: type[_Steered]) -> _Steered:
    try:
        return steering.model_validate_json(await request.read())
    except ValidationError as refused:
        told = refused.json(include_input=False, include_context=False, include_url=False)
        raise web.HTTPBadRequest(text=told, content_type="application/json") from None


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        return _member({"body": json.loads(await request.read())}, "body")
    except ValueError:
        raise web.HTTPBadRequest(text="The body must be JSON") from None


def _member(document: dict[str, Any], *path: str) -> dict[str, Any]:
    for name in path:
        document = document.get(name, {})
        if not isinstance(document, dict):
            raise web.HTTPBadRequest(text=f"{name} must be an object")
    return document

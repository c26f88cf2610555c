"""The routes of the Key Vault: challenge, token check, faults, and the operations on secrets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import jwt
from aiohttp import web
from pydantic import BaseModel, ValidationError

from local.key_vault.bodies import Secret, SetBody, UpdateBody, deletion, item
from local.key_vault.faults import Fault, Faults
from local.key_vault.journal import Journal
from local.key_vault.secrets import Refused, Secrets

API_VERSIONS = frozenset({f"7.{minor}" for minor in range(7)} | {"2025-07-01", "2026-04-01"})
RESOURCE = "https://vault.azure.net"
LONGEST_PAGE = 25

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Body = TypeVar("Body", bound=BaseModel)


class KeyVault:
    """One vault, served at `url`; `authority` is where callers are sent for a token.

    `check_token(token, audience)` raises `InvalidTokenError` for a token not to trust. Secrets are kept in
    `folder`, sealed, or in memory when that is `None`. `faults` strike and count authenticated calls;
    over HTTP they are `GET`, `POST` and `DELETE /__faults`, open to this machine.
    """

    def __init__(self, url: str, authority: str, check_token: Callable[[str, str], None], folder: Path | None) -> None:
        self.url = url
        self.faults = Faults()
        self._authority = authority
        self._check_token = check_token
        self._journal = Journal(folder) if folder else None
        self.secrets = Secrets(
            self._journal.secrets if self._journal else (),
            self._journal.record if self._journal else lambda name, secret: None,
        )

    def close(self) -> None:
        if self._journal:
            self._journal.close()

    def application(self) -> web.Application:
        secret, version, deleted = (
            "/secrets/{name}",
            "/secrets/{name}/{version:[^/]*}",
            "/deletedsecrets/{name}",
        )
        application = web.Application(middlewares=[_refusals_as_answers])
        application.add_routes(
            [
                web.get("/secrets", self._guarded(self._list)),
                web.put(secret, self._guarded(self._set)),
                web.get(secret, self._guarded(self._get)),
                web.patch(secret, self._guarded(self._update)),
                web.delete(secret, self._guarded(self._delete)),
                web.get(secret + "/versions", self._guarded(self._list_versions)),
                web.get(version, self._guarded(self._get)),
                web.patch(version, self._guarded(self._update)),
                web.get("/deletedsecrets", self._guarded(self._list_deleted)),
                web.get(deleted, self._guarded(self._get_deleted)),
                web.delete(deleted, self._guarded(self._purge)),
                web.post(deleted + "/recover", self._guarded(self._recover)),
                web.get("/__faults", self._show_faults),
                web.post("/__faults", self._add_fault),
                web.delete("/__faults", self._clear_faults),
            ]
        )
        return application

    def _guarded(self, operation: Handler) -> Handler:
        """Return the operation behind the token check, the faults and the check of the version."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._is_authenticated(request):
                return self._challenge()
            if request.query.get("api-version") not in API_VERSIONS:
                raise Refused(400, "BadParameter", "api-version must be specified, and one that is known.")
            return await self._struck(request, operation)

        return guarded

    def _is_authenticated(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        try:
            self._check_token(token, RESOURCE)
        except jwt.InvalidTokenError:
            return False
        return True

    def _challenge(self) -> web.Response:
        answer = _error(Refused(401, "Unauthorized", "AKV10000: Request is missing a valid Bearer token."))
        challenge = f'Bearer authorization="{self._authority}", resource="{RESOURCE}"'
        answer.headers["WWW-Authenticate"] = challenge
        return answer

    async def _struck(self, request: web.Request, operation: Handler) -> web.StreamResponse:
        fault = self.faults.called(request.method)
        if fault is None:
            return await operation(request)
        if fault.kind == "status":
            return _struck_answer(fault)
        answer = await operation(request) if fault.kind == "lost" else web.Response()
        if request.transport:
            request.transport.abort()
        return answer

    async def _set(self, request: web.Request) -> web.Response:
        secret, version = self.secrets.set(_name(request), await _body(request, SetBody), _now())
        return web.json_response(item(self.url, secret, version) | {"value": version.value})

    async def _get(self, request: web.Request) -> web.Response:
        secret, version = self.secrets.get(_name(request), request.match_info.get("version", ""), _now())
        return web.json_response(item(self.url, secret, version) | {"value": version.value})

    async def _update(self, request: web.Request) -> web.Response:
        body = await _body(request, UpdateBody)
        secret, version = self.secrets.update(_name(request), request.match_info.get("version", ""), body, _now())
        return web.json_response(item(self.url, secret, version))

    async def _delete(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown_deleted(self.secrets.delete(_name(request), _now())))

    async def _get_deleted(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown_deleted(self.secrets.deleted(_name(request), _now())))

    async def _purge(self, request: web.Request) -> web.Response:
        self.secrets.purge(_name(request), _now())
        return web.Response(status=204)

    async def _recover(self, request: web.Request) -> web.Response:
        secret = self.secrets.recover(_name(request), _now())
        return web.json_response(item(self.url, secret, secret.latest))

    async def _list(self, request: web.Request) -> web.Response:
        found = self.secrets.all(_now())
        return self._page(request, [item(self.url, secret, secret.latest, path=secret.name) for secret in found])

    async def _list_versions(self, request: web.Request) -> web.Response:
        secret = self.secrets.live(_name(request), _now())
        versions = sorted(secret.versions, key=lambda version: version.id)
        return self._page(request, [item(self.url, secret, version) for version in versions])

    async def _list_deleted(self, request: web.Request) -> web.Response:
        found = self.secrets.all_deleted(_now())
        return self._page(
            request,
            [item(self.url, s, s.latest, path=s.name) | deletion(self.url, s) for s in found],
        )

    def _shown_deleted(self, secret: Secret) -> dict[str, Any]:
        return item(self.url, secret, secret.latest) | deletion(self.url, secret)

    def _page(self, request: web.Request, items: Sequence[dict[str, Any]]) -> web.Response:
        """Answer one page of the items, which are in ascending order of id without regard to case."""
        size = _page_size(request)
        after = _decoded(request.query.get("$skiptoken", ""))
        rest = [each for each in items if each["id"].lower() > after]
        page = rest[:size]
        link = self._next_link(request, page[-1]["id"], size) if len(rest) > size else None
        return web.json_response({"value": page, "nextLink": link})

    def _next_link(self, request: web.Request, last: str, size: int) -> str:
        token = base64.urlsafe_b64encode(last.lower().encode()).decode()
        query = {"api-version": request.query["api-version"], "$skiptoken": token, "maxresults": size}
        return f"{self.url}{request.path}?{urlencode(query)}"

    async def _show_faults(self, _: web.Request) -> web.Response:
        waiting = [fault.model_dump(by_alias=True) for fault in self.faults.waiting]
        return web.json_response({"waiting": waiting, "calls": self.faults.calls})

    async def _add_fault(self, request: web.Request) -> web.Response:
        self.faults.add(await _body(request, Fault))
        return web.Response(status=204)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204)


@web.middleware
async def _refusals_as_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _error(refused)
    except web.HTTPException as refused:
        return _error(Refused(refused.status, refused.reason.replace(" ", ""), refused.reason))


def _error(refused: Refused) -> web.Response:
    error: dict[str, Any] = {"code": refused.code, "message": refused.message}
    if refused.inner:
        error["innererror"] = {"code": refused.inner}
    return web.json_response({"error": error}, status=refused.status)


def _struck_answer(fault: Fault) -> web.Response:
    code = "Throttled" if fault.status == 429 else "ServiceError"
    answer = _error(Refused(fault.status, code, "The local Key Vault was told to answer so."))
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = str(fault.retry_after)
    return answer


async def _body(request: web.Request, model: type[Body]) -> Body:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as refused:
        places = [".".join(map(str, fault["loc"])) for fault in refused.errors(include_input=False)]
        raise Refused(400, "BadParameter", f"The body is not acceptable: {', '.join(places) or 'no JSON'}.") from None


def _name(request: web.Request) -> str:
    return request.match_info["name"]


def _now() -> datetime:
    return datetime.now(UTC)


def _page_size(request: web.Request) -> int:
    given = request.query.get("maxresults", str(LONGEST_PAGE))
    if not given.isdecimal() or not 1 <= int(given) <= LONGEST_PAGE:
        raise Refused(400, "BadParameter", f"maxresults must be from 1 to {LONGEST_PAGE}.")
    return int(given)


def _decoded(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(400, "BadParameter", "$skiptoken is not one that was given.") from None

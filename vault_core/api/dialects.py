"""How a face of the API reads requests and tells refusals. What all faces have in common is the edge's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from vault_core import strict_json
from vault_core.api import decoding, problems
from vault_core.api.routing import Answer, Route, Text
from vault_core.errors import VaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it arrived; the host has decoded the parameters of its path and query."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    path: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Decoded(TypedDict):
    """What the dialect contributes to a call: see `AnonymousCall`."""

    path: Mapping[str, str]
    query: Any
    body: Any
    if_match: str | None
    idempotency_key: str | None


class Dialect(Protocol):
    """The conventions of one face of the API."""

    def check_arrival(self, route: Route, request: Request) -> None:
        """Return when the request is worth identifying its sender; a refusal otherwise."""
        ...

    def decode(self, route: Route, request: Request) -> Decoded:
        """Return what the route's handler is promised; a refusal names what cannot be read."""
        ...

    def tell(self, refusal: VaultError, trace_id: str) -> Answer:
        """Return the answer that tells a caller of the refusal."""
        ...


class NativeDialect:
    """Everything is as the API document says or is refused; refusals are problem documents (RFC 9457)."""

    def check_arrival(self, route: Route, request: Request) -> None:
        decoding.check_sizes(request.url, request.headers, request.query, request.body, route.limits.size)
        if request.body:
            decoding.check_media_type(request.method, request.headers)
            strict_json.parse(request.body, max_parts=route.limits.parts)

    def decode(self, route: Route, request: Request) -> Decoded:
        decoding.check_query(request.url)
        return {
            "path": decoding.read_path(route, request.path),
            "query": decoding.read_query(route, request.query),
            "body": decoding.read_body(route, request.body),
            "if_match": decoding.read_if_match(route, request.headers),
            "idempotency_key": decoding.read_idempotency_key(request.method, request.headers),
        }

    def tell(self, refusal: VaultError, trace_id: str) -> Answer:
        problem = problems.describe(refusal, trace_id)
        content = problem.model_dump_json(by_alias=True, exclude_none=True)
        return Answer(problem.status, Text(content, problems.MEDIA_TYPE), problems.headers_of(refusal))


NATIVE = NativeDialect()

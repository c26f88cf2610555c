"""Reads a request: what may arrive at all, and how each part becomes what its route's handler is promised."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any, get_origin
from urllib.parse import parse_qsl
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from vault_core.api.routing import Route
from vault_core.errors import (
    BodyTooLarge,
    FieldError,
    InvalidInput,
    NotFound,
    PreconditionRequired,
    UnsupportedMediaType,
)
from vault_core.telemetry import Origin
from vault_core.wire import WireModel, invalid_input, shown_name

MAX_HEADER = 16 * 1024  # one header; a token with many groups takes several thousand characters
MAX_QUERY = 4096
MAX_PARAMETERS = 64
MAX_PATH_PARAMETER = 256

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"  # RFC 7396

ETAG_PATTERN = r'^(W/)?"[!#-~]{1,256}"$'  # RFC 9110; a proxy that compresses marks a tag as weak
IDEMPOTENCY_KEY_PATTERN = r"^[!-~]{1,128}$"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")  # W3C Trace Context
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class NoInput(WireModel):
    """The body or the query of an operation that has none: empty, or an empty object."""


def request_id(headers: Mapping[str, str]) -> str:
    """Return the caller's `X-Request-Id` if it is safe to repeat, else a new one."""
    given = headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def origin(headers: Mapping[str, str]) -> Origin | None:
    """Return the span that the request's `traceparent` names; None when there is none. Baggage is not looked at."""
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return Origin(found[1], found[2], bool(int(found[3], 16) & 1)) if found else None


def trace_id(origin: Origin | None) -> str:
    """Return the trace that the origin belongs to, else a new one: 32 hexadecimal digits."""
    return origin.trace_id if origin else secrets.token_hex(16)


def check_sizes(
    url: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
    max_body: int,
    max_query: int = MAX_QUERY,
) -> None:
    """Return when everything that arrived is of a size worth looking at; what was declared does not count."""
    if len(body) > max_body:
        raise BodyTooLarge(f"Send at most {max_body // 1024} KiB.")
    if any(len(value) > MAX_HEADER for value in headers.values()):
        raise InvalidInput(f"A header is longer than {MAX_HEADER} characters.")
    length = sum(len(name) + len(value) for name, value in query.items())
    if max(length, len(_query_of(url))) > max_query or len(query) > MAX_PARAMETERS:
        raise InvalidInput(f"The query is longer than {max_query} characters or {MAX_PARAMETERS} parameters.")


def check_media_type(method: str, headers: Mapping[str, str]) -> None:
    """Return when the body is plain JSON in UTF-8, as its headers tell; `UnsupportedMediaType` otherwise."""
    readable = (JSON, MERGE_PATCH) if method == "PATCH" else (JSON,)
    if _content_type(headers).get_content_type() not in readable or not is_plain_utf_8(headers):
        raise UnsupportedMediaType(f"Send the body as {' or '.join(readable)} in UTF-8, not compressed.")


def is_plain_utf_8(headers: Mapping[str, str]) -> bool:
    """Return whether the headers declare no other charset than UTF-8, and no compression."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    return encoding == "identity" and _content_type(headers).get_content_charset("utf-8") in ("utf-8", "utf8")


def _content_type(headers: Mapping[str, str]) -> Message:
    declared = Message()
    declared["Content-Type"] = headers.get("Content-Type", "")
    return declared


def check_query(url: str, *, may_be_empty: bool = False) -> None:
    """Return when every query parameter is given once, and is not empty: the host would lose others unseen."""
    given = parse_qsl(_query_of(url), keep_blank_values=True)
    counts = Counter(name for name, _ in given)
    faults = [FieldError(shown_name(name), "is given twice") for name, count in counts.items() if count > 1]
    if not may_be_empty:
        faults += [FieldError(shown_name(name), "is empty") for name, text in given if not text and counts[name] == 1]
    if faults:
        raise InvalidInput("Give each query parameter once, with a value.", tuple(faults))


def _query_of(url: str) -> str:
    return url.partition("?")[2]


def read_path(route: Route, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the path's parameters, which the host has decoded; `NotFound` for what nothing can be called."""
    path = {name: parameters.get(name, "") for name in route.parameters}
    if any(not text or len(text) > MAX_PATH_PARAMETER or _CONTROL.search(text) for text in path.values()):
        raise NotFound("There is no such thing here that you may see.")
    return path


def read_query(route: Route, parameters: Mapping[str, str]) -> BaseModel | None:
    """Return the query as its model; `InvalidInput` names each parameter that is unknown or wrong.

    `metadata.team=web` becomes the item `team` of the field `metadata` when that is a map.
    """
    model = route.query or NoInput
    query = validated(lambda: model.model_validate_strings(_nested(model, parameters), by_alias=True, by_name=False))
    return query if route.query else None


def _nested(model: type[BaseModel], parameters: Mapping[str, str]) -> dict[str, Any]:
    maps = {field.alias or name for name, field in model.model_fields.items() if get_origin(field.annotation) is dict}
    plain: dict[str, Any] = {}
    nested: dict[str, dict[str, str]] = {}
    for name, text in parameters.items():
        prefix, dot, key = name.partition(".")
        if dot and prefix in maps:
            nested.setdefault(prefix, {})[key] = text
        else:
            plain[name] = text
    return nested | plain


def read_body(route: Route, body: bytes) -> BaseModel | None:
    """Return the body as its model; `InvalidInput` names each field at fault.

    An empty body is an empty object. JSON types are not bent into others: `"5"` is no number.
    """
    model = route.body or NoInput
    content = body or b"{}"
    read = validated(lambda: model.model_validate_json(content, strict=True, by_alias=True, by_name=False))
    return read if route.body else None


def validated(validate: Callable[[], BaseModel]) -> BaseModel:
    """Return what the validation returns; `InvalidInput` names each field at fault."""
    try:
        return validate()
    except ValidationError as refused:
        raise invalid_input(refused) from None


def read_if_match(route: Route, headers: Mapping[str, str]) -> str | None:
    """Return the tag of `If-Match` without its quotes; `PreconditionRequired` when the route needs one."""
    given = headers.get("If-Match") if route.takes_if_match else None
    if given is None:
        if route.needs_if_match:
            raise PreconditionRequired("Read it first and send its ETag as If-Match.")
        return None
    if not re.fullmatch(ETAG_PATTERN, given):
        raise InvalidInput(
            "Send one ETag as If-Match, as it was received.", (FieldError("If-Match", "must be one ETag"),)
        )
    return _unquoted(given)


def matches_none(headers: Mapping[str, str], etag: str) -> bool:
    """Return whether the caller's `If-None-Match` names the tag, so that nothing has changed for it."""
    given = [tag.strip() for tag in headers.get("If-None-Match", "").split(",")]
    return "*" in given or etag in [_unquoted(tag) for tag in given]


def _unquoted(tag: str) -> str:
    return tag.removeprefix("W/").strip('"')


def read_idempotency_key(method: str, headers: Mapping[str, str]) -> str | None:
    """Return the `Idempotency-Key` of a `POST`: 1 to 128 visible ASCII characters."""
    given = headers.get("Idempotency-Key") if method == "POST" else None
    if given is not None and not re.fullmatch(IDEMPOTENCY_KEY_PATTERN, given):
        fault = FieldError("Idempotency-Key", "must be 1 to 128 visible ASCII characters")
        raise InvalidInput("Send an Idempotency-Key that can be kept, such as a UUID.", (fault,))
    return given

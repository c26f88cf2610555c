"""The OpenAPI 3.1 document, made from the route table alone, so that it cannot drift from what is served."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from vault_core import errors
from vault_core.api import decoding, problems
from vault_core.api.routing import AnswerBody, Open, Route
from vault_core.api.schemas import REFERENCE, Schema, Schemas
from vault_core.errors import VaultError

_DESCRIPTION = (
    "A vault for credentials. Every answer has an `X-Request-Id`: the request's own if it is safe to repeat, "
    "else a new one. A `traceparent` is honoured. Unknown fields and parameters are refused. "
    "A `POST` with an `Idempotency-Key` may be repeated until an answer arrives."
)
_STATUS_TEXT = {
    200: "Done",
    201: "Created",
    202: "Accepted",
    204: "Done; there is nothing to tell",
    304: "Not changed since it was read",
    503: "Not ready",
}


def document(routes: Sequence[Route]) -> Schema:
    """Return the OpenAPI document of these routes."""
    schemas = Schemas(routes)
    paths: dict[str, Schema] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Credentials vault", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {
            "schemas": schemas.definitions,
            "responses": _problem_responses(routes),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(route: Route, schemas: Schemas) -> Schema:
    operation: Schema = {
        "operationId": route.name,
        "summary": route.summary,
        "description": _access(route),
        "tags": [_tag(route)],
        "security": [] if route.anonymous else [{"bearer": []}],
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(route, schemas),
            *_header_parameters(route),
        ],
        "responses": _responses(route, schemas),
    }
    if route.body:
        content = {"schema": schemas.read(route.body)}
        operation["requestBody"] = {
            "required": schemas.needs_body(route.body),
            "content": dict.fromkeys(_media_types(route), content),
        }
    return operation


def _access(route: Route) -> str:
    if isinstance(route.needs, Open):
        return f"Access: {route.needs.value}."
    return f"Access: role {' or '.join(f'`{role}`' for role in route.roles)}."


def _tag(route: Route) -> str:
    """Return the noun that the path begins with: the first part behind the version."""
    return re.sub(r"^/(api/)?v\d+/", "", route.path).partition("/")[0]


def _media_types(route: Route) -> tuple[str, ...]:
    return (decoding.MERGE_PATCH, decoding.JSON) if route.method == "PATCH" else (decoding.JSON,)


def _path_parameters(route: Route) -> list[Schema]:
    schema = {"type": "string", "minLength": 1, "maxLength": decoding.MAX_PATH_PARAMETER}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in route.parameters]


def _query_parameters(route: Route, schemas: Schemas) -> list[Schema]:
    if route.query is None:
        return []
    described = schemas.query(route.query)
    required = described.get("required", [])
    return [
        _query_parameter(name, schema, is_required=name in required)
        for name, schema in described.get("properties", {}).items()
    ]


def _query_parameter(name: str, schema: Schema, *, is_required: bool) -> Schema:
    schema = _without_null(schema)
    parameter = {"name": name, "in": "query", "required": is_required, "schema": schema}
    if description := schema.pop("description", None):
        parameter["description"] = description
    if schema.get("type") == "object":  # metadata.team=web: exploded, each item is a parameter of its own
        prefix = "^" + re.escape(f"{name}.")
        parameter |= {"style": "form", "explode": True}
        schema["propertyNames"] = {"pattern": prefix}
    return parameter


def _without_null(schema: Schema) -> Schema:
    """Return the schema of a parameter that is given: a query has no way to say null."""
    schema = {name: value for name, value in schema.items() if name != "default" or value is not None}
    choices = [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]
    return {**choices[0], **schema} if len(choices) == 1 else schema | ({"anyOf": choices} if choices else {})


def _header_parameters(route: Route) -> list[Schema]:
    parameters = []
    if route.takes_if_match:
        parameters.append(_header("If-Match", decoding.ETAG_PATTERN, is_required=route.needs_if_match))
    if 304 in route.answers:
        parameters.append(_header("If-None-Match", None, is_required=False))
    if _may_be_repeated(route):
        parameters.append(_header("Idempotency-Key", decoding.IDEMPOTENCY_KEY_PATTERN, is_required=False))
    return parameters


def _header(name: str, pattern: str | None, *, is_required: bool) -> Schema:
    schema = {"type": "string"} | ({"pattern": pattern} if pattern else {})
    return {"name": name, "in": "header", "required": is_required, "schema": schema}


def _may_be_repeated(route: Route) -> bool:
    return route.method == "POST" and not route.anonymous


def _responses(route: Route, schemas: Schemas) -> Schema:
    responses = {
        str(status): {"$ref": f"#/components/responses/{_response_name(kinds)}"}
        for status, kinds in _problems_by_status(route).items()
    }
    for status, body in route.answers.items():
        responses[str(status)] = _answer(status, body, route, schemas)
    return dict(sorted(responses.items()))


def _answer(status: int, body: AnswerBody, route: Route, schemas: Schemas) -> Schema:
    answer: Schema = {"description": _STATUS_TEXT[status], "headers": _answer_headers(status, route)}
    if isinstance(body, str):
        answer["content"] = {body: {}}
    elif body:
        answer["content"] = {decoding.JSON: {"schema": schemas.sent(body)}}
    if status in _problems_by_status(route):
        answer.setdefault("content", {}).update(_PROBLEM_CONTENT)
    return answer


def _answer_headers(status: int, route: Route) -> Schema:
    names = ["X-Request-Id"]
    if status == 201:
        names.append("Location")
    if status in (200, 201, 304) and (route.takes_if_match or status == 201 or 304 in route.answers):
        names.append("ETag")
    return {name: {"schema": {"type": "string"}} for name in names}


_PROBLEM_CONTENT = {problems.MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}}


def _problems_by_status(route: Route) -> dict[int, tuple[type[VaultError], ...]]:
    """Return every refusal that the operation can give: those of its nature and those it lists."""
    kinds: list[type[VaultError]] = [
        errors.InvalidInput,
        errors.BodyTooLarge,
        errors.UnsupportedMediaType,
        problems.InternalError,
        errors.Unavailable,
    ]
    if not route.anonymous:
        kinds.append(errors.Unauthenticated)
    if route.roles:
        kinds.append(errors.AccessDenied)
    if route.parameters:
        kinds.append(errors.NotFound)
    if route.takes_if_match:
        kinds.append(errors.StaleVersion)
    if _may_be_repeated(route):
        kinds.append(errors.IdempotencyKeyReused)
    by_status: dict[int, tuple[type[VaultError], ...]] = {}
    for kind in dict.fromkeys([*kinds, *route.problems]):
        status = problems.status_of(kind)
        by_status[status] = (*by_status.get(status, ()), kind)
    return by_status


def _response_name(kinds: Iterable[type[VaultError]]) -> str:
    return ".".join(sorted(kind.code for kind in kinds))


def _problem_responses(routes: Iterable[Route]) -> Schema:
    return {
        _response_name(kinds): _problem_response(status, kinds)
        for route in routes
        for status, kinds in _problems_by_status(route).items()
    }


def _problem_response(status: int, kinds: Sequence[type[VaultError]]) -> Schema:
    described = "; ".join(f"`{kind.code}`: {kind.title}" for kind in sorted(kinds, key=lambda kind: kind.code))
    return {"description": described, "headers": _problem_headers(status), "content": _PROBLEM_CONTENT}


def _problem_headers(status: int) -> Mapping[str, Schema]:
    names = ["X-Request-Id"]
    names += ["WWW-Authenticate"] if status == 401 else []
    names += ["Retry-After"] if status in (409, 429, 503) else []
    return {name: {"schema": {"type": "string"}} for name in names}

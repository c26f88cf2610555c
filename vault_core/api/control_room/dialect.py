"""How the Control Room face reads and refuses: as lenient as its clients need, within the native limits.

Clients send names in Pascal case, nulls, fields that they were once sent, numbers as text and text as numbers,
and any media type or none. What arrives is bounded, parsed and kept out of refusals exactly as natively.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from vault_core import errors, strict_json
from vault_core.api import decoding, problems
from vault_core.api.dialects import Decoded, Request
from vault_core.api.routing import Answer, Route, Text
from vault_core.wire import WireModel

MAX_QUERY = 8 * 1024
"""Characters of a query, encoded and decoded: all that a request line of the host may hold. A token may be in it.

An `encryptionKey` needs less: the XML of a 4096-bit key has about 760 characters, base64 makes them about 1,020,
and percent-encoding at worst 3,060.
"""

STATUSES = problems.STATUSES | {
    errors.StaleVersion: 409,
    errors.BodyTooLarge: 400,
    errors.UnsupportedMediaType: 400,
    errors.ValueRefused: 400,
    errors.PreconditionRequired: 400,
    errors.TooSoon: 503,  # they repeat that after `Retry-After`, and take any other status to be final
}
"""The native statuses, save those that clients of this face do not know."""

_WITHOUT_BODY = ("GET", "DELETE")


class LenientModel(WireModel):
    """A request body or query of this face: unknown names are ignored, `"5"` is a number and `"true"` a truth."""

    model_config = ConfigDict(extra="ignore")


Item = TypeVar("Item", bound=LenientModel)


class LenientList(RootModel[tuple[Item, ...]], Generic[Item]):
    """A request body that is a list; one object counts as a list of one. The items are in `root`."""

    model_config = ConfigDict(hide_input_in_errors=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, given: object) -> object:
        return given if isinstance(given, list) else [given]


def _as_text(given: object) -> object:
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


LooseId = Annotated[str, Field(min_length=1, max_length=256), BeforeValidator(_as_text)]
"""An id or version as clients send it, text or a whole number: 1 to 256 characters of text."""


class Refused(WireModel):
    """A refusal or failure as this face tells it; `details` is always null."""

    code: str
    details: None = None
    message: str


class ControlRoomDialect:
    """The conventions of a Control Room's API."""

    def check_arrival(self, route: Route, request: Request) -> None:
        decoding.check_sizes(request.url, request.headers, request.query, request.body, route.limits.size, MAX_QUERY)
        if _has_body(request):
            if not decoding.is_plain_utf_8(request.headers):
                raise errors.UnsupportedMediaType("Send the body in UTF-8, not compressed.")
            strict_json.parse_object_or_list(request.body)

    def decode(self, route: Route, request: Request) -> Decoded:
        decoding.check_query(request.url, may_be_empty=True)
        _check_key_not_empty(request.url)
        return {
            "path": decoding.read_path(route, request.path),
            "query": _read_query(route, request),
            "body": _read_body(route, request),
            "if_match": None,
            "idempotency_key": decoding.read_idempotency_key(request.method, request.headers),
        }

    def tell(self, refusal: errors.VaultError, trace_id: str) -> Answer:
        told = Refused(code=refusal.code, message=_message(refusal, trace_id))
        status = problems.status_of(type(refusal), STATUSES)
        return Answer(status, Text(told.model_dump_json(), decoding.JSON), problems.headers_of(refusal))


CONTROL_ROOM = ControlRoomDialect()


def _check_key_not_empty(url: str) -> None:
    """Return unless an empty `encryptionKey` is given: taken for none, it would have values sent in clear."""
    names = [name.lower() for name, text in parse_qsl(url.partition("?")[2], keep_blank_values=True) if not text]
    if "encryptionkey" in names:
        fault = errors.FieldError("encryptionKey", "is empty")
        raise errors.InvalidInput("The encryption key is incorrect", (fault,))


def _has_body(request: Request) -> bool:
    return bool(request.body) and request.method not in _WITHOUT_BODY


def _read_query(route: Route, request: Request) -> BaseModel | None:
    if (model := route.query) is None:
        return None
    known = {field.alias.lower(): field.alias for field in model.model_fields.values() if field.alias}
    named = [(known[name.lower()], text) for name, text in request.query.items() if text and name.lower() in known]
    given = dict(named)
    if len(given) < len(named):
        raise errors.InvalidInput("A query parameter is given twice, once with other letters capital.")
    return decoding.validated(lambda: model.model_validate_strings(given, by_alias=True, by_name=False))


def _read_body(route: Route, request: Request) -> BaseModel | None:
    if (model := route.body) is None:
        return None
    given = _tidied(strict_json.parse_object_or_list(request.body)) if _has_body(request) else {}
    return decoding.validated(lambda: model.model_validate(given, by_alias=True, by_name=False))


def _tidied(part: Any) -> Any:
    """Return the document without members that are null, and with the first letter of each name in lower case."""
    if isinstance(part, list):
        return [_tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    names = {name[:1].lower() + name[1:] for name in part}
    if len(names) < len(part):
        raise errors.InvalidInput("An object in the body names a member twice, once with a capital letter.")
    return {name[:1].lower() + name[1:]: _tidied(value) for name, value in part.items() if value is not None}


def _message(refusal: errors.VaultError, trace_id: str) -> str:
    if isinstance(refusal, problems.InternalError):
        return f"Try again; if it happens again, give the operator the trace id {trace_id}."
    if isinstance(refusal, errors.InvalidInput | errors.ValueRefused) and refusal.errors:
        faults = (f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in refusal.errors)
        return f"{refusal.detail} {'; '.join(faults)}"
    return refusal.detail

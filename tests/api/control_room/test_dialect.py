"""How the Control Room face reads requests and tells refusals, through the edge that both faces share."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlencode

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, TypeAdapter, ValidationError

from tests.api.sample import NOW, Shelf, TokenTable
from vault_core import errors
from vault_core.api.control_room.dialect import CONTROL_ROOM, MAX_QUERY, STATUSES, LenientList, LenientModel, LooseId
from vault_core.api.edge import Edge
from vault_core.api.routing import AnonymousCall, Answer, Call, Open, Route
from vault_core.identities import Caller, Role
from vault_core.wire import Instant

CANARY = "canary-7f3e9b2c41"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class NewLabel(LenientModel):
    name: str
    is_masked: bool = False


class NewBox(LenientModel):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    owner_id: LooseId | None = None
    size: Annotated[int, Field(ge=1, le=9)] = 1
    value: SecretStr | None = None
    filled_on: Instant | None = None
    labels: tuple[NewLabel, ...] = ()


class Tenant(LenientModel):
    id: LooseId


class Tenants(LenientList[Tenant]):
    pass


class BoxFilter(LenientModel):
    encryption_key: str | None = None
    user_id: LooseId | None = None
    limit: int = 50
    consumed: bool = False


class Box(LenientModel):
    box_id: str
    description: str | None = None


async def create_box(shelf: Shelf, call: Call[NewBox]) -> Answer:
    """Create a box."""
    shelf.take(call)
    return Answer(201, Box(box_id="1"))


async def add_tenants(shelf: Shelf, call: Call[Tenants]) -> Answer:
    """Let tenants into a box."""
    shelf.take(call)
    return Answer(200, Box(box_id="1"))


async def list_boxes(shelf: Shelf, call: Call[None, BoxFilter]) -> Answer:
    """List the boxes."""
    shelf.take(call)
    return Answer(200, Box(box_id="1"))


async def give_box(shelf: Shelf, call: Call) -> Answer:
    """Give a box away."""
    shelf.take(call)
    return Answer(200, Box(box_id="1"), etag="7")


async def delete_box(shelf: Shelf, call: Call) -> Answer:
    """Delete a box."""
    shelf.take(call)
    return Answer(204)


async def log_in(shelf: Shelf, call: AnonymousCall[NewBox]) -> Answer:
    """Log in."""
    shelf.take(call)
    return Answer(200, Box(box_id="1"))


BOXES = "/v2/boxes"
ROUTES = (
    Route("POST", BOXES, create_box, Role.USER, {201: Box}, body=NewBox),
    Route("POST", "/v1/boxes", create_box, Role.USER, {201: Box}, body=NewBox, prefix="old_"),
    Route("GET", BOXES, list_boxes, Role.VIEWER, {200: Box}, query=BoxFilter),
    Route("POST", BOXES + "/{box}/tenants", add_tenants, Role.USER, {200: Box}, body=Tenants),
    Route("PUT", BOXES + "/{box}/owner", give_box, Role.USER, {200: Box}, problems=(errors.StaleVersion,)),
    Route("DELETE", BOXES + "/{box}", delete_box, Role.USER, {204: None}),
    Route("POST", "/v2/login", log_in, Open.ANYONE, {200: Box}, body=NewBox),
)
BY_NAME = {route.name: route for route in ROUTES}


class Desk:
    """An edge of this face with fakes around it. `query` is sent as it is, percent-encoded."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.authenticator = TokenTable()
        self.denied: list[str] = []
        self._edge = Edge(self.shelf, self.authenticator, lambda: NOW, self._note, CONTROL_ROOM)

    async def _note(self, caller: Caller, route: Route, now: object) -> None:
        self.denied.append(route.name)

    async def send(
        self,
        operation: str,
        body: object = b"",
        *,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        box: str = "7",
        token: str = "user-token",
    ) -> func.HttpResponse:
        route = BY_NAME[operation]
        request = func.HttpRequest(
            method=route.method,
            url=f"https://vault.example{route.path}?{query}",
            headers={"Authorization": f"Bearer {token}"} | dict(headers or {}),
            params=dict(parse_qsl(query, keep_blank_values=True)),
            route_params=dict.fromkeys(route.parameters, box),
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        )
        return await self._edge.serve(route, request)

    @property
    def body(self) -> Any:
        """The body of the last call that reached a handler."""
        return self.shelf.calls[-1].body

    @property
    def query(self) -> Any:
        """The query of the last call that reached a handler."""
        return self.shelf.calls[-1].query


@pytest.fixture
def desk() -> Desk:
    return Desk()


def refused(response: func.HttpResponse) -> tuple[int, str]:
    """The status and code of a refusal, which is checked to be told as this face tells them."""
    assert response.mimetype == "application/json"
    told = json.loads(response.get_body())
    assert list(told) == ["code", "details", "message"]
    assert told["details"] is None
    assert told["message"]
    return response.status_code, told["code"]


def message(response: func.HttpResponse) -> str:
    return str(json.loads(response.get_body())["message"])


# Bodies


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=UTF-8"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "nonsense"},
        {"Content-Encoding": "identity"},
    ],
    ids=str,
)
async def test_json_is_read_whatever_it_is_called(desk: Desk, headers: dict[str, str]) -> None:
    assert (await desk.send("create_box", {"name": "plum"}, headers=headers)).status_code == 201
    assert desk.body.name == "plum"


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b'{"name": "plum"}', {"Content-Encoding": "gzip"}, "unsupported-media-type"),
        (b'{"name": "plum"}', {"Content-Encoding": "identity, br"}, "unsupported-media-type"),
        (b'{"name": "plum"}', {"Content-Type": "application/json; charset=utf-16"}, "unsupported-media-type"),
        (b"name=plum", {"Content-Type": "application/x-www-form-urlencoded"}, "invalid-input"),
        (b'{"name": "' + b"x" * 65536 + b'"}', {}, "body-too-large"),
        (b"[" * 60000, {}, "invalid-input"),
        (b'{"name": "a", "name": "b"}', {}, "invalid-input"),
        (b'{"size": NaN}', {}, "invalid-input"),
        (b'{"name": "\\ud800"}', {}, "invalid-input"),
        (b'"plum"', {}, "invalid-input"),
        (b"null", {}, "invalid-input"),
        (b"\xff", {}, "invalid-input"),
        (b"", {"X-Long": "x" * 16385}, "invalid-input"),
    ],
    ids=[
        "gzip",
        "brotli",
        "UTF-16",
        "a form",
        "too large",
        "too deep",
        "a name twice",
        "NaN",
        "half of a surrogate pair",
        "a string",
        "null",
        "no UTF-8",
        "a long header",
    ],
)
async def test_what_is_not_within_limits_is_refused_before_the_token(
    desk: Desk, body: bytes, headers: dict[str, str], code: str
) -> None:
    assert refused(await desk.send("create_box", body, headers=headers)) == (400, code)
    assert desk.authenticator.asked == 0


@pytest.mark.parametrize(("operation", "status"), [("list_boxes", 200), ("delete_box", 204)])
async def test_a_body_of_a_get_or_delete_is_not_looked_at(desk: Desk, operation: str, status: int) -> None:
    response = await desk.send(operation, b"\x1f\x8b[", headers={"Content-Encoding": "gzip"})
    assert response.status_code == status
    assert refused(await desk.send(operation, b"x" * 65537)) == (400, "body-too-large")


async def test_a_put_needs_no_body_and_ignores_one(desk: Desk) -> None:
    for body in (b"", {}, {"id": "7", "Version": None}, [1]):
        assert (await desk.send("give_box", body)).status_code == 200
    assert [call.body for call in desk.shelf.calls] == [None] * 4


async def test_a_post_without_a_body_is_an_empty_object(desk: Desk) -> None:
    assert "name: is required" in message(await desk.send("create_box"))


async def test_names_may_begin_with_a_capital_at_any_depth(desk: Desk) -> None:
    await desk.send("create_box", {"Name": "plum", "OwnerId": "9", "Labels": [{"Name": "a", "IsMasked": True}]})
    assert desk.body == NewBox(name="plum", owner_id="9", labels=(NewLabel(name="a", is_masked=True),))


@pytest.mark.parametrize(
    "body",
    [
        {"name": "plum", "Name": CANARY},
        {"name": "plum", "Name": None},
        {"name": "plum", "labels": [{"name": "a", "Name": CANARY}]},
        {"name": "plum", "unknown": {CANARY: 1, CANARY.capitalize(): 2}},
    ],
    ids=["at the top", "one of them null", "inside a list", "inside what is unknown"],
)
async def test_two_names_that_become_one_are_refused(desk: Desk, body: object) -> None:
    response = await desk.send("create_box", body)
    assert refused(response) == (400, "invalid-input")
    assert CANARY not in message(response)
    assert desk.shelf.calls == []


async def test_nulls_and_unknown_names_are_as_if_they_had_not_been_sent(desk: Desk) -> None:
    sent = {"name": "plum", "size": None, "version": "3", "labels": [{"name": "a", "isMasked": None, "id": "4"}]}
    assert (await desk.send("create_box", sent)).status_code == 201
    assert desk.body == NewBox(name="plum", labels=(NewLabel(name="a"),))


async def test_text_may_stand_for_numbers_and_truths(desk: Desk) -> None:
    await desk.send("create_box", {"name": "plum", "size": "7", "labels": [{"name": "a", "isMasked": "true"}]})
    assert (desk.body.size, desk.body.labels[0].is_masked) == (7, True)


async def test_an_instant_is_read_as_natively(desk: Desk) -> None:
    await desk.send("create_box", {"name": "plum", "filledOn": "2026-01-27T19:07:12.363Z"})
    assert desk.body.filled_on == NOW


@pytest.mark.parametrize(
    ("given", "read"),
    [("7", "7"), (7, "7"), (-1, "-1"), (0, "0"), (10**19, "1" + "0" * 19), ("x" * 256, "x" * 256)],
    ids=["text", "a number", "a negative number", "zero", "a large number", "long text"],
)
async def test_an_id_is_text_or_a_whole_number(desk: Desk, given: object, read: str) -> None:
    await desk.send("create_box", {"name": "plum", "ownerId": given})
    assert desk.body.owner_id == read


@pytest.mark.parametrize("given", ["", "x" * 257, True, 1.5, 7.0, ["7"], {"id": "7"}], ids=repr)
def test_nothing_else_is_an_id(given: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(LooseId).validate_python(given)


@pytest.mark.parametrize(
    ("body", "ids"),
    [([{"id": "1"}, {"Id": 2}], ["1", "2"]), ([], []), ({"id": "1"}, ["1"])],
    ids=["a list", "an empty list", "one object"],
)
async def test_a_body_may_be_a_list_or_the_one_thing_in_it(desk: Desk, body: object, ids: list[str]) -> None:
    assert (await desk.send("add_tenants", body)).status_code == 200
    assert [tenant.id for tenant in desk.body.root] == ids


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([{"id": "1"}, {"name": CANARY}], "1.id: is required"),
        ([CANARY], "0: must be an object"),
        ([None], "0: must be an object"),
        (b"", "0.id: is required"),
    ],
    ids=["a name is missing", "text", "null", "nothing"],
)
async def test_a_list_of_something_else_is_refused(desk: Desk, body: object, told: str) -> None:
    response = await desk.send("add_tenants", body)
    assert refused(response) == (400, "invalid-input")
    assert told in message(response)
    assert CANARY not in message(response)


async def test_a_list_is_refused_where_an_object_is_wanted(desk: Desk) -> None:
    response = await desk.send("create_box", [{"name": "plum"}])
    assert refused(response) == (400, "invalid-input")
    assert message(response).endswith(" must be an object")


# Path and query


@pytest.mark.parametrize("box", ["x" * 257, "a\x00b", "\x85"], ids=["too long", "NUL", "a control character"])
async def test_what_nothing_can_be_called_is_not_found(desk: Desk, box: str) -> None:
    assert refused(await desk.send("delete_box", box=box)) == (404, "not-found")
    assert desk.shelf.calls == []


async def test_the_query_is_read_leniently(desk: Desk) -> None:
    await desk.send("list_boxes", query="consumed=True&limit=7&userId=12&_=1700000000&metadata.a=b")
    assert desk.query == BoxFilter(consumed=True, limit=7, user_id="12")


async def test_parameters_that_are_empty_are_as_if_they_had_not_been_sent(desk: Desk) -> None:
    assert (await desk.send("list_boxes", query="limit=&userId=&consumed=")).status_code == 200
    assert desk.query == BoxFilter()


async def test_an_operation_without_a_query_ignores_every_parameter(desk: Desk) -> None:
    assert (await desk.send("delete_box", query="force=1&limit=x")).status_code == 204
    assert desk.query is None


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=5&limit=6", "limit: is given twice"),
        ("userId=&userId=7", "userId: is given twice"),
        (f"{CANARY}=1&{CANARY}=2", "?: is given twice"),
        (f"limit={CANARY}", "limit: must be a whole number"),
        (f"consumed={CANARY}", "consumed: must be true or false"),
        (f"userId={CANARY * 20}", "userId: must have at most 256 characters"),
    ],
    ids=["twice", "twice, once empty", "an unknown one twice", "no number", "no truth", "too long"],
)
async def test_a_parameter_that_is_wrong_or_given_twice_is_refused(desk: Desk, query: str, told: str) -> None:
    response = await desk.send("list_boxes", query=query)
    assert refused(response) == (400, "invalid-input")
    assert message(response).endswith(told)
    assert CANARY not in message(response)


async def test_the_public_key_of_4096_bits_fits_in_a_query_even_if_each_character_is_encoded(desk: Desk) -> None:
    modulus = b64encode(b"\xff" * 512).decode()
    xml = f"<RSAKeyValue>\r\n  <Modulus>{modulus}</Modulus>\r\n  <Exponent>AQAB</Exponent>\r\n</RSAKeyValue>"
    key = b64encode(xml.encode()).decode()
    each_encoded = "".join(f"%{ord(character):02X}" for character in key)
    for encoded in (quote(key, safe=""), each_encoded):
        response = await desk.send("list_boxes", query=f"encryptionKey={encoded}&userId={'%C3%A9' * 256}")
        assert response.status_code == 200, message(response)
        assert desk.query.encryption_key == key


async def test_a_plus_that_was_not_encoded_arrives_as_a_space(desk: Desk) -> None:
    await desk.send("list_boxes", query="encryptionKey=a+b/c==")
    assert desk.query.encryption_key == "a b/c=="


@pytest.mark.parametrize(
    "query",
    ["encryptionKey=" + "x" * (MAX_QUERY - 13), "&".join(f"x{number}=1" for number in range(65))],
    ids=["too long", "too many"],
)
async def test_a_query_beyond_the_limits_is_refused_before_the_token(desk: Desk, query: str) -> None:
    assert refused(await desk.send("list_boxes", query=query)) == (400, "invalid-input")
    assert desk.authenticator.asked == 0


async def test_a_query_at_the_limit_is_read(desk: Desk) -> None:
    response = await desk.send("list_boxes", query="encryptionKey=" + "x" * (MAX_QUERY - 14))
    assert response.status_code == 200


# Headers


@pytest.mark.parametrize("given", ['"7"', "*", "nonsense"])
async def test_if_match_means_nothing_here(desk: Desk, given: str) -> None:
    assert (await desk.send("give_box", headers={"If-Match": given})).status_code == 200
    assert desk.shelf.calls[0].if_match is None


async def test_an_idempotency_key_is_honoured_on_a_post(desk: Desk) -> None:
    await desk.send("create_box", {"name": "plum"}, headers={"Idempotency-Key": "k-1"})
    await desk.send("give_box", headers={"Idempotency-Key": "k-1"})
    assert [call.idempotency_key for call in desk.shelf.calls] == ["k-1", None]
    assert desk.shelf.calls[0].body_bytes == b'{"name": "plum"}'


# Who calls


async def test_callers_are_identified_and_need_their_role(desk: Desk) -> None:
    assert refused(await desk.send("create_box", token="nobody")) == (401, "unauthenticated")
    assert refused(await desk.send("create_box", token="viewer-token")) == (403, "access-denied")
    assert desk.denied == ["create_box"]
    assert desk.shelf.calls == []


async def test_an_anonymous_route_asks_nobody_who_calls(desk: Desk) -> None:
    assert (await desk.send("log_in", {"Name": "plum"}, token="nobody")).status_code == 200
    assert desk.authenticator.asked == 0


# Answers and refusals


async def test_an_answer_is_camel_case_json_without_nulls(desk: Desk) -> None:
    response = await desk.send("create_box", {"name": "plum"})
    assert response.mimetype == "application/json"
    assert json.loads(response.get_body()) == {"boxId": "1"}
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (errors.InvalidInput("Do otherwise."), 400),
        (errors.BodyTooLarge("Do otherwise."), 400),
        (errors.UnsupportedMediaType("Do otherwise."), 400),
        (errors.ValueRefused("Do otherwise."), 400),
        (errors.PreconditionRequired("Do otherwise."), 400),
        (errors.Unauthenticated("Do otherwise."), 401),
        (errors.AccessDenied("Do otherwise."), 403),
        (errors.NotFound("Do otherwise."), 404),
        (errors.NameTaken("Do otherwise."), 409),
        (errors.LeaseLimitReached("Do otherwise.", NOW, timedelta(seconds=1)), 409),
        (errors.StaleVersion("Do otherwise."), 409),
        (errors.NotSupported("Do otherwise."), 501),
        (errors.TooSoon("Do otherwise.", timedelta(seconds=1)), 503),
        (errors.Unavailable("Do otherwise."), 503),
    ],
    ids=lambda given: given.code if isinstance(given, errors.VaultError) else str(given),
)
async def test_a_refusal_is_told_with_its_status(desk: Desk, refusal: errors.VaultError, status: int) -> None:
    desk.shelf.fault = refusal
    response = await desk.send("give_box")
    assert refused(response) == (status, refusal.code)
    assert message(response) == "Do otherwise."


def test_no_status_is_one_that_clients_do_not_know() -> None:
    assert set(STATUSES.values()) == {400, 401, 403, 404, 409, 500, 501, 503}


async def test_when_to_try_again_is_told(desk: Desk) -> None:
    for kind in (errors.Unavailable, errors.TooSoon):
        desk.shelf.fault = kind("Later.", timedelta(seconds=6.5))
        assert (await desk.send("give_box")).headers["Retry-After"] == "7"


async def test_the_fields_at_fault_are_named_in_words(desk: Desk) -> None:
    faults = (errors.FieldError("name", "is required"), errors.FieldError("", "must not be both"))
    for kind in (errors.InvalidInput, errors.ValueRefused):
        desk.shelf.fault = kind("Correct it.", faults)
        assert message(await desk.send("give_box")) == "Correct it. name: is required; must not be both"


async def test_a_fault_shows_nothing_but_where_to_look_it_up(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.shelf.fault = ValueError(CANARY)
    response = await desk.send("give_box", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert refused(response) == (500, "internal-error")
    assert TRACE in message(response)
    assert CANARY.encode() not in response.get_body()
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f'trace={TRACE} operation=give_box error="builtins.ValueError at' in record.getMessage()
    assert CANARY not in caplog.text


async def test_one_line_tells_of_a_request_under_the_name_of_its_route(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vault_core")
    await desk.send("old_create_box", {"name": CANARY, CANARY: 1}, query=f"a={CANARY}")
    await desk.send("create_box", {"name": CANARY * 2}, query=f"a={CANARY}")
    read, unread = [record.getMessage() for record in caplog.records]
    assert "tenant=contoso operation=old_create_box status=201 outcome=ok" in read
    assert "tenant=contoso operation=create_box status=400 outcome=invalid-input" in unread
    assert CANARY not in caplog.text


# Whatever is sent

_texts = st.text(max_size=10) | st.sampled_from([CANARY, "7", "true", "2026-01-27T19:07:12Z"])
_names = _texts | st.sampled_from(["name", "Name", "ownerId", "size", "value", "labels", "filledOn", "id", CANARY])
_numbers = st.integers(-(10**20), 10**20) | st.floats()
_json = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)


@given(
    operation=st.sampled_from(sorted(BY_NAME)),
    body=st.binary(max_size=60).map(lambda noise: CANARY.encode() + noise)
    | _json.map(lambda content: json.dumps(content).encode())
    | st.dictionaries(_names, _json, max_size=6).map(lambda content: json.dumps(content).encode()),
    query=st.text(max_size=40)
    | st.dictionaries(
        _names | st.sampled_from(["limit", "userId", "consumed", "encryptionKey"]), _texts, max_size=4
    ).map(urlencode),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Content-Encoding", "If-Match", "If-None-Match", "Idempotency-Key"]),
        st.text(max_size=40) | st.sampled_from(["application/json", "application/json; charset*=\"x'y", CANARY]),
    ),
    box=st.text(max_size=20),
)
async def test_whatever_is_sent_is_answered_or_refused_and_never_sent_back(
    operation: str, body: bytes, query: str, headers: dict[str, str], box: str
) -> None:
    response = await Desk().send(operation, body, query=query, headers=headers, box=box)
    if response.status_code >= 400:
        assert refused(response)[0] in (400, 404)
    else:
        assert response.status_code in BY_NAME[operation].answers
    assert CANARY not in f"{response.get_body()!r} {dict(response.headers)}"

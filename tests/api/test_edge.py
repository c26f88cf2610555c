"""Every request through the edge: what is let in, in which order, what is answered and what is logged."""

from __future__ import annotations

import inspect
import json
import logging
import re
import typing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.sample import BY_NAME, NOW, ROUTES, Front, JarFilter, NewJar
from vault_core import errors
from vault_core.api.edge import register
from vault_core.api.routing import AnonymousCall, Call
from vault_core.identities import Role

CANARY = "canary-7f3e9b2c41"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
PLUM = b'{"name": "plum", "value": "canary-7f3e9b2c41"}'


@pytest.fixture
def front() -> Front:
    return Front()


def told(response: func.HttpResponse) -> Any:
    return json.loads(response.get_body())


def code_of(response: func.HttpResponse) -> str:
    assert response.mimetype == "application/problem+json"
    problem = told(response)
    assert problem["status"] == response.status_code
    return str(problem["code"])


def fields_of(response: func.HttpResponse) -> list[str]:
    return [fault["field"] for fault in told(response)["errors"]]


# What a handler gets and gives


async def test_a_handler_gets_the_decoded_call(front: Front) -> None:
    response = await front.send("create_jar", body=PLUM, headers={"Idempotency-Key": "k-1"})
    assert response.status_code == 201
    [call] = front.shelf.calls
    assert isinstance(call, Call)
    assert isinstance(call.body, NewJar)
    assert (call.body.name, call.body.value.get_secret_value()) == ("plum", CANARY)
    assert (call.caller.tenant, call.now, call.idempotency_key) == ("contoso", NOW, "k-1")
    assert (call.body_bytes, call.query, call.path) == (PLUM, None, {})


async def test_an_answer_is_camel_case_json_without_nulls(front: Front) -> None:
    response = await front.send("read_jar", path={"jar": "plum jam"})
    assert response.mimetype == "application/json"
    assert told(response) == {"name": "plum jam", "openedAt": "2026-01-27T19:07:12.363Z"}


async def test_an_answer_has_the_handlers_headers(front: Front) -> None:
    response = await front.send("create_jar", body=PLUM)
    assert response.headers["Location"] == "/api/v1/jars/plum"
    assert response.headers["ETag"] == '"1"'
    assert told(response)["value"] == CANARY


async def test_an_anonymous_route_asks_nobody_who_calls(front: Front) -> None:
    response = await front.send("read_health", token=None)
    assert (response.status_code, told(response)) == (503, {"healthy": False})
    assert front.authenticator.asked == 0
    assert type(front.shelf.calls[0]) is AnonymousCall


async def test_the_description_of_a_call_holds_no_input(front: Front) -> None:
    await front.send("create_jar", body=PLUM)
    await front.send("read_jar", path={"jar": CANARY})
    await front.send("list_jars", query={"metadata.team": CANARY})
    assert len(front.shelf.calls) == 3
    assert CANARY not in repr(front.shelf.calls)


@pytest.mark.parametrize("operation", [name for name in BY_NAME if name != "update_jar"])
async def test_every_answer_forbids_storing_and_guessing(front: Front, operation: str) -> None:
    refused = await front.send(operation, body=b"[", token=None)
    answered = await front.send(operation, body=PLUM if operation == "create_jar" else b"")
    assert refused.status_code == 400
    assert {answered.status_code, refused.status_code} & {200, 201, 204, 403, 503}
    for response in (answered, refused):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])


# Limits on what arrives, before any work on the token


@pytest.mark.parametrize(
    ("status", "body", "headers", "query"),
    [
        (413, b'{"name": "' + b"x" * 65536 + b'"}', {}, {}),
        (413, b"x" * 65537, {"Content-Length": "2", "Content-Type": "text/plain"}, {}),
        (415, b"name=plum", {"Content-Type": "application/x-www-form-urlencoded"}, {}),
        (415, PLUM, {"Content-Type": ""}, {}),
        (415, PLUM, {"Content-Type": "application/json; charset=utf-16"}, {}),
        (415, PLUM, {"Content-Type": "application/merge-patch+json"}, {}),
        (415, PLUM, {"Content-Encoding": "gzip"}, {}),
        (400, b"[" * 60000, {}, {}),
        (400, b'{"name": "a", "name": "b"}', {}, {}),
        (400, b"", {"X-Long": "x" * 16385}, {}),
        (400, b"", {}, {"name": "x" * 5000}),
        (400, b"", {}, {f"x{number}": "" for number in range(65)}),
    ],
)
async def test_limits_come_before_the_token(
    front: Front, status: int, body: bytes, headers: dict[str, str], query: dict[str, str]
) -> None:
    response = await front.send("create_jar", body=body, headers=headers, query=query)
    assert response.status_code == status
    assert code_of(response) in ("body-too-large", "unsupported-media-type", "invalid-input")
    assert front.authenticator.asked == 0


async def test_a_body_of_exactly_64_kib_is_read(front: Front) -> None:
    body = PLUM + b" " * (65536 - len(PLUM))
    assert (await front.send("create_jar", body=body)).status_code == 201


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=UTF-8"])
async def test_json_in_utf_8_is_read(front: Front, media_type: str) -> None:
    assert (await front.send("create_jar", body=PLUM, headers={"Content-Type": media_type})).status_code == 201


async def test_a_patch_may_be_a_merge_patch(front: Front) -> None:
    headers = {"Content-Type": "application/merge-patch+json", "If-Match": '"7"'}
    response = await front.send("update_jar", body=b'{"description": "new"}', headers=headers)
    assert told(response)["description"] == "new"


# The caller


async def test_without_a_token_nothing_is_said_about_the_input(front: Front) -> None:
    response = await front.send("create_jar", body=b'{"nmae": "plum"}', token=None)
    assert (response.status_code, code_of(response)) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert "errors" not in told(response)


async def test_a_caller_without_the_role_is_refused_and_noted(front: Front) -> None:
    response = await front.send("create_jar", body=b"{}", token="viewer-token")
    assert (response.status_code, code_of(response)) == (403, "access-denied")
    [(caller, route, at)] = front.denied
    assert (caller.tenant, route.name, at) == ("contoso", "create_jar", NOW)
    assert front.shelf.calls == []


@pytest.mark.parametrize(("token", "status"), [("admin-token", 200), ("auditor-token", 200), ("user-token", 403)])
async def test_one_of_several_roles_is_enough(front: Front, token: str, status: int) -> None:
    assert (await front.send("read_audit", token=token)).status_code == status


async def test_a_higher_role_does_what_a_lower_one_may(front: Front) -> None:
    assert (await front.send("list_jars", token="admin-token")).status_code == 200


async def test_a_route_for_any_caller_needs_a_token_but_no_role(front: Front) -> None:
    assert (await front.send("read_me", token="bare-token")).status_code == 200
    assert (await front.send("read_me", token=None)).status_code == 401
    assert (await front.send("list_jars", token="bare-token")).status_code == 403


# Path, query and body


@pytest.mark.parametrize("jar", ["x" * 257, "a\x00b", "a\nb", "\x85"])
async def test_what_nothing_can_be_called_is_not_found(front: Front, jar: str) -> None:
    assert code_of(await front.send("read_jar", path={"jar": jar})) == "not-found"
    assert front.shelf.calls == []


async def test_the_query_is_read_into_its_model(front: Front) -> None:
    query = {
        "limit": "7",
        "openedBefore": "2026-01-27T19:07:12Z",
        "metadata.team": "web",
        "metadata.a.b": "c",
    }
    assert (await front.send("list_jars", query=query)).status_code == 200
    assert front.shelf.calls[0].query == JarFilter(
        limit=7, opened_before=NOW - timedelta(milliseconds=363), metadata={"team": "web", "a.b": "c"}
    )


async def test_an_empty_query_has_the_defaults(front: Front) -> None:
    await front.send("list_jars")
    assert front.shelf.calls[0].query == JarFilter()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1000000000"}, "limit"),
        ({"limit": CANARY}, "limit"),
        ({"limit": "9" * 30}, "limit"),
        ({"openedBefore": "1700000000"}, "openedBefore"),
        ({"opened_before": "2026-01-27T19:07:12Z"}, "opened_before"),
        ({"value": CANARY}, "value"),
        ({CANARY: ""}, "?"),
        ({"metadata": CANARY}, "metadata"),
        ({"metadata": CANARY, "metadata.team": "web"}, "metadata"),
        ({"limit.x": CANARY}, "?"),
    ],
)
async def test_an_unknown_or_wrong_parameter_is_refused_without_an_echo(
    front: Front, query: dict[str, str], field: str
) -> None:
    response = await front.send("list_jars", query=query)
    assert (response.status_code, fields_of(response)) == (400, [field])
    assert CANARY.encode() not in response.get_body()


async def test_an_operation_without_a_query_refuses_every_parameter(front: Front) -> None:
    response = await front.send("create_jar", body=PLUM, query={"value": CANARY})
    assert (response.status_code, fields_of(response)) == (400, ["value"])
    assert CANARY.encode() not in response.get_body()
    assert (await front.send("read_health", query={"verbose": "1"}, token=None)).status_code == 400


async def test_a_parameter_given_twice_is_refused(front: Front) -> None:
    url = f"https://vault.example/api/v1/jars?limit=5&limit=6&{CANARY}=&{CANARY}="
    response = await front.send("list_jars", query={"limit": "6"}, url=url)
    assert (response.status_code, fields_of(response)) == (400, ["limit", "?"])


async def test_each_field_at_fault_is_named(front: Front) -> None:
    response = await front.send("create_jar", body=b'{"name": "", "vlaue": "canary-7f3e9b2c41", "maxLeaseTTL": "5"}')
    assert response.status_code == 400
    assert sorted(fields_of(response)) == ["maxLeaseTTL", "name", "value", "vlaue"]
    assert CANARY.encode() not in response.get_body()


async def test_a_missing_body_lacks_what_is_required(front: Front) -> None:
    assert fields_of(await front.send("create_jar")) == ["name", "value"]


@pytest.mark.parametrize(("body", "status"), [(b"", 204), (b"{}", 204), (b'{"reason": "x"}', 400)])
async def test_an_operation_without_a_body_takes_an_empty_one(front: Front, body: bytes, status: int) -> None:
    assert (await front.send("open_jar", body=body)).status_code == status


async def test_null_and_absent_are_told_apart_in_a_patch(front: Front) -> None:
    for body in (b'{"description": null}', b"{}"):
        await front.send("update_jar", body=body, headers={"If-Match": '"7"'})
    assert [call.body.model_fields_set for call in front.shelf.calls] == [{"description"}, set()]


# Entity tags and repeats


async def test_an_operation_that_needs_if_match_asks_for_it(front: Front) -> None:
    response = await front.send("update_jar", body=b"{}")
    assert (response.status_code, code_of(response)) == (428, "precondition-required")


@pytest.mark.parametrize("given", ['"7"', 'W/"7"'])
async def test_a_handler_gets_the_tag_without_its_dress(front: Front, given: str) -> None:
    await front.send("update_jar", body=b"{}", headers={"If-Match": given})
    await front.send("open_jar", headers={"If-Match": given})
    assert [call.if_match for call in front.shelf.calls] == ["7", "7"]


@pytest.mark.parametrize("given", ["*", "7", '"7", "8"', "", '"', '""', f'"{"x" * 257}"', '"7"\n'])
async def test_anything_but_one_tag_is_refused(front: Front, given: str) -> None:
    response = await front.send("update_jar", body=b"{}", headers={"If-Match": given})
    assert (response.status_code, fields_of(response)) == (400, ["If-Match"])


async def test_if_match_is_optional_where_it_is_not_needed(front: Front) -> None:
    assert (await front.send("open_jar")).status_code == 204
    assert front.shelf.calls[0].if_match is None


@pytest.mark.parametrize("given", ['"7"', 'W/"7"', '"1", "7"', "*"])
async def test_what_has_not_changed_is_not_sent_again(front: Front, given: str) -> None:
    response = await front.send("read_jar", headers={"If-None-Match": given})
    assert (response.status_code, response.get_body()) == (304, b"")
    assert response.headers["ETag"] == '"7"'


@pytest.mark.parametrize("given", ['"8"', "", "nonsense", '"77"'])
async def test_what_has_changed_is_sent(front: Front, given: str) -> None:
    assert (await front.send("read_jar", headers={"If-None-Match": given})).status_code == 200


async def test_only_a_read_can_be_unchanged(front: Front) -> None:
    response = await front.send("create_jar", body=PLUM, headers={"If-None-Match": "*"})
    assert response.status_code == 201


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é", "a\n"])
async def test_an_idempotency_key_that_cannot_be_kept_is_refused(front: Front, given: str) -> None:
    response = await front.send("create_jar", body=PLUM, headers={"Idempotency-Key": given})
    assert (response.status_code, fields_of(response)) == (400, ["Idempotency-Key"])


async def test_an_idempotency_key_means_nothing_on_a_read(front: Front) -> None:
    await front.send("read_jar", headers={"Idempotency-Key": "a b"})
    assert front.shelf.calls[0].idempotency_key is None


# Traces, logs and faults


async def test_a_safe_request_id_is_echoed(front: Front) -> None:
    response = await front.send("read_jar", headers={"X-Request-Id": "req-1.a_B"})
    assert response.headers["X-Request-Id"] == "req-1.a_B"
    assert front.shelf.calls[0].request_id == "req-1.a_B"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\r\nSet-Cookie: b", "<script>"])
async def test_an_unsafe_request_id_is_replaced(front: Front, given: str) -> None:
    response = await front.send("read_jar", headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])


async def test_a_problem_names_the_trace_of_the_request(front: Front) -> None:
    response = await front.send("create_jar", headers={"traceparent": TRACEPARENT})
    assert told(response)["instance"] == TRACE


@pytest.mark.parametrize(
    "given",
    [
        "",
        TRACE,
        TRACEPARENT.upper(),
        TRACEPARENT.replace(TRACE, "0" * 32),
        TRACEPARENT.replace("00f067aa0ba902b7", "0" * 16),
        "01" + TRACEPARENT[2:],
        TRACEPARENT + "-more",
        TRACEPARENT + "\n",
    ],
)
async def test_an_unusable_trace_is_replaced(front: Front, given: str) -> None:
    instance = told(await front.send("create_jar", headers={"traceparent": given}))["instance"]
    assert re.fullmatch("[0-9a-f]{32}", instance)
    assert instance not in (TRACE, "0" * 32)


async def test_one_line_tells_of_a_request(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vault_core")
    await front.send("read_jar", headers={"X-Request-Id": "r1", "traceparent": TRACEPARENT})
    [line] = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(
        rf"request=r1 trace={TRACE} tenant=contoso operation=read_jar status=200 outcome=ok ms=\d+\.\d", line
    )


async def test_the_line_of_a_refusal_has_its_code(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vault_core")
    await front.send("create_jar", token=None)
    [line] = [record.getMessage() for record in caplog.records]
    assert "tenant=- operation=create_jar status=401 outcome=unauthenticated" in line


async def test_nothing_of_the_input_is_logged(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await front.send("create_jar", body=PLUM, headers={"X-Request-Id": f"{CANARY} "})
    await front.send("read_jar", path={"jar": CANARY})
    await front.send("list_jars", query={"value": CANARY}, url=f"https://vault.example/jars?value={CANARY}")
    await front.send("create_jar", body=f'{{"{CANARY}": 1}}'.encode())
    await front.send("read_jar", token=CANARY)
    assert len(caplog.records) == 5
    assert CANARY not in caplog.text


async def test_a_refusal_of_a_handler_becomes_its_problem(front: Front) -> None:
    front.shelf.fault = errors.LeaseLimitReached("Wait for a place.", NOW, timedelta(seconds=1.5))
    response = await front.send("create_jar", body=PLUM)
    assert (response.status_code, code_of(response)) == (409, "lease-limit-reached")
    assert response.headers["Retry-After"] == "2"


def _value_error() -> BaseException:
    return ValueError(f"invalid literal: {CANARY}")


def _chained() -> BaseException:
    chained = RuntimeError(CANARY)
    chained.__cause__ = KeyError(CANARY)
    return chained


def _group() -> BaseException:
    return ExceptionGroup(CANARY, [OSError(CANARY), errors.RowChanged(CANARY)])


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (_value_error(), ["builtins.ValueError"]),
        (_chained(), ["builtins.RuntimeError", "builtins.KeyError"]),
        (_group(), ["builtins.ExceptionGroup", "builtins.OSError", "vault_core.errors.RowChanged"]),
    ],
)
async def test_a_fault_shows_its_kind_and_place_in_the_log_alone(
    front: Front, caplog: pytest.LogCaptureFixture, fault: BaseException, kinds: list[str]
) -> None:
    front.shelf.fault = fault
    response = await front.send("create_jar", body=PLUM, headers={"traceparent": TRACEPARENT})
    assert (response.status_code, code_of(response)) == (500, "internal-error")
    assert CANARY.encode() not in response.get_body()
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is None
    assert re.search(
        rf'^trace={TRACE} operation=create_jar error="{kinds[0]} at .*sample\.py:\d+ take.*"$',
        record.getMessage(),
    )
    assert all(kind in record.getMessage() for kind in kinds)
    assert CANARY not in caplog.text


async def test_a_fault_in_noting_a_denial_still_denies(front: Front) -> None:
    async def unable(*_: object) -> None:
        raise errors.Unavailable("Later.")

    front.edge._on_denied = unable
    response = await front.send("create_jar", body=PLUM, token="viewer-token")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert front.shelf.calls == []


@given(
    body=st.binary(max_size=60) | st.just(PLUM),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "Content-Type",
                "Content-Encoding",
                "If-Match",
                "If-None-Match",
                "Idempotency-Key",
                "traceparent",
            ]
        ),
        st.text(max_size=40) | st.sampled_from(["application/json", "application/json; charset*=\"x'y", '"7"']),
    ),
    query=st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["limit", "metadata", "metadata.a"]), st.text(max_size=12)
    ),
    path=st.text(max_size=20),
    operation=st.sampled_from(sorted(BY_NAME)),
    url=st.text(max_size=40).map(lambda tail: f"https://vault.example/?{tail}"),
)
async def test_no_request_is_a_fault(
    body: bytes, headers: dict[str, str], query: dict[str, str], path: str, operation: str, url: str
) -> None:
    front = Front()
    parameters = dict.fromkeys(BY_NAME[operation].parameters, path)
    response = await front.send(operation, body=body, headers=headers, query=query, path=parameters, url=url)
    assert response.status_code in (200, 201, 204, 304, 400, 403, 404, 413, 415, 428) or operation == "read_health"
    assert response.status_code != 500


# The functions that the host finds


def registered() -> dict[str, Any]:
    app = func.FunctionApp()
    register(app, ROUTES, Front().edge)
    return {str(function.get_function_name()): function for function in app.get_functions()}


def test_each_route_is_one_anonymous_http_function() -> None:
    functions = registered()
    assert set(functions) == set(BY_NAME)
    for name, function in functions.items():
        trigger = function.get_trigger().get_dict_repr()
        assert trigger["route"] == BY_NAME[name].path.lstrip("/")
        assert [getattr(method, "value", method) for method in trigger["methods"]] == [BY_NAME[name].method]
        assert trigger["authLevel"].name == "ANONYMOUS"


def test_the_worker_can_inspect_every_function() -> None:
    for name, function in registered().items():
        endpoint = function.get_user_function()
        assert endpoint.__name__ == name
        assert endpoint.__doc__ == BY_NAME[name].summary
        assert not hasattr(endpoint, "__wrapped__")
        assert inspect.iscoroutinefunction(endpoint)
        assert typing.get_type_hints(endpoint) == {"req": func.HttpRequest, "return": func.HttpResponse}


async def test_one_handler_serves_several_routes_under_names_of_their_own() -> None:
    old = replace(BY_NAME["read_health"], path="/v1/health", prefix="old_")
    app = func.FunctionApp()
    register(app, [BY_NAME["read_health"], old], Front().edge)
    endpoints = {
        str(function.get_function_name()): function.get_user_function().__name__ for function in app.get_functions()
    }
    assert endpoints == {"read_health": "read_health", "old_read_health": "old_read_health"}


async def test_a_registered_function_serves_its_own_route() -> None:
    endpoint = registered()["read_health"].get_user_function()
    response = await endpoint(func.HttpRequest("GET", "https://vault.example/api/v1/health", body=b""))
    assert told(response) == {"healthy": False}


def test_the_table_tells_its_own_roles_and_names() -> None:
    assert BY_NAME["read_audit"].roles == (Role.ADMIN, Role.AUDITOR)
    assert BY_NAME["create_jar"].summary == "Create a jar"
    assert BY_NAME["update_jar"].parameters == ("jar",)

"""What must not get in. Each request is answered as the API document foretells (`App` sees to that), and leaves no
trace; where a store could be led astray, on a real one too."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from pydantic import BaseModel

from tests.api.app import BY_NAME, SECRET, App
from tests.api.test_negative_list import NAMING, path_of, path_to
from tests.api.test_operations import SUCCESSES, Furnished
from tests.subscribers import subscribe
from tests.vaults import ALICE, DEPLOY_AGENT, MONA, OTTO, person
from tests.vendors import fill, publish
from vault_core.identities import Role, is_identity_id

pytestmark = pytest.mark.slow

EVERYBODY = person("root", *Role)
CANARY = "canary-7f3e9b2c41"
ONE = "/credentials/db-password"

# What would end a string, a key, a path or a filter, were it not quoted.
NASTY = [
    "'",
    "''",
    "' or '1' eq '1",
    "x' or PartitionKey ne 'x",
    "@v0",
    '"',
    "\\",
    "a\\b",
    "#",
    "?",
    "a?b=c",
    "%",
    "%27",
    "%2f",
    "%00",
    "..",
    "a/../b",
    "../../settings",
    "name:db-password",
    "\x00",
    "a\nb",
    "a\r\nX-Injected: 1",
    "\x1f",
    "\x7f",
    "\x85",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\ufffe",
    "\U000e0041",
    "😀",
    "é" * 128,
    "\U00010400" * 128,
    "\ufdfa" * 128,
    "${jndi:ldap://x}",
    "{{7*7}}",
    "<script>",
    "-1",
    "*",
    " ",
    "null",
]
NAMED = [name for name, route in BY_NAME.items() if set(NAMING) & set(route.parameters)]


def texts_in(model: type[BaseModel] | None, *kept: str) -> list[str]:
    fields = model.model_fields if model else {}
    return [field.alias or name for name, field in fields.items() if name not in kept]


class TestANastyIdentifier:
    @pytest.mark.parametrize("operation", NAMED)
    async def test_in_a_path_names_nothing(self, any_app: App, operation: str) -> None:
        await any_app.create()
        route = BY_NAME[operation]
        headers = {"If-Match": '"x.0"'} if route.takes_if_match else {}
        for text in NASTY:
            path = path_of(route, quote(text, safe=""))
            if ".." in (text, text.strip("/")):  # the host takes it out of the path
                continue
            reply = await any_app.send(route.method, path, EVERYBODY, SUCCESSES[operation].body, headers)
            assert reply.code == (404, "not-found"), text
        assert (await any_app.send("GET", ONE, ALICE))["version"] == 1

    async def test_as_an_owner_is_refused(self, any_app: App) -> None:
        await any_app.create()
        for text in NASTY:
            if text == ".." or is_identity_id(text):
                continue
            reply = await any_app.send("PUT", f"{ONE}/owner/{quote(text, safe='')}", ALICE)
            assert reply.status in (400, 404), text
        assert (await any_app.send("GET", ONE, ALICE))["ownerId"] == "id-alice"

    async def test_as_a_member_of_a_locker_is_refused(self, any_app: App) -> None:
        await any_app.send("POST", "/lockers", ALICE, {"name": "shop"})
        for text in NASTY:
            if text == ".." or is_identity_id(text):
                continue
            path = f"/lockers/shop/members/{quote(text, safe='')}"
            for method, body in (("PUT", {"permissions": ["own"]}), ("DELETE", None)):
                assert (await any_app.send(method, path, ALICE, body)).status in (400, 404), text
        assert (await any_app.send("GET", "/lockers/shop", ALICE))["members"] == [
            {"id": "id-alice", "permissions": ["own"]}
        ]

    async def test_as_a_role_that_consumes_is_refused_or_kept_as_it_is(self, any_app: App) -> None:
        await any_app.send("POST", "/lockers", ALICE, {"name": "shop"})
        for text in NASTY:
            if text == "..":
                continue
            path = f"/lockers/shop/consumers/{quote(text, safe='')}"
            added = await any_app.send("PUT", path, ALICE)
            assert added.status in (200, 400, 404), text
            assert (await any_app.send("GET", "/lockers/shop", ALICE))["consumers"] == [text] * (added.status == 200)
            assert (await any_app.send("DELETE", path, ALICE)).status in (204, 404)
        assert (await any_app.send("GET", "/lockers/shop", ALICE))["consumers"] == []

    @pytest.mark.parametrize("operation", [name for name, route in BY_NAME.items() if route.query])
    async def test_in_a_query_finds_nothing_that_it_does_not_name(self, any_app: App, operation: str) -> None:
        await any_app.create(marketplaces=["emea"])
        await any_app.send("POST", "/leases", ALICE, {"credential": "db-password"})
        await fill(any_app.world, await publish(any_app.world), name="portal", marketplaces=["emea"])
        subscription = (await subscribe(any_app.world)).subscription.id
        route = BY_NAME[operation]
        path = path_to(route, dict.fromkeys(NAMING, "db-password") | {"subscription": subscription})
        whole = {"product": "nw-mail", "environment": "production"} if operation == "resolve_credential" else {}
        for name in texts_in(route.query):
            for text in NASTY:
                given = whole | {f"{name}.x" if name == "metadata" else name: text}
                reply = await any_app.send(route.method, f"{path}?{urlencode(given, quote_via=quote)}", EVERYBODY)
                assert reply.status in (200, 400, 404), (name, text)
                if reply.status == 200 and (name, text) != ("name", "*"):
                    assert reply["items"] == [], (name, text)

    async def test_in_a_body_is_refused_or_kept_as_it_is(self, any_app: App) -> None:
        for number, text in enumerate(NASTY):
            named = await any_app.send("POST", "/credentials", ALICE, SECRET | {"name": text})
            assert named.status in (201, 400), text
            free = {"description": text[:1024], "metadata": {text: text}, "value": text}
            kept = await any_app.send("POST", "/credentials", ALICE, SECRET | free | {"name": f"key {number}"})
            assert kept.status == 201, text
            assert (kept["description"], kept["metadata"]) == (text, {text: text})
            leased = await any_app.send("POST", "/leases", ALICE, {"credential": f"key {number}"})
            assert leased["value"] == text
            absent = await any_app.send("POST", "/leases", MONA, {"credential": text})
            assert absent.status in (400, 403, 404), text


def cursor(position: object) -> str:
    content = position if isinstance(position, bytes) else json.dumps(position).encode()
    return base64.urlsafe_b64encode(content).decode()


FORGED = {
    "of another tenant": ["fabrikam|x", "lease:x"],
    "before all tenants": ["", ""],
    "behind all tenants": ["~", "~"],
    "with a quote": ["x' or PartitionKey ne 'x", "y' or RowKey ne 'y"],
    "with what no key holds": ["a/b\\c#d?e", "a/b\\c#d?e"],
    "with a control character": ["\x00", "a\nb"],
    "with half a surrogate": ["\ud800", "\udfff"],
    "of numbers": [1, 2],
    "of one": ["x"],
    "of three": ["x", "y", "z"],
    "of an object": {"x": 1, "y": 2},
    "of nothing": None,
    "deep": b"[" * 1500,
    "of a number too long": b"[" + b"9" * 1400 + b"]",
    "no JSON": b"\xff",
}
PAGED = [
    "/credentials",
    "/credentials?sort=name",
    "/tenant/export",
    "/credentials?sort=-ends",
    "/leases",
    "/lockers",
    "/configurations",
    "/audit",
]


class TestAForgedCursor:
    @pytest.mark.parametrize("case", FORGED)
    async def test_shows_nothing_that_the_listing_would_not(self, any_app: App, case: str) -> None:
        await any_app.create()
        await any_app.create(person("eve", *Role, tenant="fabrikam"), name="of fabrikam")
        await publish(any_app.world, person("eve", *Role, tenant="fabrikam"), audience=["northwind"])
        subscription = (await subscribe(any_app.world)).subscription.id
        for path in [*PAGED, "/leases?credential=db-password", f"/subscriptions/{subscription}/deliveries"]:
            mark = "&" if "?" in path else "?"
            reply = await any_app.send("GET", f"{path}{mark}cursor={cursor(FORGED[case])}", EVERYBODY)
            assert reply.status in (200, 400)
            assert b"fabrikam" not in reply.content

    @pytest.mark.parametrize("text", ["%00", "%C3%A9", "a", "=", "x" * 2048, "%F0%9F%98%80"])
    async def test_that_is_no_base64_is_refused(self, any_app: App, text: str) -> None:
        for path in PAGED:
            reply = await any_app.send("GET", f"{path}{'&' if '?' in path else '?'}cursor={text}", EVERYBODY)
            assert (reply.code, reply.fields) == ((400, "invalid-input"), ["cursor"])


@pytest.mark.parametrize("limit", ["0", "-1", "1e9", "1000000000", "9" * 4000, "201", "ten", "1.5", "NaN", "true"])
@pytest.mark.parametrize(
    "operation", [name for name, route in BY_NAME.items() if route.query and "limit" in route.query.model_fields]
)
async def test_a_limit_out_of_bounds_is_refused(memory_app: App, operation: str, limit: str) -> None:
    route = BY_NAME[operation]
    reply = await memory_app.send(route.method, f"{path_of(route, 'x')}?limit={limit}", EVERYBODY)
    assert (reply.code, reply.fields) == ((400, "invalid-input"), ["limit"])


@pytest.mark.parametrize("operation", [name for name, route in BY_NAME.items() if route.query])
async def test_a_filter_without_a_value_is_refused_and_not_passed_over(memory_app: App, operation: str) -> None:
    route = BY_NAME[operation]
    for name in texts_in(route.query):
        for given in (f"{name}=", name, f"{name}=&limit=5" if name != "limit" else f"{name}=&sort=name"):
            reply = await memory_app.send(route.method, f"{path_of(route, 'x')}?{given}", EVERYBODY)
            assert (reply.code, reply.fields) == ((400, "invalid-input"), [name])


BOMBS: dict[str, bytes] = {
    "deep list": b"[" * 60_000,
    "deep object": b'{"a":' * 10_000,
    "deep inside": b'{"metadata": ' + b'{"a": ' * 5_000 + b"1" + b"}" * 5_001,
    "wide": b'{"metadata": {' + b",".join(b'"k%d": ""' % number for number in range(3_000)) + b"}}",
    "wide list": b'{"marketplaces": [' + b",".join([b'"a"'] * 10_000) + b"]}",
    "twice the same": b'{"name": "a", "name": "b", "type": "generic-secret", "value": "v"}',
    "twice the same inside": b'{"name": "a", "type": "generic-secret", "value": "v", "metadata": {"a": "1", "a": "2"}}',
    "NaN": b'{"policy": {"maxLeases": NaN}}',
    "Infinity": b'{"policy": {"maxLeases": -Infinity}}',
    "a huge number": b'{"policy": {"maxLeases": 1e999}}',
    "a long number": b'{"policy": {"maxLeases": ' + b"9" * 60_000 + b"}}",
    "half a surrogate": b'{"name": "\\ud800", "type": "generic-secret", "value": "v"}',
    "an unending string": b'{"name": "' + b'\\"' * 30_000,
    "many quotes": b'"' * 60_001,
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "broken UTF-8": b'{"name": "\xff"}',
    "a list": b"[]",
    "a string": b'"value"',
    "null": b"null",
    "two documents": b"{}{}",
    "a comment": b"{} // x",
    "nothing but spaces": b"   ",
}


@pytest.mark.parametrize("operation", [name for name, route in BY_NAME.items() if route.body])
@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_json_bomb_is_refused(memory_app: App, operation: str, bomb: str) -> None:
    route = BY_NAME[operation]
    headers = {"If-Match": '"x.0"'} if route.takes_if_match else {}
    reply = await memory_app.send(route.method, path_of(route, "x"), EVERYBODY, BOMBS[bomb], headers)
    assert reply.code == (400, "invalid-input")


@pytest.mark.parametrize("operation", BY_NAME)
async def test_a_value_in_a_query_is_refused_and_not_repeated(operation: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    furnished = Furnished()
    mark = "&" if "?" in SUCCESSES[operation].path else "?"
    for name in ("value", "fields", "fields.value", "token", CANARY):
        reply = await furnished.ask(operation, extra=f"{mark}{name}={CANARY}")
        assert reply.code == (400, "invalid-input")
        assert CANARY.encode() not in reply.content
        assert CANARY not in str(reply.headers)
    assert CANARY not in caplog.text
    assert CANARY not in str(await furnished.world.audit())


@pytest.mark.parametrize("operation", BY_NAME)
async def test_a_header_or_query_too_long_is_refused(operation: str) -> None:
    furnished = Furnished()
    mark = "&" if "?" in SUCCESSES[operation].path else "?"
    longest = {"X-Padding": "x" * 16 * 1024}
    assert (await furnished.ask(operation, headers=longest | {"If-Match": '"x.0"'})).status != 400
    too_long = {"X-Padding": "x" * (16 * 1024 + 1)}
    assert (await furnished.ask(operation, headers=too_long)).code == (400, "invalid-input")
    assert (await furnished.ask(operation, extra=f"{mark}x={'x' * 5000}")).code == (400, "invalid-input")
    assert (await furnished.ask(operation, extra=mark + "&".join(f"x{n}=1" for n in range(65)))).status == 400


UNKNOWN: list[tuple[dict[str, Any], str]] = [
    ({"policy": {"max_leases": 1}}, "policy.max_leases"),
    ({"policy": {"maxleases": 1}}, "policy.maxleases"),
    ({"policy": {"allowedIdentities": [{"type": "any", "role": "x"}]}}, "policy.allowedIdentities.0.role"),
    ({"valid_until": None}, "valid_until"),
    ({"ownerId": "id-bob"}, "ownerId"),
    ({"tenant": "fabrikam"}, "tenant"),
    ({"id": "x"}, "id"),
    ({"__proto__": {}}, "?"),
]


@pytest.mark.parametrize(("unknown", "field"), UNKNOWN)
async def test_an_unknown_field_at_any_depth_is_refused(memory_app: App, unknown: dict[str, Any], field: str) -> None:
    reply = await memory_app.send("POST", "/credentials", ALICE, SECRET | unknown)
    assert (reply.code, reply.fields) == ((400, "invalid-input"), [field])


BENT: list[Callable[[str], dict[str, Any]]] = [
    lambda text: {"name": text + "\x00"},
    lambda text: {text: 1},
    lambda text: {"value": [text]},
    lambda text: {"value": {"x": text}},
    lambda text: {"type": text},
    lambda text: {"metadata": {"password": text}},
    lambda text: {"metadata": {"a": [text]}},
    lambda text: {"policy": {"maxLeaseTTL": text}},
    lambda text: {"policy": {"allowedIdentities": [{"type": text}]}},
    lambda text: {"type": "database-url", "value": f"postgresql://u:{text}@:99999/db"},
    lambda text: {"type": "oauth-token", "value": f"{text}.{text}.{text}\n"},
    lambda text: {"type": "ssh-key", "fields": {"privateKey": text, "passphrase": text}, "value": None},
    lambda text: {"type": "tls-certificate", "value": json.dumps({"certificate": text})},
    lambda text: {"value": None, "fields": {text: text}},
]


@pytest.mark.parametrize("bend", BENT)
async def test_a_refusal_repeats_nothing_of_what_it_refuses(
    memory_app: App, bend: Callable[[str], dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reply = await memory_app.send("POST", "/credentials", ALICE, SECRET | bend(CANARY))
    assert reply.status in (400, 422)
    assert CANARY.encode() not in reply.content
    assert CANARY not in caplog.text
    assert CANARY not in str((await memory_app.send("GET", "/audit", OTTO)).content)


async def test_a_lease_is_refused_as_another_purpose_or_person(memory_app: App) -> None:
    await memory_app.world.create_for_agents()
    for claim in ({"identity": {"type": "agent", "id": "x", "name": "deploy-x"}}, {"tenant": "fabrikam"}, {"now": 1}):
        reply = await memory_app.send("POST", "/leases", DEPLOY_AGENT, {"credential": "db-password"} | claim)
        assert reply.code == (400, "invalid-input")

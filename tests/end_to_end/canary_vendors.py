"""The story of the canaries that vendors are asked about, of secrets that sign, and of events that are sent out."""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any

from local.key_vault.faults import Fault
from tests.end_to_end.canary_story import OUTAGES, Answer, Story
from tests.end_to_end.echoing_vendor import EchoingVendor

VENDOR = "northwind-vendor"
KEY = {"id": "apiKey", "label": "API key", "type": "password", "minLength": 12}
NOTE = {"id": "account", "label": "Account", "type": "text", "secret": False, "required": False}
CODE = {"id": "code", "label": "Code", "type": "text", "pattern": r"[A-Z]{4}", "required": False}
_QUIET_SECONDS = 2


async def subscribe_to_everything(story: Story, vendor: EchoingVendor) -> None:
    """Let the receiver have every event from now on."""
    wish = {"url": f"{vendor.url}/events", "events": ["*"]}
    created = await story.call("POST", "/subscriptions", wish, by="ada", Idempotency_Key="everything")
    assert created.status == 201
    one = f"/subscriptions/{created.body['id']}"
    for path in (f"{one}/rotate-secret", f"{one}/test"):
        assert (await story.call("POST", path, {}, by="ada")).status == 200
    await story.call("POST", "/subscriptions", wish, by="ada", Idempotency_Key="everything")


async def tell_of_vendors(story: Story, vendor: EchoingVendor) -> None:
    configuration = await _define(story, vendor)
    await _create(story, vendor, configuration)
    await _change(story, vendor, configuration)
    await _ask_bad_vendors(story, vendor)
    for fault in OUTAGES:
        await _outage(story, vendor, configuration, fault)
    await _misplace(story)
    for path in ("/subscriptions", f"/configurations/{configuration}", "/configurations", "/summary"):
        for by in ("ada", "alice", VENDOR, "mallory"):
            await story.call("GET", path, by=by)


async def receive_everything(story: Story, vendor: EchoingVendor) -> None:
    """Have what waits for the receiver delivered, until nothing more comes."""
    known = -1
    while known < len(vendor.told):
        known = len(vendor.told)
        await story.unknown("POST", "/admin/functions/deliver_events", {})
        for _ in range(_QUIET_SECONDS * 10):
            await asyncio.sleep(0.1)


def _definition(vendor: EchoingVendor, path: str = "/validate", *fields: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"url": f"{vendor.url}{path}", "timeoutSeconds": 5}
    about = {"name": "Canary mail", "audience": ["contoso"], "scope": "products", "products": ["canary-mail"]}
    return about | {"fields": [KEY, NOTE, CODE, *fields], "validation": endpoint}


async def _define(story: Story, vendor: EchoingVendor) -> str:
    """What a vendor does: define, try, publish, rotate its secret."""
    wanted = _definition(vendor)
    for _ in range(2):  # the second is the repeat of the first
        created = await story.call("POST", "/configurations", wanted, by=VENDOR, Idempotency_Key="configuration")
        assert created.status == 201
    one = f"/configurations/{created.body['id']}"
    good = _good(story, vendor)
    for fields in ({"apiKey": story.new()}, {"apiKey": good, "account": story.new()}):
        assert (await story.call("POST", f"{one}/test", {"fields": fields}, by=VENDOR)).status == 200
    for wrong in ({"apiKey": ""}, {story.new(): story.new()}, {"apiKey": good, "code": story.new()}):
        assert (await story.call("POST", f"{one}/test", {"fields": wrong}, by=VENDOR)).status == 422
    assert (await story.call("POST", f"{one}/publish", {}, by=VENDOR)).status == 200
    assert (await story.call("POST", f"{one}/rotate-secret", {}, by=VENDOR)).status == 200
    for by in (VENDOR, "alice"):
        for path in (one, f"{one}/versions"):
            assert (await story.call("GET", path, by=by)).status == 200
    return str(created.body["id"])


async def _create(story: Story, vendor: EchoingVendor, configuration: str) -> None:
    """Credentials that are made from it: refused by the vendor, by the fields' own rules, and accepted."""
    wanted = {"name": "canary-mail", "configuration": {"id": configuration}}
    for _ in range(3):
        refused = await _post(story, "?validate=true", wanted | {"fields": {"apiKey": story.new()}})
        assert (refused.status, refused.body["code"], len(refused.body["errors"])) == (422, "value-refused", 20)
    for fields in (
        {"apiKey": f"{story.new()}\x07"},
        {"apiKey": story.new() * 900},
        {"apiKey": story.new(), "code": story.new()},
        {"apiKey": story.new(), story.new(): story.new()},
        {"account": story.new()},
    ):
        assert (await _post(story, "?validate=true", wanted | {"fields": fields})).status == 422
    for wrong in (
        {"fields": {"apiKey": [story.new()]}},
        {"fields": story.new()},
        {"value": story.new(), "fields": {"apiKey": story.new()}},
        {"configuration": {"id": story.new()}, "fields": {"apiKey": story.new()}},
        {"configuration": {"id": configuration, story.new(): 1}, "fields": {"apiKey": story.new()}},
    ):
        assert (await _post(story, "?validate=true", wanted | wrong)).status == 400
    good = {"apiKey": _good(story, vendor), "account": story.new()}
    for _ in range(2):
        made = await _post(story, "?validate=true", wanted | {"fields": good}, Idempotency_Key="canary-mail")
        assert (made.status, made.body["validation"]["status"]) == (201, "valid")


async def _change(story: Story, vendor: EchoingVendor, configuration: str) -> None:
    """What becomes of it: rotated, found invalid, moved on to another version, leased by what it is for."""
    one = "/credentials/canary-mail"
    refused = await story.call("POST", f"{one}/rotate?validate=true", {"fields": {"apiKey": story.new()}})
    assert refused.status == 422
    assert (await story.call("POST", f"{one}/validate")).status == 429
    assert (await story.call("POST", f"{one}/rotate", {"fields": {"apiKey": story.new()}})).status == 200
    place = "product=canary-mail&environment=production"
    assert (await story.call("GET", f"/credentials/resolve?{place}&marketplace=de")).status == 200
    assert (await story.call("POST", "/leases", {"product": "canary-mail", "environment": "production"})).status == 201
    await _republish(story, vendor, configuration)
    for fields, status in (({"pin": ""}, 422), ({"pin": story.new(), story.new(): ""}, 422), ({}, 422)):
        assert (await story.call("POST", f"{one}/upgrade", {"fields": fields})).status == status
    assert (await story.call("POST", f"{one}/upgrade", {"fields": {"pin": story.new()}})).status == 200
    await story.call("POST", "/credentials", {"name": "asked", "configuration": {"id": configuration}} | _filled(story))
    asked = await story.call("POST", "/credentials/asked/validate")
    assert (asked.status, asked.body["check"]["status"]) == (200, "invalid")
    await story.unknown("POST", "/admin/functions/check_credentials", {})
    for path in (one, f"{one}/validations", "/credentials/asked", "/credentials/asked/validations"):
        for by in ("alice", "mona"):
            assert (await story.call("GET", path, by=by)).status == 200
    assert (await story.call("GET", "/credentials?validation=invalid")).status == 200


async def _republish(story: Story, vendor: EchoingVendor, configuration: str) -> None:
    path = f"/configurations/{configuration}"
    tag = (await story.call("GET", path, by=VENDOR)).headers["ETag"]
    pin = {"id": "pin", "label": "Pin", "type": "password"}
    wanted = _definition(vendor, "/validate", pin)
    assert (await story.call("PUT", path, wanted, by=VENDOR, If_Match=tag)).status == 200
    assert (await story.call("POST", f"{path}/publish", {}, by=VENDOR)).status == 200


async def _ask_bad_vendors(story: Story, vendor: EchoingVendor) -> None:
    """Endpoints that answer with anything but an answer: nothing of it is shown, and none is published."""
    for path in ("/unreadable", "/broken", "/elsewhere", "/nowhere"):
        wanted = _definition(vendor, path) | {"name": "Bad"}
        one = f"/configurations/{(await story.call('POST', '/configurations', wanted, by=VENDOR)).body['id']}"
        tried = await story.call("POST", f"{one}/test", {"fields": {"apiKey": story.new()}}, by=VENDOR)
        assert tried.body["status"] == "unknown"
        assert (await story.call("POST", f"{one}/publish", {}, by=VENDOR)).status == 409
        assert (await story.call("DELETE", one, by=VENDOR)).status == 204


async def _outage(story: Story, vendor: EchoingVendor, configuration: str, fault: Fault) -> None:
    """A Key Vault that does not answer, or refuses: secrets that sign, and values that a vendor is asked about."""
    name = f"mail-{fault.kind}-{fault.status}"
    wanted = {"name": name, "configuration": {"id": configuration}} | _filled(story)
    await story.call("POST", "/credentials", wanted)
    for method, by, path, body in (
        ("PUT", VENDOR, "/configurations", _definition(vendor) | {"name": name}),
        ("PUT", "ada", "/subscriptions", {"url": f"{vendor.url}/events", "events": ["value.*"], "enabled": False}),
        ("GET", "alice", f"/credentials/{name}/validate", None),
        ("GET", "alice", "/credentials?validate=true", wanted | {"name": f"{name} anew"} | _filled(story)),
    ):
        story.cloud.key_vault.faults.add(fault.model_copy(update={"method": method}))
        await story.call("POST", path, body, by=by)
        story.cloud.key_vault.faults.clear()


async def _misplace(story: Story) -> None:
    """A value where an id, a selector or a filter belongs, and where a definition has no place for it."""
    text = urllib.parse.quote(story.new(), safe="")
    for path in (f"/configurations/{text}", f"/subscriptions/{text}", f"/configurations?cursor={text}"):
        for by in (VENDOR, "ada"):
            assert (await story.call("GET", path, by=by)).status in (400, 403, 404)
    for query in (f"product={text}&environment=production", f"product=x&environment=test&marketplace={text}"):
        assert (await story.call("GET", f"/credentials/resolve?{query}")).status == 400
    for name in ("validation", "configuration", "rotation"):
        await story.call("GET", f"/credentials?{name}={text}")
    await story.call("POST", "/leases", {"product": story.new(), "environment": story.new()})
    wrong = {"name": story.new() * 9, "fields": [KEY | {"default": story.new()}], "validation": {"url": story.new()}}
    assert (await story.call("POST", "/configurations", wrong, by=VENDOR)).status == 400
    assert (
        await story.call("POST", "/subscriptions", {"url": story.new(), "events": [story.new()]}, by="ada")
    ).status == 400


def _filled(story: Story) -> dict[str, Any]:
    return {"fields": {"apiKey": story.new(), "pin": story.new()}}


def _good(story: Story, vendor: EchoingVendor) -> str:
    text = story.new()
    vendor.good.add(text)
    return text


async def _post(story: Story, query: str, body: dict[str, Any], **headers: str) -> Answer:
    return await story.call("POST", f"/credentials{query}", body, **headers)

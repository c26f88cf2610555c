"""The sample vendor, called as the vault calls it and steered as the demo and tests steer it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from local.cloud import LocalCloud
from local.ports import Ports
from local.serving import serving
from local.vendor import Conduct, SampleVendor

pytestmark = pytest.mark.slow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class Caller:
    """Calls a vendor; signs with a secret when it has one."""

    def __init__(self, vendor: SampleVendor, session: aiohttp.ClientSession) -> None:
        self.vendor = vendor
        self.secrets: list[str] = []
        self._session = session

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        url = f"{self.vendor.url}{path}"
        async with self._session.request(method, url, data=body, headers=headers) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

    async def put(self, path: str, body: object) -> tuple[int, Any]:
        return await self.call("PUT", path, json.dumps(body).encode())

    async def post(self, path: str, body: object, *, age: timedelta = timedelta()) -> tuple[int, Any]:
        content = json.dumps(body)
        return await self.call("POST", path, content.encode(), **self.signed(content, datetime.now(UTC) - age))

    def signed(self, content: str, at: datetime) -> dict[str, str]:
        signatures = [Webhook(secret).sign("msg_1", at, content) for secret in self.secrets]
        stamp = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp()))}
        return stamp | ({"webhook-signature": " ".join(signatures)} if signatures else {})

    async def validate(self, age: timedelta = timedelta(), **values: object) -> tuple[int, Any]:
        return await self.post("/validate", {"type": "credential.validation", "data": {"values": values}}, age=age)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    port = Ports.any_free().claimed().vendor
    vendor = SampleVendor(f"http://127.0.0.1:{port}")
    async with serving(vendor.application(), port), aiohttp.ClientSession() as session:
        yield Caller(vendor, session)


async def test_the_local_cloud_has_a_vendor_that_answers(local_parts: LocalCloud) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{local_parts.vendor.url}/calls") as answer:
        assert (answer.status, set(await answer.json())) == (200, {"calls"})


class TestValidation:
    async def test_a_value_with_its_prefix_among_the_values_is_valid(self, caller: Caller) -> None:
        assert await caller.validate(account="a-1", apiKey="nw_live_123") == (200, {"valid": True})

    async def test_other_values_are_invalid_and_not_repeated(self, caller: Caller) -> None:
        status, answer = await caller.validate(account="canary-1", apiKey="canary-2", number=7)
        assert (status, answer["valid"]) == (200, False)
        assert [error["field"] for error in answer["errors"]] == ["account", "apiKey", "number"]
        assert "canary" not in json.dumps(answer)

    async def test_calls_are_counted(self, caller: Caller) -> None:
        await caller.validate(apiKey="nw_live_123")
        await caller.validate(apiKey="x")
        assert await caller.call("GET", "/calls") == (200, {"calls": 2})
        assert caller.vendor.calls == 2

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"data": []}', b'{"data": {"values": 1}}'])
    async def test_what_is_no_question_is_refused(self, caller: Caller, body: bytes) -> None:
        assert (await caller.call("POST", "/validate", body))[0] == 400


class TestSignatures:
    @pytest.fixture(autouse=True)
    async def _with_secrets(self, caller: Caller) -> None:
        assert (await caller.put("/secret", {"secret": SECRET}))[0] == 204
        assert (await caller.put("/events-secret", {"secret": OTHER_SECRET}))[0] == 204

    async def test_a_signed_question_is_answered(self, caller: Caller) -> None:
        caller.secrets = [SECRET]
        assert await caller.validate(apiKey="nw_live_123") == (200, {"valid": True})

    async def test_one_signature_of_two_is_enough(self, caller: Caller) -> None:
        caller.secrets = [OTHER_SECRET, SECRET]
        assert (await caller.validate(apiKey="nw_live_123"))[0] == 200

    @pytest.mark.parametrize("secrets", [[], [OTHER_SECRET]], ids=["no secret", "another secret"])
    async def test_a_question_without_its_signature_is_refused(self, caller: Caller, secrets: list[str]) -> None:
        caller.secrets = secrets
        assert (await caller.validate(apiKey="nw_live_123"))[0] == 401

    @pytest.mark.parametrize("minutes", [-6, 6])
    async def test_a_question_of_another_time_is_refused(self, caller: Caller, minutes: int) -> None:
        caller.secrets = [SECRET]
        assert (await caller.validate(timedelta(minutes=minutes), apiKey="nw_live_123"))[0] == 401

    async def test_a_changed_question_is_refused(self, caller: Caller) -> None:
        caller.secrets = [SECRET]
        headers = caller.signed("{}", datetime.now(UTC))
        assert (await caller.call("POST", "/validate", b"{ }", **headers))[0] == 401
        assert (await caller.call("POST", "/validate", b"{}", **headers))[0] == 200
        assert (await caller.call("POST", "/validate", b"{}", **headers | {"webhook-id": "msg_2"}))[0] == 401

    @pytest.mark.parametrize("timestamp", ["", "now", "-1", "²", "9" * 400, "1e9"])
    async def test_a_timestamp_that_is_none_is_refused(self, caller: Caller, timestamp: str) -> None:
        headers = {"webhook-id": "msg_1", "webhook-timestamp": timestamp, "webhook-signature": "v1,é"}
        assert (await caller.call("POST", "/validate", b"{}", **headers))[0] == 401

    async def test_an_event_says_whether_it_was_verified(self, caller: Caller) -> None:
        caller.secrets = [OTHER_SECRET]
        assert (await caller.post("/events", {"type": "credential.rotated", "data": {"id": "c1"}}))[0] == 204
        caller.secrets = [SECRET]
        assert (await caller.post("/events", {"type": "credential.rotated", "data": {"id": "c2"}}))[0] == 401
        assert [event["verified"] for event in caller.vendor.events] == [True, False]

    async def test_a_secret_is_withdrawn(self, caller: Caller) -> None:
        await caller.put("/secret", {"secret": None})
        assert (await caller.validate(apiKey="nw_live_123"))[0] == 200


class TestEvents:
    async def test_what_is_received_is_listed_in_order_and_cleared(self, caller: Caller) -> None:
        for number in (1, 2):
            assert (await caller.post("/events", {"type": "credential.rotated", "data": {"n": number}}))[0] == 204
        status, events = await caller.call("GET", "/events")
        told = {"id": "msg_1", "type": "credential.rotated", "verified": False}
        assert (status, events) == (200, [told | {"data": {"n": 1}}, told | {"data": {"n": 2}}])
        assert (await caller.call("DELETE", "/events"))[0] == 204
        assert await caller.call("GET", "/events") == (200, [])

    async def test_what_is_no_event_is_refused(self, caller: Caller) -> None:
        assert (await caller.call("POST", "/events", b"[]"))[0] == 400
        assert not caller.vendor.events


class TestConduct:
    async def test_it_accepts_another_prefix(self, caller: Caller) -> None:
        await caller.put("/accepts", {"prefix": "nw_v2_"})
        assert [(await caller.validate(apiKey=key))[1]["valid"] for key in ("nw_v2_1", "nw_live_1")] == [True, False]

    async def test_it_calls_everything_valid(self, caller: Caller) -> None:
        await caller.put("/accepts", {"acceptsAll": True})
        assert await caller.validate(apiKey="anything") == (200, {"valid": True})

    async def test_it_is_broken_until_it_is_mended(self, caller: Caller) -> None:
        await caller.put("/accepts", {"broken": True})
        assert (await caller.validate(apiKey="nw_live_1"))[0] == 500
        assert (await caller.post("/events", {"type": "t"}))[0] == 500
        await caller.put("/accepts", {})
        assert (await caller.validate(apiKey="nw_live_1"))[0] == 200
        assert not caller.vendor.events

    async def test_it_lets_a_caller_wait(self, caller: Caller) -> None:
        caller.vendor.conduct = Conduct(delay_seconds=60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.validate(apiKey="nw_live_1"), 0.2)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/accepts", {"mood": "canary"}),
            ("/accepts", {"delaySeconds": 61}),
            ("/secret", {"secret": "whsec_canary"}),
            ("/secret", {"secret": f"whsec_canary{'é' * 40}"}),
            ("/events-secret", {"secret": f"whsec_canary{'!' * 40}"}),
        ],
        ids=["an unknown name", "too slow", "a short secret", "not ASCII", "not base64"],
    )
    async def test_what_it_cannot_do_is_refused_and_not_repeated(self, caller: Caller, path: str, body: object) -> None:
        status, answer = await caller.put(path, body)
        assert status == 400
        assert "canary" not in json.dumps(answer)

    async def test_a_reset_makes_it_as_it_was_at_the_start(self, caller: Caller) -> None:
        await caller.put("/accepts", {"prefix": "x"})
        await caller.put("/secret", {"secret": SECRET})
        await caller.post("/events", {"type": "t"})
        caller.vendor.reset()
        assert await caller.validate(apiKey="nw_live_123") == (200, {"valid": True})
        assert (caller.vendor.calls, list(caller.vendor.events)) == (1, [])

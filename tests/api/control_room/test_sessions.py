"""Logging in and out as clients do: over the routes, with the identity provider's tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.api.app import Reply
from tests.api.control_room.app import Room, refusal
from tests.api.control_room.test_login import Provider, error
from tests.api.test_authentication import GOOD, NOW, REFUSED, SETTINGS, KeyServer
from tests.vaults import World
from vault_core.api.authentication import TokenAuthenticator

SECRET = "a client secret"
LOGIN = {"username": "alice", "password": SECRET}


def room_of(provider: Provider | None = None) -> Room:
    """A room that believes the identity provider's tokens, at a time when they are good."""
    world = World()
    world.clock.now = NOW
    return Room(world, TokenAuthenticator(SETTINGS, KeyServer().fetch), provider)


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def signed(provider: Provider) -> Room:
    return room_of(provider)


async def log_in(room: Room, body: Any = LOGIN, version: str = "v2", **headers: str) -> Reply:
    return await room.send("POST", f"/{version}/authentication", None, body, headers)


@pytest.mark.parametrize("version", ["v1", "v2"])
class TestALogin:
    async def test_gives_the_providers_token_and_whose_it_is(self, signed: Room, version: str) -> None:
        reply = await log_in(signed, version=version)
        assert reply.status == 200
        assert reply["token"] == GOOD
        user = reply["user"]
        assert user.keys() == {
            "id",
            "email",
            "username",
            "domain",
            "firstName",
            "lastName",
            "roles",
            "permissions",
        }
        assert (user["id"], user["domain"], user["permissions"]) == ("alice-sub", "contoso", [])
        assert user["roles"] == [{"id": "user", "name": "user"}]

    @pytest.mark.parametrize(
        "body",
        [
            {"username": "alice", "apiKey": SECRET},
            {"Username": "alice", "Password": SECRET},
            {"Username": "alice", "ApiKey": SECRET, "Password": None},
            LOGIN | {"multipleLogin": True, "mfaCode": None, "Colour": 1},
            {"username": "contoso\\alice", "password": SECRET},
        ],
        ids=["api key", "pascal case", "pascal case with a null", "unknown names", "with the tenant"],
    )
    async def test_is_read_in_every_form(self, signed: Room, provider: Provider, version: str, body: Any) -> None:
        assert (await log_in(signed, body, version)).status == 200
        [(_, form)] = provider.sent
        assert (form["client_id"], form["client_secret"]) == ("alice", SECRET)

    @pytest.mark.parametrize(
        "body",
        [
            LOGIN | {"apiKey": "k"},
            {"username": "alice"},
            {"password": SECRET},
            {"username": "", "password": SECRET},
            {"username": "alice", "password": {"a": SECRET}},
            {"username": "alice", "password": SECRET * 400},
            [LOGIN],
            b"",
            b"username=alice",
        ],
        ids=["both", "no secret", "no name", "empty name", "an object", "too long", "a list", "nothing", "a form"],
    )
    async def test_that_is_malformed_is_refused_unasked(
        self, signed: Room, provider: Provider, version: str, body: Any
    ) -> None:
        reply = await log_in(signed, body, version)
        assert refusal(reply) == (400, "invalid-input")
        assert provider.sent == []
        assert SECRET not in reply.content.decode()

    async def test_with_a_bad_secret_is_refused(self, signed: Room, provider: Provider, version: str) -> None:
        provider.status, provider.answer = 401, error("invalid_client")
        reply = await log_in(signed, version=version)
        assert refusal(reply) == (401, "unauthenticated")
        unknown = await log_in(signed, LOGIN | {"username": "nowhere\\alice"}, version)
        assert unknown.body == reply.body

    async def test_while_the_provider_is_down_may_be_tried_again(
        self, signed: Room, provider: Provider, version: str
    ) -> None:
        provider.down = True
        reply = await log_in(signed, version=version)
        assert refusal(reply) == (503, "unavailable")
        assert int(reply.headers["Retry-After"]) >= 1

    async def test_needs_no_token_and_minds_none(self, signed: Room, version: str) -> None:
        assert (await log_in(signed, version=version, **{"X-Authorization": "x.y.z"})).status == 200


class TestTheToken:
    async def test_of_a_login_is_good_for_the_vault(self, signed: Room) -> None:
        token = (await log_in(signed))["token"]
        for headers in ({"X-Authorization": token}, {"Authorization": f"Bearer {token}"}):
            assert (await signed.send("POST", "/credentials/list", headers=headers)).status == 200

    async def test_makes_subject_and_object_id_mean_the_same_person(self, signed: Room) -> None:
        proof = {"X-Authorization": GOOD}
        attributes = [{"name": "pin", "userProvided": True}]
        body = {"name": "Bank", "attributes": attributes}
        created = (await signed.send("POST", "/credentials", None, body, proof)).body
        values = f"/credentials/{created['id']}/attributevalues"
        given = {"list": [{"credentialAttributeId": created["attributes"][0]["id"], "value": "1"}]}
        assert (await signed.send("POST", values, None, given, proof)).status == 200
        for user, found in (("alice-sub", 1), ("alice-oid", 1), ("bob-sub", 0)):
            reply = await signed.send("GET", f"{values}?userId={user}", None, None, proof)
            assert len(reply["list"]) == found

    @pytest.mark.parametrize("case", [case for case in REFUSED if case != "too long"])
    async def test_that_is_bad_is_refused_and_told_to_be(self, signed: Room, case: str) -> None:
        bad = REFUSED[case][0]
        refused = await signed.send("POST", "/credentials/list", headers={"X-Authorization": bad})
        assert refusal(refused) == (401, "unauthenticated")
        alike = await signed.send("POST", "/credentials/list", headers={"X-Authorization": "x.y.z"})
        assert refused.body == alike.body
        assert signed.world.ledger.total == 0

    async def test_is_checked_on_request(self, signed: Room) -> None:
        path = "/v1/authentication/token?token="
        assert (await signed.send("GET", path + GOOD)).body == {"valid": True}
        for bad in ("x", "x.y.z", GOOD[:-4], GOOD.upper(), "Bearer%20" + GOOD):
            assert (await signed.send("GET", path + bad)).body == {"valid": False}
        signed.world.clock.now += timedelta(days=1)
        assert (await signed.send("GET", path + GOOD)).body == {"valid": False}

    @pytest.mark.parametrize("query", ["", "?token=", "?token=a&token=b", "?token=" + "x" * 9000], ids=len)
    async def test_to_check_is_needed_once(self, signed: Room, query: str) -> None:
        reply = await signed.send("GET", f"/v1/authentication/token{query}")
        assert refusal(reply) == (400, "invalid-input")

    @pytest.mark.parametrize("version", ["v1", "v2"])
    @pytest.mark.parametrize("body", [None, {"token": GOOD}], ids=["nothing", "a token"])
    async def test_cannot_be_renewed_without_its_secret(self, signed: Room, version: str, body: Any) -> None:
        reply = await signed.send("POST", f"/{version}/authentication/token", None, body)
        assert refusal(reply) == (501, "not-supported")
        assert "log in again" in reply["message"]

    async def test_outlives_a_logout(self, signed: Room) -> None:
        proof = {"X-Authorization": GOOD}
        for headers in (proof, {}):
            assert (await signed.send("POST", "/v1/authentication/logout", headers=headers)).status == 204
        assert (await signed.send("POST", "/credentials/list", headers=proof)).status == 200

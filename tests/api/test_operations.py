"""Every operation as its callers meet it. What holds for all of them is asked of each route of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from tests.api.app import BY_NAME, App, Reply
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, LOLA, MONA, OTTO, VIC, World, person
from vault_core import errors
from vault_core.audit import Event
from vault_core.identities import Caller
from vault_core.stores import Stores

NOBODY = person("nobody")
NO_STORE = "no-store"
API_KEY = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that succeeds in the furnished world; `{lease}` in the path is the agent's lease.

    With `needs_tag` it is sent with the tag of what its path names.
    """

    path: str
    caller: Caller | None
    body: Any = None
    needs_tag: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


ONE = "/credentials/db-password"
LOCKER = "/lockers/shop"
SUCCESSES = {
    "create_credential": Ask("/credentials", BOB, {"name": "stripe", "type": "api-key", "value": API_KEY}, status=201),
    "list_credentials": Ask("/credentials?sort=-name&limit=200", MONA),
    "read_credential": Ask(ONE, ALICE),
    "update_credential": Ask(ONE, ALICE, {"description": "of the shop"}, needs_tag=True),
    "delete_credential": Ask(ONE, ALICE, status=204),
    "rotate_credential": Ask(f"{ONE}/rotate", ALICE, {"value": "battery staple"}),
    "revoke_credential": Ask(f"{ONE}/revoke", ALICE, {"reason": "it leaked"}),
    "suspend_credential": Ask(f"{ONE}/suspend", ALICE, {"reason": "a pause"}),
    "resume_credential": Ask(f"{ONE}/resume", ALICE),
    "transfer_credential": Ask(f"{ONE}/owner/id-bob", LOLA),
    "list_versions": Ask(f"{ONE}/versions", ALICE),
    "set_own_values": Ask("/credentials/portal/own-values", ALICE, {"fields": {"pin": "correct horse"}}),
    "remove_own_values": Ask("/credentials/portal/own-values", ALICE, status=204),
    "create_locker": Ask("/lockers", BOB, {"name": "finance", "description": "of the office"}, status=201),
    "list_lockers": Ask("/lockers?limit=200", ALICE),
    "read_locker": Ask(LOCKER, ALICE),
    "replace_locker": Ask(LOCKER, ALICE, {"name": "Shop", "description": "of the shop"}, needs_tag=True),
    "delete_locker": Ask(LOCKER, LOLA, status=204),
    "set_locker_member": Ask(f"{LOCKER}/members/id-bob", ALICE, {"permissions": ["manage"]}),
    "remove_locker_member": Ask(f"{LOCKER}/members/id-vic", ALICE, status=204),
    "add_locker_consumer": Ask(f"{LOCKER}/consumers/office-bots", ALICE),
    "remove_locker_consumer": Ask(f"{LOCKER}/consumers/finance-bots", ALICE, status=204),
    "list_locker_credentials": Ask(f"{LOCKER}/credentials", ALICE),
    "assign_credential": Ask(f"{LOCKER}/credentials/db-password", ALICE),
    "take_credential_out": Ask(f"{LOCKER}/credentials/portal", ALICE, status=204),
    "create_lease": Ask("/leases", DEPLOY_AGENT, {"credential": "db-password", "ttl": "5m"}, status=201),
    "list_leases": Ask("/leases?credential=db-password", ALICE),
    "read_lease": Ask("/leases/{lease}", DEPLOY_AGENT),
    "renew_lease": Ask("/leases/{lease}/renew", DEPLOY_AGENT, {"ttl": "2h"}),
    "revoke_lease": Ask("/leases/{lease}", DEPLOY_AGENT, status=204),
    "list_audit_events": Ask("/audit?event=lease.created", OTTO),
    "read_tenant": Ask("/tenant", ADA),
    "replace_tenant": Ask("/tenant", ADA, {"noticePeriod": "14d"}),
    "read_me": Ask("/me", VIC),
    "read_health": Ask("/health", None),
    "read_openapi": Ask("/openapi.json", None),
    "read_docs": Ask("/docs", None),
}
AUTHENTICATED = [name for name, route in BY_NAME.items() if not route.anonymous]
WITH_ROLES = [name for name, route in BY_NAME.items() if route.roles]
TAGGED = [name for name, route in BY_NAME.items() if route.takes_if_match]
CACHED = [name for name, route in BY_NAME.items() if 304 in route.answers]
REFERENCES = ("credential", "lease", "locker")
NAMED = [(name, one) for name, route in BY_NAME.items() for one in route.parameters if one in REFERENCES]


class Furnished:
    """An app with a credential of Alice, a lease of the agent on it, and a locker with another one in it."""

    def __init__(self) -> None:
        self.world = World()
        self.app = App(self.world)
        self.lease = ""

    async def ask(self, operation: str, **changed: Any) -> Reply:
        """Send the operation's request, changed as told; `extra` is put behind the path."""
        if not self.lease:
            await self._furnish()
        ask = SUCCESSES[operation]
        headers = dict(ask.headers) | changed.get("headers", {})
        if ask.needs_tag and "headers" not in changed:
            headers["If-Match"] = (await self.app.send("GET", ask.path, ask.caller)).etag
        path = changed.get("path", ask.path).format(lease=self.lease) + changed.get("extra", "")
        caller, body = changed.get("caller", ask.caller), changed.get("body", ask.body)
        return await self.app.send(BY_NAME[operation].method, path, caller, body, headers)

    async def _furnish(self) -> None:
        await self.world.create_for_agents(metadata={"team": "shop"})
        self.lease = (await self.world.lease()).lease.id
        attributes = [{"name": "user"}, {"name": "pin", "userProvided": True}]
        await self.world.create(name="portal", value=None, attributes=attributes)
        for method, path, body in (
            ("PUT", "/credentials/portal/own-values", {"fields": {"pin": "correct horse"}}),
            ("POST", "/lockers", {"name": "shop"}),
            ("PUT", f"{LOCKER}/members/id-vic", {"permissions": ["participate"]}),
            ("PUT", f"{LOCKER}/consumers/finance-bots", None),
            ("PUT", f"{LOCKER}/credentials/portal", None),
        ):
            assert (await self.app.send(method, path, ALICE, body)).status in (200, 201)


@pytest.fixture
def furnished() -> Furnished:
    return Furnished()


def test_every_route_is_asked() -> None:
    assert set(SUCCESSES) == set(BY_NAME)


@pytest.mark.parametrize("operation", BY_NAME)
async def test_it_answers_with_the_model_that_its_route_names(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation)
    assert reply.status == SUCCESSES[operation].status
    answer = BY_NAME[operation].answers[reply.status]
    if isinstance(answer, type) and issubclass(answer, BaseModel):
        assert reply.headers["Content-Type"] == "application/json"
        answer.model_validate_json(reply.content)  # unknown fields are refused
    elif isinstance(answer, str):
        assert reply.headers["Content-Type"] == answer
    else:
        assert reply.content == b""


@pytest.mark.parametrize("operation", BY_NAME)
async def test_its_answer_is_not_stored_and_names_the_request(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation, headers={"X-Request-Id": "r-1", "If-Match": '"x.0"'})
    assert reply.headers["Cache-Control"] == NO_STORE
    assert reply.headers["X-Request-Id"] == "r-1"


@pytest.mark.parametrize("operation", BY_NAME)
async def test_only_a_lease_shows_a_value(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation)
    shown = b"correct horse" in reply.content or API_KEY.encode() in reply.content
    assert shown is (operation == "create_lease")


@pytest.mark.parametrize("operation", AUTHENTICATED)
async def test_without_a_token_it_asks_for_one(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation, caller=None)
    assert reply.code == (401, "unauthenticated")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("operation", WITH_ROLES)
async def test_without_its_role_it_is_refused_and_recorded(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation, caller=NOBODY)
    assert reply.code == (403, "access-denied")
    event, *_ = await furnished.world.audit()
    assert (event.event, event.identity.id, event.details["operation"]) == (
        Event.ACCESS_DENIED,
        "id-nobody",
        operation,
    )


@pytest.mark.parametrize("operation", BY_NAME)
async def test_an_unknown_parameter_is_refused(furnished: Furnished, operation: str) -> None:
    extra = "&verbose=1" if "?" in SUCCESSES[operation].path else "?verbose=1"
    reply = await furnished.ask(operation, extra=extra)
    assert reply.code == (400, "invalid-input")
    assert reply.fields == ["verbose"]


@pytest.mark.parametrize("operation", BY_NAME)
async def test_an_unknown_field_is_refused(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation, body=(SUCCESSES[operation].body or {}) | {"verbose": True})
    assert reply.code == (400, "invalid-input")
    assert reply.fields == ["verbose"]


@pytest.mark.parametrize("operation", BY_NAME)
async def test_a_body_that_is_no_json_is_refused(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation, body=b"name=x", headers={"Content-Type": "text/plain"})
    assert reply.code == (415, "unsupported-media-type")


@pytest.mark.parametrize(("padding", "refused"), [(-1, False), (0, False), (1, True)])
@pytest.mark.parametrize("operation", BY_NAME)
async def test_a_body_may_have_64_kib(furnished: Furnished, operation: str, padding: int, refused: bool) -> None:
    reply = await furnished.ask(operation, body=b"{}" + b" " * (64 * 1024 - 2 + padding))
    assert (reply.status == 413) is refused
    assert not refused or reply.code == (413, "body-too-large")


@pytest.mark.parametrize(("operation", "parameter"), NAMED)
async def test_what_is_not_there_is_not_found(furnished: Furnished, operation: str, parameter: str) -> None:
    template = BY_NAME[operation].path.removeprefix("/api/v1").split("/")
    asked = SUCCESSES[operation].path.partition("?")[0].split("/")
    unknown = ["no-such" if part == f"{{{parameter}}}" else given for part, given in zip(template, asked, strict=True)]
    reply = await furnished.ask(operation, path="/".join(unknown), headers={"If-Match": '"x.0"'})
    assert reply.code == (404, "not-found")


@pytest.mark.parametrize("operation", TAGGED)
async def test_a_stale_tag_is_refused_and_changes_nothing(furnished: Furnished, operation: str) -> None:
    await furnished.ask("read_me")
    before = await furnished.world.audit()
    reply = await furnished.ask(operation, headers={"If-Match": '"123456789012.7.active"'})
    assert reply.code == (412, "stale-version")
    assert await furnished.world.audit() == before


@pytest.mark.parametrize("given", ["*", '"*"', "x", '"a", "b"', ""])
@pytest.mark.parametrize("operation", TAGGED)
async def test_a_tag_that_names_no_one_state_changes_nothing(furnished: Furnished, operation: str, given: str) -> None:
    reply = await furnished.ask(operation, headers={"If-Match": given})
    assert reply.status == (412 if given == '"*"' else 400)


NEEDING_A_TAG = [name for name in TAGGED if BY_NAME[name].needs_if_match]


def test_what_changes_a_whole_thing_cannot_do_without_a_tag() -> None:
    assert NEEDING_A_TAG == ["update_credential", "replace_locker"]


@pytest.mark.parametrize("operation", NEEDING_A_TAG)
async def test_without_a_tag_it_asks_for_one(furnished: Furnished, operation: str) -> None:
    assert (await furnished.ask(operation, headers={})).code == (428, "precondition-required")


@pytest.mark.parametrize("given", ["{}", "W/{}", '"x", {}', "*"])
@pytest.mark.parametrize("operation", CACHED)
async def test_what_is_unchanged_is_not_sent_again(furnished: Furnished, operation: str, given: str) -> None:
    tag = (await furnished.ask(operation)).etag
    reply = await furnished.ask(operation, headers={"If-None-Match": given.format(tag)})
    assert (reply.status, reply.content, reply.etag) == (304, b"", tag)


@pytest.mark.parametrize("operation", CACHED)
async def test_another_tag_gets_the_whole_answer(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation, headers={"If-None-Match": '"x"'})
    assert reply.status == 200
    assert reply.body


@pytest.mark.parametrize("operation", AUTHENTICATED)
async def test_when_no_store_answers_it_says_when_to_try_again(furnished: Furnished, operation: str) -> None:
    await furnished.ask("read_me")
    furnished.app = App(World(_Gone.stores()))
    if operation == "read_me":
        assert (await furnished.ask(operation)).status == 200
        return
    reply = await furnished.ask(operation, headers={"If-Match": '"x.0"'})
    assert reply.code == (503, "unavailable")
    assert int(reply.headers["Retry-After"]) >= 1


class _Gone:
    """A table and a secret store that do not answer."""

    @classmethod
    def stores(cls) -> Stores:
        gone: Any = cls()
        return Stores(gone, gone, gone, gone, gone)

    def __getattr__(self, name: str) -> Any:
        async def unavailable(*_: object, **__: object) -> None:
            raise errors.Unavailable("The store does not answer.")

        return unavailable

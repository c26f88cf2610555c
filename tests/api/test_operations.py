"""Every operation as its callers meet it. What holds for all of them is asked of each route of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from tests import subscribers
from tests.api.app import BY_NAME, App, Reply
from tests.portable import credential_item
from tests.vaults import ADA, ALICE, BOB, DEPLOY_AGENT, LOLA, MONA, OTTO, VIC, World, person
from tests.vendors import GOOD, NORA, definition, fill, publish, publish_anew
from vault_core import errors
from vault_core.audit import Event
from vault_core.identities import Caller
from vault_core.stores import Stores

pytestmark = pytest.mark.slow

NOBODY = person("nobody")
NO_STORE = "no-store"
API_KEY = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
SIGNING_SECRET = re.compile(rb"whsec_[A-Za-z0-9+/=]{32,}")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that succeeds in the furnished world; `{lease}` and the like in the path are of its `ids`.

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
FILLED = "/credentials/northwind"
CONFIGURATION, SUBSCRIPTION = "/configurations/{configuration}", "/subscriptions/{subscription}"
OF_VENDORS = ("/configurations", "/credentials/resolve", FILLED)
DEFINITION = definition().model_dump(mode="json", by_alias=True, exclude_none=True)
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
    "report_compromised": Ask(f"{ONE}/compromised", MONA, {"reason": "it was in a log"}),
    "transfer_credential": Ask(f"{ONE}/owner/id-bob", LOLA),
    "list_versions": Ask(f"{ONE}/versions", ALICE),
    "resolve_credential": Ask("/credentials/resolve?product=nw-mail&environment=production", ALICE),
    "upgrade_credential": Ask(f"{FILLED}/upgrade", ALICE, {"version": 2}),
    "validate_credential": Ask(f"{FILLED}/validate", ALICE),
    "list_validations": Ask(f"{FILLED}/validations", ALICE),
    "set_own_values": Ask("/credentials/portal/own-values", ALICE, {"fields": {"pin": "correct horse"}}),
    "remove_own_values": Ask("/credentials/portal/own-values", ALICE, status=204),
    "create_configuration": Ask("/configurations", NORA, DEFINITION, status=201),
    "list_configurations": Ask("/configurations?limit=200", ALICE),
    "read_configuration": Ask(CONFIGURATION, ALICE),
    "replace_configuration": Ask(CONFIGURATION, NORA, DEFINITION, needs_tag=True),
    "delete_configuration": Ask("/configurations/{draft}", NORA, status=204),
    "publish_configuration": Ask(f"{CONFIGURATION}/publish", NORA),
    "deprecate_configuration": Ask(f"{CONFIGURATION}/deprecate", NORA),
    "rotate_configuration_secret": Ask(f"{CONFIGURATION}/rotate-secret", NORA),
    "try_configuration": Ask(f"{CONFIGURATION}/test", NORA, {"fields": {"apiKey": GOOD}}),
    "list_configuration_versions": Ask(f"{CONFIGURATION}/versions", ALICE),
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
    "create_subscription": Ask("/subscriptions", ADA, {"url": subscribers.URL, "events": ["lease.*"]}, status=201),
    "list_subscriptions": Ask("/subscriptions", ADA),
    "read_subscription": Ask(SUBSCRIPTION, ADA),
    "update_subscription": Ask(SUBSCRIPTION, ADA, {"events": ["*"]}, needs_tag=True),
    "delete_subscription": Ask(SUBSCRIPTION, ADA, status=204),
    "try_subscription": Ask(f"{SUBSCRIPTION}/test", ADA),
    "rotate_subscription_secret": Ask(f"{SUBSCRIPTION}/rotate-secret", ADA),
    "list_deliveries": Ask(f"{SUBSCRIPTION}/deliveries?state=pending", ADA),
    "replay_deliveries": Ask(f"{SUBSCRIPTION}/replay", ADA),
    "read_summary": Ask("/summary", MONA),
    "list_audit_events": Ask("/audit?event=lease.created", OTTO),
    "read_tenant": Ask("/tenant", ADA),
    "replace_tenant": Ask("/tenant", ADA, {"noticePeriod": "14d"}),
    "read_data_key": Ask("/tenant/data-key", ADA),
    "rotate_data_key": Ask("/tenant/rotate-data-key", ADA),
    "read_upkeep": Ask("/upkeep", OTTO),
    "export_tenant": Ask("/tenant/export?limit=100", ADA),
    "import_tenant": Ask("/tenant/import", ADA, {"format": 1, "items": [credential_item(name="imported")]}),
    "read_me": Ask("/me", VIC),
    "read_health": Ask("/health", None),
    "read_openapi": Ask("/openapi.json", None),
    "read_docs": Ask("/docs", None),
}
AUTHENTICATED = [name for name, route in BY_NAME.items() if not route.anonymous]
WITH_ROLES = [name for name, route in BY_NAME.items() if route.roles]
TAGGED = [name for name, route in BY_NAME.items() if route.takes_if_match]
CACHED = [name for name, route in BY_NAME.items() if 304 in route.answers]
REFERENCES = ("credential", "lease", "locker", "configuration", "subscription")
NAMED = [(name, one) for name, route in BY_NAME.items() for one in route.parameters if one in REFERENCES]


SHOWING_A_SECRET = {
    "create_configuration",
    "rotate_configuration_secret",
    "create_subscription",
    "rotate_subscription_secret",
}


class Furnished:
    """An app with a credential of Alice, a lease of the agent on it, and a locker with another one in it.

    Where it matters, she made a third one from a configuration of Northwind's, of which there is a newer version and a
    draft.
    """

    def __init__(self) -> None:
        self.world = World()
        self.app = App(self.world)
        self.ids: dict[str, str] = {}

    async def ask(self, operation: str, **changed: Any) -> Reply:
        """Send the operation's request, changed as told; `extra` is put behind the path."""
        await self.furnish(operation)
        ask = SUCCESSES[operation]
        headers = dict(ask.headers) | changed.get("headers", {})
        if ask.needs_tag and "headers" not in changed:
            headers["If-Match"] = (await self.app.send("GET", ask.path.format(**self.ids), ask.caller)).etag
        path = changed.get("path", ask.path).format(**self.ids) + changed.get("extra", "")
        caller, body = changed.get("caller", ask.caller), changed.get("body", ask.body)
        return await self.app.send(BY_NAME[operation].method, path, caller, body, headers)

    async def furnish(self, operation: str) -> None:
        """Create what the operation's request needs, unless it is there."""
        if "lease" not in self.ids:
            await self._furnish()
        if "configuration" not in self.ids and SUCCESSES[operation].path.startswith(OF_VENDORS):
            await self._furnish_with_configurations()

    async def _furnish(self) -> None:
        await self.world.create_for_agents(metadata={"team": "shop"})
        self.ids["lease"] = (await self.world.lease()).lease.id
        self.ids["subscription"] = (await subscribers.subscribe(self.world)).subscription.id
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

    async def _furnish_with_configurations(self) -> None:
        configurations, now = self.world.vault.configurations, self.world.clock()
        published = await publish(self.world)
        await fill(self.world, published)
        await publish_anew(self.world, published)
        await configurations.edit(NORA, published.id, definition(), None, now)
        drafted = await configurations.create(NORA, definition(), None, now)
        self.ids |= {"configuration": published.id, "draft": drafted.configuration.id}


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
    shown = any(value.encode() in reply.content for value in ("correct horse", API_KEY, GOOD))
    assert shown is (operation == "create_lease")


@pytest.mark.parametrize("operation", BY_NAME)
async def test_only_what_makes_a_signing_secret_shows_it(furnished: Furnished, operation: str) -> None:
    reply = await furnished.ask(operation)
    assert bool(SIGNING_SECRET.search(reply.content)) is (operation in SHOWING_A_SECRET)


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
    most = 512 * 1024 if operation == "import_tenant" else 64 * 1024
    reply = await furnished.ask(operation, body=b"{}" + b" " * (most - 2 + padding))
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
    await furnished.furnish(operation)
    caller = SUCCESSES[operation].caller
    before = await furnished.world.audit(caller.tenant if caller else "")
    reply = await furnished.ask(operation, headers={"If-Match": '"123456789012.7.active"'})
    assert reply.code == (412, "stale-version")
    assert await furnished.world.audit(caller.tenant if caller else "") == before


@pytest.mark.parametrize("given", ["*", '"*"', "x", '"a", "b"', ""])
@pytest.mark.parametrize("operation", TAGGED)
async def test_a_tag_that_names_no_one_state_changes_nothing(furnished: Furnished, operation: str, given: str) -> None:
    reply = await furnished.ask(operation, headers={"If-Match": given})
    assert reply.status == (412 if given == '"*"' else 400)


NEEDING_A_TAG = [name for name in TAGGED if BY_NAME[name].needs_if_match]


def test_what_changes_a_whole_thing_cannot_do_without_a_tag() -> None:
    assert NEEDING_A_TAG == ["update_credential", "replace_configuration", "replace_locker", "update_subscription"]


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
    await furnished.furnish(operation)
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
        return Stores(gone, gone, gone, gone, gone, gone)

    def new_name(self, tenant: str) -> str:
        return f"gone/{tenant}"  # asks nobody

    def __getattr__(self, name: str) -> Any:
        async def unavailable(*_: object, **__: object) -> None:
            raise errors.Unavailable("The store does not answer.")

        return unavailable

"""Who must not get in: each of these has hurt a well-known vault. Cases are made from the route table, so that a new
route is covered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.api.app import BY_NAME, FOR_AGENTS, SECRET, App, Reply
from tests.api.test_authentication import NOW, REFUSED, SETTINGS, KeyServer, token
from tests.api.test_operations import ONE, SUCCESSES
from tests.subscribers import subscribe
from tests.vaults import ADA, ALICE, BOB, CI_RUNNER, DEPLOY_AGENT, LOLA, MONA, OTTO, World, agent, person
from tests.vendors import publish
from vault_core.api.authentication import TokenAuthenticator
from vault_core.api.routing import Route
from vault_core.identities import Caller, Role

pytestmark = pytest.mark.slow

MALLORY = person("mallory", *Role, tenant="fabrikam")  # all there is, in another tenant
TWIN = agent("deploy-agent", *Role, tenant="fabrikam")  # with the id of an agent of this one
VERA = person("vera", Role.VENDOR)
TRACED = {"X-Request-Id": "r-1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
NAMING = ("credential", "lease", "locker", "configuration", "subscription")
OTHERWISE = {"owner": "id-bob", "member": "id-bob", "role": "finance-bots"}
UNKNOWN_LEASE = f"{uuid4().hex}.n.{'0' * 32}"


def naming_in_path() -> list[str]:
    return [name for name, route in BY_NAME.items() if set(NAMING) & set(route.parameters)]


def naming_in_fields() -> list[tuple[str, str, str]]:
    return [
        (name, part, field)
        for name, route in BY_NAME.items()
        for part, model in (("query", route.query), ("body", route.body))
        for field in NAMING
        if model and field in model.model_fields
    ]


def path_of(route: Route, named: str) -> str:
    """The path of the route with this text for whatever it names."""
    return path_to(route, dict.fromkeys(NAMING, named))


def path_to(route: Route, named: Mapping[str, str]) -> str:
    """The path of the route to what is named by its parameters."""
    return route.path.removeprefix("/api/v1").format_map(OTHERWISE | dict(named))


async def ask(app: App, operation: str, named: Mapping[str, str], caller: Caller) -> Reply:
    """Send the operation's request to other credentials, leases or the like in its path."""
    route = BY_NAME[operation]
    headers = TRACED | ({"If-Match": '"x.0"'} if route.takes_if_match else {})
    return await app.send(route.method, path_to(route, named), caller, SUCCESSES[operation].body, headers)


def fields_of(route: Route) -> set[str]:
    """The fields of the route's query and body."""
    return {field for model in (route.query, route.body) if model for field in model.model_fields}


async def ask_by(app: App, operation: str, part: str, field: str, named: str, caller: Caller) -> Reply:
    """Send the operation's request with another credential, lease or the like in its query or body."""
    route, body = BY_NAME[operation], SUCCESSES[operation].body
    selecting = {"product": "nw-mail", "environment": "production"} if "product" in fields_of(route) else {}
    query = ""
    if part == "query":
        query = "?" + urlencode({**selecting, field: named})
    elif field == "configuration":
        body = {**selecting, field: named} if selecting else body | {field: {"id": named}}
    else:
        body = body | {field: named}
    return await app.send(route.method, path_of(route, named) + query, caller, body, TRACED)


class Theirs:
    """An app with what belongs to Alice, the agent, a vendor and an administrator, and the ids that leaked of it."""

    def __init__(self) -> None:
        self.world = World()
        self.app = App(self.world)

    async def furnish(self) -> Theirs:
        credential = await self.world.create_for_agents()
        granted = await self.world.lease()
        self.credential, self.lease = credential.id, granted.lease.id
        self.inside = (await self.world.create(name="portal")).id
        self.locker = (await self.app.send("POST", "/lockers", ALICE, {"name": "shop"}))["id"]
        assert (await self.app.send("PUT", "/lockers/shop/credentials/portal", ALICE)).status == 200
        self.configuration = (await publish(self.world, VERA, audience=["northwind"])).id
        self.subscription = (await subscribe(self.world)).subscription.id
        self.before = await self.state()
        return self

    async def state(self) -> tuple[Any, ...]:
        seen = [
            (await self.app.send("GET", path, owner)).body
            for path, owner in (
                (ONE, ALICE),
                ("/credentials/portal", ALICE),
                ("/lockers/shop", ALICE),
                (f"/configurations/{self.configuration}", VERA),
                (f"/subscriptions/{self.subscription}", ADA),
                (f"/leases/{self.lease}", DEPLOY_AGENT),
            )
        ]
        return seen, [event for event in await self.world.audit() if event.event != "access.denied"]

    def leaked(self, operation: str) -> list[tuple[dict[str, str], dict[str, str]]]:
        """Each way to name what is theirs in this operation's path, with what is like it but names nothing."""
        parameters = BY_NAME[operation].parameters
        if "lease" in parameters:
            return [({"lease": self.lease}, {"lease": UNKNOWN_LEASE})]
        for parameter, known_id in (("configuration", self.configuration), ("subscription", self.subscription)):
            if parameter in parameters:
                return [({parameter: one}, {parameter: str(uuid4())}) for one in (known_id, known_id.upper())]
        credentials = (
            [self.inside, "portal", "Portal"]
            if "locker" in parameters
            else [self.credential, "db-password", "DB-Password"]
        )
        lockers = [self.locker, "shop", "SHOP"]
        known = [{"credential": one, "locker": two} for one, two in zip(credentials, lockers, strict=True)]
        unknown = [{"credential": one, "locker": one} for one in (str(uuid4()), "no-such", "No-Such")]
        mixed = [{"credential": unknown[0]["credential"], "locker": self.locker}] if len(parameters) > 1 else []
        return [*zip(known, unknown, strict=True), *((one, unknown[0]) for one in mixed)]


@pytest.fixture
async def theirs() -> Theirs:
    return await Theirs().furnish()


class TestAForeignTenant:
    @pytest.mark.parametrize("intruder", [MALLORY, TWIN], ids=["mallory", "twin"])
    @pytest.mark.parametrize("operation", naming_in_path())
    async def test_gets_the_answer_of_an_unknown_id_by_the_same_work(
        self, theirs: Theirs, operation: str, intruder: Caller
    ) -> None:
        for known, unknown in theirs.leaked(operation):
            await ask(theirs.app, operation, unknown, intruder)  # reads what is then remembered of the tenant
            started = theirs.world.ledger.total
            foreign = await ask(theirs.app, operation, known, intruder)
            between = theirs.world.ledger.total
            absent = await ask(theirs.app, operation, unknown, intruder)
            assert foreign.code == (404, "not-found")
            assert foreign == absent
            assert between - started == theirs.world.ledger.total - between
        assert await theirs.state() == theirs.before
        assert {event.identity.id for event in await theirs.world.audit()}.isdisjoint({"id-mallory"})

    @pytest.mark.parametrize(("operation", "part", "field"), naming_in_fields())
    async def test_learns_nothing_by_naming_it_in_a_query_or_body(
        self, theirs: Theirs, operation: str, part: str, field: str
    ) -> None:
        pairs = {
            "lease": [(theirs.lease, UNKNOWN_LEASE)],
            "credential": [(theirs.credential, str(uuid4())), ("db-password", "no-such")],
            "locker": [(theirs.locker, str(uuid4())), ("shop", "no-such")],
            "configuration": [(theirs.configuration, str(uuid4()))],
        }[field]
        for known, unknown in pairs:
            foreign = await ask_by(theirs.app, operation, part, field, known, MALLORY)
            assert foreign == await ask_by(theirs.app, operation, part, field, unknown, MALLORY)
            assert foreign.status == 404 or foreign.body == {"items": []}
        assert await theirs.state() == theirs.before

    async def test_lists_nothing_of_this_one(self, theirs: Theirs) -> None:
        for path in (
            "/credentials",
            "/credentials?sort=name",
            "/leases",
            "/lockers",
            "/configurations",
            "/subscriptions",
        ):
            assert (await theirs.app.send("GET", path, MALLORY)).body == {"items": []}
        events = (await theirs.app.send("GET", "/audit", MALLORY))["items"]
        assert events == []
        assert (await theirs.app.send("GET", "/summary", MALLORY))["total"] == 0

    async def test_may_use_the_same_names_and_keys(self, theirs: Theirs) -> None:
        key = {"Idempotency-Key": "k"}
        ours = await theirs.app.send("POST", "/credentials", ALICE, SECRET | {"name": "n"}, key)
        twin = person("alice", Role.USER, tenant="fabrikam")
        foreign = await theirs.app.send("POST", "/credentials", twin, SECRET | {"name": "n", "value": "v"}, key)
        assert (ours.status, foreign.status) == (201, 201)
        assert ours["id"] != foreign["id"]
        assert (await theirs.app.send("POST", "/leases", twin, {"credential": "n"}))["value"] == "v"


class TestAStrangerOfTheTenant:
    @pytest.mark.parametrize("operation", naming_in_path())
    async def test_gets_the_answer_of_an_unknown_id(self, theirs: Theirs, operation: str) -> None:
        for stranger in (BOB, CI_RUNNER):
            may_ask = any(map(stranger.has, BY_NAME[operation].roles))
            for known, unknown in theirs.leaked(operation):
                hidden = await ask(theirs.app, operation, known, stranger)
                assert hidden.code == ((404, "not-found") if may_ask else (403, "access-denied"))
                assert hidden == await ask(theirs.app, operation, unknown, stranger)
        assert await theirs.state() == theirs.before

    @pytest.mark.parametrize(("operation", "part", "field"), naming_in_fields())
    async def test_learns_nothing_by_naming_it_in_a_query_or_body(
        self, theirs: Theirs, operation: str, part: str, field: str
    ) -> None:
        named = {"locker": theirs.locker, "configuration": theirs.configuration}.get(field, theirs.credential)
        hidden = await ask_by(theirs.app, operation, part, field, named, BOB)
        assert hidden == await ask_by(theirs.app, operation, part, field, str(uuid4()), BOB)
        assert hidden.status in (403, 404) or hidden.body == {"items": []}

    @pytest.mark.parametrize("operation", ["assign_credential", "take_credential_out"])
    async def test_does_not_learn_of_a_locker_by_what_it_would_put_there(self, theirs: Theirs, operation: str) -> None:
        await theirs.world.create(BOB, name="of bob")
        for credential in ("of%20bob", "no-such", "portal"):
            for known, unknown in ((theirs.locker, str(uuid4())), ("shop", "no-such")):
                hidden = await ask(theirs.app, operation, {"credential": credential, "locker": known}, BOB)
                absent = await ask(theirs.app, operation, {"credential": credential, "locker": unknown}, BOB)
                assert hidden == absent
                assert hidden.code == (404, "not-found")

    async def test_learns_nothing_of_a_locker_that_it_was_put_out_of(self, theirs: Theirs) -> None:
        member = f"/lockers/{theirs.locker}/members/id-bob"
        await theirs.app.send("PUT", member, ALICE, {"permissions": ["manage"]})
        assert (await theirs.app.send("GET", "/credentials/portal", BOB)).status == 200
        await theirs.app.send("DELETE", member, ALICE)
        for path in (f"/lockers/{theirs.locker}", "/credentials/portal"):
            assert (await theirs.app.send("GET", path, BOB)).code == (404, "not-found")


class TestALeakedLeaseId:
    LEASE_OPERATIONS = [name for name, route in BY_NAME.items() if "lease" in route.parameters]

    @pytest.mark.parametrize("operation", LEASE_OPERATIONS)
    async def test_is_of_no_use_to_another_who_may_lease_the_same(self, operation: str) -> None:
        app = App()
        await app.world.create(policy={"allowedIdentities": [{"type": "any"}]})
        lease = (await app.world.lease(DEPLOY_AGENT)).lease.id
        for thief in (BOB, LOLA, CI_RUNNER):
            stolen = await ask(app, operation, {"lease": lease}, thief)
            assert stolen.code == (404, "not-found")
            assert stolen == await ask(app, operation, {"lease": UNKNOWN_LEASE}, thief)
        assert (await app.send("GET", f"/leases/{lease}", DEPLOY_AGENT))["state"] == "active"

    async def test_shows_no_value_to_anyone_not_even_its_holder(self, theirs: Theirs) -> None:
        for who in (DEPLOY_AGENT, ALICE, MONA):
            seen = await theirs.app.send("GET", f"/leases/{theirs.lease}", who)
            assert seen.status == 200
            assert b"correct horse" not in seen.content

    @pytest.mark.parametrize(
        "bent", [str.upper, lambda one: one.replace(".n.", ".00."), lambda one: f"{one} ", lambda one: one[:-1]]
    )
    async def test_is_known_in_one_spelling_only(self, theirs: Theirs, bent: Any) -> None:
        spelled = bent(theirs.lease).replace(" ", "%20")
        assert (await theirs.app.send("GET", f"/leases/{spelled}", DEPLOY_AGENT)).code == (404, "not-found")

    async def test_of_a_place_is_known_in_one_spelling_only(self) -> None:
        app = App()
        await app.world.create_for_agents(policy={"maxLeases": 3})
        lease = (await app.world.lease()).lease.id
        credential, slot, secret = lease.split(".")
        for other in (f"0{slot}", f"000{slot}", "n", str(int(slot) + 1)):
            reply = await app.send("GET", f"/leases/{credential}.{other}.{secret}", DEPLOY_AGENT)
            assert reply.code == (404, "not-found")


SAME = [
    ("db-password", "DB-PASSWORD"),
    ("café", "cafe\u0301"),
    ("CAFÉ", "cafe\u0301"),
    ("token", "\uff54\uff4f\uff4b\uff45\uff4e"),
    ("straße", "STRASSE"),
    ("stra\u1e9ee", "strasse"),
    ("key", "\u212aey"),
    ("file", "\ufb01le"),
    ("\u03c3\u03b1\u03c2", "\u03a3\u0391\u03a3"),
    ("m2", "m\u00b2"),
    ("\u00e5", "\u212b"),
]
DIFFERENT = [("i", "\u0131"), ("i", "\u0130"), ("a", "\u0430"), ("db-password", "db_password")]


class TestANameInAnotherForm:
    @pytest.mark.parametrize(("name", "other"), [*SAME, *((b, a) for a, b in SAME)])
    async def test_is_the_same_name_everywhere(self, name: str, other: str) -> None:
        app = App()
        created = await app.create(name=name)
        assert created["name"] == name
        assert (await app.send("POST", "/credentials", BOB, SECRET | {"name": other})).code == (409, "name-taken")
        assert (await app.send("GET", f"/credentials/{other}", ALICE))["id"] == created["id"]
        assert (await app.send("POST", "/leases", ALICE, {"credential": other}))["credentialName"] == name
        assert (await app.send("DELETE", f"/credentials/{other}", ALICE)).status == 204
        assert (await app.create(BOB, name=other))["name"] == other

    @pytest.mark.parametrize(("name", "other"), DIFFERENT)
    async def test_is_another_name_when_its_letters_differ(self, name: str, other: str) -> None:
        app = App()
        await app.create(name=name)
        await app.create(name=other)
        assert (await app.send("GET", f"/credentials/{name}", ALICE))["name"] == name


class TestABadToken:
    @pytest.mark.parametrize("case", REFUSED)
    async def test_does_not_pass_the_edge(self, case: str) -> None:
        world = World()
        world.clock.now = NOW
        app = App(world, TokenAuthenticator(SETTINGS, KeyServer().fetch))
        create, body = "/api/v1/credentials", b'{"name": "n", "type": "generic-secret", "value": "v"}'
        sent = {"Content-Type": "application/json"} | TRACED

        def bearer(given: str) -> dict[str, str]:
            return sent | {"Authorization": f"Bearer {given}"}

        refused = await app.send_raw("POST", create, body, bearer(REFUSED[case][0]))
        # A header that is over the limit of any header is refused before it is looked at as a token.
        expected = (400, "invalid-input") if case == "too long" else (401, "unauthenticated")
        assert refused.code == expected
        assert world.ledger.total == 0
        if refused.status == 401:
            assert refused == await app.send_raw("POST", create, body, bearer("x.y.z"))
            assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert (await app.send_raw("POST", create, body, bearer(token()))).status == 201


class TestANameThatWasFreed:
    async def test_shows_nothing_of_its_former_life(self, theirs: Theirs) -> None:
        app, clock = theirs.app, theirs.world.clock
        lease = await app.send("POST", "/leases", DEPLOY_AGENT, {"credential": "db-password"}, {"Idempotency-Key": "k"})
        await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "second"})
        await app.send("DELETE", ONE, ALICE)
        clock.pass_by(minutes=1)
        created = await app.create(BOB, value="of bob")

        assert (created["version"], created["description"], created["metadata"], created["policy"]) == (1, "", {}, {})
        assert (await app.send("GET", f"/credentials/{theirs.credential}", ALICE)).status == 404
        assert (await app.send("GET", ONE, ALICE)).status == 404
        assert (await app.send("GET", f"/leases/{lease['id']}", DEPLOY_AGENT)).status == 404
        assert (await app.send("GET", "/leases?credential=db-password", BOB))["items"] == []
        again = await app.send("POST", "/leases", DEPLOY_AGENT, {"credential": "db-password"}, {"Idempotency-Key": "k"})
        assert again.code == (404, "not-found")
        events = (await app.send("GET", "/audit?credential=db-password", OTTO))["items"]
        assert {event["credentialId"] for event in events} == {created["id"]}
        assert (await app.send("POST", "/leases", BOB, {"credential": "db-password"}))["value"] == "of bob"

    async def test_is_not_created_again_by_a_repeat_of_its_creation(self) -> None:
        app = App()
        key = {"Idempotency-Key": "k"}
        await app.send("POST", "/credentials", ALICE, SECRET, key)
        await app.send("DELETE", ONE, ALICE)
        assert (await app.send("POST", "/credentials", ALICE, SECRET, key)).code == (404, "not-found")
        assert (await app.send("GET", "/credentials", ALICE))["items"] == []


async def test_a_repeat_shows_nothing_to_whom_the_credential_was_taken_from() -> None:
    app = App()
    key = {"Idempotency-Key": "k"}
    await app.send("POST", "/credentials", ALICE, SECRET, key)
    await app.send("PUT", f"{ONE}/owner/id-bob", LOLA)
    assert (await app.send("POST", "/credentials", ALICE, SECRET, key)).code == (404, "not-found")


async def test_a_change_of_metadata_alone_touches_neither_value_nor_leases_nor_policy(theirs: Theirs) -> None:
    tag = (await theirs.app.send("GET", ONE, ALICE)).etag
    calls = theirs.world.ledger.count("secrets")
    change = {"metadata": {"team": "shop"}}
    changed = await theirs.app.send("PATCH", ONE, ALICE, change, {"If-Match": tag})
    assert (changed["policy"], changed["version"]) == (FOR_AGENTS["policy"], 1)
    assert theirs.world.ledger.count("secrets") == calls
    assert (await theirs.app.send("GET", f"/leases/{theirs.lease}", DEPLOY_AGENT)).body == theirs.before[0][-1]
    refused = await theirs.app.send("PATCH", ONE, DEPLOY_AGENT, change, {"If-Match": tag})
    assert refused.code == (403, "access-denied")

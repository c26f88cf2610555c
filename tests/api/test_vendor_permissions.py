"""The tables of rights to vendors' configurations, to the credentials made from them, and to subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import pytest

from tests import subscribers
from tests.api.app import App, Reply
from tests.api.test_permissions import furnished
from tests.contents import ListedSecrets, all_of
from tests.outbound import accepts
from tests.permissions import (
    ALLOWED_BY_POLICY,
    DRAFTED,
    FILLED_INSIDE_OF_ONES_OWN,
    FILLED_INSIDE_OF_OTHERS,
    FILLED_OUTSIDE_OF_ONES_OWN,
    FILLED_OUTSIDE_OF_OTHERS,
    LIVED_ON,
    MARKET,
    PEOPLE,
    PUBLISHED_TO_CONTOSO,
    PUBLISHED_TO_EVERYONE,
    STAFF,
    SUBSCRIPTIONS,
    Cells,
    cells,
)
from tests.vaults import ALICE, LOLA, TENANTS, World, memory_stores, person
from tests.vendors import GOOD, NORA, URL, definition, fill, publish, publish_anew
from vault_core.audit import Event
from vault_core.identities import Caller, Role
from vault_core.locker import DefineLocker
from vault_core.stores import Partitions, Row

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody tries; with `tagged`, on the state of the thing that `by` reads."""

    method: str
    path: str
    body: Any = None
    tagged: str = ""
    by: Caller = NORA


@dataclass(frozen=True, slots=True)
class Scene:
    """A world, and the id of what people try their rights on."""

    world: World
    id: str

    async def state(self) -> tuple[list[Row], set[str]]:
        """All that is kept apart from the audit."""
        stores = self.world.stores
        assert isinstance(stores.secrets, ListedSecrets)
        tables = (stores.vault, stores.leases, stores.due, stores.catalog)
        rows = [row for table in tables async for row in all_of(table, Partitions(" ", "~"))]
        return rows, set(stores.secrets.names)

    async def attempt(self, caller: Caller, ask: Ask) -> Reply:
        """Send the request."""
        app, headers = App(self.world), {}
        if ask.tagged:
            headers = {"If-Match": (await app.send("GET", ask.tagged.format(id=self.id), ask.by)).etag}
        return await app.send(ask.method, ask.path.format(id=self.id), caller, ask.body, headers)


READING = {"see", "versions", "history", "resolve", "list", "deliveries"}
WITHOUT_TRACE = {*READING, "replay"}  # nothing was given up that could be sent again


async def check_cell(
    scene: Scene, caller: Caller, tried: str, cell: str, ask: Ask, hidden: tuple[str, ...], recorded: tuple[str, ...]
) -> None:
    """Try it, and find what the cell says: the status, what it changes, that nothing hidden is shown, and a record.

    `recorded` are the statuses of which the audit tells; 403 is always one.
    """
    before, told = await scene.state(), len(await scene.world.audit(caller.tenant))
    reply = await scene.attempt(caller, ask)
    events = await scene.world.audit(caller.tenant)
    events = events[: len(events) - told]
    denied = [one for one in events if one.event == Event.ACCESS_DENIED]

    for text in hidden:
        assert text.encode() not in reply.content
    if cell == "yes":
        assert reply.status in (200, 201, 204), reply.content
        assert (await scene.state() == before) is (tried in WITHOUT_TRACE)
        assert denied == []
        return
    assert reply.status == int(cell), reply.content
    if cell != "409":
        assert await scene.state() == before
        assert events == denied
    assert [one.identity.id for one in denied] == [caller.identity.id] * (cell in ("403", *recorded))


def new_world() -> World:
    return World(replace(memory_stores(), secrets=ListedSecrets()))


async def make_keys(world: World) -> None:
    """Have a key made for each tenant, as the first thing that is kept for it does."""
    for tenant in TENANTS:
        owner = person("first", Role.USER, tenant=tenant)
        await world.vault.lockers.create(owner, DefineLocker(name="first"), None, world.clock())


# Configurations

DEFINITION = definition(audience=["contoso"]).model_dump(mode="json", by_alias=True, exclude_none=True)
ONE = "/configurations/{id}"
ON_A_CONFIGURATION: Mapping[str, Ask] = {
    "see": Ask("GET", ONE),
    "versions": Ask("GET", f"{ONE}/versions"),
    "edit": Ask("PUT", ONE, DEFINITION, tagged=ONE),
    "publish": Ask("POST", f"{ONE}/publish"),
    "deprecate": Ask("POST", f"{ONE}/deprecate"),
    "rotate secret": Ask("POST", f"{ONE}/rotate-secret"),
    "test": Ask("POST", f"{ONE}/test", {"fields": {"apiKey": GOOD}}),
    "delete": Ask("DELETE", ONE),
}


async def drafted() -> Scene:
    world = new_world()
    await make_keys(world)
    world.outbound.answers[URL] = accepts(GOOD)
    issued = await world.vault.configurations.create(NORA, definition(audience=["contoso"]), None, world.clock())
    return Scene(world, issued.configuration.id)


async def published(audience: object = ("contoso",), *, lived_on: bool = False) -> Scene:
    """A published configuration with a newer draft."""
    world = new_world()
    await make_keys(world)
    configuration = await publish(world, audience=audience)
    if lived_on:
        await fill(world, configuration, name="of contoso")
    await world.vault.configurations.edit(NORA, configuration.id, definition(audience=audience), None, world.clock())
    return Scene(world, configuration.id)


CONFIGURATIONS: Mapping[str, tuple[Callable[[], Any], Cells]] = {
    "drafted": (drafted, cells(DRAFTED)),
    "published to contoso": (published, cells(PUBLISHED_TO_CONTOSO)),
    "published to everyone": (partial(published, "everyone"), cells(PUBLISHED_TO_EVERYONE)),
    "lived on": (partial(published, lived_on=True), cells(LIVED_ON)),
}


def on_a_configuration(scene: Scene, tried: str) -> Ask:
    made = {"name": "made", "configuration": {"id": scene.id}, "fields": {"apiKey": GOOD}}
    return Ask("POST", "/credentials", made) if tried == "use" else ON_A_CONFIGURATION[tried]


@pytest.mark.parametrize(
    ("table", "who", "tried"), [(name, *cell) for name, (_, rights) in CONFIGURATIONS.items() for cell in rights]
)
async def test_a_configuration(table: str, who: str, tried: str) -> None:
    furnish, rights = CONFIGURATIONS[table]
    scene = await furnish()
    secret = "whsec_" if tried != "rotate secret" or rights[who, tried] != "yes" else "\0"
    hidden = (secret, GOOD, "of contoso")
    ask = on_a_configuration(scene, tried)
    await check_cell(scene, MARKET[who], tried, rights[who, tried], ask, hidden, ("404",))


@pytest.mark.parametrize("who", MARKET)
@pytest.mark.parametrize("table", [name for name in CONFIGURATIONS if name != "lived on"])
async def test_a_list_shows_the_configurations_that_one_sees_and_no_others(table: str, who: str) -> None:
    furnish, rights = CONFIGURATIONS[table]
    scene = await furnish()
    reply = await App(scene.world).send("GET", "/configurations", MARKET[who])
    if rights[who, "see"] == "403":
        assert reply.code == (403, "access-denied")
    else:
        assert [one["id"] for one in reply["items"]] == [scene.id] * (rights[who, "see"] == "yes")


@pytest.mark.parametrize("who", MARKET)
async def test_a_configuration_is_created_by_vendors_alone_and_is_their_tenants(who: str) -> None:
    app, caller = App(), MARKET[who]
    reply = await app.send("POST", "/configurations", caller, DEFINITION)
    if caller.has(Role.VENDOR):
        assert (reply.status, reply["vendor"]) == (201, caller.tenant)
    else:
        assert reply.code == (403, "access-denied")


# Credentials that were made from one

FILLED: Mapping[tuple[bool, bool], Cells] = {
    (True, False): cells(FILLED_INSIDE_OF_OTHERS),
    (True, True): cells(FILLED_INSIDE_OF_ONES_OWN),
    (False, False): cells(FILLED_OUTSIDE_OF_OTHERS),
    (False, True): cells(FILLED_OUTSIDE_OF_ONES_OWN),
}
WANTED = {"product": "nw-mail", "environment": "production"}
FILLED_ONE = "/credentials/{id}"
ON_A_FILLED_ONE: Mapping[str, Ask] = {
    "see": Ask("GET", FILLED_ONE),
    "history": Ask("GET", f"{FILLED_ONE}/validations"),
    "resolve": Ask("GET", "/credentials/resolve?product=nw-mail&environment=production"),
    "lease": Ask("POST", "/leases", WANTED),
    "validate": Ask("POST", f"{FILLED_ONE}/validate"),
    "upgrade": Ask("POST", f"{FILLED_ONE}/upgrade", {}),
}


async def filled(owner: Caller, *, inside: bool) -> Scene:
    """A credential of the owner's, made from a configuration of which there is a newer version by now."""
    scene = await furnished(owner, inside=inside)
    world, now = scene.world, scene.world.clock()
    configuration = await publish(world)
    made = await fill(world, configuration, validate=True, policy={"allowedIdentities": ALLOWED_BY_POLICY})
    await publish_anew(world, configuration)
    await world.vault.credentials.transfer(ALICE, made.id, owner.identity.id, now)
    if inside:
        await world.vault.lockers.assign(LOLA, scene.locker, made.id, now)
    return Scene(world, made.id)


@pytest.mark.parametrize(
    ("where", "whose", "who", "tried"),
    [
        ("inside" if inside else "outside", "one's own" if own else "of others", *cell)
        for (inside, own), rights in FILLED.items()
        for cell in rights
    ],
)
async def test_a_credential_made_from_a_configuration(where: str, whose: str, who: str, tried: str) -> None:
    inside, own = where == "inside", whose == "one's own"
    scene = await filled(PEOPLE[who] if own else ALICE, inside=inside)
    cell = FILLED[inside, own][who, tried]
    hidden = () if (tried, cell) == ("lease", "yes") else (GOOD,)
    await check_cell(scene, PEOPLE[who], tried, cell, ON_A_FILLED_ONE[tried], hidden, ("404",))


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("where", ["inside", "outside"])
async def test_a_summary_counts_what_one_sees_and_no_more(where: str, who: str) -> None:
    app = App((await filled(ALICE, inside=where == "inside")).world)
    seen = (await app.send("GET", "/credentials?limit=200", PEOPLE[who]))["items"]
    summary = (await app.send("GET", "/summary", PEOPLE[who])).body
    assert summary["total"] == len(seen) == 3 * (FILLED[where == "inside", False][who, "see"] == "yes")
    for counted in ("status", "type"):
        assert summary[counted] == {one[counted]: [each[counted] for each in seen].count(one[counted]) for one in seen}


# Subscriptions

SUBSCRIPTION = "/subscriptions/{id}"
ON_A_SUBSCRIPTION: Mapping[str, Ask] = {
    "create": Ask("POST", "/subscriptions", {"url": subscribers.URL, "events": ["*"]}),
    "list": Ask("GET", "/subscriptions"),
    "see": Ask("GET", SUBSCRIPTION),
    "change": Ask("PATCH", SUBSCRIPTION, {"events": ["*"]}, tagged=SUBSCRIPTION, by=STAFF["admin"]),
    "delete": Ask("DELETE", SUBSCRIPTION),
    "test": Ask("POST", f"{SUBSCRIPTION}/test"),
    "rotate secret": Ask("POST", f"{SUBSCRIPTION}/rotate-secret"),
    "deliveries": Ask("GET", f"{SUBSCRIPTION}/deliveries"),
    "replay": Ask("POST", f"{SUBSCRIPTION}/replay"),
}
SUBSCRIPTION_CELLS = cells(SUBSCRIPTIONS)


async def subscribed() -> Scene:
    world = new_world()
    await make_keys(world)
    return Scene(world, (await subscribers.subscribe(world, subscribers.URL, "lease.created")).subscription.id)


@pytest.mark.parametrize(("who", "tried"), SUBSCRIPTION_CELLS)
async def test_a_subscription(who: str, tried: str) -> None:
    scene, cell = await subscribed(), SUBSCRIPTION_CELLS[who, tried]
    issues = tried in ("create", "rotate secret") and cell == "yes"
    sees_it = cell == "yes" and STAFF[who].tenant == "contoso"
    hidden = (*(() if issues else ("whsec_",)), *(() if sees_it else (scene.id,)))
    # An administrator's own tenant is all that is looked through, and nothing there is hidden from them.
    await check_cell(scene, STAFF[who], tried, cell, ON_A_SUBSCRIPTION[tried], hidden, ())


def test_the_tables_know_everyone_and_every_attempt() -> None:
    attempts = {*ON_A_CONFIGURATION, "use"}
    for name, (_, rights) in CONFIGURATIONS.items():
        people = ["vendor", "user"] if name == "lived on" else list(MARKET)
        assert rights.keys() == set(product(people, attempts)), name
    for (_, own), rights in FILLED.items():
        inside = [who for who in PEOPLE if not own or who != "foreign tenant"]
        assert rights.keys() == set(product(inside, ON_A_FILLED_ONE))
    assert SUBSCRIPTION_CELLS.keys() == set(product(STAFF, ON_A_SUBSCRIPTION))

"""The tables of rights, cell by cell, through both faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import pytest

from tests.api.app import App, Reply
from tests.api.control_room.app import Room
from tests.contents import ListedSecrets, all_of
from tests.permissions import (
    ALLOWED_BY_POLICY,
    CONSUMING_ROLE,
    INSIDE_OF_ONES_OWN,
    INSIDE_OF_OTHERS,
    LOCKER,
    MEMBERS,
    OUTSIDE_OF_ONES_OWN,
    OUTSIDE_OF_OTHERS,
    PEOPLE,
    Cells,
    cells,
)
from tests.vaults import ALICE, LOLA, World
from vault_core.audit import Event
from vault_core.credential import Credential
from vault_core.errors import NotFound
from vault_core.identities import Caller
from vault_core.locker import DefineLocker, Permission
from vault_core.stores import Partitions, Row, Stores
from vault_core.stores.memory import MemoryTable

pytestmark = pytest.mark.slow

VALUE, NEW_VALUE, PIN = "correct horse", "battery staple", "4711"
OWNER = PEOPLE["owner"]
MEMBER, OUTSIDER = "id-molly", "id-nemo"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the two credentials are that people try their rights on, and whose they are."""

    inside: bool
    own: bool
    rights: Cells


TABLES = {
    "inside, of others": Credentials(inside=True, own=False, rights=cells(INSIDE_OF_OTHERS)),
    "inside, one's own": Credentials(inside=True, own=True, rights=cells(INSIDE_OF_ONES_OWN)),
    "outside, of others": Credentials(inside=False, own=False, rights=cells(OUTSIDE_OF_OTHERS)),
    "outside, one's own": Credentials(inside=False, own=True, rights=cells(OUTSIDE_OF_ONES_OWN)),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A locker, and two credentials of one owner: one has a standard value, the other a user-provided attribute."""

    world: World
    locker: str
    standard: Credential
    personal: Credential

    async def state(self) -> tuple[list[Row], set[str]]:
        """All that is kept apart from the audit."""
        stores, everything = self.world.stores, Partitions(" ", "~")
        assert isinstance(stores.secrets, ListedSecrets)
        rows = [row for table in (stores.vault, stores.leases, stores.due) async for row in all_of(table, everything)]
        return rows, set(stores.secrets.names)


async def furnished(owner: Caller, *, inside: bool) -> Scene:
    """Return a new scene in which the credentials are the owner's, and inside the locker or not."""
    world = World(Stores(MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), ListedSecrets()))
    lockers, now = world.vault.lockers, world.clock()
    locker = await lockers.create(OWNER, DefineLocker(name="shop"), None, now)
    members = {PEOPLE[who].identity.id: Permission(held) for who, held in MEMBERS.items()}
    for member, permission in (members | {MEMBER: Permission.PARTICIPATE}).items():
        await lockers.set_member(OWNER, locker.id, member, (permission,), now)
    await lockers.add_consumers(OWNER, locker.id, (CONSUMING_ROLE,), now)
    about: dict[str, Any] = {"value": None, "policy": {"allowedIdentities": ALLOWED_BY_POLICY}}
    standard = await world.create(
        name="standard", attributes=[{"name": "password"}], fields={"password": VALUE}, **about
    )
    personal = await world.create(name="personal", attributes=[{"name": "pin", "userProvided": True}], **about)
    for credential in (standard, personal):
        await world.vault.credentials.transfer(ALICE, credential.id, owner.identity.id, now)
        if inside:
            await lockers.assign(LOLA, locker.id, credential.id, now)
    with pytest.raises(NotFound):  # the first event of a tenant makes it a key
        await lockers.read(PEOPLE["foreign tenant"], locker.id, now)
    return Scene(world, locker.id, standard, personal)


class Face(Protocol):
    """One of the two ways in."""

    async def send(
        self, method: str, path: str, caller: Caller | None, body: Any, headers: Mapping[str, str] | None
    ) -> Reply:
        """Send a request."""
        ...


Request = tuple[str, str, Any]
Asks = Mapping[str, Callable[[Scene], Request]]


def _values(credential: Credential, value: str) -> dict[str, Any]:
    return {"list": [{"credentialAttributeId": credential.attributes[0].id, "value": value}]}


# fmt: off
BOTH_ON_A_LOCKER: Asks = {
    "see": lambda on: ("GET", f"/lockers/{on.locker}", None),
    "edit": lambda on: ("PUT", f"/lockers/{on.locker}", {"name": "office"}),
    "delete": lambda on: ("DELETE", f"/lockers/{on.locker}", None),
    "appoint": lambda on: ("PUT", f"/lockers/{on.locker}/members/{OUTSIDER}", {"permissions": ["own"]}),
    "invite": lambda on: ("PUT", f"/lockers/{on.locker}/members/{OUTSIDER}", {"permissions": ["participate"]}),
}
BOTH_ON_A_CREDENTIAL: Asks = {
    "see": lambda on: ("GET", f"/credentials/{on.standard.id}", None),
    "delete": lambda on: ("DELETE", f"/credentials/{on.standard.id}", None),
    "to member": lambda on: ("PUT", f"/credentials/{on.standard.id}/owner/{MEMBER}", None),
    "to outsider": lambda on: ("PUT", f"/credentials/{on.standard.id}/owner/{OUTSIDER}", None),
    "put in": lambda on: ("PUT", f"/lockers/{on.locker}/credentials/{on.standard.id}", None),
    "take out": lambda on: ("DELETE", f"/lockers/{on.locker}/credentials/{on.standard.id}", None),
}
ON_A_LOCKER: Mapping[str, Asks] = {
    "native": {
        **BOTH_ON_A_LOCKER,
        "consumers": lambda on: ("PUT", f"/lockers/{on.locker}/consumers/office-bots", None),
    },
    "control room": {
        **BOTH_ON_A_LOCKER,
        "consumers": lambda on: ("POST", f"/lockers/{on.locker}/consumers", {"id": "office-bots"}),
    },
}
ON_A_CREDENTIAL: Mapping[str, Asks] = {
    "native": {
        **BOTH_ON_A_CREDENTIAL,
        "rename": lambda on: ("PATCH", f"/credentials/{on.standard.id}", {"name": "another"}),
        "read": lambda on: ("POST", "/leases", {"credential": on.standard.id}),
        "write": lambda on: ("POST", f"/credentials/{on.standard.id}/rotate", {"fields": {"password": NEW_VALUE}}),
        "own value": lambda on: ("PUT", f"/credentials/{on.personal.id}/own-values", {"fields": {"pin": PIN}}),
    },
    "control room": {
        **BOTH_ON_A_CREDENTIAL,
        "rename": lambda on: ("PUT", f"/credentials/{on.standard.id}", {"name": "another"}),
        "read": lambda on: (
            "GET",
            f"/credentials/{on.standard.id}/attributevalues?credentialAttributeId={on.standard.attributes[0].id}",
            None,
        ),
        "write": lambda on: ("POST", f"/credentials/{on.standard.id}/attributevalues", _values(on.standard, NEW_VALUE)),
        "own value": lambda on: ("POST", f"/credentials/{on.personal.id}/attributevalues", _values(on.personal, PIN)),
    },
}
# fmt: on
FACES = tuple(ON_A_LOCKER)


def face_of(name: str, scene: Scene) -> Face:
    return App(scene.world) if name == "native" else Room(scene.world)


async def attempt(face: Face, who: str, request: Request) -> Reply:
    """Send the request; natively, what changes a whole thing names the state that everyone may know of."""
    method, path, body = request
    headers = {}
    if isinstance(face, App) and (method == "PATCH" or (method == "PUT" and "name" in (body or {}))):
        headers = {"If-Match": (await face.send("GET", path, LOLA)).etag}
    return await face.send(method, path, PEOPLE[who], body, headers)


async def check_cell(face: str, scene: Scene, who: str, tried: str, cell: str, asks: Asks) -> None:
    """Try it, and find what the cell says: the status, what it changes and shows, and the refusal on record."""
    caller, audit = PEOPLE[who], scene.world.audit
    before, told = await scene.state(), len(await audit(caller.tenant))
    reply = await attempt(face_of(face, scene), who, asks[tried](scene))
    events = (await audit(caller.tenant))[:-told]

    assert (VALUE.encode() in reply.content) is (cell == "yes" and tried == "read")
    if cell == "yes":
        assert reply.status in (200, 201, 204), reply.content
        assert tried in ("see", "read") or await scene.state() != before
        assert Event.ACCESS_DENIED not in {event.event for event in events}
    else:
        assert reply.status == int(cell), reply.content
        assert await scene.state() == before
        denials = [] if cell == "409" else [(Event.ACCESS_DENIED, caller.identity.id, caller.tenant)]
        assert [(event.event, event.identity.id, event.tenant) for event in events] == denials


LOCKER_CELLS = cells(LOCKER)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(("who", "tried"), LOCKER_CELLS)
async def test_a_locker(face: str, who: str, tried: str) -> None:
    scene = await furnished(ALICE, inside=True)
    await check_cell(face, scene, who, tried, LOCKER_CELLS[who, tried], ON_A_LOCKER[face])


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("table", "who", "tried"), [(name, *cell) for name, table in TABLES.items() for cell in table.rights]
)
async def test_a_credential(face: str, table: str, who: str, tried: str) -> None:
    about = TABLES[table]
    scene = await furnished(PEOPLE[who] if about.own else ALICE, inside=about.inside)
    await check_cell(face, scene, who, tried, about.rights[who, tried], ON_A_CREDENTIAL[face])


def test_the_tables_know_everyone_and_every_attempt() -> None:
    assert LOCKER_CELLS.keys() == set(product(PEOPLE, ON_A_LOCKER["native"]))
    for name, table in TABLES.items():
        elsewhere = "put in" if table.inside else "take out"
        people = PEOPLE.keys() - {"foreign tenant"} if table.own else PEOPLE
        assert table.rights.keys() == set(product(people, ON_A_CREDENTIAL["native"].keys() - {elsewhere})), name


NATIVE_LISTS = [("GET", "/credentials"), ("GET", "/credentials?sort=name")]
ROOM_LISTS = [("POST", "/credentials/list"), ("GET", "/credentials")]


def _ids(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.content
    return sorted(one["id"] for one in reply.body.get("items", reply.body.get("list", ())))


@pytest.mark.parametrize(("face", "lists"), [("native", NATIVE_LISTS), ("control room", ROOM_LISTS)], ids=FACES)
@pytest.mark.parametrize(("table", "who"), [(name, who) for name in TABLES for who in PEOPLE])
async def test_a_list_shows_the_credentials_that_one_sees_and_no_others(
    face: str, lists: list[tuple[str, str]], table: str, who: str
) -> None:
    about = TABLES[table]
    scene = await furnished(PEOPLE[who] if about.own and who != "foreign tenant" else ALICE, inside=about.inside)
    seen = sorted((scene.standard.id, scene.personal.id)) if about.rights.get((who, "see")) == "yes" else []
    for method, path in lists:
        assert _ids(await face_of(face, scene).send(method, path, PEOPLE[who], None, {})) == seen


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("who", PEOPLE)
async def test_a_list_shows_the_lockers_that_one_sees_and_what_one_sees_inside(face: str, who: str) -> None:
    scene = await furnished(ALICE, inside=True)
    sees_locker = LOCKER_CELLS[who, "see"] == "yes"
    listing = ("GET", "/lockers") if face == "native" else ("POST", "/lockers/list")
    room = face_of(face, scene)
    assert _ids(await room.send(*listing, PEOPLE[who], None, {})) == [scene.locker] * sees_locker

    inside = await room.send("GET", f"/lockers/{scene.locker}/credentials", PEOPLE[who], None, {})
    if sees_locker:
        sees_inside = TABLES["inside, of others"].rights[who, "see"] == "yes"
        assert _ids(inside) == sorted((scene.standard.id, scene.personal.id)) * sees_inside
    else:
        assert inside.status == 404


GIVING = [who for who in PEOPLE if TABLES["inside, of others"].rights[who, "own value"] == "yes"]


async def own_value(face: str, scene: Scene, who: str) -> str | None:
    """The user-provided value as this person gets it, or None where it has none."""
    room, personal = face_of(face, scene), scene.personal
    if face == "native":
        lease = await room.send("POST", "/leases", PEOPLE[who], {"credential": personal.id}, {})
        return None if lease.status == 409 else str(lease["fields"]["pin"])
    path = f"/credentials/{personal.id}/attributevalues?credentialAttributeId={personal.attributes[0].id}"
    found = (await room.send("GET", path, PEOPLE[who], None, {}))["list"]
    return str(found[0]["value"]) if found else None


@pytest.mark.parametrize(("face", "read_by"), list(product(FACES, FACES)))
@pytest.mark.parametrize("who", GIVING)
async def test_an_own_value_is_read_by_who_gave_it_and_nobody_else(face: str, read_by: str, who: str) -> None:
    scene = await furnished(PEOPLE["participant"], inside=True)
    given = await attempt(face_of(face, scene), who, ON_A_CREDENTIAL[face]["own value"](scene))
    assert given.status == 200
    for reader in {*GIVING, "participant"}:
        assert await own_value(read_by, scene, reader) == (PIN if reader == who else None)

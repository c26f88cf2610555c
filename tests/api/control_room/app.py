"""The Control Room face in this process: requests take the way of a URL to a registered function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from tests.api.app import Functions, KnownCallers, Reply
from tests.api.control_room.test_login import Provider
from tests.api.test_authentication import SETTINGS as ISSUED
from tests.api.test_authentication import KeyServer
from tests.vaults import ALICE, World, person
from vault_core.api.authentication import TokenAuthenticator
from vault_core.api.control_room.dialect import CONTROL_ROOM, Refused
from vault_core.api.control_room.face import ControlRoom
from vault_core.api.control_room.login import ControlRoomAuthenticator
from vault_core.api.control_room.routes import CONTROL_ROOM_ROUTES, VAULT
from vault_core.api.denials import audit_denials
from vault_core.api.edge import Edge
from vault_core.identities import Caller, Role

BY_NAME = {route.name: route for route in CONTROL_ROOM_ROUTES}
FUNCTIONS = Functions(CONTROL_ROOM_ROUTES)
REFUSALS = {400, 401, 403, 404, 409, 501, 503}
FAULTS = ("Traceback", 'File "', "Error(", "vault_core", "pydantic")

CARL = replace(person("carl", Role.USER), other_roles=frozenset({"finance-bots"}))
CORA = replace(person("cora", Role.USER), other_roles=frozenset({"finance-bots"}))
PETE = person("pete", Role.USER)
MAX = person("max", Role.USER)
WARDEN = person("warden", Role.LOCKER_ADMIN)


class Room:
    """The functions of every route; callers are believed to be who they are, by either header.

    Whatever is sent, the answer must be one that its route foretells or a whole refusal, and never a fault.
    """

    def __init__(self, world: World | None = None, tokens: Any = None, provider: Provider | None = None) -> None:
        self.world = world or World()
        self._known = KnownCallers()
        vault, proven = self.world.vault, TokenAuthenticator(ISSUED, KeyServer().fetch)
        room = ControlRoom(vault, (provider or Provider()).exchange(), proven)
        authority: Any = tokens or self._known
        self._edge = Edge(
            room, ControlRoomAuthenticator(authority), self.world.clock, audit_denials(vault.audit), CONTROL_ROOM
        )

    def token(self, caller: Caller) -> str:
        """Return a token that proves the caller."""
        return self._known.token(caller)

    async def send(
        self,
        method: str,
        path: str,
        caller: Caller | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request; `path` is what follows `/v2/credentialvault`, percent-encoded, or a whole one.

        A body that is no bytes goes as JSON, without saying so.
        """
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        proof = {"X-Authorization": self.token(caller)} if caller else {}
        whole = path if path.startswith(("/v1/", "/v2/")) else VAULT + path
        return await self.send_raw(method, whole, content, proof | dict(headers or {}))

    async def send_raw(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        """Send exactly this, as far as a URL can carry it."""
        operation, reply = await FUNCTIONS.answer(self._edge, method, path, content, headers)
        assert reply.status != 500, reply.content
        _check_foretold(operation, reply)
        return reply

    async def fail(self, method: str, path: str, caller: Caller) -> Reply:
        """Send a request that is expected to end in a fault of the vault."""
        headers = {"X-Authorization": self.token(caller)}
        return (await FUNCTIONS.answer(self._edge, method, VAULT + path, b"", headers))[1]

    async def create(self, caller: Caller = ALICE, **wanted: Any) -> Any:
        """Create a credential: `SAP login` with a `username` and a masked `password`, unless told otherwise."""
        body = {"name": "SAP login", "attributes": [{"name": "username"}, {"name": "password", "masked": True}]}
        reply = await self.send("POST", "/credentials", caller, body | wanted)
        assert reply.status == 201, reply.body
        return reply.body

    async def give(self, credential: Any, caller: Caller = ALICE, /, **values: str) -> Any:
        """Set values by the names of the attributes."""
        ids = {one["name"]: one["id"] for one in credential["attributes"]}
        rows = [{"credentialAttributeId": ids[name], "value": value} for name, value in values.items()]
        reply = await self.send("POST", f"/credentials/{credential['id']}/attributevalues", caller, {"list": rows})
        assert reply.status == 200, reply.body
        return reply["list"]

    async def values(self, credential_id: str, caller: Caller = ALICE, query: str = "") -> dict[str, str]:
        """Read values, by the ids of their attributes."""
        reply = await self.send("GET", f"/credentials/{credential_id}/attributevalues{query}", caller)
        assert reply.status == 200, reply.body
        return {one["credentialAttributeId"]: one["value"] for one in reply["list"]}

    async def create_locker(self, caller: Caller = ALICE, name: str = "Finance") -> Any:
        """Create a locker."""
        reply = await self.send("POST", "/lockers", caller, {"name": name})
        assert reply.status == 201, reply.body
        return reply.body

    async def put_in(self, locker_id: str, credential_id: str, caller: Caller = ALICE) -> None:
        """Put the credential into the locker."""
        reply = await self.send("PUT", f"/lockers/{locker_id}/credentials/{credential_id}", caller)
        assert reply.status == 200, reply.body


@dataclass(frozen=True, slots=True)
class Office:
    """A room in which Alice has a credential of her own, and another in her locker `Finance`.

    Bearers of the role `finance-bots` consume what is in there, Pete participates and Max manages. The credential
    inside has a standard value, a masked one, and a `pin` that each consumer gives for itself; Carl gave one.
    """

    room: Room
    own: Any
    shared: Any
    locker: str

    @classmethod
    async def furnished(cls) -> Office:
        """Return a new one."""
        room = Room()
        own = await room.create()
        attributes = [
            {"name": "username"},
            {"name": "password", "masked": True, "passwordFlag": True},
            {"name": "pin", "userProvided": True},
        ]
        shared = await room.create(name="Bank", attributes=attributes)
        await room.give(own, username="alice-sap", password="correct horse")
        await room.give(shared, username="bank-user", password="battery staple")
        locker = (await room.create_locker())["id"]
        await room.put_in(locker, shared["id"])
        await room.send("POST", f"/lockers/{locker}/consumers", ALICE, {"id": "finance-bots"})
        for member, permission in ((PETE, "participate"), (MAX, "manage")):
            path = f"/lockers/{locker}/members/{member.identity.id}"
            await room.send("PUT", path, ALICE, {"permissions": [permission]})
        await room.give(shared, CARL, pin="pin of carl")
        return cls(room, own, shared, locker)

    def attribute(self, name: str) -> str:
        """The id of an attribute of the shared credential."""
        return next(str(one["id"]) for one in self.shared["attributes"] if one["name"] == name)

    def path(self, operation: str, **changed: str) -> str:
        """The path of the operation, on Alice's own credential unless it is about the locker."""
        named = {
            "credential": self.own["id"],
            "value": self.own["attributes"][0]["id"],
            "locker": self.locker,
            "user": "id-bob",
            "role": "finance-bots",
        }
        return BY_NAME[operation].path.format_map(named | changed)


def refusal(reply: Reply) -> tuple[int, str]:
    """The status and code of a refusal, which is checked to be whole."""
    assert reply.body.keys() == {"code", "details", "message"}
    assert reply.body["details"] is None
    return reply.status, reply["code"]


def _check_foretold(operation: str, reply: Reply) -> None:
    answers = BY_NAME[operation].answers
    if reply.status in answers:
        _check_answer(answers[reply.status], reply)
    else:
        assert reply.status in REFUSALS, f"{operation} answered {reply.status}"
        assert Refused.model_validate_json(reply.content).message
        refusal(reply)
        assert not any(trace in reply.content.decode() for trace in FAULTS), reply.content


def _check_answer(model: object, reply: Reply) -> None:
    if model is None:
        assert reply.content == b""
        return
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    assert reply.headers["Content-Type"] == "application/json"
    model.model_validate_json(reply.content)  # unknown fields are refused

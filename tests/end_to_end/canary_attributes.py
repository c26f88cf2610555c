"""The story of the canaries in attributes: values of parts, of consumers, in lockers, through both faces."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Awaitable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from local.identities import KNOWN_IDENTITIES
from local.key_vault.faults import Fault
from tests.end_to_end.canary_story import OUTAGES, Answer, Story
from vault_core.transport import encrypted, public_key_text, read_public_key

BOTS = ("finance-bot", "hr-bot")
PARTS: list[dict[str, Any]] = [
    {"name": "host", "masked": False},
    {"name": "password", "masked": True, "passwordFlag": True},
    {"name": "pin", "masked": True, "userProvided": True},
]
STRANGERS = ("bob", "vic", "mona", "ada", "lola", "mallory", "ci-runner")


async def tell_of_attributes(story: Story) -> None:
    await _logins(story)
    await _natively(story)
    shared = await Shared.put_into_a_locker(story)
    await shared.live()
    await shared.refuse()
    for fault in OUTAGES:
        await shared.outage(fault)
    await shared.search()
    await shared.end()


async def _logins(story: Story) -> None:
    """The secrets of logins, right and wrong, and tokens where they may be sent."""
    for path in ("/v2/authentication", "/v1/authentication"):
        secret = story.cloud.identity.client_secrets["alice"]
        answer = await story.unknown("POST", path, {"username": "alice", "password": secret})
        story.proofs += [secret, answer.body["token"]]
        for wrong in (
            {"username": "alice", "password": story.new()},
            {"username": "nobody", "apiKey": story.new()},
            {"username": story.new(), "password": story.new()},
            {"username": f"fabrikam\\{story.new()}", "password": story.new()},
            {"username": "alice", "password": story.new(), "apiKey": story.new()},
            {"username": [story.new()], "password": {"text": story.new()}},
            {"password": story.new() * 90},
        ):
            assert 400 <= (await story.unknown("POST", path, wrong)).status < 500
    for token in (*story.proofs, story.new()):
        quoted = urllib.parse.quote(token, safe="")
        await story.unknown("GET", f"/v1/authentication/token?token={quoted}")
        for path in ("/v1/authentication/token", "/v2/authentication/token", "/v1/authentication/logout"):
            await story.unknown("POST", path, {"token": token})


async def _natively(story: Story) -> None:
    """A credential with parts that is created with values, in the vault's own API."""
    wanted = {"name": "canary-parts", "type": "generic-secret", "attributes": PARTS}
    fields = {"host": story.new(), "password": story.new()}
    for _ in range(2):  # the second is the repeat of the first
        created = await story.call("POST", "/credentials", wanted | {"fields": fields}, Idempotency_Key="parts")
        assert created.status == 201
    await story.call("POST", "/credentials", wanted | {"fields": fields})  # the name is taken
    for refused in (
        wanted | {"value": story.new()},
        wanted | {"fields": {"pin": story.new()}},
        wanted | {"fields": {story.new(): story.new()}},
        wanted | {"fields": {"host": story.new() * 900}},
        wanted | {"fields": {"host": story.new() * 250, "password": story.new() * 250}},
        wanted | {"attributes": [{"name": story.new(), "value": story.new()}]},
        wanted | {"attributes": [{"name": "host", "masked": story.new()}], "fields": {"host": [story.new()]}},
    ):
        assert 400 <= (await story.call("POST", "/credentials", refused | {"name": "refused"})).status < 500
    one = "/credentials/canary-parts"
    assert (await story.call("POST", f"{one}/rotate", {"fields": {"host": story.new()}})).status == 200
    assert (await story.call("PUT", f"{one}/own-values", {"fields": {"pin": story.new("alice")}})).status == 200
    assert (await story.call("POST", "/leases", {"credential": "canary-parts"})).status == 201
    for fields in ({"host": story.new()}, {story.new(): story.new()}, {"pin": ""}, {"pin": story.new() * 900}):
        assert (await story.call("PUT", f"{one}/own-values", {"fields": fields})).status == 422
    assert (await story.call("PUT", f"{one}/own-values", {"fields": {"pin": story.new()}}, by="bob")).status == 404
    assert (await story.patch(one, {"name": "canary-parts anew"})).status == 200
    assert (await story.call("DELETE", "/credentials/canary-parts%20anew/own-values")).status == 204
    assert (await story.call("POST", "/leases", {"credential": "canary-parts anew"})).status == 409


class Shared:
    """A credential of Alice's in a locker, out of which two bots with different roles consume."""

    def __init__(self, story: Story, credential: str, attributes: Mapping[str, str], locker: str, key: str) -> None:
        self._story = story
        self._one = f"/credentials/{credential}"
        self._values = f"{self._one}/attributevalues"
        self._id = credential
        self._attributes = attributes
        self._locker = f"/lockers/{locker}"
        self._key = key

    @classmethod
    async def put_into_a_locker(cls, story: Story) -> Shared:
        parts = [part | {"value": story.new()} for part in PARTS]  # which is ignored there
        created = await story.room("POST", "/credentials", {"name": "canary-shared", "attributes": parts})
        assert created.status == 201
        attributes = {one["name"]: one["id"] for one in created.body["attributes"]}
        locker = (await story.room("POST", "/lockers", {"name": "canary-locker"})).body["id"]
        for role in ("finance-bots", "hr-bots"):
            await story.room("POST", f"/lockers/{locker}/consumers", {"id": role})
        key = (await story.room("GET", "/keys/transport/public")).body["publicKey"]
        shared = cls(story, created.body["id"], attributes, locker, key)
        assert (await story.room("PUT", f"/lockers/{locker}/credentials/{created.body['id']}")).status == 200
        return shared

    async def live(self) -> None:
        """Every operation, as it succeeds."""
        host, password = self._story.new(), self._story.new()
        for _ in range(2):  # the second changes nothing
            await self._post(200, host=host, password=password)
        await self._post(200, encrypts=True, host=self._story.new(), password=self._story.new())
        await self._put(200, "host", self._story.new(), "1")
        await self._put(200, "password", self._story.new(), "1", encrypts=True)
        for bot in BOTS:
            await self._post(200, by=bot, pin=self._story.new(bot))
            await self._post(200, by=bot, encrypts=True, pin=self._story.new(bot))
            await self._put(200, "pin", self._story.new(bot), "1", by=bot, encrypts=True)
        own = {"fields": {"pin": self._story.new("hr-bot")}}
        assert (await self._story.call("PUT", f"{self._one}/own-values", own, by="hr-bot")).status == 200
        await self._post(200, pin=self._story.new("alice"))
        for reader in ("alice", *BOTS):
            await self._read(reader)
        rotated = await self._story.call("POST", f"{self._one}/rotate", {"fields": {"host": self._story.new()}})
        assert rotated.status == 200
        for reader in ("alice", *BOTS):
            await self._read(reader)

    async def _read(self, by: str) -> None:
        """Read the values in every way; encrypted ones come as nobody else can read them."""
        caller = rsa.generate_private_key(65537, 2048).public_key()
        key = urllib.parse.quote(public_key_text(caller), safe="")
        for path in (
            self._values,
            *(f"{self._values}?credentialAttributeId={one}" for one in self._attributes.values()),
            f"{self._values}?encryptionKey={key}",
            *(f"{self._values}?credentialAttributeId={one}&encryptionKey={key}" for one in self._attributes.values()),
            f"{self._values}?userId={KNOWN_IDENTITIES['finance-bot'].id}",
        ):
            answer = await self._story.room("GET", path, by=by)
            assert answer.status == 200
            assert answer.body["list"]
        lease = await self._story.call("POST", "/leases", {"credential": self._id}, by=by)
        assert lease.body["fields"].keys() == self._attributes.keys()

    async def refuse(self) -> None:
        """Every operation, as it is refused."""
        new, pin = self._story.new, self._attributes["pin"]
        await self._put(409, "host", new(), "0")  # stale
        await self._put(409, "pin", new(), "0", by="finance-bot", encrypts=True)
        for version in (new(), "-1", [new()]):
            await self._put(400, "host", new(), version)
        other = public_key_text(rsa.generate_private_key(65537, 2048).public_key())
        for key in (other, new(), new() * 40):
            await self._post(400, key=key, host=new())
            await self._put(400, "pin", new(), "1", by="hr-bot", key=key)
        await self._post(400, key=self._key, host=new())  # not encrypted at all
        await self._post(400, host=new() * 450)
        await self._post(400, host=new() * 250, password=new() * 250)
        await self._post(400, by="hr-bot", pin=new() * 450)
        await self._post(400, host="")
        for wrong in (
            {"list": [{"credentialAttributeId": new(), "value": new()}]},
            {"list": [{"credentialAttributeId": "0123456789abcdef", "value": new()}]},
            {"list": [{"credentialAttributeId": pin, "value": new()}] * 2},
            {"list": [{"credentialAttributeId": pin, "value": [new()]}]},
            {"list": [{"credentialAttributeId": {new(): new()}, "value": new()}]},
            {"list": [{"value": new()}]},
            {"list": new()},
            {new(): new()},
            [new()],
        ):
            assert (await self._story.room("POST", self._values, wrong)).status == 400
        for by in STRANGERS:
            await self._post((403, 404), by=by, pin=new())
            assert (await self._story.room("GET", self._values, by=by)).status in (403, 404)
        for by in BOTS:
            await self._post(403, by=by, host=new())
            await self._put(403, "password", new(), "1", by=by, encrypts=True)
        await self._refuse_changes()

    async def _refuse_changes(self) -> None:
        """What is refused while the credential is in a locker, or is not to be used."""
        new, story = self._story.new, self._story
        whole = {"name": "canary-shared", "attributes": [part | {"value": new()} for part in PARTS], "version": new()}
        assert (await story.room("PUT", self._one, whole)).status == 400
        assert (await story.room("PUT", self._one, whole | {"version": "0"})).status == 409
        assert (await story.room("DELETE", self._one)).status == 409
        assert (await story.patch(self._one, {"name": new()})).status == 400
        await story.call("POST", f"{self._one}/suspend", {})
        assert (await story.room("GET", self._values, by="hr-bot")).status == 409
        await story.call("POST", f"{self._one}/resume", {})
        await story.patch(self._one, {"policy": {"maxLeases": 9}})
        assert (await story.room("GET", self._values)).status == 409
        await story.patch(self._one, {"policy": {"maxLeases": None}})

    async def outage(self, fault: Fault) -> None:
        """A Key Vault that does not answer, or refuses: values on their way there and on their way back."""
        new, pin = self._story.new, f"{self._values}?credentialAttributeId={self._attributes['pin']}"
        await self._post(200, host=new())  # what was never read is not remembered either
        own = {"fields": {"pin": new("alice")}}
        await self._fail(
            fault.model_copy(update={"method": "PUT"}),
            self._post(None, by="finance-bot", pin=new("finance-bot")),
            self._put(None, "pin", new("hr-bot"), None, by="hr-bot", encrypts=True),
            self._story.call("PUT", f"{self._one}/own-values", own),
        )
        await self._fail(
            fault.model_copy(update={"method": "GET"}),
            self._story.room("GET", pin, by="finance-bot"),
            self._story.call("POST", "/leases", {"credential": self._id}, by="hr-bot"),
            self._post(None, password=new()),
        )

    async def _fail(self, fault: Fault, *acts: Awaitable[Answer]) -> None:
        self._story.cloud.key_vault.faults.add(fault.model_copy(update={"times": fault.times * len(acts)}))
        assert {answer.status for answer in await asyncio.gather(*acts)} <= {500, 503}
        self._story.cloud.key_vault.faults.clear()

    async def search(self) -> None:
        """Values where names, ids, filters and keys belong; and every list."""
        for text in (self._story.new(), f"sk_live_{self._story.new()[8:40]}"):
            quoted = urllib.parse.quote(text, safe="")
            for kind in ("credentials", "lockers"):
                for body in (
                    {"filter": {"operator": "substring", "field": "name", "value": text}},
                    {"filter": {"operator": "eq", "field": text, "value": text}},
                    {"filter": {"operator": text}},
                    {"sort": [{"field": text, "direction": text}]},
                    {"fields": [text], "page": {"offset": text, "length": text}},
                    {text: text},
                ):
                    await self._story.room("POST", f"/{kind}/list", body)
                for method in ("GET", "PUT", "DELETE"):
                    await self._story.room(method, f"/{kind}/{quoted}", {"name": text} if method == "PUT" else None)
            for path in (f"{self._one}/owner/{quoted}", f"{self._locker}/members/{quoted}", f"{self._values}/{quoted}"):
                await self._story.room("PUT", path, {"value": text, "permissions": [text]})
            await self._story.room("DELETE", f"{self._locker}/consumers/{quoted}")
            for query in ("credentialAttributeId", "encryptionKey"):
                assert (await self._story.room("GET", f"{self._values}?{query}={quoted}")).status == 400
            await self._story.room("GET", f"/credentials?name={quoted}")
        for by in ("alice", *BOTS, *STRANGERS):
            for kind in ("credentials", "lockers"):
                await self._story.room("POST", f"/{kind}/list", {}, by=by)
            await self._story.room("GET", f"{self._locker}/credentials", by=by)
            await self._story.call("GET", f"{self._one}/versions", by=by)

    async def end(self) -> None:
        """Values go: one of a consumer, of an attribute that is dropped, of all; the locker and the credential too."""
        for by in BOTS:
            path = f"{self._values}/{self._attributes['pin']}"
            assert (await self._story.room("DELETE", path, by=by)).status == 204
        assert (await self._story.room("DELETE", f"{self._values}/{self._attributes['password']}")).status == 204
        assert (await self._story.room("DELETE", self._locker)).status == 204
        kept = [{"id": self._attributes["host"], "name": "host", "value": self._story.new()}]
        redefined = await self._story.room("PUT", self._one, {"name": "canary-shared", "attributes": kept})
        assert redefined.status == 200
        assert (await self._story.call("POST", f"{self._one}/revoke", {"reason": "the story is over"})).status == 200
        await self._post(409, host=self._story.new())
        assert (await self._story.room("GET", self._values)).status == 409

    async def _post(
        self,
        expect: int | tuple[int, ...] | None,
        *,
        by: str = "alice",
        encrypts: bool = False,
        key: str | None = None,
        **values: str,
    ) -> Answer:
        rows = [
            {"credentialAttributeId": self._attributes[name], "value": self._boxed(name, text, encrypts=encrypts)}
            for name, text in values.items()
        ]
        path = self._values + self._query(key or (self._key if encrypts else None))
        return self._expected(expect, await self._story.room("POST", path, {"list": rows}, by=by))

    async def _put(
        self,
        expect: int | None,
        name: str,
        text: str,
        version: Any,
        *,
        by: str = "alice",
        encrypts: bool = False,
        key: str | None = None,
    ) -> Answer:
        body = {"value": self._boxed(name, text, encrypts=encrypts), "version": version}
        path = f"{self._values}/{self._attributes[name]}" + self._query(key or (self._key if encrypts else None))
        return self._expected(expect, await self._story.room("PUT", path, body, by=by))

    def _boxed(self, name: str, text: str, *, encrypts: bool) -> str:
        if text and name != "host":
            self._story.masked.append(text)
        return encrypted(SecretStr(text), read_public_key(self._key)) if encrypts else text

    @staticmethod
    def _query(key: str | None) -> str:
        return "" if key is None else f"?encryptionKey={urllib.parse.quote(key, safe='')}"

    @staticmethod
    def _expected(expect: int | tuple[int, ...] | None, answer: Answer) -> Answer:
        wanted = (expect,) if isinstance(expect, int) else expect
        assert wanted is None or answer.status in wanted, f"{answer.asked[:80]} {answer.status}"
        return answer

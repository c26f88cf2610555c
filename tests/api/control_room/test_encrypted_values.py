"""Values that travel encrypted: to the caller's key when read, to the server's when set."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.api.app import Reply
from tests.api.control_room.app import CARL, Office, refusal
from tests.vaults import ALICE, MALLORY
from vault_core.audit import Event
from vault_core.transport import public_key_text

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
OURS = rsa.generate_private_key(65537, 2048)
WRONG = "The encryption key is incorrect"


def with_plus(key: str) -> str:
    """The key written so that its base64 holds a `+`: a client may put white space before the XML."""
    text = b64encode(b"  " + b64decode(key)).decode()
    assert "+" in text
    return text


def public_numbers(text: str) -> tuple[int, int]:
    """Read the server's key as a client does."""
    found = re.fullmatch(
        "<RSAKeyValue><Modulus>(.+)</Modulus><Exponent>(.+)</Exponent></RSAKeyValue>", b64decode(text).decode()
    )
    assert found
    modulus, exponent = (int.from_bytes(b64decode(part)) for part in found.groups())
    return modulus, exponent


class Client:
    """A caller who knows the server's key."""

    def __init__(self, office: Office, key: str) -> None:
        self.office = office
        self.key = key
        modulus, exponent = public_numbers(key)
        self._public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        self.attribute = office.own["attributes"][0]["id"]
        self.path = f"/credentials/{office.own['id']}/attributevalues"

    def box(self, text: str) -> str:
        return b64encode(self._public.encrypt(text.encode(), OAEP)).decode()

    async def post(self, value: str, key: Any, query: str = "") -> Reply:
        body = {"list": [{"credentialAttributeId": self.attribute, "value": value}], "encryptionKey": key}
        return await self.office.room.send("POST", self.path + query, ALICE, body)

    async def stored(self) -> str:
        return (await self.office.room.values(self.office.own["id"]))[self.attribute]


@pytest.fixture
async def client(office: Office) -> Client:
    return Client(office, (await office.room.send("GET", "/keys/transport/public", ALICE))["publicKey"])


class TestTheServersKey:
    async def test_is_an_rsa_key_and_stays_the_same(self, client: Client) -> None:
        modulus, exponent = public_numbers(client.key)
        assert modulus.bit_length() >= 2048
        assert exponent == 65537
        again = await client.office.room.send("GET", "/keys/transport/public", CARL)
        assert again.body == {"publicKey": client.key}

    async def test_is_another_for_another_tenant(self, client: Client) -> None:
        foreign = await client.office.room.send("GET", "/keys/transport/public", MALLORY)
        assert foreign["publicKey"] != client.key


class TestReading:
    async def test_encrypts_values_to_the_key_of_the_caller(self, office: Office) -> None:
        query = f"?encryptionKey={quote(public_key_text(OURS.public_key()), safe='')}"
        values = await office.room.values(office.shared["id"], CARL, query)
        boxes = {one: values[office.attribute(one)] for one in ("username", "password", "pin")}
        assert boxes["password"] == ""
        opened = {name: OURS.decrypt(b64decode(box), OAEP).decode() for name, box in boxes.items() if box}
        assert opened == {"username": "bank-user", "pin": "pin of carl"}

    async def test_encrypts_the_one_that_is_asked_for(self, office: Office) -> None:
        password = office.attribute("password")
        key = quote(public_key_text(OURS.public_key()), safe="")
        query = f"?credentialAttributeId={password}&encryptionKey={key}"
        values = await office.room.values(office.shared["id"], CARL, query)
        assert OURS.decrypt(b64decode(values[password]), OAEP) == b"battery staple"

    async def test_reads_a_plus_that_arrived_as_a_space(self, office: Office) -> None:
        key = public_key_text(OURS.public_key())
        values = await office.room.values(office.own["id"], ALICE, f"?encryptionKey={with_plus(key)}")
        assert OURS.decrypt(b64decode(values[office.own["attributes"][0]["id"]]), OAEP) == b"alice-sap"

    @pytest.mark.parametrize("key", ["x", "PFhNTD4=", "+", "a" * 3000], ids=["text", "xml", "plus", "long"])
    async def test_refuses_another_key_and_opens_nothing_for_it(self, office: Office, key: str) -> None:
        for credential in (office.own, await office.room.create(name="Empty")):
            reply = await office.room.send(
                "GET", f"/credentials/{credential['id']}/attributevalues?encryptionKey={key}", ALICE
            )
            assert refusal(reply) == (400, "invalid-input")
            assert reply["message"].startswith(WRONG)
        assert Event.VALUE_READ not in [event.event for event in await office.room.world.audit()]

    async def test_refuses_a_value_that_the_key_cannot_carry(self, office: Office) -> None:
        await office.room.give(office.own, username="v" * 191)
        query = f"?encryptionKey={quote(public_key_text(OURS.public_key()), safe='')}"
        reply = await office.room.send("GET", f"/credentials/{office.own['id']}/attributevalues{query}", ALICE)
        assert refusal(reply) == (400, "invalid-input")
        assert "vvv" not in reply["message"]


class TestSetting:
    async def test_decrypts_what_comes_with_the_servers_key(self, client: Client) -> None:
        assert (await client.post(client.box("grüße"), client.key)).status == 200
        assert await client.stored() == "grüße"

    async def test_takes_the_key_from_the_query_too_encoded_or_not(self, client: Client) -> None:
        for key in (quote(client.key, safe=""), with_plus(client.key)):
            text = f"sent with {len(key)}"
            assert (await client.post(client.box(text), None, f"?encryptionKey={key}")).status == 200
            assert await client.stored() == text

    async def test_reads_spaces_where_there_were_pluses(self, client: Client) -> None:
        box = client.box("v")
        while "+" not in box:
            box = client.box("v")
        key = with_plus(client.key).replace("+", " ")
        assert (await client.post(box.replace("+", " "), key)).status == 200
        assert await client.stored() == "v"

    async def test_takes_the_text_as_it_is_without_a_key(self, client: Client) -> None:
        box = client.box("v")
        assert (await client.post(box, None)).status == 200
        assert await client.stored() == box

    async def test_replaces_a_value_likewise(self, client: Client) -> None:
        body = {"value": client.box("n3w"), "version": "0", "encryptionKey": client.key}
        changed = await client.office.room.send("PUT", f"{client.path}/{client.attribute}", ALICE, body)
        assert (changed.status, changed["value"]) == (200, "")
        assert await client.stored() == "n3w"

    async def test_refuses_every_other_key(self, client: Client) -> None:
        theirs = (await client.office.room.send("GET", "/keys/transport/public", MALLORY))["publicKey"]
        for key in ("x", " ", public_key_text(OURS.public_key()), theirs, client.key[:-8]):
            replies = [
                await client.post(client.box("v"), key),
                await client.post(client.box("v"), None, f"?encryptionKey={key}"),
            ]
            body = {"value": client.box("v"), "encryptionKey": key}
            replies.append(await client.office.room.send("PUT", f"{client.path}/{client.attribute}", ALICE, body))
            for reply in replies:
                assert refusal(reply) == (400, "invalid-input")
                assert reply["message"].startswith(WRONG)
        assert await client.stored() == "alice-sap"

    async def test_refuses_what_it_cannot_decrypt_always_alike(self, client: Client) -> None:
        oaep_sha1 = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303
        public = rsa.RSAPublicNumbers(*reversed(public_numbers(client.key))).public_key()
        boxes = ["plain text", "", "AAAA", client.box("v")[:-4], b64encode(public.encrypt(b"v", oaep_sha1)).decode()]
        boxes.append(b64encode(public.encrypt(b"\xff\xfe", OAEP)).decode())
        told = set()
        for box in boxes:
            reply = await client.post(box, client.key)
            assert refusal(reply) == (400, "invalid-input")
            told.add(reply["message"])
        assert len(told) == 1
        assert await client.stored() == "alice-sap"

    async def test_refuses_an_empty_text_though_it_is_encrypted(self, client: Client) -> None:
        assert (await client.post(client.box(""), client.key)).status == 400
        assert await client.stored() == "alice-sap"

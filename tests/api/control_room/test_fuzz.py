"""Whatever is sent to any route: never a fault, and never an answer that its route does not foretell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.control_room.app import BY_NAME, CARL, MAX, PETE, WARDEN, Office
from tests.api.control_room.test_operations import SUCCESSES
from tests.vaults import ADA, ALICE, BOB, MALLORY, MONA
from vault_core.identities import Caller

pytestmark = pytest.mark.slow

PEOPLE = [ALICE, ALICE, CARL, MAX, PETE, WARDEN, BOB, MONA, ADA, MALLORY, None]
QUERIES = ["consumed", "name", "credentialAttributeId", "userId", "encryptionKey", "token", "x"]
BOUNDED = settings(max_examples=25, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

words = st.sampled_from(["", "0", "id-bob", "finance-bots", "own", "eq", "name", "asc", "true", "null", "'", "\u0000"])
texts = words | st.text(max_size=30)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.sampled_from(QUERIES), inner, max_size=4),
    max_leaves=20,
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A request; `parts` stand in the path in place of what is there, `changes` in the body that would succeed."""

    operation: str
    caller: Caller | None
    parts: dict[str, str]
    query: dict[str, str]
    content: bytes | None
    changes: dict[str, Any]
    headers: dict[str, str]

    async def fire(self, office: Office) -> None:
        """Send it; that the answer is foretold is asked of every answer."""
        bent = {name: quote(text, safe="") for name, text in self.parts.items() if quote(text, safe="").strip(".")}
        path = office.path(self.operation, **bent) + (f"?{urlencode(self.query)}" if self.query else "")
        body = self.content
        if body is None:
            body = json.dumps(_merged(SUCCESSES[BY_NAME[self.operation].handler.__name__].body, self.changes)).encode()
        await office.room.send(BY_NAME[self.operation].method, path, self.caller, body, self.headers)


def _merged(body: Any, changes: dict[str, Any]) -> Any:
    return {**body, **changes} if isinstance(body, dict) else changes or body or {}


FIELDS = [
    "name", "description", "attributes", "version", "list", "attributeValues", "value", "encryptionKey", "permissions",
    "id", "roleId", "filter", "sort", "page", "fields", "username", "password", "apiKey", "token",
]  # fmt: skip
shots = st.builds(
    Shot,
    operation=st.sampled_from(sorted(BY_NAME)),
    caller=st.sampled_from(PEOPLE),
    parts=st.dictionaries(st.sampled_from(["credential", "locker", "value", "user", "role"]), texts, max_size=1),
    query=st.dictionaries(st.sampled_from(QUERIES), texts, max_size=2),
    content=st.none() | st.none() | st.binary(max_size=80) | documents.map(lambda one: json.dumps(one).encode()),
    changes=st.dictionaries(st.sampled_from(FIELDS), documents, max_size=3),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Authorization", "Idempotency-Key", "X-Request-Id", "If-Match"]),
        st.text(max_size=20),
        max_size=2,
    ),
)


@given(salvo=st.lists(shots, min_size=4, max_size=8))
@BOUNDED
async def test_whatever_is_sent_is_answered_as_foretold(salvo: list[Shot]) -> None:
    office = await Office.furnished()
    for shot in salvo:
        await shot.fire(office)


@given(wanted=documents, bounds=st.dictionaries(st.sampled_from(["offset", "length"]), scalars))
@BOUNDED
async def test_whatever_is_asked_of_a_list_is_answered_as_foretold(wanted: Any, bounds: dict[str, Any]) -> None:
    office = await Office.furnished()
    for noun in ("credentials", "lockers"):
        for part in ({"filter": wanted}, {"sort": wanted}, {"sort": [wanted]}, {"page": bounds}, {"fields": wanted}):
            await office.room.send("POST", f"/{noun}/list", ALICE, part)
        for operator in ("eq", "ge", "substring"):
            for field in ("name", "createdOn", "id"):
                part = {"filter": {"operator": operator, "field": field, "value": wanted}}
                await office.room.send("POST", f"/{noun}/list", ALICE, part)


@given(value=documents, version=scalars, attribute=scalars)
@BOUNDED
async def test_whatever_is_given_as_a_value_is_answered_as_foretold(value: Any, version: Any, attribute: Any) -> None:
    office = await Office.furnished()
    path = f"/credentials/{office.shared['id']}/attributevalues"
    for name in ("username", "pin"):
        body = {"value": value, "version": version}
        await office.room.send("PUT", f"{path}/{office.attribute(name)}", ALICE, body)
        for row in (
            {"value": value, "credentialAttributeId": office.attribute(name)},
            {"value": value, "id": attribute},
        ):
            await office.room.send("POST", path, ALICE, {"list": [row], "encryptionKey": version})
    await office.room.send("GET", path, ALICE)
    query = urlencode({"credentialAttributeId": attribute, "encryptionKey": version})
    await office.room.send("GET", f"{path}?{query}", ALICE)

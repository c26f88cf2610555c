"""The API document against the API: what it allows and what it forbids, over HTTP to the app on real stores.

Nothing is answered with a fault, with a status that the document does not foretell, or with a body or headers that
differ from their description; and what the document forbids is not accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.cloud import PROJECT, LocalCloud, local_cloud
from local.ports import Ports
from tests.api.app import BY_NAME, DOCUMENT
from tests.conftest import AUTHORITY, background_loop

pytestmark = pytest.mark.slow

CALLERS = ["alice", "alice", "ada", "mona", "otto", "vic", "lola", "deploy-agent", "mallory", "northwind-vendor"]
CONFORMANCE: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# Every request has a token of its caller's: whether one is needed is not what is tried here.
WITHOUT_SECURITY = {
    path: {method: {**operation, "security": []} for method, operation in operations.items()}
    for path, operations in DOCUMENT["paths"].items()
}


def schema(mode: GenerationMode) -> schemathesis.BaseSchema:
    """The API document, for making requests that it allows, or ones that it forbids."""
    made = schemathesis.openapi.from_dict({**DOCUMENT, "paths": WITHOUT_SECURITY})
    made.config.generation.update(modes=[mode])
    return made


WITHOUT_INPUT = [name for name, route in BY_NAME.items() if not (route.parameters or route.query or route.body)]
ALLOWED, FORBIDDEN = schema(GenerationMode.POSITIVE), schema(GenerationMode.NEGATIVE)
BOUNDED = settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def app() -> Iterator[LocalCloud]:
    """The whole local cloud with the app in it."""
    with background_loop() as loop:
        parts = local_cloud(folder=None, ports=Ports.any_free(), app=PROJECT, authority=AUTHORITY)
        yield asyncio.run_coroutine_threadsafe(parts.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(parts.__aexit__(None, None, None), loop).result()


class Target:
    """What a request can be aimed at: a credential that every caller of the tenant sees, a lease on it, a locker."""

    def __init__(self, app: LocalCloud) -> None:
        self._app = app
        self.name = f"target-{uuid4().hex}"
        value = {"type": "generic-secret", "value": uuid4().hex}
        policy = {"allowedIdentities": [{"type": "any"}]}
        self._ask("POST", "/credentials", {"name": self.name, "policy": policy} | value)
        self.lease = self._ask("POST", "/leases", {"credential": self.name})[1]["id"]
        self.locker = self._ask("POST", "/lockers", {"name": f"locker-{uuid4().hex}"})[1]["id"]

    def aim(self, case: Any) -> None:
        """Make the request one that can succeed, as far as the document cannot say what that takes."""
        named = {"credential": self.name, "lease": self.lease, "locker": self.locker, "member": "id-bob"}
        case.path_parameters |= {name: named[name] for name in case.path_parameters if name in named}
        operation = case.operation.definition.raw["operationId"]
        if operation == "create_lease":
            case.body["credential"] = self.name
        if operation in ("create_credential", "rotate_credential"):
            given = case.body if isinstance(case.body, dict) else {}
            case.media_type = "application/json"
            case.body = {**given, "value": uuid4().hex}
            for other in ("fields", "attributes"):  # a value comes as `value` or as `fields`
                case.body.pop(other, None)
        if operation == "create_credential":
            case.body |= {"type": "generic-secret", "name": f"made-{uuid4().hex}"}
        if operation in ("create_locker", "replace_locker"):
            case.body["name"] = f"made-{uuid4().hex}"
        if operation == "update_credential":
            case.headers["If-Match"] = self._ask("GET", f"/credentials/{self.name}")[0]
        if operation == "replace_locker":
            case.headers["If-Match"] = self._ask("GET", f"/lockers/{self.locker}")[0]

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[str, Any]:
        return asyncio.run(self._asked(method, path, body))

    async def _asked(self, method: str, path: str, body: Any) -> tuple[str, Any]:
        headers = {"Authorization": f"Bearer {self._app.identity.token('alice')}"}
        url = f"{self._app.functions_url}/api/v1{path}"
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.request(method, url, json=body) as answer,
        ):
            return answer.headers.get("ETag", ""), await answer.json()


@pytest.fixture
def target(app: LocalCloud) -> Target:
    return Target(app)


@ALLOWED.given(caller=st.sampled_from(CALLERS), aimed=st.booleans())
@ALLOWED.parametrize()
@BOUNDED
def test_what_the_document_allows_is_answered_as_it_says(
    case: Any, caller: str, aimed: bool, app: LocalCloud, target: Target
) -> None:
    if aimed:
        target.aim(case)
    _send(case, app, caller, CONFORMANCE)


@FORBIDDEN.exclude(operation_id=WITHOUT_INPUT).parametrize()
@BOUNDED
def test_what_the_document_forbids_is_refused_as_it_says(case: Any, app: LocalCloud) -> None:
    _send(case, app, "mallory", [*CONFORMANCE, negative_data_rejection])


def _send(case: Any, app: LocalCloud, caller: str, checks: list[Any]) -> None:
    headers = {"Authorization": f"Bearer {app.identity.token(caller)}"}
    response = case.call(base_url=app.functions_url, headers=headers)
    # A longer URL or header never reaches the app: a host answers it by itself.
    if response.status_code != 400 or b"Got more than 8190 bytes" not in response.content:
        case.validate_response(response, checks=checks)

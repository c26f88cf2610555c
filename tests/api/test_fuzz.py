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


OF_A_FILLED_ONE = {"upgrade_credential", "validate_credential", "list_validations"}
TAGGED = {
    "update_credential": ("/credentials/{credential}", "alice"),
    "replace_locker": ("/lockers/{locker}", "alice"),
    "replace_configuration": ("/configurations/{configuration}", "northwind-vendor"),
    "update_subscription": ("/subscriptions/{subscription}", "ada"),
}
FIT = {"configurations": "northwind-vendor", "subscriptions": "ada"}

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
    """What a request can be aimed at: a credential that every caller of the tenant sees, a lease on it, a locker;
    a credential that was made from a configuration, with a draft of what comes next; and a subscription.
    """

    def __init__(self, app: LocalCloud) -> None:
        self._app = app
        self.product = f"product-{uuid4().hex}"
        value = {"name": f"target-{uuid4().hex}", "type": "generic-secret", "value": uuid4().hex}
        anyone = {"policy": {"allowedIdentities": [{"type": "any"}]}}
        self.credential = self._ask("POST", "/credentials", value | anyone)[1]["id"]
        self.lease = self._ask("POST", "/leases", {"credential": self.credential})[1]["id"]
        self.locker = self._ask("POST", "/lockers", {"name": f"locker-{uuid4().hex}"})[1]["id"]
        self.configuration = self._publish()
        filled = self._from_configuration(f"filled-{uuid4().hex}")
        self.filled = self._ask("POST", "/credentials", filled | anyone)[1]["id"]
        self.subscription = self._subscribe()

    def aim(self, case: Any) -> None:
        """Make the request one that can succeed, as far as the document cannot say what that takes."""
        operation = case.operation.definition.raw["operationId"]
        named = {
            "credential": self.filled if operation in OF_A_FILLED_ONE else self.credential,
            "lease": self.lease,
            "locker": self.locker,
            "member": "id-bob",
            "configuration": self.configuration,
            "subscription": self.subscription,
        }
        case.path_parameters |= {name: named[name] for name in case.path_parameters if name in named}
        self._aim_body(case, operation)
        if operation == "resolve_credential":
            case.query |= {"product": self.product, "environment": "production"}
        if operation in TAGGED:
            path, caller = TAGGED[operation]
            case.headers["If-Match"] = self._ask("GET", path.format(**named), by=caller)[0]

    def _aim_body(self, case: Any, operation: str) -> None:
        given = case.body if isinstance(case.body, dict) else {}
        body = self._body(operation, given)
        if body is not None:
            case.media_type = "application/json"
            case.body = body

    def _body(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        made = f"made-{uuid4().hex}"
        match operation:
            case "create_lease":
                kept = {name: given[name] for name in ("ttl", "purpose") if name in given}
                wanted = {"product": self.product, "environment": "production"}
                return kept | (wanted if "product" in given else {"credential": self.credential})
            case "create_credential" if "configuration" in given:
                return _without(given, "value", "type", "attributes") | self._from_configuration(made)
            case "create_credential":
                value = {"type": "generic-secret", "name": made, "value": uuid4().hex}
                return _without(given, "fields", "attributes") | value
            case "rotate_credential":
                return _without(given, "fields") | {"value": uuid4().hex}
            case "upgrade_credential":
                return {}
            case "create_locker" | "replace_locker":
                return given | {"name": made}
            case "create_configuration" | "replace_configuration":
                return self._definition(made) | {name: given[name] for name in ("description",) if name in given}
            case "try_configuration":
                return _without(given, "fields") | {"fields": {"apiKey": uuid4().hex}}
            case "create_subscription":
                return {"url": self._events, "events": ["locker.*"]}
        return None

    @property
    def _events(self) -> str:
        return f"{self._app.vendor.url}/events"

    def _from_configuration(self, name: str) -> dict[str, Any]:
        return {"name": name, "configuration": {"id": self.configuration}, "fields": {"apiKey": uuid4().hex}}

    def _definition(self, name: str, **more: Any) -> dict[str, Any]:
        fields = [{"id": "apiKey", "label": "API key", "type": "password"}]
        about = {"name": name, "fields": fields, "scope": "products", "products": [self.product]}
        return about | {"audience": ["contoso"], "validation": {"url": f"{self._app.vendor.url}/validate"}} | more

    def _publish(self) -> str:
        """Publish without an endpoint, whose calls are rationed; the draft has one."""
        _, made = self._ask(
            "POST", "/configurations", self._definition("target", validation=None), by="northwind-vendor"
        )
        one = f"/configurations/{made['id']}"
        tag, _ = self._ask("POST", f"{one}/publish", by="northwind-vendor")
        self._ask("PUT", one, self._definition("next"), by="northwind-vendor", tag=tag)
        return str(made["id"])

    def _subscribe(self) -> str:
        """A tenant has twenty subscriptions at most, so one that is there will do."""
        _, there = self._ask("GET", "/subscriptions", by="ada")
        wanted = {"url": self._events, "events": ["locker.*"]}
        one = there["items"][0] if there["items"] else self._ask("POST", "/subscriptions", wanted, by="ada")[1]
        return str(one["id"])

    def _ask(self, method: str, path: str, body: Any = None, by: str = "alice", tag: str = "") -> tuple[str, Any]:
        return asyncio.run(self._asked(method, path, body, by, tag))

    async def _asked(self, method: str, path: str, body: Any, by: str, tag: str) -> tuple[str, Any]:
        headers = {"Authorization": f"Bearer {self._app.identity.token(by)}"} | ({"If-Match": tag} if tag else {})
        url = f"{self._app.functions_url}/api/v1{path}"
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.request(method, url, json=body) as answer,
        ):
            return answer.headers.get("ETag", ""), await answer.json()


def _without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in (*names, "configuration")}


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
        caller = FIT.get(case.path.split("/")[3], caller)
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
        refused_by_size = response.status_code == 413  # a refusal too, though the check does not know it
        case.validate_response(response, checks=CONFORMANCE if refused_by_size else checks)

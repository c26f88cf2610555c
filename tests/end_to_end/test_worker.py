"""The app as Azure runs it: by the genuine worker library, on the Python it is deployed on, against the local cloud."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from local.cloud import PROJECT, SCHEDULES, LocalCloud
from tests.end_to_end.python_3_13 import environment_of, find_python
from vault_core.api.control_room.routes import CONTROL_ROOM_ROUTES
from vault_core.api.routes import ROUTES

PYTHON = find_python()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="there is no Python 3.13 on this machine, and the worker needs it"),
]
SCRIPT = Path(__file__).with_name("worker_process.py")
TIMERS = ("expire_leases", "check_credentials", "check_rotations", "reconcile", "deliver_events")


@pytest.fixture
def worker_python() -> Path:
    assert PYTHON
    return environment_of(PYTHON)


class Worker:
    """What the worker told of the app, and its answers to the invocations, in order."""

    def __init__(self, python: Path, settings: dict[str, str], *invocations: dict[str, Any]) -> None:
        done = subprocess.run(  # noqa: S603 - this project's own script
            [python, "-W", "error", SCRIPT, PROJECT],
            input=json.dumps(invocations),
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"], **settings},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        self.version = told["python"]
        self.functions: dict[str, Any] = told["functions"]
        self.answers: list[dict[str, Any]] = told["answers"]
        self.log = done.stderr

    def trigger(self, name: str) -> dict[str, Any]:
        triggers = [each for each in self.functions[name]["bindings"] if each["type"].endswith("Trigger")]
        assert len(triggers) == 1
        trigger: dict[str, Any] = triggers[0]
        return trigger


EVERY_ROUTE = (*ROUTES, *CONTROL_ROOM_ROUTES)


def http(operation: str, token: str = "", body: Any = None, **params: str) -> dict[str, Any]:
    """An HTTP invocation as the host sends it: header names in lower case. What the path does not name is the query."""
    route = next(route for route in EVERY_ROUTE if route.name == operation)
    headers = {"content-type": "application/json"} if body is not None else {}
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    return {
        "function": operation,
        "method": route.method,
        "url": f"https://vault.example{route.path}",
        "headers": headers,
        "params": {name: text for name, text in params.items() if name in route.parameters},
        "query": {name: text for name, text in params.items() if name not in route.parameters},
        "body": json.dumps(body) if body is not None else "",
    }


def test_the_worker_finds_every_route_and_every_timer(worker_python: Path, local_parts: LocalCloud) -> None:
    worker = Worker(worker_python, dict(local_parts.environment))
    assert worker.version == [3, 13]
    assert set(worker.functions) == {route.name for route in EVERY_ROUTE} | set(TIMERS)
    for route in EVERY_ROUTE:
        trigger = worker.trigger(route.name)
        assert (trigger["type"], trigger["methods"]) == ("httpTrigger", [route.method])
        assert trigger["route"] == route.path.removeprefix("/")
        assert trigger["authLevel"].lower() == "anonymous"
    for name in TIMERS:
        trigger = worker.trigger(name)
        assert trigger["type"] == "timerTrigger"
        assert trigger["schedule"].strip("%") in SCHEDULES
        assert trigger["useMonitor"] is True


def test_the_worker_serves_what_is_asked(worker_python: Path, local_parts: LocalCloud) -> None:
    alice, name, value = local_parts.identity.token("alice"), f"worker-{uuid.uuid4().hex}", uuid.uuid4().hex
    worker = Worker(
        worker_python,
        dict(local_parts.environment),
        http("read_me"),
        http("create_credential", alice, {"name": name, "type": "generic-secret", "value": value}),
        http("create_lease", alice, {"credential": name}),
        http("read_credential", alice, credential=name),
        http("list_configurations", alice, limit="5"),
        http("resolve_credential", alice, product="nothing-of-the-kind", environment="test"),
        http("read_summary", alice),
        http("control_room_list_credentials", alice, {"page": {"length": 1}}),
        http("delete_credential", alice, credential=name),
        http("read_openapi"),
        *({"function": timer} for timer in TIMERS),
        http("read_health"),
    )
    *http_answers, health = [answer for answer in worker.answers if answer]
    assert [answer["status"] for answer in http_answers] == [401, 201, 201, 200, 200, 404, 200, 200, 204, 200]
    refused, created, leased, read, offered, _, summary, listed, deleted, _ = http_answers
    assert refused["headers"]["WWW-Authenticate"] == "Bearer"
    assert json.loads(leased["body"])["value"] == value
    assert json.loads(read["body"]) == json.loads(created["body"])
    assert "items" in json.loads(offered["body"])
    assert json.loads(summary["body"])["total"] >= 1
    assert json.loads(listed["body"])["page"]["total"] >= 1
    assert not deleted["body"]
    assert health["status"] == 200
    assert {timer["name"] for timer in json.loads(health["body"])["timers"]} >= set(TIMERS)
    assert value not in worker.log

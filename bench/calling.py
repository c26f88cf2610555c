"""The app's functions, called in this process as the functions host calls them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import azure.functions as func

from bench.processes import token
from local.cloud import PROJECT
from local.functions_host.invocation import invoke
from local.functions_host.registration import load_app

DATABASE = {
    "name": "measured",
    "type": "database-url",
    "value": "postgresql://app:not-a-secret@db.example.com:5432/app",
    "metadata": {"team": "payments", "service": "ledger"},
    "policy": {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]},
}
LEASE = {"credential": DATABASE["name"]}


class Functions:
    """The functions that the app registers, by name. An app can be loaded once in a process."""

    def __init__(self) -> None:
        self._functions = {route.target.name: route.target for route in load_app(PROJECT, os.environ).routes}

    async def call(self, name: str, request: func.HttpRequest) -> Any:
        """Return what the function answers; `RuntimeError` when that is no success."""
        answer = await invoke(self._functions[name], request)
        said = json.loads(answer.get_body())
        if answer.status_code not in (200, 201):
            raise RuntimeError(f"{name} answered {answer.status_code}: {said.get('detail')}")
        return said


def request(caller: str, body: Mapping[str, Any] | None = None) -> func.HttpRequest:
    """Return a request with the token of a known identity: a `POST` when it has a body."""
    headers = {"authorization": f"Bearer {token(caller)}", "accept": "application/json", "user-agent": "bench"}
    return func.HttpRequest(
        method="GET" if body is None else "POST",
        url="https://vault.example/api",
        headers=headers if body is None else {**headers, "content-type": "application/json"},
        body=b"" if body is None else json.dumps(body).encode(),
    )

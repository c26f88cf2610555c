"""Where telemetry is received in place of Application Insights: whatever the vault exports can be searched here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from local.ports import HOST
from tests.conftest import AUTHORITY


class Ingestion:
    """Receives what the exporter sends, and keeps it. Only a token of the app's own identity opens it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[str] = []
        self.refused = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """What the app must be started with to send everything here, and soon."""
        key = "00000000-0000-0000-0000-000000000000"
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": (
                f"InstrumentationKey={key};IngestionEndpoint=https://{HOST}:{self.port}/"
            ),
            "REQUESTS_CA_BUNDLE": str(AUTHORITY.bundle),
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }

    def application(self) -> web.Application:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._receive)
        return application

    @property
    def items(self) -> list[Any]:
        """Everything that was received, item by item."""
        return [item for text in self.received for item in json.loads(text)]

    @property
    def kinds(self) -> set[str]:
        """Return what kinds of items there are."""
        return {item["data"]["baseType"] for item in self.items}

    def names(self, kind: str) -> set[str]:
        """Return the names of the items of a kind: `RequestData`, `RemoteDependencyData` or `MetricData`."""
        found = [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == kind]
        return {one["name"] for base in found for one in base.get("metrics", [base])}

    async def _receive(self, request: web.Request) -> web.Response:
        if not request.headers.get("Authorization", "").startswith("Bearer ") or not request.path.endswith("/track"):
            self.refused += 1
            return web.Response(status=401)
        self.received.append(await request.text())
        count = len(json.loads(self.received[-1]))
        return web.json_response({"itemsReceived": count, "itemsAccepted": count, "errors": []})

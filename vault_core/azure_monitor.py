"""Telemetry to Application Insights. Importing this takes half a second: only who wants it does."""

from __future__ import annotations

from collections.abc import MutableMapping

from azure.core.credentials import TokenCredential
from azure.core.settings import settings as azure_core
from azure.monitor.opentelemetry import configure_azure_monitor
from opentelemetry.metrics import get_meter
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import get_tracer

from vault_core.open_telemetry import OpenTelemetry

_NAME = "vault"

INSTRUMENTED = (
    "azure_sdk",
    "django",
    "fastapi",
    "flask",
    "httpx",
    "httpx2",
    "psycopg2",
    "requests",
    "urllib",
    "urllib3",
)
"""What would be traced by itself, with URLs that name rows and secrets: every one of these is left off."""

# What can be said in no other way. The functions host sends log lines already; the rest tells Microsoft how its
# exporter fares and takes settings from there, which the vault needs no part of.
_SWITCHES = {
    "OTEL_LOGS_EXPORTER": "none",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED": "true",
}


def open_azure_monitor(
    connection_string: str, credential: TokenCredential, environment: MutableMapping[str, str]
) -> OpenTelemetry:
    """Return what sends measurements and spans to the resource that the connection string names; once per process.

    They are collected in memory and sent by threads of their own: spans every five seconds, metrics every minute.
    What cannot be sent is lost; nothing is written to a disk. `ValueError` for a string that is none.
    """
    environment.update(_SWITCHES)
    azure_core.tracing_enabled = False
    configure_azure_monitor(
        connection_string=connection_string,
        credential=credential,
        instrumentation_options={library: {"enabled": False} for library in INSTRUMENTED},
        resource=Resource({"service.name": environment.get("WEBSITE_SITE_NAME", "credentials-vault")}),
        enable_live_metrics=False,
        enable_performance_counters=False,
        disable_offline_storage=True,
    )
    return OpenTelemetry(get_tracer(_NAME), get_meter(_NAME))

"""Telemetry that is not configured is not paid for, and telemetry that is traces nothing by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from local.cloud import PROJECT, LocalCloud

pytestmark = pytest.mark.slow

START = """
import json, logging, os, sys
import function_app
from azure.core.settings import settings
instrumented = [name for name in sys.modules if name.startswith("opentelemetry.instrumentation.")]
print(json.dumps({
    "modules": [name for name in sys.modules if name.split(".")[0] == "opentelemetry" or "monitor" in name],
    "instrumented": instrumented,
    "azure_core": settings.tracing_enabled(),
    "handlers": [type(one).__name__ for one in logging.getLogger().handlers],
    "level": logging.getLogger("azure.monitor.opentelemetry.exporter").getEffectiveLevel(),
}))
sys.stdout.flush()
os._exit(0)
"""
NOWHERE = "InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=https://127.0.0.1:9/"


def started(parts: LocalCloud, **more: str) -> Any:
    """Return what an app that was started with these settings, too, found of itself."""
    environment = {**parts.environment, **more, "PATH": "", "AZURE_TRACING_ENABLED": "true"}
    run = subprocess.run(  # noqa: S603 - the interpreter that runs this
        [sys.executable, "-c", START], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("setting", [{}, {"APPLICATIONINSIGHTS_CONNECTION_STRING": ""}], ids=["absent", "empty"])
def test_an_app_without_the_setting_loads_nothing_of_it(running_parts: LocalCloud, setting: dict[str, str]) -> None:
    assert started(running_parts, **setting)["modules"] == []


def test_an_app_with_the_setting_traces_no_library_by_itself_and_sends_no_logs(running_parts: LocalCloud) -> None:
    found = started(running_parts, APPLICATIONINSIGHTS_CONNECTION_STRING=NOWHERE)
    assert "azure.monitor.opentelemetry" in found["modules"]
    libraries = {name.split(".")[2] for name in found["instrumented"]}
    assert libraries.isdisjoint({"requests", "urllib", "urllib3", "httpx", "flask", "django", "fastapi", "psycopg2"})
    assert found["azure_core"] is False
    assert found["handlers"] == []
    assert found["level"] == 30


def test_every_library_that_would_be_traced_by_itself_is_named() -> None:
    from azure.monitor.opentelemetry._constants import _ALL_SUPPORTED_INSTRUMENTED_LIBRARIES

    from vault_core.azure_monitor import INSTRUMENTED

    assert set(INSTRUMENTED) == set(_ALL_SUPPORTED_INSTRUMENTED_LIBRARIES)

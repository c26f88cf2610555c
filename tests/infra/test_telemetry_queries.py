"""Do the alerts and the workbook ask for what the vault tells, in queries that can be run?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.queries import alert_rules, queries, watched_timers, workbook
from tests.infra.templates import INFRA, Rule, broken, entries, parsed
from tests.infra.test_app_settings import timer_schedules
from vault_core.telemetry import METRICS

DIMENSIONS = {metric.name: set(metric.dimensions) for metric in METRICS}

ANALYSIS = Path(__file__).parent / "kusto" / "analyze.js"

TABLES = {
    "AppMetrics": "TimeGenerated: datetime, Name: string, Sum: real, Min: real, Max: real, ItemCount: int, "
    "Properties: dynamic",
    "AppRequests": "TimeGenerated: datetime, Name: string, DurationMs: real, Success: bool, ItemCount: int, "
    "Properties: dynamic",
    "AZKVAuditLogs": "TimeGenerated: datetime, OperationName: string, HttpStatusCode: int, Identity: dynamic, "
    "_ResourceId: string",
}
"""What of the tables is used: https://learn.microsoft.com/azure/azure-monitor/reference/tables-index"""


def metrics_asked_for(folder: Path) -> list[str]:
    """A query names only metrics that the vault has, and only dimensions that these have."""
    wrong = []
    for name, query in queries(folder).items():
        metrics = set(re.findall(r'"(vault\.[a-z_.]+)"', query))
        wrong += [f"{name}: there is no {metric}" for metric in metrics - DIMENSIONS.keys()]
        known: set[str] = set().union(*(DIMENSIONS.get(metric, set()) for metric in metrics))
        wrong += [f"{name}: {used} is no dimension" for used in set(re.findall(r"Properties\.(\w+)", query)) - known]
    return wrong


def metrics_shown(folder: Path) -> list[str]:
    """The workbook shows every metric."""
    shown = "\n".join(content["query"] for content in workbook(folder))
    return [name for name in DIMENSIONS if f'"{name}"' not in shown]


def timers_watched(folder: Path) -> list[str]:
    """The alerts watch every timer, and none that there is not."""
    watched = {timer["name"] for timer in watched_timers(folder)}
    run = {name.removeprefix("VAULT_SCHEDULE_").lower() for name in timer_schedules()}
    return sorted(watched ^ run)


def subjects(folder: Path) -> list[str]:
    """A query of an alert names what is wrong in the column by which alerts are told apart."""
    return [name for name, query in alert_rules(folder).items() if "subject" not in query]


def workbook_scope(folder: Path) -> list[str]:
    """Every query of the workbook runs on the workspace that the template fills in, within the chosen time."""
    shown = workbook(folder)
    wrong = [each["title"] for each in shown if each["crossComponentResources"] != ["{workspaceId}"]]
    wrong += [each["title"] for each in shown if each["timeContextFromParameter"] != "TimeRange"]
    filled = dict(entries(parsed(folder / "modules" / "workbook.bicep")["resources"]))["serializedData"]
    return wrong if "{workspaceId}" in str(filled) else [*wrong, "the template does not fill in the workspace"]


def kusto(folder: Path) -> list[str]:
    """Every query is one, by Azure's own parser. Nothing else would tell: alerts are made without a look at theirs."""
    timers = ", ".join(f'"{one["name"]}", {one["silent"]}, {one["late"]}' for one in watched_timers(folder))
    gaps = {"{timers}": timers, "{identity}": "11111111-1111-1111-1111-111111111111", "{TimeRange:grain}": "5m"}
    texts = dict(queries(folder))
    for gap, filling in gaps.items():
        texts = {name: text.replace(gap, filling) for name, text in texts.items()}
    assert ANALYSIS.with_name("node_modules").is_dir(), "the parser of queries is not installed: make infra"
    asked = json.dumps({"tables": TABLES, "queries": list(texts.values())})
    node = Path(sys.prefix) / "bin" / "node"
    done = subprocess.run([node, ANALYSIS], input=asked, capture_output=True, text=True, timeout=300, check=True)  # noqa: S603
    return [f"{name}: {fault}" for name, faults in zip(texts, json.loads(done.stdout), strict=True) for fault in faults]


RULES: tuple[Rule, ...] = (metrics_asked_for, metrics_shown, timers_watched, subjects, workbook_scope)
SLOW_RULES = (pytest.param(kusto, marks=pytest.mark.slow),)


@pytest.mark.parametrize("rule", [*RULES, *SLOW_RULES], ids=lambda rule: rule.__name__)
def test_the_queries_ask_for_what_the_vault_tells(rule: Rule) -> None:
    assert rule(INFRA) == []


BREAKS = {
    "a metric of an alert": (metrics_asked_for, "modules/alerts.bicep", '"vault.timer.lag"', '"vault.timer.lags"'),
    "a dimension of an alert": (metrics_asked_for, "modules/alerts.bicep", "Properties.store)", "Properties.shop)"),
    "a metric of the workbook": (metrics_asked_for, "workbook.json", "vault.validations", "vault.validation"),
    "a metric not shown": (metrics_shown, "workbook.json", "vault.leases.active", "vault.leases.granted"),
    "a timer": (timers_watched, "modules/alerts.bicep", "name: 'reconcile'", "name: 'repair'"),
    "a subject": (subjects, "modules/alerts.bicep", 'subject = "requests"', 'what = "requests"'),
    "the time": (workbook_scope, "workbook.json", 'Parameter": "TimeRange"', 'Parameter": "Hour"'),
    "the workspace": (workbook_scope, "modules/workbook.bicep", "'{workspaceId}'", "'{workspace}'"),
}


@pytest.mark.parametrize(("rule", "file", "old", "new"), BREAKS.values(), ids=BREAKS)
def test_a_query_that_asks_for_something_else_is_found(
    rule: Rule, file: str, old: str, new: str, tmp_path: Path
) -> None:
    assert rule(broken(tmp_path, file, old, new)) != []


@pytest.mark.slow
def test_a_query_that_cannot_be_run_is_found(tmp_path: Path) -> None:
    folder = broken(tmp_path, "modules/alerts.bicep", "| join kind = inner timers", "| joyn kind = inner timers")
    assert {fault.split(":")[0] for fault in kusto(folder)} == {"timer-late"}

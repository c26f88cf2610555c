"""The queries that the alerts and the workbook run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.infra.templates import parsed


def alert_rules(folder: Path) -> dict[str, str]:
    """Return the query of every alert by the alert's name, with gaps in braces where the template fills in."""
    rules = parsed(folder / "modules" / "alerts.bicep")["variables"]["rules"]["value"]
    return {rule["name"]: _text(rule["query"]) for rule in rules}


def _text(query: Any) -> str:
    return str(query if isinstance(query, str) else query["function"]["parameters"]["original_string"])


def watched_timers(folder: Path) -> list[dict[str, str]]:
    """Return the timers that the alerts watch, and how long each may be silent and late."""
    timers: list[dict[str, str]] = parsed(folder / "modules" / "alerts.bicep")["variables"]["timers"]["value"]
    return timers


def workbook(folder: Path) -> list[dict[str, Any]]:
    """Return every part of the workbook that shows a query."""
    items = json.loads((folder / "workbook.json").read_text())["items"]
    return [item["content"] for item in items if item["type"] == 3]


def queries(folder: Path) -> dict[str, str]:
    """Return every query, by the name of the alert or the title in the workbook."""
    return alert_rules(folder) | {content["title"]: content["query"] for content in workbook(folder)}

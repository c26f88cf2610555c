"""The benchmarks run to their end and give figures. What the figures are is not a matter for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import NAMES
from bench.measured import Measured
from local.cloud import PROJECT

pytestmark = pytest.mark.slow

COLUMNS = {
    "cost": {"operation", "rounds", "Tables", "Key Vault", "$ for stores", "$ with the function"},
    "cold_start": {"step", "ms", "of the import"},
    "overhead": {"way", "leases/s", "rate against bare", "processor ms/lease", "processor against bare"},
    "sweep": {"stores", "due", "of credentials", "not due", "seconds", "processor us/lease", "calls/lease"},
    "growth": {"stores", "operation", "ms at 100", "ms at 300", "calls at 100", "calls at 300"},
    "listing": {
        "caller",
        "list",
        "calls at 100",
        "calls at 300",
        "ms at 100",
        "ms at 300",
        "ratio",
        "against all",
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_keeps_its_figures_as_json(name: str, tmp_path: Path) -> None:
    kept = quick_run(name, tmp_path)
    assert kept["name"] == name
    assert kept["quick"] is True
    assert {frozenset(row) for row in kept["rows"]} == {frozenset(COLUMNS[name])}


def test_a_table_shows_each_figure_under_its_column() -> None:
    shown = Measured("sample", "A sample", [{"way": "one", "ms": 1.5}, {"way": "another", "ms": 20_000}]).table()
    assert shown == "A sample\n\n  way          ms\n  -------  ------\n  one         1.5\n  another  20,000\n"


def quick_run(name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench", "--quick", "--only", name, "--results", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    kept: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return kept

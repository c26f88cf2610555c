"""From a new process to the first answer: what a caller waits for when Azure has just started a worker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from statistics import median

from bench.measured import Cell, Measured, say

_IMPORT = "import function_app"
_IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
_SHOWN_PACKAGES = 12


async def measure(*, quick: bool) -> Measured:
    """Measure the import, with and without bytecode, its heaviest parts, and the first answers."""
    rounds = 1 if quick else 5
    with tempfile.TemporaryDirectory() as compiled, tempfile.TemporaryDirectory() as empty:
        there = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        missing = {"PYTHONPYCACHEPREFIX": empty, "PYTHONDONTWRITEBYTECODE": "1"}
        _python(there, "-c", _IMPORT)
        starts = _starts(rounds, there, missing)
        say("cold start: imports are measured")
        answers = _answers(rounds, there)
        parts = _parts(there)
    rows: list[dict[str, Cell]] = [_row(step, milliseconds) for step, milliseconds in (starts | answers).items()]
    total = sum(parts.values())
    heaviest = sorted(parts.items(), key=lambda part: part[1], reverse=True)[:_SHOWN_PACKAGES]
    rows += [_row(f"  share of {package}", each, f"{each / total:.0%}") for package, each in heaviest]
    return Measured(
        name="cold_start",
        title="Cold start: milliseconds from a new process to its first answers",
        rows=rows,
        notes=[
            f"Medians of {rounds} new processes; each line before the shares stands for itself.",
            "The first lease gets the app's tokens and opens connections to Key Vault and Tables.",
            "The shares are of one import that was traced, which is slower: a package without what it imports.",
        ],
    )


def _starts(rounds: int, there: Mapping[str, str], missing: Mapping[str, str]) -> dict[str, float]:
    ways = {
        "Python alone": (there, "pass"),
        "Python and import function_app": (there, _IMPORT),
        "the same, no package compiled to bytecode": (missing, _IMPORT),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (environment, program) in ways.items():
            began = time.perf_counter()
            _python(environment, "-c", program)
            took[way].append(1000 * (time.perf_counter() - began))
    return {way: median(each) for way, each in took.items()}


def _answers(rounds: int, there: Mapping[str, str]) -> dict[str, float]:
    _python(there, "-m", "bench.first_answer", "--create")
    taken = [json.loads(_python(there, "-m", "bench.first_answer").stdout) for _ in range(rounds)]
    names = {
        "who am i": "first answer that needs no store (who am I)",
        "first lease": "then the first lease",
        "warm lease": "a later lease",
    }
    return {shown: median(each[name] for each in taken) for name, shown in names.items()}


def _parts(there: Mapping[str, str]) -> Mapping[str, float]:
    """Return the milliseconds that each package takes to import, without those that it imports itself."""
    parts: defaultdict[str, float] = defaultdict(float)
    for microseconds, module in _IMPORTED.findall(_python(there, "-X", "importtime", "-c", _IMPORT).stderr):
        first, *rest = module.split(".")
        parts[".".join([first, *rest[:1]]) if first == "azure" else first] += int(microseconds) / 1000
    return parts


def _python(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - its own interpreter
        [sys.executable, *arguments], env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )


def _row(step: str, milliseconds: float, share: str = "") -> dict[str, Cell]:
    return {"step": step, "ms": milliseconds, "of the import": share}

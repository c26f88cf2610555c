"""The command line of the benchmarks.

python -m bench                  run all, print tables, write JSON to bench/results
python -m bench --only sweep     run one
python -m bench --quick          a short run to see that everything works; its figures mean little
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bench.measured import RESULTS, Measured, say
from bench.processes import BenchmarkFailed, run
from local.azurite import NotInstalled
from local.child import ChildFailed

NAMES = ("cost", "cold_start", "overhead", "sweep", "growth", "listing")


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.inside:
        print(json.dumps(asdict(asyncio.run(_measure(arguments.only, quick=arguments.quick)))))
        return 0
    names = [arguments.only] if arguments.only else NAMES
    try:
        asyncio.run(_run_all(names, arguments.results, quick=arguments.quick))
    except (BenchmarkFailed, ChildFailed, NotInstalled) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


async def _run_all(names: Iterable[str], folder: Path, *, quick: bool) -> None:
    for name in names:
        say(f"{name} ...")
        measured = await run(name, quick=quick)
        kept = measured.keep(folder, quick=quick)
        print(f"\n{measured.table()}\n  Kept in {kept}\n", flush=True)


async def _measure(name: str, *, quick: bool) -> Measured:
    measured: Measured = await importlib.import_module(f"bench.{name}").measure(quick=quick)
    return measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=NAMES, help="run this one alone")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that everything works")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where JSON is written")
    # How a benchmark is started in a process of its own.
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

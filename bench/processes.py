"""Runs a benchmark in a process of its own: with a local cloud of its own when it needs one, whose servers then
take no processor time of what is measured.

The process gets the settings that a deployment would have, and in `BENCH_` variables what a caller of the vault has:
tokens, and where the functions are served.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.measured import Measured
from local.cloud import PROJECT, local_cloud
from local.identities import KNOWN_IDENTITIES
from local.ports import Ports

FUNCTIONS_URL = "BENCH_FUNCTIONS_URL"
TOKENS = "BENCH_TOKENS"
_IN_CLOUD: Mapping[str, Path | None] = {
    "overhead": PROJECT,
    "sweep": None,
    "growth": None,
    "listing": None,
    "cold_start": None,
}


class BenchmarkFailed(Exception):
    """A benchmark ended without figures; what it wrote to its standard error says why."""


async def run(name: str, *, quick: bool) -> Measured:
    """Run the benchmark to its end; `BenchmarkFailed` when it gives no figures."""
    async with _environment(name) as environment:
        arguments = ["-m", "bench", "--inside", "--only", name, *(["--quick"] if quick else [])]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env={**os.environ, **environment}, cwd=PROJECT, stdout=asyncio.subprocess.PIPE
        )
        try:
            printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        raise BenchmarkFailed(f"The benchmark {name} ended with status {process.returncode}.")
    return Measured(**json.loads(printed))


def token(name: str) -> str:
    """Return the token of a known identity, inside a process that `run` started."""
    return str(json.loads(os.environ[TOKENS])[name])


@asynccontextmanager
async def _environment(name: str) -> AsyncIterator[Mapping[str, str]]:
    if name not in _IN_CLOUD:
        yield {}
        return
    async with local_cloud(folder=None, ports=Ports.any_free(), app=_IN_CLOUD[name]) as cloud:
        tokens = {known: cloud.identity.token(known) for known in KNOWN_IDENTITIES}
        yield {**cloud.environment, FUNCTIONS_URL: cloud.functions_url, TOKENS: json.dumps(tokens)}

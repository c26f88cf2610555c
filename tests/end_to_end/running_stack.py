"""The local cloud as its users start it: as a process of its own, on a state folder and free ports."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from local.cloud import PROJECT
from local.ports import Ports

START_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Stack:
    """A local cloud that is up."""

    state: Path
    url: str
    pid: int


def free_ports() -> list[str]:
    """Return options that name a free port for each part: the state knows its Key Vault by the port."""
    ports = Ports.any_free().claimed()
    return [f"--port-{part.name.replace('_', '-')}={getattr(ports, part.name)}" for part in fields(Ports)]


def command(state: Path, name: str, *options: str) -> list[str]:
    """Return the command line of `python -m local` on the state folder."""
    return [sys.executable, "-m", "local", "--state", str(state), name, *options]


async def run(words: Sequence[str]) -> tuple[int, str, str]:
    """Run the command in the project's folder; return its exit status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *words, cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def token(state: Path, name: str) -> str:
    """Return a token of a known person or agent."""
    status, output, errors = await run(command(state, "token", name))
    assert status == 0, errors
    return output.strip()


@asynccontextmanager
async def up(state: Path, ports: Sequence[str]) -> AsyncIterator[Stack]:
    """Start `python -m local up`, and stop it with a signal at the end, which it must heed."""
    process = await asyncio.create_subprocess_exec(
        *command(state, "up", *ports), cwd=PROJECT, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout
    try:
        async with asyncio.timeout(START_SECONDS):
            url = await _announced(process.stdout)
        yield Stack(state, url, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()


async def _announced(output: asyncio.StreamReader) -> str:
    url = ""
    async for line in output:
        if found := re.search(r"Functions +(http\S+)", line.decode()):
            url = found[1]
        if line.lstrip().startswith(b"Known are"):
            return url
    raise AssertionError("the local cloud ended before it was up")

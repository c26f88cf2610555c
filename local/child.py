"""A child process on a leash."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_LIMIT_SECONDS = 60
STOP_LIMIT_SECONDS = 8
LONGEST_LINE = 16 * 1024 * 1024


class ChildFailed(Exception):
    """A child ended, or did not come up; the message holds its last lines of output."""


class Child:
    """A child process that ends when its standard input closes, so also when this process is killed.

    It is in a session of its own: an interrupt at the keyboard reaches only this process, which then ends its
    children in order. The program run must watch its standard input.
    """

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        ready: str,
        on_line: Callable[[str], None] | None,
    ) -> None:
        self.name = name
        self._process = process
        self._ready = re.compile(ready)
        self._came_up = asyncio.Event()
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=20)
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        ready: str,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Child:
        """Start the command and return when a line of its output matches `ready`; else `ChildFailed`."""
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
            limit=LONGEST_LINE,
        )
        child = cls(name, process, ready, on_line)
        try:
            await child._come_up()
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> None:
        """Wait until the child has ended."""
        await self._process.wait()
        # Not awaited itself: who gives up waiting must not end the reading.
        await asyncio.wait({self._reading})

    async def stop(self) -> None:
        """Let go of the leash and wait; a child that stays is killed."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_LIMIT_SECONDS):
                await self.ended()
        except TimeoutError:
            self._process.kill()
            await self.ended()

    def failure(self, what: str) -> ChildFailed:
        """Return the error that says what happened to the child, with its last lines of output."""
        shown = "\n".join(f"  {line}" for line in self._tail) or "  (it said nothing)"
        return ChildFailed(f"{self.name} {what}. Its last words:\n{shown}")

    async def _come_up(self) -> None:
        coming_up = asyncio.create_task(self._came_up.wait())
        try:
            await asyncio.wait(
                {coming_up, self._reading}, timeout=START_LIMIT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            coming_up.cancel()
        if not self._came_up.is_set():
            what = "ended" if self._reading.done() else f"was not ready within {START_LIMIT_SECONDS} seconds"
            raise self.failure(f"{what}, before it was up")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self._tail.append(line)
            if self._ready.search(line):
                self._came_up.set()
            if self._on_line:
                self._on_line(line)

"""Independent calls that go out together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
async def together(one: Awaitable[A], two: Awaitable[B], /) -> tuple[A, B]: ...
@overload
async def together(one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], /) -> tuple[A, B, C]: ...
@overload
async def together(
    one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], four: Awaitable[D], /
) -> tuple[A, B, C, D]: ...
async def together(*calls: Awaitable[Any]) -> tuple[Any, ...]:
    """Run the calls at the same time and return their results; the first failure is raised once all have ended.

    `asyncio.gather` alone would leave the others running, and a write that still runs cannot be undone.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return tuple(results)

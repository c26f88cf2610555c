"""Independent calls that go out together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar, cast, overload

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
    return tuple(await gathered(calls))


async def gathered(calls: Iterable[Awaitable[A]]) -> list[A]:
    """Run any number of calls of one kind, otherwise as `together`."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[A], results)


def batches(items: Sequence[A], size: int) -> Iterable[Sequence[A]]:
    """Yield the items in order, `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))

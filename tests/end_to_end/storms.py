"""Many requests at once, and requests that never end while something changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from vault_core.errors import VaultError
from vault_core.grants import Granted


async def all_of(calls: Iterable[Awaitable[Any]]) -> tuple[list[Any], Counter[type[BaseException]]]:
    """Make the calls at once; return the answers, and how often each refusal came."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    answers = [one for one in results if not isinstance(one, BaseException)]
    return answers, Counter(type(one) for one in results if isinstance(one, BaseException))


class Storm:
    """Many who lease one credential, each by its number, again and again."""

    def __init__(self, lease: Callable[[int], Awaitable[Granted]]) -> None:
        self._lease = lease
        self._over = asyncio.Event()
        self.granted: list[str] = []
        self.refused_afterwards: set[type[VaultError]] = set()

    async def lasts_until(self, change: Awaitable[object]) -> None:
        """Let it rage, make the change in the midst of it, and let each of them ask twice more."""
        askers = [asyncio.create_task(self._ask(number)) for number in range(9)]
        while len(self.granted) < 12:  # noqa: ASYNC110 - what is waited for is no single event
            await asyncio.sleep(0.005)
        await change
        self._over.set()
        await asyncio.gather(*askers)

    async def _ask(self, number: int) -> None:
        left = 2
        while left:
            is_late = self._over.is_set()
            left -= is_late
            try:
                granted = await self._lease(number)
            except VaultError as refusal:
                if is_late:
                    self.refused_afterwards.add(type(refusal))
            else:
                assert not is_late, "a lease was granted that was asked for too late"
                self.granted.append(granted.lease.id)

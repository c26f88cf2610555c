"""An operation of one worker, and what another does in the midst of it: ahead of each of its calls in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from tests.vaults import TENANTS, World
from vault_core.errors import VaultError
from vault_core.stores import Change, Condition, Keys, Page, Partitions, Row, Table
from vault_core.vault import Vault

Act = Callable[[], Awaitable[object]]


class InterruptedTable:
    """A table ahead of whose n-th call, from when it was told, someone else acts."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._left = 0
        self._act: Act | None = None

    def interrupt(self, call: int, act: Act) -> None:
        """Let `act` have its turn ahead of the call of this number, counted from now; the first is 1."""
        self._left, self._act = call, act

    @property
    def interrupted(self) -> bool:
        """Whether the call came."""
        return self._act is not None and self._left <= 0

    async def read(self, partition: str, key: str) -> Row:
        await self._turn()
        return await self._table.read(partition, key)

    async def commit(self, *changes: Change) -> list[Row]:
        await self._turn()
        return await self._table.commit(*changes)

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        await self._turn()
        return await self._table.query(span, where=where, limit=limit)

    async def _turn(self) -> None:
        self._left -= 1
        if self._left == 0 and self._act:
            await self._act()


@dataclass(frozen=True, slots=True)
class Moment:
    """A world in which someone acted ahead of a call of the operation, and what the operation came to."""

    world: World
    worker: Vault
    answer: object

    @property
    def came_through(self) -> bool:
        return not isinstance(self.answer, VaultError)


async def at_every_moment(
    begin: Callable[[], Awaitable[World]],
    operation: Callable[[Vault], Awaitable[object]],
    meanwhile: Callable[[World], Awaitable[object]],
    before: Callable[[Vault], Awaitable[object]] | None = None,
) -> AsyncIterator[Moment]:
    """Yield what comes of the operation for each of its calls to the `vault` table ahead of which another acts.

    The operation is done by a worker of its own, which does what is in `before` first, to remember it; `meanwhile`
    is done in the world that `begin` makes anew for every moment.
    """
    call = 0
    while call < 60:
        call += 1
        world = await begin()
        table = InterruptedTable(world.stores.vault)
        worker = Vault(replace(world.stores, vault=table), TENANTS, world.clock, world.outbound)
        if before:
            await before(worker)
        table.interrupt(call, partial(meanwhile, world))
        try:
            answer: object = await operation(worker)
        except VaultError as refusal:
            answer = refusal
        if not table.interrupted:
            assert call > 2, "the operation makes hardly any calls"
            return
        yield Moment(world, worker, answer)
    raise AssertionError("the operation never came to its end")

"""Stores that keep a ledger of what is asked of them, and that crash or fail when a plan says so.

    stores, ledger = watch(memory_stores, Plan(crash_after=3))

Run an operation once without a plan, and `ledger.total` is the number of places where it can be stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

from pydantic import SecretStr

from vault_core.errors import Unavailable
from vault_core.stores import Change, Condition, Discard, Keys, Page, Partitions, Row, Secrets, Stores, Table

T = TypeVar("T")

# A call takes this many turns of the event loop before it is applied, and as many after: calls that are made
# together overlap, even when one of them is a few awaits late.
_TURNS = 5


class Crash(BaseException):
    """The process has died: no code of the vault may catch this."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure in place of the answer; with `applied`, the call was applied and only its answer is lost."""

    error: Exception = field(default_factory=lambda: Unavailable("The store does not answer.", timedelta(seconds=1)))
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong, by the number of the call; the first call has number 1.

    `crash_after`: once that call is applied, it and every other call raise `Crash`. `meanwhile`: what others do just
    before that call is applied.
    """

    crash_after: int | None = None
    faults: Mapping[int, Fault] = field(default_factory=dict)
    meanwhile: Mapping[int, Callable[[], Awaitable[object]]] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """One call; `began` and `ended` are readings of a clock that ticks at every begin and end."""

    number: int
    store: str
    method: str
    subject: str
    began: int
    ended: int | None = None


class Ledger:
    """Every call in the order in which they began."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._clock = count()

    @property
    def total(self) -> int:
        return len(self.calls)

    @property
    def rounds(self) -> int:
        """The length of the longest chain of calls of which none began before the one ahead of it had ended."""
        length, free_at = 0, -1.0
        for call in sorted(self.calls, key=lambda call: _ended(call)):
            if call.began > free_at:
                length, free_at = length + 1, _ended(call)
        return length

    def count(self, store: str, method: str | None = None) -> int:
        return sum(call.store == store and method in (None, call.method) for call in self.calls)

    def begin(self, store: str, method: str, subject: str) -> Call:
        call = Call(len(self.calls) + 1, store, method, subject, began=next(self._clock))
        self.calls.append(call)
        return call

    def end(self, call: Call) -> None:
        call.ended = next(self._clock)

    def __str__(self) -> str:
        return "\n".join(
            f"{call.number:3} [{call.began}..{call.ended}] {call.store}.{call.method} {call.subject}"
            for call in self.calls
        )


def watch(stores: Stores, plan: Plan | None = None) -> tuple[Stores, Ledger]:
    """Return the stores with a ledger, and with the faults of the plan."""
    ledger = Ledger()
    process = _Process(plan or Plan(), ledger)
    tables = {
        each.name: _WatchedTable(each.name, getattr(stores, each.name), process)
        for each in fields(Stores)
        if each.name != "secrets"
    }
    return Stores(**tables, secrets=_WatchedSecrets(stores.secrets, process)), ledger


class _Process:
    """What all stores of one run share: the plan, the ledger, and whether the process still lives."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan = plan
        self._ledger = ledger
        self._crashed = False

    async def call(self, store: str, method: str, subject: str, apply: Callable[[], Awaitable[T]]) -> T:
        call = self._ledger.begin(store, method, subject)
        fault = self._plan.faults.get(call.number)
        try:
            await self._take_turns()
            if fault and not fault.applied:
                raise fault.error
            if others := self._plan.meanwhile.get(call.number):
                await others()
            try:
                answer = await apply()
            finally:
                self._crashed |= call.number == self._plan.crash_after
                await self._take_turns()
                if fault:
                    raise fault.error
            return answer
        finally:
            self._ledger.end(call)

    async def _take_turns(self) -> None:
        for _ in range(_TURNS):
            if self._crashed:
                raise Crash
            await asyncio.sleep(0)
        if self._crashed:
            raise Crash


class _WatchedTable:
    def __init__(self, name: str, table: Table, process: _Process) -> None:
        self._name = name
        self._table = table
        self._process = process

    async def read(self, partition: str, key: str) -> Row:
        return await self._call("read", f"{partition} {key}", lambda: self._table.read(partition, key))

    async def commit(self, *changes: Change) -> list[Row]:
        subject = ", ".join(map(_summary, changes))
        return await self._call("commit", subject, lambda: self._table.commit(*changes))

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        return await self._call("query", str(span), lambda: self._table.query(span, where=where, limit=limit))

    async def _call(self, method: str, subject: str, apply: Callable[[], Awaitable[T]]) -> T:
        return await self._process.call(self._name, method, subject, apply)


class _WatchedSecrets:
    def __init__(self, secrets: Secrets, process: _Process) -> None:
        self._secrets = secrets
        self._process = process

    def new_name(self, tenant: str) -> str:
        return self._secrets.new_name(tenant)

    async def write(self, name: str, value: SecretStr) -> None:
        await self._call("write", name, lambda: self._secrets.write(name, value))

    async def read(self, name: str) -> SecretStr:
        return await self._call("read", name, lambda: self._secrets.read(name))

    async def disable(self, name: str) -> None:
        await self._call("disable", name, lambda: self._secrets.disable(name))

    async def delete(self, name: str) -> None:
        await self._call("delete", name, lambda: self._secrets.delete(name))

    async def ping(self) -> None:
        await self._call("ping", "", self._secrets.ping)

    async def _call(self, method: str, subject: str, apply: Callable[[], Awaitable[T]]) -> T:
        return await self._process.call("secrets", method, subject, apply)


def _ended(call: Call) -> float:
    return float("inf") if call.ended is None else call.ended


def _summary(change: Change) -> str:
    at: Any = change if isinstance(change, Discard) else change.row
    return f"{type(change).__name__} {at.partition} {at.key}"

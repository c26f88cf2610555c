"""What the vault costs on top of its store calls: leases through the whole stack, and the same calls made bare.

The ways take turns in one run, in another order each round, so that whatever else the machine does meets all alike.
Each ratio is taken within a round; the median of the rounds is shown.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableClient
from azure.identity.aio import ManagedIdentityCredential

from bench.azurite import TABLES
from bench.bare import BareScript, sampled
from bench.calling import DATABASE, LEASE, Functions, request
from bench.measured import Cell, Measured, say
from bench.processes import FUNCTIONS_URL, token
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import table_client

TENANT = "contoso"
_AT_ONCE = 16
_VAULT, _BARE, _BARE_TUNED, _HTTP = (
    "vault, function called in process",
    "bare script, SDK as it comes",
    "bare script, SDK as the vault sets it",
    "vault, HTTP through the local host",
)

Lease = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Turn:
    """One way's share of a round: how long it took, and how much processor time of this process."""

    leases: int
    seconds: float
    processor: float

    @property
    def rate(self) -> float:
        return self.leases / self.seconds

    @property
    def processor_ms(self) -> float:
        return 1000 * self.processor / self.leases


async def measure(*, quick: bool) -> Measured:
    """Measure each way of leasing, in turn."""
    rounds, leases = (2, 32) if quick else (7, 160)
    # Every request has its log line, as it would be written in Azure.
    logging.basicConfig(level=logging.INFO, filename=os.devnull)
    async with _ways() as ways:
        turns = await _take_turns(ways, rounds, leases)
    return Measured(
        name="overhead",
        title="Overhead: leases through the vault against a bare script making the same store calls",
        rows=[_row(way, turns) for way in ways],
        notes=[
            f"{rounds} rounds of {leases} leases each way, {_AT_ONCE} at a time; medians of the rounds.",
            "The aim is a rate of at least 0.8 of the bare script with the SDK as it comes.",
            "Processor time is this process's alone; over HTTP that is the caller's, so it is left out there.",
        ],
    )


async def _take_turns(ways: Mapping[str, Lease], rounds: int, leases: int) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {way: [] for way in ways}
    for lease in ways.values():
        await _turn(lease, _AT_ONCE)
    order = list(ways)
    for number in range(rounds):
        for way in order:
            turns[way].append(await _turn(ways[way], leases))
        order = [*order[1:], order[0]]
        say(f"overhead: round {number + 1} of {rounds}")
    return turns


async def _turn(lease: Lease, leases: int) -> Turn:
    async def some(number: int) -> None:
        for _ in range(number):
            await lease()

    # Azurite closes connections that idled while the others took their turns, and what is sent into one then fails.
    await asyncio.gather(*(lease() for _ in range(_AT_ONCE)), return_exceptions=True)
    gc.collect()
    began, processor = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(some(leases // _AT_ONCE))
    return Turn(leases, time.perf_counter() - began, time.process_time() - processor)


def _row(way: str, turns: Mapping[str, list[Turn]]) -> dict[str, Cell]:
    mine, bare = turns[way], turns[_BARE]
    here = way != _HTTP
    return {
        "way": way,
        "leases/s": median(turn.rate for turn in mine),
        "rate against bare": median(a.rate / b.rate for a, b in zip(mine, bare, strict=True)),
        "processor ms/lease": median(turn.processor_ms for turn in mine) if here else "-",
        "processor against bare": (
            median(a.processor_ms / b.processor_ms for a, b in zip(mine, bare, strict=True)) if here else "-"
        ),
    }


@asynccontextmanager
async def _ways() -> AsyncIterator[dict[str, Lease]]:
    """The ways to make a lease, over one credential."""
    functions = Functions()
    async with AsyncExitStack() as stack:
        credential = (await functions.call("create_credential", request("alice", DATABASE)))["id"]
        in_process = _in_process(functions)
        await in_process()
        tuned, plain = await _clients(stack, tuned=True), await _clients(stack, tuned=False)
        sample = await sampled(plain, TENANT, credential)
        session = await stack.enter_async_context(aiohttp.ClientSession(os.environ[FUNCTIONS_URL]))
        yield {
            _VAULT: in_process,
            _BARE: BareScript(plain, sample).lease,
            _BARE_TUNED: BareScript(tuned, sample).lease,
            _HTTP: _over_http(session),
        }


async def _clients(stack: AsyncExitStack, *, tuned: bool) -> dict[str, TableClient]:
    identity = await stack.enter_async_context(ManagedIdentityCredential())
    transport = await stack.enter_async_context(open_transport() if tuned else AioHttpTransport())
    url = os.environ["VAULT_TABLES_URL"]
    if tuned:
        return {name: table_client(url, name, identity, transport) for name in TABLES}
    return {name: TableClient(url, name, credential=identity, transport=transport) for name in TABLES}


def _in_process(functions: Functions) -> Lease:
    asked = request("deploy-agent", LEASE)

    async def lease() -> None:
        await functions.call("create_lease", asked)

    return lease


def _over_http(session: aiohttp.ClientSession) -> Lease:
    headers = {"Authorization": f"Bearer {token('deploy-agent')}"}

    async def lease() -> None:
        async with session.post("/api/v1/leases", json=LEASE, headers=headers) as answer:
            answer.raise_for_status()
            await answer.json()

    return lease

"""Many leases due at once: what the timer that ends them takes, and whether leases that are not due matter.

The clock stands still, so one run of the timer does all of it; in Azure a run stops after 45 seconds and the next one
goes on. The memory stores answer a query at the cost of what lies in its span, as Azure Tables does. Azurite looks at
every row of a table for each query, so only the smallest case is shown on it.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from datetime import timedelta

from bench.azurite import azurite_stores
from bench.measured import Cell, Measured, say
from bench.population import add_leases, credential_ids
from tests.vaults import NOON, World

_TENANT = "contoso"
_DUE_AT, _LATER = NOON - timedelta(minutes=2), NOON + timedelta(hours=2)
_PER_CREDENTIAL = 100


@dataclass(slots=True)
class Filled:
    """A vault, the kind of its stores, and how many credentials of it have leases."""

    kind: str
    world: World = field(default_factory=World)
    credentials: int = 0
    not_due: int = 0

    async def add(self, leases: int, *, due: bool) -> None:
        """Add leases, a hundred to each of as many new credentials as that takes."""
        for credential in credential_ids(self.credentials, leases // _PER_CREDENTIAL):
            ends = _DUE_AT if due else _LATER
            await add_leases(self.world.stores, _TENANT, credential, _PER_CREDENTIAL, ends)
        self.credentials += leases // _PER_CREDENTIAL
        self.not_due += 0 if due else leases

    async def sweep(self, due: int, *, credentials: int) -> dict[str, Cell]:
        """Run the timer over the leases that are due, and tell what it took."""
        # What lies in the stores is of no concern to the collector, which would visit it over and over.
        gc.collect()
        gc.freeze()
        before = self.world.ledger.total
        began, processor = time.perf_counter(), time.process_time()
        report = await self.world.vault.expire_leases()
        processor, took = time.process_time() - processor, time.perf_counter() - began
        if (report.done, report.failed) != (due, 0):
            raise RuntimeError(f"the timer ended {report.done} leases of {due}, and {report.failed} items failed")
        calls = self.world.ledger.total - before
        say(f"sweep: {due:,} due, {self.not_due:,} not due, {self.kind}: {took:.1f} s")
        return {
            "stores": self.kind,
            "due": due,
            "of credentials": credentials,
            "not due": self.not_due,
            "seconds": took,
            "processor us/lease": 1e6 * processor / due,
            "calls/lease": calls / due,
        }


async def measure(*, quick: bool) -> Measured:
    """Sweep, with more and more that is due, and with more and more that is not."""
    few, many, idle = (200, 1_000, 2_000) if quick else (10_000, 100_000, 1_000_000)
    async with azurite_stores() as stores:
        on_azurite = await _alone(Filled("Azurite", World(stores)), few)
    return Measured(
        name="sweep",
        title="Sweep: the timer that ends leases, with many due at once",
        rows=[
            on_azurite,
            await _alone(Filled("memory"), few),
            await _alone(Filled("memory"), many),
            *await _among_others(few, many, idle),
            *[await _in_one_credential(few, others) for others in (0, idle // 10)],
        ],
        notes=[
            "Processor time is of this process: the timer, and the memory stores or the client of Azurite.",
            "In the last two rows all leases are of one credential, and what is not due lies among what is.",
        ],
    )


async def _alone(filled: Filled, due: int) -> dict[str, Cell]:
    await filled.add(due, due=True)
    return await filled.sweep(due, credentials=due // _PER_CREDENTIAL)


async def _among_others(few: int, many: int, idle: int) -> list[dict[str, Cell]]:
    filled = Filled("memory")
    for tenth in range(10):
        await filled.add(idle // 10, due=False)
        say(f"sweep: {(tenth + 1) * idle // 10:,} leases that are not due are there")
    return [await _alone(filled, few), await _alone(filled, many)]


async def _in_one_credential(due: int, others: int) -> dict[str, Cell]:
    filled = Filled("memory", not_due=others)
    [credential] = credential_ids(0, 1)
    await add_leases(filled.world.stores, _TENANT, credential, due, _DUE_AT)
    await add_leases(filled.world.stores, _TENANT, credential, others, _LATER)
    return await filled.sweep(due, credentials=1)

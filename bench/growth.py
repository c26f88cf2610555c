"""Lease, read and list as a tenant fills: what it takes must follow what is looked at, not what is there."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from statistics import median

from bench.azurite import azurite_stores
from bench.measured import Cell, Measured, say
from bench.population import add_credentials, credential_ids
from tests.vaults import ALICE, MONA, TENANTS, World
from vault_core.credential import Credential
from vault_core.credential_listing import CredentialQuery
from vault_core.vault import Vault

_LEASED = 20
_TIMES = 60
_TIMES_LOOKING_AT_ALL = 1

Operation = Callable[[Vault], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What an operation took: the median time, and how many calls to the stores."""

    milliseconds: float
    calls: int


Grown = dict[tuple[str, int], Taken]
"""What each operation took at each size of the tenant."""


async def measure(*, quick: bool) -> Measured:
    """Measure each operation in tenants of more and more credentials."""
    sizes = (100, 300) if quick else (100, 10_000, 100_000)
    async with azurite_stores() as stores:
        taken = {
            "memory": await _grow("memory", World(), sizes),
            "Azurite": await _grow("Azurite", World(stores), sizes[:2]),
        }
    return Measured(
        name="growth",
        title="Growth: what an operation takes as a tenant fills with credentials",
        rows=[_row(kind, operation, grown, sizes) for kind, grown in taken.items() for operation in _names(grown)],
        notes=[
            f"Medians of {_TIMES} times; the last two operations of each, which look at everything, are timed once.",
            f"`list own` filters by owner: the store looks at every credential of the tenant and returns {_LEASED}.",
            "`list by name` reads every credential of the tenant to sort it: one call for each thousand.",
            "Azurite looks at every row of a table for each query, which Azure Tables does not.",
        ],
    )


async def _grow(kind: str, world: World, sizes: tuple[int, ...]) -> Grown:
    leased = [await world.create(name=f"leased-{number}") for number in range(_LEASED)]
    grown: Grown = {}
    there = _LEASED
    for size in sizes:
        await add_credentials(world.stores, ALICE.tenant, leased[0], credential_ids(there, size - there))
        there = size
        say(f"growth: {size:,} credentials are there, {kind}")
        # What lies in the stores is of no concern to the collector, which would visit it over and over.
        gc.collect()
        gc.freeze()
        for name, (operation, times) in _operations(world, leased).items():
            grown[name, size] = await _taken(world, operation, times)
    return grown


async def _taken(world: World, operation: Operation, times: int) -> Taken:
    vault = Vault(world.stores, TENANTS, world.clock, world.outbound)  # one that does not count: counting takes time
    for warmed in (vault, world.vault):
        for _ in range(times // 3):
            await operation(warmed)
    before = world.ledger.total
    await operation(world.vault)
    calls = world.ledger.total - before
    return Taken(median([await _milliseconds(operation, vault) for _ in range(times)]), calls)


def _names(grown: Grown) -> list[str]:
    return list(dict.fromkeys(operation for operation, _ in grown))


def _row(kind: str, operation: str, grown: Grown, sizes: tuple[int, ...]) -> dict[str, Cell]:
    taken = [(size, grown.get((operation, size))) for size in sizes]
    return {
        "stores": kind,
        "operation": operation,
        **{f"ms at {size:,}": each.milliseconds if each else "-" for size, each in taken},
        **{f"calls at {size:,}": each.calls if each else "-" for size, each in taken},
    }


def _operations(world: World, leased: list[Credential]) -> Mapping[str, tuple[Operation, int]]:
    ids, names = cycle(one.id for one in leased), cycle(one.name for one in leased)
    now = world.clock()
    page, by_name = CredentialQuery(limit=100), CredentialQuery(limit=100, sort="name")
    return {
        "lease": (lambda vault: vault.grants.grant(ALICE, next(ids), None, None, now), _TIMES),
        "read by id": (lambda vault: vault.credentials.read(ALICE, next(ids), now), _TIMES),
        "read by name": (lambda vault: vault.credentials.read(ALICE, next(names), now), _TIMES),
        "list 100": (lambda vault: vault.listing.page(MONA, page, now), _TIMES),
        "list own": (lambda vault: vault.listing.page(ALICE, page, now), _TIMES_LOOKING_AT_ALL),
        "list by name": (lambda vault: vault.listing.page(MONA, by_name, now), _TIMES_LOOKING_AT_ALL),
    }


async def _milliseconds(operation: Operation, vault: Vault) -> float:
    began = time.perf_counter()
    await operation(vault)
    return 1000 * (time.perf_counter() - began)

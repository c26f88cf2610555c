"""Lists of credentials that a caller sees through lockers, in a tenant that fills with those of others.

Each request goes through the edge with a real token, as the functions pass it on. What it takes must follow what the
caller sees; who sees everything pays for everything.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import azure.functions as func

from bench.azurite import azurite_stores
from bench.measured import Cell, Measured, say
from bench.population import add_credentials, credential_ids
from bench.processes import token
from tests.vaults import ALICE, TENANTS, Clock, World
from vault_core.api.authentication import TokenAuthenticator
from vault_core.api.control_room.dialect import CONTROL_ROOM
from vault_core.api.control_room.face import ControlRoom
from vault_core.api.control_room.login import ControlRoomAuthenticator, IssuerClient, TokenExchange
from vault_core.api.control_room.routes import CONTROL_ROOM_ROUTES
from vault_core.api.denials import audit_denials
from vault_core.api.edge import Edge
from vault_core.api.routes import ROUTES
from vault_core.locker import DefineLocker
from vault_core.settings import Settings
from vault_core.vault import Vault

_TIMES = 3
_LOCKERS = {"finance-bots": 3, "hr-bots": 12}  # the roles of `_CALLERS` consume as many
_OTHER_LOCKERS = 20
_CALLERS = {"finance-bot": "consumer of 3 lockers", "hr-bot": "consumer of 12 lockers", "lola": "locker admin"}
_OPERATIONS = {
    "Control Room, 1,000 rows": {"offset": 0, "length": 1000},
    "Control Room, 100 rows at 0": {"offset": 0, "length": 100},
    "Control Room, 100 rows at 400": {"offset": 400, "length": 100},
    "native, 100 rows": None,
}
_FACE = next(
    route for route in CONTROL_ROOM_ROUTES if route.path.startswith("/v2/") and route.path.endswith("credentials/list")
)
_NATIVE = next(route for route in ROUTES if route.name == "list_credentials")

Figures = dict[tuple[str, str, int], "Taken"]
"""What each operation took for each caller at each size of the tenant."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request took: the median time, and how many calls to the stores."""

    milliseconds: float
    calls: int


async def measure(*, quick: bool) -> Measured:
    """Measure the lists of each caller in a tenant of more and more credentials."""
    seen, sizes = (40, (100, 300)) if quick else (500, (1_000, 10_000))
    issuers = IssuerClient()
    async with azurite_stores() as stores:
        try:
            figures = await _grow(World(stores, Clock(_now())), issuers, seen, sizes)
        finally:
            await issuers.close()
    return Measured(
        name="listing",
        title=f"Listing: {seen} credentials seen through lockers, in a tenant that fills with those of others",
        rows=[_row(caller, operation, figures, sizes) for caller in _CALLERS.values() for operation in _OPERATIONS],
        notes=[
            f"Medians of {_TIMES} times. Half of what others have is in {_OTHER_LOCKERS} lockers of theirs.",
            "A list of the Control Room says how many rows there are in all: each page looks at all that is seen.",
            "`ratio`: the time at the larger size beside that at the smaller.",
            "`against all`: the time beside that of the locker admin, who sees everything, at the larger size.",
            "Azurite looks at every row of a table for each query, which Azure Tables does not.",
        ],
    )


async def _grow(world: World, issuers: IssuerClient, seen: int, sizes: tuple[int, ...]) -> Figures:
    model = await world.create(name="model")
    there = 1
    for role, number in _LOCKERS.items():
        lockers = [await _locker(world, role) for _ in range(number)]
        await add_credentials(world.stores, ALICE.tenant, model, credential_ids(there, seen), lockers)
        there += seen
    others = [await _locker(world, "others") for _ in range(_OTHER_LOCKERS)]
    figures: Figures = {}
    for size in sizes:
        inside = max(0, size - there) // 2
        await add_credentials(world.stores, ALICE.tenant, model, credential_ids(there, inside), others)
        there += inside
        await add_credentials(world.stores, ALICE.tenant, model, credential_ids(there, size - there))
        there = max(there, size)
        say(f"listing: {size:,} credentials are there")
        for caller, called in _CALLERS.items():
            for operation, page in _OPERATIONS.items():
                figures[called, operation, size] = await _taken(world, issuers, caller, page)
    return figures


async def _locker(world: World, role: str) -> str:
    names = world.ledger.total  # no two at once
    locker = await world.vault.lockers.create(ALICE, DefineLocker(name=f"{role}-{names}"), None, world.clock())
    await world.vault.lockers.add_consumers(ALICE, locker.id, (role,), world.clock())
    return locker.id


async def _taken(world: World, issuers: IssuerClient, caller: str, page: Mapping[str, int] | None) -> Taken:
    counted = _Served(world.vault, issuers)
    await counted.list(caller, page)
    before = world.ledger.total
    await counted.list(caller, page)
    calls = world.ledger.total - before
    # One that does not count: counting takes time.
    served = _Served(Vault(world.stores, TENANTS, world.clock, world.outbound), issuers)
    await served.list(caller, page)
    return Taken(median([await served.list(caller, page) for _ in range(_TIMES)]), calls)


class _Served:
    """Both faces of a vault, as the app serves them."""

    def __init__(self, vault: Vault, issuers: IssuerClient) -> None:
        settings = Settings.read(os.environ)
        tokens, denials = TokenAuthenticator(settings, issuers), audit_denials(vault.audit)
        room = ControlRoom(vault, TokenExchange(settings, tokens, issuers), tokens)
        self._native = Edge(vault, tokens, _now, denials)
        self._face = Edge(room, ControlRoomAuthenticator(tokens), _now, denials, CONTROL_ROOM)

    async def list(self, caller: str, page: Mapping[str, int] | None) -> float:
        """Ask for a page, natively when it is None; return the milliseconds until it was there."""
        request = _request(caller, page)
        began = time.perf_counter()
        if page is None:
            answer = await self._native.serve(_NATIVE, request)
        else:
            answer = await self._face.serve(_FACE, request)
        taken = 1000 * (time.perf_counter() - began)
        if answer.status_code != 200:
            raise RuntimeError(f"the list was answered with {answer.status_code}")
        return taken


def _request(caller: str, page: Mapping[str, int] | None) -> func.HttpRequest:
    headers = {"authorization": f"Bearer {token(caller)}", "content-type": "application/json"}
    rest: dict[str, Any] = (
        {"method": "GET", "params": {"limit": "100"}, "body": b"", "url": "https://vault.example/list?limit=100"}
        if page is None
        else {"method": "POST", "body": json.dumps({"page": page}).encode(), "url": "https://vault.example/list"}
    )
    return func.HttpRequest(headers=headers, **rest)


def _row(caller: str, operation: str, figures: Figures, sizes: tuple[int, ...]) -> dict[str, Cell]:
    smallest, largest = (figures[caller, operation, size] for size in sizes)
    everything = figures[_CALLERS["lola"], operation, sizes[-1]]
    return {
        "caller": caller,
        "list": operation,
        f"calls at {sizes[0]:,}": smallest.calls,
        f"calls at {sizes[1]:,}": largest.calls,
        f"ms at {sizes[0]:,}": smallest.milliseconds,
        f"ms at {sizes[1]:,}": largest.milliseconds,
        "ratio": largest.milliseconds / smallest.milliseconds,
        "against all": largest.milliseconds / everything.milliseconds,
    }


def _now() -> datetime:
    return datetime.now(UTC)

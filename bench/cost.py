"""What each operation asks of the stores, counted, and what that costs at list prices.

The prices are assumptions: public pay-as-you-go prices in US dollars as they were known on the day below. They differ
by region, redundancy and contract. Check them before you rely on a figure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from bench.measured import Cell, Measured
from bench.population import add_leases
from tests.faults import Ledger
from tests.vaults import ALICE, DEPLOY_AGENT, MONA, World
from vault_core.credential_listing import CredentialQuery

PRICES_OF = "2026-11-21"
DOLLARS_PER_MILLION_TABLE_CALLS = 0.036  # standard account, local redundancy; a transaction of many rows is one call
DOLLARS_PER_MILLION_KEY_VAULT_CALLS = 3.00  # secrets, standard tier
DOLLARS_PER_MILLION_EXECUTIONS = 0.40  # Flex Consumption, on demand, without its free grant

_LIVES = 100

Step = Callable[[World, str], Awaitable[object]]


async def measure(*, quick: bool) -> Measured:
    """Count the calls of each operation on a vault over memory stores; a quick run is the same."""
    rows = [await _operation(name, step) for name, step in _OPERATIONS.items()]
    return Measured(
        name="cost",
        title="Cost: store calls of an operation, and US dollars per million of it",
        rows=[*rows, *await _later_life()],
        notes=[
            f"List prices assumed as of {PRICES_OF}, to be checked: ${DOLLARS_PER_MILLION_TABLE_CALLS} per million",
            f"calls of Tables, ${DOLLARS_PER_MILLION_KEY_VAULT_CALLS} of Key Vault, and "
            f"${DOLLARS_PER_MILLION_EXECUTIONS} per million executions of a function.",
            "Left out: what functions pay for time and memory, the storage of the audit, and traffic.",
            f"What a lease costs later is shared by {_LIVES} leases of one credential that end in the same minute.",
        ],
    )


async def _operation(name: str, step: Step) -> dict[str, Cell]:
    world = World()
    credential = await world.create_for_agents()
    await world.create_for_agents(name="limited", policy={"maxLeases": 10})
    for reference in ("db-password", "limited"):
        await world.lease(reference=reference)
    world.ledger.calls.clear()
    await step(world, credential.id)
    return _row(name, world.ledger, executions=1)


async def _later_life() -> list[dict[str, Cell]]:
    world = World()
    credential = await world.create_for_agents()
    await add_leases(world.stores, ALICE.tenant, credential.id, _LIVES, world.clock())
    world.clock.pass_by(minutes=2)
    world.ledger.calls.clear()
    await world.vault.expire_leases()
    expiry = _row("a lease's end", world.ledger, executions=0, shared_by=_LIVES)
    world.clock.pass_by(days=9)
    world.ledger.calls.clear()
    await world.vault.reconcile()
    return [expiry, _row("a lease is forgotten", world.ledger, executions=0, shared_by=_LIVES)]


def _row(name: str, ledger: Ledger, *, executions: int, shared_by: int = 1) -> dict[str, Cell]:
    key_vault = ledger.count("secrets") / shared_by
    tables = ledger.total / shared_by - key_vault
    return {
        "operation": name,
        "rounds": str(ledger.rounds) if shared_by == 1 else "-",
        "Tables": tables,
        "Key Vault": key_vault,
        "$ for stores": tables * DOLLARS_PER_MILLION_TABLE_CALLS + key_vault * DOLLARS_PER_MILLION_KEY_VAULT_CALLS,
        "$ with the function": tables * DOLLARS_PER_MILLION_TABLE_CALLS
        + key_vault * DOLLARS_PER_MILLION_KEY_VAULT_CALLS
        + executions * DOLLARS_PER_MILLION_EXECUTIONS,
    }


async def _lease_with_old_value(world: World, credential: str) -> None:
    world.clock.pass_by(seconds=61)  # a value is remembered for a minute, the tenant's rules for ten seconds
    await world.vault.tenants.rules(ALICE.tenant)
    world.ledger.calls.clear()
    await world.lease(reference=credential)


async def _renew(world: World, credential: str) -> None:
    lease = (await world.lease(reference=credential)).lease
    world.ledger.calls.clear()
    await world.vault.leases.renew(DEPLOY_AGENT, lease.id, timedelta(hours=2), None, world.clock())


async def _look_up(world: World, credential: str) -> None:
    lease = (await world.lease(reference=credential)).lease
    world.ledger.calls.clear()
    await world.vault.leases.read(DEPLOY_AGENT, lease.id, world.clock())


_PAGE = CredentialQuery(limit=100)
_OPERATIONS: Mapping[str, Step] = {
    "lease": lambda world, credential: world.lease(reference=credential),
    "lease, value not remembered": _lease_with_old_value,
    "lease, with maxLeases": lambda world, _: world.lease(reference="limited"),
    "renew": _renew,
    "look a lease up": _look_up,
    "read by id": lambda world, credential: world.vault.credentials.read(ALICE, credential, world.clock()),
    "read by name": lambda world, _: world.vault.credentials.read(ALICE, "db-password", world.clock()),
    "list a page of 100": lambda world, _: world.vault.listing.page(MONA, _PAGE, world.clock()),
    "create": lambda world, _: world.create(name="another"),
    "rotate": lambda world, credential: world.rotate(reference=credential),
    "revoke, one lease runs": lambda world, credential: world.revoke(reference=credential),
}

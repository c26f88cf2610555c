"""More than one worker over the same stores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tests.faults import watch
from tests.vaults import TENANTS, World
from vault_core.vault import Vault


def another_worker(world: World, clock: Callable[[], datetime] | None = None) -> Vault:
    """A worker that knows nothing yet, whose calls overlap with those of others."""
    stores, _ = watch(world.stores)
    return Vault(stores, TENANTS, clock or world.clock, world.outbound)

"""Removing many rows: in as few calls as can be, and without minding what is gone already."""

from __future__ import annotations

from collections.abc import Sequence

from vault_core.errors import RowChanged
from vault_core.stores import Discard, Table
from vault_core.stores.limits import CHANGES


async def discard_all(table: Table, partition: str, keys: Sequence[str]) -> None:
    """Remove the rows of the partition with these keys, 100 in a call. Repeatable."""
    for start in range(0, len(keys), CHANGES):
        batch = [Discard(partition, key) for key in keys[start : start + CHANGES]]
        try:
            await table.commit(*batch)
        except RowChanged:  # somebody else was faster with some of them
            for one in batch:
                await table.commit(one)

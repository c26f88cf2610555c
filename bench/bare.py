"""The script that the vault is compared with: the store calls of one lease, with the same SDK, and nothing else.

It writes what the vault wrote for a lease, under new keys, and reads the credential's row. It checks nothing, so what
the vault takes longer is what its promises cost.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.data.tables import TableEntity, UpdateMode
from azure.data.tables.aio import TableClient

_WRITTEN_BY_A_LEASE = {
    "leases": "RowKey ge 'lease:'",
    "due": "PartitionKey ge 'lease|' and PartitionKey lt 'lease}'",
    "audit": "event eq 'lease.created'",
}
_NO_CONTENT = {"response_preference": "return-no-content"}


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows that one lease wrote, by table, and the row of its credential."""

    leases: Mapping[str, Any]
    due: Mapping[str, Any]
    audit: Mapping[str, Any]
    credential: tuple[str, str]


class BareScript:
    """Makes the calls of a lease, over clients that it was given, by table."""

    def __init__(self, clients: Mapping[str, TableClient], sample: Sample) -> None:
        self._clients = clients
        self._sample = sample

    async def lease(self) -> None:
        """Write the three rows at once, then read the credential's row."""
        token, sample = secrets.token_hex(16), self._sample
        event = f"{sample.audit['RowKey'].partition('|')[0]}|{token}"
        await asyncio.gather(
            self._clients["leases"].create_entity({**sample.leases, "RowKey": f"lease:{token}"}, **_NO_CONTENT),
            self._clients["due"].upsert_entity({**sample.due, "RowKey": token}, mode=UpdateMode.REPLACE),
            self._clients["audit"].upsert_entity({**sample.audit, "RowKey": event}, mode=UpdateMode.REPLACE),
        )
        await self._clients["vault"].get_entity(*sample.credential)


async def sampled(clients: Mapping[str, TableClient], tenant: str, credential_id: str) -> Sample:
    """Return what a lease of the credential wrote; the tables hold leases of no other."""
    rows = {name: await _first(clients[name], text) for name, text in _WRITTEN_BY_A_LEASE.items()}
    return Sample(**rows, credential=(tenant, f"credential:{credential_id}"))


async def _first(client: TableClient, text: str) -> TableEntity:
    async for entity in client.query_entities(text):
        return entity
    raise LookupError(client.table_name)

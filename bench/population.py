"""Fills stores with rows as the vault writes them, without going through the vault, which would take hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import UUID

from vault_core.concurrency import batches
from vault_core.credential import Credential
from vault_core.credential_rows import name_key, row_of
from vault_core.identities import Identity
from vault_core.key_ring import KeyRing
from vault_core.lease import Lease, LeaseReference, new_token
from vault_core.lease_rows import due_row, lease_key, lease_row
from vault_core.sealing import SealedTable
from vault_core.stores import Insert, Row, Stores

HOLDER = Identity(kind="agent", id="id-deploy-agent", name="deploy-agent")
_BATCH = 100


def credential_ids(first: int, number: int) -> list[str]:
    """Return ids as the vault makes them (UUID, version 7), in ascending order."""
    return [str(UUID(int=(first + n) << 80 | 0x7 << 76 | 0b10 << 62 | n)) for n in range(number)]


async def add_leases(stores: Stores, tenant: str, credential_id: str, number: int, ends: datetime) -> None:
    """Add leases of a credential that end at `ends`, with their rows in the `due` table."""
    model = _lease(credential_id, ends)
    kept, planned = lease_row(tenant, model), due_row(tenant, model)
    for some in batches(range(number), _BATCH):
        tokens = [new_token() for _ in some]
        ids = [str(LeaseReference(credential_id, None, token)) for token in tokens]
        pairs = list(zip(tokens, ids, strict=True))
        await stores.leases.commit(
            *(
                Insert(replace(kept, key=lease_key(token), document={**kept.document, "id": id_}))
                for token, id_ in pairs
            )
        )
        await stores.due.commit(
            *(
                Insert(replace(planned, key=f"{credential_id}|{token}", document={**planned.document, "lease": id_}))
                for token, id_ in pairs
            )
        )


async def add_credentials(
    stores: Stores, tenant: str, model: Credential, ids: Sequence[str], lockers: Sequence[str] = ()
) -> None:
    """Add credentials like `model`, which is of the tenant, with these ids and names of their own, and no value.

    They are dealt out to the lockers with these ids in turn; without any they are in none.
    """
    table = SealedTable(stores.vault, "vault", KeyRing(stores.vault, stores.secrets, lambda: datetime.now(UTC)))
    dealt = zip(ids, cycle(lockers or (None,)), strict=False)
    for some in batches(list(dealt), _BATCH // 2):
        credentials = [
            model.but(id=one, name=f"filling-{one}", owner_id="id-nobody", locker_id=locker) for one, locker in some
        ]
        rows = [row for credential in credentials for row in _rows(tenant, credential)]
        await table.commit(*map(Insert, rows))


def _rows(tenant: str, credential: Credential) -> tuple[Row, Row]:
    return row_of(tenant, credential), Row(tenant, name_key(credential.name), {"credentialId": credential.id})


def _lease(credential_id: str, ends: datetime) -> Lease:
    issued = ends - timedelta(hours=1)
    return Lease(
        id=str(LeaseReference(credential_id, None, new_token())),
        credential_id=credential_id,
        credential_name="measured",
        credential_revision=0,
        version=1,
        identity=HOLDER,
        ttl=timedelta(hours=1),
        issued_at=issued,
        expires_at=ends,
        max_expires_at=issued + timedelta(hours=24),
        refresh_at=ends - timedelta(minutes=10),
    )

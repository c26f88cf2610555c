"""Replacing a tenant's data key: what the tables hold of the tenant is sealed anew, and the old key destroyed.

    rotate   audit → intent to reseal → key announced → key written → key made current
    reseal   (once every process knows the new key) every row under an older key, page by page → intent to retire
    retire   (as long again) every row looked at again → old key out of the ring → old key destroyed → intent removed

Each step can be repeated. Requests go on meanwhile: all keys of the ring open rows, the current one seals them.
The key of fingerprints stays as it is: with another, equal values could not be recognised without reading them all.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_core import agenda
from vault_core.agenda import Task
from vault_core.audit import AuditLog, Event
from vault_core.errors import CredentialChanged, RowChanged, RowExists
from vault_core.identities import Caller
from vault_core.key_ring import KEYS_FRESH_FOR, KeyRing
from vault_core.sealing import SealedTable
from vault_core.stores import Discard, Insert, Put, Row, Secrets

RESEAL_AFTER = KEYS_FRESH_FOR + timedelta(minutes=1)  # a request may still run that began with the old key
RETIRE_AFTER = 2 * RESEAL_AFTER  # clocks differ: what is sealed too late must still be found before the key is gone
_STEPS = 100  # of one tenant in one run: others wait behind it


@dataclass(frozen=True, slots=True)
class DataKeyState:
    """Which version seals, since when if that is known, and whether rows may still be under an older one."""

    version: int
    since: datetime | None
    resealing: bool


class DataKeys:
    """What administrators and the reconciler do with a tenant's data keys."""

    def __init__(self, keys: KeyRing, table: SealedTable, secrets: Secrets, audit: AuditLog) -> None:
        self._keys = keys
        self._table = table
        self._secrets = secrets
        self._audit = audit

    async def read(self, tenant: str) -> DataKeyState:
        """Return how it stands with the tenant's data key, as it is now."""
        keys = await self._keys.renewed(tenant)
        return DataKeyState(keys.current, keys.since, bool(keys.older))

    async def rotate(self, caller: Caller, now: datetime) -> DataKeyState:
        """Seal with a new key from now on. While a rotation is under way nothing is begun: repeat it at will."""
        present = await self.read(caller.tenant)
        if present.resealing:
            await self._go_on(caller.tenant, present, now)
            return present
        version = present.version + 1
        event = Event.TENANT_DATA_KEY_ROTATED.by(caller, now, details={"version": version})
        await self._audit.write(event)
        # Before the key: what is begun is finished. Without a new key there is nothing to do, and it is dropped.
        await self._table.commit(Put(_resealing(caller.tenant, version, now)))
        try:
            await self._keys.add(caller.tenant, version, now)
        except RowChanged:  # another did the same at the same time
            await self._audit.write(event.failed(CredentialChanged.code))
        return await self.read(caller.tenant)

    async def finish_resealing(self, tenant: str, intent: Row, now: datetime) -> bool:
        """Seal the tenant's rows under the current key; return whether that is done, or the next run goes on."""
        if not (await self._is_known_everywhere(tenant, now) and await self._reseal(tenant, intent)):
            return False
        # By its key: the intent was sealed anew as well, so its row is not as it was read.
        await self._table.commit(Discard(tenant, intent.key), *await self._retirements(tenant, now))
        return True

    async def finish_retirement(self, tenant: str, intent: Row, now: datetime) -> bool:
        """Destroy an old key, once no row needs it; return whether that is done, or the next run tries again.

        Every row is looked at first: without the key, none that is under it could be opened ever again.
        """
        if not (await self._is_known_everywhere(tenant, now) and await self._reseal(tenant, intent)):
            return False
        await self._keys.drop(tenant, int(intent.document["subject"]))
        await self._secrets.delete(intent.document["secret"])
        await self._table.commit(Discard(tenant, intent.key))
        return True

    async def _go_on(self, tenant: str, present: DataKeyState, now: datetime) -> None:
        """See that somebody finishes: the key may have come so late that the intent had been dropped."""
        with suppress(RowExists):
            await self._table.commit(Insert(_resealing(tenant, present.version, present.since or now)))

    async def _reseal(self, tenant: str, intent: Row) -> bool:
        """Seal rows anew, up to 20,000 in a run; return whether all are. Where it got to is kept in the intent."""
        after: str | None = intent.document.get("after", "")
        for _ in range(_STEPS):
            after = await self._table.reseal(tenant, after or "")
            if after is None:
                return True
        await self._table.commit(Put(intent.with_document({**intent.document, "after": after})))
        return False

    async def _is_known_everywhere(self, tenant: str, now: datetime) -> bool:
        since = (await self._keys.renewed(tenant)).since
        return since is None or since + RESEAL_AFTER <= now

    async def _retirements(self, tenant: str, now: datetime) -> list[Put]:
        keys = await self._keys.renewed(tenant)
        due_at = (keys.since or now) + RETIRE_AFTER
        return [
            Put(agenda.intent(tenant, Task.RETIRE_KEY, due_at, str(version), secret=keys.versions[version].secret))
            for version in keys.older
        ]


def _resealing(tenant: str, version: int, since: datetime) -> Row:
    return agenda.intent(tenant, Task.RESEAL, since + RESEAL_AFTER, str(version))

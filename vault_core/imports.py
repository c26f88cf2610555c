"""Imports: what another export tells of comes to be here, without any value.

    audit of the whole → for each item: audit → {its rows}

Ids are kept, and what is there already stays as it is. So an import can be repeated, wholly or in part, whenever and
wherever it was cut short. What one item is refused for does not concern the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from vault_core import locker as locker_rules
from vault_core.audit import AuditLog, Event
from vault_core.concurrency import batches, gathered
from vault_core.errors import (
    CredentialChanged,
    NameTaken,
    NotSupported,
    RowExists,
    StaleVersion,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.imported_credentials import ImportedCredentials
from vault_core.locker_rows import LockerRows, locker_name_key, new_locker
from vault_core.lockers import LOCKER_NAME_TAKEN
from vault_core.portable import (
    ConfigurationItem,
    CredentialItem,
    Item,
    Kind,
    LockerItem,
    SettingsItem,
    SubscriptionItem,
)
from vault_core.subscription import CreateSubscription
from vault_core.subscriptions import Subscriptions
from vault_core.tenants import TenantRules, Tenants

_AT_ONCE = 4


class ImportOutcome(StrEnum):
    """What became of an item. `present`: something with its id was there, and stays as it is."""

    IMPORTED = "imported"
    PRESENT = "present"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one item, and why it was refused."""

    item: Item
    outcome: ImportOutcome
    refusal: VaultError | None = None


class Imports:
    """Makes what an export tells of. May raise `Unavailable`; to repeat it is safe."""

    def __init__(
        self,
        lockers: LockerRows,
        credentials: ImportedCredentials,
        subscriptions: Subscriptions,
        tenants: Tenants,
        audit: AuditLog,
    ) -> None:
        self._lockers = lockers
        self._credentials = credentials
        self._subscriptions = subscriptions
        self._tenants = tenants
        self._audit = audit

    async def run(self, caller: Caller, items: Sequence[Item], now: datetime) -> list[Imported]:
        """Import the items and return what became of each, in the order given."""
        await self._audit.write(Event.TENANT_IMPORTED.by(caller, now, details={"items": _ids(items)}))
        done: dict[int, Imported] = {}
        for kind in Kind:
            places = [place for place, item in enumerate(items) if item.kind == kind]
            for batch in batches(places, _AT_ONCE):
                results = await gathered(self._outcome(caller, items[place], now) for place in batch)
                done.update(zip(batch, results, strict=True))
        return [done[place] for place in range(len(items))]

    async def _outcome(self, caller: Caller, item: Item, now: datetime) -> Imported:
        try:
            made = await self._make(caller, item, now)
        except Unavailable:
            raise  # perhaps it was applied: a repeat finds out
        except VaultError as refusal:
            return Imported(item, ImportOutcome.REFUSED, refusal)
        return Imported(item, ImportOutcome.IMPORTED if made else ImportOutcome.PRESENT)

    async def _make(self, caller: Caller, item: Item, now: datetime) -> bool:
        """Return whether the item came to be; False when it was there."""
        match item:
            case SettingsItem():
                return await self._settings(caller, item, now)
            case LockerItem():
                return await self._locker(caller, item, now)
            case CredentialItem():
                return await self._credentials.restore(caller, item, now)
            case SubscriptionItem():
                wanted = CreateSubscription(
                    url=item.url, events=item.events, description=item.description, enabled=False
                )
                return await self._subscriptions.restore(caller, item.id, wanted, now)
            case ConfigurationItem():
                # Others find a configuration by its id alone: one who could choose the id could take another's place.
                raise NotSupported("A configuration cannot keep its id; create it anew from its definition.")

    async def _settings(self, caller: Caller, item: SettingsItem, now: datetime) -> bool:
        try:
            await self._tenants.replace(caller, item, TenantRules().tag, now)
        except StaleVersion:
            return False  # the tenant has decided already
        return True

    async def _locker(self, caller: Caller, item: LockerItem, now: datetime) -> bool:
        if await self._lockers.read_if_there(caller.tenant, item.id):
            return False
        locker = locker_rules.restored(item.id, item, item.members, item.consumers, caller.identity, now)
        about = {"locker": locker.id, "lockerName": locker.name, "imported": True}
        event = Event.LOCKER_CREATED.by(caller, now, details=about)
        await self._audit.write(event)
        try:
            await self._lockers.table.commit(*new_locker(caller.tenant, locker))
        except RowExists as conflict:
            await self._audit.write(event.failed(NameTaken.code))
            if await self._lockers.read_if_there(caller.tenant, item.id):
                return False  # the same import, sent twice at once
            if conflict.key == locker_name_key(locker.name):
                raise NameTaken(LOCKER_NAME_TAKEN) from None
            raise CredentialChanged("This locker is just being deleted; import it again in a few minutes.") from None
        return True


def _ids(items: Sequence[Item]) -> dict[str, list[str]]:
    return {kind.value: ids for kind in Kind if (ids := [one.id for one in items if one.kind == kind])}

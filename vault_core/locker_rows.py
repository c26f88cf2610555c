"""Where lockers are kept: finding them by id or name, and remembering them for those who verify what they remember."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from vault_core import names
from vault_core.errors import RowMissing
from vault_core.locker import Locker
from vault_core.stores import Insert, Keys, Replace, Row, Table

NOWHERE = "00000000-0000-0000-0000-000000000000"  # no locker has this id
_REMEMBERED = 1000
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class FoundLocker:
    """A locker and the row it was read from; the row's etag names its exact state."""

    locker: Locker
    row: Row

    def replaced_by(self, locker: Locker) -> Replace:
        """Return the change that puts this locker in place of the one that was found."""
        return Replace(self.row.with_document(locker.document()))


class LockerRows:
    """Reads lockers."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._remembered: OrderedDict[tuple[str, str], Locker] = OrderedDict()

    async def find(self, tenant: str, reference: str) -> FoundLocker:
        """Return the locker with this id or name, as it is now; `RowMissing` when there is none."""
        if locker_id := names.as_id(reference):
            return await self.read(tenant, locker_id)
        try:
            named = await self.table.read(tenant, locker_name_key(reference))
        except RowMissing:
            return await self.read(tenant, NOWHERE)  # no quicker than for a name that the caller may not know of
        found = await self.read(tenant, named.document["lockerId"])
        if locker_name_key(found.locker.name) != named.key:
            raise RowMissing(named.key)  # renamed between the two reads
        return found

    async def read(self, tenant: str, locker_id: str) -> FoundLocker:
        """Return the locker with this id, as it is now; `RowMissing` when there is none or it was deleted."""
        try:
            row = await self.table.read(tenant, locker_key(locker_id))
        except RowMissing:
            self._remembered.pop((tenant, locker_id), None)
            raise
        locker = Locker.from_document(row.document)
        if locker.deleted_at:
            self._remembered.pop((tenant, locker_id), None)
            raise RowMissing(row.key)
        self._remember(tenant, locker)
        return FoundLocker(locker, row)

    async def read_if_there(self, tenant: str, locker_id: str | None) -> FoundLocker | None:
        """Return the locker, or None when there is none (any more)."""
        if locker_id is None:
            return None
        try:
            return await self.read(tenant, locker_id)
        except RowMissing:
            return None

    def remembered(self, tenant: str, locker_id: str | None) -> Locker | None:
        """Return what was last read of the locker, perhaps stale: whoever relies on it must verify it."""
        return self._remembered.get((tenant, locker_id)) if locker_id else None

    async def all(self, tenant: str, after: str = "") -> AsyncIterator[FoundLocker]:
        """Yield the tenant's lockers behind the id `after` in the order of creation, one call per thousand."""
        after, more = locker_key(after) if after else "", True
        while more:
            page = await self.table.query(Keys(tenant, _FIRST, _LAST, after=after), limit=_PAGE)
            for row in page.rows:
                after = row.key
                locker = Locker.from_document(row.document)
                if locker.deleted_at is None:
                    yield FoundLocker(locker, row)
            more = page.more

    def _remember(self, tenant: str, locker: Locker) -> None:
        self._remembered[tenant, locker.id] = locker
        self._remembered.move_to_end((tenant, locker.id))
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)


_FIRST, _LAST = "locker:", "locker;"


def locker_key(locker_id: str) -> str:
    """Return the key of a locker's row."""
    return f"locker:{locker_id}"


def locker_name_key(name: str) -> str:
    """Return the key of the row that holds a locker's name; `RowMissing` for what cannot be one."""
    return names.row_key("locker-name", name)


def new_locker(tenant: str, locker: Locker) -> tuple[Insert, Insert]:
    """Return the changes that make the locker and take its name."""
    return (
        Insert(Row(tenant, locker_key(locker.id), locker.document())),
        name_taken(tenant, locker),
    )


def name_taken(tenant: str, locker: Locker) -> Insert:
    """Return the change that takes the locker's name."""
    return Insert(Row(tenant, locker_name_key(locker.name), {"lockerId": locker.id}))

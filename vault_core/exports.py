"""Exports: a tenant's metadata, a page at a time, in the order in which it can be imported.

audit → answer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from vault_core import portable
from vault_core.audit import AuditLog, Event
from vault_core.configuration import Configuration
from vault_core.credential import Credential
from vault_core.cursors import foreign
from vault_core.identities import Caller
from vault_core.locker import Locker
from vault_core.portable import Item, Kind
from vault_core.stores import Keys, Row, Table
from vault_core.tenants import SETTINGS_ROW, TenantRows

_ORDER = tuple(Kind)
_READ: dict[Kind, Callable[[Row], Item | None]] = {
    Kind.LOCKER: lambda row: portable.locker_item(Locker.from_document(row.document)),
    Kind.CREDENTIAL: lambda row: portable.credential_item(Credential.from_document(row.document)),
    Kind.CONFIGURATION: lambda row: portable.configuration_item(Configuration.from_document(row.document)),
}

Found = Sequence[tuple[str, Item | None]]
"""What was found, each with its id: None for what is just being deleted."""


@dataclass(frozen=True, slots=True)
class ExportedPage:
    """Items of one kind, and the position of the next page: a kind, and the id behind which to go on."""

    items: tuple[Item, ...]
    after: tuple[str, str] | None


class Exports:
    """Reads a tenant's metadata out. May raise `Unavailable`."""

    def __init__(self, table: Table, rows: TenantRows, audit: AuditLog) -> None:
        self._table = table
        self._rows = rows
        self._audit = audit

    async def page(self, caller: Caller, position: tuple[str, str] | None, limit: int, now: datetime) -> ExportedPage:
        """Return up to `limit` items from the position on, all of one kind; none only when nothing is left.

        `InvalidInput` for a position of no export.
        """
        kind, after = position or (_ORDER[0], "")
        if kind not in _ORDER:
            raise foreign()
        page = ExportedPage((), (kind, after))
        while page.after and not page.items:
            page = await self._page(caller.tenant, Kind(page.after[0]), page.after[1], limit)
        about = {"kind": page.items[0].kind, "items": len(page.items)} if page.items else {"items": 0}
        await self._audit.write(Event.TENANT_EXPORTED.by(caller, now, details=about))
        return page

    async def _page(self, tenant: str, kind: Kind, after: str, limit: int) -> ExportedPage:
        """Return what comes next of this kind, by one call to the store; where to go on may be the next kind."""
        found, more = await self._found(tenant, kind, after, limit)
        taken = found[: portable.that_fit(item for _, item in found)]
        items = tuple(item for _, item in taken if item)
        if more or len(taken) < len(found):
            return ExportedPage(items, (kind, taken[-1][0] if taken else after))
        rest = _ORDER[_ORDER.index(kind) + 1 :]
        return ExportedPage(items, (rest[0], "") if rest else None)

    async def _found(self, tenant: str, kind: Kind, after: str, limit: int) -> tuple[Found, bool]:
        if kind in _READ:
            prefix = f"{kind.value}:"
            span = Keys(tenant, prefix, f"{kind.value};", after=f"{prefix}{after}" if after else "")
            page = await self._table.query(span, limit=limit)
            return [(row.key.removeprefix(prefix), _READ[kind](row)) for row in page.rows], page.more
        decisions = await self._rows.current(tenant)
        items: list[Item] = []
        if kind is Kind.SUBSCRIPTION:
            items += map(portable.subscription_item, decisions.subscriptions.subscriptions)
        elif SETTINGS_ROW in decisions.rows:
            items.append(portable.settings_item(decisions.rules))
        left = sorted((item.id, item) for item in items if item.id > after)
        return left[:limit], len(left) > limit

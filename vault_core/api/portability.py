"""Handlers of a tenant's export and import."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vault_core.api.routing import Answer, Call
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.imports import Imported, ImportOutcome
from vault_core.portable import FORMAT, MAX_ITEMS, Kind, TenantPage
from vault_core.vault import Vault
from vault_core.wire import WireModel


class ExportQuery(WireModel):
    """Which page of the export to read."""

    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 50
    cursor: Cursor | None = None


class ImportedItem(WireModel):
    """What became of an item; of a refused one, the code of the error and what to do about it."""

    kind: Kind
    id: str
    outcome: ImportOutcome
    code: str | None = None
    message: str | None = None


class ImportResult(WireModel):
    """What became of the items, in the order in which they were sent."""

    items: tuple[ImportedItem, ...]


async def export_tenant(vault: Vault, call: Call[None, ExportQuery]) -> Answer:
    """Export the tenant's metadata, without any value."""
    page = await vault.exports.page(call.caller, decoded(call.query.cursor), call.query.limit, call.now)
    return Answer(200, TenantPage(format=FORMAT, items=page.items, next=encoded(page.after)))


async def import_tenant(vault: Vault, call: Call[TenantPage]) -> Answer:
    """Import metadata that was exported; what is there already stays as it is."""
    done = await vault.imports.run(call.caller, call.body.items, call.now)
    return Answer(200, ImportResult(items=tuple(map(_shown, done))))


def _shown(imported: Imported) -> ImportedItem:
    item, refusal = imported.item, imported.refusal
    return ImportedItem(
        kind=item.kind,
        id=item.id,
        outcome=imported.outcome,
        code=refusal.code if refusal else None,
        message=refusal.detail if refusal else None,
    )

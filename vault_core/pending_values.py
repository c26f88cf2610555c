"""Values that are written ahead of the transaction that makes them somebody's own.

An intent to discard the value is written first and removed by that transaction, so a value that nothing came to hold
is found and deleted. Tables that were brought back from a backup may hold both the intent and what came to hold the
value, because rows are not copied at one instant: who finds the intent looks first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from pydantic import SecretStr

from vault_core import agenda
from vault_core.audit import AuditEvent, AuditLog
from vault_core.concurrency import together
from vault_core.errors import RowChanged, RowMissing, Unavailable
from vault_core.stores import Delete, Discard, Insert, Row, Table
from vault_core.values import Values

ABANDONED_AFTER = timedelta(minutes=10)

_log = logging.getLogger(__name__)


class PendingValues:
    """Writes such values, and deletes those that nothing came to hold."""

    def __init__(self, table: Table, values: Values, audit: AuditLog) -> None:
        self._table = table
        self._values = values
        self._audit = audit

    async def write(
        self,
        tenant: str,
        subject: str,
        holder: str,
        name: str,
        fields: Mapping[str, SecretStr],
        events: Sequence[AuditEvent],
        now: datetime,
    ) -> tuple[Delete, ...]:
        """Write the intent, then the subject's value and its events; return what the transaction must remove.

        `holder` is the key of the row that is to name the value.
        """
        intent = agenda.discarding(tenant, now + ABANDONED_AFTER, name, holder)
        [intent] = await self._table.commit(Insert(intent))
        await together(self._values.write(name, tenant, subject, fields), self._audit.write(*events))
        return (Delete(intent),)

    async def give_up(self, removals: Sequence[Delete], events: Sequence[AuditEvent], code: str) -> None:
        """Undo what preceded a transaction that was refused; what fails here, the reconciler does later."""
        with suppress(Unavailable, RowChanged):
            await self._audit.write(*(event.failed(code) for event in events))
            for removal in removals:
                await discard(self._table, self._values, removal.row)


async def discard(table: Table, values: Values, intent: Row) -> None:
    """Delete a value that nothing holds. The intent is claimed first, so that nothing can come to hold it.

    Raises `RowChanged` when something came to, or someone else is deleting it.
    """
    [claimed] = await table.commit(agenda.claimed(intent))
    await values.destroy(intent.document["subject"])
    await table.commit(Discard(claimed.partition, claimed.key))


async def discard_unless_held(table: Table, values: Values, intent: Row) -> None:
    """As `discard`, but keep a value that the row which it was written for names after all."""
    [claimed] = await table.commit(agenda.claimed(intent))
    if await _is_held(table, intent):
        _log.error("event=discard tenant=%s value=kept reason=still-held", intent.partition)
    else:
        await values.destroy(intent.document["subject"])
    await table.commit(Discard(claimed.partition, claimed.key))


async def _is_held(table: Table, intent: Row) -> bool:
    holder = intent.document.get("holder")
    try:
        row = await table.read(intent.partition, holder) if holder else None
    except RowMissing:
        return False
    return row is not None and json.dumps(intent.document["subject"]) in json.dumps(row.document)

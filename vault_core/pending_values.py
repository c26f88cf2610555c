"""Values that are written ahead of the transaction that makes them somebody's own.

An intent to discard the value is written first and removed by that transaction, so a value that nothing came to hold
is found and deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from pydantic import SecretStr

from vault_core import agenda
from vault_core.audit import AuditEvent, AuditLog
from vault_core.concurrency import together
from vault_core.errors import RowChanged, Unavailable
from vault_core.stores import Delete, Discard, Insert, Row, Table
from vault_core.values import Values

ABANDONED_AFTER = timedelta(minutes=10)


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
        name: str,
        fields: Mapping[str, SecretStr],
        events: Sequence[AuditEvent],
        now: datetime,
    ) -> tuple[Delete, ...]:
        """Write the intent, then the subject's value and its events; return what the transaction must remove."""
        intent = agenda.intent(tenant, agenda.Task.DISCARD_VALUE, now + ABANDONED_AFTER, name)
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

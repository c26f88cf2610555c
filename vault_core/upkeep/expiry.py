"""Leases past their end: marked, told to the audit, and in time forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby

from vault_core.audit import AuditLog
from vault_core.concurrency import batches
from vault_core.credential import State
from vault_core.credential_rows import CredentialRows
from vault_core.endings import Endings
from vault_core.errors import NotFound, RowChanged, RowMissing
from vault_core.identities import Caller
from vault_core.lease import LeaseReference, LeaseState
from vault_core.lease_events import expiry
from vault_core.lease_rows import (
    DUE_FORGET,
    DUE_LEASE,
    KEEP_ENDED,
    Held,
    LeaseRows,
    due_token,
    forget_row,
    forgettable,
    minute_end,
    overdue,
    partition,
)
from vault_core.names import as_id
from vault_core.stores import Discard, Keys, Put, Row
from vault_core.upkeep.runs import Report, Run

_log = logging.getLogger(__name__)

_PUT_OFF = timedelta(minutes=5)
_FEW = 8  # below this, reading leases one by one costs less than searching the partition for them
_BATCH = 100


class LeaseExpiry:
    """Tidies up behind leases; whether a lease is over was decided when it was read."""

    def __init__(
        self,
        tenant_names: Iterable[str],
        credentials: CredentialRows,
        leases: LeaseRows,
        audit: AuditLog,
        endings: Endings,
    ) -> None:
        self._tenant_names = frozenset(tenant_names)
        self._credentials = credentials
        self._leases = leases
        self._audit = audit
        self._endings = endings

    async def expire_leases(self, run: Run) -> Report:
        """Mark leases past their end, tell the audit, and destroy rotated values whose last lease is over."""
        report = Report()
        while rows := await self._leases.due_before(DUE_LEASE, run.now):
            whole = [row for row in rows if self._is_of_a_credential(row) and _names_a_lease(row)]
            report += await self._drop_broken(run, rows, whole)
            groups = [list(group) for _, group in groupby(sorted(whole, key=_owner), key=_owner)]
            progress = await run.each(
                groups, lambda group: self._expire_group(run, group), lambda group: self._put_off(run, group)
            )
            report += progress
            if progress.left_some or (progress.failed and not progress.done):  # the next run goes on
                break
        return report

    async def forget_leases(self, run: Run) -> Report:
        """Remove leases that ended more than seven days ago."""
        rows = await self._leases.due_before(DUE_FORGET, run.now - KEEP_ENDED)
        whole = [row for row in rows if self._is_of_a_credential(row)]
        report = await self._drop_broken(run, rows, whole)
        return report + await run.each(whole, lambda row: self._forget(run, row), self._leave)

    def _is_of_a_credential(self, row: Row) -> bool:
        """Return whether the vault may have written the row: who can write to the table could name anything there."""
        tenant, credential = row.document.get("tenant"), row.document.get("credential")
        if not (isinstance(tenant, str) and isinstance(credential, str)):
            return False
        return tenant in self._tenant_names and as_id(credential) == credential

    async def _drop_broken(self, run: Run, rows: Sequence[Row], whole: Sequence[Row]) -> Report:
        """Drop rows that the vault did not write: what they stand for cannot be known."""
        kept = {(row.partition, row.key) for row in whole}
        broken = [row for row in rows if (row.partition, row.key) not in kept]
        if broken:
            _log.error("timer=%s table=due broken_rows_dropped=%d", run.name, len(broken))
            await self._leases.drop_due(broken)
        return Report(failed=len(broken))

    async def _expire_group(self, run: Run, due: Sequence[Row]) -> int:
        tenant, credential_id = _owner(due[0])
        caller = run.caller(tenant)
        over: set[str] = set()
        for _, rows in groupby(due, key=lambda row: row.partition):
            same_minute = list(rows)
            if len(same_minute) >= _FEW:
                over |= await self._expire_minute(caller, credential_id, same_minute, run.now)
        rest = await self._read(tenant, sorted({row.document["lease"] for row in due if due_token(row) not in over}))
        ripe = [one for one in rest if not one.lease.ended and one.lease.expires_at <= run.now]
        await self._expire(caller, ripe, run.now)
        for one in rest:
            if not one.lease.ended and one.lease.expires_at > run.now:  # renewed: due again later
                await self._leases.write_due(tenant, one.lease)
        await self._leases.due.commit(Put(forget_row(tenant, credential_id, run.now)))
        await self._retire_rotated(caller, credential_id, run.now)
        await self._leases.drop_due(due)
        return len(due)

    async def _expire_minute(self, caller: Caller, credential_id: str, due: Sequence[Row], now: datetime) -> set[str]:
        """Expire leases that were due in the same minute; return their tokens.

        Their rows and the rows that say they are due have the same order, so one search finds them, and only them.
        """
        over: set[str] = set()
        where, tokens = overdue(minute_end(due[0])), (due_token(due[0]), due_token(due[-1]))
        while held := await self._leases.select(caller.tenant, credential_id, where, tokens):
            await self._expire(caller, held, now)
            over |= {one.lease.reference.token for one in held}
        return over

    async def _expire(self, caller: Caller, held: Sequence[Held], now: datetime) -> None:
        if held:
            await self._audit.write(*(expiry(caller, one.lease) for one in held))
            await self._leases.end(caller.tenant, held, LeaseState.EXPIRED, now)

    async def _read(self, tenant: str, lease_ids: Sequence[str]) -> list[Held]:
        async def read(lease_id: str) -> Held | None:
            try:
                return await self._leases.read(tenant, LeaseReference.parse(lease_id))
            except RowMissing:
                return None

        found = [one for batch in batches(lease_ids, 50) for one in await asyncio.gather(*map(read, batch))]
        return [held for held in found if held]

    async def _retire_rotated(self, caller: Caller, credential_id: str, now: datetime) -> None:
        try:
            found = await self._credentials.read(caller.tenant, credential_id)
        except RowMissing:
            return
        for version in found.credential.versions[:-1]:
            if version.secret and version.state is State.ROTATED:
                await self._endings.retire(caller, credential_id, version.number, now)

    async def _put_off(self, run: Run, due: Sequence[Row]) -> None:
        await self._leases.put_off(due, run.clock() + _PUT_OFF)

    async def _forget(self, run: Run, row: Row) -> int:
        tenant, credential_id = _owner(row)
        before = run.now - KEEP_ENDED
        while lost := await self._leases.select(tenant, credential_id, overdue(before)):  # a crash kept their due rows
            with suppress(RowChanged):
                await self._expire(run.caller(tenant), lost, run.now)
        span = Keys(partition(tenant, credential_id), "lease:", "lease;")
        count = 0
        while rows := (await self._leases.leases.query(span, where=forgettable(before), limit=_BATCH)).rows:
            with suppress(RowChanged):  # a twin was faster with some of them: look again
                await self._leases.leases.commit(*(Discard(one.partition, one.key) for one in rows))
                count += len(rows)
        await self._leases.drop_due([row])
        return count

    async def _leave(self, row: Row) -> None:
        """Nothing to do: the row stays due, and the next run finds it."""


def _names_a_lease(row: Row) -> bool:
    try:
        return LeaseReference.parse(str(row.document.get("lease"))).credential_id == str(row.document["credential"])
    except NotFound:
        return False


def _owner(row: Row) -> tuple[str, str]:
    return row.document["tenant"], row.document["credential"]

"""Whatever a crash left half-done, finished or undone; and what is past its time, forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from vault_core import agenda
from vault_core.agenda import Entry, Queue, Task
from vault_core.configuration_removal import ConfigurationRemoval
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, Found
from vault_core.data_keys import DataKeys
from vault_core.endings import Endings
from vault_core.errors import RowChanged
from vault_core.stores import Discard, Insert, Keys, Replace
from vault_core.stores.removals import discard_all
from vault_core.subscriptions import Subscriptions
from vault_core.tenants import Tenants
from vault_core.upkeep.runs import Report, Run

_ENTRIES = 500
_REQUESTS = 50  # a request and its entry are two of the hundred rows of a transaction
_PAGE = 200
_PAGES = 5  # of one tenant in one run: others wait behind it
_PUT_OFF = timedelta(minutes=5)
_LONGEST_PUT_OFF = timedelta(hours=6)


class Reconciler:
    """Works off the `intent` queue of every tenant's agenda."""

    def __init__(
        self,
        tenant_names: Iterable[str],
        credentials: CredentialRows,
        endings: Endings,
        removal: ConfigurationRemoval,
        subscriptions: Subscriptions,
        tenants: Tenants,
        data_keys: DataKeys,
    ) -> None:
        self._tenant_names = sorted(tenant_names)
        self._credentials = credentials
        self._endings = endings
        self._removal = removal
        self._subscriptions = subscriptions
        self._tenants = tenants
        self._data_keys = data_keys

    async def reconcile(self, run: Run) -> Report:
        """Do what every intent that is due asks for. What fails is tried again later, ever more rarely."""

        async def finish_all(tenant: str) -> Report:
            report, more = Report(), True
            while more:
                entries = await agenda.due(self._credentials.table, tenant, Queue.INTENT, run.now, _ENTRIES)
                progress = await run.each(
                    entries, lambda entry: self._finish(run, entry), lambda entry: self._put_off(run, entry)
                )
                report += progress
                more = len(entries) == _ENTRIES and progress.done > 0 and not run.over
            return report + await self._forget_requests(run, tenant)

        return await run.each_tenant(self._tenant_names, finish_all)

    async def _forget_requests(self, run: Run, tenant: str) -> Report:
        """Remove the idempotency keys that are past their time."""
        count = 0
        while entries := await agenda.due(self._credentials.table, tenant, Queue.FORGET, run.now, _REQUESTS):
            if run.over:
                return Report(count, left_some=True)
            keys = [key for entry in entries for key in (entry.row.key, entry.subject)]
            await discard_all(self._credentials.table, tenant, keys)
            count += len(entries)
        return Report(count)

    async def _finish(self, run: Run, entry: Entry) -> int:
        """Do what is asked for; return 1, or 0 when there is so much to do that the next run goes on."""
        row, caller = entry.row, run.caller(entry.row.partition)
        match entry.task:
            case Task.DISCARD_VALUE:
                with suppress(RowChanged):  # the request that wrote it came through after all, or a twin was faster
                    await self._endings.discard_value(row)
            case Task.REVOKE:
                await self._endings.finish_revocation(caller, entry.subject, row, run.now)
            case Task.DELETE:
                await self._endings.finish_deletion(caller, entry.subject, row, run.now)
            case Task.PRUNE:
                await self._endings.finish_pruning(caller, row.document["credential"], row, run.now)
            case Task.EMPTY:
                await self._endings.finish_emptying(caller, entry.subject, row, run.now)
            case Task.REMOVE:
                await self._removal.finish(row.partition, entry.subject, row, run.now)
            case Task.UNSUBSCRIBE:
                return int(await self._subscriptions.finish_deletion(row.partition, entry.subject, row))
            case Task.RESEAL:
                return int(await self._data_keys.finish_resealing(row.partition, row, run.now))
            case Task.RETIRE_KEY:
                return int(await self._data_keys.finish_retirement(row.partition, row, run.now))
            case Task.COMPROMISE:
                await self._endings.finish_compromise(caller, row, run.now)
            case Task.RETIRE:
                await self._retire(run, entry)
            case Task.PURGE:
                await self._endings.purge(caller, entry.subject, row, run.now)
                await self._drop(entry)
            case Task.RESCHEDULE:
                await self._reschedule(run, entry)
        return 1

    async def _retire(self, run: Run, entry: Entry) -> None:
        asked = entry.row.document
        again_at = await self._endings.retire(
            run.caller(entry.row.partition), asked["credential"], int(asked["version"]), run.now
        )
        if again_at is None:
            return await self._drop(entry)
        later = agenda.retirement(entry.row.partition, again_at, asked["credential"], int(asked["version"]))
        await self._credentials.table.commit(Discard(entry.row.partition, entry.row.key), Insert(later))
        return None

    async def _reschedule(self, run: Run, entry: Entry) -> None:
        """Look at all credentials of the tenant anew, a page at a time; where it got to is kept in the intent."""
        tenant, row = entry.row.partition, entry.row
        rules = await self._tenants.current(tenant)
        for _ in range(_PAGES):
            span = Keys(tenant, "credential:", "credential;", after=row.document.get("after", ""))
            page = await self._credentials.table.query(span, limit=_PAGE)
            for one in page.rows:
                with suppress(RowChanged):  # then its look was planned under the new rules already
                    found = Found(Credential.from_document(one.document), one)
                    await self._credentials.replan(found, rules)
            if not page.more:
                return await self._drop(Entry(row, entry.subject))
            [row] = await self._credentials.table.commit(
                Replace(row.with_document({**row.document, "after": page.rows[-1].key}))
            )
        return None

    async def _put_off(self, run: Run, entry: Entry) -> None:
        wait = min(_PUT_OFF * 2**entry.attempts, _LONGEST_PUT_OFF)
        document = {**entry.row.document, "attempts": entry.attempts + 1}
        later = agenda.intent(entry.row.partition, entry.task, run.clock() + wait, entry.subject)
        await self._credentials.table.commit(
            Discard(entry.row.partition, entry.row.key), Insert(later.with_document(document))
        )

    async def _drop(self, entry: Entry) -> None:
        await self._credentials.table.commit(Discard(entry.row.partition, entry.row.key))

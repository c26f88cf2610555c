"""Whether values still work: asked of their vendors as planned, and known by their own types.

A vendor is asked in the lane of its host: one that is down is asked a few times in a run and no more. However many
hosts a vendor has, they take an eighth of the places, so a slow one delays no other vendor's checks. What is not asked
stays due, and the verdicts stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from itertools import zip_longest

from vault_core import agenda, rotation
from vault_core.agenda import Entry, Queue
from vault_core.audit import AuditLog
from vault_core.checks import Checks, check_of, told, with_outcome
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, Found
from vault_core.errors import CredentialChanged, NotFound, RowChanged, RowMissing, TooSoon
from vault_core.new_values import NewValues
from vault_core.stores import Discard
from vault_core.tenants import Tenants
from vault_core.upkeep.lanes import Limits, in_lanes, lane_of
from vault_core.upkeep.notices import is_current, stable_id
from vault_core.upkeep.runs import Report, Run
from vault_core.validation import Trigger
from vault_core.vendor_answers import Outcome

CHECK_FOR = timedelta(minutes=4)  # under the five minutes after which the next run begins
LIMITS = Limits(at_once_in_lane=8, at_once_of_party=32, at_once=256, of_lane=1000, in_vain=8)
_PAGE = 1000
_ENTRIES = 20_000  # of one tenant in one run


class ValueChecks:
    """Checks the values whose time has come."""

    def __init__(
        self,
        tenant_names: Iterable[str],
        credentials: CredentialRows,
        new_values: NewValues,
        checks: Checks,
        audit: AuditLog,
        tenants: Tenants,
    ) -> None:
        self._tenant_names = sorted(tenant_names)
        self._credentials = credentials
        self._new_values = new_values
        self._checks = checks
        self._audit = audit
        self._tenants = tenants

    async def check_credentials(self, run: Run) -> Report:
        """Check every value that is due; tell the audit when a verdict changes.

        Each vendor's host has a lane of its own, and so have the values of a tenant that nobody is asked about.
        """
        lanes: defaultdict[str, defaultdict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))

        async def gather(tenant: str) -> Report:
            for entry in await self._due(run, tenant):
                lanes[entry.lane or tenant][tenant].append(entry)
            return Report()

        unread = await run.each_tenant(self._tenant_names, gather)
        waiting = [lane_of(name.partition("|")[0], _in_turn(of_tenants.values())) for name, of_tenants in lanes.items()]
        return unread + await in_lanes(run, waiting, lambda entry: self._check(run, entry), LIMITS)

    async def _due(self, run: Run, tenant: str) -> list[Entry]:
        entries: list[Entry] = []
        after = ""
        while len(entries) < _ENTRIES:
            page = await agenda.due(self._credentials.table, tenant, Queue.CHECK, run.now, _PAGE, after)
            entries += page
            if len(page) < _PAGE:
                break
            after = page[-1].row.key
        return entries

    async def _check(self, run: Run, entry: Entry) -> bool | None:
        """Check one value; return whether there was an answer to use, or None when there was nothing to ask."""
        tenant = entry.row.partition
        try:
            found = await self._credentials.read(tenant, entry.subject)
        except RowMissing:
            found = None
        if found is None or not is_current(entry, Queue.CHECK, found.credential):
            await self._credentials.table.commit(Discard(tenant, entry.row.key))
            return None
        try:
            outcome = await self._outcome(run, found.credential, tenant)
            await self._record(run, entry, found, outcome)
        except (TooSoon, RowChanged, RowMissing, NotFound, CredentialChanged):
            return None  # a twin's, or changed meanwhile: the next run sees
        return outcome.status != "unknown"

    async def _outcome(self, run: Run, credential: Credential, tenant: str) -> Outcome:
        if ended := rotation.own_verdict(credential, run.now):
            return ended
        values = await self._new_values.present(tenant, credential)
        return await self._checks.ask_as_planned(tenant, credential, values, run.clock())

    async def _record(self, run: Run, entry: Entry, found: Found, outcome: Outcome) -> None:
        before, caller, now = found.credential, run.caller(found.tenant), run.clock()
        after = with_outcome(before, outcome, now)
        if before.check_look_at and after.validation.status != before.validation.status:
            event_id = stable_id(before.id, entry.row.key)
            await self._audit.write(told(caller, before, outcome, Trigger.SCHEDULED, before.check_look_at, event_id))
        check = check_of(caller, before, outcome, Trigger.SCHEDULED, now)
        rules = await self._tenants.rules(found.tenant)
        await self._checks.record(found, rules, outcome, check, Discard(found.tenant, entry.row.key))


def _in_turn(lists: Iterable[list[Entry]]) -> list[Entry]:
    """Return one entry of each tenant after the other: who has many holds up no other that waits for the same host."""
    return [entry for one_of_each in zip_longest(*lists) for entry in one_of_each if entry]

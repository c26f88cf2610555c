"""What time brings about for a credential: a rotation falls due, an end comes near, an end is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256

from vault_core import agenda, rotation
from vault_core.agenda import Entry, Queue
from vault_core.audit import AuditLog
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, Found
from vault_core.errors import RowChanged, RowMissing
from vault_core.stores import Discard
from vault_core.tenants import Tenants
from vault_core.upkeep.runs import Report, Run

_ENTRIES = 500

Look = Callable[[Run, Entry, Found], Awaitable[None]]


class Notices:
    """Looks at the credentials whose time has come."""

    def __init__(
        self, tenant_names: Iterable[str], credentials: CredentialRows, audit: AuditLog, tenants: Tenants
    ) -> None:
        self._tenant_names = sorted(tenant_names)
        self._credentials = credentials
        self._audit = audit
        self._tenants = tenants

    async def check_rotations(self, run: Run) -> Report:
        """Announce, once each: rotation due, about to end, ended."""
        return await self._look_at_due(run, Queue.ROTATION, self._announce)

    async def _look_at_due(self, run: Run, queue: Queue, look: Look) -> Report:
        async def look_at(tenant: str) -> Report:
            entries = await agenda.due(self._credentials.table, tenant, queue, run.now, _ENTRIES)
            return await run.each(entries, lambda entry: self._look(run, queue, entry, look), self._leave)

        return await run.each_tenant(self._tenant_names, look_at)

    async def _look(self, run: Run, queue: Queue, entry: Entry, look: Look) -> int:
        tenant = entry.row.partition
        try:
            found = await self._credentials.read(tenant, entry.subject)
        except RowMissing:
            found = None
        if found is None or not is_current(entry, queue, found.credential):
            await self._credentials.table.commit(Discard(tenant, entry.row.key))
            return 0
        try:
            await look(run, entry, found)
        except RowChanged:  # changed meanwhile, or a twin was faster: the next run sees what is left
            return 0
        return 1

    async def _announce(self, run: Run, entry: Entry, found: Found) -> None:
        credential, rules = found.credential, await self._tenants.rules(found.tenant)
        due = [one for one in rotation.announcements(credential, rules) if one.at <= run.now]
        events = [
            one.event.by(
                run.caller(found.tenant),
                credential.rotation_look_at,
                id=stable_id(credential.id, one.key),
                credential_id=credential.id,
                credential_name=credential.name,
                details={"since": one.at.isoformat(timespec="seconds")},
            )
            for one in due
            if credential.rotation_look_at
        ]
        if events:
            await self._audit.write(*events)
        await self._credentials.replace(found, rotation.announced(credential, due), rules, _gone(entry))

    async def _leave(self, entry: Entry) -> None:
        """Nothing to do: the entry stays due, and the next run finds it."""


def is_current(entry: Entry, queue: Queue, credential: Credential) -> bool:
    """Return whether the credential still names this entry; others are left over from before it changed."""
    look_at = credential.rotation_look_at if queue is Queue.ROTATION else credential.check_look_at
    return look_at is not None and entry.row.key == agenda.key(queue, look_at, credential.id)


def _gone(entry: Entry) -> Discard:
    return Discard(entry.row.partition, entry.row.key)


def stable_id(*parts: str) -> str:
    """Return an event id that is the same however often the event is told."""
    return sha256("|".join(parts).encode()).hexdigest()[:24]

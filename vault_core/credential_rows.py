"""Where credentials are kept: finding them by id or name, and replacing them with their agenda in one transaction."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from vault_core import agenda, names, rotation
from vault_core.credential import Credential
from vault_core.errors import RowChanged, RowMissing
from vault_core.placement import is_place, moved
from vault_core.stores import Change, Column, Insert, Put, Replace, Row, Table
from vault_core.tenants import TenantRules

_REMEMBERED = 1000
_NOBODY = "00000000-0000-0000-0000-000000000000"  # no credential has this id


@dataclass(frozen=True, slots=True)
class Found:
    """A credential and the row it was read from; the row's etag names its exact state."""

    credential: Credential
    row: Row

    @property
    def tenant(self) -> str:
        return self.row.partition


class CredentialRows:
    """Reads credentials, and remembers lately read ones for those who verify what they remember."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._remembered: OrderedDict[tuple[str, str], Found] = OrderedDict()

    async def find(self, tenant: str, reference: str) -> Found:
        """Return the credential with this id or name, as it is now; `RowMissing` when there is none."""
        if credential_id := names.as_id(reference):
            return await self.read(tenant, credential_id)
        folded = name_key(reference)
        try:
            named = await self.table.read(tenant, folded)
        except RowMissing:
            return await self.read(tenant, _NOBODY)  # no quicker than for a name that the caller may not know of
        found = await self.read(tenant, named.document["credentialId"])
        if name_key(found.credential.name) != folded:
            raise RowMissing(folded)  # renamed between the two reads
        return found

    async def read(self, tenant: str, credential_id: str) -> Found:
        """Return the credential with this id, as it is now; `RowMissing` when there is none or it was deleted."""
        try:
            row = await self.table.read(tenant, credential_key(credential_id))
        except RowMissing:
            self._forget(tenant, credential_id)
            raise
        found = Found(Credential.from_document(row.document), row)
        if found.credential.deleted_at:
            self._forget(tenant, credential_id)
            raise RowMissing(row.key)
        self._remember(found)
        return found

    def remembered(self, tenant: str, reference: str) -> Found | None:
        """Return what was last read of the credential, perhaps stale: whoever relies on it must verify it."""
        return self._remembered.get((tenant, names.as_id(reference) or names.fold(reference)))

    async def replace(self, found: Found, credential: Credential, rules: TenantRules, *more: Change) -> Found:
        """Put the credential in place of what was found, with its agenda and `more`, all or none.

        Raises `RowChanged` when the credential is no longer as it was found.
        """
        credential, entries = with_agenda(found.tenant, credential, rules, found.credential)
        row = row_of(found.tenant, credential, etag=found.row.etag)
        placing = moved(found.tenant, found.credential, credential)
        try:
            written, *_ = await self.table.commit(Replace(row), *entries, *placing, *more)
        except RowChanged as conflict:
            if not is_place(conflict.key):
                raise
            # Whoever can write to the table must not keep a credential alive by removing a row of the index.
            await self.table.commit(*moved(found.tenant, None, found.credential))
            written, *_ = await self.table.commit(Replace(row), *entries, *placing, *more)
        kept = Found(credential, written)
        if credential.deleted_at:
            self._forget(found.tenant, credential.id)
        else:
            self._remember(kept)
        return kept

    async def replan(self, found: Found, rules: TenantRules) -> None:
        """Move the credential's agenda to where the rules now put it; `RowChanged` when it has changed meanwhile."""
        planned, entries = with_agenda(found.tenant, found.credential, rules, found.credential)
        if entries:
            row = row_of(found.tenant, planned, etag=found.row.etag)
            await self.table.commit(Replace(row), *entries)

    def _remember(self, found: Found) -> None:
        for reference in (found.credential.id, names.fold(found.credential.name)):
            self._remembered[found.tenant, reference] = found
            self._remembered.move_to_end((found.tenant, reference))
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def _forget(self, tenant: str, credential_id: str) -> None:
        found = self._remembered.pop((tenant, credential_id), None)
        if found:
            self._remembered.pop((tenant, names.fold(found.credential.name)), None)


def credential_key(credential_id: str) -> str:
    """Return the key of a credential's row."""
    return f"credential:{credential_id}"


def name_key(name: str) -> str:
    """Return the key of the row that holds a credential's name; `RowMissing` for what cannot be one."""
    return names.row_key("name", name)


def row_of(tenant: str, credential: Credential, etag: str = "") -> Row:
    """Return the row of the credential; the columns narrow a listing to what a caller may see."""
    columns: dict[str, Column] = {
        "owner": credential.owner_id,
        "shared": bool(credential.policy.allowed_identities),
        "ownPolicy": credential.policy.allowed_identities is not None,
    }
    if credential.locker_id:
        columns |= {"locker": credential.locker_id, "inLocker": True}
    return Row(tenant, credential_key(credential.id), credential.document(), columns, etag)


def name_taken(tenant: str, credential_id: str, name: str) -> Insert:
    """Return the change that takes a name for the credential."""
    return Insert(Row(tenant, name_key(name), {"credentialId": credential_id}))


def new_rows(tenant: str, credential: Credential, rules: TenantRules) -> tuple[Change, ...]:
    """Return the changes that make the credential, with its agenda and its places."""
    credential, entries = with_agenda(tenant, credential, rules)
    return (Insert(row_of(tenant, credential)), *entries, *moved(tenant, None, credential))


def with_agenda(
    tenant: str, credential: Credential, rules: TenantRules, before: Credential | None = None
) -> tuple[Credential, tuple[Put, ...]]:
    """Return the credential knowing when to look at it, and the entries that its new instants need.

    Entries of earlier instants are left: a timer that finds one the credential no longer names drops it.
    """
    look_at, check_at = rotation.next_look(credential, rules), rotation.next_check(credential)
    planned = (
        (agenda.Queue.ROTATION, look_at, before.rotation_look_at if before else None, None),
        (agenda.Queue.CHECK, check_at, before.check_look_at if before else None, _lane(credential)),
    )
    entries = tuple(
        Put(agenda.look(tenant, queue, at, credential.id, lane))
        for queue, at, known, lane in planned
        if at and at != known
    )
    return credential.but(rotation_look_at=look_at, check_look_at=check_at), entries


def _lane(credential: Credential) -> str | None:
    """Return in whose lane the value is checked: the vendor's, who answers for it, and its host's."""
    pinned = credential.configuration
    return f"{pinned.vendor}|{pinned.host}" if pinned and pinned.host else None

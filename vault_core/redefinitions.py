"""Redefining credentials: another name, description and attributes.

An attribute that is left out goes with its values, and one that is no longer what it was (standard or user-provided)
loses them. The order of writes:

    no standard value lost   audit → {credential, its name, intent to prune} → consumers' values pruned
    standard values lost     as a rotation to a version that holds only what is left, in the same transaction
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from vault_core import agenda, credential_changes
from vault_core.admission import Admission, Admitted
from vault_core.audit import AuditEvent, Event
from vault_core.credential import (
    Credential,
    check_not_in_locker,
    check_not_revoked,
    check_same_place,
    rotated,
)
from vault_core.credential_requests import RedefineCredential
from vault_core.credential_rows import Found
from vault_core.credential_writes import CredentialWrites
from vault_core.credentials import FINISH_AFTER, Shown, name_conflict, renamed, told
from vault_core.endings import Endings
from vault_core.errors import CredentialChanged, RowChanged, RowExists, StaleVersion
from vault_core.identities import Caller
from vault_core.new_values import NewValues
from vault_core.policies import Action
from vault_core.stores import Change, Put

_CHANGED = "The credential changed at the same time; read it and repeat the request."


class Redefinitions:
    """Gives credentials other names, descriptions and attributes."""

    def __init__(self, admission: Admission, writes: CredentialWrites, new_values: NewValues, endings: Endings) -> None:
        self._admission = admission
        self._writes = writes
        self._new_values = new_values
        self._endings = endings

    async def redefine(
        self, caller: Caller, reference: str, wanted: RedefineCredential, edition: int | None, now: datetime
    ) -> Shown:
        """Change name, description and attributes; those that are left out go, with their values.

        Raises `InvalidInput`, `NameTaken`, `CredentialInLocker`, `CredentialRevoked`, and `StaleVersion` when `edition`
        is given and is not the present one.
        """
        admitted = await self._admission.admit(caller, Action.UPDATE, reference, now)
        found, rules = admitted.found, admitted.rules

        def rule(credential: Credential) -> Credential:
            check_not_revoked(credential)
            check_not_in_locker(credential, "change it")
            check_same_place(credential, found.credential)
            if credential.attributes != found.credential.attributes:  # what is lost by this is other than was found
                raise CredentialChanged(_CHANGED)
            if edition not in (None, credential.edition):
                raise StaleVersion("The credential changed since you read it; read it again and repeat your change.")
            return credential_changes.redefined(credential, wanted, caller.identity, now)

        after = rule(found.credential)
        event = told(
            Event.CREDENTIAL_UPDATED, caller, found.credential, now, fields=["attributes", "description", "name"]
        )
        prune = agenda.pruning(caller.tenant, now + FINISH_AFTER, found.credential.id)
        more: list[Change] = [*renamed(caller.tenant, found.credential, wanted.name)]
        if lost := _lost_own(found.credential, after):
            more.append(Put(prune))
        try:
            if _lost_standard(found.credential, after):
                kept = await self._redefine_and_rotate(caller, admitted, rule, after, event, more, now)
            else:
                kept = await self._writes.change(found, rules, rule, [event], *more)
        except (RowExists, RowChanged) as conflict:
            raise name_conflict(conflict) from None
        if lost:
            await self._endings.finish_pruning(caller, found.credential.id, prune, now)
        return Shown(kept.credential, rules)

    async def _redefine_and_rotate(
        self,
        caller: Caller,
        admitted: Admitted,
        rule: Callable[[Credential], Credential],
        after: Credential,
        redefined: AuditEvent,
        more: Sequence[Change],
        now: datetime,
    ) -> Found:
        """Redefine the credential together with a version that holds only what is left of its standard values."""
        found = admitted.found
        present = await self._new_values.present(caller.tenant, found.credential)
        left = {one.id for one in after.attributes if one.value}
        fields = {key: text for key, text in present.items() if key in left}
        new = await self._new_values.accept_changes(caller.tenant, after, fields, (), now)
        before = found.credential.newest.number

        def both(credential: Credential) -> Credential:
            if credential.newest.number != before:
                raise CredentialChanged(_CHANGED)
            credential = rule(credential)
            return rotated(credential, new.accepted, (), new.secret, new.fingerprint, caller.identity, now)

        lost = [one.name for one in found.credential.attributes if one.id in set(present) - left]
        event = told(Event.CREDENTIAL_ROTATED, caller, found.credential, now, version=before + 1, attributes=lost)
        return await self._writes.promote(caller, found, admitted.rules, both, new, [redefined, event], now, *more)


def _lost_own(before: Credential, after: Credential) -> set[str]:
    """Return the attributes that consumers gave values for, and no longer can."""
    return {one.id for one in before.user_provided} - {one.id for one in after.user_provided}


def _lost_standard(before: Credential, after: Credential) -> set[str]:
    """Return the attributes that had a standard value, and no longer do."""
    return {one.id for one in before.attributes if one.value} - {one.id for one in after.attributes if one.value}

"""How a change of a credential is written: recorded first, then applied to the credential as it is at that moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from vault_core import agenda
from vault_core.audit import AuditEvent, AuditLog
from vault_core.checks import Proof
from vault_core.checks import kept as kept_check
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, Found
from vault_core.errors import CredentialChanged, NotFound, RowChanged, RowExists, RowMissing, Unavailable, VaultError
from vault_core.identities import Caller
from vault_core.new_values import NewValue, NewValues
from vault_core.policies import ABSENT
from vault_core.repeats import came_through
from vault_core.stores import Change, Put
from vault_core.tenants import TenantRules
from vault_core.validation import Trigger

_ATTEMPTS = 5
Rule = Callable[[Credential], Credential]


class CredentialWrites:
    """Puts changed credentials in place of present ones, in one transaction with what belongs to the change."""

    def __init__(self, rows: CredentialRows, new_values: NewValues, audit: AuditLog) -> None:
        self._rows = rows
        self._new_values = new_values
        self._audit = audit

    async def change(
        self, found: Found, rules: TenantRules, rule: Rule, events: Sequence[AuditEvent], *more: Change
    ) -> Found:
        """Record, then apply the rule to the credential as it is when it is written.

        Raises what the rule raises, `NotFound`, and `CredentialChanged` when others keep changing it. `RowExists` and
        `RowChanged` name a row of `more` that did not fit.
        """
        rule(found.credential)  # refuse before recording that it was allowed
        await self._audit.write(*events)
        try:
            return await self._replace(found, rules, rule, *more)
        except Unavailable:
            raise  # it is unknown whether it was applied
        except VaultError as refusal:
            await self._failed(events, refusal.code)
            raise
        except (RowExists, RowChanged):
            await self._failed(events, CredentialChanged.code)
            raise

    async def promote(
        self,
        caller: Caller,
        found: Found,
        rules: TenantRules,
        rule: Callable[[Credential], Credential],
        new: NewValue,
        events: Sequence[AuditEvent],
        now: datetime,
        *more: Change,
    ) -> Found:
        """Write the new value, then apply the rule that makes it the active one; the one before it is retired.

        Before that its vendor proves it, if that was demanded. Raises as `change`, then the new value is discarded
        again; and as `NewValues.prove`, before anything is written.
        """
        tenant, credential = found.tenant, found.credential
        proof = await self._new_values.prove(caller, rule(credential), new, Trigger.ROTATED, now)
        if proof:
            rule = _and_then(rule, proof.of)
        removals = await self._new_values.write(tenant, credential.id, new, events, now)
        retire = agenda.retirement(tenant, now, credential.id, credential.newest.number)
        retired = () if credential.newest.holds_nothing else (Put(retire),)
        try:
            kept = await self._replace(found, rules, rule, *removals, *retired, *more, proof=proof)
        except Unavailable:
            raise  # perhaps it was applied: the intent tells the reconciler
        except VaultError as refusal:
            await self._new_values.give_up(removals, events, refusal.code)
            raise
        except (RowExists, RowChanged):
            await self._new_values.give_up(removals, events, CredentialChanged.code)
            raise
        if kept.credential.newest.secret != new.secret:  # a twin of the same request was faster
            await self._new_values.give_up(removals, events, CredentialChanged.code)
        return kept

    async def _replace(
        self, found: Found, rules: TenantRules, rule: Rule, *more: Change, proof: Proof | None = None
    ) -> Found:
        """Replace the credential by what the rule makes of it, looking again when someone else was faster."""
        for _ in range(_ATTEMPTS):
            before = found.credential
            check = (kept_check(found.tenant, before.id, before.validation, proof.check),) if proof else ()
            try:
                return await self._rows.replace(found, rule(before), rules, *more, *check)
            except RowChanged as conflict:
                if conflict.key != found.row.key:
                    return await self._settled_by_a_twin(found, conflict)
            found = await self._look_again(found)
        raise CredentialChanged("The credential keeps changing; read it and repeat the request.")

    async def _look_again(self, found: Found) -> Found:
        """Return the credential as it is now, if what the caller was admitted for still holds."""
        before = found.credential
        try:
            found = await self._rows.read(found.tenant, before.id)
        except RowMissing:
            raise NotFound(ABSENT) from None
        if found.credential.owner_id != before.owner_id:
            raise CredentialChanged("The credential has a new owner; read it and repeat the request.")
        return found

    async def _settled_by_a_twin(self, found: Found, conflict: RowChanged) -> Found:
        if conflict.key.startswith("intent:"):
            raise Unavailable("The request took too long and was undone; repeat it.") from None
        if not conflict.key.startswith("request:"):
            raise conflict
        if not await came_through(self._rows.table, found.tenant, conflict.key):
            raise CredentialChanged("The request could not be told from its repeat; send it again.")
        return await self._rows.read(found.tenant, found.credential.id)

    async def _failed(self, events: Sequence[AuditEvent], code: str) -> None:
        await self._audit.write(*(event.failed(code) for event in events))


def _and_then(first: Rule, then: Rule) -> Rule:
    return lambda credential: then(first(credential))

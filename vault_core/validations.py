"""Validations: a credential's value is checked at somebody's word, and what was found before is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from vault_core import rotation
from vault_core.admission import Admission, Admitted
from vault_core.audit import AuditLog
from vault_core.checks import Checks, check_of, told
from vault_core.credential import Credential, check_not_revoked
from vault_core.credentials import Shown
from vault_core.errors import ConfigurationNotUsable, CredentialNotUsable, NotFound, RowMissing
from vault_core.identities import Caller
from vault_core.new_values import NewValues
from vault_core.policies import ABSENT, Action
from vault_core.validation import Check, Trigger
from vault_core.vendor_answers import Outcome


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and the credential knowing it."""

    check: Check
    shown: Shown


class Validations:
    """Checks values on demand. Every method may raise `NotFound`, `AccessDenied` and `Unavailable`."""

    def __init__(self, admission: Admission, new_values: NewValues, checks: Checks, audit: AuditLog) -> None:
        self._admission = admission
        self._new_values = new_values
        self._checks = checks
        self._audit = audit
        self._running: dict[tuple[str, str, int], asyncio.Task[Checked]] = {}

    async def validate(self, caller: Caller, reference: str, now: datetime) -> Checked:
        """Check the value now: by its type, and by its vendor if its configuration names an endpoint.

        Whoever asks while the same check runs here is given its answer. Raises `TooSoon` when the credential was
        checked in this minute or its host too often, `CredentialRevoked`, `CredentialNotUsable` while it is frozen
        because others may know its value, and `ConfigurationNotUsable` for a credential that holds no value yet.
        """
        admitted = await self._admission.admit(caller, Action.VALIDATE, reference, now)
        credential = admitted.found.credential
        check_not_revoked(credential)
        if credential.compromised:
            raise CredentialNotUsable("This credential was reported as compromised; rotate it, then validate it.")
        if credential.newest.secret is None:
            raise ConfigurationNotUsable("This credential holds no value yet; set one, then validate it.")
        key = (caller.tenant, credential.id, credential.newest.number)
        task = self._running.get(key)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = self._running[key] = asyncio.create_task(self._validate(caller, admitted, now))
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)  # whoever gives up waiting must not end it for the others

    def _ended(self, key: tuple[str, str, int], done: asyncio.Task[Checked]) -> None:
        self._running.pop(key, None)
        if not done.cancelled():
            done.exception()  # seen, though whoever asked may have gone away

    async def history(self, caller: Caller, reference: str, now: datetime) -> list[Check]:
        """Return the last checks of the credential, up to 100, the newest first."""
        admitted = await self._admission.admit(caller, Action.READ, reference, now)
        return await self._checks.history(caller.tenant, admitted.found.credential.id)

    async def _validate(self, caller: Caller, admitted: Admitted, now: datetime) -> Checked:
        found, rules = admitted.found, admitted.rules
        outcome = await self._found_out(caller, found.credential, now)
        check = check_of(caller, found.credential, outcome, Trigger.ASKED, now)
        await self._audit.write(told(caller, found.credential, outcome, Trigger.ASKED, now))
        try:
            kept = await self._checks.record(found, rules, outcome, check)
        except RowMissing:
            raise NotFound(ABSENT) from None
        return Checked(check, Shown(kept.credential, rules, admitted.parts))

    async def _found_out(self, caller: Caller, credential: Credential, now: datetime) -> Outcome:
        if ended := rotation.own_verdict(credential, now):
            return ended
        if credential.configuration is None or credential.configuration.check_every is None:
            return Outcome("valid", "accepted")
        values = await self._new_values.present(caller.tenant, credential)
        return await self._checks.ask(caller, credential, values, now)

"""Values on their way into a credential: checked, then written ahead of the transaction that makes them its own.

An intent to discard the value is written first and removed by that transaction, so a value that no credential came to
hold is found and deleted.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from vault_core import agenda
from vault_core.audit import AuditEvent, AuditLog
from vault_core.concurrency import together
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RotateCredential
from vault_core.credential_types import TYPES, Accepted, Fields
from vault_core.endings import Endings
from vault_core.errors import FieldError, RowChanged, Unavailable, ValueRefused
from vault_core.sealing import KeyRing
from vault_core.stores import Insert, Row, Table
from vault_core.values import Values, check_size

ABANDONED_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NewValue:
    """A value that its type accepted, its fingerprint, and the name of the secret that is to hold it."""

    accepted: Accepted
    fingerprint: str
    secret: str


class NewValues:
    """Checks and writes the values of new versions."""

    def __init__(self, table: Table, values: Values, keys: KeyRing, audit: AuditLog, endings: Endings) -> None:
        self._table = table
        self._values = values
        self._keys = keys
        self._audit = audit
        self._endings = endings

    async def accept(self, tenant: str, wanted: CreateCredential, now: datetime) -> NewValue:
        """Return the value of a credential to come. Raises `ValueRefused`."""
        return await self._accept(tenant, wanted.type, wanted.value, wanted.fields_, now)

    async def accept_replacement(
        self, tenant: str, credential: Credential, wanted: RotateCredential, now: datetime
    ) -> NewValue:
        """Return the value that may replace the credential's present one. Raises `ValueRefused`."""
        new = await self._accept(tenant, credential.type, wanted.value, wanted.fields_, now)
        if secrets.compare_digest(new.fingerprint, credential.newest.fingerprint):
            fault = FieldError(f"fields.{credential.kind.fields[0].name}", "is the value that is active now")
            raise ValueRefused("A rotation needs a different value; get a new one first.", (fault,))
        credential.kind.check_replacement(
            credential.details, new.accepted.details, allow_target_change=wanted.allow_target_change
        )
        return new

    async def write(self, tenant: str, credential_id: str, new: NewValue, event: AuditEvent, now: datetime) -> Row:
        """Write the intent, then the value and its event; return the intent, for the transaction to remove."""
        intent = agenda.intent(tenant, agenda.Task.DISCARD_VALUE, now + ABANDONED_AFTER, new.secret)
        [intent] = await self._table.commit(Insert(intent))
        await together(
            self._values.write(new.secret, tenant, credential_id, new.accepted.fields), self._audit.write(event)
        )
        return intent

    async def give_up(self, intent: Row, event: AuditEvent, code: str) -> None:
        """Undo what preceded a transaction that was refused; what fails here, the reconciler does later."""
        with suppress(Unavailable, RowChanged):
            await self._audit.write(event.failed(code))
            await self._endings.discard_value(intent)

    async def _accept(
        self, tenant: str, type_name: str, value: SecretStr | None, fields: Fields | None, now: datetime
    ) -> NewValue:
        kind = TYPES[type_name]
        given = kind.parse(value) if value is not None else fields or {}
        # In a thread: opening a key with a passphrase takes up to a second by design, and others wait in this one.
        accepted = await asyncio.to_thread(kind.accept, given, now)
        check_size(accepted.fields)
        keys = await self._keys.of(tenant)
        return NewValue(accepted, keys.fingerprint(accepted.fields[kind.fields[0].name]), self._values.new_name(tenant))

"""Values on their way into a credential: checked, then written ahead of the transaction that makes them its own.

An intent to discard the value is written first and removed by that transaction, so a value that no credential came to
hold is found and deleted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from vault_core import agenda
from vault_core.attributes import Attribute, OwnAttributes, by_id
from vault_core.audit import AuditEvent, AuditLog
from vault_core.concurrency import together
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RotateCredential
from vault_core.credential_types import TYPES, Accepted, CredentialType, Fields
from vault_core.endings import Endings
from vault_core.errors import (
    CredentialChanged,
    FieldError,
    RowChanged,
    SecretDisabled,
    SecretMissing,
    Unavailable,
    ValueRefused,
)
from vault_core.sealing import KeyRing
from vault_core.stores import Delete, Insert, Table
from vault_core.values import Values, check_size

_log = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NewValue:
    """What the attributes are to hold: accepted, fingerprinted, with a name for the secret to come.

    `given` names the attributes that were set; the others stay. With no value at all there is no secret to be.
    """

    accepted: Accepted
    given: frozenset[str]
    fingerprint: str
    secret: str | None


class NewValues:
    """Checks and writes the values of new versions."""

    def __init__(self, table: Table, values: Values, keys: KeyRing, audit: AuditLog, endings: Endings) -> None:
        self._table = table
        self._values = values
        self._keys = keys
        self._audit = audit
        self._endings = endings

    async def accept(
        self, tenant: str, wanted: CreateCredential, attributes: Sequence[Attribute], now: datetime
    ) -> NewValue:
        """Return the value of a credential to come. Raises `ValueRefused`."""
        kind = TYPES[wanted.type] if wanted.attributes is None else OwnAttributes(attributes)
        fields = _given(kind, attributes, wanted.value, wanted.fields_)
        return await self._accept(tenant, kind, fields, frozenset(fields), now)

    async def accept_replacement(
        self, tenant: str, credential: Credential, wanted: RotateCredential, now: datetime
    ) -> NewValue:
        """Return the value that may replace the credential's present one. Raises `ValueRefused`."""
        kind = credential.kind
        given = _given(kind, credential.attributes, wanted.value, wanted.fields_)
        kept = await self.present(tenant, credential) if credential.has_own_attributes else {}
        new = await self._accept(tenant, kind, {**kept, **given}, frozenset(given), now)
        if holds_the_same(credential, new):
            field = "fields" if credential.has_own_attributes else f"fields.{kind.fields[0].name}"
            fault = FieldError(field, "is the value that is active now")
            raise ValueRefused("A rotation needs a different value; get a new one first.", (fault,))
        kind.check_replacement(credential.details, new.accepted.details, allow_target_change=wanted.allow_target_change)
        return new

    async def accept_changes(
        self, tenant: str, credential: Credential, fields: Fields, given: Collection[str], now: datetime
    ) -> NewValue:
        """Return the values that the attributes are to hold, by their ids, `given` of them set. Raises `ValueRefused`.

        `credential` is as it is to be; without any value, what is returned has no secret.
        """
        new = await self._accept(tenant, credential.kind, fields, frozenset(given), now)
        credential.kind.check_replacement(credential.details, new.accepted.details, allow_target_change=False)
        return new

    async def present(self, tenant: str, credential: Credential) -> dict[str, SecretStr]:
        """Return the present standard values by the attributes' ids.

        Raises `CredentialChanged` when they cannot be read any longer: they were replaced or revoked meanwhile.
        """
        if credential.newest.secret is None:
            return {}
        try:
            return await self._values.read(credential.newest.secret, tenant, credential.id)
        except (SecretMissing, SecretDisabled) as fault:
            _log.warning("the value of a credential cannot be read: %s", type(fault).__name__)
            raise CredentialChanged("The value was replaced or revoked at the same time; repeat the request.") from None

    async def write(
        self, tenant: str, credential_id: str, new: NewValue, events: Sequence[AuditEvent], now: datetime
    ) -> tuple[Delete, ...]:
        """Write the intent, then the value and its events; return what the transaction must remove."""
        if new.secret is None:
            await self._audit.write(*events)
            return ()
        intent = agenda.intent(tenant, agenda.Task.DISCARD_VALUE, now + ABANDONED_AFTER, new.secret)
        [intent] = await self._table.commit(Insert(intent))
        await together(
            self._values.write(new.secret, tenant, credential_id, new.accepted.fields), self._audit.write(*events)
        )
        return (Delete(intent),)

    async def give_up(self, removals: Sequence[Delete], events: Sequence[AuditEvent], code: str) -> None:
        """Undo what preceded a transaction that was refused; what fails here, the reconciler does later."""
        with suppress(Unavailable, RowChanged):
            await self._audit.write(*(event.failed(code) for event in events))
            for removal in removals:
                await self._endings.discard_value(removal.row)

    async def _accept(
        self, tenant: str, kind: CredentialType, fields: Fields, given: frozenset[str], now: datetime
    ) -> NewValue:
        # In a thread: opening a key with a passphrase takes up to a second by design, and others wait in this one.
        accepted = await asyncio.to_thread(kind.accept, fields, now)
        check_size(accepted.fields)
        if not accepted.fields:
            return NewValue(accepted, given, "", None)
        keys = await self._keys.of(tenant)
        return NewValue(
            accepted, given, keys.fingerprint(_essence(kind, accepted.fields)), self._values.new_name(tenant)
        )


def holds_the_same(credential: Credential, new: NewValue) -> bool:
    """Return whether the credential's present value is this one."""
    return secrets.compare_digest(new.fingerprint, credential.newest.fingerprint)


def _given(
    kind: CredentialType, attributes: Sequence[Attribute], value: SecretStr | None, fields: Fields | None
) -> Fields:
    if value is not None:
        return kind.parse(value)
    return by_id(attributes, fields or {}) if isinstance(kind, OwnAttributes) else fields or {}


def _essence(kind: CredentialType, fields: Fields) -> SecretStr:
    """Return what a value is recognised by: the primary field of a type, or all of a credential's own attributes."""
    if not isinstance(kind, OwnAttributes):
        return fields[kind.fields[0].name]
    plain = {key: fields[key].get_secret_value() for key in sorted(fields)}
    return SecretStr(json.dumps(plain, ensure_ascii=False))

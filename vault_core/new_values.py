"""Values on their way into a credential: checked, then written ahead of the transaction that makes them its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import SecretStr

from vault_core import configuration_fields
from vault_core.attributes import Attribute, OwnAttributes, by_id
from vault_core.audit import AuditEvent, AuditLog
from vault_core.checks import Checks, Proof
from vault_core.configured_attributes import ConfiguredAttributes
from vault_core.contracts import Contract, Contracts
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RotateCredential
from vault_core.credential_rows import credential_key
from vault_core.credential_types import Accepted, CredentialType, Fields
from vault_core.errors import (
    CredentialChanged,
    FieldError,
    SecretDisabled,
    SecretMissing,
    ValueRefused,
)
from vault_core.identities import Caller
from vault_core.key_ring import KeyRing
from vault_core.pending_values import PendingValues
from vault_core.stores import Delete
from vault_core.validation import Trigger
from vault_core.values import Values, check_size

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewValue:
    """What the attributes are to hold: accepted, fingerprinted, with a name for the secret to come.

    `given` names the attributes that were set; the others stay. With no value at all there is no secret to be.
    `to_be_proved` says that the vendor is asked before it is accepted.
    """

    accepted: Accepted
    given: frozenset[str]
    fingerprint: str
    secret: str | None
    to_be_proved: bool = False


class NewValues:
    """Checks and writes the values of new versions."""

    def __init__(
        self,
        values: Values,
        keys: KeyRing,
        audit: AuditLog,
        pending: PendingValues,
        contracts: Contracts,
        checks: Checks,
    ) -> None:
        self._contracts = contracts
        self._checks = checks
        self._values = values
        self._keys = keys
        self._audit = audit
        self._pending = pending

    async def accept(
        self,
        tenant: str,
        wanted: CreateCredential,
        kind: CredentialType,
        attributes: Sequence[Attribute],
        contract: Contract | None,
        now: datetime,
    ) -> NewValue:
        """Return the value of a credential to come. Raises `ValueRefused`."""
        fields = _given(kind, attributes, wanted.value, wanted.fields_)
        return await self._accept(tenant, kind, contract, fields, frozenset(fields), now)

    async def accept_replacement(
        self, tenant: str, credential: Credential, wanted: RotateCredential, now: datetime
    ) -> NewValue:
        """Return the value that may replace the credential's present one. Raises `ValueRefused`."""
        kind, partly = credential.kind, credential.may_be_rotated_in_part
        given = _given(kind, credential.attributes, wanted.value, wanted.fields_)
        kept = await self.present(tenant, credential) if partly else {}
        contract = await self._contract(credential)
        new = await self._accept(tenant, kind, contract, {**kept, **given}, frozenset(given), now)
        if holds_the_same(credential, new):
            fault = FieldError(
                "fields" if partly else f"fields.{kind.fields[0].name}", "is the value that is active now"
            )
            raise ValueRefused("A rotation needs a different value; get a new one first.", (fault,))
        _check_replacement(credential, new, allow_target_change=wanted.allow_target_change)
        return await self._of_others(tenant, credential, new)

    async def accept_changes(
        self, tenant: str, credential: Credential, fields: Fields, given: Collection[str], now: datetime
    ) -> NewValue:
        """Return the values that the attributes are to hold, by their ids, `given` of them set. Raises `ValueRefused`.

        `credential` is as it is to be; without any value, what is returned has no secret.
        """
        contract = await self._contract(credential)
        new = await self._accept(tenant, credential.kind, contract, fields, frozenset(given), now)
        _check_replacement(credential, new, allow_target_change=False)
        return await self._of_others(tenant, credential, new)

    async def _of_others(self, tenant: str, credential: Credential, new: NewValue) -> NewValue:
        """Return the new value of a compromised credential as giving only what differs: the same is no other value."""
        if credential.compromised is None:
            return new
        with suppress(CredentialChanged):  # what cannot be read any longer cannot be compared
            present = await self.present(tenant, credential)
            fields = new.accepted.fields
            same = {name for name in new.given if name in present and _equal(present[name], fields.get(name))}
            return replace(new, given=new.given - same)
        return new

    async def prove(
        self, caller: Caller, credential: Credential, new: NewValue, trigger: Trigger, now: datetime
    ) -> Proof | None:
        """Return what the vendor says of the new value, if it is to be asked; `credential` is as it is to be.

        Raises `ValueRefused` for a value that the vendor calls invalid, and `TooSoon`.
        """
        endpoint = credential.configuration is not None and credential.configuration.check_every is not None
        if not (new.to_be_proved and endpoint and new.secret):
            return None
        return await self._checks.prove(caller, credential, new.accepted.fields, trigger, now)

    async def present(self, tenant: str, credential: Credential) -> dict[str, SecretStr]:
        """Return the present standard values by the attributes' ids.

        Raises `CredentialChanged` when they cannot be read any longer: they were replaced or revoked meanwhile.
        """
        if credential.newest.secret is None:
            return {}
        try:
            return await self._values.read(credential.newest.secret, tenant, credential.id)
        except (SecretMissing, SecretDisabled) as fault:
            _log.warning("value=unreadable error=%s", type(fault).__name__)
            raise CredentialChanged("The value was replaced or revoked at the same time; repeat the request.") from None

    async def write(
        self, tenant: str, credential_id: str, new: NewValue, events: Sequence[AuditEvent], now: datetime
    ) -> tuple[Delete, ...]:
        """Write the intent, then the value and its events; return what the transaction must remove."""
        if new.secret is None:
            await self._audit.write(*events)
            return ()
        return await self._pending.write(
            tenant, credential_id, credential_key(credential_id), new.secret, new.accepted.fields, events, now
        )

    async def give_up(self, removals: Sequence[Delete], events: Sequence[AuditEvent], code: str) -> None:
        """Undo what preceded a transaction that was refused; what fails here, the reconciler does later."""
        await self._pending.give_up(removals, events, code)

    async def _accept(
        self,
        tenant: str,
        kind: CredentialType,
        contract: Contract | None,
        fields: Fields,
        given: frozenset[str],
        now: datetime,
    ) -> NewValue:
        # In a thread: a vendor's patterns, or a key with a passphrase, take up to a second; others wait in this one.
        accepted = await asyncio.to_thread(_accepted, kind, contract, fields, now)
        check_size(accepted.fields)
        if not accepted.fields:
            return NewValue(accepted, given, "", None)
        keys = await self._keys.of(tenant)
        fingerprint = keys.fingerprint(_essence(kind, accepted.fields))
        endpoint = contract.definition.validation if contract else None
        demanded = bool(endpoint and endpoint.required)
        return NewValue(accepted, given, fingerprint, self._values.new_name(tenant), demanded)

    async def _contract(self, credential: Credential) -> Contract | None:
        return await self._contracts.of(credential.configuration) if credential.configuration else None


def _equal(one: SecretStr, other: SecretStr | None) -> bool:
    return other is not None and secrets.compare_digest(
        one.get_secret_value().encode(), other.get_secret_value().encode()
    )


def holds_the_same(credential: Credential, new: NewValue) -> bool:
    """Return whether the credential's present value is this one."""
    return secrets.compare_digest(new.fingerprint, credential.newest.fingerprint)


def _check_replacement(credential: Credential, new: NewValue, *, allow_target_change: bool) -> None:
    if credential.newest.holds_nothing:
        return
    kind = credential.kind
    if isinstance(kind, ConfiguredAttributes) and not kind.builds_on(new.given):
        return  # what the type knows of stays as it is, which is no replacement that the type could refuse
    kind.check_replacement(credential.details, new.accepted.details, allow_target_change=allow_target_change)


def _accepted(kind: CredentialType, contract: Contract | None, fields: Fields, now: datetime) -> Accepted:
    checked = configuration_fields.accept(contract.definition.fields_, fields) if contract else fields
    return kind.accept(checked, now)


def _given(
    kind: CredentialType, attributes: Sequence[Attribute], value: SecretStr | None, fields: Fields | None
) -> Fields:
    if value is not None:
        return kind.parse(value)
    return by_id(attributes, fields or {}) if isinstance(kind, OwnAttributes) else fields or {}


def _essence(kind: CredentialType, fields: Fields) -> SecretStr:
    """Return what a value is recognised by: the primary field of a type, or all of a credential's own attributes."""
    return kind.essence(fields) if isinstance(kind, OwnAttributes) else fields[kind.fields[0].name]

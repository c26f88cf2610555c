"""How credentials come to be. The order of writes:

    (vendor's proof) → intent to discard → value, audit → (pin → configuration seen to be usable)
    → {credential, name, its agenda, its places, intent removed}

What is in brackets is for credentials made from a vendor's configuration. A crash leaves a value that the reconciler
discards, and perhaps a pin that counts for nothing ten minutes later.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from vault_core import attributes as attribute_rules
from vault_core import configuration as configuration_rules
from vault_core import credential_changes
from vault_core.admission import Admission
from vault_core.attributes import OWN_TYPE, Attribute, OwnAttributes
from vault_core.audit import AuditEvent, Event
from vault_core.checks import kept as kept_check
from vault_core.concurrency import together
from vault_core.configured_attributes import ConfiguredAttributes
from vault_core.contracts import Contract, Contracts
from vault_core.credential import Credential
from vault_core.credential_requests import ConfigurationChoice, CreateCredential, TypeName
from vault_core.credential_rows import CredentialRows, name_key, name_taken, new_rows
from vault_core.credential_types import TYPES, CredentialType
from vault_core.credentials import NAME_TAKEN, Shown, new_id, told
from vault_core.errors import (
    Conflict,
    FieldError,
    InvalidInput,
    NameTaken,
    NotFound,
    RowChanged,
    RowExists,
    RowMissing,
    StoreConflict,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.new_values import NewValues
from vault_core.policies import ABSENT, Action, Guard
from vault_core.repeats import Once, Repeats
from vault_core.stores import Change
from vault_core.tenants import TenantRules, Tenants
from vault_core.validation import Trigger


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be created: the type, its attributes, what knows the rules of its values, and its contract."""

    type_name: str
    attributes: tuple[Attribute, ...]
    kind: CredentialType
    contract: Contract | None = None


class Creations:
    """Creates credentials."""

    def __init__(
        self,
        rows: CredentialRows,
        admission: Admission,
        contracts: Contracts,
        new_values: NewValues,
        guard: Guard,
        tenants: Tenants,
        repeats: Repeats,
    ) -> None:
        self._guard = guard
        self._rows = rows
        self._admission = admission
        self._contracts = contracts
        self._new_values = new_values
        self._tenants = tenants
        self._repeats = repeats

    async def create(
        self, caller: Caller, wanted: CreateCredential, once: Once | None, now: datetime, *, validate: bool = False
    ) -> Shown:
        """Create a credential owned by the caller; with `validate`, unless its vendor calls the value invalid.

        Raises `InvalidInput`, `ValueRefused`, `NameTaken`, `IdempotencyKeyReused`, and, of a configuration, `NotFound`,
        `ConfigurationNotUsable` and `TooSoon`.
        """
        if wanted.configuration and (earlier := await self._repeats.done_before(caller, once)):
            return await self._again(caller, earlier["credential"], now)  # the configuration may have changed since
        plan = await self._plan(caller, wanted, now)
        new = await self._new_values.accept(caller.tenant, wanted, plan.kind, plan.attributes, plan.contract, now)
        new = replace(new, to_be_proved=new.to_be_proved or validate)
        reservation = await self._repeats.reserve(caller, once, {"credential": new_id(now)}, now)
        if reservation.done:
            return await self._again(caller, reservation.plan["credential"], now)
        rules = await self._tenants.rules(caller.tenant)
        pinned = plan.contract.pinned if plan.contract else None
        credential = credential_changes.created(
            reservation.plan["credential"], wanted, plan.type_name, pinned, plan.attributes, new, caller.identity, now
        )
        proof = await self._new_values.prove(caller, credential, new, Trigger.CREATED, now)
        more: tuple[Change, ...] = reservation.settled
        if proof:
            more = (*more, kept_check(caller.tenant, credential.id, credential.validation, proof.check))
            credential = proof.of(credential)
        event = told_of_creation(caller, credential, now)
        removals = await self._new_values.write(caller.tenant, credential.id, new, [event], now)
        try:
            if plan.contract:
                await self._contracts.pin(caller.tenant, credential.id, plan.contract, now)
            await self._insert(caller.tenant, credential, rules, *removals, *more)
        except Unavailable:
            raise  # perhaps it was applied: the intent tells the reconciler
        except VaultError as refusal:
            await self._new_values.give_up(removals, [event], refusal.code)
            raise
        except (RowExists, RowChanged) as conflict:
            await self._new_values.give_up(removals, [event], Conflict.code)
            if plan.contract and not once:  # a twin of a keyed request may still come through, under the same id
                await self._contracts.unpin(caller.tenant, credential.id, plan.contract)
            return await self._not_inserted(caller, credential, conflict)
        return Shown(credential, rules)

    async def _plan(self, caller: Caller, wanted: CreateCredential, now: datetime) -> _Plan:
        by = caller.identity.id
        if wanted.configuration:
            contract = await chosen(self._contracts, self._guard, caller, wanted.configuration, now)
            type_name = type_in(contract, wanted.type)
            attributes = configuration_rules.as_attributes(contract.definition.fields_, by, now)
            return _Plan(type_name, attributes, ConfiguredAttributes(type_name, attributes), contract)
        type_name = wanted.type or OWN_TYPE
        if wanted.attributes is None:
            return _Plan(type_name, attribute_rules.of_type(type_name, by, now), TYPES[type_name])
        attributes = attribute_rules.defined(wanted.attributes, by, now)
        return _Plan(type_name, attributes, OwnAttributes(attributes))

    async def _again(self, caller: Caller, credential_id: str, now: datetime) -> Shown:
        """Return what the request created that this one repeats; perhaps it is another's by now."""
        admitted = await self._admission.admit(caller, Action.READ, credential_id, now)
        return Shown(admitted.found.credential, admitted.rules, admitted.parts)

    async def _insert(self, tenant: str, credential: Credential, rules: TenantRules, *more: Change) -> None:
        taken = name_taken(tenant, credential.id, credential.name)
        await self._rows.table.commit(*new_rows(tenant, credential, rules), taken, *more)

    async def _not_inserted(self, caller: Caller, credential: Credential, conflict: StoreConflict) -> Shown:
        if conflict.key == name_key(credential.name):
            # The name may be held by this very request, sent twice at once.
            holder = None
            with suppress(RowMissing):
                holder = await self._rows.find(caller.tenant, credential.name)
            if holder is None or holder.credential.id != credential.id:
                raise NameTaken(NAME_TAKEN)
        if conflict.key.startswith("intent:"):
            raise Unavailable("Creating the credential took too long and was undone; repeat the request.")
        try:
            found, rules = await together(
                self._rows.find(caller.tenant, credential.id), self._tenants.rules(caller.tenant)
            )
        except RowMissing:
            raise NotFound(ABSENT) from None
        return Shown(found.credential, rules)


async def chosen(
    contracts: Contracts, guard: Guard, caller: Caller, choice: ConfigurationChoice, now: datetime
) -> Contract:
    """Return what the caller's new credential is made from, as `Contracts.chosen`; a vain search is recorded."""
    try:
        return await contracts.chosen(caller.tenant, choice)
    except NotFound:
        await guard.record(caller, now, "create", configuration=choice.id)
        raise


def type_in(contract: Contract, given: TypeName | None) -> TypeName:
    """Return the type that credentials of the contract have; `InvalidInput` when another was given."""
    type_name = contract.definition.credential_type or OWN_TYPE
    if given not in (None, type_name):
        fault = FieldError("type", f"is {type_name} in this configuration; leave it out")
        raise InvalidInput("The type does not fit the configuration.", (fault,))
    return type_name


def told_of_creation(caller: Caller, credential: Credential, now: datetime, **about: object) -> AuditEvent:
    """Return the event that tells of a new credential."""
    pinned = credential.configuration
    if pinned:
        about |= {"configuration": pinned.id, "configurationVersion": pinned.version}
    return told(Event.CREDENTIAL_CREATED, caller, credential, now, type=credential.type, **about)

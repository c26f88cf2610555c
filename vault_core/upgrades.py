"""Upgrades: a credential moves on to a newer version of its vendor's configuration, when its owner says so.

That version may name another validation endpoint, to which the value is sent from then on. So it never takes effect by
itself. The order of writes is that of an update, or of a rotation when values change.
"""

from __future__ import annotations

from datetime import datetime

from vault_core import configuration as configuration_rules
from vault_core import credential_changes
from vault_core.admission import Admission
from vault_core.attributes import OWN_TYPE, Attribute, marked
from vault_core.audit import Event
from vault_core.contracts import Contract, Contracts
from vault_core.credential import Credential, check_not_revoked, check_room_for_a_version, check_unchanged, rotated
from vault_core.credential_requests import UpgradeCredential
from vault_core.credential_types import Fields
from vault_core.credential_writes import CredentialWrites
from vault_core.credentials import Shown, told
from vault_core.errors import ConfigurationNotUsable, CredentialChanged
from vault_core.identities import Caller
from vault_core.new_values import NewValue, NewValues
from vault_core.policies import Action


class Upgrades:
    """Moves credentials on to newer versions of their configurations."""

    def __init__(
        self, admission: Admission, contracts: Contracts, writes: CredentialWrites, new_values: NewValues
    ) -> None:
        self._admission = admission
        self._contracts = contracts
        self._writes = writes
        self._new_values = new_values

    async def upgrade(
        self, caller: Caller, reference: str, wanted: UpgradeCredential, if_match: str | None, now: datetime
    ) -> Shown:
        """Pin the credential to the version that is wanted; its values stay, but for those that are given.

        Repeatable. Raises `NotFound`, `ConfigurationNotUsable`, `ValueRefused` when what is there and what is given do
        not fit the new version, `StaleVersion`, `CredentialChanged` and `CredentialRevoked`.
        """
        admitted = await self._admission.admit(caller, Action.UPGRADE, reference, now)
        found, rules = admitted.found, admitted.rules
        before = found.credential
        check_not_revoked(before)
        if before.configuration is None:
            raise ConfigurationNotUsable("This credential was not made from a configuration.")
        contract = await self._contracts.newer(caller.tenant, before.configuration, wanted.version)
        if contract.version == before.configuration.version and not wanted.fields_:
            return Shown(before, rules, admitted.parts)
        check_unchanged(before, if_match)
        attributes = self._attributes(before, contract, caller, now)
        after = credential_changes.upgraded(before, contract.pinned, attributes, caller.identity, now)
        present = await self._new_values.present(caller.tenant, before)
        held = {one.id for one in attributes}
        values = {key: text for key, text in {**present, **wanted.fields_}.items() if key in held or key not in present}
        new = await self._new_values.accept_changes(caller.tenant, after, values, wanted.fields_, now)

        def rule(credential: Credential) -> Credential:
            check_unchanged(credential, if_match)
            check_not_revoked(credential)
            if (credential.newest.number, credential.configuration) != (before.newest.number, before.configuration):
                raise CredentialChanged("Another change was faster; read the credential before you upgrade it again.")
            moved = credential_changes.upgraded(credential, contract.pinned, attributes, caller.identity, now)
            return moved if _same(new.accepted.fields, present) else _with_value(moved, new, caller, now)

        about = {"configuration": contract.pinned.id, "version": contract.version, "host": contract.pinned.host}
        event = told(Event.CREDENTIAL_UPDATED, caller, before, now, fields=["configuration"], **about)
        if _same(new.accepted.fields, present):
            kept = await self._writes.change(found, rules, rule, [event])
        else:
            check_room_for_a_version(before)
            rotation = told(Event.CREDENTIAL_ROTATED, caller, before, now, version=before.newest.number + 1)
            kept = await self._writes.promote(caller, found, rules, rule, new, [event, rotation], now)
        return Shown(kept.credential, rules, admitted.parts)

    @staticmethod
    def _attributes(before: Credential, contract: Contract, caller: Caller, now: datetime) -> tuple[Attribute, ...]:
        if (contract.definition.credential_type or OWN_TYPE) != before.type:
            raise ConfigurationNotUsable("That version is for another type of credential; create a new credential.")
        fields, held = contract.definition.fields_, {one.id for one in before.attributes if one.value}
        attributes = configuration_rules.as_attributes(fields, caller.identity.id, now, before.attributes)
        return marked(attributes, held, (), caller.identity.id, now)


def _same(new: Fields, present: Fields) -> bool:
    return dict(new) == dict(present)


def _with_value(credential: Credential, new: NewValue, caller: Caller, now: datetime) -> Credential:
    return rotated(credential, new.accepted, new.given, new.secret, new.fingerprint, caller.identity, now)

"""The values of single attributes: read, written and removed apart from leases, by the rights that leases have.

A standard value is part of the credential's version: to change one is to rotate. A user-provided value is the
consumer's own: see `own_values.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from vault_core import agenda
from vault_core.admission import Admission, Admitted
from vault_core.attributes import Attribute, ValueMark, check_own, own_by_id, set_now
from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.concurrency import together
from vault_core.credential import (
    Credential,
    State,
    check_not_revoked,
    check_room_for_a_version,
    refusal_to_use,
    rotated,
)
from vault_core.credential_rows import CredentialRows
from vault_core.credential_writes import CredentialWrites
from vault_core.credentials import FINISH_AFTER, told
from vault_core.endings import Endings
from vault_core.errors import (
    CredentialChanged,
    CredentialNotUsable,
    FieldError,
    InvalidInput,
    NotFound,
    RowChanged,
    RowExists,
    RowMissing,
    SecretDisabled,
    SecretMissing,
    StaleVersion,
    Unavailable,
    ValueRefused,
)
from vault_core.identities import Caller
from vault_core.new_values import NewValues
from vault_core.own_values import FoundSet, OwnSet, OwnValues
from vault_core.policies import ABSENT, Action
from vault_core.stores import Discard, Put, Row
from vault_core.values import check_size

_ATTEMPTS = 5
_NO_VALUE = "There is no such value, or it is not yours."
_AGAIN = "The values keep changing; read them and repeat the request."


@dataclass(frozen=True, slots=True)
class ShownValue:
    """An attribute that has a value, and the value where the caller gets it. `consumer_id` is whose own it is."""

    attribute: Attribute
    mark: ValueMark
    consumer_id: str | None = None
    value: SecretStr | None = None


class AttributeValues:
    """What callers can do with single values. Every method may raise `NotFound`, `AccessDenied`, `Unavailable`."""

    def __init__(
        self,
        rows: CredentialRows,
        admission: Admission,
        writes: CredentialWrites,
        new_values: NewValues,
        own_values: OwnValues,
        audit: AuditLog,
        endings: Endings,
    ) -> None:
        self._rows = rows
        self._admission = admission
        self._writes = writes
        self._new_values = new_values
        self._own_values = own_values
        self._audit = audit
        self._endings = endings

    async def read_all(
        self, caller: Caller, reference: str, now: datetime, whose: str | None = None
    ) -> list[ShownValue]:
        """Return every value that the caller may have; masked ones are not opened. Recorded as `value.read`.

        Of user-provided attributes, the caller's own values; none when `whose` names another. Raises what forbids a
        lease, but for attributes without a value.
        """
        return await self._read(caller, reference, lambda attribute: not attribute.masked, None, whose, now)

    async def read_one(
        self, caller: Caller, reference: str, attribute_id: str, now: datetime, whose: str | None = None
    ) -> list[ShownValue]:
        """Return the value of this attribute, masked or not, or nothing when it has none. Otherwise as `read_all`."""
        return await self._read(caller, reference, lambda _: True, attribute_id, whose, now)

    async def write(
        self,
        caller: Caller,
        reference: str,
        values: Mapping[str, SecretStr],
        revision: int | None,
        now: datetime,
    ) -> list[ShownValue]:
        """Set values by the attributes' ids, the caller's own for user-provided ones; return their marks.

        All standard values together make one version. Values that are there already, and the same, stay. Raises
        `InvalidInput`, `ValueRefused`, `CredentialRevoked`, and `StaleVersion` when `revision` is given and is not
        that of each value that is there.
        """
        for _ in range(_ATTEMPTS):
            admitted = await self._admit_to_write(caller, reference, values, now)
            attributes = _known(admitted.found.credential, values)
            own = {one.id: values[one.id] for one in attributes if one.user_provided}
            standard = {one.id: values[one.id] for one in attributes if not one.user_provided}
            check_own(attributes, own)
            try:
                if own and standard:  # what would be refused must be, before half of it is done
                    await self._check_own_size(caller, admitted, own)
                if standard:
                    admitted = await self._rotate(caller, admitted, standard, (), revision, now)
                found = await self._set_own(caller, admitted, own, (), revision, now) if own else None
            except (RowChanged, RowExists, CredentialChanged):
                continue  # others changed the credential, or the same values: look again
            return _shown(admitted.found.credential, found, values)
        raise CredentialChanged(_AGAIN)

    async def replace(
        self, caller: Caller, reference: str, attribute_id: str, value: SecretStr, revision: int | None, now: datetime
    ) -> ShownValue:
        """Set the value of an attribute that has one, as `write`; `NotFound` when it has none."""
        credential = (await self._admission.admit(caller, Action.READ, reference, now)).found.credential
        own = await self.given_for(caller, credential)
        marks = {one.id: one.value for one in credential.attributes if one.value} | (own.marks if own else {})
        _check_there(marks, [attribute_id])
        [shown] = await self.write(caller, credential.id, {attribute_id: value}, revision, now)
        return shown

    async def remove(self, caller: Caller, reference: str, attribute_id: str, now: datetime) -> None:
        """Remove the attribute's standard value, or the caller's own. Raises `NotFound` when it has none."""
        for _ in range(_ATTEMPTS):
            admitted = await self._admit_to_write(caller, reference, [attribute_id], now)
            attribute = next((one for one in admitted.found.credential.attributes if one.id == attribute_id), None)
            if attribute is None:
                raise NotFound(_NO_VALUE)
            try:
                if attribute.user_provided:
                    await self._set_own(caller, admitted, {}, [attribute_id], None, now)
                else:
                    await self._rotate(caller, admitted, {}, [attribute_id], None, now)
            except (RowChanged, RowExists, CredentialChanged):
                continue
            return
        raise CredentialChanged(_AGAIN)

    async def set_own(
        self, caller: Caller, reference: str, named: Mapping[str, SecretStr], now: datetime
    ) -> list[ShownValue]:
        """Set the caller's own values by the attributes' names; return the marks of all that the caller gave.

        Raises `ValueRefused` for what is no user-provided attribute, and as `write`.
        """
        admitted = await self._admission.admit(caller, Action.LEASE, reference, now)
        credential = admitted.found.credential
        given = own_by_id(credential.attributes, named)
        await self.write(caller, credential.id, given, None, now)
        found = await self._own_values.find(caller.tenant, credential.id, caller.identity.id)
        return _shown(credential, found, [one.id for one in credential.user_provided])

    async def forget_own(self, caller: Caller, reference: str, now: datetime) -> None:
        """Remove all values that the caller gave for the credential. Repeatable."""
        admitted = await self._admission.admit(caller, Action.LEASE, reference, now)
        credential = admitted.found.credential
        found = await self._own_values.find(caller.tenant, credential.id, caller.identity.id)
        if found is None:
            return
        event = told(Event.VALUE_WRITTEN, caller, credential, now, removed=_names(credential, found.own.marks))
        try:
            await self._own_values.remove(caller.tenant, found, event, now)
        except RowChanged:
            raise CredentialChanged(_AGAIN) from None

    async def given_by(self, caller: Caller) -> dict[str, OwnSet]:
        """Return what the caller gave for itself, by credential. Never the values."""
        return await self._own_values.given_by(caller.tenant, caller.identity.id)

    async def given_for(self, caller: Caller, credential: Credential) -> OwnSet | None:
        """Return what the caller gave for this credential, or None. Never the values."""
        if not credential.user_provided:
            return None
        found = await self._own_values.find(caller.tenant, credential.id, caller.identity.id)
        return found.own if found else None

    async def _read(
        self,
        caller: Caller,
        reference: str,
        opens: Callable[[Attribute], bool],
        attribute_id: str | None,
        whose: str | None,
        now: datetime,
    ) -> list[ShownValue]:
        admitted = await self._admission.admit(caller, Action.LEASE, reference, now)
        credential = admitted.found.credential
        _check_usable(admitted, now)
        wanted = [one.id for one in credential.attributes] if attribute_id is None else [attribute_id]
        for _ in range(_ATTEMPTS):
            found = None
            asks_for_own = any(one.user_provided for one in _known(credential, wanted))
            if asks_for_own and (whose is None or caller.is_me(whose)):
                found = await self._own_values.find(caller.tenant, credential.id, caller.identity.id)
            shown = _shown(credential, found, wanted)
            try:
                return await self._opened(caller, credential, found, shown, opens, now)
            except (SecretMissing, SecretDisabled):
                continue  # the caller's own values were replaced meanwhile
        raise CredentialChanged(_AGAIN)

    async def _opened(
        self,
        caller: Caller,
        credential: Credential,
        found: FoundSet | None,
        shown: Sequence[ShownValue],
        opens: Callable[[Attribute], bool],
        now: datetime,
    ) -> list[ShownValue]:
        """Return the values of what is to be opened beside what is not; told to the audit when there is any."""
        opened = [one for one in shown if opens(one.attribute)]
        if not opened:
            return list(shown)
        names = [one.attribute.name for one in opened]
        event = told(Event.VALUE_READ, caller, credential, now, attributes=names, version=credential.newest.number)

        async def own() -> dict[str, SecretStr]:
            return await self._own_values.read(caller.tenant, found.own) if found else {}

        _, standard, owned = await together(
            self._audit.write(event), self._new_values.present(caller.tenant, credential), own()
        )
        await self._check_still_usable(credential, event, now)
        return [
            ShownValue(
                one.attribute, one.mark, one.consumer_id, (owned if one.consumer_id else standard)[one.attribute.id]
            )
            if one in opened
            else one
            for one in shown
        ]

    async def _check_still_usable(self, credential: Credential, event: AuditEvent, now: datetime) -> None:
        """Return when the credential may still be read after that was told.

        Whoever freezes or revokes it looks at what was told after that: one of the two sees the other.
        """
        try:
            refusal = refusal_to_use((await self._rows.read(event.tenant, credential.id)).credential, now)
        except RowMissing:
            refusal = NotFound(ABSENT)
        if refusal:
            await self._audit.write(event.failed(refusal.code))
            raise refusal

    async def _admit_to_write(
        self, caller: Caller, reference: str, attribute_ids: Collection[str], now: datetime
    ) -> Admitted:
        """Admit to what the attributes ask for: standard values to who may rotate, own values to who may lease."""
        admitted = await self._admission.admit(caller, Action.READ, reference, now)
        found, rules = admitted.found, admitted.rules
        kinds = {one.user_provided for one in found.credential.attributes if one.id in attribute_ids}
        for user_provided, action in ((False, Action.ROTATE), (True, Action.LEASE)):
            if user_provided in kinds:
                await self._admission.check(caller, action, found, rules, now)
        check_not_revoked(found.credential)
        return admitted

    async def _rotate(
        self,
        caller: Caller,
        admitted: Admitted,
        given: Mapping[str, SecretStr],
        removed: Collection[str],
        revision: int | None,
        now: datetime,
    ) -> Admitted:
        found, rules = admitted.found, admitted.rules
        marks = {one.id: one.value for one in found.credential.attributes if one.value}
        _check_revision(marks, given, revision)
        _check_there(marks, removed)
        check_room_for_a_version(found.credential)  # before anything is compared: a right guess must not look different
        present = await self._new_values.present(caller.tenant, found.credential)
        fields = {key: text for key, text in {**present, **given}.items() if key not in removed}
        names = _names(found.credential, [*given, *removed])
        tried = told(Event.VALUE_WRITTEN, caller, found.credential, now, attributes=names, unchanged=True)
        if fields == present:
            await self._audit.write(tried)  # who writes without reading can confirm a guess so: not unseen
            return admitted
        try:
            new = await self._new_values.accept_changes(caller.tenant, found.credential, fields, given, now)
        except ValueRefused as refusal:
            await self._audit.write(tried.failed(refusal.code))
            raise
        before = found.credential.newest.number

        def rule(credential: Credential) -> Credential:
            check_not_revoked(credential)
            if (credential.newest.number, credential.shape) != (before, found.credential.shape):
                raise CredentialChanged(_AGAIN)
            return rotated(credential, new.accepted, new.given, new.secret, new.fingerprint, caller.identity, now)

        event = told(Event.CREDENTIAL_ROTATED, caller, found.credential, now, version=before + 1, attributes=names)
        kept = await self._writes.promote(caller, found, rules, rule, new, [event], now)
        return Admitted(kept, rules)

    async def _set_own(
        self,
        caller: Caller,
        admitted: Admitted,
        given: Mapping[str, SecretStr],
        removed: Collection[str],
        revision: int | None,
        now: datetime,
    ) -> FoundSet | None:
        tenant, credential, me = caller.tenant, admitted.found.credential, caller.identity.id
        found = await self._own_values.find(tenant, credential.id, me)
        marks = dict(found.own.marks) if found else {}
        _check_revision(marks, given, revision)
        _check_there(marks, removed)
        present = await self._present_own(caller, found)
        values = {key: text for key, text in {**present, **given}.items() if key not in removed}
        if values == present:
            return found
        kept = {key: mark for key, mark in marks.items() if key not in removed}
        kept |= {key: set_now(marks.get(key), me, now) for key in given}
        names = _names(credential, [*given, *removed])
        event = told(Event.VALUE_WRITTEN, caller, credential, now, attributes=names)
        if not values and found:
            await self._own_values.remove(tenant, found, event, now)
            return None
        own = OwnSet(credential_id=credential.id, consumer_id=me, secret="", marks=kept)
        prune = agenda.pruning(tenant, now + FINISH_AFTER, credential.id, me)
        put = await self._own_values.put(tenant, found, own, values, event, now, Put(prune))
        await self._verify(caller, put.own, prune, now)
        return put

    async def _check_own_size(self, caller: Caller, admitted: Admitted, given: Mapping[str, SecretStr]) -> None:
        found = await self._own_values.find(caller.tenant, admitted.found.credential.id, caller.identity.id)
        check_size({**(await self._present_own(caller, found)), **given})

    async def _present_own(self, caller: Caller, found: FoundSet | None) -> dict[str, SecretStr]:
        try:
            return await self._own_values.read(caller.tenant, found.own) if found else {}
        except (SecretMissing, SecretDisabled):
            raise CredentialChanged(_AGAIN) from None

    async def _verify(self, caller: Caller, own: OwnSet, prune: Row, now: datetime) -> None:
        """Return when the credential still asks for the values; else undo them, then raise `CredentialChanged`."""
        try:
            credential = (await self._rows.read(caller.tenant, own.credential_id)).credential
        except RowMissing:
            asked_for = set()
        else:
            is_revoked = credential.newest.state is State.REVOKED
            asked_for = set() if is_revoked else {one.id for one in credential.user_provided}
        if own.marks.keys() <= asked_for:
            with suppress(Unavailable):  # then the reconciler finds nothing to prune
                await self._rows.table.commit(Discard(prune.partition, prune.key))
            return
        await self._endings.finish_pruning(caller, own.credential_id, prune, now)
        raise CredentialChanged(_AGAIN)


def _check_usable(admitted: Admitted, now: datetime) -> None:
    """Return when values may be handed out apart from leases."""
    credential = admitted.found.credential
    if refusal := refusal_to_use(credential, now):
        raise refusal
    if admitted.rules.policy_of(credential.policy).max_leases is not None:
        # Who reads without a lease takes no place, and gives none back.
        raise CredentialNotUsable("Values of this credential are counted by maxLeases; lease it at /api/v1/leases.")


def _known(credential: Credential, attribute_ids: Collection[str]) -> list[Attribute]:
    """Return the credential's attributes with these ids; `InvalidInput` when there is none with one of them."""
    known = [one for one in credential.attributes if one.id in attribute_ids]
    if len(known) < len(set(attribute_ids)):
        fault = FieldError("credentialAttributeId", "is no attribute of this credential")
        raise InvalidInput("Name attributes by the ids that the credential shows.", (fault,))
    return known


def _shown(credential: Credential, found: FoundSet | None, wanted: Collection[str]) -> list[ShownValue]:
    """Return the wanted attributes that have a standard value, or one of the consumer's own; no values."""
    own = found.own.marks if found else {}
    shown = []
    for one in credential.attributes:
        if one.id in wanted and one.value:
            shown.append(ShownValue(one, one.value))
        elif one.id in wanted and one.user_provided and found and one.id in own:
            shown.append(ShownValue(one, own[one.id], found.own.consumer_id))
    return shown


def _names(credential: Credential, attribute_ids: Collection[str]) -> list[str]:
    return [one.name for one in credential.attributes if one.id in attribute_ids]


def _check_revision(marks: Mapping[str, ValueMark | None], given: Collection[str], revision: int | None) -> None:
    there = [mark for key in given if (mark := marks.get(key))]
    if revision is not None and any(mark.revision != revision for mark in there):
        raise StaleVersion("The value changed since you read it; read it again and repeat your change.")


def _check_there(marks: Mapping[str, ValueMark | None], removed: Collection[str]) -> None:
    if any(not marks.get(key) for key in removed):
        raise NotFound(_NO_VALUE)

"""Checks of values by their vendors: asked at a bounded pace, told to the audit, kept as a history.

The order of writes, for a value that is in use:

    the minute's claim → credential seen to be there → call → audit (when somebody asked, or the verdict changed)
    → {credential, check}

A crash after the claim leaves the check due. It is put again with the same `webhook-id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from pydantic import SecretStr

from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.credential import Credential
from vault_core.credential_rows import CredentialRows, Found
from vault_core.errors import CredentialChanged, FieldError, NotFound, RowChanged, RowMissing, ValueRefused
from vault_core.identities import Caller
from vault_core.paces import Paces
from vault_core.policies import ABSENT
from vault_core.stores import Change, Keys, Put, Row
from vault_core.stores.removals import discard_all
from vault_core.telemetry import VALIDATIONS
from vault_core.tenants import TenantRules
from vault_core.validation import KEPT_CHECKS, Check, Trigger, Validation, concluded
from vault_core.vendor_answers import Outcome
from vault_core.vendor_calls import VendorCalls

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Proof:
    """What a vendor said of a new value, before it was accepted."""

    outcome: Outcome
    check: Check

    def of(self, credential: Credential) -> Credential:
        """Return the credential, which now holds the value, knowing this."""
        return with_outcome(credential, self.outcome, self.check.at)


class Checks:
    """Asks vendors about values, and keeps what they said."""

    def __init__(self, rows: CredentialRows, calls: VendorCalls, paces: Paces, audit: AuditLog) -> None:
        self._rows = rows
        self._table = rows.table
        self._calls = calls
        self._paces = paces
        self._audit = audit

    async def prove(
        self, caller: Caller, credential: Credential, values: Mapping[str, SecretStr], trigger: Trigger, now: datetime
    ) -> Proof:
        """Ask about new values of the credential, which is as it is to be. `ValueRefused` when they are invalid.

        Raises `TooSoon` when the credential was checked in this minute, or its host too often, and `NotFound`.
        """
        await self._take(caller, credential, now)
        if trigger is not Trigger.CREATED:
            await self._claim(caller.tenant, credential, now)
        outcome = await self._calls.ask_about(credential, values, _question_id(credential, now), now)
        VALIDATIONS.add(verdict=outcome.status, trigger=trigger.value)
        event = told(caller, credential, outcome, trigger, now)
        if outcome.status == "invalid":  # of a value that is not let in: what the credential holds is as it was
            await self._audit.write(replace(event, details={**event.details, "refused": True}))
            raise _refusal(outcome)
        await self._audit.write(event)
        return Proof(outcome, check_of(caller, credential, outcome, trigger, now))

    async def ask(
        self, caller: Caller, credential: Credential, values: Mapping[str, SecretStr], now: datetime
    ) -> Outcome:
        """Ask, at somebody's word, about the values that the credential holds. Raises `TooSoon` as `prove`."""
        await self._take(caller, credential, now)
        await self._claim(caller.tenant, credential, now)
        return await self._calls.ask_about(credential, values, _question_id(credential, now), now)

    async def ask_as_planned(
        self, tenant: str, credential: Credential, values: Mapping[str, SecretStr], now: datetime
    ) -> Outcome:
        """Ask, as it was planned, about the values that the credential holds. Raises `TooSoon` for a twin's check."""
        await self._claim(tenant, credential, now)
        planned = credential.check_look_at or now
        return await self._calls.ask_about(credential, values, _question_id(credential, planned), now)

    async def record(self, found: Found, rules: TenantRules, outcome: Outcome, check: Check, *more: Change) -> Found:
        """Keep with the credential what was found, as long as it holds the value that was checked; return it as kept.

        Raises `CredentialChanged` when it holds another value by now, or the vendor would be asked in another
        way by now, `RowMissing` when it is gone, and `RowChanged` for a row of `more` that does not fit.
        """
        VALIDATIONS.add(verdict=check.status, trigger=check.trigger.value)
        asked = (check.version, found.credential.question)
        for _ in range(_ATTEMPTS):
            known = found.credential.validation
            if (found.credential.newest.number, found.credential.question) != asked:
                break
            after = with_outcome(found.credential, outcome, check.at)
            row = kept(found.tenant, found.credential.id, known, check)
            try:
                return await self._rows.replace(found, after, rules, row, *more)
            except RowChanged as conflict:
                if conflict.key != found.row.key:
                    raise
            found = await self._rows.read(found.tenant, found.credential.id)
        raise CredentialChanged("The credential changed while it was checked; check it again in a minute.")

    async def history(self, tenant: str, credential_id: str) -> list[Check]:
        """Return the last checks of the credential, up to 100, the newest first."""
        page = await self._table.query(Keys(tenant, *_span(credential_id)))
        return sorted((Check.from_document(row.document) for row in page.rows), key=lambda one: one.at, reverse=True)

    async def forget(self, tenant: str, credential_id: str) -> None:
        """Remove what is kept of the checks of a credential that is gone. Repeatable."""
        rows = (await self._table.query(Keys(tenant, *_span(credential_id)))).rows
        await discard_all(self._table, tenant, [row.key for row in rows])
        await self._paces.forget(tenant, credential_id)

    async def _claim(self, tenant: str, credential: Credential, now: datetime) -> None:
        """Claim the minute's check, then look: who deletes a credential marks it first, then forgets the claim."""
        await self._paces.claim(tenant, credential.id, now)
        try:
            await self._rows.read(tenant, credential.id)
        except RowMissing:
            await self._paces.forget(tenant, credential.id)
            raise NotFound(ABSENT) from None

    async def _take(self, caller: Caller, credential: Credential, now: datetime) -> None:
        if credential.configuration and credential.configuration.host:
            await self._paces.take(caller.tenant, credential.configuration.host, now)


def with_outcome(credential: Credential, outcome: Outcome, now: datetime) -> Credential:
    """Return the credential knowing what its vendor said."""
    every = credential.configuration.check_every if credential.configuration else None
    seed = f"{credential.id}|{now.isoformat()}"
    return credential.but(validation=concluded(credential.validation, outcome, every, now, seed))


def check_of(caller: Caller, credential: Credential, outcome: Outcome, trigger: Trigger, now: datetime) -> Check:
    """Return what the history keeps."""
    return Check(
        at=now,
        version=credential.newest.number,
        trigger=trigger,
        by=caller.identity,
        status=outcome.status,
        reason=outcome.reason,
        field_errors=outcome.field_errors,
    )


def kept(tenant: str, credential_id: str, known: Validation, check: Check) -> Put:
    """Return the change that keeps the check that `known` does not count yet; it takes the oldest one's place."""
    return Put(Row(tenant, f"check-of:{credential_id}|{known.checks % KEPT_CHECKS:02}", check.document()))


def told(
    caller: Caller, credential: Credential, outcome: Outcome, trigger: Trigger, at: datetime, event_id: str = ""
) -> AuditEvent:
    """Return the event that tells what was found."""
    host = credential.configuration.host if credential.configuration else None
    details = {"status": outcome.status, "reason": outcome.reason, "trigger": trigger.value, "host": host}
    event = Event.CREDENTIAL_VALIDATED.by(
        caller,
        at,
        credential_id=credential.id,
        credential_name=credential.name,
        details={name: value for name, value in details.items() if value},
    )
    return replace(event, id=event_id) if event_id else event


def _question_id(credential: Credential, at: datetime) -> str:
    named = f"{credential.id}|{credential.newest.number}|{at.isoformat()}"
    return f"check_{sha256(named.encode()).hexdigest()[:32]}"


def _refusal(outcome: Outcome) -> ValueRefused:
    faults = tuple(
        FieldError(f"fields.{fault.field}" if fault.field else "fields", fault.message or "is not valid")
        for fault in outcome.field_errors
    )
    return ValueRefused("The vendor calls this value invalid; correct it and try again.", faults)


def _span(credential_id: str) -> tuple[str, str]:
    return f"check-of:{credential_id}|", f"check-of:{credential_id}|~"

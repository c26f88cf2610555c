"""Configurations: create, edit, publish, deprecate, delete, test; what others may see of them.

The order of writes:

    create      intent to discard → signing secret, audit → {configuration, intent removed}
    edit        audit → {configuration if unchanged}
    publish     negative control → pointers for its audience → audit → {configuration, its frozen version}
                → pointers of those who no longer are in the audience removed
    delete      audit → {configuration marked, intent} → pins looked at → pointers, secrets, rows gone, or unmarked

A pointer that a crash left behind shows nothing: whoever follows it decides on the configuration itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from pydantic import SecretStr

from vault_core import agenda
from vault_core import configuration as rules_of
from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.configuration import Configuration, Definition, Published
from vault_core.configuration_removal import ConfigurationRemoval
from vault_core.configuration_rows import (
    ConfigurationRows,
    FoundConfiguration,
    audience_of,
    configuration_key,
    version_key,
)
from vault_core.credential import Environment
from vault_core.credentials import FINISH_AFTER, new_id
from vault_core.errors import (
    AccessDenied,
    ConfigurationInUse,
    Conflict,
    NotFound,
    RowChanged,
    RowExists,
    RowMissing,
    StaleVersion,
    StoreConflict,
)
from vault_core.identities import Caller, Role
from vault_core.pending_values import PendingValues
from vault_core.policies import Guard
from vault_core.repeats import Once, Repeats
from vault_core.signing_secrets import SigningSecret, fields_of, read_signing, succeeded
from vault_core.stores import Change, Insert, Put, Replace, Row
from vault_core.trials import Trials
from vault_core.values import Values
from vault_core.vendor_answers import Outcome
from vault_core.vendor_calls import subject_of
from vault_core.webhooks import new_secret

ABSENT_CONFIGURATION = "There is no such configuration, or it is not published to you; check the id."
_NOT_YOURS = "Only the vendor of this configuration may do that."
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Issued:
    """A configuration with its newest signing secret, in the one answer that shows it."""

    configuration: Configuration
    secret: SecretStr = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConfigurationPage:
    """Configurations of one page, and the id behind which the next begins, None at the end."""

    configurations: list[Configuration]
    after: str | None


class Configurations:
    """What callers can do with configurations. Every method may raise `NotFound`, `AccessDenied`, `Unavailable`."""

    def __init__(
        self,
        rows: ConfigurationRows,
        removal: ConfigurationRemoval,
        trials: Trials,
        pending: PendingValues,
        values: Values,
        audit: AuditLog,
        guard: Guard,
        repeats: Repeats,
    ) -> None:
        self._rows = rows
        self._removal = removal
        self._trials = trials
        self._pending = pending
        self._values = values
        self._audit = audit
        self._guard = guard
        self._repeats = repeats

    async def create(self, caller: Caller, wanted: Definition, once: Once | None, now: datetime) -> Issued:
        """Create a draft of the caller's tenant. Raises `InvalidInput` and `IdempotencyKeyReused`."""
        await self._trials.check(caller, wanted, now)
        reservation = await self._repeats.reserve(caller, once, {"configuration": new_id(now)}, now)
        configuration_id = reservation.plan["configuration"]
        if reservation.done:
            return await self._issued_before(caller, configuration_id, now)
        secret, name = new_secret(), self._values.new_name(caller.tenant)
        signing = SigningSecret(secret=name, created_at=now)
        made = rules_of.created(configuration_id, caller.tenant, wanted, signing, caller.identity, now)
        event = _told(Event.CONFIGURATION_CREATED, caller, made, now, name=wanted.name)
        row = Row(caller.tenant, configuration_key(made.id), made.document())
        try:
            await self._commit_with_secret(caller, made.id, name, secret, event, now, Insert(row), *reservation.settled)
        except (RowExists, RowChanged):  # the same request, sent twice at once
            return await self._issued_before(caller, configuration_id, now)
        return Issued(made, secret)

    async def read(self, caller: Caller, reference: str, now: datetime) -> Configuration:
        """Return the configuration with this id: one of the caller's tenant, or one that is published to it."""
        return (await self._find(caller, reference, now)).configuration

    async def page(self, caller: Caller, after: str, limit: int) -> ConfigurationPage:
        """Return up to `limit` configurations behind the id `after`: those made, and those published to the tenant."""
        own = await self._rows.made_by(caller.tenant, after, limit) if caller.has(Role.VENDOR) else []
        pointers = await self._rows.pointers(caller.tenant, after, limit)
        known = {one.id for one in own}
        wanted = sorted({*known, *(one for one, _ in pointers)})[:limit]
        offered = await self._rows.offered(
            caller.tenant, [one for one in pointers if one[0] in wanted and one[0] not in known]
        )
        there = (one for one in (*own, *offered) if one.id in wanted and not one.deleting)
        shown = sorted(there, key=lambda one: one.id)
        full = len(own) == limit or len(pointers) == limit or len(wanted) == limit
        return ConfigurationPage(shown, wanted[-1] if full and wanted else None)

    async def versions(self, caller: Caller, reference: str, now: datetime) -> tuple[Configuration, list[Published]]:
        """Return the configuration and every version that was published, the newest first."""
        found = await self._find(caller, reference, now)
        return found.configuration, await self._rows.versions(found.row.partition, found.configuration.id)

    async def edit(
        self, caller: Caller, reference: str, wanted: Definition, if_match: str | None, now: datetime
    ) -> Configuration:
        """Replace the draft; what is published stays as it is. Raises `InvalidInput` and `StaleVersion`."""
        found = await self._own(caller, reference, now)
        rules_of.check_unchanged(found.configuration, if_match)
        await self._trials.check(caller, wanted, now)
        after = rules_of.edited(found.configuration, wanted, caller.identity, now)
        event = _told(Event.CONFIGURATION_UPDATED, caller, after, now, name=wanted.name)
        return await self._replace(found, after, event)

    async def publish(
        self, caller: Caller, reference: str, if_match: str | None, once: Once | None, now: datetime
    ) -> Configuration:
        """Freeze the draft as the next version, after its endpoint called a random wrong value invalid.

        Raises `EndpointUnfit`, `ConfigurationNotUsable` without a draft, `StaleVersion` and `TooSoon`.
        """
        found = await self._own(caller, reference, now)
        reservation = await self._repeats.reserve(caller, once and once.about(found.configuration.id), {}, now)
        if reservation.done:
            return found.configuration
        rules_of.check_unchanged(found.configuration, if_match)
        draft = rules_of.draft_of(found.configuration)
        version, after = rules_of.published(found.configuration, caller.identity, now)
        await self._trials.check_endpoint(caller, found.configuration, draft, now)
        event = _told(
            Event.CONFIGURATION_PUBLISHED, caller, after, now, version=version.number, host=self._trials.host_of(draft)
        )
        before, to = audience_of(found.configuration), audience_of(after)
        await self._rows.offer(after, to)
        frozen = Row(found.row.partition, version_key(after.id, version.number), version.document())
        kept = await self._replace(found, after, event, Insert(frozen), *reservation.settled)
        await self._rows.withdraw(kept, before - to)
        return kept

    async def deprecate(
        self, caller: Caller, reference: str, once: Once | None, now: datetime, *, if_match: str | None = None
    ) -> Configuration:
        """Let nothing new be made from the configuration; what exists works on. Repeatable. Raises `StaleVersion`."""
        found = await self._own(caller, reference, now)
        reservation = await self._repeats.reserve(caller, once and once.about(found.configuration.id), {}, now)
        if reservation.done:
            return found.configuration
        rules_of.check_unchanged(found.configuration, if_match)
        after = rules_of.deprecated(found.configuration, caller.identity, now)
        if after == found.configuration:
            return found.configuration
        event = _told(Event.CONFIGURATION_DEPRECATED, caller, after, now)
        return await self._replace(found, after, event, *reservation.settled)

    async def delete(self, caller: Caller, reference: str, if_match: str | None, now: datetime) -> None:
        """Remove the configuration with its versions and secrets. Raises `ConfigurationInUse`, `StaleVersion`."""
        found = await self._own(caller, reference, now, or_deleting=True)
        configuration = found.configuration
        intent = agenda.intent(caller.tenant, agenda.Task.REMOVE, now + FINISH_AFTER, configuration.id)
        event = _told(Event.CONFIGURATION_DELETED, caller, configuration, now)
        rules_of.check_unchanged(configuration, if_match)
        await self._replace(found, configuration.but(deleting=True), event, Put(intent))
        if not await self._removal.finish(caller.tenant, configuration.id, intent, now):
            await self._audit.write(event.failed(ConfigurationInUse.code))
            raise ConfigurationInUse("Credentials live on this configuration; deprecate it instead.")

    async def rotate_secret(
        self, caller: Caller, reference: str, once: Once | None, now: datetime, *, if_match: str | None = None
    ) -> Issued:
        """Make a new signing secret; the one before it signs beside it for 24 hours. Raises `StaleVersion`."""
        found = await self._own(caller, reference, now)
        configuration = found.configuration
        reservation = await self._repeats.reserve(caller, once and once.about(configuration.id), {}, now)
        if reservation.done:
            return await self._issued_before(caller, configuration.id, now)
        rules_of.check_unchanged(configuration, if_match)
        secret, name = new_secret(), self._values.new_name(caller.tenant)
        signing = succeeded(configuration.signing, name, now)
        after = rules_of.changed(configuration, caller.identity, now, signing=signing)
        event = _told(Event.CONFIGURATION_SECRET_ROTATED, caller, after, now)
        gone = [
            agenda.discarding(caller.tenant, now, one.secret, found.row.key)
            for one in configuration.signing
            if one.secret not in {kept.secret for kept in signing}
        ]
        replaced = Replace(found.row.with_document(after.document()))
        try:
            await self._commit_with_secret(
                caller, after.id, name, secret, event, now, replaced, *map(Put, gone), *reservation.settled
            )
        except (RowExists, RowChanged):
            if (await self._repeats.reserve(caller, once and once.about(configuration.id), {}, now)).done:
                return await self._issued_before(caller, configuration.id, now)
            raise _stale() from None
        return Issued(after, secret)

    async def test(
        self,
        caller: Caller,
        reference: str,
        given: Mapping[str, SecretStr],
        environment: Environment,
        marketplaces: tuple[str, ...],
        now: datetime,
    ) -> Outcome:
        """Ask the endpoint of the draft, or of the latest version without one, about these values; nothing is kept.

        Raises `ValueRefused`, `ConfigurationNotUsable` without an endpoint, and `TooSoon`.
        """
        configuration = (await self._own(caller, reference, now)).configuration
        _, definition = rules_of.tried(configuration)
        host = self._trials.host_of(definition)
        await self._audit.write(_told(Event.CONFIGURATION_TESTED, caller, configuration, now, host=host))
        return await self._trials.ask(caller, configuration, given, environment, marketplaces, now)

    async def _find(
        self, caller: Caller, reference: str, now: datetime, *, or_deleting: bool = False
    ) -> FoundConfiguration:
        try:
            found = await self._rows.find(caller.tenant, reference)
        except RowMissing:
            return await self._refuse_absent(caller, now)
        configuration = found.configuration
        own = configuration.vendor == caller.tenant and caller.has(Role.VENDOR)
        if configuration.deleting and not or_deleting:
            return await self._refuse_absent(caller, now)
        if not own and not configuration.is_offered_to(caller.tenant):
            return await self._refuse_absent(caller, now)
        return found

    async def _own(
        self, caller: Caller, reference: str, now: datetime, *, or_deleting: bool = False
    ) -> FoundConfiguration:
        found = await self._find(caller, reference, now, or_deleting=or_deleting)
        if found.configuration.vendor != caller.tenant or not caller.has(Role.VENDOR):
            await self._guard.record(caller, now, "change", configuration=found.configuration.id)
            raise AccessDenied(_NOT_YOURS)
        return found

    async def _refuse_absent(self, caller: Caller, now: datetime) -> NoReturn:
        await self._guard.record(caller, now, "configuration")
        raise NotFound(ABSENT_CONFIGURATION)

    async def _replace(
        self, found: FoundConfiguration, after: Configuration, event: AuditEvent, *more: Change
    ) -> Configuration:
        await self._audit.write(event)
        try:
            await self._rows.table.commit(Replace(found.row.with_document(after.document())), *more)
        except StoreConflict:
            await self._audit.write(event.failed(StaleVersion.code))
            raise _stale() from None
        return after

    async def _commit_with_secret(
        self,
        caller: Caller,
        configuration_id: str,
        name: str,
        secret: SecretStr,
        event: AuditEvent,
        now: datetime,
        *changes: Change,
    ) -> None:
        subject, holder = subject_of(configuration_id), configuration_key(configuration_id)
        removals = await self._pending.write(caller.tenant, subject, holder, name, fields_of(secret), [event], now)
        try:
            await self._rows.table.commit(*changes, *removals)
        except (RowExists, RowChanged):
            await self._pending.give_up(removals, [event], Conflict.code)
            raise

    async def _issued_before(self, caller: Caller, configuration_id: str, now: datetime) -> Issued:
        """Return what an earlier request with the same idempotency key was given, or was about to be given."""
        try:
            found = await self._rows.read(caller.tenant, configuration_id)
        except RowMissing:
            raise NotFound(ABSENT_CONFIGURATION) from None
        configuration = found.configuration
        newest, *_ = await read_signing(
            self._values, caller.tenant, subject_of(configuration_id), configuration.signing, now
        )
        return Issued(configuration, newest)


def _told(event: Event, caller: Caller, configuration: Configuration, now: datetime, **details: object) -> AuditEvent:
    about = {"configuration": configuration.id, **details}
    return event.by(caller, now, details={name: value for name, value in about.items() if value is not None})


def _stale() -> StaleVersion:
    return StaleVersion("The configuration changed at the same time; read it again and repeat your change.")

"""Subscriptions: create, list, update, delete, test; what waits for them and what was given up.

The order of writes:

    create          intent to discard → signing secret, audit → {subscriptions if unchanged, intent removed}
    update          audit → {subscriptions if unchanged}
    rotate secret   as create; with {intents to discard those that sign no longer}
    delete          audit → {subscriptions if unchanged, intents to discard the secrets, intent to unsubscribe}
                    → secrets destroyed → what waits, and dead letters, removed; 2,000 of them at a time
    test            pace → call
    replay          {dead letters and when to forget them removed, what takes their place}, for every 33 of them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from vault_core import agenda
from vault_core import subscription as rules_of
from vault_core.audit import AuditEvent, AuditLog, Event
from vault_core.courier import Courier
from vault_core.credentials import new_id
from vault_core.deliveries import Deliveries, DeliveryPage, DeliveryState, Message
from vault_core.errors import (
    Conflict,
    FieldError,
    InvalidInput,
    RowChanged,
    RowExists,
    SubscriptionDisabled,
    SubscriptionLimitReached,
    Unavailable,
    VaultError,
)
from vault_core.identities import Caller
from vault_core.outbound import DestinationRefused, Outbound
from vault_core.paces import Paces
from vault_core.pending_values import PendingValues, discard
from vault_core.repeats import Once, Repeats, Reservation, came_through
from vault_core.signing_secrets import SigningSecret, fields_of, read_signing, succeeded
from vault_core.stores import Change, Delete, Discard, Put, Row, Table
from vault_core.subscription import (
    MAX_SUBSCRIPTIONS,
    CreateSubscription,
    Subscription,
    SubscriptionList,
    UpdateSubscription,
    subject_of,
)
from vault_core.tenants import SUBSCRIPTIONS_ROW, TenantRows
from vault_core.values import Values
from vault_core.webhooks import new_secret

TEST_EVENT = "subscription.test"
_ATTEMPTS = 5
_UNSUBSCRIBE_AFTER = timedelta(minutes=2)  # until then a worker may still put events on their way to it
_UNRESERVED = Reservation({})

Rule = Callable[[SubscriptionList], SubscriptionList]


@dataclass(frozen=True, slots=True)
class Issued:
    """A subscription with its newest signing secret, in the one answer that shows it."""

    subscription: Subscription
    secret: SecretStr


class Subscriptions:
    """What administrators can do with subscriptions. Every method may raise `NotFound` and `Unavailable`."""

    def __init__(
        self,
        table: Table,
        rows: TenantRows,
        deliveries: Deliveries,
        courier: Courier,
        outbound: Outbound,
        paces: Paces,
        pending: PendingValues,
        values: Values,
        audit: AuditLog,
        repeats: Repeats,
    ) -> None:
        self._table = table
        self._rows = rows
        self._deliveries = deliveries
        self._courier = courier
        self._outbound = outbound
        self._paces = paces
        self._pending = pending
        self._values = values
        self._audit = audit
        self._repeats = repeats

    async def create(self, caller: Caller, wanted: CreateSubscription, once: Once | None, now: datetime) -> Issued:
        """Subscribe. Raises `InvalidInput`, `SubscriptionLimitReached` and `IdempotencyKeyReused`."""
        self._host(wanted.url)
        reservation = await self._repeats.reserve(caller, once, {"subscription": new_id(now)}, now)
        subscription_id = reservation.plan["subscription"]
        if reservation.done:
            return await self._issued_before(caller, subscription_id, now)
        return await self._create(caller, subscription_id, wanted, reservation, now)

    async def restore(self, caller: Caller, subscription_id: str, wanted: CreateSubscription, now: datetime) -> bool:
        """Subscribe under an id from elsewhere; return False, and change nothing, when a subscription has it.

        Nobody is shown the secret that signs: whoever wants to verify rotates it. Raises as `create`.
        """
        if (await self._rows.current(caller.tenant)).subscriptions.find(subscription_id):
            return False
        await self._create(caller, subscription_id, wanted, _UNRESERVED, now)
        return True

    async def _create(
        self, caller: Caller, subscription_id: str, wanted: CreateSubscription, reservation: Reservation, now: datetime
    ) -> Issued:
        host, signing = self._host(wanted.url), self._new_signing(caller, now)
        made = rules_of.created(subscription_id, wanted, signing, caller.identity, now)

        def rule(present: SubscriptionList) -> SubscriptionList:
            if present.find(subscription_id):
                return present  # the same request, sent twice at once
            if len(present.subscriptions) >= MAX_SUBSCRIPTIONS:
                raise SubscriptionLimitReached(f"A tenant has {MAX_SUBSCRIPTIONS} at most; delete one first.")
            return present.plus(made)

        event = _told(Event.SUBSCRIPTION_CREATED, caller, made.id, now, host=host, events=list(made.events))
        return await self._issue(caller, rule, made.id, signing, event, reservation, now)

    async def all(self, tenant: str) -> Sequence[Subscription]:
        """Return the tenant's subscriptions in the order of their creation: 20 at most."""
        return (await self._rows.current(tenant)).subscriptions.subscriptions

    async def read(self, tenant: str, subscription_id: str) -> Subscription:
        """Return the subscription with this id."""
        return (await self._rows.current(tenant)).subscriptions.get(subscription_id)

    async def update(
        self, caller: Caller, subscription_id: str, wanted: UpdateSubscription, if_match: str | None, now: datetime
    ) -> Subscription:
        """Apply the patch. What waits goes to the new URL. Raises `InvalidInput` and `StaleVersion`."""
        host = {"host": self._host(wanted.url)} if wanted.url else {}

        def rule(present: SubscriptionList) -> SubscriptionList:
            found = present.get(subscription_id)
            rules_of.check_unchanged(found, if_match)
            return present.replacing(rules_of.updated(found, wanted, caller.identity, now))

        after = rule((await self._rows.current(caller.tenant)).subscriptions).get(subscription_id)
        about = {"events": list(after.events), "enabled": after.enabled, **host}
        event = _told(Event.SUBSCRIPTION_UPDATED, caller, subscription_id, now, **about)
        await self._audit.write(event)
        await self._change(caller.tenant, rule, event, now)
        return after

    async def rotate_secret(self, caller: Caller, subscription_id: str, once: Once | None, now: datetime) -> Issued:
        """Make a new signing secret; the one before it signs beside it for 24 hours."""
        await self.read(caller.tenant, subscription_id)
        reservation = await self._repeats.reserve(caller, once and once.about(subscription_id), {}, now)
        if reservation.done:
            return await self._issued_before(caller, subscription_id, now)
        signing = self._new_signing(caller, now)

        def rule(present: SubscriptionList) -> SubscriptionList:
            found = present.get(subscription_id)
            signs = succeeded(found.signing, signing.secret, now)
            return present.replacing(rules_of.changed(found, caller.identity, now, signing=signs))

        event = _told(Event.SUBSCRIPTION_SECRET_ROTATED, caller, subscription_id, now)
        return await self._issue(caller, rule, subscription_id, signing, event, reservation, now)

    async def delete(self, caller: Caller, subscription_id: str, if_match: str | None, now: datetime) -> None:
        """End the subscription, with its secrets and all that waits for it. Raises `StaleVersion`."""

        def rule(present: SubscriptionList) -> SubscriptionList:
            rules_of.check_unchanged(present.get(subscription_id), if_match)
            return present.minus(subscription_id)

        rule((await self._rows.current(caller.tenant)).subscriptions)  # refuse before recording that it was allowed
        event = _told(Event.SUBSCRIPTION_DELETED, caller, subscription_id, now)
        late = agenda.intent(caller.tenant, agenda.Task.UNSUBSCRIBE, now + _UNSUBSCRIBE_AFTER, subscription_id)
        await self._audit.write(event)
        await self._change(caller.tenant, rule, event, now, Put(late))
        with suppress(Unavailable):  # then the reconciler does it
            await self._remove_traces(caller.tenant, subscription_id)

    async def finish_deletion(self, tenant: str, subscription_id: str, intent: Row) -> bool:
        """Remove what still waits for a deleted subscription, as `Deliveries.drop_all`; return whether all is gone.

        Repeatable; the intent stays until then.
        """
        if gone := await self._remove_traces(tenant, subscription_id):
            await self._table.commit(Discard(tenant, intent.key))
        return gone

    async def test(self, caller: Caller, subscription_id: str, now: datetime) -> bool:
        """Send a `subscription.test` at once, also to a disabled one; return whether it was taken. Raises `TooSoon`."""
        found = await self.read(caller.tenant, subscription_id)
        await self._paces.take(caller.tenant, self._host(found.url), now)
        await self._paces.claim(caller.tenant, subject_of(subscription_id), now)
        message = Message(type=TEST_EVENT, timestamp=now, data={"subscription": subscription_id})
        return await self._courier.bring(caller.tenant, found, new_id(now), message.body)

    async def deliveries(
        self, tenant: str, subscription_id: str, state: DeliveryState, after: str, limit: int
    ) -> DeliveryPage:
        """Return up to `limit` events that wait for the subscriber, or were given up."""
        await self.read(tenant, subscription_id)
        return await self._deliveries.page(tenant, subscription_id, state, after, limit)

    async def replay(
        self, tenant: str, subscription_id: str, delivery_id: str | None, now: datetime
    ) -> tuple[int, bool]:
        """Put dead letters on their way again, as `Deliveries.replay`. Raises `SubscriptionDisabled`."""
        if not (await self.read(tenant, subscription_id)).enabled:
            raise SubscriptionDisabled("What waits for a disabled subscription is dropped; enable it first.")
        return await self._deliveries.replay(tenant, subscription_id, delivery_id, now)

    def _host(self, url: str) -> str:
        """Return the host of a URL that may be called; `InvalidInput` otherwise."""
        try:
            return self._outbound.check(url)
        except DestinationRefused as refused:
            raise InvalidInput("Give a URL that the vault may call.", (FieldError("url", refused.reason),)) from None

    def _new_signing(self, caller: Caller, now: datetime) -> SigningSecret:
        return SigningSecret(secret=self._values.new_name(caller.tenant), created_at=now)

    async def _issue(
        self,
        caller: Caller,
        rule: Rule,
        subscription_id: str,
        signing: SigningSecret,
        event: AuditEvent,
        reservation: Reservation,
        now: datetime,
    ) -> Issued:
        """Write a new secret, then apply the rule that makes it the subscription's."""
        rule((await self._rows.current(caller.tenant)).subscriptions)  # refuse before anything is written
        secret, subject = new_secret(), subject_of(subscription_id)
        removals = await self._pending.write(
            caller.tenant, subject, SUBSCRIPTIONS_ROW, signing.secret, fields_of(secret), [event], now
        )
        after = await self._change(caller.tenant, rule, event, now, removals=removals, reservation=reservation)
        if after is None:
            return await self._issued_before(caller, subscription_id, now)
        return Issued(after.get(subscription_id), secret)

    async def _change(
        self,
        tenant: str,
        rule: Rule,
        event: AuditEvent,
        now: datetime,
        *more: Change,
        removals: Sequence[Delete] = (),
        reservation: Reservation = _UNRESERVED,
    ) -> SubscriptionList | None:
        """Apply the rule, with `more`; return None when a twin of the request came first.

        What was announced before is given up unless the rule was applied.
        """
        try:
            after = await self._apply(tenant, rule, now, (*more, *removals), reservation)
        except Unavailable:
            raise  # perhaps it was applied: the intent tells the reconciler
        except VaultError as refusal:
            await self._pending.give_up(removals, [event], refusal.code)
            raise
        if after is None:
            await self._pending.give_up(removals, [event], Conflict.code)
        return after

    async def _apply(
        self, tenant: str, rule: Rule, now: datetime, more: Sequence[Change], reservation: Reservation
    ) -> SubscriptionList | None:
        """Apply the rule to the subscriptions as they are when they are written, and let go of secrets they lose."""
        for _ in range(_ATTEMPTS):
            before = await self._rows.current(tenant)
            after = rule(before.subscriptions)
            if after is before.subscriptions:
                return None
            lost = [_discarding(tenant, name, now) for name in sorted(before.subscriptions.secrets - after.secrets)]
            try:
                written = await self._rows.replace(
                    tenant, before, SUBSCRIPTIONS_ROW, after, *map(Put, lost), *more, *reservation.settled
                )
            except (RowChanged, RowExists) as conflict:
                if not (reservation.row and conflict.key == reservation.row.key):
                    continue
                if await came_through(self._table, tenant, conflict.key):
                    return None
                raise Unavailable("The request could not be told from its repeat; send it again.") from None
            await self._let_go(written[1 : 1 + len(lost)])
            return after
        raise Unavailable("The subscriptions keep changing; repeat the request.")

    async def _let_go(self, intents: Sequence[Row]) -> None:
        with suppress(Unavailable, RowChanged):  # then the reconciler does it
            for intent in intents:
                await discard(self._table, self._values, intent)

    async def _issued_before(self, caller: Caller, subscription_id: str, now: datetime) -> Issued:
        """Return what an earlier request with the same idempotency key was given, or was about to be given."""
        found = await self.read(caller.tenant, subscription_id)
        newest, *_ = await read_signing(self._values, caller.tenant, subject_of(found.id), found.signing, now)
        return Issued(found, newest)

    async def _remove_traces(self, tenant: str, subscription_id: str) -> bool:
        await self._paces.forget(tenant, subject_of(subscription_id))
        return await self._deliveries.drop_all(tenant, subscription_id)


def _discarding(tenant: str, name: str, now: datetime) -> Row:
    return agenda.discarding(tenant, now, name, SUBSCRIPTIONS_ROW)


def _told(event: Event, caller: Caller, subscription_id: str, now: datetime, **details: object) -> AuditEvent:
    # Of a URL only the host is told: the rest may be a secret of the subscriber.
    return event.by(caller, now, details={"subscription": subscription_id, **details})

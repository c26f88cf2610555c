"""Handlers of subscriptions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from vault_core.api.repeated import once
from vault_core.api.routing import Answer, Call
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.deliveries import Delivery, DeliveryState
from vault_core.identities import Identity
from vault_core.subscription import CreateSubscription, Subscription, UpdateSubscription
from vault_core.subscriptions import Issued
from vault_core.vault import Vault
from vault_core.wire import Instant, RevealedSecret, WireModel


class SubscriptionView(WireModel):
    """Where a tenant is told of events. It never shows a signing secret."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    enabled: bool
    created_at: Instant
    created_by: Identity
    updated_at: Instant
    updated_by: Identity


class IssuedSubscription(SubscriptionView):
    """A subscription with its newest signing secret, in the only answer that shows it."""

    signing_secret: Annotated[RevealedSecret, Field(description="As Standard Webhooks has it: `whsec_` and base64")]


class SubscriptionItems(WireModel):
    """All subscriptions of the tenant, the oldest first."""

    items: tuple[SubscriptionView, ...]


class TrialResult(WireModel):
    """What became of a test: whether the subscriber answered with a status of 200 to 299."""

    delivered: bool


class DeliveryQuery(WireModel):
    """Which events: those that wait to be delivered, or those that were given up."""

    state: DeliveryState = DeliveryState.PENDING
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


class DeliveryView(WireModel):
    """An event on its way to the subscriber. `id` is the event's, as in the audit."""

    id: str
    event: str
    state: DeliveryState
    at: Annotated[Instant, Field(description="When it happened")]
    attempts: Annotated[int, Field(description="How often it was sent in vain, or is being sent")]
    next_attempt_at: Instant | None = None
    given_up_at: Instant | None = None


class DeliveryList(WireModel):
    """A page of deliveries; `next` is the cursor of the next page, absent at the end."""

    items: tuple[DeliveryView, ...]
    next: str | None = None


class ReplayDeliveries(WireModel):
    """Which event to send again; all that were given up if left out."""

    delivery: Annotated[str | None, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]*$")] = None


class ReplayResult(WireModel):
    """How many events are on their way again, and whether others are left."""

    replayed: int
    more: bool


async def create_subscription(vault: Vault, call: Call[CreateSubscription]) -> Answer:
    """Subscribe to events; the answer alone shows the signing secret."""
    issued = await vault.subscriptions.create(call.caller, call.body, once(call, "create subscription"), call.now)
    location = {"Location": f"/api/v1/subscriptions/{issued.subscription.id}"}
    return Answer(201, _issued(issued), location, issued.subscription.tag)


async def list_subscriptions(vault: Vault, call: Call) -> Answer:
    """List the tenant's subscriptions."""
    found = await vault.subscriptions.all(call.caller.tenant)
    return Answer(200, SubscriptionItems(items=tuple(map(_view, found))))


async def read_subscription(vault: Vault, call: Call) -> Answer:
    """Read a subscription."""
    return _shown(await vault.subscriptions.read(call.caller.tenant, call.path["subscription"]))


async def update_subscription(vault: Vault, call: Call[UpdateSubscription]) -> Answer:
    """Change where a subscription leads, which events it covers, its description, or whether it is enabled."""
    subscription_id = call.path["subscription"]
    return _shown(await vault.subscriptions.update(call.caller, subscription_id, call.body, call.if_match, call.now))


async def delete_subscription(vault: Vault, call: Call) -> Answer:
    """End a subscription; what waits for it is dropped."""
    await vault.subscriptions.delete(call.caller, call.path["subscription"], call.if_match, call.now)
    return Answer(204)


async def try_subscription(vault: Vault, call: Call) -> Answer:
    """Send a test event at once; tell whether it was taken."""
    delivered = await vault.subscriptions.test(call.caller, call.path["subscription"], call.now)
    return Answer(200, TrialResult(delivered=delivered))


async def rotate_subscription_secret(vault: Vault, call: Call) -> Answer:
    """Make a new signing secret; the one before it signs beside it for 24 hours."""
    subscription_id, repeat = call.path["subscription"], once(call, "rotate secret")
    issued = await vault.subscriptions.rotate_secret(call.caller, subscription_id, repeat, call.now)
    return Answer(200, _issued(issued), etag=issued.subscription.tag)


async def list_deliveries(vault: Vault, call: Call[None, DeliveryQuery]) -> Answer:
    """List the events that wait for the subscriber, or were given up."""
    wanted, position = call.query, decoded(call.query.cursor)
    page = await vault.subscriptions.deliveries(
        call.caller.tenant, call.path["subscription"], wanted.state, position[1] if position else "", wanted.limit
    )
    items = tuple(_delivery(one, wanted.state) for one in page.deliveries)
    return Answer(200, DeliveryList(items=items, next=encoded(("", page.after)) if page.after else None))


async def replay_deliveries(vault: Vault, call: Call[ReplayDeliveries]) -> Answer:
    """Put events that were given up on their way again."""
    replayed, more = await vault.subscriptions.replay(
        call.caller.tenant, call.path["subscription"], call.body.delivery, call.now
    )
    return Answer(200, ReplayResult(replayed=replayed, more=more))


def _view(subscription: Subscription) -> SubscriptionView:
    return SubscriptionView(**{name: getattr(subscription, name) for name in SubscriptionView.model_fields})


def _issued(issued: Issued) -> IssuedSubscription:
    return IssuedSubscription(**dict(_view(issued.subscription)), signing_secret=issued.secret)


def _shown(subscription: Subscription) -> Answer:
    return Answer(200, _view(subscription), etag=subscription.tag)


def _delivery(delivery: Delivery, state: DeliveryState) -> DeliveryView:
    pending = state is DeliveryState.PENDING
    return DeliveryView(
        id=delivery.id,
        event=delivery.event,
        state=state,
        at=delivery.happened_at,
        attempts=delivery.attempts,
        next_attempt_at=delivery.at if pending else None,
        given_up_at=None if pending else delivery.at,
    )

"""Subscribers to events: how they answer, what they got, and what waits for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from standardwebhooks import Webhook

from tests.outbound import Answer, Received
from tests.vaults import ADA, World
from vault_core.deliveries import Delivery, DeliveryState
from vault_core.identities import Caller
from vault_core.outbound import Reply
from vault_core.subscription import CreateSubscription, Subscription, UpdateSubscription
from vault_core.subscriptions import Issued

URL = "https://hooks.contoso.example/vault"
OTHER_URL = "https://other.contoso.example/vault"
HELD_FOR = timedelta(seconds=11)  # longer than a tenant's subscriptions are remembered


def answers(status: int) -> Answer:
    """Answer everything with this status."""
    return lambda _: Reply(status, b"")


async def subscribe(
    world: World, url: str = URL, *events: str, caller: Caller = ADA, answer: int | None = 204, **wanted: Any
) -> Issued:
    """Subscribe, to everything about credentials unless told otherwise, and have the subscriber answer so."""
    if answer is not None:
        world.outbound.answers[url] = answers(answer)
    body = CreateSubscription(url=url, events=events or ("credential.*",), **wanted)
    return await world.vault.subscriptions.create(caller, body, None, world.clock())


async def update(world: World, subscription: Subscription, **patch: Any) -> Subscription:
    """Change the subscription with a merge patch."""
    body = UpdateSubscription.model_validate(patch)
    return await world.vault.subscriptions.update(ADA, subscription.id, body, None, world.clock())


async def pending(world: World, subscription: Subscription, tenant: str = "contoso") -> list[Delivery]:
    """What waits for the subscriber, what is tried first before the rest."""
    return await _found(world, subscription, tenant, DeliveryState.PENDING)


async def dead(world: World, subscription: Subscription, tenant: str = "contoso") -> list[Delivery]:
    """What was given up."""
    return await _found(world, subscription, tenant, DeliveryState.DEAD)


async def _found(world: World, subscription: Subscription, tenant: str, state: DeliveryState) -> list[Delivery]:
    page = await world.vault.subscriptions.deliveries(tenant, subscription.id, state, "", 1000)
    return list(page.deliveries)


def told(world: World, url: str = URL) -> list[str]:
    """The types of the messages that arrived, in order."""
    return [call.json["type"] for call in world.outbound.calls_to(url)]


def signed_by(call: Received, secret: SecretStr) -> bool:
    """Return whether one of the call's signatures is of this secret, by the word of the library of receivers."""
    at = datetime.fromtimestamp(int(call.headers["webhook-timestamp"]), UTC)
    signature = Webhook(secret.get_secret_value()).sign(call.headers["webhook-id"], at, call.body.decode())
    return signature in call.headers["webhook-signature"].split(" ")

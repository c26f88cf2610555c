"""Events are brought to those who subscribed to them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from vault_core.courier import Courier
from vault_core.deliveries import GIVE_UP_AFTER, Deliveries, FoundDelivery
from vault_core.errors import RowChanged
from vault_core.subscription import Subscription
from vault_core.tenants import TenantRows
from vault_core.upkeep.lanes import Lane, Limits, in_lanes
from vault_core.upkeep.runs import Report, Run

LIMITS = Limits(at_once_in_lane=2, at_once_of_party=8, at_once=100, of_lane=1000, in_vain=3)


class EventDelivery:
    """Delivers what is due, of all tenants together.

    Each subscription is a lane of its own; those of a tenant share its places, so slow ones delay no other tenant's.
    """

    def __init__(self, tenant_names: Iterable[str], rows: TenantRows, deliveries: Deliveries, courier: Courier) -> None:
        self._tenant_names = sorted(tenant_names)
        self._rows = rows
        self._deliveries = deliveries
        self._courier = courier

    async def deliver_events(self, run: Run) -> Report:
        """Try every event that is due once. What is not taken is tried again later, and given up in the end."""
        lanes: list[Lane[FoundDelivery]] = []

        async def open_lanes(tenant: str) -> int:
            for one in (await self._rows.current(tenant)).subscriptions.subscriptions:
                lanes.append(Lane(tenant, self._deliveries.due(tenant, one.id, run.now)))
            return 0

        report = await run.each(self._tenant_names, open_lanes, self._leave)
        return report + await in_lanes(run, lanes, lambda found: self._deliver(run, found), LIMITS)

    async def _deliver(self, run: Run, found: FoundDelivery) -> bool | None:
        """Try once; return whether it was taken, None when it was not tried."""
        known = await self._rows.known(found.row.partition)  # a subscription may change while the run lasts
        subscription = known.subscriptions.find(found.delivery.subscription_id)
        if subscription is None or not subscription.enabled:
            await self._deliveries.drop(found)
            return None
        with suppress(RowChanged):  # then a twin of this timer has it
            return await self._deliver_to(subscription, found, run.clock())
        return None

    async def _deliver_to(self, subscription: Subscription, found: FoundDelivery, now: datetime) -> bool | None:
        if now - found.delivery.put_at > GIVE_UP_AFTER:
            await self._deliveries.give_up(found, now)
            return None
        claimed = await self._deliveries.claim(found, now)
        delivery = claimed.delivery
        taken = await self._courier.bring(found.row.partition, subscription, delivery.id, delivery.body)
        if taken:
            await self._deliveries.delivered(claimed)
        return taken

    async def _leave(self, tenant: str) -> None:
        """Nothing to do: what is due of the tenant stays due, and the next run finds it."""

"""What is recorded when a caller has none of the roles that a route needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from vault_core.api.routing import Route
from vault_core.audit import AuditLog, Event, Outcome
from vault_core.identities import Caller


def audit_denials(audit: AuditLog) -> Callable[[Caller, Route, datetime], Awaitable[None]]:
    """Return the function that writes such a refusal to the audit."""

    async def record(caller: Caller, route: Route, now: datetime) -> None:
        about = {"operation": route.name, "needs": list(route.roles)}
        await audit.write(Event.ACCESS_DENIED.by(caller, now, outcome=Outcome.DENIED, details=about))

    return record

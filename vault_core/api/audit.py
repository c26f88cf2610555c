"""Handlers of the audit."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, StringConstraints

from vault_core.api.routing import Answer, Call
from vault_core.audit import AuditEventView, AuditQuery, Event, Outcome
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.errors import FieldError, InvalidInput
from vault_core.names import as_id
from vault_core.vault import Vault
from vault_core.wire import Instant, WireModel

_LOOKED_BACK = timedelta(days=30)
_Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class AuditEventList(WireModel):
    """A page of events, newest first; `next` is the cursor of the next page, absent at the end."""

    items: tuple[AuditEventView, ...]
    next: str | None = None


class AuditFilter(WireModel):
    """Which events. Every filter that is given must match; without `since`, the last 30 days."""

    event: Event | None = None
    credential: Annotated[_Text | None, Field(description="Name or id; of a deleted credential, the id")] = None
    identity: Annotated[_Text | None, Field(description="Id, email address or agent name")] = None
    lease: _Text | None = None
    outcome: Outcome | None = None
    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


async def list_audit_events(vault: Vault, call: Call[None, AuditFilter]) -> Answer:
    """List what was done and refused, newest first."""
    wanted = call.query
    until = wanted.until or call.now + timedelta(minutes=1)
    query = AuditQuery(
        since=wanted.since or until - _LOOKED_BACK,
        until=until,
        event=wanted.event.value if wanted.event else None,
        credential_id=await _credential_id(vault, call),
        identity=wanted.identity,
        lease_id=wanted.lease,
        outcome=wanted.outcome,
    )
    if query.since >= query.until:
        fault = FieldError("since", "must be before until")
        raise InvalidInput("The time range is empty; give an earlier since.", (fault,))
    page = await vault.audit.query(call.caller.tenant, query, limit=wanted.limit, after=decoded(wanted.cursor))
    return Answer(200, AuditEventList(items=tuple(map(AuditEventView.of, page.events)), next=encoded(page.after)))


async def _credential_id(vault: Vault, call: Call[None, AuditFilter]) -> str | None:
    reference = call.query.credential
    if reference is None:
        return None
    # A name stands for the credential that has it now: what had it before is found by its id.
    return as_id(reference) or await vault.credentials.id_of(call.caller.tenant, reference)

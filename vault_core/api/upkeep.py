"""Handler of what the timers have to do in a tenant."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vault_core.api.routing import Answer, Call
from vault_core.vault import Vault
from vault_core.wire import Instant, WireModel


class WaitingView(WireModel):
    """Things of one kind that are due."""

    timer: Annotated[str, Field(description="Which timer looks after them")]
    task: Annotated[str, Field(description="What is to be done")]
    due: Annotated[int, Field(description="How many; counted up to 1,000")]
    oldest_at: Annotated[Instant, Field(description="Since when the oldest is due")]
    subjects: Annotated[tuple[str, ...], Field(description="What up to twenty of them are about; never a value's name")]


class UpkeepView(WireModel):
    """What the timers have to do now; in recovery mode they leave it."""

    recovery_mode: bool
    items: tuple[WaitingView, ...]


async def read_upkeep(vault: Vault, call: Call) -> Answer:
    """Tell what the timers have to do in the tenant, and in recovery mode would do."""
    waiting = await vault.outlook.of_tenant(call.caller.tenant, call.now)
    items = tuple(WaitingView(**{name: getattr(one, name) for name in WaitingView.model_fields}) for one in waiting)
    return Answer(200, UpkeepView(recovery_mode=vault.recovering, items=items))

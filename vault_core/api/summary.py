"""Handler of the summary."""

from __future__ import annotations

from vault_core.api.routing import Answer, Call
from vault_core.credential import Status
from vault_core.vault import Vault
from vault_core.vendor_answers import Verdict
from vault_core.wire import WireModel


class SummaryView(WireModel):
    """How many credentials the caller may see, and how they stand. What is not named is none."""

    total: int
    status: dict[Status, int]
    validation: dict[Verdict, int]
    type: dict[str, int]
    rotation_due: int


async def read_summary(vault: Vault, call: Call) -> Answer:
    """Count the credentials that the caller may see by status, verdict and type."""
    counted = await vault.summaries.of(call.caller, call.now)
    return Answer(
        200,
        SummaryView(
            total=counted.total,
            status=dict(counted.status),
            validation=dict(counted.validation),
            type=dict(counted.type),
            rotation_due=counted.rotation_due,
        ),
    )

"""Handler of the health check."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vault_core.api.routing import AnonymousCall, Answer
from vault_core.vault import Vault
from vault_core.wire import Instant, WireModel


class TimerView(WireModel):
    """The last run of a timer."""

    name: str
    ran_at: Instant
    lag_seconds: Annotated[int, Field(description="How long ago that was")]
    done: int
    failed: int
    failing_runs: Annotated[int, Field(description="How many runs in a row had failures")]
    paused_with: Annotated[int | None, Field(description="In recovery mode: how many things it would have to do")] = (
        None
    )


class HealthView(WireModel):
    """What answers, and how far behind the timers are."""

    status: Literal["ok", "unavailable"]
    tables: Literal["ok", "unavailable"]
    key_vault: Literal["ok", "unavailable"]
    recovery_mode: Annotated[bool, Field(description="Timers are paused, and tell only what they would do")]
    timers: tuple[TimerView, ...]


async def read_health(vault: Vault, call: AnonymousCall) -> Answer:
    """Tell whether the stores answer and the timers run."""
    health = await vault.health.read()
    timers = tuple(
        TimerView(
            name=beat.timer,
            ran_at=beat.ran_at,
            lag_seconds=max(0, int((call.now - beat.ran_at).total_seconds())),
            done=beat.report.done,
            failed=beat.report.failed,
            failing_runs=beat.failing_runs,
            paused_with=beat.paused_with,
        )
        for beat in health.beats
    )
    view = HealthView(
        status="ok" if health.well else "unavailable",
        tables="ok" if health.tables else "unavailable",
        key_vault="ok" if health.key_vault else "unavailable",
        recovery_mode=vault.recovering,
        timers=timers,
    )
    return Answer(200 if health.well else 503, view)

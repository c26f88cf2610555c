"""The timer-triggered functions. Their schedules are app settings."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import azure.functions as func

from vault_core.upkeep.outlook import TIMERS
from vault_core.upkeep.runs import Report
from vault_core.vault import Vault

_log = logging.getLogger(__name__)


def register(app: func.FunctionApp, vault: Vault) -> None:
    """Add one timer-triggered function to the app for each of the vault's timers."""
    for name in TIMERS:
        work: Callable[[], Awaitable[Report]] = getattr(vault, name)
        trigger = app.timer_trigger(arg_name="timer", schedule=f"%VAULT_SCHEDULE_{name.upper()}%", use_monitor=True)
        app.function_name(name)(trigger(_function(name, work)))


def _function(
    name: str, work: Callable[[], Awaitable[Report]]
) -> Callable[[func.TimerRequest], Coroutine[Any, Any, None]]:
    async def run(timer: func.TimerRequest) -> None:
        report = await work()
        _log.info("timer=%s done=%d failed=%d left_some=%s", name, report.done, report.failed, report.left_some)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = work.__doc__
    return run

"""Calls a registered function as the worker does."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from local.functions_host.registration import Function


async def invoke(function: Function, request: object) -> Any:
    """Call the function with the trigger's request: on the loop when it is async, else in a thread."""
    arguments = {function.argument: request}
    if inspect.iscoroutinefunction(function.call):
        return await function.call(**arguments)
    return await asyncio.to_thread(function.call, **arguments)

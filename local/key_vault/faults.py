"""Throttling, outages and lost answers on demand."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Fault(BaseModel):
    """What happens to the next `times` calls of a method, or of any when none is named.

    With `status` the call is answered so and not applied. `reset` cuts the connection before the call is
    applied, `lost` after it. aiohttp's client by itself repeats an idempotent call once when a connection that
    it kept is cut: for a cut that the caller is to see, let it happen twice.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    kind: Literal["status", "reset", "lost"] = "status"
    status: int = Field(default=503, ge=400, le=599)
    retry_after: int | None = Field(default=None, ge=0, description="Seconds, for the header Retry-After")
    times: int = Field(default=1, ge=1)
    method: str | None = None

    def concerns(self, method: str) -> bool:
        return self.method is None or self.method.upper() == method


class Faults:
    """The faults that wait for a call, first come first served, and how often each method was called."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._waiting: list[Fault] = []

    @property
    def waiting(self) -> tuple[Fault, ...]:
        return tuple(self._waiting)

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        """Forget the faults that wait, and count calls from zero."""
        self._waiting.clear()
        self.calls.clear()

    def called(self, method: str) -> Fault | None:
        """Count the call and return the fault that strikes it, if any."""
        self.calls[method] += 1
        for place, fault in enumerate(self._waiting):
            if fault.concerns(method):
                self._waiting[place : place + 1] = (
                    [fault.model_copy(update={"times": fault.times - 1})] if fault.times > 1 else []
                )
                return fault
        return None

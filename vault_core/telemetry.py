"""What the vault tells of itself while it works: the port through which it measures and traces.

Every metric and every span is named here once, with all that may be told of it. Until `use` has been called nothing
is recorded, and a call costs less than a microsecond. A value is an id or a name of a safe form; what is not is told
as `?`, so that no input, and nothing that the vault keeps, can be among it.
"""

from __future__ import annotations

import re
from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, Protocol

from vault_core.errors import StoreConflict, VaultError

_SAFE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

FAULTS = frozenset({"internal-error", "unavailable", "failed", "failures", "crashed", "unreachable"})
"""The outcomes that are no ordinary answer: spans with one of them count as failed."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure, in its unit, and the dimensions that all of its measurements have."""

    name: str
    unit: str
    description: str
    dimensions: tuple[str, ...] = ()

    def _measure(self, value: float, by: Mapping[str, str | int]) -> None:
        if by.keys() != set(self.dimensions):
            raise TypeError(f"{self.name} is measured by {self.dimensions}")
        if _recorder is not None:
            _recorder.measure(self, value, _safe(by))


class Counter(Metric):
    """Counts what happens."""

    __slots__ = ()

    def add(self, number: int = 1, **by: str | int) -> None:
        """Count so many more, of this kind."""
        self._measure(number, by)


class Histogram(Metric):
    """Measures how much there is of something each time, such as how long it lasts."""

    __slots__ = ()

    def record(self, value: float, **by: str | int) -> None:
        """Keep one measurement, of this kind."""
        self._measure(value, by)


class Gauge(Metric):
    """Measures how things stand."""

    __slots__ = ()

    def set(self, value: float, **by: str | int) -> None:
        """Tell how things stand now, of this kind."""
        self._measure(value, by)


REQUESTS = Histogram("vault.requests", "s", "How long requests took", ("operation", "status", "outcome"))
LEASES_GRANTED = Counter("vault.leases.granted", "{lease}", "Leases that were granted", ("tenant", "type"))
LEASES_REFUSED = Counter("vault.leases.refused", "{lease}", "Leases that were refused", ("tenant", "reason"))
LEASES_ACTIVE = Gauge("vault.leases.active", "{lease}", "Leases that are neither ended nor returned")
STORE_CALLS = Histogram("vault.store.calls", "s", "How long stores took", ("store", "operation", "outcome"))
STORE_RETRIES = Counter("vault.store.retries", "{request}", "Requests to a store that were sent again", ("service",))
STORE_THROTTLES = Counter("vault.store.throttles", "{answer}", "Answers 429 and 503 of a store", ("service",))
TIMER_RUNS = Histogram("vault.timer.runs", "s", "How long runs of timers took", ("timer", "outcome"))
TIMER_ITEMS = Counter("vault.timer.items", "{item}", "What timers worked on", ("timer", "outcome"))
TIMER_LAG = Gauge("vault.timer.lag", "s", "How long the oldest thing has been due as a run begins", ("timer",))
TIMER_BACKLOG = Gauge("vault.timer.backlog", "{item}", "How many things are due as a run begins", ("timer",))
VALIDATIONS = Counter(
    "vault.validations", "{check}", "Checks of values, by vendors or their type", ("verdict", "trigger")
)
CALLS_OUT = Histogram("vault.calls_out", "s", "How long vendors and subscribers took", ("outcome",))

METRICS: tuple[Counter | Histogram | Gauge, ...] = (
    REQUESTS,
    LEASES_GRANTED,
    LEASES_REFUSED,
    LEASES_ACTIVE,
    STORE_CALLS,
    STORE_RETRIES,
    STORE_THROTTLES,
    TIMER_RUNS,
    TIMER_ITEMS,
    TIMER_LAG,
    TIMER_BACKLOG,
    VALIDATIONS,
    CALLS_OUT,
)


@dataclass(frozen=True, slots=True)
class Work:
    """Work that has a span: how the span is called, which part of a trace it is, and what it is measured by.

    What may be told of it are the dimensions of its metric, the details named here, and the kind of an error.
    """

    title: str
    part: Literal["server", "client", "internal"]
    metric: Histogram
    details: tuple[str, ...] = ()

    @property
    def attributes(self) -> frozenset[str]:
        """Return the names of all that may be told of such work."""
        return frozenset({*self.metric.dimensions, *self.details, "error"})


REQUEST = Work("http {operation}", "server", REQUESTS, ("tenant", "request"))
STORE_CALL = Work("store.{operation}", "client", STORE_CALLS)
TIMER_RUN = Work("timer {timer}", "internal", TIMER_RUNS)
CALL_OUT = Work("call-out", "client", CALLS_OUT)

WORKS = (REQUEST, STORE_CALL, TIMER_RUN, CALL_OUT)


@dataclass(frozen=True, slots=True)
class Origin:
    """The span of a caller that a trace goes on from: 32 and 16 hexadecimal digits, and whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool


class Span(Protocol):
    """Work under way. `trace_id` is 32 hexadecimal digits, empty when nothing is recorded."""

    @property
    def trace_id(self) -> str: ...

    def note(self, **attributes: str | int) -> None:
        """Tell more of the work; what is told last of an attribute holds."""
        ...


class Trace(Protocol):
    """A span as a recorder keeps it."""

    @property
    def trace_id(self) -> str: ...

    def end(self, attributes: Mapping[str, str], *, failed: bool) -> None:
        """Keep what is known of the work, now that it is over."""
        ...


class Recorder(Protocol):
    """Where measurements and spans go."""

    def measure(self, metric: Metric, value: float, by: Mapping[str, str]) -> None:
        """Keep a measurement."""
        ...

    def trace(self, work: Work, title: str, origin: Origin | None) -> AbstractContextManager[Trace]:
        """Open a span inside the one that is open, or one that goes on from `origin`."""
        ...


_recorder: Recorder | None = None


def use(recorder: Recorder | None) -> None:
    """Record with this from now on, in the whole process; with None, nothing."""
    global _recorder
    _recorder = recorder


def is_on() -> bool:
    """Return whether anything is recorded: what is measured only for that can be left out otherwise."""
    return _recorder is not None


def span(work: Work, origin: Origin | None = None, /, **attributes: str | int) -> AbstractContextManager[Span]:
    """Open a span and measure how long it lasts; `attributes` hold what its title names.

    Unless another `outcome` is noted, it is `ok`, or what `outcome_of` makes of the exception that ends the work. Of
    an exception nothing is kept but its kind.
    """
    return _SILENT if _recorder is None else _recorded(_recorder, work, origin, attributes)


@contextmanager
def _recorded(
    recorder: Recorder, work: Work, origin: Origin | None, attributes: Mapping[str, str | int]
) -> Iterator[Span]:
    began = perf_counter()
    with recorder.trace(work, work.title.format_map(_safe(attributes)), origin) as trace:
        opened = _OpenSpan(work, trace.trace_id)
        opened.note(**attributes)
        try:
            yield opened
        except BaseException as failure:
            opened.note(error=type(failure).__qualname__)
            opened.known.setdefault("outcome", outcome_of(failure))
            raise
        finally:
            known = {"outcome": "ok", **opened.known}
            trace.end(known, failed=known["outcome"] in FAULTS)
            by = {name: known.get(name, "?") for name in work.metric.dimensions}
            recorder.measure(work.metric, perf_counter() - began, by)


class _OpenSpan:
    def __init__(self, work: Work, trace_id: str) -> None:
        self.trace_id = trace_id
        self.known: dict[str, str] = {}
        self._allowed = work.attributes

    def note(self, **attributes: str | int) -> None:
        if not attributes.keys() <= self._allowed:
            raise TypeError(f"of this only {sorted(self._allowed)} are told")
        self.known |= _safe(attributes)


class _NoSpan:
    trace_id = ""

    def note(self, **attributes: str | int) -> None:
        """Do nothing: nobody records."""


_SILENT = nullcontext[Span](_NoSpan())


def outcome_of(failure: BaseException) -> str:
    """Return what an exception is called among outcomes: a code or a conflict's name, and else `failed`."""
    if isinstance(failure, VaultError):
        return failure.code
    if isinstance(failure, StoreConflict):
        return _WORDS.sub("-", type(failure).__name__).lower()
    return "cancelled" if isinstance(failure, CancelledError) else "failed"


def _safe(values: Mapping[str, str | int]) -> dict[str, str]:
    return {name: text if _SAFE.fullmatch(text := str(value)) else "?" for name, value in values.items()}

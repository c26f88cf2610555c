"""Measurements and spans in OpenTelemetry's terms. Where they go, its providers decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    format_trace_id,
    set_span_in_context,
)

from vault_core.telemetry import METRICS, Counter, Gauge, Histogram, Metric, Origin, Work

_PARTS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}

Measure = Callable[[float, Mapping[str, str]], None]


class OpenTelemetry:
    """A `Recorder` over a tracer and a meter. It keeps no event, no exception and no baggage."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._measures = {metric.name: _measure(metric, meter) for metric in METRICS}

    def measure(self, metric: Metric, value: float, by: Mapping[str, str]) -> None:
        self._measures[metric.name](value, by)

    @contextmanager
    def trace(self, work: Work, title: str, origin: Origin | None) -> Iterator[OpenedSpan]:
        with self._tracer.start_as_current_span(
            title,
            context=_going_on_from(origin) if origin else None,
            kind=_PARTS[work.part],
            record_exception=False,  # its text may quote anything
            set_status_on_exception=False,
        ) as span:
            yield OpenedSpan(span)


class OpenedSpan:
    """A `Trace` of OpenTelemetry."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace_id = format_trace_id(span.get_span_context().trace_id)

    def end(self, attributes: Mapping[str, str], *, failed: bool) -> None:
        self._span.set_attributes(dict(attributes))
        if failed:
            self._span.set_status(StatusCode.ERROR)


def _going_on_from(origin: Origin) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if origin.sampled else TraceFlags.DEFAULT)
    caller = SpanContext(int(origin.trace_id, 16), int(origin.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(caller), Context())


def _measure(metric: Counter | Histogram | Gauge, meter: Meter) -> Measure:
    described: dict[str, Any] = {"unit": metric.unit, "description": metric.description}
    if isinstance(metric, Counter):
        return meter.create_counter(metric.name, **described).add
    if isinstance(metric, Histogram):
        return meter.create_histogram(metric.name, **described).record
    return meter.create_gauge(metric.name, **described).set

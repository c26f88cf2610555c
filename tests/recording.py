"""What the vault tells of itself, kept in memory by OpenTelemetry's own SDK behind the real adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from vault_core import telemetry
from vault_core.open_telemetry import OpenTelemetry


class Recording:
    """The spans that ended and the measurements that were made."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers, self._meters = TracerProvider(), MeterProvider([self._reader])
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.recorder = OpenTelemetry(tracers.get_tracer("test"), self._meters.get_meter("test"))

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans, in the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of the name."""
        [found] = [one for one in self.spans if one.name == name]
        return found

    def measured(self, metric: telemetry.Metric) -> dict[tuple[str, ...], float]:
        """Return what the metric holds by its dimensions; of a histogram, how many measurements were made."""
        return {
            tuple(str((point.attributes or {})[name]) for name in metric.dimensions): _held(point)
            for kept in self.metrics()
            if kept.name == metric.name
            for point in kept.data.data_points
        }

    def metrics(self) -> list[Metric]:
        """Return everything that was measured."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return [metric for scope in scopes for metric in scope.metrics]

    def everything(self) -> str:
        """Return all that was recorded, as text."""
        return "\n".join([*(span.to_json() for span in self.spans), *(metric.to_json() for metric in self.metrics())])


def _held(point: Any) -> float:
    return point.count if isinstance(point, HistogramDataPoint) else point.value


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


@contextmanager
def recording() -> Iterator[Recording]:
    """Record what happens inside."""
    kept = Recording()
    telemetry.use(kept.recorder)
    try:
        yield kept
    finally:
        telemetry.use(None)

"""The runtimes, and what was reported, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adapters.otel import Telemetry
from tests.adapters.runtimes import Runtime, make_runtime


@pytest.fixture(params=["asyncio", "uvloop", "trio", "threading", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


class Reports:
    """A telemetry, and what it has reported.

    Attributes:
        telemetry: reports to here.
        tracer: makes spans of an application.
        client, server: options of ``connect`` and ``serve``.
    """

    def __init__(self, adapter: Any) -> None:
        self._exporter = InMemorySpanExporter()
        traces = TracerProvider()
        traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.telemetry = Telemetry(traces, MeterProvider([self._reader]))
        self.tracer = traces.get_tracer("application")
        self.client = {"create_protocol": self.telemetry.instrument(adapter.ClientConnection)}
        self.server = {"create_protocol": self.telemetry.instrument(adapter.ServerConnection)}

    def spans(self, kind: str) -> list[ReadableSpan]:
        """The spans of a kind that have ended: CLIENT, SERVER or INTERNAL."""
        return [span for span in self._exporter.get_finished_spans() if span.kind.name == kind]

    def points(self, name: str) -> list[tuple[Mapping[str, Any], Any]]:
        """Collect a metric: attributes, and the value or, of a histogram, the number of values."""
        data = self._reader.get_metrics_data()
        return [
            (dict(point.attributes or {}), getattr(point, "count", getattr(point, "value", None)))
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def value(self, name: str, **attributes: Any) -> Any:
        """The sum of a metric over the points with these attributes; a dot in a name is written ``__``."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return sum(value for found, value in self.points(name) if wanted.items() <= found.items())


@pytest.fixture
def reports(runtime: Runtime) -> Reports:
    return Reports(runtime.adapter)

"""An echo server with OpenTelemetry: metrics for Prometheus, and spans on standard output."""

import asyncio

from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from prometheus_client import start_http_server

from adapters.asyncio import ServerConnection, serve
from adapters.otel import Telemetry


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def main(port: int = 8765, metrics_port: int = 9464) -> None:
    traces = TracerProvider()
    traces.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    start_http_server(metrics_port, "localhost")

    instrumented = Telemetry().instrument(ServerConnection)
    async with serve(echo, "localhost", port, create_protocol=instrumented) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

"""Connection classes that report to OpenTelemetry.

A connection class of any adapter becomes one that reports by a class in front of it, which extends a few
methods that all adapters share: the beginning, the handler, a pong, the end. No method that handles messages
is among them, so that the fast paths stay as they are.
"""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from opentelemetry import context, propagate
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

from wsproto_core import __version__
from wsproto_core.events import Event, Pong, Request
from wsproto_core.http import Headers
from wsproto_core.http.uri import WebSocketURI, parse_uri
from wsproto_core.types import CloseCode

from ..shared.client import BaseClientConnection
from ..shared.connection import BaseConnection
from ..shared.server import BaseServerConnection
from ..shared.tls import TLSInfo
from .metrics import Labels, Metrics
from .spans import close_of, describe_client, describe_end, describe_server, describe_stream, fail

__all__ = ["Telemetry", "span_of"]

ConnectionT = TypeVar("ConnectionT", bound=BaseConnection)

NAME = "adapters.otel"
"""The instrumentation scope, of spans and of metrics."""


class Telemetry:
    """Reports connections as spans and metrics: make one, for the whole process.

    ::

        telemetry = Telemetry()
        serve(handler, "localhost", 8765, create_protocol=telemetry.instrument(ServerConnection))
        connect(uri, create_protocol=telemetry.instrument(ClientConnection))
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        """
        Args:
            tracer_provider: where spans go; by default, or with ``None``, to the global provider.
            meter_provider: where metrics go; by default, or with ``None``, to the global provider.
        """
        self._tracer = get_tracer(NAME, __version__, tracer_provider)
        self._metrics = Metrics(get_meter(NAME, __version__, meter_provider))

    def instrument(self, connection_class: type[ConnectionT]) -> type[ConnectionT]:
        """Return a subclass of a connection class that reports, for the option ``create_protocol``.

        Args:
            connection_class: ``ServerConnection`` or ``ClientConnection`` of an adapter, or a subclass.

        Raises:
            TypeError: it is another class, or no class.
        """
        front = _front_of(connection_class)
        if front is None:
            raise TypeError(
                "instrument() takes the class ServerConnection or ClientConnection of an adapter, or a "
                f"subclass that is not instrumented yet, not {connection_class!r}"
            )
        names = {
            "__doc__": connection_class.__doc__,
            "__module__": connection_class.__module__,
            "_telemetry": self,
        }
        instrumented: type[ConnectionT] = type(connection_class.__name__, (front, connection_class), names)
        return instrumented


def span_of(connection: BaseConnection) -> Span:
    """Return the span of a connection, for attributes and events of the application.

    Args:
        connection: a connection; if it does not report, or has no request yet, the span records nothing.
    """
    return connection._span if isinstance(connection, _Reporting) else INVALID_SPAN


class _Reporting(BaseConnection):
    """What client and server have in common."""

    _telemetry: Telemetry
    _span: Span = INVALID_SPAN
    _labels: Labels = ()
    _opened_at: float | None = None  # the time, while the connection is open

    def _begin(
        self, attributes: dict[str, Any], kind: SpanKind, parent: Context | None, *links: Link
    ) -> None:
        """Start the span.

        Args:
            attributes: its first attributes.
            kind: client or server.
            parent: the context that it continues; ``None`` for the current one.
            links: spans that it is linked to.
        """
        # Backends group spans by their name, so no path is in it.
        self._span = self._telemetry._tracer.start_span(
            "websocket", parent, kind, attributes=attributes, links=links
        )
        side = "server" if kind is SpanKind.SERVER else "client"
        self._labels = (("websocket.side", side), ("url.scheme", attributes["url.scheme"]))

    def _finish(self) -> None:
        """End the span and the measurements; do nothing if they have ended."""
        span = self._span
        if not span.is_recording() and self._opened_at is None:
            return
        opened_at, self._opened_at = self._opened_at, None
        describe_end(span, self, opened=opened_at is not None)
        span.end()
        if opened_at is not None:
            clock, _ = self._clocks()
            protocol = self.protocol
            end = None if protocol.receiving else protocol.close_exception()
            seconds = clock() - opened_at
            self._telemetry._metrics.closed(self, self._labels, seconds, *close_of(end, protocol.side))

    def _log_open(self) -> None:
        super()._log_open()
        clock, _ = self._clocks()
        self._opened_at = clock()
        self._telemetry._metrics.opened(self, self._labels)

    def _handle_event(self, event: Event) -> None:
        super()._handle_event(event)
        if isinstance(event, Pong):
            for _, latency in event.answered:
                self._telemetry._metrics.answered(self._labels, latency)


class _ReportingServer(_Reporting, BaseServerConnection):
    """A server's connection."""

    tls: TLSInfo | None  # as every adapter has it

    async def _serve(self, request: Request) -> None:
        # Without a traceparent, this is an empty context, and not that of the program around the server.
        parent = propagate.extract(request.headers.by_name())
        remote = get_current_span(parent).get_span_context()
        attributes = describe_server(request, "ws" if self.tls is None else "wss") | describe_stream(self)
        # Backends that drop the parent of a span that ends hours later keep its link.
        links = [Link(remote)] if remote.is_valid else []
        self._begin(attributes, SpanKind.SERVER, parent, *links)
        token = context.attach(set_span_in_context(self._span, parent))
        try:
            await super()._serve(request)
        finally:
            self._finish()
            context.detach(token)

    def _log_open(self) -> None:
        if self.route is not None:
            self._span.set_attribute("http.route", self.route.rule)
            self._labels = (*self._labels, ("http.route", self.route.rule))
        super()._log_open()

    def _judge(self, error: Exception) -> CloseCode:
        if not self._tells_of_end(error):
            fail(self._span, error)
        return super()._judge(error)


class _ReportingClient(_Reporting, BaseClientConnection):
    """A client's connection."""

    def __init__(self, uri: str | WebSocketURI, **options: Any) -> None:
        uri = uri if isinstance(uri, WebSocketURI) else parse_uri(uri)
        self._begin(describe_client(uri), SpanKind.CLIENT, None)
        carrier: dict[str, str] = {}
        propagate.inject(carrier, set_span_in_context(self._span))
        headers = Headers(options.pop("extra_headers", None) or ())
        for name, value in carrier.items():
            headers.pop(name, None)
            headers[name] = value
        super().__init__(uri, extra_headers=headers, **options)

    def _log_open(self) -> None:
        self._span.set_attributes(describe_stream(self))
        super()._log_open()

    def _log_closed(self) -> None:
        super()._log_closed()
        self._finish()

    def _abandon(self) -> None:
        super()._abandon()  # type: ignore[misc]  # every adapter has it
        if self._opened_at is None:
            # There may be no stream, whose end would be the end of the span.
            error = sys.exception()
            if self.protocol.handshake_error is None and isinstance(error, Exception):
                fail(self._span, error)
            self._finish()


def _front_of(connection_class: object) -> type[_Reporting] | None:
    """Return the class that makes a connection class report; ``None`` if there is none for it."""
    if not isinstance(connection_class, type) or issubclass(connection_class, _Reporting):
        return None
    if issubclass(connection_class, BaseServerConnection):
        return _ReportingServer
    return _ReportingClient if issubclass(connection_class, BaseClientConnection) else None

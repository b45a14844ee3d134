"""The attributes and the status of a connection's span, by OpenTelemetry's semantic conventions."""

from __future__ import annotations

import dataclasses
from typing import Any

from opentelemetry.trace import Span, Status, StatusCode

from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedError
from wsproto_core.http import Request
from wsproto_core.http.uri import WebSocketURI
from wsproto_core.types import CloseCode, Side

from ..shared.connection import BaseConnection

__all__ = ["close_of", "describe_client", "describe_end", "describe_server", "describe_stream", "fail"]

_BAD_REQUEST = 400
_SERVER_ERROR = 500


def describe_client(uri: WebSocketURI) -> dict[str, Any]:
    """Return what is known of a client's connection before it is made."""
    return {
        **_COMMON,
        "url.scheme": "wss" if uri.secure else "ws",
        "url.path": _path(uri.resource_name),
        "server.address": uri.host,
        "server.port": uri.port,
    }


def describe_server(request: Request, scheme: str) -> dict[str, Any]:
    """Return what is known of a server's connection when there is a request."""
    attributes = {**_COMMON, "url.scheme": scheme, "url.path": _path(request.path)}
    host = request.headers.get_all("Host")
    if host:
        name, separator, port = host[0].rpartition(":")
        # The colons of an IPv6 address are in brackets.
        if not separator or not port.isdecimal():
            name, port = host[0], ""
        attributes["server.address"] = _text(name.strip("[]"))
        attributes["server.port"] = int(port) if port else 443 if scheme == "wss" else 80
    agent = request.headers.get_all("User-Agent")
    if agent:
        attributes["user_agent.original"] = _text(agent[0])
    return attributes


def describe_stream(connection: BaseConnection) -> dict[str, Any]:
    """Return what is known of any connection once it has a stream."""
    attributes: dict[str, Any] = {"websocket.id": str(connection.id)}
    for end, address in (("local", connection.local_address), ("peer", connection.remote_address)):
        if isinstance(address, tuple):
            attributes["network.transport"] = "tcp"
            attributes[f"network.{end}.address"] = address[0]
            attributes[f"network.{end}.port"] = address[1]
        elif address:
            attributes["network.transport"] = "unix"
            attributes[f"network.{end}.address"] = _text(str(address))
    return attributes


def describe_end(span: Span, connection: BaseConnection, *, opened: bool) -> None:
    """Write the end of a connection to its span.

    A server's span has an error if the server has failed, not if a client did: clients leave without a
    closing handshake all day.

    Args:
        span: the span.
        connection: the connection, which is closed or has never been opened.
        opened: whether it was open.
    """
    protocol = connection.protocol
    client = protocol.side is Side.CLIENT
    error = protocol.handshake_error
    response = protocol.response or getattr(error, "response", None)
    if response is not None:
        span.set_attribute("http.response.status_code", response.status)
    if not opened:
        if client and error is not None and (response is None or response.status >= _BAD_REQUEST):
            fail(span, error)
        elif response is not None and response.status >= _SERVER_ERROR:
            span.set_attribute("error.type", str(response.status))
            span.set_status(Status(StatusCode.ERROR))
        return
    if connection.subprotocol is not None:
        span.set_attribute("websocket.subprotocol", connection.subprotocol)
    for name, value in dataclasses.asdict(connection.statistics).items():
        if value is not None:
            span.set_attribute(f"websocket.{name}", value)
    if protocol.receiving:
        return
    end = protocol.close_exception()
    code, initiator = close_of(end, protocol.side)
    span.set_attributes({"websocket.close.code": code, "websocket.close.initiator": initiator})
    if client and isinstance(end, ConnectionClosedError):
        fail(span, end)


def fail(span: Span, error: BaseException) -> None:
    """Write an error to a span, as an event and as the status."""
    span.set_attribute("error.type", type(error).__qualname__)
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, _text(f"{type(error).__name__}: {error}")))


def close_of(end: ConnectionClosed | None, side: Side) -> tuple[int, str]:
    """Return the close code, and who began to close: ``client``, ``server``, or ``none``.

    The code is that of the first close frame. Without any, the stream was lost: 1006, ``none``.

    Args:
        end: how the connection has ended; ``None`` if it was given up.
        side: the side that this is.
    """
    if end is not None and end.sent is not None and not end.received_first:
        # At the end of the stream there is one attempt to send a close frame, which closes nothing.
        if end.sent.code != CloseCode.PROTOCOL_ERROR or not isinstance(end.__cause__, EOFError):
            return int(end.sent.code), side.value
    elif end is not None and end.received is not None:
        peer = Side.SERVER if side is Side.CLIENT else Side.CLIENT
        return int(end.received.code), peer.value
    return int(CloseCode.ABNORMAL_CLOSURE), "none"


_COMMON: dict[str, Any] = {
    "http.request.method": "GET",
    "network.protocol.name": "websocket",
    "network.protocol.version": "13",
}


def _path(target: str) -> str:
    """Return the path of a request without its query, which may hold a token."""
    return _text(target.partition("?")[0])


def _text(text: str) -> str:
    """Escape what is not ASCII: exporters refuse the surrogates that stand for bytes of a peer."""
    return text.encode("ascii", "backslashreplace").decode()

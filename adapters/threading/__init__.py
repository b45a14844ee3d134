"""WebSocket clients and servers on blocking sockets and threads."""

from adapters.shared.routing import Router
from adapters.shared.tls import TLSInfo
from wsproto_core.prepared import PreparedMessage, prepare

from .broadcast import Broadcast, broadcast
from .client import ClientConnection, Connect, Reconnect, connect, reconnect, unix_connect
from .connection import Connection, PongWaiter
from .server import (
    BasicAuthWebSocketServerProtocol,
    Server,
    ServerConnection,
    basic_auth_protocol_factory,
    route,
    serve,
    unix_route,
    unix_serve,
)

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "Broadcast",
    "ClientConnection",
    "Connect",
    "Connection",
    "PongWaiter",
    "PreparedMessage",
    "Reconnect",
    "Router",
    "Server",
    "ServerConnection",
    "TLSInfo",
    "basic_auth_protocol_factory",
    "broadcast",
    "connect",
    "prepare",
    "reconnect",
    "route",
    "serve",
    "unix_connect",
    "unix_route",
    "unix_serve",
]

Ping = PongWaiter
"""Older name of :class:`PongWaiter`."""

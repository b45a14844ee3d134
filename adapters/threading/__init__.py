"""WebSocket clients and servers on blocking sockets and threads."""

from adapters.shared import public
from adapters.shared.public import *  # noqa: F403

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
    "Reconnect",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "broadcast",
    "connect",
    "reconnect",
    "route",
    "serve",
    "unix_connect",
    "unix_route",
    "unix_serve",
]

Ping = PongWaiter
"""Older name of :class:`PongWaiter`."""
__all__ += public.__all__

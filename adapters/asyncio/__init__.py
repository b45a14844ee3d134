"""WebSocket clients and servers on asyncio, and on uvloop."""

from adapters.shared import public
from adapters.shared.broadcast import Broadcast, broadcast
from adapters.shared.public import *  # noqa: F403

from .client import ClientConnection, Connect, Reconnect, connect, reconnect, unix_connect
from .connection import Connection
from .router import route, unix_route
from .server import (
    BasicAuthWebSocketServerProtocol,
    Serve,
    Server,
    ServerConnection,
    basic_auth_protocol_factory,
    serve,
    unix_serve,
)

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "Broadcast",
    "ClientConnection",
    "Connect",
    "Connection",
    "Reconnect",
    "Serve",
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
__all__ += public.__all__

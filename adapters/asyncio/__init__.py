"""WebSocket clients and servers on asyncio, and on uvloop."""

from .client import ClientConnection, connect, reconnect, unix_connect
from .connection import Connection
from .router import Router, route, unix_route
from .server import (
    BasicAuthWebSocketServerProtocol,
    Server,
    ServerConnection,
    basic_auth_protocol_factory,
    serve,
    unix_serve,
)

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "ClientConnection",
    "Connection",
    "Router",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "connect",
    "reconnect",
    "route",
    "serve",
    "unix_connect",
    "unix_route",
    "unix_serve",
]

"""WebSocket clients and servers on asyncio, and on uvloop."""

from .client import ClientConnection, connect, reconnect, unix_connect
from .connection import Connection
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
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "connect",
    "reconnect",
    "serve",
    "unix_connect",
    "unix_serve",
]

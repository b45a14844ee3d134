"""WebSocket clients and servers on trio."""

from .client import ClientConnection, Connect, Reconnect, connect, reconnect, unix_connect
from .server import (
    BasicAuthWebSocketServerProtocol,
    Serve,
    Server,
    ServerConnection,
    basic_auth_protocol_factory,
    serve,
    serve_stream,
    unix_serve,
)

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "ClientConnection",
    "Connect",
    "Reconnect",
    "Serve",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "connect",
    "reconnect",
    "serve",
    "serve_stream",
    "unix_connect",
    "unix_serve",
]

"""WebSocket clients and servers on blocking sockets and threads."""

from wsproto_core.prepared import PreparedMessage, prepare

from .broadcasting import broadcast
from .client import ClientConnection, Connect, Reconnecting, connect, reconnect, unix_connect
from .connection import Connection, Ping
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
    "Connect",
    "Connection",
    "Ping",
    "PreparedMessage",
    "Reconnecting",
    "Router",
    "Server",
    "ServerConnection",
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

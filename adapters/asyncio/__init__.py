"""WebSocket clients and servers on asyncio, and on uvloop."""

from adapters.shared.broadcast import Broadcast, broadcast
from adapters.shared.tls import TLSInfo
from wsproto_core.prepared import PreparedMessage, prepare

from .client import ClientConnection, Connect, Reconnect, connect, reconnect, unix_connect
from .connection import Connection
from .router import Router, route, unix_route
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
    "PreparedMessage",
    "Reconnect",
    "Router",
    "Serve",
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

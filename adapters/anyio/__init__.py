"""WebSocket clients and servers on anyio."""

try:
    import anyio as _runtime  # noqa: F401
except ImportError as error:
    raise ImportError("adapters.anyio needs anyio: pip install 'wsproto-core[anyio]'") from error

from .client import ClientConnection, Connect, Reconnect, connect, reconnect, unix_connect
from .router import Router, route, unix_route
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
    "Router",
    "Serve",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "connect",
    "reconnect",
    "route",
    "serve",
    "serve_stream",
    "unix_connect",
    "unix_route",
    "unix_serve",
]

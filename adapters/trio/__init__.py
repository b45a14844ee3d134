"""WebSocket clients and servers on trio."""

try:
    import trio as _runtime  # noqa: F401
except ImportError as error:
    raise ImportError("adapters.trio needs trio: pip install 'wsproto-core[trio]'") from error

from adapters.shared import public
from adapters.shared.broadcast import Broadcast, broadcast
from adapters.shared.public import *  # noqa: F403
from adapters.structured.connection import StructuredConnection as Connection
from adapters.structured.server import Server

from .client import ClientConnection, Connect, Reconnect, connect, reconnect, unix_connect
from .server import (
    BasicAuthWebSocketServerProtocol,
    Serve,
    ServerConnection,
    basic_auth_protocol_factory,
    route,
    serve,
    serve_stream,
    unix_route,
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
    "serve_stream",
    "unix_connect",
    "unix_route",
    "unix_serve",
]
__all__ += public.__all__

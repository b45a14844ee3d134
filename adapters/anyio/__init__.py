"""WebSocket clients and servers on anyio."""

try:
    import anyio as _runtime  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"{__name__} needs anyio: pip install 'wsproto-core[anyio]', or in a checkout: pip install '.[anyio]'"
    ) from error

from ..shared import public
from ..shared.broadcast import Broadcast, broadcast
from ..shared.public import *  # noqa: F403
from ..structured.connection import StructuredConnection as Connection
from ..structured.server import Server
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

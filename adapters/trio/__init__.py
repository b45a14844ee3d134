"""WebSocket clients and servers on trio."""

try:
    import trio as _runtime  # noqa: F401
except ImportError as error:
    raise ImportError("adapters.trio needs trio: pip install 'wsproto-core[trio]'") from error

from .client import ClientConnection, Connect, connect, unix_connect
from .server import Serve, Server, ServerConnection, serve, serve_stream, unix_serve

__all__ = [
    "ClientConnection",
    "Connect",
    "Serve",
    "Server",
    "ServerConnection",
    "connect",
    "serve",
    "serve_stream",
    "unix_connect",
    "unix_serve",
]

"""WebSocket clients and servers on anyio."""

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

"""WebSocket clients and servers on anyio."""

from .client import ClientConnection, Connect, Reconnect, connect, reconnect, unix_connect
from .server import Serve, Server, ServerConnection, serve, serve_stream, unix_serve

__all__ = [
    "ClientConnection",
    "Connect",
    "Reconnect",
    "Serve",
    "Server",
    "ServerConnection",
    "connect",
    "reconnect",
    "serve",
    "serve_stream",
    "unix_connect",
    "unix_serve",
]

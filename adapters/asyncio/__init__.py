"""WebSocket clients and servers on asyncio, and on uvloop."""

from .client import ClientConnection, connect, reconnect, unix_connect
from .connection import Connection
from .server import Server, ServerConnection, serve, unix_serve

__all__ = [
    "ClientConnection",
    "Connection",
    "Server",
    "ServerConnection",
    "connect",
    "reconnect",
    "serve",
    "unix_connect",
    "unix_serve",
]

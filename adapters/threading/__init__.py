"""WebSocket clients and servers on blocking sockets and threads."""

from .client import ClientConnection, Connect, connect, unix_connect
from .connection import Connection, Ping
from .server import Server, ServerConnection, serve, unix_serve

__all__ = ["ClientConnection", "Connect", "Connection", "Ping", "Server", "ServerConnection"]
__all__ += ["connect", "serve", "unix_connect", "unix_serve"]

"""WebSocket clients and servers on blocking sockets and threads."""

from .client import ClientConnection, Connect, connect, unix_connect
from .connection import Connection, Ping
from .router import Router, route, unix_route
from .server import Server, ServerConnection, serve, unix_serve

__all__ = ["ClientConnection", "Connect", "Connection", "Ping", "Router", "Server", "ServerConnection"]
__all__ += ["connect", "route", "serve", "unix_connect", "unix_route", "unix_serve"]

"""WebSocket servers on anyio, on asyncio or trio."""

from __future__ import annotations

from typing import Any

from anyio.abc import ByteStream, TaskStatus

from ..shared.authentication import AsyncBasicAuth, make_basic_auth_factory
from ..structured.server import StructuredServe, StructuredServerConnection, as_function
from .streams import RUNTIME

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "Serve",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "route",
    "serve",
    "serve_stream",
    "unix_route",
    "unix_serve",
]


class ServerConnection(StructuredServerConnection):
    """A server's connection: the argument of a handler.

    ``async for`` iterates over its messages; it is closed when the handler returns: see :class:`Connection`.
    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.
    """

    _runtime = RUNTIME


class BasicAuthWebSocketServerProtocol(AsyncBasicAuth, ServerConnection):
    """A server's connection that asks for HTTP Basic authentication (RFC 7617).

    Attributes:
        username: the authenticated username; ``None`` before the authentication.
    """


basic_auth_protocol_factory = make_basic_auth_factory(BasicAuthWebSocketServerProtocol)


class Serve(StructuredServe[ByteStream, TaskStatus[list[Any]]]):
    """The result of :func:`serve`: an asynchronous context manager."""

    _runtime = RUNTIME
    _create = ServerConnection


serve = as_function(Serve.serve)
unix_serve = as_function(Serve.unix_serve)
route = as_function(Serve.route)
unix_route = as_function(Serve.unix_route)
serve_stream = as_function(Serve.serve_stream)

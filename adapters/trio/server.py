"""WebSocket servers on trio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import trio
from adapters.shared import authentication as core_auth
from adapters.shared.authentication import AsyncBasicAuth, CheckCredentials, Credentials
from adapters.structured.server import StructuredServe, StructuredServerConnection

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
    """A server's connection.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.
    """

    runtime = RUNTIME


class BasicAuthWebSocketServerProtocol(AsyncBasicAuth, ServerConnection):
    """A server's connection that asks for HTTP Basic authentication (RFC 7617).

    Attributes:
        username: who was authenticated; ``None`` before that.
    """


def basic_auth_protocol_factory(
    realm: str,
    credentials: Credentials | Iterable[Credentials] | None = None,
    check_credentials: CheckCredentials | None = None,
    create_protocol: Callable[..., ServerConnection] = BasicAuthWebSocketServerProtocol,
) -> Callable[..., ServerConnection]:
    """Return what to give to :func:`serve` as ``create_protocol`` for HTTP Basic authentication.

    ::

        auth = basic_auth_protocol_factory("staff", credentials=("user", "secret"))
        async with serve(handler, "localhost", 8765, ssl=context, create_protocol=auth): ...

    Args:
        realm, credentials, check_credentials: see :func:`wsproto_core.auth.basic_auth_protocol_factory`.
        create_protocol: makes the connection object; a subclass of
            :class:`BasicAuthWebSocketServerProtocol`, say.

    Raises:
        TypeError, ValueError: an argument is not allowed.
    """
    return core_auth.basic_auth_protocol_factory(realm, credentials, check_credentials, create_protocol)


class Serve(StructuredServe[trio.abc.Stream, trio.TaskStatus[list[Any]]]):
    """What :func:`serve` returns: an asynchronous context manager."""

    runtime = RUNTIME
    create = ServerConnection


serve = Serve.serve
unix_serve = Serve.unix_serve
route = Serve.route
unix_route = Serve.unix_route
serve_stream = Serve.serve_stream

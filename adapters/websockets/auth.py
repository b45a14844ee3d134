"""HTTP Basic authentication (RFC 7617) of a server's clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..shared import authentication as auth
from ..shared.authentication import AsyncBasicAuth, CheckCredentials, Credentials
from .server import WebSocketServerProtocol

__all__ = ["BasicAuthWebSocketServerProtocol", "basic_auth_protocol_factory"]


class BasicAuthWebSocketServerProtocol(AsyncBasicAuth, WebSocketServerProtocol):
    """A server's connection with HTTP Basic authentication.

    Attributes:
        username: the username of the client; ``None`` before it has been authenticated.
    """


def basic_auth_protocol_factory(
    realm: str,
    credentials: Credentials | Iterable[Credentials] | None = None,
    check_credentials: CheckCredentials | None = None,
    create_protocol: Callable[..., Any] = BasicAuthWebSocketServerProtocol,
) -> Callable[..., Any]:
    """Return the ``create_protocol`` for a server with HTTP Basic authentication.

    Args:
        realm: the scope of protection; should be ASCII only.
        credentials: a pair of username and password, or several pairs.
        check_credentials: a coroutine function of username and password that returns whether they are
            right.
        create_protocol: makes the connection; takes the arguments of
            :class:`BasicAuthWebSocketServerProtocol`.

    Raises:
        TypeError: not exactly one of ``credentials`` and ``check_credentials`` is given, or one has the
            wrong type.
    """
    return auth.basic_auth_protocol_factory(realm, credentials, check_credentials, create_protocol)

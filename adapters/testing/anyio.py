"""Connection handlers of :mod:`adapters.anyio` under test."""

from __future__ import annotations

import anyio

from ..anyio import ClientConnection, ServerConnection, connect, serve, unix_serve
from .handlers import Limited, Tools, within_scope

__all__ = ["connection_pair", "handler_client", "handler_server"]

_within = within_scope(anyio.move_on_after)


class _Client(Limited, ClientConnection):
    """A client whose waits end in time."""

    _within = staticmethod(_within)


class _Server(Limited, ServerConnection):
    """A server's connection whose waits end in time."""

    _within = staticmethod(_within)


_TOOLS = Tools(connect, serve, unix_serve, _Client, _Server, anyio.CancelScope)

handler_client = _TOOLS.handler_client
handler_server = _TOOLS.handler_server
connection_pair = _TOOLS.connection_pair

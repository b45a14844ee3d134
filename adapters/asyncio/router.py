"""WebSocket servers on asyncio that choose the handler by the request's path."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable, Sequence
from typing import Literal, Unpack

from adapters.shared.routing import Router, Rules, make_router
from adapters.shared.signatures import show_options
from wsproto_core.types import SocketPath

from .server import AsyncioListenOptions, Serve, serve, unix_serve

__all__ = ["Router", "route", "unix_route"]


@show_options(AsyncioListenOptions)
def route(
    url_map: Rules,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    **options: Unpack[AsyncioListenOptions],
) -> Serve:
    """Start a WebSocket server that chooses the handler by the request's path.

    ::

        async def channel(websocket, channel_id):
            ...

        url_map = Map([Rule("/channel/<int:channel_id>", endpoint=channel)])

        async with route(url_map, "localhost", 8765) as server:
            await server.serve_forever()

    Which requests lead where is said at :func:`~wsproto_core.routing.make_router`.

    Args:
        url_map, server_name, ssl, create_router: see :func:`~wsproto_core.routing.make_router`.
        host, port, options: see :func:`serve`.

    Raises:
        ImportError, TypeError, ValueError: see :class:`Router`, or :func:`serve`.
        OSError: the address cannot be listened on.
    """
    router, context = make_router(url_map, server_name, ssl, create_router)
    return serve(router, host, port, ssl=context, **options)


@show_options(AsyncioListenOptions)
def unix_route(
    url_map: Rules,
    path: SocketPath | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    **options: Unpack[AsyncioListenOptions],
) -> Serve:
    """Start a WebSocket server that listens on a Unix socket and chooses the handler by the request's path.

    Args:
        url_map, server_name, ssl, create_router: see :func:`~wsproto_core.routing.make_router`.
        path, options: see :func:`unix_serve`.
    """
    router, context = make_router(url_map, server_name, ssl, create_router)
    return unix_serve(router, path, ssl=context, **options)

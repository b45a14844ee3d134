"""WebSocket servers on trio that choose the handler by the request's path."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, Unpack, overload

import trio
from adapters.shared.routing import Router, Rules, make_router
from wsproto_core.types import SocketPath

from .server import Serve, TrioListenOptions, serve, unix_serve

__all__ = ["Router", "route", "unix_route"]


@overload
def route(
    url_map: Rules,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    task_status: None = None,
    **options: Unpack[TrioListenOptions],
) -> Serve: ...
@overload
def route(
    url_map: Rules,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    task_status: trio.TaskStatus[list[Any]],
    **options: Unpack[TrioListenOptions],
) -> Coroutine[Any, Any, None]: ...
def route(
    url_map: Rules,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    task_status: trio.TaskStatus[list[Any]] | None = None,
    **options: Unpack[TrioListenOptions],
) -> Serve | Coroutine[Any, Any, None]:
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
        host, port, task_status, options: see :func:`serve`.

    Raises:
        ImportError, TypeError, ValueError: see :class:`Router`, or :func:`serve`.
        OSError: the address cannot be listened on.
    """
    router, context = make_router(url_map, server_name, ssl, create_router)
    return serve(router, host, port, task_status=task_status, ssl=context, **options)


def unix_route(
    url_map: Rules,
    path: SocketPath | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    task_status: trio.TaskStatus[list[Any]] | None = None,
    **options: Unpack[TrioListenOptions],
) -> Any:
    """Start a WebSocket server that listens on a Unix socket and chooses the handler by the request's path.

    Args:
        url_map, server_name, ssl, create_router: see :func:`~wsproto_core.routing.make_router`.
        path, task_status, options: see :func:`unix_serve`.
    """
    router, context = make_router(url_map, server_name, ssl, create_router)
    return unix_serve(router, path, task_status=task_status, ssl=context, **options)

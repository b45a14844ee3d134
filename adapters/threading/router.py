"""WebSocket servers on threads that choose the handler by the request's path."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable, Sequence
from typing import Literal, Unpack

from wsproto_core.routing import Router, Rules, make_router

from .server import Server, ThreadingListenOptions, serve, unix_serve

__all__ = ["Router", "route", "unix_route"]


def route(
    url_map: Rules,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    **options: Unpack[ThreadingListenOptions],
) -> Server:
    """Start a WebSocket server that chooses the handler by the request's path.

    ::

        def channel(websocket, channel_id):
            ...

        url_map = Map([Rule("/channel/<int:channel_id>", endpoint=channel)])

        with route(url_map, "localhost", 8765) as server:
            server.serve_forever()

    Handlers are called with the connection, and with what their rule provides as keyword arguments.
    A request that no rule matches is answered with HTTP status 404; one for which a rule has another
    URL, with a redirect. ``process_request`` comes first, and may answer the request itself.

    Arguments:
        url_map: a :class:`werkzeug.routing.Map`, or rules that one is made of; the endpoints are the
            handlers.
        host: see :func:`serve`.
        port: see :func:`serve`.
        server_name: the server's name as clients know it, with its port unless that is the scheme's
            default; subdomains are those of this name. ``None`` for the request's host.
        ssl: a context for TLS; ``True`` if a proxy does TLS for this server.
        create_router: what makes the router, given ``url_map``, ``server_name`` and ``"ws"`` or
            ``"wss"``; ``None`` for :class:`Router`.
        options: those of :func:`serve`.

    Raises:
        ImportError: werkzeug is not installed: ``pip install 'wsproto-core[router]'``.
        TypeError, ValueError: an option is unknown or not allowed, a rule could never match, or its
            handler cannot be called with what it provides.
        OSError: the address cannot be listened on.
    """
    router, context = make_router(url_map, server_name, ssl, create_router)
    return serve(router, host, port, ssl=context, **options)


def unix_route(
    url_map: Rules,
    path: str | None = None,
    *,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: Callable[..., Router] | None = None,
    **options: Unpack[ThreadingListenOptions],
) -> Server:
    """Start a WebSocket server that listens on a Unix socket and chooses the handler by the request's path.

    Arguments:
        url_map: see :func:`route`.
        path: the socket's path; ``None`` if ``sock`` is given.
        server_name: see :func:`route`.
        ssl: see :func:`route`.
        create_router: see :func:`route`.
        options: see :func:`serve`.
    """
    router, context = make_router(url_map, server_name, ssl, create_router)
    return unix_serve(router, path, ssl=context, **options)

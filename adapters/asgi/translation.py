"""A request on a transport of uvicorn as the scope of an application."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from wsproto_core.http import Request

from ..shared.asgi import make_scope

__all__ = ["scope_of"]


def scope_of(
    request: Request, transport: Any, config: Any, state: dict[str, Any], connection: object
) -> dict[str, Any]:
    """Return the scope of an application.

    Args:
        request: the request of the opening handshake.
        transport: the transport of the connection.
        config: the server's :class:`uvicorn.Config`.
        state: what the application has stored during its startup; it is copied.
        connection: what the application gets in the extension ``wsproto_core``.
    """
    return make_scope(
        request,
        version=config.asgi_version,
        secure=is_ssl(transport),
        server=get_local_addr(transport),
        client=get_remote_addr(transport),
        root_path=config.root_path,
        state=state,
        extensions={"wsproto_core": {"connection": connection}},
    )

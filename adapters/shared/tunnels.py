"""SOCKS proxies: a stream through one, by the package ``python-socks``, on every adapter.

An HTTP proxy is asked for a tunnel by :class:`wsproto_core.connect.proxy.Tunnel`, which
:meth:`.Connecting.tunnel` makes. SOCKS 4 and 5 (RFC 1928) are left to ``python-socks``, which has a class
for each runtime.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from wsproto_core.connect.proxy import Proxy
from wsproto_core.exceptions import SocksError

__all__ = ["SocksRuntime", "connect_socks", "socks_client", "socks_errors"]


async def _identity(sock: socket.socket) -> socket.socket:
    return sock


@dataclass(frozen=True)
class SocksRuntime:
    """How ``python_socks`` works on an asynchronous runtime."""

    load: Callable[[], Any]
    """Import the class ``Proxy`` of ``python_socks`` for the runtime, and return it."""
    wrap: Callable[[socket.socket], Awaitable[Any]] = _identity
    """Return the object that ``python_socks`` needs in the place of a socket."""
    unwrap: Callable[[Any], Any] = lambda stream: stream
    """Return the socket, or a stream of the runtime, for the object that ``python_socks`` returns."""


async def connect_socks(
    runtime: SocksRuntime,
    proxy: Proxy,
    host: str,
    port: int,
    connect_tcp: Callable[[str, int], Awaitable[socket.socket]],
) -> Any:
    """Connect through a SOCKS proxy, on an asynchronous runtime.

    Args:
        runtime: the functions of the runtime.
        proxy: the proxy.
        host, port: the destination.
        connect_tcp: connects a socket to a host and a port.

    Returns:
        A socket or a stream of the runtime. Its next byte is the destination's.

    Raises:
        ImportError: ``python-socks`` is not installed.
        SocksError: the proxy refuses, or does not speak SOCKS.
        OSError: the proxy cannot be reached.
    """

    async def connect(dest_host: str, dest_port: int, **others: Any) -> Any:
        return await runtime.wrap(await connect_tcp(dest_host, dest_port))

    client = socks_client(runtime.load, proxy, connect)
    with socks_errors():
        return runtime.unwrap(await client.connect(host, port, timeout=math.inf))


def socks_client(load: Callable[[], Any], proxy: Proxy, connect: Callable[..., Any]) -> Any:
    """Return the ``Proxy`` object of ``python_socks`` for a proxy.

    It knows neither ``socks4a`` nor ``socks5h``: these are SOCKS 4 and 5 where the proxy looks up host names.

    Args:
        load: see :class:`SocksRuntime`.
        proxy: the proxy.
        connect: opens the stream to the proxy, in the place of ``python_socks``, which tries one address of a
            name and hides the system's error. It is called with ``dest_host``, ``dest_port`` and other
            keywords, and is a coroutine function on asynchronous runtimes.

    Raises:
        ImportError: ``python-socks`` is not installed.
    """
    try:
        from python_socks import ProxyType

        create = load()
    except ImportError as error:
        raise ImportError(
            "connecting through a SOCKS proxy needs python-socks: pip install 'wsproto-core[proxy]', "
            "or in a checkout: pip install '.[proxy]'"
        ) from error
    username, password = proxy.user_info or (None, None)
    return create(
        proxy_type=ProxyType[proxy.scheme[:6].upper()],
        host=proxy.host,
        port=proxy.port,
        username=username,
        password=password,
        rdns=proxy.scheme in ("socks4a", "socks5h"),
        # python_socks opens the stream by this, as if it was another proxy on the way.
        forward=SimpleNamespace(connect=connect),
    )


@contextmanager
def socks_errors() -> Iterator[None]:
    """Raise :exc:`.SocksError` for an error that ``python_socks`` raises; a ``TimeoutError`` stays one."""
    from python_socks import ProxyError

    try:
        yield
    except ProxyError as error:
        raise SocksError(str(error), error.error_code) from error

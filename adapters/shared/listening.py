"""Sockets that listen, the same on every adapter.

The runtime looks up the names of hosts. The sockets, their options, their backlog and accepting are here. On
asyncio the event loop makes the sockets, and is given the addresses that can be listened on.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from .addresses import Address

__all__ = [
    "ACCEPTED_AT_ONCE",
    "BACKLOG",
    "accept_now",
    "bind_tcp",
    "bind_unix",
    "hosts_of",
    "listen",
    "look_up_hosts",
    "open_listeners",
    "set_backlog",
    "stop_listening",
    "usable_hosts",
]

BACKLOG = socket.SOMAXCONN
"""The default of the option ``backlog``: how many connections may wait to be accepted."""

ACCEPTED_AT_ONCE = 16
"""Connections that an event loop accepts in a row, before others have their turn.

asyncio takes the backlog for this number. Without file descriptors it reports each attempt to accept one, and
makes a timer for each: thousands a second, with the backlog that a server should have.
"""

# The errors of a connection that was lost before it was accepted: Linux reports them by accept.
_LOST = {
    getattr(errno, name, None)
    for name in (
        "ECONNABORTED",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EOPNOTSUPP",
        "EPERM",
        "EPROTO",
    )
}

_UNUSABLE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""Errors of addresses that a system knows and cannot use, such as those of IPv6 in many containers."""


def hosts_of(host: str | Sequence[str] | None) -> list[str | None]:
    """Return the names to look up for the argument ``host`` of ``serve``; ``None`` is all interfaces."""
    return [each or None for each in ([host] if host is None or isinstance(host, str) else host)]


async def look_up_hosts(
    getaddrinfo: Callable[..., Awaitable[Sequence[Address]]],
    hosts: Iterable[str | None],
    port: int,
    family: int = socket.AF_UNSPEC,
    flags: int = socket.AI_PASSIVE,
) -> list[Address]:
    """Look up the addresses that ``serve`` is to listen on.

    Args:
        getaddrinfo: the runtime's function of this name.
        hosts: see :func:`hosts_of`.
        port: the TCP port.
        family: the address family; 0 for all.
        flags: for the name lookup.
    """
    found: list[Address] = []
    for host in hosts:
        found += await getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
    return found


def open_listeners(
    sock: socket.socket | None, path: str | None, found: Iterable[Address], options: Mapping[str, Any]
) -> list[socket.socket]:
    """Listen where ``serve`` is told to: on a socket that is bound, a Unix socket, or addresses.

    Args:
        sock: the option ``sock``; ``None`` without.
        path: where a Unix socket is to be; ``None`` without.
        found: the addresses, if neither of these is given.
        options: ``backlog`` and ``reuse_port``, as far as they are given.

    Raises:
        OSError: an address cannot be listened on. Then no socket is open.
    """
    if sock is not None:
        bound = [sock]
    elif path is not None:
        bound = [bind_unix(path)]
    else:
        bound = bind_tcp(found, bool(options.get("reuse_port")))
    return listen(bound, options.get("backlog", BACKLOG))


def bind_tcp(found: Iterable[Address], reuse_port: bool = False) -> list[socket.socket]:
    """Bind a socket to each address; on IPv6 without IPv4, which has sockets of its own.

    Args:
        found: the addresses. Duplicates and addresses that the system cannot use are left out.
        reuse_port: whether other sockets may be bound to the same ports.

    Raises:
        OSError: an address is in use, or not permitted, or none can be used. Then no socket is bound.
    """
    with ExitStack() as stack:
        bound = [
            stack.enter_context(sock) for sock in _bind_usable(_distinct(found), reuse_port=bool(reuse_port))
        ]
        stack.pop_all()
    return bound


def usable_hosts(found: Iterable[Address]) -> list[str]:
    """Return the hosts of the addresses that can be listened on, as numbers, each once.

    Args:
        found: see :func:`bind_tcp`; the ports have no effect.

    Raises:
        OSError: none can be used.
    """
    hosts: list[str] = []
    for sock in _bind_usable((family, (host, 0, *rest)) for family, (host, _, *rest) in _distinct(found)):
        with sock:
            host, _, *rest = sock.getsockname()
            # An address that is valid on a link only is nothing without that (RFC 4007 section 11).
            hosts.append(f"{host}%{rest[1]}" if rest and rest[1] else host)
    return list(dict.fromkeys(hosts))


def _distinct(found: Iterable[Address]) -> Iterable[tuple[Any, Any]]:
    return dict.fromkeys((family, address) for family, _, _, _, address in found)


def _bind_usable(addresses: Iterable[tuple[Any, Any]], **options: bool) -> Iterator[socket.socket]:
    unusable: OSError | None = None
    bound = 0
    for family, address in addresses:
        try:
            sock = _bind(family, address, **options)
        except OSError as error:
            if error.errno not in _UNUSABLE:
                raise
            unusable = unusable or error
        else:
            bound += 1
            yield sock
    if unusable is not None and not bound:
        raise unusable


def _bind(family: int, address: Any, reuse_port: bool = False) -> socket.socket:
    with ExitStack() as stack:
        try:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if family != socket.AF_UNIX and os.name == "posix":
                # On Windows, this would let another program listen on the same port.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
        except OSError as error:
            # Some of Python's own errors have no number.
            number = error.errno or errno.ENAMETOOLONG
            raise OSError(number, f"cannot listen on {address!r}: {error.strerror or error}") from error
        stack.pop_all()
    return sock


def bind_unix(path: str) -> socket.socket:
    """Bind a Unix socket; it replaces a socket that an earlier program has left there.

    Args:
        path: the path of the socket; a name that begins with NUL is an abstract one, on Linux.

    Raises:
        OSError: that is not possible.
    """
    with suppress(OSError):
        if not path.startswith("\0") and stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    return _bind(socket.AF_UNIX, path)


def listen(bound: list[socket.socket], backlog: int) -> list[socket.socket]:
    """Begin to listen; the sockets become non-blocking.

    Args:
        bound: the sockets, which are closed if this fails.
        backlog: how many connections may wait to be accepted.

    Raises:
        OSError: an address is in use.
    """
    with ExitStack() as stack:
        for sock in bound:
            stack.enter_context(sock)
            sock.setblocking(False)
            sock.listen(backlog)
        stack.pop_all()
    return bound


def set_backlog(listeners: Iterable[Any], backlog: int) -> None:
    """Set how many connections may wait to be accepted.

    Args:
        listeners: sockets that listen already, of an event loop.
        backlog: the number.
    """
    for listener in listeners:
        # An event loop's sockets cannot do that themselves.
        with socket.socket(fileno=os.dup(listener.fileno())) as sock:
            sock.listen(backlog)


def stop_listening(listener: Any) -> None:
    """Refuse clients at once, where an event loop uses the listening socket for another iteration.

    From now on, the descriptor is that of another socket, which does not listen. So its number belongs to the
    event loop until that closes it. If other processes have the listening socket, they go on to accept.

    Args:
        listener: a socket that listens. On Windows, and if the process has no descriptors left, this does
            nothing: clients are refused when the event loop closes the socket.
    """
    if os.name == "posix":
        with suppress(OSError), socket.socket(listener.family, socket.SOCK_STREAM) as other:
            os.dup2(other.fileno(), listener.fileno(), inheritable=False)


def accept_now(listener: socket.socket) -> socket.socket | None:
    """Accept a connection without waiting; return ``None`` if there is none, or if it has been lost already.

    Args:
        listener: a socket that listens and does not block.

    Raises:
        OSError: accepting failed, for lack of descriptors for example: it is to be tried again later.
    """
    try:
        return listener.accept()[0]
    except (BlockingIOError, InterruptedError):
        return None
    except OSError as error:
        if error.errno in _LOST:
            return None
        raise

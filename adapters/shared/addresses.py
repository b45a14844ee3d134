"""Sockets that connect: the order of a host's addresses, and the error if none of them answers.

Every adapter tries the addresses as RFC 8305 says: families alternate, and while one address does not
answer, the next one is tried. The adapter waits for the sockets, and :class:`AddressRace` has the rest.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeAlias

__all__ = [
    "ADDRESS_DELAY",
    "RETRY_DELAY",
    "Address",
    "AddressRace",
    "begin_connect",
    "choose_local",
    "connect_failure",
    "finish_connect",
    "in_order",
    "look_up_number",
    "refusal",
]

ADDRESS_DELAY = 0.25
"""Seconds until the next address is tried while one does not answer (RFC 8305 section 5)."""

RETRY_DELAY = 0.01
"""Seconds until a Unix socket whose backlog is full is tried again: the system does not report when."""

_IN_PROGRESS = (0, errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))

# Errors of addresses that a system cannot use, such as those of IPv6 in many containers.
_UNUSABLE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENETUNREACH)

Address: TypeAlias = tuple[Any, Any, int, str, Any]
"""An item of the result of :func:`socket.getaddrinfo`."""


def look_up_number(
    host: str, port: int, family: int = 0, proto: int = 0, flags: int = 0
) -> Sequence[Address] | None:
    """Return the address of a host that is an IP address, without waiting; ``None`` for a name."""
    try:
        return socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, proto, flags | socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        return None


def in_order(found: Sequence[Address], first_count: int = 1) -> list[Address]:
    """Return addresses in the order in which to try them: their families alternate (RFC 8305 section 4).

    Args:
        found: in the order that the system prefers.
        first_count: how many of the first family come before one of another.
    """
    first = [address for address in found if address[0] == found[0][0]]
    rest = [address for address in found if address[0] != found[0][0]]
    begin, first = first[: first_count - 1], first[first_count - 1 :]
    mixed = [address for pair in zip(first, rest, strict=False) for address in pair]
    return begin + mixed + first[len(rest) :] + rest[len(first) :]


def choose_local(found: Sequence[Address], address: Address) -> Any:
    """Return the address to connect from, for an address to connect to, of the same family.

    Args:
        found: the addresses to choose from.
        address: the address to connect to.

    Raises:
        OSError: there is none.
    """
    for family, _, _, _, local in found:
        if family == address[0]:
            return local
    number = errno.EADDRNOTAVAIL
    raise OSError(number, f"{os.strerror(number)} of the same family, to connect to {address[4]}")


def begin_connect(address: Address, local: Any = None) -> socket.socket:
    """Begin to connect a non-blocking socket: when it can be written, call :func:`finish_connect`.

    Args:
        address: the address to connect to.
        local: the address to connect from; ``None`` for any.

    Raises:
        OSError: it cannot be connected.
        BlockingIOError: the backlog of a Unix socket is full: try again.
    """
    family, kind, proto, _, _ = address
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if local is not None:
            sock.bind(local)
        code = sock.connect_ex(address[4])
        if code not in _IN_PROGRESS:
            raise refusal(code, address)
    except BaseException:
        sock.close()
        raise
    return sock


def finish_connect(sock: socket.socket, address: Address) -> None:
    """Check that a socket has been connected.

    Raises:
        OSError: it has not been connected.
    """
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise refusal(code, address)


def refusal(code: int, address: Address) -> OSError:
    """Return the error for an address that could not be connected to, of the class for its code."""
    return OSError(code, f"{os.strerror(code)}: {address[4]}")


def connect_failure(errors: Sequence[OSError]) -> OSError:
    """Return the error to raise when no address could be connected to; it has the others as notes.

    It is the first error that is not about an address that the system cannot use.

    Args:
        errors: one for each address; at least one.
    """
    chosen = next((error for error in errors if error.errno not in _UNUSABLE), errors[0])
    for error in errors:
        if error is not chosen:
            chosen.add_note(f"and with another address: {error}")
    return chosen


class AddressRace:
    """Sockets that connect to the addresses of one host; the first that is connected is used (RFC 8305).

    The adapter calls :meth:`begin_next`, waits until one of the sockets can be written, at most the time that
    this method has returned, and calls :meth:`finish`. It repeats this until a socket is connected. As a
    context manager, the object closes all other sockets.

    Attributes:
        sockets: the sockets that connect now, with their addresses.
    """

    def __init__(
        self,
        found: Sequence[Address],
        choose_local: Callable[[Address], Any] | None = None,
        delay: float | None = ADDRESS_DELAY,
        interleave: int = 1,
        all_errors: bool = False,
    ) -> None:
        """
        Args:
            found: the addresses, in the order that the system prefers.
            choose_local: returns the address to connect from, for each address, or raises :exc:`OSError`;
                ``None`` for any address.
            delay: seconds until the next address is tried; ``None`` waits until an address has failed.
            interleave: see :func:`in_order`.
            all_errors: whether to raise the errors of all addresses, as an :exc:`ExceptionGroup`.
        """
        self.sockets: dict[socket.socket, Address] = {}
        self._untried = iter(in_order(found, interleave))
        self._choose_local = choose_local
        self._delay = delay
        self._all_errors = all_errors
        self._errors: list[OSError] = []

    def begin_next(self) -> float | None:
        """Begin to connect to the next address, if there is one.

        Returns:
            Seconds to wait for the sockets, before the next call; ``None`` for no limit.

        Raises:
            OSError: no address can be connected to: see :func:`connect_failure`.
            ExceptionGroup: the same, if all errors are wanted.
        """
        for address in self._untried:
            try:
                local = None if self._choose_local is None else self._choose_local(address)
                self.sockets[begin_connect(address, local)] = address
            except OSError as error:
                self._errors.append(error)
            else:
                return self._delay
        if not self.sockets:
            if self._all_errors:
                raise ExceptionGroup("connecting failed", self._errors)
            raise connect_failure(self._errors)
        return None

    def finish(self, writable: Iterable[socket.socket]) -> socket.socket | None:
        """Return the first of these sockets that is connected; ``None`` if all of them have failed.

        Args:
            writable: sockets that can be written.
        """
        for sock in writable:
            address = self.sockets.pop(sock)
            try:
                finish_connect(sock, address)
            except OSError as error:
                sock.close()
                self._errors.append(error)
            else:
                return sock
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        for sock in self.sockets:
            sock.close()
        # The errors refer to frames that refer to this object.
        self._errors.clear()

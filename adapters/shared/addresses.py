"""Sockets that connect: the order of a host's addresses, and the error if none of them answers.

Every adapter tries the addresses as RFC 8305 says: families alternate, and while one address does not
answer, the next one is tried. The adapter waits for the sockets, and :class:`AddressRace` has the rest. On
asyncio each attempt is a task: an event loop with a proactor cannot wait until a socket can be written.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Self, TypeAlias, TypeVar

__all__ = [
    "ADDRESS_DELAY",
    "RETRY_DELAY",
    "Address",
    "AddressRace",
    "BaseAddressRace",
    "begin_connect",
    "connect_failure",
    "finish_connect",
    "in_order",
    "look_up_number",
    "open_socket",
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

AttemptT = TypeVar("AttemptT")


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


def open_socket(address: Address, local: Any = None) -> socket.socket:
    """Return a non-blocking socket that can be connected to an address.

    Args:
        address: the address to connect to.
        local: the address that it is bound to; ``None`` for any.

    Raises:
        OSError: that is not possible.
    """
    family, kind, proto, _, _ = address
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if local is not None:
            sock.bind(local)
    except BaseException:
        sock.close()
        raise
    return sock


def begin_connect(address: Address, local: Any = None) -> socket.socket:
    """Begin to connect a socket: when it can be written, :func:`finish_connect` is to be called.

    Args:
        address, local: see :func:`open_socket`.

    Raises:
        OSError: it cannot be connected.
        BlockingIOError: the backlog of a Unix socket is full: try again.
    """
    sock = open_socket(address, local)
    try:
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


class BaseAddressRace(ABC, Generic[AttemptT]):
    """Attempts to connect to the addresses of one host, of which the first to succeed is used (RFC 8305).

    The adapter calls :meth:`begin_next`, waits until one of the attempts has ended, at most the time that
    this method has returned, and calls :meth:`finish`. It repeats this until a socket is connected. As a
    context manager, the object gives up all other attempts.

    Attributes:
        attempts: the attempts that are under way, with their addresses.
    """

    def __init__(
        self,
        found: Sequence[Address],
        local: Any = None,
        delay: float | None = ADDRESS_DELAY,
        interleave: int = 1,
        all_errors: bool = False,
    ) -> None:
        """
        Args:
            found: the addresses, in the order that the system prefers.
            local: where to connect from; ``None`` for any address.
            delay: seconds until the next address is tried; ``None`` waits until an address has failed.
            interleave: see :func:`in_order`.
            all_errors: whether to raise the errors of all addresses, as an :exc:`ExceptionGroup`.
        """
        self.attempts: dict[AttemptT, Address] = {}
        self._untried = iter(in_order(found, interleave))
        self._local = local
        self._delay = delay
        self._all_errors = all_errors
        self._errors: list[OSError] = []

    @abstractmethod
    def _begin(self, address: Address) -> AttemptT:
        """Begin to connect to an address."""

    @abstractmethod
    def _finish(self, attempt: AttemptT, address: Address) -> socket.socket:
        """Return the connected socket of an attempt that has ended, or raise its :exc:`OSError`."""

    @abstractmethod
    def _give_up(self, attempt: AttemptT) -> None:
        """Close the socket of an attempt."""

    def begin_next(self) -> float | None:
        """Begin to connect to the next address, if there is one.

        Returns:
            Seconds to wait for the attempts, before the next call; ``None`` for no limit.

        Raises:
            OSError: no address can be connected to: see :func:`connect_failure`.
            ExceptionGroup: the same, if all errors are wanted.
        """
        for address in self._untried:
            try:
                self.attempts[self._begin(address)] = address
            except OSError as error:
                self._errors.append(error)
            else:
                return self._delay
        if not self.attempts:
            if self._all_errors:
                raise ExceptionGroup("connecting failed", self._errors)
            raise connect_failure(self._errors)
        return None

    def finish(self, ended: Iterable[AttemptT]) -> socket.socket | None:
        """Return the first of these sockets that is connected; ``None`` if all of them have failed.

        Args:
            ended: attempts that have ended.
        """
        for attempt in ended:
            try:
                return self._finish(attempt, self.attempts.pop(attempt))
            except OSError as error:
                self._errors.append(error)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        for attempt in self.attempts:
            self._give_up(attempt)
        # The errors refer to frames that refer to this object.
        self._errors.clear()


class AddressRace(BaseAddressRace[socket.socket]):
    """The same with sockets that do not block: an attempt has ended when its socket can be written."""

    def _begin(self, address: Address) -> socket.socket:
        return begin_connect(address, self._local)

    def _finish(self, attempt: socket.socket, address: Address) -> socket.socket:
        try:
            finish_connect(attempt, address)
        except OSError:
            attempt.close()
            raise
        return attempt

    def _give_up(self, attempt: socket.socket) -> None:
        attempt.close()

    @property
    def sockets(self) -> Mapping[socket.socket, Address]:
        """The sockets that connect now, with their addresses."""
        return self.attempts

"""The connection of all adapters: properties, logging, and the arguments of ``send``.

An adapter's connection adds the methods that wait (``recv``, ``send``, ``ping``, ``close``), reading and
writing.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from typing import Protocol as Interface

from wsproto_core.events import Close, Event, Failure, Pong, Request, Response, TimerOverdue
from wsproto_core.exceptions import ConcurrencyError
from wsproto_core.extensions.base import Extension
from wsproto_core.http import Headers
from wsproto_core.prepared import PreparedMessage
from wsproto_core.protocol import Protocol
from wsproto_core.statistics import Statistics
from wsproto_core.types import BytesLike, State, Subprotocol

from .logs import ConnectionLogger, FrameLog, default_logger, describe, describe_end, negotiated, shown
from .options import Logger
from .sockets import show_address

if TYPE_CHECKING:
    import uuid

__all__ = [
    "DATA_TYPES",
    "LAST_READ_LIMIT",
    "BaseConnection",
    "PongResult",
    "Sendable",
    "advance",
    "first_bytes",
    "fragments_of",
    "payload_size",
]


Sendable: TypeAlias = (
    str
    | BytesLike
    | PreparedMessage
    | Iterable[str]
    | Iterable[BytesLike]
    | AsyncIterable[str]
    | AsyncIterable[BytesLike]
)
"""The type of the argument of ``send``; on threads, asynchronous iterables are refused."""

LATE = 0.1
"""Seconds by which a timer must be overdue for a warning in the log."""

LAST_READ_LIMIT = 2**23
"""Bytes that are read when the stream is lost: a close frame may be among them.

It is more than the receive buffer of a system.
"""

LATE_READ_LIMIT = 2**18
"""Bytes that are read before the deadline of the closing handshake is met.

They may be control frames, which take the time of other connections.
"""

DATA_TYPES = (str, bytes, bytearray, memoryview, PreparedMessage)
"""The types that are sent as one message; a tuple, because a union would be built at each use."""


class PongResult(Interface):
    """The result of a ping: the pong's latency, or an error. :class:`asyncio.Future` is one."""

    def done(self) -> bool:
        """Whether it has been completed."""

    def set_result(self, latency: float, /) -> object:
        """There is a pong."""

    def set_exception(self, error: Exception, /) -> object:
        """There will be none."""


# It is never changed: most connections send no pings but those of the keepalive.
_NO_PINGS: dict[bytes, PongResult] = {}


class BaseConnection:
    """A connection's properties, which are read-only.

    Attributes:
        protocol: the state machine.
        local_address: the address of this end: ``(host, port)`` on IPv4, ``(host, port, flow, scope)`` on
            IPv6, a path on a Unix socket; ``None`` before there is a stream.
        remote_address: the address of the peer, in the same form.
    """

    # Subclasses have dictionaries as well, but those with more than about 20 names take much memory.
    __slots__ = (
        "_base_logger",
        "_failure_logged",
        "_pings",
        "_receiving",
        "_send_queue",
        "local_address",
        "protocol",
        "remote_address",
    )

    protocol: Protocol
    local_address: Any
    remote_address: Any

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        self.protocol = protocol
        self.local_address = self.remote_address = None
        self._send_queue = protocol.send_queue  # one memory access less for a broadcast
        self._base_logger = logger = logger or default_logger(protocol.side)
        self._failure_logged = False
        self._receiving = False
        self._pings = _NO_PINGS
        if logger.isEnabledFor(logging.DEBUG):
            self.log_frames()

    @abstractmethod
    def _clocks(self) -> tuple[Callable[[], float], Callable[[], float]]:
        """Return two functions: the clock of deadlines, and the time since the epoch; both in seconds."""

    @abstractmethod
    def _read_rest(self, limit: int = LAST_READ_LIMIT) -> None:
        """Read the bytes that have arrived and were not read yet, if there is a stream.

        Args:
            limit: about how many at most.
        """

    def _handle_timeout(self) -> None:
        """Meet the deadline, which has come, after what has arrived was read."""
        if self.protocol.state is State.CLOSING:
            # A program that is late may have received the close frame behind more than one read takes.
            self._read_rest(LATE_READ_LIMIT)
        self.protocol.handle_timeout()

    def _log_attributes(self) -> tuple[str, str, Any, str | None]:
        return str(self.id), self.protocol.side.value, self.remote_address, self.path

    def __repr__(self) -> str:
        address = "" if self.remote_address is None else f" {show_address(self.remote_address)}"
        path = "" if self.path is None else f" {shown(self.path)}"
        return f"<{type(self).__name__} {self.protocol.id} {self.state.name}{address}{path}>"

    @property
    def logger(self) -> ConnectionLogger:
        """The connection's logger; see :class:`.ConnectionLogger` for the attributes of its records."""
        # It is made when it is used: most connections log nothing while they are open.
        return ConnectionLogger(self._base_logger, self._log_attributes)

    @property
    def state(self) -> State:
        """CONNECTING, OPEN, CLOSING or CLOSED (RFC 6455 sections 4 and 7)."""
        return self.protocol.state

    @property
    def open(self) -> bool:
        """Whether the connection is open. It may close at any time: handle :exc:`ConnectionClosed` anyway."""
        return self.protocol.state is State.OPEN

    @property
    def closed(self) -> bool:
        """Whether the closing handshake is done and TCP is closed."""
        return self.protocol.state is State.CLOSED

    @property
    def close_code(self) -> int | None:
        """The received close code; 1005 for a close frame without a code, 1006 without a close frame.

        ``None`` before the close.
        """
        return self.protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason in the received close frame, or ""; ``None`` before the close."""
        return self.protocol.close_reason

    @property
    def request(self) -> Request | None:
        """The request of the opening handshake; ``None`` before there is a request."""
        return self.protocol.request

    @property
    def response(self) -> Response | None:
        """The response of the opening handshake; ``None`` before there is a response."""
        return self.protocol.response

    @property
    def path(self) -> str | None:
        """The path and query of the request; ``None`` before there is a request."""
        return None if self.protocol.request is None else self.protocol.request.path

    @property
    def request_headers(self) -> Headers | None:
        """The headers of the request; ``None`` before there is a request."""
        return None if self.protocol.request is None else self.protocol.request.headers

    @property
    def response_headers(self) -> Headers | None:
        """The headers of the response; ``None`` before there is a response."""
        return None if self.protocol.response is None else self.protocol.response.headers

    @property
    def subprotocol(self) -> Subprotocol | None:
        """The negotiated subprotocol, or ``None``."""
        return self.protocol.subprotocol

    @property
    def extensions(self) -> Sequence[Extension]:
        """The negotiated extensions, in order."""
        return self.protocol.extensions

    @property
    def latency(self) -> float:
        """The latency in seconds, from the last answered ping to its pong; 0.0 before the first pong."""
        return self.protocol.latency

    @property
    def id(self) -> uuid.UUID:
        """A random identifier of the connection, for logs."""
        return self.protocol.id

    @property
    def statistics(self) -> Statistics:
        """A snapshot of the connection's counters: messages, frames, bytes, times."""
        return self.protocol.statistics

    def log_frames(self, logger: Logger | None = None) -> None:
        """Log the opening handshake and every frame, from now on, at level DEBUG.

        A connection does so without this call if its logger is enabled for DEBUG when the connection
        object is made. Use it to log the frames of a few connections among many, for example in
        ``process_request``.

        Args:
            logger: the logger for the frames; ``None`` for this connection's :attr:`logger`.

        Raises:
            InvalidState: frames have been received or sent already.
        """
        own = ConnectionLogger(logger or self._base_logger, self._log_attributes)
        self.protocol.observe(FrameLog(own))

    # Conditions for which tasks and threads wait

    def _is_closed(self) -> bool:
        return self.protocol.state is State.CLOSED

    def _has_ended(self) -> bool:
        return not self.protocol.receiving

    def _may_write(self) -> bool:
        return self.protocol.writable or not self.protocol.receiving

    def _check_not_receiving(self) -> None:
        if self._receiving:
            raise ConcurrencyError(
                "another task is receiving from this connection already: only one at a time may do so; "
                "let one task receive, and hand the messages to the others by a queue"
            )

    def _handle_events(self) -> None:
        """Handle what has happened, except messages."""
        for event in self.protocol.events(messages=False):
            self._handle_event(event)

    def _handle_event(self, event: Event) -> None:
        """Log an event, and complete the pings that a pong answers."""
        if isinstance(event, Pong):
            for data, latency in event.answered:
                waiter = self._pings.pop(data, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(latency)
        self._log_event(event)

    def _expect_pong(self, payload: bytes, result: PongResult) -> None:
        """Complete the result of a ping when its pong comes."""
        self._pings = self._pings or {}
        self._pings[payload] = result

    def _fail_pings(self) -> None:
        """Fail the pings that are unanswered: the connection has ended."""
        while self._pings:
            _, waiter = self._pings.popitem()
            if not waiter.done():
                waiter.set_exception(self.protocol.close_exception())

    def _log_event(self, event: Event) -> None:
        """Log an event: openings, failures, overdue timers. Control characters from the peer are escaped."""
        match event:
            case Response():
                self._log_open()
            case Pong() if self._base_logger.isEnabledFor(logging.DEBUG):
                for _, latency in event.answered:
                    self.logger.debug("ping answered after %.6f seconds", latency)
            case Close() if self._base_logger.isEnabledFor(logging.DEBUG):
                self.logger.debug("connection closing: received %s", shown(event))
            case Failure() if self.protocol.handshake_error is None:
                self.logger.debug("connection failed: %s", describe(event.error))
            case Failure() if event.remote:
                self._failure_logged = True
                self.logger.info("opening handshake failed: %s", describe(event.error))
            case Failure():
                self._failure_logged = True
                self.logger.error("opening handshake failed", exc_info=event.error)
            case TimerOverdue() if event.seconds >= LATE:
                self.logger.warning(
                    "the %s deadline was handled %.1f seconds too late: something blocks this program",
                    event.timer.value,
                    event.seconds,
                )

    def _log_open(self) -> None:
        """Log that the opening handshake is done."""
        if not self._base_logger.isEnabledFor(logging.INFO):
            return
        self.logger.info("connection open")
        if self._base_logger.isEnabledFor(logging.DEBUG):
            self.logger.debug("%s", negotiated(self.extensions, self.subprotocol))

    def _log_closed(self) -> None:
        """Log that the stream is closed, after a connection or a refused opening handshake."""
        error = self.protocol.handshake_error
        if not self._base_logger.isEnabledFor(logging.INFO):
            return
        if error is None:
            self.logger.info("connection closed: %s", describe_end(self.protocol.close_exception()))
        elif not self._failure_logged:
            self.logger.info("opening handshake refused: %s", describe(error))


def fragments_of(message: object) -> Iterable[Any] | AsyncIterable[Any] | None:
    """Return the fragments of a message; ``None`` for a message that is sent as one frame.

    Raises:
        TypeError: the argument is not a message.
    """
    if isinstance(message, DATA_TYPES):
        return None
    if isinstance(message, Mapping):
        raise TypeError(
            f"message must not be a mapping, but it is a {type(message).__name__}: send json.dumps(message)"
        )
    if isinstance(message, Iterable | AsyncIterable):
        return message
    raise TypeError(
        f"message must be str, bytes-like, an iterable or an async iterable, not {type(message).__name__}"
    )


def payload_size(message: Any) -> int:
    """Return the size of a message or fragment in bytes, before compression; of ``str``, in characters."""
    if isinstance(message, PreparedMessage):
        message = message.message
    return message.nbytes if isinstance(message, memoryview) else len(message)


def advance(buffers: deque[memoryview], count: int) -> None:
    """Remove the first ``count`` bytes, which have been written, from the buffers."""
    while buffers and count >= len(buffers[0]):
        count -= len(buffers.popleft())
    if count:
        buffers[0] = buffers[0][count:]


def first_bytes(buffers: Iterable[bytes | memoryview], size: int) -> bytes:
    """Return the first bytes of the buffers.

    Args:
        buffers: the bytes to be written.
        size: the number of bytes to return, if there are as many.
    """
    parts: list[bytes | memoryview] = []
    for buffer in buffers:
        parts.append(buffer[:size])
        size -= len(parts[-1])
        if not size:
            break
    return b"".join(parts)

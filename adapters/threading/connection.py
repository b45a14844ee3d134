"""A connection with calls that block: reading and writing the socket.

A connection has no thread of its own, and threads pass bytes to each other only if that is unavoidable.

1. A thread that waits (for a message, for room to send, for a pong, for the end) reads the socket: it polls
   the socket, reads the available bytes, and passes them to the state machine. The module :mod:`.waiting`
   describes how several threads share this work.
2. While no thread waits, the background thread (:mod:`.background`) reads. It also meets the deadlines,
   writes what the socket did not take at once, and wakes threads when their conditions are met.
3. One lock guards the connection. The socket does not block, and no thread holds the lock while it waits or
   while it compresses and masks a long message, so that each thread holds the lock for a short time. Threads
   read and write with the lock: therefore any thread may do both at any time, and bytes stay in order.
4. The module :mod:`.locking` describes the calls that a signal interrupts, and the calls that a signal
   handler may make.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self, overload

from adapters.shared.blocks import keep_exception
from adapters.shared.connection import advance, first_bytes
from adapters.shared.decoding import PieceConverter, check_decode, convert_message
from adapters.shared.options import Logger
from adapters.shared.sockets import prepare_socket
from adapters.shared.tls import TLSInfo
from wsproto_core.broadcast import not_written
from wsproto_core.closing import serialize_close
from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConnectionClosedOK
from wsproto_core.protocol import Protocol
from wsproto_core.types import BytesLike, CloseCode, Data, State, StreamAction

from .locking import interrupts_a_change
from .sending import Sending
from .streams import Stream, TLSStream
from .waiting import READ_SIZE, PongWaiter, deadline
from .wakeups import MESSAGE

__all__ = ["Connection", "PongWaiter"]

# Bytes up to which several buffers are copied into one, which is cheaper than writing each.
JOINED_SIZE = 2**15

# Bytes written before other threads may use the connection.
WRITTEN_AT_ONCE = 2**20

# Bytes read when the stream is lost, among which a close frame may be: more than the receive buffer of a
# system.
LAST_READ_LIMIT = 2**23

NOTHING_RECEIVED = "nothing received in time"


class Connection(Sending):
    """A WebSocket connection. Any thread may call any method at any time, and so may a signal handler.

    It is an iterator over messages. The iteration ends when the connection is closed with code 1000, 1001
    or 1005, and raises :exc:`ConnectionClosedError` for other codes and for lost connections. It is a
    context manager, which closes the connection at the end of the block: with code 1000; with 1011 if an
    exception leaves the block; at once, with 1001, if the program ends (:exc:`KeyboardInterrupt`,
    :exc:`SystemExit`).

    A signal handler may raise an exception in the middle of a call, as Ctrl-C does. If the call waits, the
    connection does not change. If the call changes the connection, the connection is aborted.

    Attributes:
        transport: the socket, once there is one. It is non-blocking; do not read from it or write to it.
    """

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        self._error: OSError | None = None  # the error by which the stream was lost

    def _clocks(self) -> tuple[Callable[[], float], Callable[[], float]]:
        return time.monotonic, time.time

    @property
    def tls(self) -> TLSInfo | None:
        """The connection's TLS; ``None`` without, and before its handshake is done."""
        return None if self._tls is None else self._tls.info

    # Receiving

    @overload
    def recv(self, decode: Literal[True], *, timeout: float | None = None) -> str: ...

    @overload
    def recv(self, decode: Literal[False], *, timeout: float | None = None) -> bytes: ...

    @overload
    def recv(self, decode: bool | None = None, *, timeout: float | None = None) -> Data: ...

    def recv(self, decode: bool | None = None, *, timeout: float | None = None) -> Data:
        """Receive the next message.

        After the close, messages that were received before are returned first, then
        :exc:`ConnectionClosed` is raised.

        Args:
            decode: the type of the result: ``True`` for ``str``, ``False`` for ``bytes``; by default
                ``str`` for a text message and ``bytes`` for a binary message.
            timeout: seconds to wait for a message; ``None`` for no limit. 0 does not wait.

        Returns:
            The message: ``str`` for text, ``bytes`` for binary, unless ``decode`` is given.

        Raises:
            ConnectionClosed: the connection is closed, and all received messages have been returned.
            TimeoutError: there is no message yet; no message is lost.
            ConcurrencyError: another thread is receiving, or a message is being received in pieces.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        until = None if timeout is None else deadline(timeout)
        ask: Callable[[], Data | None] = self.protocol.next_message
        if decode is not None:
            check_decode(decode)
            ask = functools.partial(self._next_converted, decode)
        message: Data = self._until(ask, MESSAGE, until, NOTHING_RECEIVED)
        return message

    def _next_converted(self, decode: bool) -> Data | None:
        message = self.protocol.next_message()
        return None if message is None else convert_message(message, decode)

    @overload
    def recv_streaming(self, decode: Literal[True], *, timeout: float | None = None) -> Iterator[str]: ...

    @overload
    def recv_streaming(self, decode: Literal[False], *, timeout: float | None = None) -> Iterator[bytes]: ...

    @overload
    def recv_streaming(
        self, decode: bool | None = None, *, timeout: float | None = None
    ) -> Iterator[Data]: ...

    def recv_streaming(self, decode: bool | None = None, *, timeout: float | None = None) -> Iterator[Any]:
        """Receive the next message in pieces, as they arrive.

        The memory is limited by ``read_limit``, whatever the size of the message and of its frames. If
        the iteration ends before the last piece, the next call continues with the same message; until
        its last piece has been received, :meth:`recv` raises :exc:`ConcurrencyError`.

        Args:
            decode: the type of the result: ``True`` for ``str``, ``False`` for ``bytes``; by default
                ``str`` for a text message and ``bytes`` for a binary message.
            timeout: seconds to wait for each piece; ``None`` for no limit.

        Returns:
            An iterator over the pieces of one message. The iterator may raise:

        Raises:
            ConnectionClosed: the connection is closed, and the message is not complete.
            TimeoutError: there is no piece yet; nothing is lost, and the next call continues.
            ConcurrencyError: another thread is receiving.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        converter = PieceConverter(decode)
        final = False
        while not final:
            # A message that an interrupted call has taken comes first.
            taken: Data | Fragment = self._until(
                self.protocol.next_fragment, MESSAGE, deadline(timeout), NOTHING_RECEIVED
            )
            fragment = taken if isinstance(taken, Fragment) else Fragment(taken, True)
            final = fragment.final
            try:
                piece = converter.convert(fragment.data, final)
            except UnicodeDecodeError:
                raise
            except BaseException:
                # A piece is lost: no other piece may follow.
                self.abort()
                raise
            if piece:
                yield piece

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Data:
        try:
            message: Data = self._until(self.protocol.next_message, MESSAGE)
        except ConnectionClosedOK:
            raise StopIteration from None
        return message

    # Closing

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Perform the closing handshake, and wait until TCP is closed: at most twice ``close_timeout``.

        If the connection is closing already, the call only waits. If it is closed, the call returns at
        once. In other threads, waiting calls raise :exc:`ConnectionClosed`.

        Args:
            code: the close code: 1000 to 1003, 1007 to 1014 or 3000 to 4999; by default 1000.
            reason: the reason, at most 123 bytes in UTF-8; by default empty.

        Raises:
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        serialize_close(code, reason)
        deferred = not self._locked_or_deferred(self._command, self.protocol.close, code, reason)
        if not deferred and not interrupts_a_change():
            self.wait_closed()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the closing handshake is done and TCP is closed; this does not close the connection.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Raises:
            TimeoutError: it is not closed yet.
        """
        self._wait_for(lambda: self.closed, deadline(timeout), "the connection is not closed yet")

    def _abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""
        self._locked_or_deferred(self._abandon_now)

    def _abandon_now(self) -> None:
        if self.protocol.state is State.OPEN:
            self._command(self.protocol.close, CloseCode.GOING_AWAY)
        self._lose()

    def abort(self) -> None:
        """Close the stream at once, without a closing handshake."""
        self._locked_or_deferred(self._lose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            # The program ends, and must not wait.
            self._abandon()
            return
        with keep_exception(exc, self.logger):
            try:
                code = () if isinstance(exc, GeneratorExit | None) else (CloseCode.INTERNAL_ERROR,)
                self.close(*code)
            except BaseException:
                self._abandon()
                raise

    # Moving bytes. From here on, the caller has the lock.

    def _start(self, sock: socket.socket, tls: TLSStream | None) -> None:
        """Begin to use a stream."""
        if self.closed:
            sock.close()
            return
        sock.setblocking(False)
        prepare_socket(sock)
        with contextlib.suppress(OSError):  # the peer may have gone
            self.local_address = sock.getsockname()
            self.remote_address = sock.getpeername()
        self.transport, self._fd, self._tls, self._stream = sock, sock.fileno(), tls, tls or sock
        self._react()

    def _react(self) -> None:
        """React to a change of the state machine: events, bytes to write, deadlines, threads to wake."""
        protocol = self.protocol
        for event in protocol.events(messages=False):
            self._handle_event(event)
        if not protocol.receiving:
            self._fail_pings()
        self._flush()
        if protocol.stream_action is StreamAction.ABORT:
            self._lose()
        self._update()
        self._notify()

    def _flush(self) -> None:
        """Write the bytes of the send queue, as many as the socket takes without waiting."""
        stream = self._stream
        if stream is None:
            return
        protocol = self.protocol
        buffers = self._unwritten
        written = 0
        try:
            if self._tls is not None:
                self._tls.flush()
            # Bytes that were taken from the send queue before are written first.
            for more in (False, True):
                if more:
                    buffers.extend(map(memoryview, protocol.data_to_send()))
                while buffers:
                    first: BytesLike = buffers[0]
                    if len(buffers) > 1 and len(first) < JOINED_SIZE:
                        # One system call for several buffers, and one record of TLS.
                        first = first_bytes(buffers, JOINED_SIZE)
                    count = stream.send(first)
                    protocol.data_sent(count)
                    if count == len(buffers[0]):
                        buffers.popleft()
                    else:
                        advance(buffers, count)
                    written += count
                    if written >= WRITTEN_AT_ONCE and buffers:
                        # Other threads may use the connection. The socket has room: writing continues soon.
                        raise BlockingIOError
            self._blocked = False
            if not protocol.receiving:
                self._end_stream(stream)
        except ssl.SSLWantReadError:
            self._blocked = False  # TLS's handshake comes first
        except BlockingIOError:
            self._blocked = True
        except OSError as error:
            self._fail_stream(error)

    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write the frames of a broadcast on this connection, which has nothing else to write."""
        self._unwritten.extend(map(memoryview, buffers))
        not_written(self.protocol, sum(map(len, buffers)))
        self._flush()
        if self._unwritten:
            self._update()

    def _end_stream(self, stream: Stream) -> None:
        """End the stream as ``stream_action`` says, after everything has been written."""
        action = self.protocol.stream_action
        if action is StreamAction.SEND_EOF or (action is StreamAction.CLOSE and self._tls is not None):
            stream.shutdown(socket.SHUT_WR)
        if action is StreamAction.SEND_EOF:
            self.protocol.eof_sent()
        elif action is StreamAction.CLOSE:
            self._lose()

    def _fail_stream(self, error: OSError) -> None:
        if error.errno is None:
            # The error is not the system's: a signal handler has raised it, TimeoutError for example.
            raise error
        self._lose(error)

    def _lose(self, error: OSError | None = None) -> None:
        """Close the stream."""
        stream, self._stream = self._stream, None
        protocol = self.protocol
        if error is not None and stream is not None:
            self._error = error
            # Bytes that arrived before the error may contain the peer's close frame.
            rest = LAST_READ_LIMIT
            with contextlib.suppress(OSError):
                while rest > 0 and (data := stream.recv(READ_SIZE)):
                    protocol.receive_data(data)
                    rest -= len(data)
        if not self.closed:
            protocol.connection_lost(error)
            self._forget_stream()
            self._react()
            self._log_closed()

    def _tear_down(self) -> None:
        closed = self.closed
        self._stream = None
        self.protocol.give_up(InterruptedError(f"{self._interruption} came in the middle of a change"))
        self._fail_pings()
        self._forget_stream()
        self._wake_all()
        if not closed:
            self._log_closed()

    def _forget_stream(self) -> None:
        self._unwritten.clear()
        self._blocked = False
        self._cancel_deadline()
        self._close_socket()

    def _close_socket(self) -> None:
        """Close the socket; while threads poll it, the last of them closes it."""
        if self._fd < 0:
            return
        if any(waiter.asleep and waiter.polls for waiter in self._waiters):
            with contextlib.suppress(OSError):
                self.transport.shutdown(socket.SHUT_RDWR)
        elif self.transport.fileno() >= 0:
            self._unwatch()
            self.transport.close()

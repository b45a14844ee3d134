"""A connection with calls that block.

A connection has no thread of its own, and threads pass bytes to each other only if that is unavoidable.

1. A thread that receives reads the socket: it polls the socket, reads the available bytes, and passes them
   to the state machine. A thread that receives one message after the other stays the receiver in between,
   unless another thread comes: then it needs no lock to fall asleep again, and one call with the lock to read
   and to take a message. The two openings of a connection, by a client and by a server, receive as well.
   Other threads that wait sleep until they are woken: see :mod:`.transfer`.
2. While no thread receives, the background thread (:mod:`.background`) reads. It also meets the deadlines and
   writes what the socket did not take at once: see :mod:`.transfer`.
3. One lock guards the connection. The socket does not block, and no thread holds the lock while it waits or
   while it compresses and masks a long message, so that each thread holds the lock for a short time. Threads
   read and write with the lock: therefore any thread may do both at any time, and bytes stay in order.
4. The module :mod:`.locking` describes the calls that a signal interrupts, and the calls that a signal
   handler may make.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self, overload

from wsproto_core.closing import serialize_close
from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConcurrencyError, ConnectionClosedOK
from wsproto_core.types import CloseCode, Data, State

from ..shared.blocks import keep_exception
from ..shared.decoding import PieceConverter, check_decode, convert_message
from ..shared.tls import TLSInfo
from .background import background_reader
from .locking import interrupts_a_change
from .sending import PongWaiter, Sending
from .transfer import READ_SIZE
from .wakeups import POLLIN, Receiver, deadline, time_left

__all__ = ["Connection", "PongWaiter"]

# Bytes that the background thread reads at once.
BACKGROUND_READ_SIZE = 2**14

SECOND_RECEIVER = (
    "another thread is receiving from this connection already: only one at a time may do so; let one thread "
    "receive, and hand the messages to the others by a queue.Queue"
)


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
        convert: Callable[[Data], Data] | None = None
        if decode is not None:
            check_decode(decode)
            convert = functools.partial(convert_message, decode=decode)
        message: Data = self._receive(self.protocol.next_message, until, convert)
        return message

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
            piece, final = self._receive(
                self.protocol.next_fragment, deadline(timeout), converter.convert_fragment
            )
            if piece:
                yield piece

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Data:
        try:
            message: Data = self._receive(self.protocol.next_message)
        except ConnectionClosedOK:
            raise StopIteration from None
        return message

    # The thread that receives

    def _receive(
        self, take: Callable[[], Any], until: float | None = None, convert: Callable[[Any], Any] | None = None
    ) -> Any:
        """Call a function with the lock, and read, until its result is not ``None``; return the result.

        Args:
            take: the function; a call that returns ``None`` can be repeated.
            until: the time in seconds at which to give up; ``None`` for no limit.
            convert: is given the result, and returns another one; ``None`` to return the result itself.

        Raises:
            TimeoutError: there was no result in time.
            ConcurrencyError: another thread is receiving.
        """
        receiver = self._receiver
        me = threading.get_ident()
        sleeps = receiver is not None and receiver.returns and self._taken is None and receiver.thread == me
        if receiver is None or not sleeps:
            receiver = Receiver(background_reader().shared_wakeup())
        ready = 0
        expired = False
        try:
            if sleeps:
                # This thread falls asleep without the lock. It says so before it looks for changes and for
                # another receiver, and other threads do this in the other order.
                receiver.returns = False
                receiver.asleep = True
                sleeps = self._receiver is receiver and self.protocol.wants_read
                # Answers that wait for others are written first.
                sleeps = sleeps and not (self.protocol.has_input or self._watched or self._send_queue.queued)
                if sleeps:
                    self._idle_checks = 0
            while True:
                if not sleeps:
                    self._locked(self._step, receiver, take, ready)
                    if self._taken is not None:
                        break
                    if expired:
                        raise TimeoutError("nothing received in time")
                sleeps = False
                happened = receiver.poll(receiver.limit if until is None else time_left(until) * 1000)
                ready = POLLIN if happened == receiver.readable else receiver.look(happened)
                expired = until is not None and until <= time.monotonic()
            result = self._taken if convert is None else convert(self._taken)
        except UnicodeDecodeError:
            # The message is gone, as in other adapters.
            self._taken = None
            raise
        except BaseException:
            # If a signal interrupts the first call, the second call follows.
            try:
                self._locked(self._give_up, receiver)
            except BaseException:
                self._locked(self._give_up, receiver)
                raise
            raise
        self._taken = None
        return result

    def _wait_in_opening(self, done: Callable[[], object]) -> None:
        """Wait in the opening handshake, where no other thread receives, until a condition is true."""
        self._receive(lambda: done() or None)
        self._gathering_thread = 0

    def _step(self, receiver: Receiver | None, take: Callable[[], Any] | None, ready: int) -> None:
        """Read what has arrived; then call a function, and prepare to sleep if its result is ``None``.

        This is one function because each message goes through it.

        Args:
            receiver: the calling thread; ``None`` is the background thread, which only reads.
            take: the function: see :meth:`_receive`.
            ready: the events of the socket.
        """
        protocol = self.protocol
        if receiver is not None:
            receiver.asleep = False
            if receiver.woken:
                self._awake(receiver)
            if self._receiver is not receiver and not self._replace_receiver(receiver):
                raise ConcurrencyError(SECOND_RECEIVER)
        if ready and protocol.wants_read and (stream := self._stream) is not None:
            tls = self._tls
            try:
                data = stream.recv(BACKGROUND_READ_SIZE if receiver is None else READ_SIZE)
                if data:
                    protocol.receive_data(data)
                    self._gathers = True
                # The end of TLS may arrive with the data, and does not make the socket readable again.
                if not data or (tls is not None and tls.ended and not stream.recv(READ_SIZE)):
                    protocol.receive_eof()
            except BlockingIOError:
                ready = 0
            except OSError as error:
                self._lose(error)
            if (
                protocol.has_events
                # The head of a refusal brings a nearer deadline for its body.
                or protocol.state is State.CONNECTING
                # The bytes may have completed TLS's handshake, before which nothing can be written.
                or (tls is not None and tls.unsent)
                or (self._unwritten and not self._blocked)
            ):
                self._react()
            elif not self.protocol.wants_read:
                # A close frame that waits behind messages brings a deadline.
                self._update()
            if receiver is None and ready and self._receiver is not None:
                # It may wait for these bytes.
                self._receiver.wake()
        if receiver is None or take is None:
            return
        paused = not protocol.wants_read
        # An interruption may have come after a message was taken and before it was returned.
        result = take() if self._taken is None else self._taken
        if protocol.wants_read is paused or (paused and result is None) or protocol.has_events:
            # The receive queue may have room now, and bytes may have been decoded that had waited for it,
            # a ping among them.
            if protocol.has_events or not protocol.wants_read or self._waiters:
                self._react()
            else:
                # There is nothing to write or to tell, but deadlines run again.
                self._update()
            if result is None:
                result = take()
        self._gathering_thread = receiver.thread if protocol.has_input and self._gathers else 0
        if result is not None:
            self._taken = result
            # Until its last piece, no other call may receive.
            receiver.returns = receiver.fd >= 0 and not isinstance(result, Fragment)
            if not self._idle_check_scheduled:
                self._check_idle_later()
            return
        self._write_gathered()
        if not protocol.receiving:
            raise protocol.close_exception()
        receiver.watch(self._fd if protocol.wants_read else -1)
        receiver.asleep = True
        self._idle_checks = 0
        self._watch()

    def _awake(self, receiver: Receiver) -> None:
        receiver.answer()
        if self.closed:
            self._close_socket()

    def _give_up(self, receiver: Receiver) -> None:
        """Let a thread receive no longer that has been interrupted, or whose wait has failed."""
        self._awake(receiver)
        if self._receiver is not receiver:
            return
        # A signal may interrupt this: it is called again then.
        self._receiver = None
        if self._taken is None:
            self.protocol.stop_waiting()
            self._react()
        elif isinstance(self._taken, Fragment):
            # This piece is lost: no other piece may follow.
            self._taken = None
            self.abort()
        if not self._idle_check_scheduled:
            self._check_idle_later()

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
        self._locked_or_deferred(self._command, self.protocol.close, code, reason)
        if not interrupts_a_change():
            self.wait_closed()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the closing handshake is done and TCP is closed; this does not close the connection.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Raises:
            TimeoutError: it is not closed yet.
        """
        self._wait_until(self._is_closed, deadline(timeout), "the connection is not closed yet")

    def _abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""
        self._locked_or_deferred(self._abandon_now)

    def _abandon_now(self) -> None:
        if self.protocol.state is State.OPEN:
            self._command(self.protocol.close, CloseCode.GOING_AWAY)
        if self._fd >= 0:
            self._lose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            # The program ends, and must not wait.
            self._abandon()
            return
        with keep_exception(exc, self.logger):
            try:
                failed = not isinstance(exc, GeneratorExit | None)
                self.close(CloseCode.INTERNAL_ERROR if failed else CloseCode.NORMAL_CLOSURE)
            except BaseException:
                self._abandon()
                raise

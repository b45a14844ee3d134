"""One connection on blocking calls: moves bytes, waits, wakes.

There is no thread a connection, and nothing is handed over between threads, if that can be avoided.

1. Whoever waits (for a message, for room to send, for a pong, for the end) reads the socket: polls it
   in its own thread, takes what is there, and feeds it to the state machine. If several wait, one of
   them does it for all; that one is the *reader*. Who waits for a message is preferred, and when the
   reader leaves, another one takes over.
2. While nobody waits, the keeper (:mod:`.keeper`) stands in. It also meets the deadlines, and wakes
   those whom that concerns.
3. One lock guards everything. The socket does not block, and nobody holds the lock while waiting, so
   that it is held for moments only. Reading and writing happen under it: therefore anybody may do
   either at any time, and no bytes change places.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Self

from adapters.shared.sockets import prepare_socket
from adapters.shared.tls import TLSInfo
from wsproto_core.blocks import keep_exception
from wsproto_core.broadcast import not_written
from wsproto_core.connection import BaseConnection, Sendable, fragments_of
from wsproto_core.decoding import PieceConverter, convert_message
from wsproto_core.exceptions import ConnectionClosedOK
from wsproto_core.options import Logger
from wsproto_core.protocol import Protocol
from wsproto_core.typing import BytesLike, CloseCode, Data, State, StreamAction

from .keeper import Kept
from .streams import Stream, TLSStream
from .waiting import POLLIN, POLLOUT, RECEIVING, SENDING, SPARE, Waiter, spare

__all__ = ["Connection", "Ping"]

# Bytes read at once.
READ_SIZE = 2**16

# Bytes up to which several buffers are copied into one, which is cheaper than writing each.
JOINED = 2**16


class Ping(Future[float]):
    """A ping that was sent: what :meth:`Connection.ping` returns."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong, and return the latency in seconds.

        The pong proves that the peer has received everything that was sent before the ping.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            ConnectionClosed: the connection is closed, there will be no pong.
            TimeoutError: there is none yet.
        """
        with self._connection._lock:
            self._connection._wait_until(self.done, _time(timeout), "no pong yet")
        return self.result()


class Connection(Kept, BaseConnection):
    """A WebSocket connection. Any thread may call any method at any time.

    It is an iterator over messages, which ends when the connection is closed with code 1000, 1001 or 1005
    and raises :exc:`ConnectionClosedError` when it is closed otherwise. As a context manager it is
    closed on exit: with code 1000; with 1011 when an exception leaves the block; at once, with 1001,
    when the program ends (:exc:`KeyboardInterrupt`, :exc:`SystemExit`).

    Attributes:
        transport: the socket, once there is one. It is non-blocking; leave reading and writing to us.
    """

    transport: socket.socket

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        # Signal handlers may interrupt a thread that holds it, and call methods.
        self._lock = threading.RLock()
        self._stream: Stream | None = None
        self._tls: TLSStream | None = None
        self._fd = -1
        self._error: OSError | None = None  # by which the stream was lost
        self._unwritten: list[Any] = []  # buffers
        self._blocked = False  # whether the socket takes no more
        self._reading_paused = False
        self._over = False  # whether there will be no more messages
        self._fragmenting = False
        # Who waits, and who of them reads
        self._waiters: list[Waiter] = []
        self._reader: Waiter | None = None

    @property
    def tls(self) -> TLSInfo | None:
        """The connection's TLS; ``None`` without, and before its handshake is done."""
        return None if self._tls is None else self._tls.info

    # Receiving

    def recv(self, decode: bool | None = None, *, timeout: float | None = None) -> Data:
        """Receive the next message: ``str`` for text, ``bytes`` for binary.

        After the connection is closed, messages that were received before are still returned.

        Arguments:
            decode: ``True`` for ``str`` and ``False`` for ``bytes``, whatever the message is.
            timeout: seconds to wait for a message; ``None`` for any time. 0 takes one that is there.

        Raises:
            ConnectionClosed: the connection is closed and there are no more messages.
            TimeoutError: there is no message yet; nothing is lost.
            ConcurrencyError: another thread receives, or a message is being received in pieces.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        protocol = self.protocol
        until = None if timeout is None else time.monotonic() + timeout
        self._lock.acquire()  # for less than half of what "with" costs
        try:
            if self._receiving:
                self._check_not_receiving()
            while (message := protocol.next_message()) is None:
                self._wait_for_input(self._has_message, until)
            if self._reading_paused:
                self._react()
        finally:
            self._lock.release()
        return message if decode is None else convert_message(message, decode)

    def _has_message(self) -> bool:
        return self.protocol.undelivered > 0 or self._over

    def recv_streaming(self, decode: bool | None = None, *, timeout: float | None = None) -> Iterator[Data]:
        """Receive the next message in pieces, as they arrive.

        Memory is bounded by ``read_limit``, whatever the size of the message and of its frames. If
        the iteration is given up, the next call goes on with the same message; until its last piece
        has been received, :meth:`recv` raises :exc:`ConcurrencyError`.

        Arguments:
            decode: ``True`` for ``str`` and ``False`` for ``bytes``, whatever the message is.
            timeout: seconds to wait for each piece; ``None`` for any time.

        Raises:
            ConnectionClosed: the connection is closed and the message is not complete.
            TimeoutError: there is no piece yet; nothing is lost, and the next call goes on.
            ConcurrencyError: another thread receives.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        protocol = self.protocol
        converter = PieceConverter(decode)
        final = False
        while not final:
            until = _time(timeout)
            with self._lock:
                self._check_not_receiving()
                while (fragment := protocol.next_fragment()) is None:
                    self._wait_for_input(self._input_ready(), until)
                self._react()
            final = fragment.final
            piece = converter.convert(fragment.data, final)
            if piece:
                yield piece

    def _input_ready(self) -> Callable[[], bool]:
        seen = self.protocol.statistics.bytes_received
        return lambda: self._has_message() or self.protocol.statistics.bytes_received > seen

    def _wait_for_input(self, ready: Callable[[], bool], until: float | None) -> None:
        """What was asked for is not there: wait until it may be."""
        self._receiving = True
        try:
            if self._reading_paused:
                # The message under construction may have been what stopped the reading, and asking for
                # it may have let go on what extensions had no room for.
                self._react()
                if self.protocol.undelivered:
                    return
            if self._over:
                raise self.protocol.close_exception()
            if not self._wait(ready, until, RECEIVING):
                raise TimeoutError("nothing received in time")
        except BaseException:
            self.protocol.stop_waiting()
            self._react()
            raise
        finally:
            self._receiving = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Data:
        try:
            return self.recv()
        except ConnectionClosedOK:
            raise StopIteration from None

    # Sending

    def send(
        self,
        message: Sendable,
        text: bool | None = None,
        compress: bool | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a message: ``str`` as text, bytes-like as binary.

        An iterable of either is sent as one message, a fragment for each item and an empty last one;
        other messages wait until it is complete.

        Waits while more than ``write_limit`` bytes are on their way. If the time is over, the message
        has not been sent or will be sent whole; within an iterable, this or an error fails the
        connection with code 1011.

        Arguments:
            text: ``True`` or ``False`` forces text (bytes must be UTF-8) or binary.
            compress: ``True`` or ``False`` compresses this message or does not, if compression was
                negotiated.
            timeout: seconds to wait for room; ``None`` for any time.

        Raises:
            ConnectionClosed: the connection is closed, or closing.
            TimeoutError: there was no room in time: the peer does not read.
            TypeError: the message, or an item of it, has another type.
        """
        until = None if timeout is None else time.monotonic() + timeout
        kind = type(message)
        if kind is not str and kind is not bytes and (fragments := fragments_of(message)) is not None:
            if isinstance(fragments, AsyncIterable):
                raise TypeError("an asynchronous iterable cannot be sent by a blocking call")
            self._send_fragments(fragments, text, compress, until)
            return
        self._lock.acquire()
        try:
            if self._fragmenting or self._unwritten:
                self._wait_for_turn(until)
            self.protocol.send(message, text=text, compress=compress)  # type: ignore[arg-type]
            self._flush()
            if self._unwritten or self._watched:
                self._drain(until)
        finally:
            self._lock.release()

    def _send_fragments(
        self, fragments: Iterable[Any], text: bool | None, compress: bool | None, until: float | None
    ) -> None:
        protocol = self.protocol
        with self._lock:
            self._wait_for_turn(until)
            self._fragmenting = True
        begun = False
        try:
            for fragment in fragments:
                with self._lock:
                    protocol.send(fragment, text=text, fin=False, compress=compress)
                    begun = True
                    self._flush()
                    self._drain(until)
            if begun:
                with self._lock:
                    protocol.end_message()
                    begun = False
                    self._flush()
                    self._drain(until)
        except BaseException as error:
            with self._lock:
                if begun and protocol.state is State.OPEN:
                    # Nothing else could follow on this connection.
                    protocol.fail(error, CloseCode.INTERNAL_ERROR, "error in a fragmented message")
                    self._react()
            raise
        finally:
            with self._lock:
                self._fragmenting = False
                self._notify()

    def _wait_for_turn(self, until: float | None) -> None:
        """Wait until this thread may send."""
        late = "not sent: the peer does not read, or another message goes on"
        self._wait_until(self._may_send, until, late, SENDING)

    def _may_send(self) -> bool:
        protocol = self.protocol
        return protocol.state is not State.OPEN or (protocol.writable and not self._fragmenting)

    def _drain(self, until: float | None) -> None:
        """Leave to the keeper what did not fit, but wait if that is too much."""
        if not self.protocol.writable:
            self._wait_until(self._has_room, until, "not written yet: the peer does not read", SENDING)
            if not self.protocol.writable:
                raise self.protocol.close_exception()
        self._update()

    def _has_room(self) -> bool:
        return self.protocol.writable or self._over

    def ping(self, data: Data | BytesLike | None = None) -> Ping:
        """Send a ping.

        Returns an object whose :meth:`~Ping.wait` waits for the pong and returns the latency; it may
        be ignored.

        Arguments:
            data: payload, at most 125 bytes; ``str`` is encoded to UTF-8. By default, four random bytes.

        Raises:
            ConnectionClosed: the connection is closed, or closing.
            RuntimeError: too many pings wait for their pong (``max_pings``).
            ValueError: a ping with this payload waits for its pong, or it is too long.
        """
        with self._lock:
            payload = self.protocol.ping(data)
            ping = self._pings[payload] = Ping(self)
            self._flush()
            self._drain(None)
        return ping

    def pong(self, data: Data | BytesLike = b"") -> None:
        """Send a pong that nobody asked for, as a heartbeat in one direction.

        Arguments:
            data: payload, at most 125 bytes; ``str`` is encoded to UTF-8.

        Raises:
            ConnectionClosed: the connection is closed, or closing.
            ValueError: the payload is too long.
        """
        with self._lock:
            self.protocol.pong(data)
            self._flush()
            self._drain(None)

    # Closing

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Perform the closing handshake, and wait until TCP is closed: at most twice ``close_timeout``.

        Does nothing but wait if the connection is closing already. Whoever waits in another thread
        gets :exc:`ConnectionClosed`.

        Arguments:
            code: 1000 to 1003, 1007 to 1014 or 3000 to 4999.
            reason: at most 123 bytes in UTF-8.

        Raises:
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        with self._lock:
            self.protocol.close(code, reason)
            self._react()
        self.wait_closed()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the connection is closed, TCP included.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            TimeoutError: it is not closed yet.
        """
        with self._lock:
            self._wait_until(self._is_closed, _time(timeout), "the connection is not closed yet")

    def _is_closed(self) -> bool:
        return self.protocol.state is State.CLOSED

    def abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""
        with self._lock:
            if self.protocol.state is State.OPEN:
                self.protocol.close(CloseCode.GOING_AWAY)
                self._react()
            self._lose()

    def abort(self) -> None:
        """Close the stream at once, whatever is under way."""
        with self._lock:
            self._lose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            # The program ends: this is not the time to wait.
            self.abandon()
            return
        with keep_exception(exc, self.logger):
            try:
                code = () if isinstance(exc, GeneratorExit | None) else (CloseCode.INTERNAL_ERROR,)
                self.close(*code)
            except BaseException:
                self.abandon()
                raise

    # Waiting. From here on, whoever calls has the lock, once.

    def _wait_until(
        self, ready: Callable[[], object], until: float | None = None, late: str = "", kind: int = 0
    ) -> None:
        """Wait until something is so, or raise TimeoutError; see :meth:`_wait`."""
        if not ready() and not self._wait(ready, until, kind):
            raise TimeoutError(late)

    def _wait(self, ready: Callable[[], object], until: float | None, kind: int) -> bool:
        """Wait, without the lock, until something that is not so may have become so; return whether it may.

        Meanwhile this thread reads, if no other one does, and writes, if it is waiting for that.

        Arguments:
            ready: called with the lock, by any thread; must not change anything.
            until: the time at which to give up.
            kind: RECEIVING if this waits for a message, SENDING if for room, or 0.
        """
        waiter = spare.pop() if spare else Waiter()
        waiter.ready = ready
        waiter.kind = kind
        waiter.events = 0
        self._waiters.append(waiter)
        self._looks = 0
        if self._left:
            self._left = False
            self._watch()
        try:
            while True:
                reader = self._reader
                if reader is None or (kind == RECEIVING and reader.kind != RECEIVING):
                    self._reader = waiter
                    if reader is not None:
                        reader.wake()
                waiter.events = POLLIN if self._reader is waiter and not self._reading_paused else 0
                if kind == SENDING and self._blocked:
                    waiter.events |= POLLOUT
                    self._watch()
                waiter.waiting = True
                self._lock.release()
                try:
                    happened = waiter.poll(self._fd, until)
                finally:
                    self._lock.acquire()
                    waiter.waiting = False
                    if waiter.woken:
                        waiter.silence()
                        if self._stream is None:
                            self._close_socket()
                if happened:
                    self._receive()
                    if happened != POLLIN:
                        self._react()
                    elif kind == RECEIVING:
                        return True  # to ask for the message is not dearer than to look
                if ready():
                    return True
                if until is not None and until <= time.monotonic():
                    return False
        finally:
            self._waiters.remove(waiter)
            if self._reader is waiter:
                self._reader = None
            if self._waiters or kind == SENDING or not self._noted:
                self._pass_on()
            del waiter.ready
            if len(spare) < SPARE:
                spare.append(waiter)

    def _pass_on(self) -> None:
        """A thread has left: let another one read, and write what it did not; in the end, the keeper."""
        if self._waiters:
            if self._reader is None:
                min(self._waiters, key=lambda waiter: waiter.kind != RECEIVING).wake()
        else:
            self._note()
        self._watch()

    def _notify(self) -> None:
        """Wake those who have waited for what has happened."""
        for waiter in self._waiters:
            resumed = waiter is self._reader and not (waiter.events & POLLIN or self._reading_paused)
            if resumed or waiter.ready():
                waiter.wake()

    # Moving bytes

    def _start(self, sock: socket.socket, tls: TLSStream | None) -> None:
        """There is a stream: begin."""
        if self._is_closed():
            sock.close()
            return
        sock.setblocking(False)
        prepare_socket(sock)
        with contextlib.suppress(OSError):  # the peer may have gone
            self.local_address = sock.getsockname()
            self.remote_address = sock.getpeername()
        self.transport, self._fd, self._tls, self._stream = sock, sock.fileno(), tls, tls or sock
        self._react()

    def _receive(self) -> None:
        """Read what is there, and do what follows."""
        protocol = self.protocol
        stream = self._stream
        if stream is None or self._reading_paused:
            return
        try:
            data = stream.recv(READ_SIZE)
            if data and self._tls is not None and self._tls.ended:
                # The end has come with it, and does not make the socket readable again.
                protocol.receive_data(data)
                data = stream.recv(READ_SIZE)
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error)
        events = protocol.events(messages=False)
        for event in events:
            self._handle_event(event)
        # TLS's handshake, before which nothing could be written, may have ended by what was read.
        held = (self._tls is not None and self._tls.unsent) or (self._unwritten and not self._blocked)
        if events or held or not protocol.wants_read:
            self._react()
        elif len(self._waiters) > 1:
            self._notify()

    def _react(self) -> None:
        """Do what follows from any change of the state machine."""
        protocol = self.protocol
        for event in protocol.events(messages=False):
            self._handle_event(event)
        self._over = not protocol.receiving
        if self._over:
            self._fail_pings()
        self._flush()
        if protocol.stream_action is StreamAction.ABORT:
            self._lose()
        self._reading_paused = not protocol.wants_read
        self._update()
        self._notify()

    def _flush(self) -> None:
        """Write what there is to write, as far as it can be written without waiting."""
        stream = self._stream
        if stream is None:
            return
        try:
            if self._tls is not None:
                self._tls.flush()
            if self._unwritten:
                self._write(stream, self._unwritten)
            buffers: list[Any] = self.protocol.data_to_send()
            if buffers:
                if len(buffers) > 1 and sum(map(len, buffers)) <= JOINED:
                    buffers = [b"".join(buffers)]
                self._unwritten = buffers
                self._write(stream, buffers)
            self._blocked = False
            if self._over:
                self._end_stream(stream)
        except ssl.SSLWantReadError:
            self._blocked = False  # TLS's handshake comes first
        except BlockingIOError:
            self._blocked = True
        except OSError as error:
            self._lose(error)

    def _write(self, stream: Stream, buffers: list[Any]) -> None:
        while buffers:
            first = buffers[0]
            count = stream.send(first)
            self.protocol.data_sent(count)
            if count == len(first):
                del buffers[0]
            else:
                buffers[0] = memoryview(first)[count:]

    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write what a broadcast has for this connection, on which nothing else is under way."""
        self._unwritten = list(buffers)
        not_written(self.protocol, sum(map(len, buffers)))
        self._flush()
        if self._unwritten:
            self._update()

    def _end_stream(self, stream: Stream) -> None:
        """Everything is written: end the stream if it is time."""
        action = self.protocol.stream_action
        if action is StreamAction.SEND_EOF or (action is StreamAction.CLOSE and self._tls is not None):
            stream.shutdown(socket.SHUT_WR)
        if action is StreamAction.SEND_EOF:
            self.protocol.eof_sent()
        elif action is StreamAction.CLOSE:
            self._lose()

    def _lose(self, error: OSError | None = None) -> None:
        """Close the stream."""
        stream, self._stream = self._stream, None
        protocol = self.protocol
        if error is not None and stream is not None:
            self._error = error
            # What came before may say more: that the peer has closed the connection, for example.
            with contextlib.suppress(OSError):
                while protocol.wants_read and (data := stream.recv(READ_SIZE)):
                    protocol.receive_data(data)
        if not self._is_closed():
            protocol.connection_lost(error)
            self._unwritten, self._blocked = [], False
            self._react()
            self._let_go()
            self._close_socket()
            self.log_closed()

    def _close_socket(self) -> None:
        """Close the socket, but not while threads poll it: the last one does it."""
        if self._fd >= 0 and not any(waiter.waiting for waiter in self._waiters):
            self.transport.close()


def _time(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout

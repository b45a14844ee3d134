"""One connection on blocking calls: moves bytes, waits, wakes.

There is no thread a connection, and nothing is handed over between threads, if that can be avoided.

1. Whoever waits (for a message, for room to send, for a pong, for the end) reads the socket: it
   polls it in its own thread, takes what is there, and feeds it to the state machine. If several
   wait, one of them does it for all; that one is the *reader*. Who waits for a message is preferred,
   and when the reader leaves, another one takes over.
2. While nobody waits, the keeper (:mod:`.keeper`) stands in.
3. One lock guards everything. The socket does not block, and nobody holds the lock while waiting, so
   that it is held for moments only. Reading and writing happen under it: therefore anybody may do
   either at any time, and no bytes change places.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from wsproto_core.connection import BaseConnection, Sendable, fragments_of
from wsproto_core.events import Event, Pong
from wsproto_core.exceptions import ConcurrencyError, ConnectionClosedOK
from wsproto_core.messages import PieceConverter, convert_message
from wsproto_core.options import CommonOptions, Logger, unknown_option
from wsproto_core.protocol import Protocol
from wsproto_core.typing import BytesLike, CloseCode, Data, State, StreamAction

from .keeper import Entry, keeper
from .tls import Stream, TLSStream
from .waiting import KEPT_WAITERS, POLLIN, POLLOUT, RECEIVING, SENDING, Waiter, waiters

__all__ = ["Connection", "Ping", "check_options"]

READ_SIZE = 2**16
"""Bytes read at once."""

JOINED = 2**16
"""Bytes up to which buffers are copied into one; above, the operating system gathers them."""

GATHERED = 64
"""Buffers that are given to the operating system at once."""

WHOLE = (str, bytes)
"""Messages that are certainly no iterables of fragments."""


class Ping:
    """A ping that was sent: what :meth:`Connection.ping` returns.

    Attributes:
        latency: seconds from the ping to its pong; ``None`` before there is one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.latency: float | None = None

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong, and return the latency in seconds.

        The pong proves that the peer has received everything that was sent before the ping.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            ConnectionClosed: the connection is closed, there will be no pong.
            TimeoutError: there is none yet.
        """
        return self._connection._wait_for_pong(self, timeout)


class Connection(BaseConnection):
    """A WebSocket connection. All methods may be called by any thread.

    It is an iterator over messages, which ends when the connection is closed with code 1000 or 1001
    and raises :exc:`ConnectionClosedError` when it is closed otherwise. As a context manager it is
    closed on exit.
    """

    transport: socket.socket
    """The socket, once there is one. It is non-blocking, and not to be read or written."""
    local_address: Any = None
    """This end's address: ``(host, port)`` on IPv4; ``None`` before there is a stream."""
    remote_address: Any = None
    """The other end's address: ``(host, port)`` on IPv4; ``None`` before there is a stream."""

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        # Signal handlers may interrupt a thread that holds it, and call methods.
        self._lock = threading.RLock()
        self._stream: Stream | None = None
        self._tls: TLSStream | None = None
        self._fd = -1
        self._error: OSError | None = None
        self._unwritten: list[Any] = []  # buffers
        self._blocked = False  # whether the socket is full
        self._reading_paused = False
        self._over = False  # whether there will be no more messages
        self._fragmenting = False
        self._pings: dict[bytes, Ping] = {}
        # who waits
        self._waiters: list[Waiter] = []
        self._reader: Waiter | None = None
        # what the keeper does for us
        self._waits = 0
        self._waits_seen = -1
        self._noted = False
        self._left = False  # whether it is to read
        self._watched = 0
        self._deadline: Entry | None = None

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
        self._lock.acquire()  # a third of what "with" costs
        try:
            if self._waiters:
                self._check_not_receiving()
            until = None if timeout is None else time.monotonic() + timeout
            while (message := protocol.next_message()) is None:
                self._wait_for_input(self._has_message, until)
            if self._reading_paused:
                self._react()
        finally:
            self._lock.release()
        return message if decode is None else convert_message(message, decode)

    def _has_message(self) -> bool:
        return self.protocol.undelivered > 0 or self._over

    def _check_not_receiving(self) -> None:
        if any(waiter.kind == RECEIVING for waiter in self._waiters):
            raise ConcurrencyError("another thread is receiving from this connection already")

    def _wait_for_input(self, ready: Callable[[], bool], until: float | None) -> None:
        """What was asked for is not there: wait until it may be."""
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
            TimeoutError: there is no piece yet; nothing is lost.
            ConcurrencyError: another thread receives.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        protocol = self.protocol
        converter = PieceConverter(decode)
        final = False
        while not final:
            with self._lock:
                self._check_not_receiving()
                until = _time(timeout)
                while (fragment := protocol.next_fragment()) is None:
                    self._wait_for_input(self._input_ready(), until)
                self._react()
            final = fragment.final
            piece = converter.convert(fragment.data, final)
            if piece:
                yield piece

    def _input_ready(self) -> Callable[[], bool]:
        protocol = self.protocol
        seen = protocol.statistics.bytes_received
        return lambda: self._has_message() or protocol.statistics.bytes_received != seen

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
            TimeoutError: the peer does not read.
            TypeError: the message, or an item of it, has another type.
        """
        if type(message) not in WHOLE and (fragments := fragments_of(message)) is not None:
            if isinstance(fragments, AsyncIterable):
                raise TypeError("an asynchronous iterable cannot be sent by a blocking call: iterate over it")
            self._send_fragments(fragments, text, compress, timeout)
            return
        protocol = self.protocol
        self._lock.acquire()
        try:
            until = None if timeout is None else time.monotonic() + timeout
            if self._fragmenting or not protocol.writable:
                self._wait_for_turn(until)
            protocol.send(message, text=text, compress=compress)  # type: ignore[arg-type]
            self._flush()
            if self._unwritten or self._watched:
                self._drain(until)
        finally:
            self._lock.release()

    def _send_fragments(
        self, fragments: Iterable[Any], text: bool | None, compress: bool | None, timeout: float | None
    ) -> None:
        protocol = self.protocol
        until = _time(timeout)
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
            with self._lock:
                if begun:
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
        protocol = self.protocol

        def ready() -> bool:
            return protocol.state is not State.OPEN or (protocol.writable and not self._fragmenting)

        if not self._wait_until(ready, until, SENDING):
            raise TimeoutError("not sent in time: the peer does not read, or another message goes on")

    def _drain(self, until: float | None) -> None:
        """What did not fit is left to the keeper; but wait if it is too much."""
        protocol = self.protocol
        if not protocol.writable:
            if not self._wait_until(lambda: protocol.writable or not protocol.receiving, until, SENDING):
                raise TimeoutError("the message is not written yet: the peer does not read")
            if not protocol.writable:
                raise protocol.close_exception()
        self._update()

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
            if self._unwritten:
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
            if self._unwritten:
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
            ValueError: the code or the reason is not allowed.
        """
        with self._lock:
            self.protocol.close(code, reason)
            self._react()
            self._wait_until(self._is_closed, None)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the connection is closed, TCP included.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            TimeoutError: it is not closed yet.
        """
        with self._lock:
            if not self._wait_until(self._is_closed, _time(timeout)):
                raise TimeoutError(f"the connection is not closed within {timeout} seconds")

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
            self._abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: Any) -> None:
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt | SystemExit):
            # Whoever wants the program to end will not wait for the peer.
            self.abandon()
            return
        try:
            self.close()
        except BaseException:
            self.abandon()
            raise

    # Waiting. From here on, whoever calls has the lock.

    def _wait_until(self, ready: Callable[[], object], until: float | None, kind: int = 0) -> bool:
        """Wait, unless it is so already, until something is so; see :meth:`_wait`."""
        return bool(ready()) or self._wait(ready, until, kind)

    def _wait(self, ready: Callable[[], object], until: float | None, kind: int) -> bool:
        """Wait, without the lock, until something that is not so becomes so; return whether it is.

        Meanwhile this thread reads, if no other one does, and writes, if it is waiting for that.

        Arguments:
            ready: called with the lock, by any thread; must not change anything.
            until: the time at which to give up.
            kind: RECEIVING if this waits for messages, SENDING if for room, or 0.
        """
        waiter = waiters.pop() if waiters else Waiter()
        waiter.ready = ready
        waiter.kind = kind
        waiter.events = 0
        self._waiters.append(waiter)
        self._waits += 1
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
                    reader = waiter
                waiter.events = POLLIN if reader is waiter and not self._reading_paused else 0
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
                if ready():
                    return True
                if until is not None and until <= time.monotonic():
                    return False
        finally:
            self._waiters.remove(waiter)
            if self._reader is waiter:
                self._reader = None
            if self._waiters or not self._noted:
                self._pass_on()
            del waiter.ready
            if len(waiters) < KEPT_WAITERS:
                waiters.append(waiter)

    def _pass_on(self) -> None:
        """A thread leaves: if it was the reader, another one takes over, in the end the keeper."""
        waiters = self._waiters
        if not waiters:
            if not self._is_closed():
                self._noted = True
                keeper().note(self)
        elif self._reader is None:
            min(waiters, key=lambda waiter: waiter.kind != RECEIVING).wake()

    def _notify(self) -> None:
        """Wake those who have waited for what has happened."""
        wants_read = self.protocol.wants_read
        for waiter in self._waiters:
            if waiter.ready() or (waiter is self._reader and wants_read and not waiter.events & POLLIN):
                waiter.wake()

    def _wait_for_pong(self, ping: Ping, timeout: float | None) -> float:
        with self._lock:
            protocol = self.protocol
            if not self._wait_until(
                lambda: ping.latency is not None or not protocol.receiving, _time(timeout)
            ):
                raise TimeoutError(f"no pong within {timeout} seconds")
            if ping.latency is None:
                raise protocol.close_exception()
            return ping.latency

    # Moving bytes

    def _start(self, sock: socket.socket, tls: TLSStream | None) -> None:
        """There is a stream: begin."""
        with self._lock:
            if self._is_closed():
                sock.close()
                return
            sock.setblocking(False)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.transport = sock
            with contextlib.suppress(OSError):  # the peer may have gone
                self.local_address = sock.getsockname()
                self.remote_address = sock.getpeername()
            self._fd = sock.fileno()
            self._tls = tls
            self._stream = tls or sock
            self._react()

    def _receive(self) -> None:
        """Read what is there, and do what follows."""
        protocol = self.protocol
        stream = self._stream
        if stream is None or self._reading_paused:
            return
        try:
            data = stream.recv(READ_SIZE)
            if data:
                protocol.receive_data(data)
            if self._tls is not None and self._tls.error is not None:
                raise self._tls.error
            if not data or (self._tls is not None and self._tls.ended):
                protocol.receive_eof()
        except BlockingIOError:
            if self._tls is None:
                return
        except OSError as error:
            self._lose(error)
        events = protocol.events(messages=False)
        for event in events:
            self._handle_event(event)
        if events or not protocol.wants_read or (self._tls is not None and self._tls.unsent):
            self._react()
        elif len(self._waiters) > 1:
            self._notify()

    def _react(self) -> None:
        """Do what follows from any change of the state machine."""
        protocol = self.protocol
        for event in protocol.events(messages=False):
            self._handle_event(event)
        self._flush()
        if protocol.state is State.CLOSING:
            self._end_stream()
        self._reading_paused = not protocol.wants_read
        self._over = not protocol.receiving
        self._update()
        self._notify()

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, Pong):
            for data, latency in event.answered:
                ping = self._pings.pop(data, None)
                if ping is not None:
                    ping.latency = latency
        else:
            self.log_event(event)

    def _flush(self) -> None:
        """Write what there is to write, as far as it can be written without waiting."""
        protocol = self.protocol
        stream: Any = self._stream
        if stream is None:
            return
        buffers = self._unwritten
        more = bool(buffers)
        try:
            if self._tls is not None:
                self._tls.flush()
            if not buffers and (fresh := protocol.data_to_send()):
                buffers = self._unwritten = self._join(fresh) if len(fresh) > 1 else fresh
            while buffers:
                count = stream.send(buffers[0]) if len(buffers) == 1 else stream.sendmsg(buffers[:GATHERED])
                protocol.data_sent(count)
                while count >= (size := len(buffers[0])):
                    del buffers[0]
                    count -= size
                    if not buffers:
                        break
                else:
                    buffers[0] = memoryview(buffers[0])[count:]
            self._blocked = False
        except ssl.SSLWantReadError:
            # TLS's handshake comes first.
            self._blocked = False
        except BlockingIOError:
            self._blocked = True
        except OSError as error:
            self._lose(error)
        if more and not buffers:
            self._flush()

    def _join(self, buffers: list[Any]) -> list[Any]:
        if self._tls is not None or sum(map(len, buffers)) <= JOINED:
            return [b"".join(buffers)]
        return buffers

    def _end_stream(self) -> None:
        action = self.protocol.stream_action
        if action is StreamAction.ABORT:
            self._abort()
        elif action is StreamAction.KEEP or self._unwritten or self._blocked or self._stream is None:
            return
        elif action is StreamAction.SEND_EOF:
            try:
                self._stream.shutdown(socket.SHUT_WR)
            except BlockingIOError:
                self._blocked = True
            except OSError as error:
                # The peer has reset the stream.
                self._lose(error)
            else:
                self.protocol.eof_sent()
        else:
            if self._tls is not None:
                with contextlib.suppress(OSError):
                    self._tls.shutdown(socket.SHUT_WR)
            self._lose()

    def _abort(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                # The operating system forgets what is not sent.
                self.transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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
        if self._is_closed():
            return
        protocol.connection_lost(error)
        self._unwritten = []
        self._blocked = False
        if self._deadline is not None:
            self._deadline.connection = None
        self._react()
        self._close_socket()
        self.log_closed()

    def _close_socket(self) -> None:
        """Close the socket, but not while threads poll it: the last one does it."""
        if self._fd >= 0 and not any(waiter.waiting for waiter in self._waiters):
            self.transport.close()

    # What the keeper does

    def _update(self) -> None:
        """Let the keeper know what it has to do."""
        deadline = self.protocol.deadline()
        entry = self._deadline
        if deadline is not None and (entry is None or deadline < entry.when):
            if entry is not None:
                entry.connection = None
            self._deadline = keeper().call_at(deadline, self)
        self._watch()

    def _watch(self) -> None:
        events = 0
        if self._left and not self._reading_paused:
            events = selectors.EVENT_READ
        if self._blocked and not any(waiter.events & POLLOUT for waiter in self._waiters):
            events |= selectors.EVENT_WRITE
        if events != self._watched:
            self._watched = events
            keeper().watch(self.transport, events, self)

    def look(self) -> bool:
        """The keeper looks at a connection that a thread has left; return whether to look once more."""
        with self._lock:
            if self._waits != self._waits_seen:
                self._waits_seen = self._waits
                return not self._is_closed()
            self._noted = False
            if not self._waiters:
                self._left = True
                self._watch()
            return False

    def socket_ready(self, events: int) -> None:
        """The keeper says that the socket can be read, or written."""
        with self._lock:
            if events & selectors.EVENT_READ and self._left:
                self._receive()
            if events & selectors.EVENT_WRITE:
                self._react()

    def deadline_reached(self) -> None:
        """The keeper says that the time has come to look at the deadline."""
        with self._lock:
            self._deadline = None
            deadline = self.protocol.deadline()
            if deadline is not None and deadline <= time.monotonic():
                # The peer is not to blame for what is there to be read.
                self._receive()
                self.protocol.handle_timeout()
                self._react()
            else:
                self._update()


def check_options(declared: type[CommonOptions], given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that nobody knows.

    Raises:
        TypeError: there is one.
    """
    for name in given:
        if name not in declared.__annotations__:
            raise TypeError(unknown_option(name, declared.__annotations__))


def _time(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout

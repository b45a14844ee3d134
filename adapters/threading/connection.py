"""One connection on blocking calls: moves bytes.

There is no thread a connection, and nothing is handed over between threads, if that can be avoided.

1. Whoever waits (for a message, for room to send, for a pong, for the end) reads the socket: polls it
   in its own thread, takes what is there, and feeds it to the state machine. How these share the
   reading among themselves is said in :mod:`.waiting`.
2. While nobody waits, the keeper (:mod:`.keeper`) stands in. It also meets the deadlines, and wakes
   those whom that concerns.
3. One lock guards everything. The socket does not block, and nobody holds the lock while waiting or
   while compressing and masking what is long, so that it is held for moments only. Reading and writing
   happen under it: therefore anybody may do either at any time, and no bytes change places.
4. What a signal interrupts and what its handler may do is said in :mod:`.waiting`, too.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import Any, Self

from adapters.shared.sockets import prepare_socket
from adapters.shared.tls import TLSInfo
from wsproto_core.blocks import keep_exception
from wsproto_core.broadcast import not_written
from wsproto_core.connection import BaseConnection, Sendable, fragments_of
from wsproto_core.decoding import PieceConverter, convert_message
from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConcurrencyError, ConnectionClosedOK
from wsproto_core.frames import serialize_close
from wsproto_core.logs import describe
from wsproto_core.options import Logger
from wsproto_core.prepared import PreparedMessage
from wsproto_core.protocol import Protocol
from wsproto_core.threads import encode, give_up, send_encoded
from wsproto_core.typing import BytesLike, CloseCode, Data, State, StreamAction

from .keeper import Kept
from .streams import Stream, TLSStream
from .waiting import MESSAGE, OTHER, REFUSALS, ROOM, TURN, Interrupted, Waiter, interrupts_a_change

__all__ = ["Connection", "Ping"]

# Bytes read at once.
READ_SIZE = 2**16

# Bytes up to which several buffers are copied into one, which is cheaper than writing each.
JOINED = 2**16

# Bytes written before others have their turn with the connection.
WRITTEN_AT_ONCE = 2**20

# Bytes from which on a message is compressed and masked without the lock.
LONG = 2**16

NO_TURN = "not sent: the peer does not read, or another message goes on"

# Bytes read when the stream is lost, where the peer may have said why: more than a system holds.
REST = 2**23


class Ping:
    """A ping that was sent: what :meth:`Connection.ping` returns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._latency: float | None = None
        self._error: Exception | None = None
        self._waiters: set[Waiter] = set()

    def done(self) -> bool:
        """Whether there is a pong, or will be none."""
        return self._latency is not None or self._error is not None

    def set_result(self, latency: float) -> None:
        """There is a pong: for the connection."""
        self._latency = latency
        self._wake()

    def set_exception(self, error: Exception) -> None:
        """There will be none: for the connection."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            waiter.wake()

    def _is_done(self, waiter: Waiter) -> bool | None:
        if self.done():
            self._waiters.discard(waiter)
            return True
        self._waiters = {each for each in self._waiters if not each.gone} | {waiter}
        return None

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong, and return the latency in seconds.

        The pong proves that the peer has received everything that was sent before the ping.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            ConnectionClosed: the connection is closed, there will be no pong.
            TimeoutError: there is none yet.
        """
        if not self.done():
            self._connection._until(self._is_done, OTHER, _time(timeout), "no pong yet")
        if self._error is not None:
            raise self._error
        assert self._latency is not None
        return self._latency


class Connection(Kept, BaseConnection):
    """A WebSocket connection. Any thread may call any method at any time, and so may a signal handler.

    It is an iterator over messages, which ends when the connection is closed with code 1000, 1001 or 1005
    and raises :exc:`ConnectionClosedError` when it is closed otherwise. As a context manager it is
    closed on exit: with code 1000; with 1011 when an exception leaves the block; at once, with 1001,
    when the program ends (:exc:`KeyboardInterrupt`, :exc:`SystemExit`).

    An exception that a signal handler raises in the middle of a call, as Ctrl-C does, leaves no trace
    if that call waits. In the middle of a change it aborts the connection.

    Attributes:
        transport: the socket, once there is one. It is non-blocking; leave reading and writing to us.
    """

    transport: socket.socket

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        self._stream: Stream | None = None
        self._tls: TLSStream | None = None
        self._error: OSError | None = None  # by which the stream was lost
        self._unwritten: deque[Any] = deque()  # buffers
        self._sent_later: deque[tuple[Any, ...]] = deque()  # what signal handlers have sent within messages
        self._returned: deque[Data] = deque()  # what was taken and could not be returned to the caller

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
        hand: list[Data] = []
        try:
            if self.protocol.undelivered or self._returned or self._over:
                self._locked(self._take, hand)
            if not hand:
                take = functools.partial(self._take, hand)
                self._until(take, MESSAGE, _time(timeout), "nothing received in time")
            return hand[0] if decode is None else convert_message(hand[0], decode)
        except UnicodeDecodeError:
            raise
        except BaseException:
            if hand:
                # An interruption has come between taking the message and returning it.
                self._returned.append(hand[0])
            raise

    def _take(self, hand: list[Data], waiter: Waiter | None = None) -> bool | None:
        self._check_receiver(waiter)
        message = self._returned.popleft() if self._returned else self.protocol.next_message()
        if self._reading_paused:
            # There may be room now. Asking may have let go on what extensions had no room for.
            self._react()
            if message is None:
                message = self.protocol.next_message()
        if message is not None:
            hand.append(message)
            return True
        if self._over:
            raise self.protocol.close_exception()
        return None

    def _check_receiver(self, waiter: Waiter | None) -> None:
        if self._receiver is not None and self._receiver is not waiter:
            raise ConcurrencyError("another thread is receiving from this connection already")

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
        converter = PieceConverter(decode)
        final = False
        while not final:
            hand: list[Fragment] = []
            take = functools.partial(self._take_fragment, hand)
            try:
                self._until(take, MESSAGE, _time(timeout), "nothing received in time")
                final = hand[0].final
                piece = converter.convert(hand[0].data, final)
            except UnicodeDecodeError:
                raise
            except BaseException:
                if hand:
                    # An interruption has come, and a piece is lost: nothing may follow it.
                    self.abort()
                raise
            if piece:
                yield piece

    def _take_fragment(self, hand: list[Fragment], waiter: Waiter) -> bool | None:
        self._check_receiver(waiter)
        if self._returned:
            hand.append(Fragment(self._returned.popleft(), True))
            return True
        fragment = self.protocol.next_fragment()
        if fragment is not None or self._reading_paused:
            self._react()
            fragment = fragment or self.protocol.next_fragment()
        if fragment is not None:
            hand.append(fragment)
            return True
        if self._over:
            raise self.protocol.close_exception()
        return None

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
        until = _time(timeout)
        kind = type(message)
        if kind is not str and kind is not bytes and (fragments := fragments_of(message)) is not None:
            if isinstance(fragments, AsyncIterable):
                raise TypeError("an asynchronous iterable cannot be sent by a blocking call")
            self._send_fragments(fragments, text, compress, until)
            return
        try:
            if _size(message) >= LONG:
                self._send_parts([message], True, text, compress, until)
            elif self._turns or not self._locked(self._send_now, message, text, compress):
                send = functools.partial(self._send_now, message, text, compress)
                self._until(send, TURN, until, NO_TURN)
        except Interrupted:
            self._send_later(message, text, compress)
        self._drain(until)

    def _send_fragments(
        self, fragments: Iterable[Any], text: bool | None, compress: bool | None, until: float | None
    ) -> None:
        try:
            self._send_parts(fragments, False, text, compress, until)
        except Interrupted:
            self._send_later(list(fragments), text, compress)

    def _send_now(
        self, message: Any, text: bool | None, compress: bool | None, waiter: Waiter | None = None
    ) -> bool | None:
        if not self._may_send():
            if self._sending == threading.get_ident():
                raise Interrupted
            return None
        self.protocol.send(message, text=text, compress=compress)
        self._flush()
        if self._unwritten or self._watched:
            self._update()
        return True

    def _send_later(self, *arguments: Any) -> None:
        """Send what a signal handler sends when what it has interrupted is done."""
        self._sent_later.append(arguments)
        self._locked_or_deferred(self._send_deferred)

    def _send_deferred(self) -> None:
        while self._sent_later and not self._sending:
            message, text, compress = self._sent_later.popleft()
            try:
                if isinstance(message, list):
                    for fragment in message:
                        self.protocol.send(fragment, text=text, fin=False, compress=compress)
                    self.protocol.end_message()
                else:
                    self.protocol.send(message, text=text, compress=compress)
            except REFUSALS as error:
                self.logger.debug("not sent for a signal handler: %s", describe(error))
        self._flush()
        self._update()

    def _send_parts(
        self, parts: Iterable[Any], fin: bool, text: bool | None, compress: bool | None, until: float | None
    ) -> None:
        """Send a message in parts, or a long one, while others wait for their turn.

        Arguments:
            parts: the fragments, or the one message.
            fin: whether it is the latter.
        """
        me = threading.get_ident()
        if self._sending == me:
            raise Interrupted
        writer = self._outbox.writer
        try:
            self._until(self._take_turn, TURN, until, NO_TURN)
            for part in parts:
                self._send_part(part, fin, text, compress)
                self._drain(until)
            if writer.building:
                self._locked(self._end_message)
                self._drain(until)
        except BaseException as error:
            if self._sending == me and writer.building:
                # Nothing else could follow on this connection.
                self._locked(self._fail, error)
            raise
        finally:
            if self._sending == me:
                # No signal is handled before this, and if one is afterwards, the other call follows.
                self._sending = 0
                try:
                    self._locked(self._turn_over)
                except BaseException:
                    self._locked(self._turn_over)
                    raise

    def _take_turn(self, waiter: Waiter) -> bool | None:
        if not self._may_send():
            return None
        if self.protocol.state is not State.OPEN:
            raise self.protocol.close_exception()
        self._sending = waiter.thread
        return True

    def _turn_over(self) -> None:
        self._send_deferred()
        self._notify()

    def _send_part(self, message: Any, fin: bool, text: bool | None, compress: bool | None) -> None:
        if _size(message) < LONG:
            self._locked(self._write_message, message, fin, text, compress)
            return
        try:
            buffers = encode(self.protocol, message, text=text, fin=fin, compress=compress)
            self._locked(self._write_encoded, buffers, fin)
        except REFUSALS:
            raise
        except BaseException:
            # What is encoded next might refer to this, which the peer does not get.
            self.abort()
            raise

    def _write_message(self, message: Any, fin: bool, text: bool | None, compress: bool | None) -> None:
        self.protocol.send(message, text=text, fin=fin, compress=compress)
        self._flush()
        self._update()

    def _write_encoded(self, buffers: list[bytes], fin: bool) -> None:
        send_encoded(self.protocol, buffers, fin=fin)
        self._flush()
        self._update()

    def _end_message(self) -> None:
        self.protocol.end_message()
        self._flush()
        self._update()

    def _fail(self, error: BaseException) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.fail(error, CloseCode.INTERNAL_ERROR, "error in a fragmented message")
            self._react()

    def _drain(self, until: float | None) -> None:
        """Leave to others what did not fit into the socket, but wait if that is too much."""
        if not self.protocol.writable:
            # A signal handler must not wait for what it has interrupted.
            with contextlib.suppress(Interrupted):
                self._until(self._has_room, ROOM, until, "not written yet: the peer does not read")

    def _has_room(self, waiter: Waiter) -> bool | None:
        if self._has_had_room(waiter):
            return True
        if self._over:
            raise self.protocol.close_exception()
        return None

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
        ping = Ping(self)
        try:
            self._locked(self._send_ping, ping, data)
        except Interrupted:
            self._deferred.append((self._send_ping_later, (ping, data)))
        self._drain(None)
        return ping

    def _send_ping(self, ping: Ping, data: Data | BytesLike | None) -> None:
        self._pings[self.protocol.ping(data)] = ping
        self._flush()
        self._update()

    def _send_ping_later(self, ping: Ping, data: Data | BytesLike | None) -> None:
        try:
            self._send_ping(ping, data)
        except REFUSALS as error:
            ping.set_exception(error)

    def pong(self, data: Data | BytesLike = b"") -> None:
        """Send a pong that nobody asked for, as a heartbeat in one direction.

        Arguments:
            data: payload, at most 125 bytes; ``str`` is encoded to UTF-8.

        Raises:
            ConnectionClosed: the connection is closed, or closing.
            ValueError: the payload is too long.
        """
        self._locked_or_deferred(self._send_pong, data)
        self._drain(None)

    def _send_pong(self, data: Data | BytesLike) -> None:
        self.protocol.pong(data)
        self._flush()
        self._update()

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
        serialize_close(code, reason)
        if self._locked_or_deferred(self._begin_closing, code, reason) and not interrupts_a_change():
            self.wait_closed()

    def _begin_closing(self, code: int, reason: str) -> None:
        self.protocol.close(code, reason)
        self._react()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the connection is closed, TCP included.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            TimeoutError: it is not closed yet.
        """
        self._wait_for(self._is_closed, _time(timeout), "the connection is not closed yet")

    def _is_closed(self) -> bool:
        return self.protocol.state is State.CLOSED

    def abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""
        self._locked_or_deferred(self._abandon)

    def _abandon(self) -> None:
        if self.protocol.state is State.OPEN:
            self._begin_closing(CloseCode.GOING_AWAY, "")
        self._lose()

    def abort(self) -> None:
        """Close the stream at once, whatever is under way."""
        self._locked_or_deferred(self._lose)

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

    # Moving bytes. From here on, whoever calls has the lock.

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

    def _receive(self, waiter: Waiter | None = None, size: int = READ_SIZE) -> None:
        """Read what is there, and do what follows.

        Arguments:
            waiter: what the thread that does this waits by, if it waits.
            size: the greatest number of bytes.
        """
        protocol = self.protocol
        stream = self._stream
        if stream is None or self._reading_paused:
            return
        try:
            data = stream.recv(size)
            if data and self._tls is not None and self._tls.ended:
                # The end has come with it, and does not make the socket readable again.
                protocol.receive_data(data)
                data = stream.recv(size)
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
        # Who reads has not waited for all that has come, and others may have.
        for other in (self._receiver, self._reader):
            if other is not None and other is not waiter:
                other.wake()

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
                self._write(stream)
            self._unwritten.extend(self.protocol.data_to_send())
            self._write(stream)
            self._blocked = False
            if self._over:
                self._end_stream(stream)
        except ssl.SSLWantReadError:
            self._blocked = False  # TLS's handshake comes first
        except BlockingIOError:
            self._blocked = True
        except OSError as error:
            self._lose(error)

    def _write(self, stream: Stream) -> None:
        buffers = self._unwritten
        written = 0
        while buffers:
            if len(buffers) > 1 and len(buffers[0]) < JOINED // 2:
                self._join_buffers()
            first = buffers[0]
            count = stream.send(first)
            self.protocol.data_sent(count)
            if count == len(first):
                buffers.popleft()
            else:
                buffers[0] = memoryview(first)[count:]
            written += count
            if written >= WRITTEN_AT_ONCE and buffers:
                # Others have their turn. The socket has room, and so this goes on at once.
                raise BlockingIOError

    def _join_buffers(self) -> None:
        """Join small buffers at the beginning into one: for one system call, and one record of TLS."""
        buffers = self._unwritten
        pieces = [buffers.popleft()]
        size = len(pieces[0])
        while buffers and size + len(buffers[0]) <= JOINED:
            size += len(buffers[0])
            pieces.append(buffers.popleft())
        buffers.appendleft(b"".join(pieces) if len(pieces) > 1 else pieces[0])

    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write what a broadcast has for this connection, on which nothing else is under way."""
        self._unwritten.extend(buffers)
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
            rest = REST
            with contextlib.suppress(OSError):
                while rest > 0 and (data := stream.recv(READ_SIZE)):
                    protocol.receive_data(data)
                    rest -= len(data)
        if not self._is_closed():
            protocol.connection_lost(error)
            self._unwritten.clear()
            self._blocked = False
            self._react()
            self._let_go()
            self._close_socket()
            self.log_closed()

    def _tear_down(self) -> None:
        closed = self._is_closed()
        self._stream = None
        self._unwritten.clear()
        self._blocked, self._reading_paused, self._over = False, True, True
        give_up(self.protocol, InterruptedError(f"{self._interruption} came in the middle of a change"))
        self._fail_pings()
        self._let_go()
        self._wake_all()
        self._close_socket()
        if not closed:
            self.log_closed()

    def _close_socket(self) -> None:
        """Close the socket, but not while threads poll it: the last one does it."""
        if self._fd < 0:
            return
        if any(waiter.asleep and waiter.events for waiter in self._waiters):
            with contextlib.suppress(OSError):
                self.transport.shutdown(socket.SHUT_RDWR)
        elif self.transport.fileno() >= 0:
            self._unwatch()
            self.transport.close()


def _time(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _size(message: Any) -> int:
    """Return about how long a message is, before it is compressed."""
    if isinstance(message, PreparedMessage):
        message = message.message
    return message.nbytes if isinstance(message, memoryview) else len(message)

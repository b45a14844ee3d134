"""Moving bytes between the socket and the state machine, with the background thread's part of it; waiting.

All methods but :meth:`Transfer._wait_until` are called with the connection's lock. The socket does not block,
so that any thread may read and write at any time. What the socket does not take at once is written by the
background thread (:mod:`.background`), which also meets the deadlines, and reads while no thread receives.

A thread that waits for room, for its turn to send, for a pong or for the end sleeps on a :class:`.Gate` until
its condition is met. What it waits for is read by the thread that receives (:mod:`.connection`), or by the
background thread. The cost is linear in the number of waiting threads: a thread is woken when its condition
is met, and threads with the same condition share its test.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from wsproto_core.types import BytesLike, StreamAction

from ..shared.connection import LAST_READ_LIMIT, advance, first_bytes
from ..shared.sockets import addresses_of, prepare_socket
from ..shared.waiting import Waiters
from .background import READ, WRITE, Entry, background_reader
from .locking import Guarded
from .streams import Stream, TLSStream
from .wakeups import POLLIN, Gate, Receiver

__all__ = ["READ_SIZE", "Transfer"]

# Bytes that a thread reads at once.
READ_SIZE = 2**16

# Bytes up to which several buffers are copied into one, which is cheaper than writing each.
JOINED_SIZE = 2**15

# Bytes written before other threads may use the connection.
WRITTEN_AT_ONCE = 2**20

# Seconds between two checks whether no thread receives from a connection: the background thread reads the
# connection from the second check on.
IDLE_CHECK_PERIOD = 0.1


class Transfer(Guarded):
    """A connection that reads and writes a socket."""

    transport: socket.socket

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._stream: Stream | None = None
        self._tls: TLSStream | None = None
        self._fd = -1
        self._unwritten: deque[memoryview] = deque()
        self._blocked = False  # whether the socket's send buffer is full
        # The thread that receives, or that has received the last message and will be back.
        self._receiver: Receiver | None = None
        self._taken: Any = None  # what the thread that receives has received, until it returns that
        self._waiters = Waiters()  # the other threads
        # For the background thread
        self._idle_checks = 0  # checks since a thread has received; from 2 on, the background thread reads
        self._idle_check_scheduled = False
        self._watched = 0  # the events of the socket that the background thread watches
        self._deadline: Entry | None = None

    @abstractmethod
    def _step(self, receiver: Receiver | None, take: Callable[[], Any] | None, ready: int) -> None: ...

    def _start(self, sock: socket.socket, tls: TLSStream | None) -> None:
        """Begin to use a stream."""
        if self.closed:
            sock.close()
            return
        sock.setblocking(False)
        prepare_socket(sock)
        self.local_address, self.remote_address = addresses_of(sock)
        self.transport, self._fd, self._tls, self._stream = sock, sock.fileno(), tls, tls or sock
        if tls is not None:
            tls.sock = sock
            # Data may have arrived with the end of the handshake.
            self.protocol.receive_data(tls.receive(None))
        self._react()

    def _react(self) -> None:
        """React to a change of the state machine: events, bytes to write, deadlines, threads to wake."""
        protocol = self.protocol
        self._handle_events()
        if not protocol.receiving:
            self._fail_pings()
        self._flush()
        if protocol.stream_action is StreamAction.ABORT:
            self._lose()
        self._update()
        self._notify()

    def _notify(self) -> None:
        """Wake the threads whose conditions are met."""
        if self._receiver is not None and self.protocol.has_input:
            self._receiver.wake()
        self._waiters.wake()

    # Writing

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
            self._lose(error)

    def _write_at_once(self, buffers: list[bytes], count: int = 0) -> None:
        """Write the frames of a broadcast, or of a message, or let them wait; nothing else is to be written.

        Args:
            buffers: the frames, which count as written.
            count: the number of bytes that are written in fact.
        """
        if not self._send_queue.unwritten:
            self._send_queue.not_written(sum(map(len, buffers)))
        self.protocol.data_sent(count)
        # Not joined: connections share the buffers of a broadcast.
        self._unwritten.extend(map(memoryview, buffers))
        advance(self._unwritten, count)
        if self._unwritten:
            self._flush()
        self._update()

    # The end of the stream

    def _end_stream(self, stream: Stream) -> None:
        """End the stream as ``stream_action`` says, after everything has been written."""
        action = self.protocol.stream_action
        if action is StreamAction.SEND_EOF or (action is StreamAction.CLOSE and self._tls is not None):
            stream.shutdown(socket.SHUT_WR)
        if action is StreamAction.SEND_EOF:
            self.protocol.eof_sent()
        elif action is StreamAction.CLOSE:
            self._lose()

    def _lose(self, error: OSError | None = None) -> None:
        """Close the stream; raise an error that is not the system's."""
        if error is not None:
            if error.errno is None:
                # A signal handler has raised it, TimeoutError for example.
                raise error
            # Bytes that arrived before the error may contain the peer's close frame.
            self._read_rest()
        if not self.closed:
            self.protocol.connection_lost(error)
            self._forget_stream()
            self._react()
            self._log_closed()

    def _read_rest(self, limit: int = LAST_READ_LIMIT) -> None:
        with contextlib.suppress(OSError):
            while self._stream is not None and limit > 0 and (data := self._stream.recv(READ_SIZE)):
                self.protocol.receive_data(data)
                limit -= len(data)

    def abort(self) -> None:
        """Close the stream at once, without a closing handshake."""
        self._locked_or_deferred(self._lose)

    def _tear_down(self) -> None:
        closed = self.closed
        self.protocol.give_up(InterruptedError(f"{self._interruption} came in the middle of a change"))
        self._fail_pings()
        self._forget_stream()
        self._notify()
        if not closed:
            self._log_closed()

    def _forget_stream(self) -> None:
        self._stream = None
        self._unwritten.clear()
        self._blocked = False
        self._cancel_deadline()
        self._close_socket()

    def _close_socket(self) -> None:
        """Close the socket; while a thread polls it, that thread closes it."""
        if self._fd < 0:
            return
        if self._receiver is not None and self._receiver.asleep:
            with contextlib.suppress(OSError):
                self.transport.shutdown(socket.SHUT_RDWR)
        elif self.transport.fileno() >= 0:
            # After an interruption, the socket may be watched even if ``_watched`` is 0.
            self._watched = 0
            background_reader().watch(self._fd, 0, self._socket_ready)
            self.transport.close()

    # The background thread

    def _update(self) -> None:
        """Tell the background thread the nearest deadline and the events to watch."""
        deadline = self.protocol.deadline()
        if deadline is not None and (self._deadline is None or deadline < self._deadline.when):
            self._cancel_deadline()
            self._deadline = self._call_at(deadline, self._meet_deadline)
        self._watch()

    def _call_at(self, when: float, function: Callable[[], None]) -> Entry:
        return background_reader().call_at(when, functools.partial(self._locked_or_left, function))

    def _cancel_deadline(self) -> None:
        """Cancel the call at the deadline: there is no deadline any more, or an earlier one."""
        entry, self._deadline = self._deadline, None
        if entry is not None:
            background_reader().cancel(entry)

    def _watch(self) -> None:
        """Let the background thread watch the socket for events that no thread polls."""
        events = READ if self._idle_checks > 1 and self.protocol.wants_read else 0
        if self._blocked:
            events |= WRITE
        if events != self._watched:
            self._watched = events
            background_reader().watch(self._fd, events, self._socket_ready)

    def _socket_ready(self, events: int) -> bool:
        """Read or write the socket, which is ready; return ``False`` if another thread has the lock."""
        return self._locked_or_left(self._use_socket, events)

    def _use_socket(self, events: int) -> None:
        if events & READ and self._idle_checks > 1:
            self._step(None, None, POLLIN)
        self._react()

    def _meet_deadline(self) -> None:
        self._cancel_deadline()
        deadline = self.protocol.deadline()
        if deadline is not None and deadline <= time.monotonic():
            # Bytes that have arrived in time count, also if they were not read.
            self._step(None, None, POLLIN)
            self._handle_timeout()
        self._react()

    def _check_idle_later(self) -> None:
        self._idle_check_scheduled = True
        # A multiple of the period, so that many connections are checked together.
        self._call_at((time.monotonic() // IDLE_CHECK_PERIOD + 1) * IDLE_CHECK_PERIOD, self._check_idle)

    def _check_idle(self) -> None:
        """Check whether no thread receives."""
        self._idle_check_scheduled = False
        # If a signal handler of this thread waits, the background thread goes on reading.
        if self._receiver is not None and self._receiver.asleep:
            return
        self._idle_checks += 1
        if self._idle_checks < 2:
            self._check_idle_later()
        else:
            self._replace_receiver(None)
            self._watch()

    def _replace_receiver(self, receiver: Receiver | None) -> bool:
        """Let another thread receive, or none; return whether the previous one was not receiving."""
        other, self._receiver = self._receiver, receiver
        if other is not None and (other.asleep or self._taken is not None):
            self._receiver = other
            return False
        return True

    # The other threads

    def _wait_until(
        self, ready: Callable[[], bool], until: float | None = None, late: str = "", on: Waiters | None = None
    ) -> None:
        """Sleep until a condition is true, which is tested whenever the connection has changed.

        Args:
            ready: the condition; methods of one object cost less than functions: see :class:`.Waiters`.
            until: the time in seconds at which to give up; ``None`` for no limit.
            late: the text of the error after this time.
            on: by whom the thread is woken; ``None`` for the connection.

        Raises:
            TimeoutError: the condition was not met in time.
        """
        gate = Gate()
        waiters = self._waiters if on is None else on
        woken = False
        try:
            woken = self._locked(self._begin_to_wait, ready, gate, waiters) or gate.sleep(until)
        finally:
            if not woken:
                self._locked(waiters.remove, ready, gate.open)
        if not woken:
            raise TimeoutError(late)

    def _begin_to_wait(self, ready: Callable[[], bool], gate: Gate, waiters: Waiters) -> bool:
        if ready():
            return True
        waiters.add(ready, gate.open)
        receiver = self._receiver
        # A signal handler waits while it interrupts the call that receives.
        if receiver is None or not receiver.asleep or receiver.thread == threading.get_ident():
            # The background thread reads from now on.
            self._idle_checks = 2
            self._watch()
        return False

"""Threads that wait for a connection: one of them receives, and the others sleep until they are woken.

The thread that receives polls the socket itself, so that no message changes threads. A thread that receives
one message after the other stays the receiver in between, unless another thread comes: then it needs no lock
to fall asleep again, and one call with the lock to read and to take a message. The two openings of a
connection, by a client and by a server, receive as well.

Every other thread sleeps on a :class:`.Gate` until its condition is met: it waits for room, for its turn to
send, for a pong or for the end. What it waits for is read by the thread that receives, or by the background
thread while no thread receives.

The cost is linear in the number of waiting threads: a thread is woken when its condition is met, and threads
with the same condition share its test.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConcurrencyError
from wsproto_core.types import Data, State

from ..shared.waiting import BasePongWaiter, Waiters
from .background import background_reader
from .transfer import READ_SIZE, Transfer
from .wakeups import POLLIN, Gate, Receiver, time_left

__all__ = ["PongWaiter", "Waiting", "deadline"]

# Bytes that the background thread reads at once.
BACKGROUND_READ_SIZE = 2**14

# Seconds between two checks whether no thread receives from a connection: the background thread reads the
# connection from the second check on.
IDLE_CHECK_PERIOD = 0.1

SECOND_RECEIVER = (
    "another thread is receiving from this connection already: only one at a time may do so; let one thread "
    "receive, and hand the messages to the others by a queue.Queue"
)


class Waiting(Transfer):
    """A connection for which threads wait.

    All methods that begin with an underscore are called with the lock, except for the ones that wait:
    ``_receive`` and ``_wait_until``.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._returned: deque[Data] = deque()  # messages that were taken and not returned to the caller
        self._gathering_thread = 0  # the thread that has more messages to answer, so that its answers wait
        # Whether answers wait for others: not if the thread was slow since the last read.
        self._gathers = True
        # Whether the background thread will check whether a thread receives.
        self._idle_check_scheduled = False

    @abstractmethod
    def _write_gathered(self) -> None: ...

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
        sleeps = (
            receiver is not None and receiver.returns and receiver.result is None and receiver.thread == me
        )
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
                    if receiver.result is not None:
                        break
                    if expired:
                        raise TimeoutError("nothing received in time")
                sleeps = False
                happened = receiver.poll(receiver.limit if until is None else time_left(until) * 1000)
                ready = POLLIN if happened == receiver.readable else receiver.look(happened)
                expired = until is not None and until <= time.monotonic()
            result = receiver.result if convert is None else convert(receiver.result)
        except UnicodeDecodeError:
            # The message is gone, as in other adapters.
            receiver.result = None
            raise
        except BaseException:
            # If a signal interrupts the first call, the second call follows.
            try:
                self._locked(self._give_up, receiver)
            except BaseException:
                self._locked(self._give_up, receiver)
                raise
            raise
        receiver.result = None
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
                self._fail_stream(error)
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
        result = self._returned.popleft() if self._returned else take()
        if protocol.wants_read is paused or (paused and result is None) or protocol.has_events:
            # The receive queue may have room now, and bytes may have been decoded that had waited for it,
            # a ping among them.
            self._resume_reading()
            if result is None:
                result = take()
        self._gathering_thread = receiver.thread if protocol.has_input and self._gathers else 0
        if result is not None:
            receiver.result = result
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

    def _resume_reading(self) -> None:
        if self.protocol.has_events or not self.protocol.wants_read or self._waiters:
            self._react()
        else:
            # There is nothing to write or to tell, but deadlines run again.
            self._update()

    def _replace_receiver(self, receiver: Receiver | None) -> bool:
        """Let another thread receive, or none; return whether the previous one was not receiving."""
        other, self._receiver = self._receiver, receiver
        if other is not None and (other.asleep or other.result is not None):
            self._receiver = other
            return False
        return True

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
        result, receiver.result, self._receiver = receiver.result, None, None
        if isinstance(result, Fragment):
            # A piece is lost: no other piece may follow.
            self.abort()
        elif result is not None:
            # The interruption came after the message was taken and before it was returned.
            self._returned.append(result)
        else:
            self.protocol.stop_waiting()
            self._react()
        if not self._idle_check_scheduled:
            self._check_idle_later()

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
        self._read_in_background()
        return False

    def _read_in_background(self) -> None:
        """Let the background thread read at once, for a thread that waits, unless another thread receives."""
        receiver = self._receiver
        # A signal handler waits while it interrupts the call that receives.
        if receiver is None or not receiver.asleep or receiver.thread == threading.get_ident():
            self._idle_checks = 2
            self._watch()

    # The background thread

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


def deadline(timeout: float | None) -> float | None:
    """Return the time at which a timeout in seconds ends; ``None`` without a timeout."""
    return None if timeout is None else time.monotonic() + timeout


class PongWaiter(BasePongWaiter):
    """The result of :meth:`.Connection.ping`: it waits for the pong."""

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The latency in seconds.

        Raises:
            ConnectionClosed: the connection has ended without a pong.
            TimeoutError: there is no pong yet.
        """
        if not self.done():
            self._connection._wait_until(self.done, deadline(timeout), "no pong yet", self._waiters)
        return self._latency()

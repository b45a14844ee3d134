"""Sending from several threads: the order of messages, and waiting for room in the send queue.

A message of ordinary size is encoded with the connection's lock. A long message, and a message in fragments,
has a turn: other messages wait until it is complete, while the lock is free for reading, control frames and
closing. So no thread waits while another one compresses and masks a long message.

Answers to messages that arrived together are written together, because a system call, and a record of TLS,
cost more than all else. An answer is in the send queue when ``send`` returns, and it is written:

- with the answer to the last of these messages, or when the thread waits for more;
- at 64 KiB;
- with any other frame, by whichever thread, and before the connection is closed;
- by the background thread after some milliseconds. The thread is slow then, so that its other answers to
  these messages are written at once;
- at the end of the interpreter.

:meth:`.Connection.abort` drops it, as it drops whatever is in the send queue. So does an exception of a
signal handler in the middle of a change, which breaks the connection.

A message that a signal handler sends while it interrupts a message of its own thread is sent after that
message.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from wsproto_core import COMPILED
from wsproto_core.types import BytesLike, CloseCode, Data, State

from ..shared.connection import Sendable, fragments_of, payload_size
from ..shared.logs import describe
from ..shared.waiting import BasePongWaiter, Turn, TurnQueue
from .locking import REFUSALS, Interrupted
from .transfer import Transfer
from .wakeups import Gate, deadline

__all__ = ["PongWaiter", "Sending"]

# Size in bytes from which a message is compressed and masked without the lock; and the same for a connection
# that does not compress, if masking is compiled, which takes some microseconds then.
LONG_MESSAGE = 2**16
LONG_PLAIN_MESSAGE = 2**17 if COMPILED else LONG_MESSAGE

# Bytes in the send queue at which answers to messages that arrived together are written.
GATHERED_SIZE = 2**16

# Seconds for which an answer waits for other answers, at most. A thread that computes may keep the
# interpreter from the background thread for as long.
GATHERING_TIME = 0.005

# Connections whose answers the background thread will look for.
_gathering: dict[Sending, None] = {}

# A tuple, because a union would be built at each use.
_PLAIN = (str, bytes)

NO_TURN = "not sent: the peer does not read, or another message goes on"
NO_ROOM = "not written yet: the peer does not read"


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


class Sending(Transfer):
    """The methods of a connection that send."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._senders = TurnQueue()
        self._turns: dict[int, tuple[Turn, Gate]] = {}  # the turns of threads in this queue
        self._gathering_thread = 0  # the thread that has more messages to answer, so that its answers wait
        # Whether answers wait for others: not if the thread was slow since the last read.
        self._gathers = True

    def _command(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a method of the state machine, and react to the change."""
        function(*arguments)
        self._react()

    def send(
        self,
        message: Sendable,
        text: bool | None = None,
        compress: bool | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a message.

        The call waits while the send queue has more than ``write_limit`` bytes (backpressure). After a
        timeout, nothing has been sent, or the whole message will be sent. After a timeout or an
        exception within an iterable, the connection fails with code 1011.

        Args:
            message: ``str`` is sent as text, bytes-like as binary, a prepared message as it was
                prepared. An iterable of ``str`` or bytes-like is sent as one message with a fragment
                for each item; other messages wait until it is complete.
            text: ``True`` sends bytes-like as text (it must be UTF-8), ``False`` sends ``str`` as
                binary (in UTF-8); by default the type of the message decides.
            compress: whether to compress this message, if compression was negotiated; by default the
                size of the message decides.
            timeout: seconds to wait for room in the send queue; ``None`` for no limit.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            TimeoutError: there was no room in time, because the peer does not read.
            TypeError: the message, or an item of it, has another type.
            UnicodeDecodeError: ``text`` is ``True`` and the bytes are not UTF-8.
        """
        until = None if timeout is None else deadline(timeout)
        parts: Any = [message]
        fin = True
        if isinstance(message, _PLAIN):
            size = len(message)
        elif (fragments := fragments_of(message)) is None:
            size = payload_size(message)
        elif isinstance(fragments, AsyncIterable):
            raise TypeError("an asynchronous iterable cannot be sent by a blocking call")
        else:
            parts, fin, size = fragments, False, LONG_PLAIN_MESSAGE
        try:
            long = size >= LONG_MESSAGE and (size >= LONG_PLAIN_MESSAGE or self.protocol.extensions)
            if (
                long
                or self._senders.last is not None
                or not self._locked(self._send_now, message, text, compress)
            ):
                self._send_in_turn(parts, fin, text, compress, until)
        except Interrupted:
            self._locked_or_deferred(self._send_later, list(parts), fin, text, compress)
        if not self.protocol.writable:
            self._drain(until)

    def _send_now(self, message: Any, text: bool | None, compress: bool | None) -> bool:
        """Send a message if that takes no waiting; return whether it was sent."""
        protocol = self.protocol
        if (self._senders.last is not None or not protocol.writable) and protocol.state is State.OPEN:
            return False
        protocol.send(message, text=text, compress=compress)
        if self._unwritten:
            self._react()
            return True
        queue = self._send_queue
        if (
            self._gathering_thread == threading.get_ident()
            and queue.queued < GATHERED_SIZE
            and queue.writable
        ):
            if self not in _gathering:
                # A multiple of the period, so that the answers of many connections are written together.
                self._call_at((time.monotonic() // GATHERING_TIME + 1) * GATHERING_TIME, self._write_later)
                _gathering[self] = None
            return True
        # Nearly always, the socket takes everything at once: this is _flush without calls.
        buffers = queue.take(True)
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        count = 0
        try:
            count = self._stream.send(data)  # type: ignore[union-attr]
        except OSError as error:
            if error.errno is None:
                raise  # a signal handler has raised it
        if count < len(data) or queue.unwritten:
            self._write_at_once([data], count)
        return True

    def _write_later(self) -> None:
        _gathering.pop(self, None)
        self._gathers = self._gathers and not self._send_queue.queued
        self._write_gathered()

    def _write_gathered(self) -> None:
        """Write the answers that have waited for other answers."""
        self._gathering_thread = 0
        if self._send_queue.queued:
            self._react()

    def _send_later(self, parts: list[Any], fin: bool, text: bool | None, compress: bool | None) -> None:
        """Send the message of a signal handler after that of its own thread, which it has interrupted."""

        def send() -> None:
            try:
                for part in parts:
                    self.protocol.send(part, text=text, fin=fin, compress=compress)
                if self._send_queue.writer.building:
                    self.protocol.end_message()
            except REFUSALS as error:
                self.logger.debug("not sent for a signal handler: %s", describe(error))
                if self._send_queue.writer.building:
                    self._fail(error)
            turn.leave()
            self._react()

        turn = self._senders.join(send)
        if turn.first:
            send()

    def _send_in_turn(
        self, parts: Iterable[Any], fin: bool, text: bool | None, compress: bool | None, until: float | None
    ) -> None:
        """Send a message in fragments, or one message, while other messages wait for their turn.

        Args:
            parts: the fragments, or the one message.
            fin: whether ``parts`` is the one message.
            text, compress: see :meth:`send`.
            until: the time at which the wait for room ends; ``None`` for no limit.
        """
        me = threading.get_ident()
        if me in self._turns:
            # This is a signal handler. The call that it has interrupted cannot continue before it returns.
            raise Interrupted
        queue, gate = self._send_queue, Gate()
        try:
            self._locked(self._join, me, gate)
            if not gate.sleep(until):
                raise TimeoutError(NO_TURN)
            self._wait_until(self._may_send, until, NO_TURN)
            if self._is_not_open():
                raise self.protocol.close_exception()
            try:
                for part in parts:
                    self._send_part(part, fin, text, compress)
                    if not fin:
                        self._drain(until)
                if queue.writer.building:
                    self._locked(self._command, self.protocol.end_message)
            except BaseException as error:
                if queue.writer.building:
                    # No other message can follow an incomplete message.
                    self._locked(self._fail, error)
                raise
        finally:
            # If a signal interrupts the first call, the second call follows.
            try:
                self._locked(self._leave, me)
            except BaseException:
                self._locked(self._leave, me)
                raise

    def _join(self, me: int, gate: Gate) -> None:
        """Let a thread wait for its turn to send."""
        turn = self._senders.join(gate.open)
        self._turns[me] = turn, gate
        if turn.first or self._is_not_open():
            gate.open()
        else:
            self._waiters.add(self._is_not_open, gate.open)

    def _leave(self, me: int) -> None:
        if me in self._turns:
            turn, gate = self._turns.pop(me)
            self._waiters.remove(self._is_not_open, gate.open)
            turn.leave()

    def _is_not_open(self) -> bool:
        return self.protocol.state is not State.OPEN

    def _may_send(self) -> bool:
        """Whether a message can be sent, or is refused."""
        return self.protocol.writable or self.protocol.state is not State.OPEN

    def _send_part(self, message: Any, fin: bool, text: bool | None, compress: bool | None) -> None:
        try:
            buffers = self.protocol.encode(message, text=text, fin=fin, compress=compress)
            self._locked(self._command, functools.partial(self.protocol.send_encoded, buffers, fin=fin))
        except REFUSALS:
            raise
        except BaseException:
            # Compression of the next message may refer to this message, which the peer does not get.
            self.abort()
            raise

    def _fail(self, error: BaseException) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.fail(error, CloseCode.INTERNAL_ERROR, "error in a fragmented message")
            self._react()

    def _drain(self, until: float | None) -> None:
        """Wait while the send queue has more than ``write_limit`` bytes; the background thread writes."""
        if not self.protocol.writable:
            # A signal handler must not wait for the call that it has interrupted.
            with contextlib.suppress(Interrupted):
                self._wait_until(self._may_write, until, NO_ROOM)
                if not (self.protocol.receiving or self.protocol.writable):
                    raise self.protocol.close_exception()

    def ping(self, data: Data | BytesLike | None = None) -> PongWaiter:
        """Send a ping.

        A pong shows that the peer has received all messages that were sent before the ping.

        Args:
            data: the payload, at most 125 bytes; ``str`` is encoded to UTF-8. By default, four random bytes.

        Returns:
            An object whose :meth:`~PongWaiter.wait` waits for the pong and returns the latency in
            seconds. It need not be used.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            RuntimeError: there are ``max_pings`` unanswered pings.
            ValueError: the payload is too long, or a ping with this payload is unanswered.
        """
        ping = PongWaiter(self)
        self._locked_or_deferred(self._command, self._send_ping, ping, data)
        self._drain(None)
        return ping

    def _send_ping(self, ping: PongWaiter, data: Data | BytesLike | None) -> None:
        try:
            payload = self.protocol.ping(data)
        except REFUSALS as error:
            # A signal handler that waits for the pong sees the error.
            ping.set_exception(error)
            raise
        self._expect_pong(payload, ping)

    def pong(self, data: Data | BytesLike = b"") -> None:
        """Send an unsolicited pong: a heartbeat in one direction (RFC 6455 section 5.5.3).

        Args:
            data: the payload, at most 125 bytes; ``str`` is encoded to UTF-8.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            ValueError: the payload is too long.
        """
        self._locked_or_deferred(self._command, self.protocol.pong, data)
        self._drain(None)


def _write_at_exit() -> None:
    for connection in tuple(_gathering):
        connection._locked_or_left(connection._write_later)


# No background thread runs later, and a child process must not write what its parent writes.
atexit.register(_write_at_exit)
os.register_at_fork(after_in_child=_gathering.clear)

"""A connection with calls that block.

A connection has no thread of its own, and threads pass bytes to each other only if that is unavoidable.

1. A thread that receives reads the socket: it polls the socket, reads the available bytes, and passes them
   to the state machine. Other threads that wait sleep until they are woken: see :mod:`.waiting`.
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
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self, overload

from wsproto_core.closing import serialize_close
from wsproto_core.exceptions import ConnectionClosedOK
from wsproto_core.types import CloseCode, Data, State

from ..shared.blocks import keep_exception
from ..shared.decoding import PieceConverter, check_decode, convert_message
from ..shared.tls import TLSInfo
from .locking import interrupts_a_change
from .sending import Sending
from .waiting import PongWaiter, deadline

__all__ = ["Connection", "PongWaiter"]


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

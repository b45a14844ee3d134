"""A client that stays, on blocking sockets and threads: :mod:`.staying`, in the steps of :mod:`.steps`.

If a signal handler raises an exception in the middle of a change, the connection is given up: what is sent on
the next one follows from the subscriptions and the messages.

A session has two threads, which end with it. A name lookup, the opening of a TCP connection and a function of
the application cannot be interrupted: the end of the block leaves them to their thread, which ends when they
have ended, for the former two at the latest after ``open_timeout``.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from wsproto_core.types import BytesLike, Data

from ..shared.positions import START, Gap, Position
from ..threading import ClientConnection, connect
from .decisions import (
    Message,
    NotPublished,
    Refused,
    SessionEnded,
    SessionEvent,
    SessionPhase,
    Told,
    Unconfirmed,
)
from .staying import BaseSession, Slot
from .steps import Threads, without_lock

__all__ = [
    "START",
    "Gap",
    "Message",
    "NotPublished",
    "Position",
    "Refused",
    "Session",
    "SessionEnded",
    "SessionEvent",
    "SessionPhase",
    "Unconfirmed",
]

T = TypeVar("T")


class Session(BaseSession[ClientConnection]):
    """A client that stays, on blocking sockets and threads: a context manager, for one use.

    It is an iterator over messages, gaps and refused subscriptions. The iteration ends with the session: by
    leaving the block, or by an error after which no attempt to connect can succeed, which is raised. Any
    thread may call any method at any time; of threads that iterate, each gets other events.

    Attributes:
        phase: what the session does.
        websocket: the current connection, or ``None``.
    """

    _usage_of_block = "'with Session(...) as session:'"
    _tasks: Threads
    _last_connection: ClientConnection | None = None

    # The runtime

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        result = await without_lock(lambda _: function(*args))
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"on threads, this must be a function, not a coroutine function: {function!r}")
        return result

    def _connecting(self, options: Mapping[str, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
        make = options.get("create_protocol") or ClientConnection

        def create(*args: Any, **given: Any) -> ClientConnection:
            connection: ClientConnection = make(*args, **given)
            if self._tasks.locked(self._opens_too_late, connection):
                raise SessionEnded("the session has ended")
            return connection

        block = connect(self._uri, **{**options, "create_protocol": create})
        return block.__enter__, block.__exit__

    def _opens_too_late(self, connection: ClientConnection) -> bool:
        self._last_connection = connection
        return self.phase == "ended"

    def _stop(self) -> None:
        """End what the threads wait for."""
        if (connection := self._last_connection) is not None:
            # As at the end of the program: what can be sent without waiting is sent.
            connection.__exit__(SystemExit, SystemExit(), None)
            connection.abort()

    def _give_up(self) -> None:
        """Begin anew with another connection."""
        if (websocket := self.websocket) is not None:
            websocket.abort()

    def _tell_phases(self, on_phase: Callable[[SessionPhase, Exception | None], object]) -> None:
        # In order, and one at a time: a thread that finds another one at it leaves the rest to that one.
        while self._phases and self._telling.acquire(blocking=False):
            try:
                super()._tell_phases(on_phase)
            finally:
                self._telling.release()

    def _drive(
        self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, timeout: float | None = None
    ) -> T:
        self._check_entered()
        until = None if timeout is None else time.monotonic() + timeout
        return self._tasks.drive(function, *args, until=until)

    # The block

    def __enter__(self) -> Self:
        self._begin()
        self._telling = threading.Lock()
        threads = Threads(self._stop, self._give_up, self._end)
        try:
            threads.drive(self._enter, threads)
        except BaseException as error:
            threads.drive(self._leave, error)
            raise
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        self._drive(self._leave, exc)

    async def _end(self) -> None:
        await self._set_phase("ended", None)

    if not TYPE_CHECKING:
        # A type checker says it by itself.
        def __aenter__(self) -> NoReturn:
            raise TypeError(
                "this session is entered by 'with': the one with coroutines is adapters.session.Session"
            )

        def __aexit__(self, *exc_info: object) -> None: ...

    # What users call

    @property
    def positions(self) -> dict[str, Position | None]:
        """The subscriptions, and the positions of the last events that the application has taken.

        They are for another session, later.
        """
        return self._tasks.locked(lambda: self._state.positions) if self._entered else {}

    def subscribe(self, topic: str, *, after: Position | str | None = None) -> None:
        """Subscribe, on this connection and on all that follow; the server may refuse it later.

        The call does not wait for the server.

        Args:
            topic: the topic, or a pattern.
            after: the last position that the application has; ``None`` for what is published from now on.

        Raises:
            ValueError: the session subscribes to it already, or an argument is not allowed.
            SessionEnded: the session has ended.
        """
        self._drive(self._subscribe, topic, after)

    def unsubscribe(self, topic: str) -> None:
        """End a subscription; do nothing if there is none. The call does not wait for the server.

        Args:
            topic: the topic, or the pattern.

        Raises:
            SessionEnded: the session has ended.
        """
        self._drive(self._unsubscribe, topic)

    def publish(
        self, topic: str, message: Data | BytesLike, *, wait: bool = True, timeout: float | None = None
    ) -> Position | None:
        """Publish a message, now or when there is a connection.

        If the call is interrupted after the message was accepted, the message is published nevertheless.

        Args:
            topic: its topic.
            message: ``str`` for text, bytes-like for binary.
            wait: whether to wait until the server has confirmed it; otherwise only until it is accepted.
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The position of the message; ``None`` if the topic has no history, or without waiting.

        Raises:
            NotPublished: the server has refused it; or the connection was lost, and it is not sent again.
            SessionEnded: the session has ended.
            TimeoutError: it was not accepted in time; or it was, and is not confirmed yet, and is published
                nevertheless.
            TypeError, ValueError: an argument is not allowed.
        """
        return self._drive(self._publish, topic, message, wait, timeout=timeout)

    def recv(self, *, timeout: float | None = None) -> SessionEvent:
        """Return the next message, gap or refused subscription, as the iteration does.

        Args:
            timeout: seconds to wait for it; ``None`` for no limit. 0 does not wait.

        Raises:
            TimeoutError: there is none yet; none is lost.
            SessionEnded: the session has ended.
            Exception: the error that has ended the session.
        """
        slot: Slot = [None]
        try:
            return self._drive(self._next_event, slot, timeout=timeout)
        except BaseException:
            if slot[0] is not None:
                self._tasks.locked(self._put_back, slot[0])
            raise

    def _put_back(self, told: Told) -> None:
        self._state.events.appendleft(told)
        self._wake()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SessionEvent:
        try:
            return self.recv()
        except SessionEnded:
            raise StopIteration from None

"""What a session does on every runtime; on threads, the coroutines block.

:mod:`.decisions` decides. Here are two tasks: one connects and receives, another one sends. So a server that
waits until its answers are read does not stop the client from reading them.

All waiting is in the methods of :class:`.Tasks` and in :meth:`BaseSession._call`. Between two waits, no other
task or thread changes the session.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from wsproto_core.checks import check_count
from wsproto_core.connect.reconnect import ReconnectPolicy
from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.frames import prepare_data
from wsproto_core.types import BytesLike, CloseCode, Data, Side

from ..shared.asynchronous import wait_for_wake
from ..shared.blocks import Once
from ..shared.connection import BaseConnection
from ..shared.logs import default_logger, describe
from ..shared.positions import Position
from ..shared.session_messages import SUBPROTOCOL
from ..shared.waiting import Waiters
from ..topics.patterns import check_name, check_topic
from ..topics.tasks import Tasks
from .decisions import SessionEnded, SessionEvent, SessionPhase, SessionState, Told, Unconfirmed

__all__ = ["BaseSession", "Slot"]

ConnectionT = TypeVar("ConnectionT", bound=BaseConnection)

Slot: TypeAlias = list[Told | None]
"""A list of one item, in which an event is as soon as it is not among the events any more."""


class BaseSession(Once, ABC, Generic[ConnectionT]):
    """A client that stays.

    Attributes:
        phase: what the session does.
        websocket: the current connection, or ``None``.
    """

    made_by = "Session"
    _usage_of_block: str
    _tasks: Tasks

    def __init__(
        self,
        uri: str,
        *,
        credentials: Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]] | None = None,
        on_phase: Callable[[SessionPhase, Exception | None], object] | None = None,
        unconfirmed: Unconfirmed = "send",
        max_pending: int = 1000,
        max_events: int = 1000,
        **options: Any,
    ) -> None:
        """
        Args:
            uri: the server.
            credentials: a function that is called before each attempt to connect and returns options of
                ``connect`` for it, such as ``extra_headers``; with coroutines, also a coroutine function.
            on_phase: called with the phase when it changes, and with the error that is the reason, or
                ``None``. On threads, threads of the session call it: it must not wait for the session.
            unconfirmed: what happens to a message that was sent, and whose confirmation had not come when
                the connection broke: see :data:`.Unconfirmed`. What was not sent is always sent later.
            max_pending: the limit on messages that are accepted and not confirmed; ``publish`` waits at it.
            max_events: the limit on events that the application has not taken; reading stops at it.
            options: those of ``connect``, with ``reconnect_delays`` and ``reconnect_fatal``.
        """
        for name, value in (("max_pending", max_pending), ("max_events", max_events)):
            if value is None:
                raise TypeError(f"{name} must be an int")
            check_count(name, value)
        self.phase: SessionPhase = "waiting"
        self.websocket: ConnectionT | None = None
        self.made_for = uri
        self._uri = uri
        self._credentials = credentials
        self._on_phase = on_phase
        self._phases: deque[tuple[SessionPhase, Exception | None]] = deque()  # those to tell
        self._max_pending = max_pending
        self._max_events = max_events
        self._state = SessionState(unconfirmed)
        self._options = {"subprotocols": [SUBPROTOCOL], **options}
        self._policy = ReconnectPolicy(
            self._options.pop("reconnect_delays", None), fatal=self._options.pop("reconnect_fatal", None)
        )
        self._logger = options.get("logger") or default_logger(Side.CLIENT)
        self._error: Exception | None = None
        self._entered = False
        self._waiters = Waiters()

    # The runtime

    @abstractmethod
    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function that waits, or that is the application's; wait for its result, and return it."""

    @abstractmethod
    def _connecting(self, options: Mapping[str, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the two methods of a block with a connection, which are called by :meth:`_call`."""

    # The block

    async def _enter(self, tasks: Tasks) -> None:
        self._tasks = tasks
        await tasks.open()
        self._entered = True
        tasks.start(self._run)
        tasks.start(self._write)

    async def _leave(self, exc: BaseException | None) -> None:
        websocket: Any = self.websocket
        try:
            await self._set_phase("ended", None)
            if websocket is not None and exc is None:
                await self._call(websocket.close)
        finally:
            await self._tasks.close()

    # The tasks

    async def _run(self) -> None:
        """Connect again and again, and receive."""
        try:
            while self.phase != "ended":
                delay = await self._connect_once()
                await self._tasks.sleep(delay)
        except Exception as error:
            self._error = error
            await self._set_phase("ended", error)

    async def _connect_once(self) -> float:
        """Connect, and receive until the connection ends; return the seconds to wait."""
        await self._set_phase("connecting", None)
        try:
            options = {} if self._credentials is None else await self._call(self._credentials)
            enter, leave = self._connecting({**self._options, **options})
            websocket = await self._call(enter)
        except Exception as error:
            if self.phase == "ended":
                return 0.0
            delay = self._policy.failed(error)
            await self._set_phase("waiting", error)
            return delay
        self._policy.succeeded()
        begin = time.monotonic()
        reason: BaseException | None = None
        try:
            self.websocket = websocket
            self._state.connected()
            await self._set_phase("live", None)
            await self._receive(websocket)
        except ConnectionClosed as error:
            reason = error
        except BaseException as error:
            reason = error
            raise
        finally:
            self.websocket = None
            self._state.disconnected()
            self._wake()
            await self._call(leave, type(reason) if reason else None, reason, None)
        await self._set_phase("waiting", reason if isinstance(reason, Exception) else None)
        return self._policy.ended(time.monotonic() - begin)

    async def _receive(self, websocket: Any) -> None:
        while True:
            message = await self._call(websocket.recv)
            try:
                self._state.received(message)
            except ValueError as error:
                self._logger.error("the server does not speak the session protocol: %s", describe(error))
                await self._call(websocket.close, CloseCode.PROTOCOL_ERROR, "not the session protocol")
                return
            self._wake()
            await self._until(self._takes_events)

    async def _write(self) -> None:
        """Send what is to be sent."""
        while self.phase != "ended":
            await self._until(self._can_write)
            if self.websocket is not None and (frame := self._state.next_frame()) is not None:
                await self._send(self.websocket, frame)

    async def _send(self, websocket: Any, frame: Data) -> None:
        try:
            await self._call(websocket.send, frame)
        except ConnectionClosed:
            # The other task notices, and a new connection gets it.
            await self._until(lambda: self.websocket is not websocket)

    # Waiting

    def _wake(self) -> None:
        self._waiters.wake()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            await wait_for_wake(self._waiters, ready, self._tasks.make_event())

    # These are methods so that tasks that wait for the same share a test.

    def _can_write(self) -> bool:
        return (self.websocket is not None and self._state.has_frame) or self.phase == "ended"

    def _takes_events(self) -> bool:
        return len(self._state.events) < self._max_events or self.phase == "ended"

    def _takes_messages(self) -> bool:
        return self._state.pending < self._max_pending or self.phase == "ended"

    def _has_event(self) -> bool:
        return bool(self._state.events) or self.phase == "ended"

    async def _set_phase(self, phase: SessionPhase, error: Exception | None) -> None:
        if self.phase == "ended":
            return
        self.phase = phase
        if phase == "ended":
            self._state.end()
        self._wake()
        if self._on_phase is not None:
            self._phases.append((phase, error))
            await self._call(self._tell_phases, self._on_phase)

    def _tell_phases(self, on_phase: Callable[[SessionPhase, Exception | None], object]) -> None:
        while self._phases:
            try:
                on_phase(*self._phases.popleft())
            except Exception as failure:
                self._logger.error("on_phase failed", exc_info=failure)

    def _check_entered(self) -> None:
        if not self._entered:
            raise RuntimeError(f"the session has not begun: use {self._usage_of_block}")

    def _check(self) -> None:
        self._check_entered()
        if self.phase == "ended":
            raise SessionEnded("the session has ended") from self._error

    # What users call

    @property
    def positions(self) -> dict[str, Position | None]:
        """The subscriptions, and the positions of the last events that the application has taken.

        They are for another session, later.
        """
        return self._state.positions

    async def _subscribe(self, topic: str, after: Position | str | None) -> None:
        self._check()
        check_name(topic)
        self._state.subscribe(topic, Position.parse(after) if isinstance(after, str) else after)
        self._wake()
        await self._tasks.checkpoint()

    async def _unsubscribe(self, topic: str) -> None:
        self._check()
        self._state.unsubscribe(topic)
        self._wake()
        await self._tasks.checkpoint()

    async def _publish(self, topic: str, message: Data | BytesLike, wait: bool) -> Position | None:
        check_topic(topic)
        _, payload = prepare_data(message)
        data: Data = message if isinstance(message, str) else bytes(payload)
        self._check_entered()
        await self._until(self._takes_messages)
        self._check()
        publish = self._state.publish(topic, data)
        self._wake()
        if not wait:
            await self._tasks.checkpoint()
            return None
        event = self._tasks.make_event()
        publish.done = event.set
        try:
            await event.wait()
        except TimeoutError:
            raise TimeoutError("the message is not confirmed yet; it is published nevertheless") from None
        if isinstance(publish.outcome, Exception):
            raise publish.outcome
        return publish.position

    async def _next_event(self, slot: Slot) -> SessionEvent:
        self._check_entered()
        await self._until(self._has_event)
        if not self._state.events:
            raise self._error or SessionEnded("the session has ended")
        told = self._state.events[0]
        # No function is called between these two, so no signal handler runs there, and none raises.
        slot[0] = told
        del self._state.events[0]
        self._wake()
        return told.event

"""A client that stays: it connects again after a loss, subscribes again, and gets what it missed.

:mod:`.decisions` decides. Here are the tasks: one connects and receives, another one sends. So a server that
waits until its answers are read does not stop the client from reading them.
"""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from wsproto_core.checks import check_count
from wsproto_core.connect.reconnect import ReconnectPolicy
from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.frames import prepare_data
from wsproto_core.types import BytesLike, CloseCode, Data, Side

from ..shared.asynchronous import AsyncConnection, RuntimeEvent
from ..shared.blocks import AsyncOnce
from ..shared.logs import default_logger, describe
from ..shared.positions import Position
from ..shared.session_messages import SUBPROTOCOL
from ..topics.patterns import check_name, check_topic
from ..topics.tasks import tasks_here
from .decisions import SessionEnded, SessionEvent, SessionPhase, SessionState, Unconfirmed

__all__ = ["Session"]


class Session(AsyncOnce):
    """A client that stays, on asyncio, trio and anyio: an asynchronous context manager, for one use.

    It is an asynchronous iterator over messages, gaps and refused subscriptions. The iteration ends with the
    session: by leaving the block, or by an error after which no attempt to connect can succeed, which is
    raised.

    Attributes:
        phase: what the session does.
        websocket: the current connection, or ``None``.
    """

    made_by = "Session"

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
            credentials: a function, or a coroutine function, that is called before each attempt to connect
                and returns options of ``connect`` for it, such as ``extra_headers``.
            on_phase: called with the phase when it changes, and with the error that is the reason, or
                ``None``.
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
        self.websocket: AsyncConnection | None = None
        self.made_for = uri
        self._uri = uri
        self._credentials = credentials
        self._on_phase = on_phase
        self._max_pending = max_pending
        self._max_events = max_events
        self._state = SessionState(unconfirmed)
        self._options = {"subprotocols": [SUBPROTOCOL], **options}
        self._policy = ReconnectPolicy(
            self._options.pop("reconnect_delays", None), fatal=self._options.pop("reconnect_fatal", None)
        )
        self._logger = options.get("logger") or default_logger(Side.CLIENT)
        self._events: deque[SessionEvent] = deque()
        self._error: Exception | None = None
        # Each is set when what tasks wait for may have changed; they look again.
        self._changed: RuntimeEvent | None = None

    # The block

    async def __aenter__(self) -> Self:
        self._begin()
        self._tasks = tasks = tasks_here()
        await tasks.open()
        tasks.start(self._run)
        tasks.start(self._write)
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        websocket = self.websocket
        if self.phase != "ended":
            self._set_phase("ended", None)
        try:
            if websocket is not None and exc is None:
                await websocket.close()
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
            self._set_phase("ended", error)

    async def _connect_once(self) -> float:
        """Connect, and receive until the connection ends; return the seconds to wait."""
        self._set_phase("connecting", None)
        try:
            options = {} if self._credentials is None else self._credentials()
            if inspect.isawaitable(options):
                options = await options
            manager = self._connect({**self._options, **options})
            websocket = await manager.__aenter__()
        except Exception as error:
            delay = self._policy.failed(error)
            self._set_phase("waiting", error)
            return delay
        self._policy.succeeded()
        begin = time.monotonic()
        reason: BaseException | None = None
        try:
            self.websocket = websocket
            self._state.connected()
            self._set_phase("live", None)
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
            await manager.__aexit__(type(reason) if reason else None, reason, None)
        if self.phase != "ended":
            self._set_phase("waiting", reason if isinstance(reason, Exception) else None)
        return self._policy.ended(time.monotonic() - begin)

    def _connect(self, options: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncConnection]:
        if self._tasks.runtime == "trio":
            from ..trio import connect as trio_connect

            return trio_connect(self._uri, **options)
        from ..asyncio import connect as asyncio_connect

        return asyncio_connect(self._uri, **options)

    async def _receive(self, websocket: AsyncConnection) -> None:
        while True:
            message = await websocket.recv()
            try:
                event = self._state.received(message)
            except ValueError as error:
                self._logger.error("the server does not speak the session protocol: %s", describe(error))
                await websocket.close(CloseCode.PROTOCOL_ERROR, "not the session protocol")
                return
            if event is not None:
                self._events.append(event)
            self._wake()
            await self._until(lambda: len(self._events) < self._max_events)

    async def _write(self) -> None:
        """Send what is to be sent."""
        while True:
            await self._until(lambda: self.websocket is not None)
            websocket = self.websocket
            frame = None if websocket is None else self._state.next_frame()
            if websocket is None or frame is None:
                await self._next_change()
                continue
            try:
                await websocket.send(frame)
            except ConnectionClosed:
                # The other task notices, and a new connection gets it.
                while self.websocket is websocket:
                    await self._next_change()

    # Waiting

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    async def _next_change(self) -> None:
        if self._changed is None:
            self._changed = self._tasks.make_event()
        await self._changed.wait()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._next_change()

    def _set_phase(self, phase: SessionPhase, error: Exception | None) -> None:
        self.phase = phase
        if phase == "ended":
            self._state.end()
        self._wake()
        if self._on_phase is not None:
            try:
                self._on_phase(phase, error)
            except Exception as failure:
                self._logger.error("on_phase failed", exc_info=failure)

    def _check(self) -> None:
        if self.phase == "ended":
            raise SessionEnded("the session has ended") from self._error

    # What users call

    @property
    def positions(self) -> dict[str, Position | None]:
        """The subscriptions, with the positions that they have reached: for another session, later."""
        return dict(self._state.topics)

    async def subscribe(self, topic: str, *, after: Position | str | None = None) -> None:
        """Subscribe, on this connection and on all that follow; the server may refuse it later.

        Args:
            topic: the topic, or a pattern.
            after: the last position that the application has; ``None`` for what is published from now on.

        Raises:
            ValueError: the session subscribes to it already, or an argument is not allowed.
            SessionEnded: the session has ended.
        """
        self._check()
        check_name(topic)
        self._state.subscribe(topic, Position.parse(after) if isinstance(after, str) else after)
        self._wake()
        await self._tasks.checkpoint()

    async def unsubscribe(self, topic: str) -> None:
        """End a subscription; do nothing if there is none.

        Args:
            topic: the topic, or the pattern.

        Raises:
            SessionEnded: the session has ended.
        """
        self._check()
        self._state.unsubscribe(topic)
        self._wake()
        await self._tasks.checkpoint()

    async def publish(self, topic: str, message: Data | BytesLike, *, wait: bool = True) -> Position | None:
        """Publish a message, now or when there is a connection.

        If the call is cancelled after the message was accepted, the message is published nevertheless.

        Args:
            topic: its topic.
            message: ``str`` for text, bytes-like for binary.
            wait: whether to wait until the server has confirmed it; otherwise only until it is accepted.

        Returns:
            The position of the message; ``None`` if the topic has no history, or without waiting.

        Raises:
            NotPublished: the server has refused it; or the connection was lost, and it is not sent again.
            SessionEnded: the session has ended.
            TypeError, ValueError: an argument is not allowed.
        """
        check_topic(topic)
        _, payload = prepare_data(message)
        data: Data = message if isinstance(message, str) else bytes(payload)
        await self._until(lambda: self._state.pending < self._max_pending or self.phase == "ended")
        self._check()
        publish = self._state.publish(topic, data)
        self._wake()
        if not wait:
            await self._tasks.checkpoint()
            return None
        event = self._tasks.make_event()
        publish.done = event.set
        await event.wait()
        if isinstance(publish.outcome, Exception):
            raise publish.outcome
        return publish.position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionEvent:
        await self._until(lambda: bool(self._events) or self.phase == "ended")
        if self._events:
            event = self._events.popleft()
            self._wake()
            return event
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

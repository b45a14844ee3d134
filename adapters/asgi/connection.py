"""A WebSocket connection of uvicorn: an ASGI application on the connection of asyncio.

uvicorn reads the request, and hands the stream over together with the request, serialized again. From then
on this class is the protocol of the transport. Reading, writing, deadlines and waiting are those of
:class:`adapters.asyncio.Connection`; here is what an application sees of them: the scope, events, errors, and
the end of the application as the end of the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Self, Unpack, cast

from uvicorn.protocols.utils import ClientDisconnected, get_client_addr, get_path_with_query_string, is_ssl

from wsproto_core.events import Event, Request
from wsproto_core.exceptions import ConnectionClosed, InvalidState, WebSocketException
from wsproto_core.handshake.server import Answer, ServerProtocol
from wsproto_core.http import Response, make_response
from wsproto_core.types import Close, CloseCode, State

from ..asyncio.connection import Connection, install_events
from ..shared.asgi import Message, Stage, payload_of, text_headers, unexpected
from ..shared.connection import LAST_READ_LIMIT
from ..shared.draining import Drain
from ..shared.options import Logger
from .denial import Denial
from .settings import (
    ConfigureOptions,
    ProtocolOptions,
    Shutdown,
    change_settings,
    check_options,
    server_settings,
)
from .translation import scope_of

__all__ = ["WebSocketProtocol"]


class WebSocketProtocol(Connection):
    """A WebSocket connection of uvicorn, for its option ``--ws``.

    An application has it as ``scope["extensions"]["wsproto_core"]["connection"]``, for what ASGI does not
    have: :meth:`configure`, ``send`` with ``text`` and ``compress``, ``ping``, ``statistics``, and everything
    else of :class:`adapters.asyncio.Connection`.

    Attributes:
        config, app_state: of the server, as uvicorn gives them.
    """

    # The compiled fast path reads these.
    __slots__ = ("__weakref__", "_asgi_stage", "_asked")

    protocol: ServerProtocol

    _options: ClassVar[ConfigureOptions] = {}
    _shutdown: ClassVar[Shutdown] = Shutdown()

    _over_tls = False
    _denial: Denial | None = None
    _given_close: Close | None = None  # of the application or the server
    _scope: dict[str, Any]  # until the request has been answered
    _server_drain: Drain[WebSocketProtocol] | None = None  # once the server shuts down

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """
        Args:
            config: the server's :class:`uvicorn.Config`.
            server_state: the connections, tasks and headers of the server.
            app_state: what the application has stored during its startup.
            _loop: is not needed: the event loop is the one that runs.
        """
        if not config.loaded:
            config.load()
        self.config = config
        self.app_state = app_state
        self._server_state = server_state
        self._head = b""
        self._asgi_stage = Stage.ASKED
        self._asked = False  # whether the application has been told of the request
        settings = server_settings(type(self), config, self._options)
        logger: Logger = logging.getLogger("uvicorn.error")
        super().__init__(ServerProtocol(clock=self._clocks()[0], settings=settings), logger)

    @classmethod
    def configured(cls, **options: Unpack[ProtocolOptions]) -> type[Self]:
        """Return a class with other options than those of uvicorn, for a server.

        Args:
            options: ``drain``: seconds over which the close frames are spread when the server shuts down,
                so that not all clients come back in the same second; 0 by default. ``shutdown_reason``:
                the reason in these close frames, whose code is 1012. The others are those of
                :data:`wsproto_core.OPTIONS`; they take precedence over those of uvicorn.

        Raises:
            TypeError: an option is unknown, or has the wrong type.
            ValueError: an option's value is not allowed.
        """
        more: dict[str, Any] = dict(options)
        drain = more.pop("drain", cls._shutdown.drain)
        reason = more.pop("shutdown_reason", cls._shutdown.reason)
        check_options(more)
        changes = {"_options": {**cls._options, **more}, "_shutdown": Shutdown(drain, reason)}
        return cast("type[Self]", type(cls.__name__, (cls,), {"__doc__": cls.__doc__, **changes}))

    def configure(self, **options: Unpack[ConfigureOptions]) -> None:
        """Change options for this connection, for example by its route, before it is accepted.

        Args:
            options: some of :data:`wsproto_core.OPTIONS`; those that are not given stay as they are.

        Raises:
            InvalidState: the request has been answered, or the client has gone, or it has sent more than
                its request before it was answered.
            TypeError: an option is unknown, or has the wrong type.
            ValueError: an option's value is not allowed.
        """
        old = self.protocol
        if old.state is not State.CONNECTING or self._asgi_stage is not Stage.ASKED:
            raise InvalidState("the request has been answered, or the client has gone")
        if old.statistics.bytes_received != len(self._head):
            raise InvalidState("the client has sent data before its request was answered")
        settings = change_settings(old._settings, options)
        self.protocol = protocol = ServerProtocol(clock=self._clocks()[0], settings=settings)
        self._send_queue = protocol.send_queue
        protocol.receive_data(self._head)
        protocol.events()  # the request, which is known
        if self._base_logger.isEnabledFor(logging.DEBUG):
            self.log_frames()
        self._update_timer()

    # What uvicorn calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._over_tls = is_ssl(transport)
        super().connection_made(transport)
        if self._over_tls:
            # With a limit of 0, the transports of TLS would be paused without having unwritten bytes.
            self.transport.set_write_buffer_limits(1)
        self._server_state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take the request, which uvicorn has read; later bytes come by the methods of a buffered protocol.

        Args:
            data: the bytes.
        """
        if self.protocol.request is None:
            self._head += data
        self.protocol.receive_data(data)
        self._react()

    def eof_received(self) -> bool:
        super().eof_received()
        # The transports of TLS cannot keep the other half open, and warn of the attempt.
        return not self._over_tls

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._server_state.connections.discard(self)
            if self._server_drain is not None:
                self._server_drain.discard(self)

    def shutdown(self) -> None:
        """The server shuts down: close the connection, or refuse the request.

        With ``drain``, the connections of a server are closed one after the other.
        """
        if self._server_drain is not None:
            return
        others = [each for each in self._server_state.connections if isinstance(each, WebSocketProtocol)]
        opened = [each for each in others if each.protocol.state is State.OPEN]
        clock, _ = self._clocks()
        drain = Drain(opened, self._shutdown.drain, clock, self._call_at, WebSocketProtocol._shut_down)
        for other in others:
            other._server_drain = drain
            if other not in opened:
                other._shut_down()
        drain.close_due()

    def _call_at(self, when: float, function: Callable[[], bool]) -> Callable[[], object]:
        return self._loop.call_at(when, function).cancel

    def _shut_down(self) -> None:
        protocol = self.protocol
        if protocol.state is State.OPEN:
            self._given_close = Close(CloseCode.SERVICE_RESTART)
            protocol.close(CloseCode.SERVICE_RESTART, self._shutdown.reason)
        elif self._denial is None or not self._denial.begun:
            protocol.shut_down()
        self._react()

    # Reading and writing

    def _read_rest(self, limit: int = LAST_READ_LIMIT) -> None:
        # What is in the socket below a transport of TLS is encrypted.
        if not self._over_tls:
            super()._read_rest(limit)

    def _write_several(self, buffers: list[bytes]) -> None:
        if self._over_tls:
            self.transport.write(b"".join(buffers))
        else:
            super()._write_several(buffers)

    def _handle_event(self, event: Event) -> None:
        super()._handle_event(event)
        if not isinstance(event, Request):
            return
        answer = self.protocol.prepare_answer(None)
        if answer.error is None:
            self._scope = scope_of(event, self.transport, self.config, self.app_state, self)
            task = self._loop.create_task(self._run())
            self._server_state.tasks.add(task)
            task.add_done_callback(self._server_state.tasks.discard)
        else:
            # The application is not asked about a request that cannot be accepted.
            self.protocol.give_answer(self._complete(answer, head_only=event.method == "HEAD"))
            self._react_soon()

    def _complete(self, answer: Answer, *, head_only: bool) -> Answer:
        """Add uvicorn's headers to a refusal."""
        given = answer.response
        headers = text_headers(self._server_state.default_headers)
        headers.update(given.headers)
        response = Response(given.status, headers, given.body, given.reason)
        return answer._replace(response=response, data=response.serialize(head_only=head_only))

    # The application

    async def _run(self) -> None:
        """Run the application; its end is the end of the connection."""
        code = CloseCode.INTERNAL_ERROR
        try:
            result = await self.config.loaded_app(self._scope, self._receive_event, self._send_event)
        except ClientDisconnected as error:
            self.logger.debug("ASGI application ended: %s", error)
        except asyncio.CancelledError:
            code = CloseCode.SERVICE_RESTART
            raise
        except Exception as error:
            self.logger.error("Exception in ASGI application\n", exc_info=error)
        else:
            if self._asgi_stage is Stage.ASKED and self.protocol.state is State.CONNECTING:
                self.logger.error("ASGI callable returned without completing handshake.")
            elif self._asgi_stage is Stage.RESPONDING and self.protocol.state is State.CONNECTING:
                self.logger.error("ASGI callable returned without completing response.")
            elif result is not None:
                self.logger.error("ASGI callable should return None, but returned '%s'.", result)
            else:
                code = CloseCode.NORMAL_CLOSURE
        finally:
            self._end_application(code)

    def _end_application(self, code: CloseCode) -> None:
        """Close the connection, or answer the request, if the application has not."""
        protocol = self.protocol
        if protocol.state is State.OPEN:
            protocol.close(code)
        elif protocol.state is State.CONNECTING:
            self._respond_at_end()
        self._asgi_stage = Stage.ENDED
        self._react()
        if code is CloseCode.SERVICE_RESTART:
            # The task was cancelled: uvicorn waits no longer.
            self._abandon()

    def _respond_at_end(self) -> None:
        denial = self._denial
        if denial is not None and denial.begun:
            denial.end()
            return
        if denial is not None:
            try:
                denial.add(b"", False)
            except ValueError:
                # Its headers cannot be sent.
                self._denial = None
            else:
                self._log_answer(denial.status)
                return
        self._respond(500, b"Internal Server Error")

    def _respond(self, status: int, body: bytes = b"") -> None:
        """Refuse the request with a response of this class's own."""
        headers = text_headers(self._server_state.default_headers)
        self.protocol.reject(make_response(status, headers, body))
        self._log_answer(status)

    def _log_answer(self, answer: int | str) -> None:
        self._failure_logged = True
        if self._base_logger.isEnabledFor(logging.INFO):
            path = get_path_with_query_string(self._scope)
            self.logger.info('%s - "WebSocket %s" %s', get_client_addr(self._scope), path, answer)
        del self._scope

    # The events that the application receives

    async def _receive_event(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "websocket.connect"}
        if self._asgi_stage is not Stage.ENDED:
            return await self._next_event()
        return self._disconnect_event(None)

    async def _next_event(self) -> Message:
        try:
            message = await self.recv()
        except ConnectionClosed as error:
            return self._disconnect_event(error)
        return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}

    def _disconnect_event(self, error: ConnectionClosed | None) -> Message:
        """Return the event of the end: the close frame of the side that closed, or else 1006."""
        close: Close | None = self._given_close
        if error is not None and error.received is not None and (close is None or error.received_first):
            close = error.received
        elif close is None and error is not None and isinstance(error.__cause__, WebSocketException):
            # The client has broken the protocol, and was told so.
            close = error.sent
        if close is None:
            return {"type": "websocket.disconnect", "code": int(CloseCode.ABNORMAL_CLOSURE)}
        event: Message = {"type": "websocket.disconnect", "code": int(close.code)}
        if close is not self._given_close or self._asgi_stage is Stage.ENDED:
            event["reason"] = close.reason
        return event

    # The events that the application sends

    async def _send_event(self, event: Message) -> None:
        if self._asgi_stage is not Stage.ACCEPTED or event["type"] != "websocket.send":
            await self._answer_event(event)
            return
        await self._send_while_connected(self.send(payload_of(event)))

    async def _event_sent(self) -> None:
        # The compiled fast path has sent.
        await self._send_while_connected(self._sent())

    async def _send_while_connected(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except ConnectionClosed as error:
            raise ClientDisconnected(str(error)) from error

    async def _answer_event(self, event: Message) -> None:
        """Do what every event but a message asks for."""
        stage, kind = self._asgi_stage, event["type"]
        if stage is Stage.ENDED:
            raise unexpected(stage, kind)
        wanted = State.OPEN if stage is Stage.ACCEPTED else State.CONNECTING
        if self.protocol.state is not wanted:
            await self._let_others_run()
            if kind == "websocket.close" and stage is not Stage.RESPONDING:
                # An application may close what has just ended, as other connections of this library.
                return
            raise ClientDisconnected(str(self.protocol.close_exception()))
        match stage, kind:
            case Stage.ASKED, "websocket.accept":
                self._accept(event)
            case Stage.ASKED, "websocket.close":
                self._respond(403)
                self._asgi_stage = Stage.ENDED
            case Stage.ASKED, "websocket.http.response.start":
                headers = text_headers(self._server_state.default_headers, event.get("headers") or ())
                self._denial = Denial(self.protocol, event["status"], headers)
                self._asgi_stage = Stage.RESPONDING
            case Stage.RESPONDING, "websocket.http.response.body":
                await self._continue_response(event.get("body", b""), event.get("more_body", False))
            case Stage.ACCEPTED, "websocket.close":
                code, reason = event.get("code"), event.get("reason") or ""
                close = Close(CloseCode.NORMAL_CLOSURE if code is None else code, reason)
                self.protocol.close(close.code, close.reason)
                self._given_close = close
                self._asgi_stage = Stage.ENDED
            case _:
                raise unexpected(stage, kind)
        self._react()

    def _accept(self, event: Message) -> None:
        subprotocol = event.get("subprotocol")
        self.protocol.accept(
            extra_headers=text_headers(self._server_state.default_headers, event.get("headers") or ()),
            select_subprotocol=lambda offered, available: subprotocol,
        )
        self._asgi_stage = Stage.ACCEPTED
        self._head = b""
        self._log_answer("[accepted]")

    async def _continue_response(self, body: bytes, more: bool) -> None:
        """Write a part of a response, and wait until it is written."""
        denial = cast(Denial, self._denial)
        begun = denial.begun
        denial.add(body, more)
        if not begun:
            self._log_answer(denial.status)
        if not more:
            self._asgi_stage = Stage.ENDED
            return
        self._flush()
        try:
            async with asyncio.timeout(self.protocol._settings.ping_timeout):
                await self._wait_until(self._is_written)
        except TimeoutError:
            # The client does not read.
            self.abort()

    def _is_written(self) -> bool:
        return not self._writing_paused or not self.protocol.receiving


install_events(WebSocketProtocol, Stage.ACCEPTED)

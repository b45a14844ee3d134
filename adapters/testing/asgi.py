"""A WebSocket client in memory for ASGI applications, on asyncio and trio.

There is no server, no socket and no frame: the application is called as a server calls it, and runs as a task
beside the test. Each wait of the test ends: with what was waited for, with the exception of the application,
or with a :exc:`TimeoutError` that says what did not come.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias

import anyio
import anyio.lowlevel

from wsproto_core.closing import GOOD_CODES, Closing, serialize_close
from wsproto_core.exceptions import ConnectionClosedOK, InvalidStatusCode
from wsproto_core.handshake.client import ClientProtocol
from wsproto_core.http import Headers, Request, Response, make_response
from wsproto_core.http.headers import HeadersLike
from wsproto_core.http.uri import parse_uri
from wsproto_core.types import BytesLike, Close, CloseCode, Data, Subprotocol

from ..shared.asgi import Message, Stage, make_scope, payload_of, text_headers, unexpected
from .watching import TIMEOUT, add_failure, full_uri

__all__ = ["ASGIClient", "Application", "asgi_client"]

Application: TypeAlias = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[object],
]
"""An application of ASGI 3: a coroutine function of a scope, ``receive`` and ``send``."""


class ClientDisconnected(OSError):
    """The application sends, but the connection is closed: ASGI asks for an ``OSError``."""


class ASGIClient:
    """The client of an application, as :func:`asgi_client` gives it.

    It is an asynchronous iterator over messages, which ends when the connection is closed with code 1000,
    1001 or 1005, and raises :exc:`ConnectionClosedError` for other codes.

    Attributes:
        scope: the scope that the application was called with.
        subprotocol: the subprotocol that the application has chosen; ``None`` for none.
        response_headers: the headers that the application has added to the response.
        timeout: the limit on each wait, in seconds.
    """

    def __init__(self, application: Application, scope: dict[str, Any], uri: str, timeout: float) -> None:
        """
        Args:
            application: the application, which is not called yet.
            scope: its scope.
            uri: the URI of the request, for errors.
            timeout: the limit on each wait, in seconds.
        """
        self.scope = scope
        self.subprotocol: Subprotocol | None = None
        self.response_headers = Headers()
        self.timeout = timeout
        self._application = application
        self._uri = uri
        self._stage = Stage.ASKED
        self._asked = False  # whether the application has been told of the request
        self._told = False  # whether the application has been told that the connection is closed
        self._receiving = False  # whether the application waits for an event
        self._ended = False  # whether the application has returned
        self._received = 0  # events that the application has received
        self._to_application: deque[Message] = deque()
        self._to_client: deque[Data] = deque()
        self._closing = Closing()  # as the client sees it
        self._deferred = False  # whether the client's close frame is behind messages
        self._status = 0
        self._headers = Headers()
        self._body = b""
        self._response: Response | None = None  # in the place of WebSocket
        self._failure: BaseException | None = None
        self._raised = False  # whether the test has seen the failure
        self._changed = anyio.Event()

    # The test's side

    @property
    def close_code(self) -> int | None:
        """The close code of the application, or the client's own if that came first; ``None`` before."""
        return self._closing.conclusion().code if self._closing.sent else None

    @property
    def close_reason(self) -> str | None:
        """The reason of the close code; ``None`` before."""
        return self._closing.conclusion().reason if self._closing.sent else None

    async def recv(self) -> Data:
        """Receive the next message of the application.

        Returns:
            The message: ``str`` for text, ``bytes`` for binary.

        Raises:
            ConnectionClosed: the application has closed the connection, or returned, which closes it with
                code 1000; or the client has closed it.
            TimeoutError: there is no message in time.
            Exception: what the application has raised.
        """
        await self._until(lambda: self._to_client or self._is_over(), "no message from the application")
        if self._to_client:
            return self._to_client.popleft()
        raise self._end()

    async def send(self, message: Data | BytesLike) -> None:
        """Send a message to the application; this does not wait until the application receives it.

        Args:
            message: ``str`` is sent as text, bytes-like as binary.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: the message has another type.
            Exception: what the application has raised.
        """
        if not isinstance(message, str | bytes | bytearray | memoryview):
            raise TypeError(f"message must be str or bytes-like, not {message!r}")
        await anyio.lowlevel.checkpoint()
        if self._is_over():
            raise self._end()
        key, value = ("text", message) if isinstance(message, str) else ("bytes", bytes(message))
        self._to_application.append({"type": "websocket.receive", key: value})
        self._notify()

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection; do nothing if it is closed.

        The application receives ``websocket.disconnect`` after the messages before it, which it can still
        answer: the call waits for this. The end of the block waits until the application has returned.

        Args:
            code: the close code; by default 1000.
            reason: the reason; by default empty.

        Raises:
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
            TimeoutError: the application does not receive the messages in time.
        """
        serialize_close(code, reason)
        if not self._is_over():
            self._closing.sent = close = Close(code, reason)
            self._closing.receive(close)
            # As the protocol of this library does: see docs/design.md.
            self._deferred = bool(self._to_application)
            self._notify()
        await self._until(
            lambda: self._ended or not self._deferred,
            "the connection is closed, but the application has not received all messages",
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Data:
        try:
            return await self.recv()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None

    def _is_over(self) -> bool:
        return self._failure is not None or self._closing.sent is not None or self._ended

    def _end(self) -> BaseException:
        """Return the exception for a test that waits for more."""
        if self._failure is not None:
            self._raised = True
            return self._failure
        return self._closing.exception(receiving=False, good_codes=GOOD_CODES)

    async def _until(self, ready: Callable[[], object], missing: str) -> None:
        """Wait until a condition is true.

        Raises:
            TimeoutError: it is not true in time.
        """
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(self.timeout):
            while not ready():
                await self._changed.wait()
        if not ready():
            raise TimeoutError(f"{missing} in {self.timeout} seconds; {self._describe()}")

    def _describe(self) -> str:
        """Say what the application does, for the error of a test that waits for something else."""
        counted = "1 event" if self._received == 1 else f"{self._received} events"
        if self._ended:
            return f"it has received {counted}, and has returned"
        if self._receiving:
            return f"it has received {counted}, and waits for the next one"
        return f"it has received {counted}, and is busy or waits for something else than an event"

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _open(self) -> None:
        """Wait for the application's answer to the request."""
        begun = (Stage.ASKED, Stage.RESPONDING)
        await self._until(
            lambda: self._stage not in begun or self._is_over(), "no answer from the application"
        )
        if self._response is not None:
            raise InvalidStatusCode(self._response.status, self._response, self._uri)
        if self._failure is not None:
            raise self._end()

    async def _leave(self) -> None:
        """Close the connection, and wait until the application has returned."""
        await self.close()
        await self._until(
            lambda: self._ended, "the connection is closed, but the application has not returned"
        )
        if self._failure is not None and not self._raised:
            raise self._end()

    # The application's side

    async def _run(self) -> None:
        try:
            await self._application(self.scope, self._receive_event, self._send_event)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            if not self._tells_of_end(error):
                self._fail(error)
        else:
            self._check_answered()
        finally:
            self._ended = True
            if self._stage is Stage.ACCEPTED and self._failure is None:
                # As a server closes a connection without a close frame of the application.
                self._take_close(Close(CloseCode.NORMAL_CLOSURE))
            self._notify()

    def _check_answered(self) -> None:
        if self._closing.sent is None and self._stage in (Stage.ASKED, Stage.RESPONDING):
            done = "answering the request" if self._stage is Stage.ASKED else "completing its HTTP response"
            self._fail(
                RuntimeError(
                    f"the application has returned without {done}: a server answers with HTTP status 500"
                )
            )

    def _tells_of_end(self, error: BaseException) -> bool:
        """Whether an exception only says that the connection is closed, which the application was told of."""
        starlette: Any = sys.modules.get("starlette.websockets")
        types = (
            (ClientDisconnected,)
            if starlette is None
            else (ClientDisconnected, starlette.WebSocketDisconnect)
        )
        return self._told and isinstance(error, types)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self._notify()

    def _take_close(self, close: Close) -> None:
        if self._closing.sent is None:
            self._closing.receive(close)
            self._closing.sent = close

    async def _receive_event(self) -> Message:
        await anyio.lowlevel.checkpoint()
        if self._asked:
            self._receiving = True
            try:
                while not (self._to_application or self._closing.sent or self._stage is Stage.ENDED):
                    await self._changed.wait()
            finally:
                self._receiving = False
        self._received += 1
        if not self._asked:
            self._asked = True
            return {"type": "websocket.connect"}
        if self._to_application and self._stage is not Stage.ENDED:
            return self._to_application.popleft()
        self._told, self._deferred = True, False
        self._notify()
        close = self._closing.received or Close(CloseCode.ABNORMAL_CLOSURE)
        return {"type": "websocket.disconnect", "code": int(close.code), "reason": close.reason}

    async def _send_event(self, event: Message) -> None:
        await anyio.lowlevel.checkpoint()
        try:
            self._take(event)
        except ClientDisconnected:
            raise
        except Exception as error:
            # Although the application may catch it.
            self._fail(error)
            raise
        self._notify()

    def _take(self, event: Message) -> None:
        """Do what an event of the application asks for."""
        stage, kind = self._stage, event["type"]
        if stage is not Stage.ENDED and self._closing.sent is not None and not self._deferred:
            self._told = True
            if kind == "websocket.close" and stage is not Stage.RESPONDING:
                return
            raise ClientDisconnected("the client has closed the connection")
        match stage, kind:
            case Stage.ASKED, "websocket.accept":
                self._accept(event)
            case Stage.ASKED, "websocket.close":
                self._refuse(make_response(403))
            case Stage.ASKED, "websocket.http.response.start":
                self._begin_response(event)
            case Stage.RESPONDING, "websocket.http.response.body":
                self._continue_response(event)
            case Stage.ACCEPTED, "websocket.send":
                message = payload_of(event)
                self._to_client.append(message if isinstance(message, str) else bytes(message))
            case Stage.ACCEPTED, "websocket.close":
                self._close_by_application(event)
            case _:
                raise unexpected(stage, kind)

    def _accept(self, event: Message) -> None:
        subprotocol = event.get("subprotocol")
        offered = self.scope["subprotocols"]
        if subprotocol is not None and subprotocol not in offered:
            raise ValueError(
                f"the application has chosen subprotocol {subprotocol!r}; the client offers {offered}"
            )
        self.response_headers = text_headers(event.get("headers") or ())
        self.subprotocol = subprotocol
        self._stage = Stage.ACCEPTED

    def _begin_response(self, event: Message) -> None:
        if event["status"] not in range(200, 600):
            raise RuntimeError(f"Invalid HTTP status code '{event['status']}' in response.")
        self._status = event["status"]
        self._headers = text_headers(event.get("headers") or ())
        self._stage = Stage.RESPONDING

    def _continue_response(self, event: Message) -> None:
        self._body += event.get("body", b"")
        if not event.get("more_body", False):
            self._refuse(Response(self._status, self._headers, self._body))

    def _refuse(self, response: Response) -> None:
        self._response = response
        self._stage = Stage.ENDED

    def _close_by_application(self, event: Message) -> None:
        code = event.get("code")
        close = Close(CloseCode.NORMAL_CLOSURE if code is None else code, event.get("reason") or "")
        serialize_close(close.code, close.reason)
        self._take_close(close)
        self._stage = Stage.ENDED


@asynccontextmanager
async def asgi_client(
    application: Application,
    uri: str = "/",
    *,
    timeout: float = TIMEOUT,
    subprotocols: Sequence[str] | None = None,
    origin: str | None = None,
    extra_headers: HeadersLike | None = None,
    root_path: str = "",
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
    state: Mapping[str, Any] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> AsyncIterator[ASGIClient]:
    """Connect to an ASGI application, in memory.

    ::

        async with asgi_client(app, "/ws?token=secret") as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"

    At the end of the block, the connection is closed with code 1000, and the application has ``timeout``
    seconds to return. If an exception leaves the block, the application is cancelled. An exception that
    Starlette raises to say that the connection is closed (``WebSocketDisconnect``) may leave the application.

    Args:
        application: the application; its lifespan is not run.
        uri: the path of the request, with a query if there is one; or a whole URI: ``ws://host/path``.
        timeout: the limit on each wait, in seconds; in virtual time if the test runs in it.
        subprotocols: the subprotocols that the client offers.
        origin: the header ``Origin``.
        extra_headers: more headers of the request: a mapping, pairs or :class:`Headers`.
        root_path: where the application is mounted.
        client: the address and port of the client.
        state: what the application has stored during its startup.
        extensions: extensions of the scope, besides ``websocket.http.response``.

    Yields:
        The client, after the application has accepted the connection.

    Raises:
        InvalidStatusCode: the application has refused the connection, by ``websocket.close`` (403) or by a
            denial response; it has the response.
        TimeoutError: something was waited for in vain; the message says for what.
        RuntimeError, TypeError, ValueError: the application has sent what ASGI does not allow, or has
            returned without an answer.
        Exception: what the application has raised, if no other call has raised it before.
    """
    request = _make_request(full_uri(uri), subprotocols, origin, extra_headers)
    target = parse_uri(full_uri(uri))
    scope = make_scope(
        request,
        version="3.0",
        secure=target.secure,
        server=(target.host, target.port),
        client=client,
        root_path=root_path,
        state=state or {},
        extensions=extensions or {},
    )
    websocket = ASGIClient(application, scope, str(target), timeout)
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(websocket._run)
        try:
            await websocket._open()
            yield websocket
            await websocket._leave()
        except (GeneratorExit, anyio.get_cancelled_exc_class()):
            raise
        except BaseException as error:
            # Raised in here, it would be put into a group.
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        if websocket._failure is not None and not websocket._raised:
            add_failure(failure, "the application", websocket._failure)
        raise failure


def _make_request(
    uri: str, subprotocols: Sequence[str] | None, origin: str | None, extra_headers: HeadersLike | None
) -> Request:
    """Return the request of a client, as it would send it."""
    options: dict[str, Any] = {"subprotocols": subprotocols, "origin": origin, "extra_headers": extra_headers}
    request = ClientProtocol(uri, clock=lambda: 0.0, compression=None, **options).request
    assert request is not None
    return request

"""Connection handlers under test, on runtimes with coroutines: their clients, and their servers."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.types import Data

from ..shared.asynchronous import AsyncConnection
from ..shared.blocks import keep_exception
from ..shared.handlers import AsyncHandler, Handler, check_async_handler
from ..shared.server import AsyncServer
from .watching import (
    HOST,
    NOT_RETURNED,
    TIMEOUT,
    ServerUnderTest,
    Watch,
    check_options,
    connected_listener,
    full_uri,
)

__all__ = ["Limited", "Scope", "Tools", "within_scope"]

T = TypeVar("T")
ClientT = TypeVar("ClientT", bound="Limited")
ServerT = TypeVar("ServerT", bound="Limited")

logger = logging.getLogger("wsproto_core.testing")


class Scope(Protocol):
    """A block that can be cancelled from outside."""

    def cancel(self) -> object:
        """Cancel what runs in the block."""


def within_scope(
    move_on_after: Callable[[float], AbstractContextManager[object]],
) -> Callable[[float, Awaitable[T], str], Awaitable[T]]:
    """Return the function ``_within`` of :class:`Limited` for a runtime with cancel scopes.

    Args:
        move_on_after: cancels its block after a number of seconds, without an exception.
    """

    async def within(seconds: float, work: Awaitable[T], message: str) -> T:
        with move_on_after(seconds):
            return await work
        raise TimeoutError(message)

    return within


class Limited(AsyncConnection):
    """A connection whose waits end in time, or with the exception of the handler.

    It is a base class of an adapter's connections for tests, before the adapter's own class.

    Attributes:
        _within: awaits something for so many seconds, then raises a :exc:`TimeoutError` with this message.
    """

    _within: ClassVar[Callable[..., Awaitable[Any]]]

    _test_watch = Watch(TIMEOUT)

    async def _limit(self, work: Awaitable[T], missing: str) -> T:
        timeout = self._test_watch.timeout
        try:
            return cast(T, await type(self)._within(timeout, work, f"{missing} in {timeout} seconds"))
        except ConnectionClosed:
            self._test_watch.check()
            raise

    async def recv(self, decode: bool | None = None) -> Any:
        return await self._limit(super().recv(decode), "no message")

    async def __anext__(self) -> Data:
        return await self._limit(super().__anext__(), "no message")

    async def _next_fragment(self) -> Fragment:
        return await self._limit(super()._next_fragment(), "no piece of a message")

    async def send(self, *args: Any, **options: Any) -> None:
        await self._limit(
            super().send(*args, **options), "a message could not be sent: the peer has not read enough"
        )

    async def wait_closed(self) -> None:
        await self._limit(super().wait_closed(), "the connection was not closed")


class Handlers:
    """The calls of a handler, of which the test wants to know how they end."""

    def __init__(self, tools: Tools[Any, Any], handler: Handler, watch: Watch) -> None:
        """
        Args:
            tools: the runtime's.
            handler: the application's.
            watch: takes the exception of the handler.
        """
        check_async_handler(handler)
        self._tools = tools
        self._handler = handler
        self._watch = watch
        self._scopes: set[Scope] = set()

    def watched(self) -> Handler:
        """Return the handler for the server."""

        @functools.wraps(self._handler)
        async def handler(websocket: Any, *path: str) -> None:
            with self._tools.open_scope() as scope:
                self._scopes.add(scope)
                try:
                    await self._handler(websocket, *path)
                except Exception as error:
                    self._watch.handler_raised(websocket, error)
                    raise
                finally:
                    self._scopes.discard(scope)

        return handler

    async def end(self, server: AsyncServer[Any], leaving: BaseException | None) -> None:
        """Close the server, and wait until the handlers have returned, at most for the timeout.

        Args:
            server: the server.
            leaving: the exception that leaves the block of the test, which is the one that is raised.

        Raises:
            TimeoutError: a handler has not returned; it is cancelled.
        """
        server.close()
        if not isinstance(leaving, Exception | None):
            self._cancel()
            return
        with keep_exception(leaving, logger):
            try:
                timeout = self._watch.timeout
                missing = f"{NOT_RETURNED} in {timeout} seconds"
                await self._tools.client_class._within(timeout, server.wait_closed(), missing)
            except TimeoutError:
                self._cancel()
                raise

    def _cancel(self) -> None:
        for scope in list(self._scopes):
            scope.cancel()


@asynccontextmanager
async def _served(
    opened: AbstractAsyncContextManager[Any], handlers: Handlers, watch: Watch
) -> AsyncIterator[Any]:
    """Give the server; at the end, raise the exception of its handler."""
    leaving: BaseException | None = None
    try:
        async with opened as server:
            try:
                yield server
            except BaseException as error:
                leaving = error
                raise
            finally:
                await handlers.end(server, leaving)
    finally:
        if isinstance(leaving, Exception | None):
            watch.check_at_end(leaving)


@dataclass(frozen=True)
class Tools(Generic[ClientT, ServerT]):
    """The test tools for a runtime; each adapter's module has the methods as functions.

    Attributes:
        connect, serve, unix_serve: the adapter's functions.
        client_class, server_class: the adapter's classes, with :class:`Limited`.
        open_scope: makes a block that can be cancelled.
    """

    connect: Callable[..., AbstractAsyncContextManager[Any]]
    serve: Callable[..., AbstractAsyncContextManager[Any]]
    unix_serve: Callable[..., AbstractAsyncContextManager[Any]]
    client_class: type[ClientT]
    server_class: type[ServerT]
    open_scope: Callable[[], AbstractContextManager[Scope]]

    @asynccontextmanager
    async def handler_client(
        self,
        handler: AsyncHandler[Any],
        uri: str = "/",
        *,
        timeout: float = TIMEOUT,
        server: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[ClientT]:
        """Connect to a connection handler, without a network.

        ::

            async with handler_client(echo) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

        The handler is served by the adapter's own server, for one connection. At the end of the block, the
        connection is closed, and the handler has ``timeout`` seconds to return.

        Args:
            handler: the argument of ``serve``.
            uri: the path of the request, with a query if there is one; or a whole URI.
            timeout: the limit on each wait of the client, in seconds; by default 5.
            server: options of ``serve``, for the server.
            options: options of ``connect``, for the client.

        Returns:
            An asynchronous context manager; its value is the client's connection. Its methods, and the end of
            the block, may raise, besides the errors of any connection:

        Raises:
            TimeoutError: something was waited for in vain; the message says for what.
            Exception: the exception of the handler, in the place of :exc:`ConnectionClosed`.
            TypeError, ValueError: an option is not allowed, or the handler cannot be called.
        """
        watch = Watch(timeout)
        async with self._connected(handler, uri, watch, server or {}, options) as (client, _):
            yield client

    @asynccontextmanager
    async def connection_pair(
        self, *, timeout: float = TIMEOUT, server: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[tuple[ClientT, ServerT]]:
        """Open a connection without a network, and return both ends; neither does anything by itself.

        ::

            async with connection_pair() as (client, server):
                await client.send("hello")
                assert await server.recv() == "hello"

        Args:
            timeout: the limit on each wait, in seconds; by default 5.
            server: options of ``serve``, for the server's end.
            options: options of ``connect``, for the client's end.

        Returns:
            An asynchronous context manager; its value is the client's connection and the server's.

        Raises:
            TimeoutError: something was waited for in vain; the message says for what.
            TypeError, ValueError: an option is not allowed.
        """
        check_options(server or {})

        async def hold(websocket: Any) -> None:
            await websocket._wait_until(websocket._is_closed)

        watch = Watch(timeout)
        serve_options = {**(server or {}), "create_protocol": self.server_class}
        async with self._connected(hold, "/", watch, serve_options, options) as (client, served):
            (accepted,) = served.connections
            accepted._test_watch = watch
            yield client, accepted

    @asynccontextmanager
    async def handler_server(
        self, handler: AsyncHandler[Any], *, timeout: float = TIMEOUT, **options: Any
    ) -> AsyncIterator[ServerUnderTest]:
        """Serve a handler on a free port of this machine.

        ::

            async with handler_server(echo) as serving, connect(serving.uri) as websocket:
                ...

        At the end of the block, the exception of the handler is raised, if it has raised one.

        Args:
            handler: the argument of ``serve``.
            timeout: seconds for the handlers to return, at the end of the block; by default 5.
            options: options of ``serve``.

        Returns:
            An asynchronous context manager; its value has the server and its URI.

        Raises:
            TimeoutError: a handler has not returned.
            Exception: the exception of the handler.
            TypeError, ValueError: an option is not allowed, or the handler cannot be called.
        """
        watch = Watch(timeout)
        handlers = Handlers(self, handler, watch)
        opened = self.serve(handlers.watched(), HOST, 0, **watch.deadlines(options))
        async with _served(opened, handlers, watch) as server:
            yield ServerUnderTest(server, secure=options.get("ssl") is not None)

    @asynccontextmanager
    async def _connected(
        self,
        handler: Handler,
        uri: str,
        watch: Watch,
        server: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> AsyncIterator[tuple[ClientT, Any]]:
        """Give the client of a handler, and the server."""
        check_options(options)
        handlers = Handlers(self, handler, watch)
        with connected_listener() as (listener, sock):
            opened = self.unix_serve(handlers.watched(), sock=listener, **watch.deadlines(server))
            async with _served(opened, handlers, watch) as served:
                options = {**watch.deadlines(options), "create_protocol": self.client_class}
                async with self.connect(full_uri(uri), sock=sock, **options) as client:
                    client._test_watch = watch
                    yield client, served

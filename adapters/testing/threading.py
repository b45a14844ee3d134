"""Connection handlers of :mod:`adapters.threading` under test."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedOK
from wsproto_core.types import Data

from ..shared.blocks import keep_exception
from ..shared.handlers import BlockingHandler, Handler, check_plain
from ..threading import ClientConnection, Server, ServerConnection, connect, serve, unix_serve
from ..threading.connection import Connection
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

__all__ = ["connection_pair", "handler_client", "handler_server"]

T = TypeVar("T")

logger = logging.getLogger("wsproto_core.testing")


class Limited(Connection):
    """A connection whose waits end in time, or with the exception of the handler."""

    _test_watch = Watch(TIMEOUT)

    def _limit(self, wait: Callable[[float], T], timeout: float | None, missing: str) -> T:
        """Wait for the timeout that the test has given to a call, or else for that of the whole test."""
        limit = self._test_watch.timeout if timeout is None else timeout
        try:
            return wait(limit)
        except TimeoutError:
            raise TimeoutError(f"{missing} in {limit} seconds") from None
        except ConnectionClosed:
            self._test_watch.check()
            raise

    def recv(self, decode: bool | None = None, *, timeout: float | None = None) -> Any:
        receive = super().recv
        return self._limit(lambda limit: receive(decode, timeout=limit), timeout, "no message")

    def recv_streaming(self, decode: bool | None = None, *, timeout: float | None = None) -> Iterator[Any]:
        limit = self._test_watch.timeout if timeout is None else timeout
        pieces = iter(super().recv_streaming(decode, timeout=limit))
        end = object()
        while (piece := self._limit(lambda _: next(pieces, end), limit, "no piece of a message")) is not end:
            yield piece

    def __next__(self) -> Data:
        try:
            message: Data = self.recv()
        except ConnectionClosedOK:
            raise StopIteration from None
        return message

    def wait_closed(self, timeout: float | None = None) -> None:
        self._limit(super().wait_closed, timeout, "the connection was not closed")


class _Client(Limited, ClientConnection):
    """A client whose waits end in time."""


class _Server(Limited, ServerConnection):
    """A server's connection whose waits end in time."""


def _watched(handler: Handler, watch: Watch) -> Handler:
    """Return the handler for the server, whose exception the test wants to know."""
    check_plain(handler, None)

    @functools.wraps(handler)
    def watched(websocket: Any, *path: str) -> None:
        try:
            handler(websocket, *path)
        except Exception as error:
            watch.handler_raised(websocket, error)
            raise

    return watched


def _end(server: Server, watch: Watch) -> None:
    """Close the server, and wait until the handlers have returned, at most for the timeout.

    Raises:
        TimeoutError: a handler has not returned; its connection is aborted.
    """
    server.close()
    try:
        server.wait_closed(watch.timeout)
    except TimeoutError:
        server.shutdown(timeout=0)
        raise TimeoutError(f"{NOT_RETURNED} in {watch.timeout} seconds") from None


@contextmanager
def _served(opened: Server, watch: Watch) -> Iterator[Server]:
    """Give the server; at the end, raise the exception of its handler."""
    leaving: BaseException | None = None
    try:
        with opened as server:
            try:
                yield server
            except BaseException as error:
                leaving = error
                raise
            finally:
                with keep_exception(leaving, logger):
                    _end(server, watch)
    finally:
        watch.check_at_end(leaving)


@contextmanager
def _connected(
    handler: Handler, uri: str, watch: Watch, server: Mapping[str, Any], options: dict[str, Any]
) -> Iterator[tuple[Any, Server]]:
    """Give the client of a handler, and the server."""
    check_options(options)
    watched = _watched(handler, watch)
    with connected_listener() as (listener, sock):
        opened = unix_serve(watched, sock=listener, **watch.deadlines(server))
        with _served(opened, watch) as served:
            options = {**watch.deadlines(options), "create_protocol": _Client}
            client: Any
            with connect(full_uri(uri), sock=sock, **options) as client:
                client._test_watch = watch
                yield client, served


@contextmanager
def handler_client(
    handler: BlockingHandler[Any],
    uri: str = "/",
    *,
    timeout: float = TIMEOUT,
    server: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[ClientConnection]:
    """Connect to a connection handler, without a network.

    ::

        with handler_client(echo) as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"

    The handler is served by the adapter's own server, for one connection. At the end of the block, the
    connection is closed, and the handler has ``timeout`` seconds to return.

    Args:
        handler: the argument of ``serve``.
        uri: the path of the request, with a query if there is one; or a whole URI.
        timeout: the limit on each wait for the handler, in seconds, unless the call has another one; by
            default 5.
        server: options of ``serve``, for the server.
        options: options of ``connect``, for the client.

    Returns:
        A context manager; its value is the client's connection. Its methods, and the end of the block, may
        raise, besides the errors of any connection:

    Raises:
        TimeoutError: something was waited for in vain; the message says for what.
        Exception: the exception of the handler, in the place of :exc:`ConnectionClosed`.
        TypeError, ValueError: an option is not allowed, or the handler cannot be called.
    """
    with _connected(handler, uri, Watch(timeout), server or {}, options) as (client, _):
        yield client


@contextmanager
def connection_pair(
    *, timeout: float = TIMEOUT, server: Mapping[str, Any] | None = None, **options: Any
) -> Iterator[tuple[ClientConnection, ServerConnection]]:
    """Open a connection without a network, and return both ends; neither does anything by itself.

    ::

        with connection_pair() as (client, server):
            client.send("hello")
            assert server.recv() == "hello"

    Args:
        timeout: the limit on each wait for the other end, in seconds; by default 5.
        server: options of ``serve``, for the server's end.
        options: options of ``connect``, for the client's end.

    Returns:
        A context manager; its value is the client's connection and the server's.

    Raises:
        TimeoutError: something was waited for in vain; the message says for what.
        TypeError, ValueError: an option is not allowed.
    """
    check_options(server or {})

    def hold(websocket: Any) -> None:
        websocket._wait_until(websocket._is_closed, None, "")

    watch = Watch(timeout)
    serve_options = {**(server or {}), "create_protocol": _Server}
    with _connected(hold, "/", watch, serve_options, options) as (client, served):
        accepted: Any
        (accepted,) = served.connections
        accepted._test_watch = watch
        yield client, accepted


@contextmanager
def handler_server(
    handler: BlockingHandler[Any], *, timeout: float = TIMEOUT, **options: Any
) -> Iterator[ServerUnderTest]:
    """Serve a handler on a free port of this machine.

    ::

        with handler_server(echo) as serving, connect(serving.uri) as websocket:
            ...

    At the end of the block, the exception of the handler is raised, if it has raised one.

    Args:
        handler: the argument of ``serve``.
        timeout: seconds for the handlers to return, at the end of the block; by default 5.
        options: options of ``serve``.

    Returns:
        A context manager; its value has the server and its URI.

    Raises:
        TimeoutError: a handler has not returned.
        Exception: the exception of the handler.
        TypeError, ValueError: an option is not allowed, or the handler cannot be called.
    """
    watch = Watch(timeout)
    opened = serve(_watched(handler, watch), HOST, 0, **watch.deadlines(options))
    with _served(opened, watch) as server:
        yield ServerUnderTest(server, secure=options.get("ssl") is not None)

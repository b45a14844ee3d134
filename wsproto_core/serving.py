"""What the servers of all adapters have in common: everything that needs no waiting, and handlers.

:class:`BaseServer` knows the connections and how they end; :class:`BaseServerConnection` what is
asked of the users' functions, and what is made of what they return or raise.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .asynchronous import AsyncConnection
from .connection import BaseConnection, takes_path
from .events import Request
from .exceptions import ConnectionClosed
from .frames import serialize_close
from .handshake import select_subprotocol
from .http import Headers, Response
from .logs import describe
from .options import ServeOptions
from .routing import Route, Router
from .server import ServerProtocol
from .typing import CloseCode, State, Subprotocol

__all__ = ["AsyncServerConnection", "BaseServer", "BaseServerConnection", "Handler"]

Handler: TypeAlias = Callable[..., Any]
"""A function that takes a connection, or that and the request's path; asynchronous where connections are."""


class BaseServer:
    """The connections of a server, in any state.

    Attributes:
        connections: those there are; treat it as read-only.
        handler_takes_path: whether the handler wants the request's path as its second argument.
        closing: whether it is closed or closing.
    """

    def __init__(self, handler: Handler) -> None:
        """
        Arguments:
            handler: what is run for each connection.

        Raises:
            TypeError: it cannot be called with a connection, nor with that and a path.
        """
        self.connections: set[Any] = set()
        self.handler_takes_path = takes_path(handler)
        self.closing = False
        self._admitted = 0

    def admit(self, max_connections: int | None) -> bool:
        """Count one more connection, if that is not too many; :meth:`dismiss` is to follow in the end."""
        if max_connections is not None and self._admitted >= max_connections:
            return False
        self._admitted += 1
        return True

    def dismiss(self) -> None:
        """A connection that was admitted has ended."""
        self._admitted -= 1

    def close(
        self, close_connections: bool = True, code: int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop to accept connections and close those there are; does not wait, see :meth:`wait_closed`.

        Clients in the opening handshake get HTTP status 503. In the handlers of open connections,
        ``recv`` and ``send`` raise :exc:`ConnectionClosedOK`, if ``code`` is 1000 or 1001.

        Arguments:
            close_connections: ``False`` leaves the open ones to their handlers.
            code: close code for the open ones.
            reason: close reason for the open ones, at most 123 bytes in UTF-8.

        Raises:
            ValueError: the code or the reason is not allowed.
        """
        serialize_close(code, reason)
        self.shut_down(code if close_connections else None, reason)

    def shut_down(self, code: int | None, reason: str) -> None:
        """Refuse opening handshakes with HTTP status 503 and begin the closing ones.

        Arguments:
            code: close code for the open connections; ``None`` leaves them to their handlers.
            reason: close reason.
        """
        self.closing = True
        for connection in list(self.connections):
            connection.shut_down(code, reason)


class BaseServerConnection(BaseConnection):
    """A server's connection.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.

    Attributes:
        route: on a server made by ``route``, where the request leads to; ``None`` before that is known.
    """

    protocol: ServerProtocol
    route: Route | None = None

    def _serve_for(self, handler: Handler, server: BaseServer, options: ServeOptions) -> None:
        self.handler = handler
        self.server = server
        self._process_request = options.get("process_request")
        self._max_connections = options.get("max_connections")

    def process_request(self, path: str, request_headers: Headers) -> Any:
        """Answer the HTTP request, or leave it to the opening handshake; may be a coroutine function.

        By default this calls what the option of the same name gives.

        Arguments:
            path: the request's path, with its query.
            request_headers: its headers.

        Returns:
            ``None`` to go on, or the response to give instead: a :class:`Response`, or a triple of
            status, headers and body.
        """
        return None if self._process_request is None else self._process_request(path, request_headers)

    def select_subprotocol(
        self, client_subprotocols: Sequence[Subprotocol], server_subprotocols: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        """Choose a subprotocol among the client's and the server's, or ``None``.

        By default the preferences of both have the same weight. The option of the same name takes
        precedence over this method.
        """
        return select_subprotocol(client_subprotocols, server_subprotocols)

    def _find_route(self, request: Request) -> Response | None:
        """Find the handler that a request is for, or the response to give instead, if rules decide that.

        It is for what :meth:`process_request` has not answered.
        """
        if isinstance(self.handler, Router):
            found = self.handler.route(request)
            if isinstance(found, Response):
                return found
            self.route = found
        return None

    def _call_handler(self) -> Any:
        return self.handler(self, self.path) if self.server.handler_takes_path else self.handler(self)

    def _judge(self, error: Exception) -> CloseCode:
        """Log what a handler raised, and say by which code the connection is to be closed."""
        # Tasks that a handler starts may each see the connection closed.
        group = error if isinstance(error, ExceptionGroup) else ExceptionGroup("", [error])
        # That another connection is closed, as a proxy may see, is an error like any other.
        if self.protocol.state is not State.OPEN and group.split(ConnectionClosed)[1] is None:
            self.logger.debug("connection handler ended: %s", describe(error))
            return CloseCode.NORMAL_CLOSURE
        self.logger.error("connection handler failed", exc_info=error)
        return CloseCode.INTERNAL_ERROR

    def _begin_shut_down(self, code: int | None, reason: str) -> None:
        self.protocol.shut_down()
        if code is not None:
            self.protocol.close(code, reason)


class AsyncServerConnection(AsyncConnection, BaseServerConnection):
    """A server's connection on an asynchronous adapter."""

    def shut_down(self, code: int | None, reason: str) -> None:
        """The server is closing: refuse the opening handshake, or begin the closing one.

        Arguments:
            code: close code; ``None`` leaves an open connection alone.
            reason: close reason.
        """
        self._begin_shut_down(code, reason)
        self._react()

    async def _serve(self, request: Request) -> None:
        """Answer the request; run the handler if there is a connection; see it closed."""
        if self.server.admit(self._max_connections):
            try:
                await self._answer(request)
                if self.protocol.state is State.OPEN:
                    await self._handle()
            finally:
                self.server.dismiss()
        else:
            self.protocol.refuse_connection()
            self._react()
        await self.wait_closed()

    async def _answer(self, request: Request) -> None:
        """Perform the opening handshake."""
        result: Any
        try:
            result = self.process_request(request.path, request.headers)
            if inspect.isawaitable(result):
                result = await result
            if result is None:
                result = self._find_route(request)
        except Exception as error:
            result = error
        self.protocol.answer(result, select_subprotocol=self.select_subprotocol)
        if self.protocol.handshake_error is None:
            self.log_open()
        self._react()

    async def _handle(self) -> None:
        """Run the handler, then close the connection."""
        code = CloseCode.NORMAL_CLOSURE
        try:
            await self._call_handler()
        except Exception as error:
            code = self._judge(error)
        await self.close(code)

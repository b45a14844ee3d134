"""Servers on runtimes with structured concurrency."""

from __future__ import annotations

import math
import socket
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, Self, TypeVar, Unpack

from adapters.shared.addresses import Address
from adapters.shared.handlers import Handler, check_async_handler
from adapters.shared.listening import bind_tcp, bind_unix, hosts_of, listen
from adapters.shared.logs import default_logger, log_failure
from adapters.shared.serving import AsyncServerConnection, BaseServer
from adapters.shared.stream_options import check_names, check_serve
from wsproto_core.handshake.server import ServerProtocol
from wsproto_core.options import Logger, ServeOptions, ServerOptions, split_options
from wsproto_core.types import Side, SocketPath, State

from .connection import StructuredConnection
from .runtime import Opening, Runtime, Scope, Tasks
from .transport import Transport

__all__ = ["StructuredServe", "StructuredServer", "StructuredServerConnection"]


class StructuredServerConnection(StructuredConnection, AsyncServerConnection):
    """A server's connection.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.
    """

    def __init__(self, handler: Handler, server: BaseServer, **options: Unpack[ServeOptions]) -> None:
        """
        Args:
            handler: what ``serve`` was given.
            server: the server that this connection belongs to.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        ours, _ = split_options(ServerOptions, options)
        protocol = ServerProtocol(clock=self.runtime.get_clock(), date=self.runtime.date, **ours)
        super().__init__(protocol, options.get("logger"))
        self._serve_for(handler, server, options)
        self._runner: object = None

    async def run(self, open_transport: Callable[[], Awaitable[Transport]]) -> None:
        """Open the connection, run the handler, and see it closed.

        Args:
            open_transport: gives the stream, after TLS's handshake if there is one.
        """
        self._runner = self.runtime.current_task()
        transport = await self._open(open_transport)
        if transport is None:
            return
        failure: Exception | None = None
        async with self.runtime.open_tasks() as tasks:
            await self.start(tasks, transport)
            try:
                await self._wait_until(self._is_requested)
                if self.protocol.state is State.CONNECTING and self.protocol.request is not None:
                    await self._serve(self.protocol.request)
                else:
                    await self.wait_closed()
            except Exception as error:
                # Raised in here, it would be put into a group with nothing else in it.
                failure = error
                self._abandon()
            except BaseException:
                self._abandon()
                raise
        if failure is not None:
            raise failure

    async def _open(self, open_transport: Callable[[], Awaitable[Transport]]) -> Transport | None:
        """Return the stream; ``None`` if there is none in time, or before the server closes."""
        protocol = self.protocol
        deadline = protocol.deadline()
        transport: Transport | None = None
        failure: OSError | None = None

        async def open_it() -> None:
            nonlocal transport
            transport = await open_transport()

        try:
            with self.runtime.open_scope(math.inf if deadline is None else deadline):
                await self._give_up_when(self._is_answered, open_it())
        except OSError as error:
            failure = error
        if transport is None:
            protocol.handle_timeout()
            protocol.connection_lost(failure)
            self._react()
        return transport

    async def _give_up_when(self, condition: Callable[[], bool], work: Awaitable[None]) -> None:
        with self.runtime.open_scope(math.inf) as scope:
            if condition():
                scope.cancel()
            self._waiters.add(condition, scope.cancel)
            try:
                await work
            finally:
                self._waiters.remove(condition, scope.cancel)

    def _is_own_task(self) -> bool:
        return self._runner is not None and self._runner == self.runtime.current_task()

    def _is_requested(self) -> bool:
        return self.protocol.request is not None or self.protocol.state is not State.CONNECTING


class StructuredServer(BaseServer):
    """A server that listens: what ``serve`` gives.

    As an asynchronous context manager it is closed on exit.

    Attributes:
        closing: whether :meth:`close` has been called.
        listeners: the runtime's, which accept the connections.
    """

    def __init__(
        self, handler: Handler, runtime: Runtime, listeners: list[Any], logger: Logger | None = None
    ) -> None:
        super().__init__(handler, logger)
        self.listeners = listeners
        self._runtime = runtime
        self._accepting: Scope | None = None
        self._close_called = runtime.make_event()
        self._closed = runtime.make_event()

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return not self.closing

    async def serve_forever(self) -> None:
        """Accept connections until the server is closed; return when everything is.

        Raises:
            RuntimeError: this is called in one of the server's own connection handlers.
        """
        self._check_may_wait()
        await self._close_called.wait()
        await self.wait_closed()

    def _shut_down(self, code: int | None, reason: str) -> None:
        super()._shut_down(code, reason)
        self._close_called.set()
        if self._accepting is not None:
            self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Wait until the server is closed, all connections are and all handlers have returned.

        Raises:
            RuntimeError: this is called in one of the server's own connection handlers.
        """
        self._check_may_wait()
        await self._closed.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: Any) -> None:
        self.close()
        if exc_type is None or issubclass(exc_type, Exception):
            await self.wait_closed()

    async def _run(self, serve: StructuredServe[Any], *, task_status: Any) -> None:
        """Accept connections until it is closed, and see their handlers end."""
        try:
            async with self._runtime.open_tasks() as handlers, self._runtime.open_tasks() as accepting:
                self._accepting = accepting.cancel_scope
                for listener in self.listeners:
                    accepting.start_soon(serve.accept, listener, partial(self._handle, serve), handlers)
                task_status.started()
        finally:
            self._closed.set()

    async def _handle(self, serve: StructuredServe[Any], stream: Any) -> None:
        """Serve a client; its errors are not the server's."""
        connection = self._make(serve._create, serve.handler, serve.options)
        if connection is None:
            await serve.abort(stream)
            return
        try:
            self._enter(connection)
            await connection.run(partial(serve.open_transport, stream))
        except Exception:
            log_failure(serve.logger, "connection failed")
        finally:
            self._leave(connection)


T = TypeVar("T", bound=StructuredServer)


class StructuredServe(Opening[T], Generic[T]):
    """What ``serve`` returns: an asynchronous context manager.

    Attributes:
        make_server: makes the server object.
        create: makes the connection objects, if no option says what does.
        option_names: those of ``serve``, ours and the adapter's.
    """

    made_by = "serve"

    make_server: Callable[[Handler, Runtime, list[Any], Logger | None], T]
    create: Callable[..., StructuredServerConnection]
    option_names: Iterable[str]

    def __init__(
        self,
        handler: Handler,
        host: str | Sequence[str] | None,
        port: int | None,
        path: SocketPath | None,
        options: Any,
    ) -> None:
        """
        Args:
            handler: what is run for each connection.
            host: where to listen: an address, several, or ``None`` for all interfaces.
            port: the TCP port, if it is not any free one.
            path: where a Unix socket is to be; ``None`` for TCP, "" for the socket that is an option.
            options: those of ``serve``.
        """
        check_async_handler(handler)
        self.handler = handler
        self.options, self.listener_options = split_options(ServeOptions, options)
        check_names(self.option_names, self.listener_options)
        self.path = check_serve(host, port, path, self.listener_options)
        self.ssl = self.listener_options.pop("ssl", None)
        self.sock = self.listener_options.pop("sock", None)
        self.made_for = self.path or self.sock or f"{host or '*'}:{port}"
        self.hosts = hosts_of(host)
        self.port = port or 0
        self._create = self.options.pop("create_protocol", None) or self.create
        self.logger = self.options.get("logger") or default_logger(Side.SERVER)

    async def _listen(self) -> list[socket.socket]:
        options = self.listener_options
        if self.sock is not None:
            bound = [self.sock]
        elif self.path is not None:
            bound = [bind_unix(self.path)]
        else:
            bound = bind_tcp(await self._look_up(), options.get("reuse_port", False))
        return listen(bound, options.get("backlog", socket.SOMAXCONN))

    async def _look_up(self) -> list[Address]:
        family = self.listener_options.get("family", socket.AF_UNSPEC)
        kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
        return [
            address
            for host in self.hosts
            for address in await self.runtime.getaddrinfo(
                host, self.port, family=family, type=kind, flags=flags
            )
        ]

    @abstractmethod
    def make_listener(self, sock: socket.socket) -> Any:
        """Return the runtime's listener for a socket that listens."""

    @abstractmethod
    async def accept(self, listener: Any, handle: Callable[[Any], Awaitable[None]], handlers: Tasks) -> None:
        """Accept streams and have each handled in a task, until this is cancelled; close the listener."""

    @abstractmethod
    async def open_transport(self, stream: Any) -> Transport:
        """Do TLS's handshake on a stream that was accepted, if there is one."""

    @abstractmethod
    async def abort(self, stream: Any) -> None:
        """Close a stream at once."""

    async def serve_stream(self, stream: Any) -> None:
        """Serve a client whose stream was opened in another way."""
        self.runtime.check_running()
        self.runtime.check_stream(stream)
        await self.make_server(self.handler, self.runtime, [], self.logger)._handle(self, stream)

    async def _open(self, tasks: Tasks) -> T:
        sockets = await self._listen()
        listeners = [self.make_listener(sock) for sock in sockets]
        server = self.make_server(self.handler, self.runtime, listeners, self.logger)
        server._listens_on(sockets)
        try:
            await tasks.start(partial(server._run, self))
        except BaseException:
            for sock in server.sockets:
                sock.close()
            raise
        server._log_listening()
        return server

    async def run(self, task_status: Any) -> None:
        """Serve until this is cancelled; for ``nursery.start``, which gets the listening addresses."""
        async with self as server:
            task_status.started(list(server.addresses))
            await server.serve_forever()

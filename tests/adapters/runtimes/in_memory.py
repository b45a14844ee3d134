"""The core alone, over memory and in virtual time: :mod:`wsproto_core.testing` with tasks.

Nothing here waits. A task yields what it waits for; when no task can go on, the links are served;
when these are at rest too, the clock goes on to whatever is due next. If nothing is, the test hangs
and has failed.

What is below stands for an adapter, but for the sockets. It is also the shortest one that there is.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Self

from adapters.shared.connection import BaseConnection, fragments_of
from adapters.shared.decoding import PieceConverter, convert_message
from adapters.shared.draining import Drain, check_drain
from adapters.shared.handlers import takes_path
from adapters.shared.options import ConnectSettings, ServeSettings, connection_options, split_options
from wsproto_core import ClientProtocol, ConnectionClosed, ConnectionClosedOK, Protocol, ServerProtocol, State
from wsproto_core.closing import serialize_close
from wsproto_core.events import Event as ProtocolEvent
from wsproto_core.events import Pong
from wsproto_core.exceptions import ConcurrencyError
from wsproto_core.handshake.headers import select_subprotocol
from wsproto_core.http import Request
from wsproto_core.http.uri import parse_uri
from wsproto_core.options import resolve
from wsproto_core.testing import Clock, End, Link
from wsproto_core.types import StreamAction

from .base import Event, Handler, Runtime, Task, echo
from .peers import RawClient, RawServer, Stream

LONGEST = 300.0
"""Seconds of virtual time after which a test has failed."""

MOST_TURNS = 1_000_000
"""Turns of all tasks and links after which a test has failed, which may go on without time going on."""

LATENCY = 0.0001
"""Seconds that bytes take from one end to the other."""


class _Cancelled(BaseException):
    pass


class Wait:
    """What a task waits for; and until when, if that wakes it as well."""

    def __init__(self, ready: Callable[[], object], deadline: float = math.inf) -> None:
        self.ready = ready
        self.deadline = deadline

    def __await__(self) -> Generator[Wait, None, None]:
        if not self.ready():
            yield self


async def moment(clock: Clock, seconds: float = 1e-6) -> None:
    """Let all others have a turn, and time go on: nobody can do for ever what takes no time."""
    deadline = clock.now + seconds
    await Wait(lambda: clock.now >= deadline, deadline)


class MemoryTask(Task):
    def __init__(self, runtime: Runtime, function: Callable[..., Awaitable[Any]], args: Any) -> None:
        super().__init__(runtime, function, args)
        self.coroutine = self.run()
        self.waits_for = Wait(lambda: True)
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = not self.done()

    def step(self, now: float) -> bool:
        """Let it go on if it can; tell whether it could."""
        if self.done() or not (self.cancelled or self.waits_for.ready() or self.waits_for.deadline <= now):
            return False
        try:
            if self.cancelled:
                self.cancelled = False
                self.waits_for = self.coroutine.throw(_Cancelled())
            else:
                self.waits_for = self.coroutine.send(None)
        except (StopIteration, Exception, _Cancelled):
            assert self.done()
        return True


class MemoryEvent:
    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    async def wait(self) -> None:
        await Wait(self.is_set)


class PongWaiter:
    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection
        self.latency: float | None = None

    def __await__(self) -> Generator[Wait, None, float]:
        protocol = self._connection.protocol
        yield from Wait(lambda: self.latency is not None or not protocol.receiving).__await__()
        if self.latency is None:
            raise protocol.close_exception()
        return self.latency


class MemoryConnection(BaseConnection):
    """A connection, given its protocol and the end of the link that serves that."""

    end: End
    local_address = remote_address = None

    def __init__(self, protocol: Protocol, logger: Any, clock: Clock) -> None:
        super().__init__(protocol, logger)
        self.clock = clock
        self._receiving = False
        self._fragmenting = False
        self._pings: dict[bytes, PongWaiter] = {}

    def handle_event(self, event: ProtocolEvent) -> None:
        self._log_event(event)
        if isinstance(event, Pong):
            for data, latency in event.answered:
                if waiter := self._pings.pop(data, None):
                    waiter.latency = latency

    async def recv(self, decode: bool | None = None) -> Any:
        message = await self._receive(self.protocol.next_message)
        return message if decode is None else convert_message(message, decode)

    async def _receive(self, following: Callable[[], Any]) -> Any:
        if self._receiving:
            raise ConcurrencyError(
                "another task is receiving from this connection already: only one at a time may do so; "
                "let one task receive, and hand the messages to the others by a queue"
            )
        found = following()

        def ready() -> bool:
            nonlocal found
            if found is None:
                found = following()
            return found is not None or not self.protocol.receiving

        self._receiving = True
        try:
            if found is None:
                await Wait(ready)
        except _Cancelled:
            self.protocol.stop_waiting()
            raise
        finally:
            self._receiving = False
        if found is None:
            raise self.protocol.close_exception()
        return found

    async def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[Any]:
        converter = PieceConverter(decode)
        final = False
        while not final:
            fragment = await self._receive(self.protocol.next_fragment)
            final = fragment.final
            if piece := converter.convert(fragment.data, final):
                yield piece

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.recv()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None

    async def send(self, message: Any, text: bool | None = None, compress: bool | None = None) -> None:
        fragments = fragments_of(message)
        if fragments is None:
            await self._room(fragmented=False)
            self.protocol.send(message, text=text, compress=compress)
            await moment(self.clock)
            await self._room()
            return
        await self._room(fragmented=False)
        self._fragmenting = True
        begun = False
        try:
            async for fragment in _asynchronous(fragments):
                await self._room()
                self.protocol.send(fragment, text=text, fin=False, compress=compress)
                begun = True
                await self._room()
            if begun:
                self.protocol.end_message()
        except BaseException as error:
            if begun and self.protocol.state is State.OPEN:
                self.protocol.fail(error, 1011, "error in a fragmented message")
            raise
        finally:
            self._fragmenting = False

    async def _room(self, *, fragmented: bool = True) -> None:
        """Wait until there is room to send, and if need be until no message is sent in fragments."""
        protocol = self.protocol
        if not protocol.writable or (self._fragmenting and not fragmented):
            await Wait(
                lambda: (
                    not protocol.receiving or (protocol.writable and (fragmented or not self._fragmenting))
                )
            )
            if not protocol.receiving:
                raise protocol.close_exception()

    async def ping(self, data: Any = None) -> PongWaiter:
        payload = self.protocol.ping(data)
        waiter = self._pings[payload] = PongWaiter(self)
        return waiter

    async def pong(self, data: Any = b"") -> None:
        self.protocol.pong(data)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.protocol.close(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        await Wait(lambda: self.protocol.state is State.CLOSED)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: Any) -> None:
        try:
            if exc_type is not _Cancelled:
                await self.close(1000 if exc_type is None else 1011)
                return
        except _Cancelled:
            self._abandon()
            raise
        self._abandon()

    def _abandon(self) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.close(1001)
            self.end.serve()
        self.end.close()


async def _asynchronous(items: Any) -> AsyncIterator[Any]:
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class MemoryClientConnection(MemoryConnection):
    protocol: ClientProtocol
    runtime: Memory

    def __init__(self, uri: Any, *, settings: ConnectSettings | None = None, **options: Any) -> None:
        settings = resolve(ConnectSettings, options, settings)
        protocol = ClientProtocol(uri, clock=self.runtime.clock, settings=settings)
        super().__init__(protocol, settings.logger, self.runtime.clock)


class MemoryServerConnection(MemoryConnection):
    protocol: ServerProtocol

    def __init__(
        self,
        handler: Handler,
        server: MemoryServer,
        *,
        settings: ServeSettings | None = None,
        **options: Any,
    ) -> None:
        settings = resolve(ServeSettings, options, settings)
        self._process_request = settings.process_request
        clock = server.runtime.clock
        protocol = ServerProtocol(clock=clock, date=clock, settings=settings)
        super().__init__(protocol, settings.logger, clock)
        self.handler = handler
        self.server = server
        self.task: Task | None = None

    def process_request(self, path: str, request_headers: Any) -> Any:
        return None if self._process_request is None else self._process_request(path, request_headers)

    def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Sequence[Any]) -> Any:
        return select_subprotocol(client_subprotocols, server_subprotocols)

    def handle_event(self, event: ProtocolEvent) -> None:
        super().handle_event(event)
        if isinstance(event, Request):
            self.task = self.server.runtime.spawn(self._serve, event)

    async def _serve(self, request: Request) -> None:
        try:
            result: Any
            try:
                result = self.process_request(request.path, request.headers)
                if inspect.isawaitable(result):
                    result = await result
            except Exception as error:
                result = error
            self.protocol.answer(result, select_subprotocol=self.select_subprotocol)
            if self.protocol.handshake_error is None:
                self._log_open()
            if self.protocol.state is State.OPEN:
                await self._handle()
            await self.wait_closed()
        except _Cancelled:
            self._abandon()
            raise

    def finished(self) -> bool:
        return self.protocol.state is State.CLOSED if self.task is None else self.task.done()

    async def _handle(self) -> None:
        code = 1000
        try:
            await (self.handler(self, self.path) if takes_path(self.handler) else self.handler(self))
        except Exception as error:
            if isinstance(error, ConnectionClosed) and self.protocol.state is not State.OPEN:
                self.logger.debug("connection handler ended: %a", str(error))
            else:
                self.logger.exception("connection handler failed")
                code = 1011
        await self.close(code)


class MemoryServer:
    """Where links to a name come from."""

    def __init__(self, runtime: Memory, handler: Handler, name: str, options: dict[str, Any]) -> None:
        takes_path(handler)
        self.runtime = runtime
        self.name = name
        self.handler = handler
        self.settings, unknown = split_options(ServeSettings, options)
        assert not unknown, unknown
        self._accepted: list[MemoryServerConnection] = []
        self.drain: Drain[MemoryServerConnection] | None = None

    def connection(self) -> MemoryServerConnection:
        create = self.settings.create_protocol or MemoryServerConnection
        self._accepted.append(create(self.handler, self, **connection_options(self.settings)))
        return self._accepted[-1]

    @property
    def connections(self) -> set[MemoryServerConnection]:
        return {connection for connection in self._accepted if not connection.finished()}

    def is_serving(self) -> bool:
        return self.name in self.runtime.servers

    def close(
        self, close_connections: bool = True, code: int = 1001, reason: str = "", drain: float = 0
    ) -> None:
        check_drain(drain)
        serialize_close(code, reason)
        if drain and not close_connections:
            raise ValueError("drain with close_connections=False")
        self.runtime.servers.pop(self.name, None)
        for connection in list(self.connections):
            connection.protocol.shut_down()
        opened = [each for each in self.connections if each.protocol.state is State.OPEN]
        if close_connections:
            self.drain = Drain(
                opened,
                drain,
                self.runtime.clock,
                self._call_at,
                lambda connection: connection.protocol.close(code, reason),
                self.drain,
            )
            self.drain.close_due()

    def _call_at(self, when: float, function: Callable[[], bool]) -> Callable[[], object]:
        drain = self.drain
        self.runtime.spawn(self._call_unless_replaced, when, function, drain)
        return lambda: None

    async def _call_unless_replaced(self, when: float, function: Callable[[], bool], drain: Any) -> None:
        await Wait(lambda: self.drain is not drain or not self.connections, when)
        if self.drain is drain and self.connections:
            function()

    async def wait_closed(self) -> None:
        await Wait(lambda: not self.is_serving() and not self.connections)


class MemoryStream(Stream):
    """An end of a link that bytes go through as they are: it is served like a protocol."""

    wants_read = True
    link: Link[Any, Any]

    def __init__(self, runtime: Memory) -> None:
        self._runtime = runtime
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._unread_eof = False
        self._error: Exception | None = None
        self.stream_action = StreamAction.KEEP

    @property
    def _end(self) -> End:
        return self.link.client_end if self.link.client is self else self.link.server_end

    async def read(self) -> bytes:
        # As a socket does: nothing is read until somebody asks.
        self._end.reads = True
        await Wait(lambda: self._incoming or self._unread_eof or self._error)
        self._end.reads = False
        if self._incoming:
            data = bytes(self._incoming)
            self._incoming.clear()
            return data
        if self._error is not None:
            raise self._error
        return b""

    async def write(self, data: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._outgoing += data
        await moment(self._runtime.clock, LATENCY)
        await Wait(lambda: not self._outgoing or self._error)
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        self.stream_action = StreamAction.SEND_EOF

    def reset(self) -> None:
        other = self.link.server_end if self.link.client is self else self.link.client_end
        self._end.close()
        other.reset()

    def close(self) -> None:
        self._end.serve()
        self._end.close()

    # What serves a protocol calls

    def receive_data(self, data: bytes) -> None:
        self._incoming += data

    def receive_eof(self) -> None:
        self._unread_eof = True

    def connection_lost(self, error: Exception | None) -> None:
        self._error = error

    def data_to_send(self) -> list[bytes]:
        data = bytes(self._outgoing)
        return [data] if data else []

    def data_sent(self, count: int) -> None:
        del self._outgoing[:count]

    def eof_sent(self) -> None:
        self.stream_action = StreamAction.KEEP

    def events(self, messages: bool = True) -> list[ProtocolEvent]:
        return []

    def deadline(self) -> None:
        return None


class Memory(Runtime):
    ServerConnection = MemoryServerConnection

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.clock = Clock()
        self.links: list[Link[Any, Any]] = []
        self.servers: dict[str, MemoryServer] = {}
        self._numbers = itertools.count()
        # The class that is made a connection of has to know where.
        self.ClientConnection = type("ClientConnection", (MemoryClientConnection,), {"runtime": self})

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await test

        main = self.spawn(run)
        try:
            for _ in range(MOST_TURNS):
                if main.done():
                    break
                assert self._turn(), f"nobody can go on at {self.clock.now} seconds"
            else:
                raise AssertionError(f"no end at {self.clock.now} seconds")
            main.check()
        except BaseException as failure:
            self.explain(failure)
            raise
        while any(not task.done() for task in self.tasks) and self._turn():
            pass
        for task in self.tasks:
            task.check()

    def _turn(self) -> bool:
        """Let everybody go on once, or else time; tell whether there is anything to come."""
        tasks = [task for task in self.tasks if isinstance(task, MemoryTask) and not task.done()]
        ends = [end for link in self.links for end in (link.client_end, link.server_end)]
        if sum(task.step(self.clock.now) for task in tasks) + sum(end.serve() for end in ends):
            return True
        times = [task.waits_for.deadline for task in tasks]
        times += [min(end.deadline(), end.next_arrival()) for end in ends]
        following = min((time for time in times if time > self.clock.now), default=math.inf)
        if following > LONGEST:
            return False
        self.clock.now = following
        return True

    def now(self) -> float:
        return self.clock.now

    async def sleep(self, seconds: float) -> None:
        # Even a moment lets others have their turn.
        deadline = self.clock.now + max(seconds, 1e-6)
        await Wait(lambda: self.clock.now >= deadline, deadline)

    def event(self) -> Event:
        return MemoryEvent()

    def start(self, function: Callable[..., Awaitable[Any]], args: Any) -> Task:
        return MemoryTask(self, function, args)

    async def timeout(
        self, seconds: float, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        coroutine: Any = function(*args, **options)
        return await _Timeout(coroutine, self.clock, self.clock.now + max(seconds, 1e-6))

    async def readable(self, sock: socket.socket) -> None:
        raise NotImplementedError

    async def writable(self, sock: socket.socket) -> None:
        raise NotImplementedError

    # Connections

    @contextlib.asynccontextmanager
    async def connect(self, uri: str, **options: Any) -> AsyncIterator[Any]:
        async with await self.open(uri, **options) as connection:
            yield connection

    async def open(self, uri: str, **options: Any) -> Any:
        parsed = parse_uri(uri)
        settings, unknown = split_options(ConnectSettings, options)
        assert not unknown, unknown
        create = settings.create_protocol or self.ClientConnection
        connection: MemoryClientConnection = create(parsed, **connection_options(settings))
        if parsed.host not in self.servers:
            raise ConnectionRefusedError(f"nobody serves {uri}")
        return await self._open(connection, self.servers[parsed.host].connection())

    async def _open(self, client: MemoryClientConnection, server: Any) -> MemoryClientConnection:
        self._link(client, server)
        try:
            await Wait(lambda: client.protocol.state is not State.CONNECTING)
            if client.protocol.handshake_error is not None:
                raise client.protocol.handshake_error
        except BaseException:
            client.end.close()
            raise
        return client

    def _link(self, client: Any, server: Any) -> None:
        """Join two connections, or a connection and a peer made by hand."""
        connections = {id(each.protocol): each for each in (client, server) if hasattr(each, "protocol")}
        link: Link[Any, Any] = Link(
            getattr(client, "protocol", client),
            getattr(server, "protocol", server),
            self.clock,
            latency=LATENCY,
            accept=False,
            on_event=lambda protocol, event: connections[id(protocol)].handle_event(event),
        )
        self.links.append(link)
        for each, end in ((client, link.client_end), (server, link.server_end)):
            end.takes_messages = False
            if isinstance(each, MemoryStream):
                each.link = link
                end.reads = False
            else:
                each.end = end

    @contextlib.asynccontextmanager
    async def serve(self, handler: Handler, *args: Any, **options: Any) -> AsyncIterator[Any]:
        name = f"server{next(self._numbers)}.test"
        server = self.servers[name] = MemoryServer(self, handler, name, options)
        try:
            yield server
        except BaseException:
            server.close()
            raise
        finally:
            if not server.drain:
                server.close()
            await server.wait_closed()

    def unix_connect(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    def unix_serve(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    def route(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    def unix_route(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def serving(self, handler: Handler | None = None, **options: Any) -> AsyncIterator[tuple[Any, str]]:
        options.setdefault("compression", None)
        async with self.serve(handler or echo, **options) as server:
            yield server, self.uri_of(server)

    def uri_of(self, server: Any, path: str = "/", scheme: str = "ws", host: str = "") -> str:
        return f"{scheme}://{host or server.name}{path}"

    @contextlib.asynccontextmanager
    async def connected(
        self,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        *,
        tls: bool = False,
        small_buffers: bool = False,
    ) -> AsyncIterator[tuple[Any, Any]]:
        # The buffers of a link are small anyway.
        assert not tls
        async with super().connected(client, server) as ends:
            yield ends

    @contextlib.asynccontextmanager
    async def raw_connection(self, server: Any, **options: bool) -> AsyncIterator[RawClient]:
        stream = MemoryStream(self)
        self._link(stream, server.connection())
        try:
            yield RawClient(stream)
        finally:
            stream.close()

    @contextlib.asynccontextmanager
    async def raw_server(
        self,
        *,
        small_buffers: bool = False,
        tls: bool = False,
        answer: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[tuple[RawServer, Any]]:
        assert not tls
        create = options.pop("create_protocol", None) or self.ClientConnection
        client = create("ws://raw.test/", **{"ping_interval": None, "compression": None, **options})
        stream = MemoryStream(self)
        peer = RawServer(stream)
        opening = self.spawn(self._open, client, stream)
        await Wait(lambda: hasattr(stream, "link"))
        await peer.answer(**(answer or {}))
        async with await opening.result():
            try:
                yield peer, client
            finally:
                peer.close()


class _Timeout:
    """Drive a coroutine until it ends or time is up."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], clock: Clock, deadline: float) -> None:
        self._coroutine = coroutine
        self._clock = clock
        self._deadline = deadline

    def __await__(self) -> Generator[Wait, None, Any]:
        step: Callable[[], Wait] = lambda: self._coroutine.send(None)  # noqa: E731
        cancelled = False
        while True:
            try:
                wait = step()
            except StopIteration as stop:
                return stop.value
            except _Cancelled:
                if cancelled:
                    raise TimeoutError from None
                raise
            deadline = math.inf if cancelled else self._deadline
            step = lambda: self._coroutine.send(None)  # noqa: E731
            try:
                yield Wait(wait.ready, min(deadline, wait.deadline))
            except _Cancelled as error:
                step = lambda error=error: self._coroutine.throw(error)  # type: ignore[misc]  # noqa: E731
                continue
            if not wait.ready() and self._clock.now >= deadline:
                cancelled = True
                step = lambda: self._coroutine.throw(_Cancelled())  # noqa: E731

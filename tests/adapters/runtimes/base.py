"""What the tests need of a runtime, and what can be made of that.

A test is a coroutine function. It runs with a deadline, and must leave nothing behind: no task, no
thread, no open socket, no exception that nobody looked at.

On threads a coroutine never suspends: whatever it awaits blocks instead, and is done when it
returns. So the same test drives blocking calls, and its tasks are threads.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import socket
import ssl
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from tests.core.helpers import KEY, request

from .peers import RawClient, RawListener, RawServer, SocketStream, Stream, TLSStream

# Deadlines of tests. They hold on a machine with a load of ten times its processors, where a task or a
# thread may get its turn a second late.

DEADLINE = float(os.environ.get("CONTRACT_DEADLINE", "100"))
"""Seconds after which a test has failed."""

AMPLE = 2.0
"""Seconds of a timeout that must not expire before a step of the test is done, but has to end later."""

ENDING = 20.0
"""Seconds in which threads and tasks end that have nothing to do any more."""

HOST = "127.0.0.1"

CERTIFICATES = Path(__file__).parent.parent.parent / "certificates"

QUIET: dict[str, Any] = {"ping_interval": None, "compression": None}
"""Options for tests that look at each frame: no keepalive, and no compression."""

SMALL = 2**12
"""Bytes that the operating system is asked to buffer for tests of backpressure."""

Handler = Callable[..., Awaitable[Any]]


class Cancelled(Exception):
    """The task whose result was asked for has been cancelled."""


class Event(Protocol):
    """Something to wait for; any task or thread may set it."""

    def set(self) -> object: ...

    def is_set(self) -> bool: ...

    async def wait(self) -> Any: ...


class Task:
    """A function that runs beside the test."""

    def __init__(self, runtime: Runtime, function: Callable[..., Awaitable[Any]], args: Any) -> None:
        self.name = getattr(function, "__qualname__", repr(function))
        self._function = function
        self._args = args
        self._ended = runtime.event()
        self._value: Any = None
        self._error: BaseException | None = None
        self.looked_at = False

    async def run(self) -> None:
        """Run it; for the runtime."""
        try:
            self._value = await self._function(*self._args)
        except Exception as error:
            self._error = error
        except BaseException:
            self._error = Cancelled(self.name)
            raise
        finally:
            self._ended.set()

    def done(self) -> bool:
        return self._ended.is_set()

    async def result(self) -> Any:
        """Wait for its end; return what it returned, or raise what it raised."""
        await self._ended.wait()
        self.looked_at = True
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> None:
        """Cancel it, where there is such a thing."""
        raise NotImplementedError

    def unseen_error(self) -> BaseException | None:
        """The exception with which it has failed, if the test has not been told of it."""
        return None if self.looked_at or isinstance(self._error, Cancelled) else self._error

    def check(self) -> None:
        """At the end of the test: see that it has ended, and that somebody knows how."""
        assert self.done(), f"left behind: {self.name}"
        if (error := self.unseen_error()) is not None:
            raise error


class Runtime(ABC):
    """A runtime. What is abstract here is all that a new one must define.

    Attributes:
        name: its name in the table of runtimes.
        ClientConnection: the adapter's class.
        ServerConnection: the adapter's class.
        adapter: the adapter's module, of which some functions are called as they are.
        alone: whether no other runtime is at work in this process.
        deadline: seconds after which a test has failed.
    """

    ClientConnection: type[Any]
    ServerConnection: type[Any]
    adapter: Any
    alone = True
    deadline = DEADLINE

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: list[Task] = []

    @abstractmethod
    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run a test to its end, and see whether it leaves anything behind."""

    def explain(self, failure: BaseException, *others: object) -> None:
        """Add to the failure of a test the other errors, one of which may be its reason.

        Args:
            failure: the exception that is reported.
            others: errors and other reports, besides the errors of tasks.
        """
        notes = [(task.name, task.unseen_error()) for task in self.tasks]
        for name, other in [*notes, *(("beside the test", other) for other in leaves(*others))]:
            if isinstance(other, BaseException) and other is not failure:
                failure.add_note(f"{name}: {''.join(traceback.format_exception(other))}")
            elif other is not None and other is not failure:
                failure.add_note(f"{name}: {other}")

    def random(self, number: int) -> random.Random:
        """A source of random numbers, the same in each run but for ``CONTRACT_SEED`` in the environment."""
        return random.Random(f"{os.environ.get('CONTRACT_SEED', '0')} {number}")

    # Time and tasks

    @abstractmethod
    async def sleep(self, seconds: float) -> None: ...

    @abstractmethod
    def event(self) -> Event: ...

    @abstractmethod
    def start(self, function: Callable[..., Awaitable[Any]], args: Any) -> Task:
        """Let a function run beside the test."""

    @abstractmethod
    async def timeout(
        self, seconds: float, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        """Call a function and give up waiting for it in time, in the runtime's own way.

        On threads, that is an argument ``timeout``, which the function must have.

        Raises:
            TimeoutError: time was up.
        """

    @abstractmethod
    async def readable(self, sock: socket.socket) -> None:
        """Wait until a non-blocking socket can be read."""

    @abstractmethod
    async def writable(self, sock: socket.socket) -> None:
        """Wait until a non-blocking socket can be written."""

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Task:
        """Let a function run beside the test; how it ended must be looked at if it failed."""
        task = self.start(function, args)
        self.tasks.append(task)
        return task

    def now(self) -> float:
        """The time in seconds, of a clock that never goes back."""
        return time.monotonic()

    async def settle(self, seconds: float = 0.05) -> None:
        """Let happen what is on its way; nothing may depend on it having happened."""
        await self.sleep(seconds)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; the test's deadline is the limit."""
        done = condition()
        while not done:
            await self.sleep(0.005)
            done = condition()

    async def until_stable(self, value: Callable[[], object], seconds: float = 0.1) -> None:
        """Wait until something has not changed for a while, as when everybody waits for another.

        On a busy machine it may go on changing later: only what holds anyway may be asserted.
        """
        last = object()
        while last != (now := value()):
            last = now
            await self.sleep(seconds)

    async def pong(self, waiter: Awaitable[float]) -> float:
        """Wait for what ``ping`` returned."""
        return await waiter

    def fragments(self, go_on: Event) -> Any:
        """An iterable of two fragments, to be sent, that waits for an event in between."""

        async def items() -> AsyncIterator[str]:
            yield "a"
            await go_on.wait()
            yield "b"

        return items()

    # The adapter

    @abstractmethod
    def connect(self, uri: str, **options: Any) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    async def open(self, uri: str, **options: Any) -> Any:
        """Connect without a block; what is returned has to be closed."""

    @abstractmethod
    def serve(self, handler: Handler, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    def unix_connect(self, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    def unix_serve(
        self, handler: Handler, *args: Any, **options: Any
    ) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    def route(self, rules: Any, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    def unix_route(self, rules: Any, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]: ...

    def reconnect(self, uri: str, **options: Any) -> AbstractAsyncContextManager[Any]:
        """An asynchronous iterator over connections, in a block."""
        manager: AbstractAsyncContextManager[Any] = self.adapter.reconnect(uri, **options)
        return manager

    def broadcast(self, connections: Iterable[Any], message: Any, *policy: Any) -> Any:
        """Send a message on many connections; what is returned tells who was skipped."""
        return self.adapter.broadcast(map(self.native, connections), message, *policy)

    async def broadcast_to_all(self, connections: Iterable[Any], message: Any) -> None:
        """Send a message on many connections, and wait for the slow ones."""
        await self.broadcast(connections, message, "wait")

    def basic_auth(self, realm: str, *args: Any, **options: Any) -> Any:
        """What makes connections that ask for HTTP Basic authentication."""
        return self.adapter.basic_auth_protocol_factory(realm, *args, **options)

    def native(self, connection: Any) -> Any:
        """The adapter's own connection, if the tests see another one."""
        return connection

    def native_handler(self, handler: Any) -> Any:
        """What the adapter is given for a handler of the tests."""
        return handler

    # Servers and connections

    def port_of(self, server: Any) -> int:
        port: int = server.sockets[0].getsockname()[1]
        return port

    def uri_of(self, server: Any, path: str = "/", scheme: str = "ws", host: str = HOST) -> str:
        return f"{scheme}://{host}:{self.port_of(server)}{path}"

    @contextlib.asynccontextmanager
    async def serving(self, handler: Handler | None = None, **options: Any) -> AsyncIterator[tuple[Any, str]]:
        """A server on a free port, and its URI; by default, it echoes.

        What is sent has the size that it says: no compression.
        """
        options.setdefault("compression", None)
        async with self.serve(handler or echo, HOST, 0, **options) as server:
            yield server, self.uri_of(server, scheme="wss" if options.get("ssl") else "ws")

    @contextlib.asynccontextmanager
    async def serve_defaults(self) -> AsyncIterator[str]:
        """A server that echoes, without any option; gives its URI."""
        async with self.serve(echo, HOST, 0) as server:
            yield self.uri_of(server)

    @contextlib.asynccontextmanager
    async def connected(
        self,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        *,
        tls: bool = False,
        small_buffers: bool = False,
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Both ends of a connection, neither of which does anything by itself.

        With small buffers, the operating system holds little, and writers have to wait soon.
        """
        accepted: list[Any] = []
        finish = self.event()

        async def handler(websocket: Any) -> None:
            accepted.append(websocket)
            await finish.wait()

        client, server = {**QUIET, **(client or {})}, {**QUIET, **(server or {})}
        if tls:
            client, server = {"ssl": client_context(), **client}, {"ssl": server_context(), **server}
        async with self.serving(handler, **server) as (listening, uri):
            if small_buffers:
                client["sock"] = self.small_socket(listening)
            async with self.connect(uri, **client) as client_end:
                try:
                    await self.until(lambda: accepted)
                    yield client_end, accepted[0]
                finally:
                    finish.set()

    def small_socket(self, server: Any) -> socket.socket:
        """A connection to a server with small buffers on either side."""
        for sock in server.sockets:
            shrink_buffers(sock)
        sock = socket.socket()
        shrink_buffers(sock)
        sock.connect((HOST, self.port_of(server)))
        return sock

    async def check_echo(self, client: Any) -> None:
        await client.send("hello")
        assert await client.recv() == "hello"

    async def check_serving(self, server: Any) -> None:
        """See that a server that echoes serves others, and has forgotten those before."""
        async with self.connect(self.uri_of(server)) as client:
            await self.check_echo(client)
        await self.until(lambda: not server.connections)

    def server_tls(self, tls: bool) -> dict[str, Any]:
        """The options of a server that speaks TLS or does not."""
        return {"ssl": server_context()} if tls else {}

    def client_tls(self, tls: bool) -> dict[str, Any]:
        """The options of a client that speaks TLS or does not."""
        return {"ssl": client_context()} if tls else {}

    def tls_handshake_timeout(self, seconds: float) -> dict[str, Any]:
        """The option of a server, if that has its own deadline for the TLS handshake."""
        return {}

    # Peers made by hand

    async def raw_stream(self, server: Any, *, small_buffers: bool = False, tls: bool = False) -> Stream:
        """A connection to a server, on which nothing has been sent."""
        if small_buffers:
            sock = self.small_socket(server)
        else:
            sock = socket.create_connection((HOST, self.port_of(server)))
        stream: Stream = SocketStream(self, sock)
        if tls:
            stream = TLSStream(stream, client_context(), server_hostname=HOST)
            await stream.handshake()
        return stream

    @contextlib.asynccontextmanager
    async def raw_connection(self, server: Any, **options: bool) -> AsyncIterator[RawClient]:
        """A client that has sent nothing yet."""
        client = RawClient(await self.raw_stream(server, **options))
        try:
            yield client
        finally:
            client.close()

    @contextlib.asynccontextmanager
    async def raw_client(
        self, server: Any, *, small_buffers: bool = False, tls: bool = False, **changes: Any
    ) -> AsyncIterator[RawClient]:
        """A client that has done the opening handshake."""
        async with self.raw_connection(server, small_buffers=small_buffers, tls=tls) as client:
            await client.send(request(Sec_WebSocket_Key=KEY, **changes))
            assert (await client.read_head()).status == 101
            yield client

    @contextlib.asynccontextmanager
    async def raw_listener(
        self, *, small_buffers: bool = False, tls: bool = False
    ) -> AsyncIterator[RawListener]:
        """Where raw servers come from."""
        with socket.create_server((HOST, 0)) as sock:
            if small_buffers:
                shrink_buffers(sock)
            listener = RawListener(self, sock, server_context() if tls else None)
            try:
                yield listener
            finally:
                for peer in listener.peers:
                    peer.close()

    @contextlib.asynccontextmanager
    async def raw_server(
        self,
        *,
        small_buffers: bool = False,
        tls: bool = False,
        answer: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[tuple[RawServer, Any]]:
        """A server that has done the opening handshake, and the client that it has done it with."""
        async with self.raw_listener(small_buffers=small_buffers, tls=tls) as listener:
            options = {**QUIET, **options}
            if tls:
                options["ssl"] = client_context()
            if small_buffers:
                options["sock"] = listener.small_socket()
            accepting = self.spawn(lambda: listener.accept_and_answer(**(answer or {})))
            async with self.connect(listener.uri, **options) as client:
                peer = await accepting.result()
                try:
                    yield peer, client
                finally:
                    peer.close()


def leaves(*errors: object) -> Iterator[object]:
    """The errors, with what is in a group instead of the group."""
    for error in errors:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(*error.exceptions)
        else:
            yield error


def collect_garbage() -> None:
    """Collect what a test has left behind, so that it says what it has to say.

    What remains, such as the reports of thousands of tests, is not looked at again.
    """
    gc.collect()
    gc.freeze()


def shrink_buffers(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)


async def echo(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send(message)


async def wait_closed(websocket: Any) -> None:
    """A handler that leaves everything to the test."""
    await websocket.wait_closed()


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []
        logger = logging.Logger("test")
        logger.addHandler(_Keep(self.records))
        super().__init__(logger)

    def messages(self, level: int = logging.INFO) -> list[str]:
        return [record.getMessage() for record in self.records if record.levelno >= level]

    def errors(self) -> list[tuple[str, type[BaseException] | None]]:
        """What is worse than a warning, with the classes of the exceptions."""
        return [
            (record.getMessage(), record.exc_info[0] if record.exc_info else None)
            for record in self.records
            if record.levelno >= logging.ERROR
        ]


class _Keep(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

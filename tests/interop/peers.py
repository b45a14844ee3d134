"""Other implementations of WebSocket, behind one small asynchronous interface.

A :class:`Peer` is a library. It connects to a server of ours and serves a client of ours; either
gives a :class:`PeerConnection`. What the libraries do differently, within what RFC 6455 allows or
leaves open, is an attribute of the class, so that the scenarios need not know which one it is.

Each library is imported when its peer is made, and the test skipped if it is not installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pytest

HOST = "127.0.0.1"
DEADLINE = 20
"""Seconds that a test may take. Nothing waits for it, unless the test fails."""

T = TypeVar("T")


class PeerClosed(Exception):
    """The peer sees the connection closed."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class PeerRefused(Exception):
    """The peer, as a client, sees the opening handshake refused."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Deflate:
    """Parameters of permessage-deflate (RFC 7692 section 7.1), as one side asks for them."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | bool | None = None


@dataclass(frozen=True)
class Agreed:
    """What was agreed on, as one end of the connection sees it."""

    local_no_context_takeover: bool
    remote_no_context_takeover: bool
    local_max_window_bits: int
    remote_max_window_bits: int


@dataclass(frozen=True)
class Settings:
    """What a peer is asked to do; by default, what its library does by default.

    Attributes:
        tls: the context; ``None`` for a plain connection.
        headers: more headers for the opening handshake.
        status: as a server, answer with this HTTP status instead.
        keepalive: seconds between the peer's pings.
        offers_deflate: as a client, offer permessage-deflate, if the library doesn't by default.
        deflate: ask for this, as far as the library can.
        sees_pongs: make pongs visible, if they are not by default.
    """

    tls: ssl.SSLContext | None = None
    subprotocols: Sequence[str] = ()
    origin: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    user_agent: str | None = None
    status: int | None = None
    max_size: int | None = None
    keepalive: float | None = None
    offers_deflate: bool = False
    deflate: Deflate | None = None
    sees_pongs: bool = False


DEFAULTS = Settings()


class PeerConnection(ABC):
    """A connection as the peer sees it.

    Attributes:
        headers: what it has received in the opening handshake.
        subprotocol: what was negotiated.
        compressed: whether an extension was negotiated.
        agreed: what was agreed on about compression, if the library tells.
    """

    headers: Mapping[str, str]
    subprotocol: str | None
    compressed: bool
    agreed: Agreed | None = None

    @abstractmethod
    async def send(self, message: str | bytes) -> None: ...

    async def send_fragments(self, fragments: Sequence[str] | Sequence[bytes]) -> None:
        raise NotImplementedError

    @abstractmethod
    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            PeerClosed: there is none.
        """

    @abstractmethod
    async def ping(self) -> float | None:
        """Send a ping and wait for its pong; return the latency if the library measures it."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None: ...

    @abstractmethod
    def close_code(self) -> int | None: ...

    @abstractmethod
    def socket_number(self) -> int:
        """The socket's file descriptor."""

    def cut(self) -> None:
        """End the TCP connection without a word, as the end of a process does."""
        with socket.socket(fileno=os.dup(self.socket_number())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    async def closed(self) -> tuple[int | None, str]:
        """Receive until the connection is closed; return code and reason."""
        try:
            while True:
                await self.receive()
        except PeerClosed as error:
            return error.code, error.reason

    async def echo(self) -> None:
        with contextlib.suppress(PeerClosed):
            while True:
                await self.send(await self.receive())


class Peer(ABC):
    """A library.

    Attributes:
        serves: whether there is a server.
        sends_fragments: whether it can send fragmented messages.
        knows_tls: whether TLS can be relied on.
        blocking: whether it runs in threads of its own.
        shortest_keepalive: an interval of pings at which a pong that takes 0.2 seconds is not too late.
    """

    serves = True
    sends_fragments = True
    knows_tls = True
    blocking = False
    shortest_keepalive = 0.05

    @abstractmethod
    def connect(self, uri: str, settings: Settings) -> AbstractAsyncContextManager[PeerConnection]:
        """Connect to a server.

        Raises:
            PeerRefused: the server has answered with another status than 101.
        """

    @abstractmethod
    def serve(
        self, handler: Callable[[PeerConnection], Awaitable[object]], settings: Settings
    ) -> AbstractAsyncContextManager[int]:
        """Serve on :data:`HOST`; the port is the value of the context manager."""

    def answer_to_close(self, code: int) -> int:
        """The close code with which it answers a close frame."""
        return code


# websockets


class Websockets(Peer):
    """The package websockets, on asyncio."""

    def __init__(self) -> None:
        reason = "the package websockets is not installed"
        self.client = pytest.importorskip("websockets.asyncio.client", reason=reason)
        self.server = pytest.importorskip("websockets.asyncio.server", reason=reason)
        self.exceptions = pytest.importorskip("websockets.exceptions", reason=reason)
        self.deflate = pytest.importorskip("websockets.extensions.permessage_deflate", reason=reason)

    def common_options(self, settings: Settings) -> dict[str, Any]:
        options: dict[str, Any] = {"ssl": settings.tls, "subprotocols": list(settings.subprotocols) or None}
        if settings.max_size is not None:
            options["max_size"] = settings.max_size
        if settings.keepalive is not None:
            options["ping_interval"] = settings.keepalive
        return options

    def client_options(self, settings: Settings) -> dict[str, Any]:
        options = self.common_options(settings)
        # Not even if the environment names a proxy.
        options |= {"proxy": None, "origin": settings.origin, "additional_headers": settings.headers}
        if settings.user_agent is not None:
            options["user_agent_header"] = settings.user_agent
        if settings.deflate is not None:
            factory = self.deflate.ClientPerMessageDeflateFactory(**asdict(settings.deflate))
            options["extensions"] = [factory]
        return options

    @contextlib.asynccontextmanager
    async def connect(self, uri: str, settings: Settings) -> AsyncIterator[PeerConnection]:
        try:
            connection = await self.client.connect(uri, **self.client_options(settings))
        except self.exceptions.InvalidStatus as error:
            raise PeerRefused(error.response.status_code) from error
        async with connection:
            yield WebsocketsConnection(connection, connection.response, self.exceptions)

    @contextlib.asynccontextmanager
    async def serve(
        self, handler: Callable[[PeerConnection], Awaitable[object]], settings: Settings
    ) -> AsyncIterator[int]:
        def process_request(connection: Any, request: Any) -> Any:
            return None if settings.status is None else connection.respond(settings.status, "not here")

        def process_response(connection: Any, request: Any, response: Any) -> None:
            response.headers.update(settings.headers)

        async def handle(connection: Any) -> None:
            await handler(WebsocketsConnection(connection, connection.request, self.exceptions))

        options = self.common_options(settings)
        if settings.deflate is not None:
            factory = self.deflate.ServerPerMessageDeflateFactory(**asdict(settings.deflate))
            options["extensions"] = [factory]
        async with self.server.serve(
            handle,
            HOST,
            0,
            process_request=process_request,
            process_response=process_response,
            **options,
        ) as server:
            yield next(iter(server.sockets)).getsockname()[1]


class WebsocketsConnection(PeerConnection):
    def __init__(self, connection: Any, received: Any, exceptions: Any) -> None:
        self.connection = connection
        self.exceptions = exceptions
        self.headers = received.headers
        self.subprotocol = connection.subprotocol
        self.compressed = bool(connection.protocol.extensions)
        for extension in connection.protocol.extensions:
            self.agreed = Agreed(**{name: getattr(extension, name) for name in Agreed.__annotations__})

    async def send(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def send_fragments(self, fragments: Sequence[str] | Sequence[bytes]) -> None:
        await self.connection.send(fragments)

    async def receive(self) -> str | bytes:
        with self.closing():
            return await self.connection.recv()

    @contextlib.contextmanager
    def closing(self) -> Any:
        try:
            yield
        except self.exceptions.ConnectionClosed as error:
            reason = "" if error.rcvd is None else error.rcvd.reason
            raise PeerClosed(self.close_code(), reason) from error

    async def ping(self) -> float | None:
        return await (await self.connection.ping())

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)

    def close_code(self) -> int | None:
        return self.connection.protocol.close_code

    def socket_number(self) -> int:
        return self.connection.transport.get_extra_info("socket").fileno()


class BlockingWebsockets(Websockets):
    """The package websockets, as a client on threads."""

    serves = False
    blocking = True
    # It reads and writes one SSLSocket in two threads at once. Now and then, once in about a thousand
    # connections and with its own server too, that leaves it waiting for ever.
    knows_tls = False

    def __init__(self) -> None:
        super().__init__()
        self.client = pytest.importorskip("websockets.sync.client")

    @contextlib.asynccontextmanager
    async def connect(self, uri: str, settings: Settings) -> AsyncIterator[PeerConnection]:
        # One receives while another one sends.
        with ThreadPoolExecutor(2) as threads:

            async def run(function: Callable[..., T], *arguments: Any) -> T:
                return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)

            # __enter__() only tells that it is used as a context manager, and returns itself.
            options = self.client_options(settings)
            try:
                connection = await run(lambda: self.client.connect(uri, **options).__enter__())
            except self.exceptions.InvalidStatus as error:
                raise PeerRefused(error.response.status_code) from error
            try:
                yield BlockingWebsocketsConnection(connection, connection.response, self.exceptions, run)
            finally:
                await run(connection.close)

    def serve(
        self, handler: Callable[[PeerConnection], Awaitable[object]], settings: Settings
    ) -> AbstractAsyncContextManager[int]:
        raise NotImplementedError


class BlockingWebsocketsConnection(WebsocketsConnection):
    def __init__(self, connection: Any, received: Any, exceptions: Any, run: Any) -> None:
        super().__init__(connection, received, exceptions)
        self.run = run

    async def send(self, message: str | bytes) -> None:
        await self.run(self.connection.send, message)

    async def send_fragments(self, fragments: Sequence[str] | Sequence[bytes]) -> None:
        await self.run(self.connection.send, fragments)

    async def receive(self) -> str | bytes:
        with self.closing():
            return await self.run(self.connection.recv, DEADLINE)

    async def ping(self) -> float | None:
        pong_received = await self.run(self.connection.ping)
        assert await self.run(pong_received.wait, DEADLINE)
        return self.connection.latency

    async def close(self, code: int, reason: str) -> None:
        await self.run(self.connection.close, code, reason)

    def socket_number(self) -> int:
        return self.connection.socket.fileno()


# aiohttp


class Aiohttp(Peer):
    """The package aiohttp."""

    sends_fragments = False
    # It waits half of it for the pong.
    shortest_keepalive = 0.4

    def __init__(self) -> None:
        self.aiohttp = pytest.importorskip("aiohttp", reason="the package aiohttp is not installed")
        self.web = pytest.importorskip("aiohttp.web")

    def answer_to_close(self, code: int) -> int:
        return 1000

    def common_options(self, settings: Settings) -> dict[str, Any]:
        options: dict[str, Any] = {"protocols": settings.subprotocols, "autoping": not settings.sees_pongs}
        if settings.max_size is not None:
            options["max_msg_size"] = settings.max_size
        if settings.keepalive is not None:
            options["heartbeat"] = settings.keepalive
        return options

    @contextlib.asynccontextmanager
    async def connect(self, uri: str, settings: Settings) -> AsyncIterator[PeerConnection]:
        options = self.common_options(settings) | {
            "origin": settings.origin,
            "headers": dict(settings.headers),
        }
        if settings.tls is not None:
            options["ssl"] = settings.tls
        if settings.user_agent is not None:
            options["headers"]["User-Agent"] = settings.user_agent
        if settings.deflate is not None:
            # The one parameter that it can ask for.
            options["compress"] = settings.deflate.server_max_window_bits or 15
        elif settings.offers_deflate:
            options["compress"] = 15
        responses = []

        async def answered(session: Any, context: Any, request: Any) -> None:
            responses.append(request.response)

        # The connection does not show the response of which it is made.
        trace = self.aiohttp.TraceConfig()
        trace.on_request_end.append(answered)
        async with self.aiohttp.ClientSession(trace_configs=[trace]) as session:
            try:
                connection = await session.ws_connect(uri, **options)
            except self.aiohttp.WSServerHandshakeError as error:
                raise PeerRefused(error.status) from error
            async with connection:
                headers = responses[0].headers
                yield AiohttpConnection(self.aiohttp, connection, headers, connection.protocol)

    @contextlib.asynccontextmanager
    async def serve(
        self, handler: Callable[[PeerConnection], Awaitable[object]], settings: Settings
    ) -> AsyncIterator[int]:
        async def handle(request: Any) -> Any:
            if settings.status is not None:
                return self.web.Response(status=settings.status, text="not here")
            connection = self.web.WebSocketResponse(**self.common_options(settings))
            connection.headers.update(settings.headers)
            await connection.prepare(request)
            await handler(
                AiohttpConnection(self.aiohttp, connection, request.headers, connection.ws_protocol)
            )
            await connection.close()
            return connection

        application = self.web.Application()
        application.router.add_get("/{path:.*}", handle)
        runner = self.web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await self.web.TCPSite(runner, HOST, 0, ssl_context=settings.tls).start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


class AiohttpConnection(PeerConnection):
    def __init__(
        self, aiohttp: Any, connection: Any, headers: Mapping[str, str], subprotocol: str | None
    ) -> None:
        self.types = aiohttp.WSMsgType
        self.connection = connection
        self.headers = headers
        self.subprotocol = subprotocol
        self.compressed = bool(connection.compress)

    async def send(self, message: str | bytes, compress: int | None = None) -> None:
        if isinstance(message, str):
            await self.connection.send_str(message, compress)
        else:
            await self.connection.send_bytes(message, compress)

    async def receive(self) -> str | bytes:
        message = await self.connection.receive()
        if message.type in (self.types.TEXT, self.types.BINARY):
            return message.data
        if message.type is self.types.CLOSE:
            raise PeerClosed(message.data, message.extra)
        assert message.type in (self.types.CLOSED, self.types.CLOSING, self.types.ERROR), message
        raise PeerClosed(self.connection.close_code, "")

    async def ping(self) -> float | None:
        await self.connection.ping(b"from aiohttp")
        message = await self.connection.receive()
        assert (message.type, message.data) == (self.types.PONG, b"from aiohttp")
        return None

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code=code, message=reason.encode())

    def close_code(self) -> int | None:
        return self.connection.close_code

    def socket_number(self) -> int:
        return self.connection.get_extra_info("socket").fileno()


PEERS: dict[str, type[Peer]] = {
    "websockets": Websockets,
    "websockets-threads": BlockingWebsockets,
    "aiohttp": Aiohttp,
}

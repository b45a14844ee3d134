"""What anyio forces: its streams, its TLS, and its functions by the names of :class:`.Runtime`."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from typing import Any
from weakref import ref

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSAttribute, TLSStream

from ..shared.clocks import loop_clock
from ..shared.sockets import addresses_of, prepare_socket
from ..shared.tunnels import SocksRuntime
from ..shared.wrong_runtime import check_running
from ..structured.runtime import Runtime
from ..structured.transport import READ_SIZE, WaitingTransport, close_socket

__all__ = ["RUNTIME", "LowerStream", "StreamTransport"]


class LowerStream(ByteStream):
    """A socket that TLS goes over. It hides from TLS that writing has failed.

    After a failed write, anyio's TLS is not read any more. What the peer sent before that, such as its close
    frame, has still to be decrypted. A socket stream of anyio's own would not even read it on asyncio.

    Attributes:
        error: the error of the first write that failed; nothing has been written since.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._addresses = addresses_of(sock)
        self.error: OSError | None = None

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            else:
                break
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        left = memoryview(item)
        try:
            while left and self.error is None:
                try:
                    left = left[self._socket.send(left) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._socket)
        except OSError as error:
            self.error = error

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        await close_socket(RUNTIME, self._socket)
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        local, remote = self._addresses
        return {
            SocketAttribute.family: lambda: self._socket.family,
            SocketAttribute.local_address: lambda: local,
            SocketAttribute.remote_address: lambda: remote,
            SocketAttribute.raw_socket: lambda: self._socket,
        }


async def _start_tls(
    stream: ByteStream, context: ssl.SSLContext, server_hostname: str | None, server_side: bool
) -> TLSStream:
    try:
        # TLS's own close says no more than WebSocket's close frame does: standard_compatible is off.
        return await TLSStream.wrap(
            stream,
            server_side=server_side,
            hostname=server_hostname,
            ssl_context=context,
            standard_compatible=False,
        )
    except anyio.EndOfStream as error:
        raise ConnectionResetError("the stream ended within TLS's handshake") from error


class StreamTransport(WaitingTransport):
    """Any byte stream of anyio."""

    def __init__(self, stream: ByteStream) -> None:
        super().__init__(stream, anyio.aclose_forcefully)
        lowest: Any = stream
        while isinstance(lowest, TLSStream):
            lowest = lowest.transport_stream
        self._lower = lowest if isinstance(lowest, LowerStream) else None
        self.ssl_object = stream.extra(TLSAttribute.ssl_object, None)
        self.local_address = stream.extra(SocketAttribute.local_address, None)
        self.remote_address = stream.extra(SocketAttribute.remote_address, None)
        sock = stream.extra(SocketAttribute.raw_socket, None)
        if sock is not None:
            prepare_socket(sock)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive(READ_SIZE))
        except anyio.EndOfStream:
            return b""

    async def _send(self, data: bytes) -> None:
        try:
            await self.stream.send(data)
        except anyio.EndOfStream as error:
            raise OSError("the peer has ended TLS") from error
        if self._lower is not None and self._lower.error is not None:
            raise self._lower.error


def _on_asyncio() -> bool:
    return anyio.get_cancelled_exc_class().__module__.startswith("asyncio")


def _get_clock() -> Callable[[], float]:
    # Cancel scopes go by this clock.
    return loop_clock(anyio.lowlevel.current_token().native_token) if _on_asyncio() else anyio.current_time


def _get_check_cancelled() -> Callable[[], Awaitable[object] | None]:
    # The function of anyio.lowlevel looks the event loop up at each call, which is a third of its time.
    check: Any = anyio.lowlevel.current_token().backend_class.checkpoint_if_cancelled
    return _look_before(check) if _on_asyncio() else check


@cache
def _look_before(check: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object] | None]:
    """Return a function that calls ``check`` only if the running task has been cancelled.

    It looks at the same attributes as ``check``, but without a coroutine and without properties, which are
    two thirds of the time. Where a version of anyio does not have these attributes, it is ``check`` itself.
    """
    backend, scope = sys.modules[check.__module__], anyio.CancelScope()
    # What is in the weak dictionary: its own methods are written in Python.
    states: Any = getattr(getattr(backend, "_task_states", None), "data", None)
    current_task = getattr(backend, "current_task", None)
    known = all(hasattr(scope, name) for name in ("_cancel_called", "_shield", "_parent_scope"))
    if states is None or current_task is None or not known:
        return check

    def look() -> Awaitable[object] | None:
        state = states.get(ref(current_task()))
        scope: Any = None if state is None else state.cancel_scope
        while scope is not None:
            if scope._cancel_called:
                return check()
            scope = None if scope._shield else scope._parent_scope
        return None

    return look


def _load_socks() -> Any:
    from python_socks.async_.anyio import Proxy

    return Proxy


RUNTIME = Runtime(
    check_running=partial(check_running, __package__, "asyncio", "trio"),
    stream_methods=("receive", "send", "aclose", "extra"),
    make_event=anyio.Event,
    open_tasks=anyio.create_task_group,
    open_scope=anyio.CancelScope,
    get_clock=_get_clock,
    date=time.time,
    sleep_until=anyio.sleep_until,
    checkpoint=anyio.lowlevel.checkpoint,
    get_check_cancelled=_get_check_cancelled,
    current_task=lambda: anyio.get_current_task().id,
    getaddrinfo=anyio.getaddrinfo,
    wait_readable=anyio.wait_readable,
    wait_writable=anyio.wait_writable,
    notify_closing=anyio.notify_closing,
    frees_at_once=lambda: not _on_asyncio(),
    take_socket=lambda stream: stream if isinstance(stream, socket.socket) else None,
    make_transport=StreamTransport,
    make_lower_stream=lambda stream: LowerStream(stream) if isinstance(stream, socket.socket) else stream,
    start_tls=_start_tls,
    close_forcefully=anyio.aclose_forcefully,
    socks=SocksRuntime(_load_socks, SocketStream.from_socket),
)

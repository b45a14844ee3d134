"""What trio forces: its streams, its TLS, and its functions by the names of :class:`.Runtime`."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from ..shared.sockets import addresses_of
from ..shared.tunnels import SocksRuntime
from ..shared.wrong_runtime import check_running
from ..structured.runtime import Runtime
from ..structured.transport import READ_SIZE, WaitingTransport

__all__ = ["RUNTIME", "LowerStream", "StreamTransport"]


class LowerStream(trio.abc.Stream):
    """The stream that TLS goes over. It hides from TLS that writing has failed.

    After a failed write, trio's TLS refuses to read. What the peer sent before that, such as its close frame,
    has still to be decrypted.

    Attributes:
        transport_stream: the stream itself.
        error: the error of the first write that failed; nothing has been written since.
    """

    def __init__(self, stream: trio.abc.Stream | socket.socket) -> None:
        if isinstance(stream, socket.socket):
            stream.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(stream))
        self.transport_stream = stream
        self.error: trio.BrokenResourceError | None = None

    async def send_all(self, data: Any) -> None:
        if self.error is not None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.transport_stream.send_all(data)
        except trio.BrokenResourceError as error:
            self.error = error

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        return await self.transport_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.transport_stream.aclose()


async def _start_tls(
    stream: LowerStream, context: ssl.SSLContext, server_hostname: str | None, server_side: bool
) -> trio.SSLStream[LowerStream]:
    secure = trio.SSLStream(stream, context, server_hostname=server_hostname, server_side=server_side)
    await secure.do_handshake()
    return secure


def _take_socket(stream: trio.abc.Stream | socket.socket) -> socket.socket | None:
    if isinstance(stream, trio.SocketStream):
        return socket.socket(fileno=stream.socket.detach())
    return stream if isinstance(stream, socket.socket) else None


class StreamTransport(WaitingTransport):
    """Any stream of trio."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream, trio.aclose_forcefully)
        self._lower: LowerStream | None = None
        # The application may give a TLS stream whose handshake has not been done.
        if isinstance(stream, trio.SSLStream):
            with suppress(trio.NeedHandshakeError):
                stream.version()
                self.ssl_object = stream
        lowest: Any = stream
        while not isinstance(lowest, trio.SocketStream) and hasattr(lowest, "transport_stream"):
            lowest = lowest.transport_stream
            if isinstance(lowest, LowerStream):
                self._lower = lowest
        sock = getattr(lowest, "socket", None)
        if sock is not None:
            self.local_address, self.remote_address = addresses_of(sock)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some(READ_SIZE))
        except trio.BrokenResourceError as error:
            # TLS's own close is missing. WebSocket's close frame replaces it.
            if not isinstance(error.__cause__, ssl.SSLEOFError):
                raise
            return b""

    async def _send(self, data: bytes) -> None:
        await self.stream.send_all(data)
        if self._lower is not None and self._lower.error is not None:
            raise self._lower.error


def _load_socks() -> Any:
    from python_socks.async_.trio import Proxy

    return Proxy


async def _to_socks(sock: socket.socket) -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(sock)


RUNTIME = Runtime(
    check_running=partial(check_running, __package__, "trio"),
    stream_methods=("receive_some", "send_all", "aclose"),
    make_event=trio.Event,
    open_tasks=trio.open_nursery,
    open_scope=trio.CancelScope,
    get_clock=lambda: trio.current_time,
    date=time.time,
    sleep_until=trio.sleep_until,
    checkpoint=trio.lowlevel.checkpoint,
    get_check_cancelled=lambda: trio.lowlevel.checkpoint_if_cancelled,
    current_task=trio.lowlevel.current_task,
    getaddrinfo=trio.socket.getaddrinfo,
    wait_readable=trio.lowlevel.wait_readable,
    wait_writable=trio.lowlevel.wait_writable,
    notify_closing=trio.lowlevel.notify_closing,
    frees_at_once=lambda: True,
    take_socket=_take_socket,
    make_transport=StreamTransport,
    make_lower_stream=LowerStream,
    start_tls=_start_tls,
    close_forcefully=trio.aclose_forcefully,
    socks=SocksRuntime(_load_socks, _to_socks, trio.SocketStream),
)

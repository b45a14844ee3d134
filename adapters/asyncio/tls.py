"""TLS on asyncio: a transport within TLS, over a transport of the event loop.

The event loops' own TLS hides information that a connection needs: that writing has failed, how many bytes
are unwritten, which bytes were received before the stream broke. It reports an accepted stream only after
TLS's handshake, so that until then the connection would not be counted, and would have no deadline. It cannot
end one half of a stream, and needs half a megabyte of memory for each stream.

Here, bytes are encrypted at once, so that backpressure is that of the transport beneath.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from adapters.shared.client import Connecting
from adapters.shared.memory_tls import MemoryTLS
from adapters.shared.sockets import read_now
from adapters.shared.tls import client_context
from wsproto_core.types import BytesLike

from .loops import READ_SIZE, read_in_next_turn, reads_repeatedly

__all__ = ["TLS_OPTIONS", "TLSTransport", "open_stream"]

TLS_OPTIONS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")
"""Options of the event loops' own TLS, which are supported as well."""

TLS_INFO: dict[str, Callable[[ssl.SSLObject], Any]] = {
    "ssl_object": lambda tls: tls,
    "sslcontext": lambda tls: tls.context,
    "peercert": lambda tls: tls.getpeercert(),
    "cipher": lambda tls: tls.cipher(),
    "compression": lambda tls: tls.compression(),
}
"""The names that TLS adds to :meth:`asyncio.BaseTransport.get_extra_info`."""


class TLSTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """A byte stream within TLS: the protocol of one transport, and the transport of another protocol.

    ``connection_made`` of a server's protocol is called before TLS's handshake, so that its deadlines include
    the handshake; its writes are delayed. On a client it is called when the handshake is done.

    Attributes:
        established: completed when the handshake is done, by an exception if it has failed.
    """

    def __init__(
        self,
        protocol: asyncio.BufferedProtocol,
        tls: MemoryTLS,
        *,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """
        Args:
            protocol: the protocol of the decrypted stream.
            tls: the TLS, whose handshake may be done already.
            ssl_handshake_timeout: seconds for TLS's handshake; ``None`` for no timeout.
            ssl_shutdown_timeout: without effect, since the peer's closure alert is not waited for.
        """
        super().__init__()
        self._loop = loop = asyncio.get_running_loop()
        self._reads_repeatedly = reads_repeatedly(loop)
        self.established: asyncio.Future[None] = loop.create_future()
        # No warning about an exception that was never retrieved: a server does not await it.
        self.established.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._protocol = protocol
        self._tls = tls
        self._told = False  # whether connection_made of the protocol has been called
        self._unwritten: BytesLike = b""  # bytes that are not encrypted yet
        self._reading = True
        self._ended = False  # whether received bytes are ignored, except the end of the stream
        self._eof_told = False
        self._error: Exception | None = None
        self._timeout: asyncio.TimerHandle | None = None
        if ssl_handshake_timeout is not None:
            error = ConnectionAbortedError(
                f"TLS's handshake was not done within {ssl_handshake_timeout} seconds"
            )
            self._timeout = loop.call_later(ssl_handshake_timeout, self._fail, error)

    # The protocol of the transport beneath

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._tls.established:
            self._establish()
        elif self._tls.ssl_object.server_side:
            self._tell()
        # A client begins the handshake.
        self._write()

    def _tell(self) -> None:
        self._told = True
        self._protocol.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._protocol.get_buffer(sizehint))

    def buffer_updated(self, nbytes: int) -> None:
        if not self._ended:
            buffer = self.get_buffer(-1)
            self._receive(buffer[:nbytes])
            if self._reads_repeatedly and nbytes == len(buffer):
                read_in_next_turn(self._loop, self._transport, lambda: self._reading)

    def eof_received(self) -> bool:
        if not self._ended:
            self._receive(b"")
        self._tell_eof()
        return True

    def _tell_eof(self) -> None:
        self._ended = True
        if self._told and not self._eof_told and self._error is None:
            self._eof_told = True
            if not self._protocol.eof_received():
                self.close()

    def pause_writing(self) -> None:
        if self._told:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._told:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        error = exc or self._error
        if not self.established.done():
            self._give_up(error or ConnectionResetError("the stream was closed within TLS's handshake"))
        elif exc is not None and not isinstance(self._transport, TLSTransport):
            # A close frame may be among the bytes that were received before the error.
            with suppress(OSError):
                while not self._ended and self._reading and (data := read_now(self._transport, READ_SIZE)):
                    self._receive(data)
        self._ended = True
        if self._told:
            self._protocol.connection_lost(error)

    # TLS

    def _receive(self, data: BytesLike) -> None:
        """Decrypt received bytes and pass them to the protocol; write the answers of TLS."""
        tls = self._tls
        decrypted = memoryview(tls.receive(data))
        if tls.established and not self.established.done():
            self._establish()
        while decrypted:
            buffer = self.get_buffer(-1)
            count = min(len(decrypted), len(buffer))
            buffer[:count] = decrypted[:count]
            decrypted = decrypted[count:]
            self._protocol.buffer_updated(count)
        if isinstance(tls.error, ssl.SSLEOFError):
            self._fail(ConnectionResetError("the peer ended the stream within TLS's handshake"))
        elif tls.error is not None:
            self._fail(tls.error)
        elif tls.ended:
            self._tell_eof()
        self._write()

    def _establish(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        self.established.set_result(None)
        if not self._told:
            self._tell()

    def _write(self) -> None:
        """Encrypt and write the unwritten bytes, unless writing has failed."""
        tls, unwritten = self._tls, memoryview(self._unwritten)
        try:
            while (unwritten or not tls.established) and not (self._error or self._transport.is_closing()):
                unwritten = unwritten[tls.encrypt(unwritten) :]
                self._write_records()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error)
        self._unwritten = unwritten
        self._write_records()

    def _write_records(self) -> None:
        records, self._tls.unsent = self._tls.unsent, b""
        if records and not self._transport.is_closing():
            self._transport.write(records)

    def _fail(self, error: Exception) -> None:
        self._give_up(error)
        # An alert, for example.
        self._write_records()
        self._transport.close()

    def _give_up(self, error: Exception) -> None:
        self._error = self._error or error
        self._ended = True
        if self._timeout is not None:
            self._timeout.cancel()
        if not self.established.done():
            self.established.set_exception(error)

    # The transport of the protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name not in TLS_INFO:
            return self._transport.get_extra_info(name, default)
        try:
            return TLS_INFO[name](self._tls.ssl_object)
        except ValueError:
            # The handshake is not done.
            return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: BytesLike) -> None:
        self._unwritten = b"".join((self._unwritten, data)) if self._unwritten else data
        if self.established.done():
            self._write()

    def writelines(self, list_of_data: Iterable[BytesLike]) -> None:
        # Buffers that are written together share records.
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        self._end_tls()
        self._ended = True
        self._transport.write_eof()

    def close(self) -> None:
        if not self.is_closing():
            self._end_tls()
            self._transport.close()

    def _end_tls(self) -> None:
        # Not possible within the handshake.
        with suppress(ValueError):
            self._tls.end()
        self._write_records()

    def abort(self) -> None:
        self._ended = True
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def is_reading(self) -> bool:
        return self._reading and self._transport.is_reading()

    def pause_reading(self) -> None:
        self._reading = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._reading = True
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return len(self._unwritten) + self._transport.get_write_buffer_size()


async def open_stream(
    connecting: Connecting,
    protocol: asyncio.BufferedProtocol,
    sock: socket.socket,
    proxy_tls: MemoryTLS | None = None,
) -> None:
    """Open a client's stream, TLS included.

    Args:
        connecting: the server and the options.
        protocol: the protocol of the stream.
        sock: is connected to the server, or to a proxy with a tunnel to the server.
        proxy_tls: the TLS to the proxy, through which the stream goes.

    Raises:
        OSError: TLS's handshake failed.
    """
    loop, options, tls = asyncio.get_running_loop(), connecting.stream_options, None
    if connecting.ssl:
        timeouts = {name: options[name] for name in TLS_OPTIONS if name in options}
        memory = MemoryTLS(client_context(connecting.ssl), server_hostname=connecting.server_hostname)
        protocol = tls = TLSTransport(protocol, memory, **timeouts)
    if proxy_tls is not None:
        protocol = TLSTransport(protocol, proxy_tls)
    unix = sock.family == getattr(socket, "AF_UNIX", None)
    await (loop.create_unix_connection if unix else loop.create_connection)(lambda: protocol, sock=sock)
    if tls is not None:
        try:
            await tls.established
        except BaseException:
            tls.abort()
            raise

"""TLS on asyncio: a layer of our own over a transport of the event loop.

The event loops have theirs, which keeps to itself what a connection has to know: that writing has failed,
how much of what was written has gone, what was received before the stream broke. It tells of a stream that
was accepted only when TLS's handshake is done: until then, nobody could count the connection, meet its
deadline or close it. Its halves cannot be ended alone, and it holds half a megabyte for each stream.

Here, nothing is held back. What is written is encrypted at once, so that paused and resumed mean what they
mean for the stream beneath. All of it is a protocol of one transport and a transport of another protocol.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from adapters.shared.sockets import read_now
from wsproto_core.types import BytesLike

from .reading import read_in_next_turn, reads_on

__all__ = ["TLS_OPTIONS", "TLSTransport", "open_stream"]

TLS_OPTIONS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")
"""Options of the event loops' TLS, which ours takes as well."""

TLS_INFO: dict[str, Callable[[ssl.SSLObject], Any]] = {
    "ssl_object": lambda tls: tls,
    "sslcontext": lambda tls: tls.context,
    "peercert": lambda tls: tls.getpeercert(),
    "cipher": lambda tls: tls.cipher(),
    "compression": lambda tls: tls.compression(),
}
"""What TLS adds to :meth:`asyncio.BaseTransport.get_extra_info`."""

READ_SIZE = 2**16
"""Bytes that are encrypted at once, and read of what a broken stream has left."""


class TLSTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """A byte stream within TLS: the protocol of one transport, and the transport of another protocol.

    A server's protocol is told of the stream before TLS's handshake, so that its deadlines hold for that;
    what it writes waits. A client's is told when the handshake is done.

    Attributes:
        established: completed when the handshake is done, by an exception if it has failed.
    """

    def __init__(
        self,
        protocol: asyncio.BufferedProtocol,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """
        Args:
            protocol: what the stream is for.
            context, server_side, server_hostname: as in :meth:`ssl.SSLContext.wrap_bio`.
            ssl_handshake_timeout: seconds for TLS's handshake; ``None`` for any number.
            ssl_shutdown_timeout: of no effect: nobody waits for the peer's end of TLS.
        """
        super().__init__()
        self._loop = loop = asyncio.get_running_loop()
        self._reads_on = reads_on(loop)
        self.established: asyncio.Future[None] = loop.create_future()
        # Not everybody waits for it.
        self.established.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._protocol = protocol
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self._told = False  # whether the protocol knows of the stream
        self._unwritten: BytesLike = b""  # not encrypted yet
        self._reading = True
        self._ended = False  # whether nothing more is to be decrypted
        self._eof_told = False
        self._error: Exception | None = None
        self._timeout: asyncio.TimerHandle | None = None
        if ssl_handshake_timeout is not None:
            error = ConnectionAbortedError(
                f"TLS's handshake was not done within {ssl_handshake_timeout} seconds"
            )
            self._timeout = loop.call_later(ssl_handshake_timeout, self._fail, error)

    # The protocol of the stream beneath

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._object.server_side:
            self._tell()
        self._proceed()

    def _tell(self) -> None:
        self._told = True
        self._protocol.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._protocol.get_buffer(sizehint))

    def buffer_updated(self, nbytes: int) -> None:
        if not self._ended:
            buffer = self.get_buffer(-1)
            self._incoming.write(buffer[:nbytes])
            self._proceed()
            if self._reads_on and nbytes == len(buffer):
                read_in_next_turn(self._loop, self._transport, lambda: self._reading)

    def eof_received(self) -> bool:
        self._incoming.write_eof()
        if self._ended:
            self._tell_eof()
        else:
            self._proceed()
        return True

    def _tell_eof(self) -> None:
        self._ended = True
        if self._told and not self._eof_told:
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
            # What came before the error may say more than that.
            with suppress(OSError):
                while not self._ended and self._reading and (data := read_now(self._transport, READ_SIZE)):
                    self._incoming.write(data)
                    self._proceed()
        self._ended = True
        if self._told:
            self._protocol.connection_lost(error)

    # TLS

    def _proceed(self) -> None:
        """Do what follows from what has come in, or may come out again."""
        if not self.established.done():
            self._shake_hands()
        if self.established.done() and self._error is None:
            while self._reading and not self._ended and self._read():
                pass
            self._write()

    def _shake_hands(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLEOFError:
            self._fail(ConnectionResetError("the peer ended the stream within TLS's handshake"))
        except ssl.SSLError as error:
            self._fail(error)
        else:
            self._establish()
        self._write_records()

    def _establish(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        self.established.set_result(None)
        if not self._told:
            self._tell()

    def _read(self) -> bool:
        """Decrypt as much as there is room for; return whether there may be more."""
        buffer = self.get_buffer(-1)
        count = 0
        more = True
        try:
            while count < len(buffer) and not self._ended:
                size = cast(int, self._object.read(len(buffer) - count, cast(bytearray, buffer[count:])))
                count += size
                self._ended = not size
        except ssl.SSLWantReadError:
            more = False
        except ssl.SSLEOFError:
            # A peer that does not end TLS in order may have done so with what is within.
            self._ended = True
        except ssl.SSLError as error:
            self._fail(error)
        # What the protocol does with the bytes may end the other half, too.
        eof = self._ended and self._error is None
        if count:
            self._protocol.buffer_updated(count)
        if eof:
            self._tell_eof()
        return more

    def _write(self) -> None:
        """Encrypt and write what waits for that, unless writing has failed."""
        unwritten = memoryview(self._unwritten)
        try:
            while unwritten and not self._transport.is_closing():
                unwritten = unwritten[self._object.write(unwritten[:READ_SIZE]) :]
                self._write_records()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error)
        self._unwritten = unwritten
        self._write_records()

    def _write_records(self) -> None:
        records = self._outgoing.read()
        if records and not self._transport.is_closing():
            self._transport.write(records)

    def _fail(self, error: Exception) -> None:
        self._give_up(error)
        # TLS may have something to say about it.
        self._write_records()
        self._transport.close()

    def _give_up(self, error: Exception) -> None:
        self._error = error
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
            return TLS_INFO[name](self._object)
        except ValueError:
            # The handshake is not done.
            return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.BufferedProtocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: BytesLike) -> None:
        self._unwritten = b"".join((self._unwritten, data)) if self._unwritten else data
        if self.established.done():
            self._write()

    def writelines(self, list_of_data: Iterable[BytesLike]) -> None:
        # What is written together shares records.
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        self._say_goodbye()
        # What comes now means nothing, but that it ends.
        self._ended = True
        self._transport.write_eof()

    def close(self) -> None:
        if not self.is_closing():
            self._say_goodbye()
            self._transport.close()

    def _say_goodbye(self) -> None:
        # It would like to wait for the peer's goodbye; and within the handshake it is too early for one.
        with suppress(ssl.SSLError, ValueError):
            self._object.unwrap()
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
        # There may be something left that has come in.
        self._loop.call_soon(self._proceed)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return len(self._unwritten) + self._transport.get_write_buffer_size()


async def open_stream(
    call: Callable[..., Awaitable[Any]],
    protocol: asyncio.BufferedProtocol,
    context: ssl.SSLContext | None,
    *,
    server_hostname: str | None,
    **options: Any,
) -> asyncio.Transport:
    """Open a client's stream, TLS included.

    Args:
        call: ``create_connection`` or ``create_unix_connection`` of an event loop.
        protocol: what the stream is for.
        context, server_hostname: for TLS; without it, the context is ``None``.
        options: of the call, and those of TLS.

    Raises:
        OSError: there is no stream, or TLS's handshake failed.
    """
    timeouts = {name: options.pop(name) for name in TLS_OPTIONS if name in options}
    if context is None:
        transport, _ = await call(lambda: protocol, **options)
        return cast(asyncio.Transport, transport)
    tls = TLSTransport(protocol, context, server_hostname=server_hostname, **timeouts)
    await call(lambda: tls, **options)
    try:
        await tls.established
    except BaseException:
        tls.abort()
        raise
    return tls

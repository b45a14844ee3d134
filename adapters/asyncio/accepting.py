"""What an event loop is given for a stream that it has accepted, where that is not a connection.

An event loop that does TLS's handshake itself tells of the stream only when that is done: until then,
nobody could count the connection, meet its deadline or close it. So streams are accepted without TLS,
and it is started on them. What is beneath an established connection is the same in the end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Protocol, cast

__all__ = ["Receiver", "Refusal", "Securable", "TLSHandshake"]


class Refusal(asyncio.Protocol):
    """No connection could be made of the stream: it is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class Receiver(Protocol):
    """An :class:`asyncio.BufferedProtocol`, as far as it is given bytes."""

    def get_buffer(self, sizehint: int, /) -> memoryview: ...

    def buffer_updated(self, nbytes: int, /) -> object: ...


class Securable(Receiver, Protocol):
    """A connection, as far as it takes part in TLS's handshake."""

    def begin_tls(self, transport: asyncio.Transport, handshake: TLSHandshake) -> object:
        """There is a stream, without TLS."""

    def connection_made(self, transport: asyncio.BaseTransport) -> object:
        """There is a stream, with TLS."""

    def eof_received(self) -> object: ...

    def connection_lost(self, exc: Exception | None) -> object: ...


class TLSHandshake(asyncio.Protocol):
    """TLS's handshake on a stream that was accepted.

    What arrives before the event loop's TLS takes over the stream is kept for that, and what arrives
    with the end of the handshake, such as the client's request, is kept for the connection.
    """

    def __init__(self, connection: Securable, context: ssl.SSLContext, options: Mapping[str, Any]) -> None:
        """
        Arguments:
            connection: what the stream is for.
            context: for TLS.
            options: ``ssl_handshake_timeout`` and ``ssl_shutdown_timeout``, if they are given.
        """
        self._connection = connection
        self._context = context
        self._options = options
        self._received = b""
        self._ended = False
        self._done = False

    async def start_tls(self, transport: asyncio.Transport) -> asyncio.Transport:
        """Do the handshake; return the stream within TLS, for :meth:`hand_over`.

        Raises:
            OSError: the handshake failed, or the stream was closed.
        """
        loop = asyncio.get_running_loop()
        secure: asyncio.Transport | None = None
        if not transport.is_closing():
            secure = await loop.start_tls(transport, self, self._context, server_side=True, **self._options)
        if secure is None or secure.is_closing():
            # Event loops do not always call that an error.
            raise ConnectionAbortedError("the stream was closed within TLS's handshake")
        return secure

    def hand_over(self, secure: asyncio.Transport) -> None:
        """Give the stream to the connection, with what has been received on it."""
        self._done = True
        secure.set_protocol(cast(asyncio.BaseProtocol, self._connection))
        self._connection.connection_made(secure)
        self._pass_on(self._connection)
        if self._ended:
            self._connection.eof_received()

    def _pass_on(self, receiver: Receiver) -> None:
        received, self._received = self._received, b""
        while received:
            buffer = receiver.get_buffer(len(received))
            count = min(len(buffer), len(received))
            buffer[:count] = received[:count]
            received = received[count:]
            receiver.buffer_updated(count)

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        # The first bytes are TLS's. uvloop begins to read after this, nevertheless.
        transport.pause_reading()
        loop = asyncio.get_running_loop()
        self._connection.begin_tls(transport, self)
        # The task's first step makes the event loop begin with TLS in the next turn; this comes after it.
        loop.call_soon(loop.call_soon, self._pass_on_to_tls, transport)

    def _pass_on_to_tls(self, transport: asyncio.Transport) -> None:
        protocol = transport.get_protocol()
        if protocol is not self and not transport.is_closing():
            self._pass_on(cast(Receiver, protocol))

    def data_received(self, data: bytes) -> None:
        self._received += data

    def eof_received(self) -> None:
        self._ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done:
            # This call was on its way when the connection took over.
            self._connection.connection_lost(exc)

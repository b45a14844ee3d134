"""TLS on asyncio: a transport within TLS, over a transport of the event loop.

The event loops' own TLS hides information that a connection needs: that writing has failed, how many bytes
are unwritten, which bytes were received before the stream broke. It reports an accepted stream only after
TLS's handshake, so that until then the connection would not be counted, and would have no deadline. It cannot
end one half of a stream, and needs half a megabyte of memory for each stream.

Here, the connection is the protocol of the transport beneath, and has the bytes that it receives decrypted.
Bytes are encrypted at once when they are written, so that backpressure is that of the transport beneath.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

from wsproto_core.types import BytesLike

from ..shared.memory_tls import MemoryTLS, tls_failure

__all__ = ["TLSTransport", "handshake_timed_out"]


class TLSTransport:
    """A transport that encrypts. Methods that are not here are those of the transport beneath.

    Attributes:
        tls: the TLS.
        error: the error by which TLS has failed; ``None`` without.
    """

    # The compiled fast path reads and writes these.
    __slots__ = ("_ignoring", "_timeout", "_transport", "_unwritten", "error", "tls")

    def __init__(self, tls: MemoryTLS, handshake_timeout: float | None = None) -> None:
        """
        Args:
            tls: the TLS; the handshake of a client is done.
            handshake_timeout: seconds for a server's handshake; ``None`` for no timeout.
        """
        self.tls = tls
        self.error: OSError | None = None
        self._unwritten: BytesLike = b""  # bytes that are not encrypted yet
        self._ignoring = False  # whether received bytes are ignored
        self._timeout: asyncio.TimerHandle | None = None
        if handshake_timeout is not None:
            error = handshake_timed_out(handshake_timeout)
            self._timeout = asyncio.get_running_loop().call_later(handshake_timeout, self._fail, error)

    def over(self, transport: asyncio.Transport) -> asyncio.Transport:
        """Set the transport beneath; return this transport."""
        self._transport = transport
        return cast(asyncio.Transport, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information: that of the transport beneath, and what asyncio's own TLS adds to it."""
        tls = self.tls.ssl_object
        extra: dict[str, Any] = {"ssl_object": tls, "sslcontext": tls.context}
        if self.tls.established:
            extra |= {"peercert": tls.getpeercert(), "cipher": tls.cipher(), "compression": tls.compression()}
        return extra[name] if name in extra else self._transport.get_extra_info(name, default)

    # Receiving

    def decrypt(self, data: BytesLike | None) -> bytes:
        """Decrypt received bytes, and write the answers of TLS.

        Args:
            data: see :meth:`.MemoryTLS.receive`.
        """
        if self._ignoring:
            return b""
        decrypted = self.tls.receive(data)
        self._answer()
        if self._timeout is not None and self.tls.established:
            self._timeout.cancel()
        return decrypted

    def _answer(self) -> None:
        """Write the answers of TLS to what has been received, or fail."""
        if self.tls.error is not None:
            self._fail(tls_failure(self.tls.error))
        else:
            self.write(b"")

    def _fail(self, error: OSError) -> None:
        self.error = error
        self._ignoring = True
        # An alert, for example.
        self._write_records()
        self._transport.close()

    def lost(self, error: Exception | None) -> Exception | None:
        """End the timeout of the handshake, after the stream has been closed; return the error.

        Args:
            error: the error of the transport beneath; ``None`` without.
        """
        if self._timeout is not None:
            self._timeout.cancel()
        return error or self.error

    # Writing

    def write(self, data: BytesLike) -> None:
        """Encrypt and write bytes; in a handshake, keep them until it is done."""
        unwritten = memoryview(b"".join((self._unwritten, data)) if self._unwritten else data)
        self._unwritten = b""
        try:
            while unwritten and not self._transport.is_closing():
                unwritten = unwritten[self.tls.encrypt(unwritten) :]
                self._write_records()
        except ssl.SSLWantReadError:
            self._unwritten = unwritten
        except ssl.SSLError as error:
            self._fail(error)
        self._write_records()

    def writelines(self, list_of_data: Iterable[BytesLike]) -> None:
        """Encrypt and write buffers, which share records."""
        self.write(b"".join(list_of_data))

    def _write_records(self) -> None:
        records = self.tls.take_unsent()
        if records and not self._transport.is_closing():
            self._transport.write(records)

    def get_write_buffer_size(self) -> int:
        return len(self._unwritten) + self._transport.get_write_buffer_size()

    # Ending

    def write_eof(self) -> None:
        """End this half of TLS and of the stream; what is received later is ignored."""
        self._end()
        self._ignoring = True
        self._transport.write_eof()

    def close(self) -> None:
        """End this half of TLS, and close the stream when all is written."""
        if not self._transport.is_closing():
            self._end()
            self._transport.close()

    def _end(self) -> None:
        # Not possible within the handshake.
        with suppress(ValueError):
            self.tls.end()
        self._write_records()


def handshake_timed_out(seconds: float | None) -> ConnectionAbortedError:
    """Make the exception for ``ssl_handshake_timeout``."""
    return ConnectionAbortedError(f"TLS's handshake was not done within {seconds} seconds")

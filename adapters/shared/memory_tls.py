"""TLS in memory, without a stream: encrypted bytes go in and come out, and so do the application's bytes.

An adapter that has streams with TLS of their own does not need this. An adapter whose streams are plain
sockets or transports puts this over them, and so knows what TLS of an event loop or an ``SSLSocket`` hides:
how far writing has come, and what was received before the stream broke.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

from wsproto_core.types import BytesLike

from .tls import TLSInfo, tls_info

__all__ = ["RECORDS", "MemoryTLS", "tls_failure"]

RECORDS = 2**16
"""Bytes encrypted or decrypted at once. A record has at most 16 KiB (RFC 8446 section 5.1)."""


class MemoryTLS:
    """One end of TLS. Give it what comes in by :meth:`receive`, and write :attr:`unsent` after each call.

    Attributes:
        established: whether TLS's handshake is done.
        info: the TLS of the connection, once the handshake is done; ``None`` before.
        ended: whether nothing more is to be decrypted: the peer has ended its half, or TLS has failed.
        error: the error by which receiving has failed; ``None`` without.
        unsent: encrypted bytes to be written: take off what was written.
    """

    # The compiled fast path on asyncio reads and writes these.
    __slots__ = (
        *("_below", "_incoming", "_object", "_outgoing"),
        *("ended", "error", "established", "info", "unsent"),
    )

    def __init__(self, context: ssl.SSLContext, below: MemoryTLS | None = None, **names: Any) -> None:
        """
        Args:
            context: certificates and settings.
            below: other TLS, which the encrypted bytes go through; its handshake is done. ``None`` without.
            names: ``server_side`` or ``server_hostname``, as in :meth:`ssl.SSLContext.wrap_bio`.
        """
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, **names)
        self._below = below
        self.established = False
        self.info: TLSInfo | None = None
        self.ended = False
        self.error: ssl.SSLError | None = None
        self.unsent = b""

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """The TLS of the standard library, to be asked for certificates and settings."""
        return self._object

    def receive(self, data: BytesLike | None, decrypt: bool = True) -> bytes:
        """Take bytes from the stream; return all that is decrypted with them.

        Args:
            data: the bytes; none at the end of the stream; ``None`` if nothing has been received.
            decrypt: ``False`` only begins or continues TLS's handshake, and leaves the data that follow it to
                the next call.
        """
        pieces = [b""]
        try:
            if data is not None:
                self._take(data)
            self._shake_hands()
            while decrypt and (self._incoming.pending or self._incoming.eof):
                pieces.append(self._object.read(RECORDS))
                if not pieces[-1]:
                    self.ended = True
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.fail(error)
        # The handshake goes on, a key is changed, an error is told.
        self.collect()
        return b"".join(pieces)

    def fail(self, error: ssl.SSLError) -> None:
        """Decrypting has raised an exception."""
        self.ended = True
        # A peer that does not end TLS in order may have done so in WebSocket.
        if not (self.established and isinstance(error, ssl.SSLEOFError)):
            self.error = error

    def collect(self) -> None:
        """Take the encrypted bytes from the TLS of the standard library."""
        self.unsent += self._outgoing.read()

    def _take(self, data: BytesLike) -> None:
        """Take encrypted bytes, or the end of the stream."""
        ended = not data
        if self._below is not None:
            data = self._below.receive(data)
            ended = self._below.ended
            self.error = self.error or self._below.error
        if data:
            self._incoming.write(data)
        if ended:
            self._incoming.write_eof()

    def encrypt(self, data: BytesLike) -> int:
        """Encrypt the beginning of ``data``; return how many bytes of it that is.

        Raises:
            ssl.SSLWantReadError: something has to be received first, as in TLS's handshake.
            ssl.SSLError: TLS has failed.
        """
        count, data = 0, memoryview(data)[:RECORDS]
        try:
            self._shake_hands()
            # A call encrypts one record.
            while count < len(data):
                count += self._object.write(data[count:])
        except ssl.SSLError:
            # Not for an interruption, which must come out.
            self.collect()
            if not count:
                raise
        self.collect()
        return count

    def take_unsent(self) -> bytes:
        """Return the encrypted bytes that are to be written to the stream, for a caller that writes all."""
        records, self.unsent = self.unsent, b""
        if self._below is None:
            return records
        # It may have to receive first. If it has failed, receiving tells so.
        with contextlib.suppress(ssl.SSLError):
            while records:
                records = records[self._below.encrypt(records) :]
        self.unsent = records
        return self._below.take_unsent()

    def end(self) -> None:
        """End this half in order, by a closure alert (RFC 8446 section 6.1)."""
        # It would like to wait for the peer's.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        self.collect()
        if self._below is not None:
            records = self.take_unsent()
            self._below.end()
            self._below.unsent = records + self._below.unsent

    def _shake_hands(self) -> None:
        if not self.established:
            self._object.do_handshake()
            self.info = tls_info(self._object)
            self.established = True


def tls_failure(error: ssl.SSLError) -> OSError:
    """Return the exception for TLS that has failed."""
    if isinstance(error, ssl.SSLEOFError):
        return ConnectionResetError("the peer ended the stream within TLS's handshake")
    return error

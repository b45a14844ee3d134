"""TLS over any non-blocking byte stream, which may be TLS itself.

An ``SSLSocket`` will not do: its timeout is one for all threads, its ``send`` can lock up behind a
``recv`` that waits, and one that wraps another writes past it. Here, OpenSSL works in memory. The
methods are those of a non-blocking socket, and there is nothing in them that waits. They are called
with the connection's lock.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TypeAlias

from wsproto_core.typing import BytesLike

__all__ = ["Stream", "TLSStream"]

RECORDS = 2**16
"""Bytes that are encrypted or decrypted at once; a record has 16 KiB at most (RFC 8446 section 5.1)."""


class TLSStream:
    """A byte stream within TLS.

    Attributes:
        established: whether TLS's handshake is done.
        ended: whether the peer has ended it, and all that came before has been returned.
        error: what has gone wrong, apart from the stream itself.
        unsent: encrypted bytes that wait to be written.
    """

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        """
        Arguments:
            stream: what it goes over.
            context: certificates and settings.
            server_side: whether this is the server.
            server_hostname: on a client, the name that the server's certificate must have.
        """
        self._stream = stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self.unsent = b""  # encrypted
        self._accepted = 0  # bytes that it is made of
        self.ended = False
        self.error: ssl.SSLError | None = None
        self._eof_sent = False
        self.established = False

    def recv(self, size: int) -> bytes:
        """Return all that is there, decrypted; nothing at the end.

        Raises:
            BlockingIOError: there is nothing yet.
            OSError: the stream or TLS has failed.
        """
        data = b""
        while not (data or self.ended or self.error):
            received = self._stream.recv(size)
            if self._eof_sent:
                # What comes now means nothing, and need not be decrypted.
                return received
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()
            data = self._decrypt()
        if not data and self.error is not None:
            raise self.error
        return data

    def _decrypt(self) -> bytes:
        """Decrypt all that has come in: what stays here does not make the socket readable."""
        pieces = []
        try:
            self._shake_hands()
            while self._incoming.pending or self._incoming.eof:
                piece = self._object.read(RECORDS)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if self.established and isinstance(error, ssl.SSLEOFError):
                # The peer did not say goodbye in TLS. WebSocket has a goodbye of its own.
                self.ended = True
            else:
                self.error = error
        if self._outgoing.pending:
            # The handshake goes on, a key is changed, an error is told. The next one to write does it.
            self.unsent += self._outgoing.read()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _shake_hands(self) -> None:
        if not self.established:
            self._object.do_handshake()
            self.established = True

    def send(self, data: BytesLike) -> int:
        """Encrypt and send the beginning of ``data``; return its size when all of that is written.

        Raises:
            BlockingIOError: it is not: call it again, with the same data.
            ssl.SSLWantReadError: something has to be received first, as in TLS's handshake.
            OSError: the stream or TLS has failed.
        """
        self.flush()
        if not self._accepted:
            try:
                self._shake_hands()
                self._accepted = self._object.write(data[:RECORDS])
            finally:
                self.flush()
        count, self._accepted = self._accepted, 0
        return count

    def flush(self) -> None:
        """Write what is encrypted.

        Raises:
            BlockingIOError: not all of it could be written.
            OSError: the stream has failed.
        """
        if self._outgoing.pending:
            self.unsent += self._outgoing.read()
        while self.unsent:
            self.unsent = self.unsent[self._stream.send(self.unsent) :]

    def shutdown(self, how: int) -> None:
        """End TLS, and the sending half of what it goes over.

        Raises:
            BlockingIOError: not all could be written: call it again.
            OSError: the stream has failed.
        """
        # It would like to wait for the peer's goodbye.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        self.flush()
        self._stream.shutdown(how)
        self._eof_sent = True


Stream: TypeAlias = socket.socket | TLSStream

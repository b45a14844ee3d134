"""TLS: the default context of clients, and :class:`TLSInfo`, the TLS of a connection."""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import dataclass
from typing import Any, cast

__all__ = ["TLSInfo", "client_context", "tls_info"]


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """The TLS of a connection after its handshake: ``websocket.tls``.

    Attributes:
        version: such as ``"TLSv1.3"``.
        cipher: name, version of TLS that defines it, and number of secret bits.
        alpn_protocol: the protocol that was negotiated by ALPN (RFC 7301); ``None`` without.
        peer_certificate: as :meth:`ssl.SSLSocket.getpeercert` returns it; empty if it was not verified,
            ``None`` if the peer has none, which is usual for a client.
        peer_certificate_der: the same in the binary form DER, verified or not.
        server_hostname: on a client, the name that the certificate was checked against; ``None`` on a
            server.
    """

    version: str
    cipher: tuple[str, str, int]
    alpn_protocol: str | None
    peer_certificate: dict[str, Any] | None
    peer_certificate_der: bytes | None
    server_hostname: str | None


def tls_info(ssl_object: Any) -> TLSInfo | None:
    """Return the TLS of a connection; ``None`` before its handshake is done.

    Args:
        ssl_object: an :class:`ssl.SSLObject`, or an object with its methods; ``None`` without TLS.
    """
    version = None if ssl_object is None else ssl_object.version()
    if version is None:
        return None
    return TLSInfo(
        version,
        ssl_object.cipher(),
        ssl_object.selected_alpn_protocol(),
        ssl_object.getpeercert(),
        ssl_object.getpeercert(binary_form=True),
        ssl_object.server_hostname,
    )


class _DefaultContext:
    """The context of all clients without one of their own, made at the first use.

    Reading the certificates of the system takes 0.1 seconds of processor time and some hundred kilobytes.
    """

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self._renew_lock()
        if hasattr(os, "register_at_fork"):
            # Another thread of the parent process may have held the lock.
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def get(self) -> ssl.SSLContext:
        if self._context is None:
            with self._lock:
                if self._context is None:
                    self._context = ssl.create_default_context()
        return self._context


_default_context = _DefaultContext()


def client_context(context: ssl.SSLContext | bool | None) -> ssl.SSLContext:
    """Return a client's TLS context: the given one; for ``True`` and ``None``, the default one.

    The default context is made once for the process, by the first connection that needs it, and does not
    see later changes of the system's certificates; ``ssl.create_default_context()`` makes a new one.
    """
    return _default_context.get() if context in (True, None) else cast(ssl.SSLContext, context)

"""TLS: the default context of clients, contexts for other origins, and the TLS of a connection."""

from __future__ import annotations

import os
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

__all__ = ["TLSInfo", "client_context", "note_trust", "tls_info", "without_certificate"]


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


_trusts_its_own: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Whether TLS contexts have trusted certificates before their first handshake, by context."""


def note_trust(context: Any) -> None:
    """Remember whether a client's TLS context has trusted certificates of its own.

    Call it before the first handshake, which adds certificates that it has found in a directory.

    Args:
        context: an :class:`ssl.SSLContext`; ``True`` or ``None`` for the default one.
    """
    if context not in (None, True) and context not in _trusts_its_own:
        with suppress(AttributeError, TypeError):  # it may be a context of another kind
            _trusts_its_own[context] = bool(context.cert_store_stats()["x509"])


def without_certificate(context: Any) -> Any:
    """Return a TLS context that verifies as another one does, but presents no certificate.

    The client certificate of a context can neither be removed nor read. So this makes a new context, with
    the versions, the ciphers, the verification and the trusted certificates of the other one, except for
    certificates in a directory, which a context does not list. The new context trusts the system's
    certificates if the other one had none before its first handshake. It has no ALPN protocols.

    Args:
        context: an :class:`ssl.SSLContext` for a client.

    Returns:
        The new context, of the same class.
    """
    other = type(context)(context.protocol)
    other.check_hostname = False  # or verify_mode could not be lowered
    for name in ("options", "minimum_version", "maximum_version", "verify_flags", "verify_mode"):
        setattr(other, name, getattr(context, name))
    other.check_hostname = context.check_hostname
    other.hostname_checks_common_name = context.hostname_checks_common_name
    # Those of TLS 1.3 are not chosen by this call.
    ciphers = [each["name"] for each in context.get_ciphers() if not each["name"].startswith("TLS_")]
    other.set_ciphers(":".join([*ciphers, f"@SECLEVEL={context.security_level}"]))
    trusted = context.get_ca_certs(binary_form=True)
    if trusted:
        other.load_verify_locations(cadata=b"".join(trusted))
    if not _trusts_its_own.get(context, bool(trusted)):
        other.load_default_certs()
    return other

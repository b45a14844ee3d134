"""What a client has to do to reach a server, decided step by step.

An adapter opens streams; what they lead to, through which proxy, with which names for TLS, and what
is to be done when the server says to go elsewhere, is decided here.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from typing import Protocol as Interface

from wsproto_core.connect.proxy import Proxy, Tunnel, choose_proxy
from wsproto_core.connect.redirects import Redirects, note_trust
from wsproto_core.exceptions import HandshakeTimeout, InvalidMessage, InvalidStatusCode
from wsproto_core.handshake.client import ClientProtocol
from wsproto_core.http.uri import WebSocketURI, parse_uri, without_zone
from wsproto_core.options import ConnectOptions, head_limits, resolve, split_options

from .stream_options import GIVEN_STREAMS, check_connect, complete_tls

__all__ = ["Connecting"]

BAD_REQUEST = 400

# Pages of nginx and Go, and of Apache.
_TLS_WORDS = (b"https", b"ssl-enabled")


class _Connection(Interface):
    """What an adapter makes."""

    protocol: ClientProtocol


T = TypeVar("T", bound=_Connection)


class Connecting:
    """One opening of a connection. Whoever connects does this::

        connecting = Connecting(uri, options, clock=clock, environment=os.environ)
        while True:
            connection = connecting.create(factory)
            try:
                return connect_once(connecting, connection)
            except InvalidStatusCode as error:
                connecting.follow(error)

    Attributes:
        uri: what to connect to now.
        options: the options of the connection.
        stream_options: those of the runtime's call, without the ones that are attributes here.
        host, port: where TCP has to lead to in the end, directly or through the proxy.
        proxy: the proxy to go through, or ``None``.
        ssl: the TLS context: ``True`` for the default one, ``None`` for none.
        server_hostname: the name that the server's certificate must have.
        proxy_ssl: the TLS context for the proxy, if its scheme is ``https``; ``None`` for the default.
        proxy_server_hostname: the name that the proxy's certificate must have; ``None`` without a proxy.
        deadline: the time of the clock at which all of it must be done, or ``None``.
    """

    def __init__(
        self,
        uri: str | WebSocketURI,
        options: Mapping[str, Any],
        *,
        clock: Callable[[], float],
        environment: Mapping[str, str],
    ) -> None:
        """
        Args:
            uri: what the application wants to connect to.
            options: what it gave: ours, and those of the runtime's call, ``path`` among them for a
                Unix socket.
            clock: returns the time in seconds.
            environment: the environment variables, for the proxy.

        Raises:
            InvalidURI: the URI is not valid.
            InvalidProxy: the proxy's URL is not valid.
            TypeError, ValueError: an option is not allowed, or contradicts another.
        """
        self._given = dict(options)
        self._clock = clock
        self._environment = environment
        ours, _ = split_options(ConnectOptions, options)
        settings = resolve(ConnectOptions, ours)
        first = uri if isinstance(uri, WebSocketURI) else parse_uri(uri)
        self._fixed = check_connect(first, options)
        note_trust(options.get("ssl"))
        self._redirects = Redirects(first, settings["max_redirects"], fixed=self._fixed)
        self._timeout = settings["open_timeout"]
        self.deadline = None if self._timeout is None else clock() + self._timeout
        self._prepare()

    def follow(self, error: InvalidStatusCode) -> None:
        """The server answered with another status than 101: prepare to go where it says.

        Raises:
            InvalidHandshake: it does not say so, or may not: see :meth:`.Redirects.follow`.
            HandshakeTimeout: there is no time left.
        """
        self._redirects.follow(error)
        self._prepare()
        if self.deadline is not None and self._clock() >= self.deadline:
            raise self.timed_out() from error

    def create(self, factory: Callable[..., T]) -> T:
        """Make the connection object for what is to be connected to now.

        Args:
            factory: returns it, given the URI and the options.
        """
        connection = factory(self.uri, **self.options)
        if self.deadline is not None:
            # A part of the time may be spent already.
            connection.protocol.open_by(self.deadline)
        return connection

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Add notes to an error: the URI, the proxy and where that is from, and the usual causes."""
        try:
            yield
        except Exception as error:
            through = "" if self.proxy is None else f" through {self.proxy}"
            if self.proxy is not None and self.proxy.variable is not None:
                through += f" (from the environment variable {self.proxy.variable})"
            error.add_note(f"while connecting to {self.uri}{through}")
            causes = self._usual_causes(error)
            if causes is not None:
                error.add_note(causes)
            raise

    def _usual_causes(self, error: Exception) -> str | None:
        """Return a sentence about the usual causes of an error; ``None`` if the error itself names them."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                "The usual causes: the certificate is signed by an authority that is not trusted here (load "
                "the authority's certificate into a context: ssl=ssl.create_default_context(cafile=...)), or "
                f"the certificate is for another name than {self._certificate_names()}."
            )
        if isinstance(error, ssl.SSLError):
            return (
                "The usual causes: this port does not speak TLS (then the URI begins with ws:), or the peer "
                "and this client have no version of TLS and no cipher in common."
            )
        if not self.uri.secure and _looks_like_tls(error):
            return "If this port speaks TLS, the URI begins with wss:."
        return None

    def _certificate_names(self) -> str:
        names = {"server_hostname": self.server_hostname}
        if self.proxy is not None and self.proxy.scheme == "https":
            names["proxy_server_hostname"] = self.proxy_server_hostname
        return " or ".join(f"{name!r} ({option}=)" for option, name in names.items() if name is not None)

    def timed_out(self) -> HandshakeTimeout:
        """Make the exception for a stream that was not opened in time."""
        return HandshakeTimeout(f"no stream to {self.uri.host} within {self._timeout} seconds (open_timeout)")

    def tunnel(self) -> Tunnel:
        """Begin to ask the proxy, which speaks HTTP, for a tunnel."""
        assert self.proxy is not None
        settings = resolve(ConnectOptions, self.options)
        return Tunnel(
            self.proxy,
            dataclasses.replace(self.uri, host=self.host, port=self.port),
            user_agent_header=settings["user_agent_header"],
            limits=head_limits(settings),
        )

    def _prepare(self) -> None:
        self.uri = self._redirects.uri
        self.options, stream_options = split_options(ConnectOptions, self._redirects.options(self._given))
        self.host: str = self.options.pop("host", None) or self.uri.host
        self.port: int = self.options.pop("port", None) or self.uri.port
        for name in ("create_protocol", "max_redirects", "reconnect_delays", "reconnect_fatal"):
            self.options.pop(name, None)
        destination = dataclasses.replace(self.uri, host=self.host, port=self.port)
        by_stream = self._fixed if self._fixed in GIVEN_STREAMS else None
        self.proxy: Proxy | None = choose_proxy(
            self.options.pop("proxy", True), destination, self._environment, fixed=by_stream
        )
        if self.proxy is not None:
            self.host = without_zone(self.host)
        stream_options = complete_tls(self.uri, stream_options)
        self.ssl = stream_options.pop("ssl", None)
        self.server_hostname: str | None = stream_options.pop("server_hostname", None)
        self.proxy_ssl: Any = stream_options.pop("proxy_ssl", None)
        proxy_name: str | None = stream_options.pop("proxy_server_hostname", None)
        self.proxy_server_hostname = proxy_name or (
            None if self.proxy is None else without_zone(self.proxy.host)
        )
        self.stream_options = stream_options


def _looks_like_tls(error: Exception) -> bool:
    """Whether an answer to a request in plain HTTP looks like that of a server that speaks TLS.

    Such a server answers by an alert of TLS, by the end of the stream, or by a page that says so.
    """
    if isinstance(error, InvalidStatusCode):
        body = b"" if error.response is None else error.response.body.lower()
        return error.status_code == BAD_REQUEST and any(word in body for word in _TLS_WORDS)
    if not isinstance(error, InvalidMessage):
        return False
    return "looks like TLS" in str(error) or isinstance(error.__cause__, EOFError | ConnectionResetError)

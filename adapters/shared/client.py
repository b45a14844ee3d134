"""A client's decisions on the way to a server: redirects, the proxy, TLS's names, deadlines, notes on errors.

An adapter opens the streams. Here stand the addresses that they lead to, the proxy that they go through, and
the steps after a redirect.
"""

from __future__ import annotations

import dataclasses
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, Unpack
from typing import Protocol as Interface

from wsproto_core.connect.proxy import Proxy, Tunnel, choose_proxy
from wsproto_core.connect.redirects import Redirects
from wsproto_core.exceptions import HandshakeTimeout, InvalidMessage, InvalidStatusCode
from wsproto_core.handshake.client import ClientProtocol
from wsproto_core.http.uri import WebSocketURI, parse_uri, without_zone
from wsproto_core.options import resolve
from wsproto_core.types import State

from .asynchronous import AsyncConnection
from .blocks import Once
from .connection import BaseConnection
from .options import ConnectOptions, ConnectSettings, make_connection, split_options
from .stream_options import GIVEN_STREAMS, TCP_CLIENT, check_connect, check_names, complete_tls
from .tls import note_trust, without_certificate

__all__ = [
    "AsyncClientConnection",
    "BaseClientConnection",
    "BaseConnect",
    "Connecting",
    "Target",
    "replace_timeout",
]

_BAD_REQUEST = 400

# Pages of nginx and Go, and of Apache.
_TLS_WORDS = (b"https", b"ssl-enabled")


class _Connection(Interface):
    """What an adapter makes."""

    protocol: ClientProtocol


class _AsyncConnection(_Connection, Interface):
    async def _wait_opened(self) -> None: ...
    def _abandon(self) -> None: ...


T = TypeVar("T", bound=_Connection)
AsyncT = TypeVar("AsyncT", bound=_AsyncConnection)


class BaseClientConnection(BaseConnection):
    """A client's connection: the part that does not depend on the runtime.

    An adapter's class has this class first among its bases, and the adapter's connection second.
    """

    protocol: ClientProtocol

    def __init__(
        self,
        uri: str | WebSocketURI,
        *,
        settings: ConnectSettings | None = None,
        **options: Unpack[ConnectOptions],
    ) -> None:
        """
        Args:
            uri: a WebSocket URI.
            settings: options that were parsed before; ``None`` for the defaults.
            options: see :data:`adapters.shared.options.OPTIONS`.
        """
        settings = resolve(ConnectSettings, options, settings)
        clock, _ = self._clocks()
        super().__init__(ClientProtocol(uri, clock=clock, settings=settings), settings.logger)

    def _has_answer(self) -> bool:
        """Whether the opening handshake is done, or has failed."""
        return self.protocol.state is not State.CONNECTING

    def _check_opened(self) -> None:
        """Raise the error of the opening handshake, if the handshake failed.

        Raises:
            InvalidHandshake: it failed.
        """
        if self.protocol.handshake_error is not None:
            raise self.protocol.handshake_error


class AsyncClientConnection(BaseClientConnection, AsyncConnection):
    """A client's connection on an asynchronous adapter."""

    async def _wait_opened(self) -> None:
        """Wait until the opening handshake is done.

        Raises:
            InvalidHandshake: it failed.
        """
        await self._wait_until(self._has_answer)
        # The first ping may be due before the deadline of the opening handshake.
        self._react()
        self._check_opened()


class Target:
    """The arguments of ``connect``, parsed and checked once, before any connection is made.

    Attributes:
        uri: the URI.
        settings: the options of :class:`.ConnectSettings`.
        stream_options: the other options: those of the runtime's call, with ``path`` for a Unix socket.
        fixed: the option that says where the stream leads to, whatever the URI says; ``None`` if none does.
    """

    def __init__(self, uri: str | WebSocketURI, options: Mapping[str, Any], path: str | None = None) -> None:
        """
        Args:
            uri: the URI.
            options: the options that the application gave.
            path: the path of a Unix socket; ``None`` for TCP.

        Raises:
            InvalidURI: the URI is not valid.
            InvalidProxy: the proxy's URL is not valid.
            TypeError, ValueError: an option is not allowed, or contradicts another.
        """
        self.settings, self.stream_options = split_options(ConnectSettings, options)
        if path is not None:
            self.stream_options["path"] = path
        self.uri = uri if isinstance(uri, WebSocketURI) else parse_uri(uri)
        self.fixed = check_connect(
            self.uri, {**self.settings.given, **self.stream_options, "proxy": self.settings.proxy}
        )
        note_trust(self.stream_options.get("ssl"))


class Connecting:
    """One opening of a connection, by an adapter::

        connecting = Connecting(Target(uri, options), clock=clock, environment=os.environ)
        while True:
            connection = connecting.create(ClientConnection)
            try:
                return connect_once(connecting, connection)
            except InvalidStatusCode as error:
                connecting.follow(error)

    Attributes:
        uri: the URI to connect to now: the first one, or that of a redirect.
        settings: the options for the connection.
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
        target: Target,
        *,
        clock: Callable[[], float],
        environment: Mapping[str, str],
    ) -> None:
        """
        Args:
            target: the arguments of ``connect``.
            clock: returns the time in seconds.
            environment: the environment variables, for the proxy.

        Raises:
            InvalidProxy: the proxy's URL in the environment is not valid.
            ValueError: the proxy contradicts an option.
        """
        self._target = target
        self._clock = clock
        self._environment = environment
        self._redirects = Redirects(target.uri, target.settings.max_redirects, fixed=target.fixed)
        self._timeout = target.settings.open_timeout
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
        if self.is_late():
            raise self.timed_out() from error

    def create(self, connection_class: Callable[..., T]) -> T:
        """Make the connection object for the server that is connected to now.

        Args:
            connection_class: the adapter's, in which the option ``create_protocol`` takes its place.
        """
        connection: T = make_connection(self.settings, connection_class, self.uri)
        if self.deadline is not None:
            # A part of the time may be spent already.
            connection.protocol.open_by(self.deadline)
        return connection

    async def open(
        self, connection_class: Callable[..., AsyncT], open_stream: Callable[[AsyncT], Awaitable[None]]
    ) -> AsyncT:
        """Open a connection on an asynchronous adapter, and follow redirects.

        Args:
            connection_class: see :meth:`create`.
            open_stream: opens the stream of a connection.

        Raises:
            InvalidHandshake: the opening handshake failed.
            OSError: there is no stream to the server.
        """
        with self.noting():
            while True:
                connection = self.create(connection_class)
                try:
                    await open_stream(connection)
                    await connection._wait_opened()
                    return connection
                except BaseException as error:
                    connection._abandon()
                    if not isinstance(error, InvalidStatusCode):
                        raise
                    self.follow(error)

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
        proxy_tls = self.proxy is not None and self.proxy.scheme == "https"
        if isinstance(error, ssl.SSLCertVerificationError):
            options, names = [], []
            if self.uri.secure:
                options.append("ssl=")
                names.append(f"{self.server_hostname!r} (server_hostname=)")
            if proxy_tls:
                options.append("proxy_ssl=")
                names.append(f"{self.proxy_server_hostname!r} (proxy_server_hostname=)")
            return (
                "The usual causes: the certificate is signed by an authority that is not trusted here (load "
                f"the authority's certificate into a context: {' or '.join(options)}"
                "ssl.create_default_context(cafile=...)), or the certificate is for another name than "
                f"{' or '.join(names)}."
            )
        if isinstance(error, ssl.SSLError):
            without_tls = ["the URI begins with ws:"] if self.uri.secure else []
            if proxy_tls:
                without_tls.append("the proxy's URL begins with http:")
            return (
                f"The usual causes: this port does not speak TLS (then {' or '.join(without_tls)}), or the "
                "peer and this client have no version of TLS and no cipher in common."
            )
        if not self.uri.secure and _looks_like_tls(error):
            return "If this port speaks TLS, the URI begins with wss:."
        return None

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self._clock() >= self.deadline

    def timed_out(self) -> HandshakeTimeout:
        """Make the exception for a stream that was not opened in time."""
        return HandshakeTimeout(f"no stream to {self.uri.host} within {self._timeout} seconds (open_timeout)")

    def tunnel(self) -> Tunnel:
        """Begin to ask the proxy, which speaks HTTP, for a tunnel."""
        assert self.proxy is not None
        return Tunnel(
            self.proxy,
            dataclasses.replace(self.uri, host=self.host, port=self.port),
            user_agent_header=self.settings.user_agent_header,
            limits=self.settings.head_limits,
        )

    def _prepare(self) -> None:
        self.uri = self._redirects.uri
        target = self._target
        # Some of the options are not for another origin.
        stream_options = dict(self._redirects.options(target.stream_options))
        if self._redirects.left_origin and stream_options.get("ssl") not in (None, True):
            stream_options["ssl"] = without_certificate(stream_options["ssl"])
        headers = {"extra_headers": target.settings.extra_headers}
        fewer = self._redirects.options(headers)
        self.settings = resolve(ConnectSettings, {} if fewer is headers else fewer, target.settings)
        self.host: str = self.settings.host or self.uri.host
        self.port: int = self.settings.port or self.uri.port
        destination = dataclasses.replace(self.uri, host=self.host, port=self.port)
        by_stream = target.fixed if target.fixed in GIVEN_STREAMS else None
        self.proxy: Proxy | None = choose_proxy(
            self.settings.proxy, destination, self._environment, fixed=by_stream
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


class BaseConnect(Once):
    """The result of ``connect``: its arguments, which are checked at once.

    Attributes:
        _options: the ``TypedDict`` of the options of ``connect``.
    """

    made_by = "connect"
    _options: type

    def __init__(self, uri: str, path: str | None, options: Mapping[str, Any]) -> None:
        """
        Args:
            uri: a WebSocket URI.
            path: the path of a Unix socket; ``None`` for TCP.
            options: those of ``connect``.

        Raises:
            InvalidURI, TypeError, ValueError: see :class:`Target` and :class:`Connecting`.
        """
        others = () if path is None else TCP_CLIENT
        check_names([name for name in self._options.__annotations__ if name not in others], options)
        self._target = Target(uri, options, path)
        self.made_for = self._target.uri
        # Raise the errors of options now, before there is an event loop with a clock.
        self._connecting(float)

    def _connecting(self, clock: Callable[[], float]) -> Connecting:
        """Begin to open a connection."""
        return Connecting(self._target, clock=clock, environment=os.environ)


@contextmanager
def replace_timeout(has_expired: Callable[[], bool], make_error: Callable[[], Exception]) -> Iterator[None]:
    """Raise another exception in the place of the :exc:`TimeoutError` of a deadline.

    Args:
        has_expired: whether the deadline has passed; if not, the exception has another cause.
        make_error: makes the exception to raise.
    """
    try:
        yield
    except TimeoutError as error:
        if has_expired():
            raise make_error() from error
        raise


def _looks_like_tls(error: Exception) -> bool:
    """Whether an answer to a request in plain HTTP looks like that of a server that speaks TLS.

    Such a server answers by an alert of TLS, by the end of the stream, or by a page that says so.
    """
    if isinstance(error, InvalidStatusCode):
        body = b"" if error.response is None else error.response.body.lower()
        return error.status_code == _BAD_REQUEST and any(word in body for word in _TLS_WORDS)
    if not isinstance(error, InvalidMessage):
        return False
    return "looks like TLS" in str(error) or isinstance(error.__cause__, EOFError | ConnectionResetError)

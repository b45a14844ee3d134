"""What a client has to do to reach a server, decided step by step.

An adapter opens streams; what they lead to, through which proxy, with which names for TLS, and what
is to be done when the server says to go elsewhere, is decided here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from typing import Protocol as Interface

from wsproto_core.connect.proxy import Proxy, Tunnel, choose_proxy
from wsproto_core.connect.redirects import Redirects, note_trust
from wsproto_core.exceptions import HandshakeTimeout, InvalidStatusCode
from wsproto_core.handshake.client import ClientProtocol
from wsproto_core.http.uri import WebSocketURI, parse_uri, without_zone
from wsproto_core.options import ConnectOptions, head_limits, resolve, split_options

from .stream_options import GIVEN_STREAMS, check_connect, complete_tls

__all__ = ["Connecting"]


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
        """Note on an error where to it was that no connection could be opened."""
        try:
            yield
        except Exception as error:
            through = "" if self.proxy is None else f" through {self.proxy}"
            error.add_note(f"while connecting to {self.uri}{through}")
            raise

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

"""A client's connection: the opening handshake (RFC 6455 sections 4.1), then :class:`.Protocol`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from ..exceptions import HandshakeTimeout, InvalidHandshake, InvalidMessage, InvalidState, InvalidStatusCode
from ..extensions.permessage_deflate import DEFAULT_CLIENT, NAME
from ..http import Headers, Request, Response
from ..http.grammar import build_authorization_basic, build_host, build_subprotocol
from ..http.reading import ResponseReader
from ..http.uri import WebSocketURI, parse_uri
from ..opening import Answer, End, Handshake
from ..options import ClientOptions, ClientSettings, resolve
from ..protocol import Protocol
from ..timers import Timer
from ..types import Side
from .headers import build_request, check_response, negotiate_subprotocol_response, override_headers
from .negotiation import check_accepted, offer_extensions

__all__ = ["ClientHandshake", "ClientProtocol"]

_BODY_TIMEOUT = 1.0
"""Seconds to wait for the rest of a refusal after its head, which has the status."""


class ClientProtocol(Protocol):
    """A client's connection without I/O. See :class:`.Protocol` for how it is driven.

    The request is among the first :meth:`data_to_send`. The server's answer makes the connection
    open (:attr:`state`) and a :class:`.Response` event, or a :class:`.Failure` event and
    :attr:`handshake_error`. The deadline of the opening handshake runs from the construction.

    Attributes:
        uri: the URI.
        request: the opening handshake's request.
        response: the response, once it is complete, also of a refusal. At most 64 KiB of a refusal's body
            are kept, and the connection waits for them for at most a second.
    """

    __slots__ = ("uri",)

    uri: WebSocketURI
    request: Request
    _settings: ClientSettings
    _handshake: ClientHandshake | None

    def __init__(
        self,
        uri: str | WebSocketURI | None,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes] | None = None,
        settings: ClientSettings | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """
        Args:
            uri: a WebSocket URI (RFC 6455 section 3); ``None`` if :meth:`ask` is called later.
            clock: returns the time in seconds; any origin, never going back.
            random: returns as many bytes as it is asked for, from a strong source (RFC 6455
                section 10.3); ``None`` for ``os.urandom``, drawn in batches.
            settings: options that were parsed before, by :func:`.resolve`; ``None`` for the defaults.
            options: see :data:`~.options.OPTIONS`.

        Raises:
            InvalidURI: it is not a WebSocket URI.
            TypeError: an option is unknown or has the wrong type.
            ValueError: an option's value is not allowed, or cannot stand in an HTTP request.
        """
        settings = resolve(ClientSettings, options, settings)
        super().__init__(
            Side.CLIENT, clock=clock, random=random, settings=settings, handshake=ClientHandshake(settings)
        )
        if uri is not None:
            self.ask(uri)

    def ask(self, uri: str | WebSocketURI, **options: Unpack[ClientOptions]) -> None:
        """Send the opening handshake's request, if the constructor was given no URI.

        Args:
            uri: a WebSocket URI (RFC 6455 section 3).
            options: those of the request, in the place of the constructor's.

        Raises:
            InvalidState: the request has been sent, or the handshake has failed.
            InvalidURI, TypeError, ValueError: as in the constructor.
        """
        handshake = self._handshake
        if handshake is None or handshake.request is not None or self._opening() is None:
            raise InvalidState("the opening handshake's request has been sent, or it has failed")
        self.uri = parse_uri(uri) if isinstance(uri, str) else uri
        settings = resolve(ClientSettings, options, self._settings)
        self.request = handshake.ask(self.uri, settings, self._random)
        self._observer.request(self.request)
        self._outbox.open(self.request.serialize())

    def open_by(self, deadline: float) -> None:
        """Set the deadline of the opening handshake, in the place of ``open_timeout`` from now on.

        It is for programs that have spent a part of ``open_timeout`` before, for example by a redirect.
        Error messages have the configured timeout.

        Args:
            deadline: a time of the clock.
        """
        timeout = self._settings.open_timeout
        if self._opening() is not None and timeout is not None:
            self._timers.start(Timer.OPENING, deadline - timeout, timeout)


class ClientHandshake(Handshake):
    """A client's opening handshake: its request, and the checks of the response."""

    def __init__(self, settings: ClientSettings) -> None:
        """
        Args:
            settings: the options.
        """
        self._timeout = settings.open_timeout
        self._reading = ResponseReader(settings.head_limits)

    def ask(self, uri: WebSocketURI, settings: ClientSettings, random: Callable[[int], bytes]) -> Request:
        """Make the request.

        Args:
            uri: the URI.
            settings: the options.
            random: a source of bytes for the key, given their number.
        """
        self._uri = uri
        self._factories = list(settings.extensions or ())
        if settings.compression and not any(factory.name == NAME for factory in self._factories):
            self._factories.append(DEFAULT_CLIENT)
        self._subprotocols = settings.subprotocols or ()
        extra = Headers(settings.extra_headers or ())
        headers = Headers(Host=build_host(uri.host, uri.port, uri.secure))
        self._key = build_request(headers, random=random)
        if settings.origin is not None:
            headers["Origin"] = settings.origin
        offers = offer_extensions(self._factories)
        if offers is not None:
            headers["Sec-WebSocket-Extensions"] = offers
        if self._subprotocols:
            headers["Sec-WebSocket-Protocol"] = build_subprotocol(self._subprotocols)
        if uri.user_info is not None:
            headers["Authorization"] = build_authorization_basic(*uri.user_info)
        if settings.user_agent_header is not None:
            headers["User-Agent"] = settings.user_agent_header
        override_headers(headers, extra)
        self.request = Request(uri.resource_name, headers)
        return self.request

    def receive_data(self, data: bytes) -> End | None:
        if self.request is None:
            return InvalidMessage("expected nothing from the server before it was asked")
        try:
            self._reading.receive_data(data)
        except InvalidHandshake as error:
            return error
        if self._reading.response is not None:
            return self._judge(self._reading.response)
        if self._reading.head is not None:
            # The rest of a refusal may never come.
            self.time_left = _BODY_TIMEOUT
        return None

    def receive_eof(self) -> End:
        failure = InvalidMessage(
            f"the server ended the stream before it answered the opening handshake{self._so_far()}"
        )
        failure.__cause__ = EOFError("the stream ended before the end of a response's head")
        return self._end(failure)

    def connection_lost(self, error: Exception | None) -> End:
        failure = InvalidMessage(
            f"the stream was closed before the server answered the opening handshake{self._so_far()}"
        )
        failure.__cause__ = error or EOFError("the stream was closed")
        return self._end(failure)

    def expire(self) -> End:
        return self._end(
            HandshakeTimeout(f"the server did not answer within {self._timeout} seconds{self._so_far()}")
        )

    @property
    def trailing_data(self) -> bytes:
        return self._reading.trailing_data

    def _so_far(self) -> str:
        """Quote received bytes that are no HTTP response: they may tell what kind of server this is."""
        data = self._reading.incomplete_head
        return f"; it sent {data!r}" if data else ""

    def _end(self, failure: Exception) -> End:
        """The response has ended: of a refusal, its head and the received part of its body count."""
        if self._reading.head is None:
            return failure
        self._reading.receive_eof()
        response = self._reading.response
        return failure if response is None else self._judge(response)

    def _judge(self, response: Response) -> Answer:
        """Check the response (RFC 6455 section 4.1)."""
        headers = response.headers
        try:
            if response.status != 101:
                raise InvalidStatusCode(response.status, response, str(self._uri))
            check_response(headers, self._key)
            extensions = check_accepted(headers.get_all("Sec-WebSocket-Extensions"), self._factories)
            subprotocol = negotiate_subprotocol_response(headers, self._subprotocols)
        except InvalidHandshake as error:
            return Answer(response, error=error, remote=True)
        return Answer(response, events=(response,), extensions=extensions, subprotocol=subprotocol)

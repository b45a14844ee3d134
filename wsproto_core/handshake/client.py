"""A client's connection: the opening handshake (RFC 6455 sections 4.1), then :class:`.Protocol`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from ..exceptions import HandshakeTimeout, InvalidHandshake, InvalidMessage, InvalidStatusCode
from ..extensions.permessage_deflate import DEFAULT_CLIENT, NAME
from ..http import Headers, Request
from ..http.grammar import build_authorization_basic, build_host, build_subprotocol
from ..http.reading import ResponseReader
from ..http.uri import WebSocketURI, parse_uri
from ..lifecycle import Lifecycle
from ..options import ClientOptions, ClientSettings, resolve
from ..protocol import Protocol
from ..states import Phase
from ..timers import Timer
from ..types import BytesLike, Side
from .checks import (
    build_request,
    check_extra_headers,
    check_response,
    negotiate_subprotocol_response,
    override_headers,
)
from .negotiation import check_accepted, offer_extensions

__all__ = ["ClientProtocol"]

_BODY_TIMEOUT = 1.0
"""Seconds to wait for the rest of a refusal, once its head is there: that says what matters."""


class ClientProtocol(Protocol):
    """A client's connection without I/O. See :class:`.Protocol` for how it is driven.

    The request is among the first :meth:`data_to_send`. The server's answer makes the connection
    open (:attr:`state`) and a :class:`.Response` event, or a :class:`.Failure` event and
    :attr:`handshake_error`. The deadline of the opening handshake runs from the construction.

    Attributes:
        uri: what is connected to.
        request: the opening handshake's request.
        response: the answer, once it is there, whatever it says. Of a refusal's body, at most
            64 KiB are kept, and it is waited for at most a second.
    """

    request: Request
    _settings: ClientSettings

    def __init__(
        self,
        uri: str | WebSocketURI,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes] | None = None,
        settings: ClientSettings | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """
        Args:
            uri: a WebSocket URI (RFC 6455 section 3).
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
        self._begin(clock, random, settings)
        self._ask(parse_uri(uri) if isinstance(uri, str) else uri, settings)

    def _begin(
        self, clock: Callable[[], float], random: Callable[[int], bytes] | None, settings: ClientSettings
    ) -> None:
        """Begin without a request: the deadline of the opening handshake runs from here on."""
        Lifecycle.__init__(self, Side.CLIENT, clock, random, settings)
        self._reading = ResponseReader(settings.head_limits)
        self._timers.start(Timer.OPENING, clock(), settings.open_timeout)

    def _ask(self, uri: WebSocketURI, settings: ClientSettings) -> None:
        """Send the opening handshake's request."""
        self.uri = uri
        self._factories = list(settings.extensions or ())
        if settings.compression and not any(factory.name == NAME for factory in self._factories):
            self._factories.append(DEFAULT_CLIENT)
        self._subprotocols = settings.subprotocols or ()
        self.request, self._key = self._build_request(settings)
        self._observer.request(self.request)
        self._outbox.open(self.request.serialize())

    def open_by(self, deadline: float) -> None:
        """Set the deadline of the opening handshake, in the place of ``open_timeout`` from now on.

        It is for whoever has spent a part of ``open_timeout`` before, by a redirect for example. In
        messages the timeout is what was configured.

        Args:
            deadline: a time of the clock.
        """
        timeout = self._settings.open_timeout
        if self._phase is Phase.CONNECTING and timeout is not None:
            self._timers.start(Timer.OPENING, deadline - timeout, timeout)

    def _build_request(self, settings: ClientSettings) -> tuple[Request, str]:
        uri = self.uri
        extra = Headers(settings.extra_headers or ())
        check_extra_headers(extra)
        headers = Headers(Host=build_host(uri.host, uri.port, uri.secure))
        key = build_request(headers, random=self._random)
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
        return Request(uri.resource_name, headers), key

    def _receive_handshake(self, data: BytesLike) -> None:
        try:
            self._reading.receive_data(data)
            self._answered()
        except InvalidHandshake as error:
            self._refuse(error)

    def receive_eof(self) -> None:
        if self._phase is Phase.CONNECTING:
            failure = InvalidMessage(
                f"the server ended the stream before it answered the opening handshake{self._so_far()}"
            )
            failure.__cause__ = EOFError("the stream ended before the end of a response's head")
            self._end_answer(failure)
        super().receive_eof()

    def connection_lost(self, error: Exception | None = None) -> None:
        if self._phase is Phase.CONNECTING:
            failure = InvalidMessage(
                f"the stream was closed before the server answered the opening handshake{self._so_far()}"
            )
            failure.__cause__ = error or EOFError("the stream was closed")
            self._end_answer(failure)
        super().connection_lost(error)

    def _so_far(self) -> str:
        """Say what came that is no answer: it may tell what kind of server this is."""
        data = self._reading.incomplete_head
        return f"; it sent {data!r}" if data else ""

    def _end_answer(self, failure: Exception) -> None:
        """Nothing more of the answer is to come: a refusal is raised with what has come of its body."""
        if self._reading.head is None:
            self._refuse(failure)
            return
        try:
            self._reading.receive_eof()
            self._answered()
        except InvalidHandshake as error:
            self._refuse(error)

    def _answered(self) -> None:
        """Judge the response, if it is complete."""
        self.response = self._reading.response
        if self.response is None:
            if self._reading.head is not None:
                # The rest of a refusal may never come.
                self._timers.shorten(Timer.OPENING, self._clock(), _BODY_TIMEOUT)
            return
        self._observer.response(self.response)
        if self.response.status != 101:
            raise InvalidStatusCode(self.response.status, self.response, str(self.uri))
        headers = self.response.headers
        check_response(headers, self._key)
        extensions = check_accepted(headers.get_all("Sec-WebSocket-Extensions"), self._factories)
        subprotocol = negotiate_subprotocol_response(headers, self._subprotocols)
        self._notify(self.response)
        trailing_data = self._reading.trailing_data
        del self._reading
        self._open(extensions, subprotocol)
        # Bytes may follow the response in the same segment.
        self._inbox.receive(trailing_data)
        self._update_input()

    def _expire_handshake(self) -> None:
        timeout = self._settings.open_timeout
        self._end_answer(
            HandshakeTimeout(f"the server did not answer within {timeout} seconds{self._so_far()}")
        )

"""A server's opening handshake: it checks the request, and makes the answers (RFC 6455 section 4.2)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

from ..checks import check_extra_headers, own_headers
from ..events import Failure
from ..exceptions import (
    AbortHandshake,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidOrigin,
    InvalidState,
    InvalidUpgrade,
    NegotiationError,
    SecurityError,
)
from ..extensions.base import ServerExtensionFactory
from ..extensions.permessage_deflate import DEFAULT_SERVER, NAME
from ..http import Headers, Request, Response, make_response
from ..http.headers import HeadersLike
from ..http.reading import RequestReader, check_no_body
from ..opening import Answer, End, Handshake
from ..options import SelectSubprotocol, ServerSettings
from ..types import Subprotocol
from .headers import (
    build_response,
    check_host,
    check_origin,
    check_request,
    override_headers,
    parse_subprotocol_offers,
    to_origin_form,
)
from .negotiation import accept_offers

__all__ = ["ServerHandshake"]

_METHODS = ("GET", "HEAD")
"""The methods of requests that the application is asked about: HEAD for an HTTP response to a GET."""

_INTERNAL_ERROR = Response(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    body=b"Failed to open a WebSocket connection: internal server error.\n",
)

_WEBSOCKET_ONLY = """
This URI is for WebSocket clients. A browser's address bar and HTTP clients cannot open it: use a WebSocket
client, with a URI that begins with ws:// (or wss:// for TLS), as in JavaScript: new WebSocket("ws://...").
"""

_VERSION_13 = """
This server speaks version 13 of the WebSocket protocol (RFC 6455).
"""


class ServerHandshake(Handshake):
    """A server's opening handshake.

    Attributes:
        settings: the options, which may be replaced.
    """

    def __init__(self, settings: ServerSettings, date: Callable[[], float] | None) -> None:
        """
        Args:
            settings: the options.
            date: returns the seconds since 1970; ``None`` for responses without a ``Date`` header.
        """
        self.settings = settings
        self._date = date
        # An error in the body is reported after an error in the method.
        self._reading = RequestReader(settings, body=True)
        self._early = bytearray()  # bytes that the client sends before it has an answer

    def _factories(self) -> list[ServerExtensionFactory]:
        factories = list(self.settings.extensions or ())
        if self.settings.compression and not any(factory.name == NAME for factory in factories):
            factories.append(DEFAULT_SERVER)
        return factories

    # Inputs

    def receive_data(self, data: bytes) -> Request | End | None:
        if self.request is not None:
            self._keep_early(data)
            return None
        try:
            self._reading.receive_data(data)
            return None if self._reading.request is None else self._judge(self._reading.request)
        except (InvalidMessage, SecurityError, InvalidHeader) as error:
            method = self._reading.method
            if method is None or method in _METHODS:
                return self._refusing(error, 400 if isinstance(error, InvalidHeader) else error.status)
            # The method is reported before any other error of such a request.
            return self._refusing(_unexpected_method(method), HTTPStatus.METHOD_NOT_ALLOWED)

    def _judge(self, request: Request) -> Request:
        """Check the request as far as it is HTTP."""
        self.request = request
        self.observer.request(request)
        if request.method not in _METHODS:
            raise _unexpected_method(request.method)
        values = request.headers.by_name()
        check_no_body(values)
        # HTTP/1.0 does not know Host.
        if self._reading.version == "1.1" or "host" in values:
            check_host(values)
        self.request = to_origin_form(request)
        self._keep_early(self._reading.trailing_data)
        return self.request

    def _keep_early(self, data: bytes) -> None:
        """Keep bytes that arrive before the answer: they are frames if the status is 101, and never HTTP."""
        self._early += data
        self.wants_read = len(self._early) < self.settings.read_limit.high

    def receive_eof(self) -> End:
        return InvalidMessage("the client ended the stream before the opening handshake was done")

    def connection_lost(self, error: Exception | None) -> End:
        failure = InvalidMessage("the stream was closed before the opening handshake was done")
        failure.__cause__ = error
        return failure

    def expire(self) -> End:
        timeout = self.settings.open_timeout
        return HandshakeTimeout(f"the opening handshake was not done within {timeout} seconds")

    @property
    def trailing_data(self) -> bytes:
        return bytes(self._early)

    # Answers: to make one changes nothing

    def accept(self, extra_headers: HeadersLike, select_subprotocol: SelectSubprotocol) -> Answer:
        """Make the answer that accepts the request, or refuses it if it is not valid.

        Args:
            extra_headers, select_subprotocol: see :meth:`.ServerProtocol.accept`.
        """
        return self._accepting(self._known_request(), extra_headers, select_subprotocol)

    def _known_request(self) -> Request:
        if self.request is None:
            raise InvalidState("there is no request yet")
        return self.request

    def prepare(self, result: object, select_subprotocol: SelectSubprotocol) -> Answer:
        """Make the answer to what ``process_request`` returned or raised.

        Args:
            result, select_subprotocol: see :meth:`.ServerProtocol.answer`.
        """
        request = self._known_request()
        try:
            try:
                return self._follow(result, request, select_subprotocol)
            except AbortHandshake as abort:
                return self.reject(make_response(abort.status, abort.headers, abort.body))
            except NegotiationError as error:
                return self._refusing(error, HTTPStatus.BAD_REQUEST)
        except Exception as error:
            return self._failing(error, self.reject(_INTERNAL_ERROR))

    def _follow(self, result: object, request: Request, select_subprotocol: SelectSubprotocol) -> Answer:
        if isinstance(result, Exception):
            raise result
        if result is None:
            return self._accepting(request, (), select_subprotocol)
        if isinstance(result, Response):
            return self.reject(result)
        if isinstance(result, tuple) and len(result) == 3:
            return self.reject(make_response(*result))
        raise TypeError(
            "process_request must return None, a Response or a tuple of status, headers and body, "
            f"not {type(result).__name__}"
        )

    def _accepting(
        self, request: Request, extra_headers: HeadersLike, select_subprotocol: SelectSubprotocol
    ) -> Answer:
        """Accept a request, or refuse it if it is not valid."""
        try:
            values = request.headers.by_name()
            key = check_request(values)
            if request.method != "GET":
                return self._refusing(_unexpected_method(request.method), HTTPStatus.METHOD_NOT_ALLOWED)
            if self._reading.version != "1.1":
                # "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request"
                # (RFC 9110 section 7.8)
                return self._refusing(
                    InvalidMessage(f"expected HTTP/1.1, got HTTP/{self._reading.version}"),
                    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
                )
            check_origin(values, self.settings.origins)
            offered = parse_subprotocol_offers(values)
            offers = values.get("sec-websocket-extensions", ())
            extension_header, extensions = accept_offers(offers, self._factories() if offers else ())
        except InvalidUpgrade as error:
            return self._refusing(error, HTTPStatus.UPGRADE_REQUIRED)
        except InvalidOrigin as error:
            return self._refusing(error, HTTPStatus.FORBIDDEN)
        except InvalidHeader as error:
            wrong_version = error.name == "Sec-WebSocket-Version"
            status = HTTPStatus.UPGRADE_REQUIRED if wrong_version else HTTPStatus.BAD_REQUEST
            return self._refusing(error, status)
        except NegotiationError as error:
            return self._refusing(error, HTTPStatus.INTERNAL_SERVER_ERROR)
        subprotocol = self._select(offered, self.settings.select_subprotocol or select_subprotocol)

        headers = Headers()
        build_response(headers, key)
        if extension_header is not None:
            headers["Sec-WebSocket-Extensions"] = extension_header
        if subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = subprotocol
        response = Response(101, self._complete(headers, self._extra_headers(request, extra_headers)))
        data = response.serialize()
        try:
            response, data = self._process(response, data)
        except Exception as error:
            return self._failing(error, self.reject(_INTERNAL_ERROR, process=False))
        return Answer(response, data, extensions=extensions, subprotocol=subprotocol)

    def _refusing(self, error: InvalidHandshake, status: int) -> Answer:
        """Answer a request that is wrong with the status of the error."""
        headers = Headers()
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            # HEAD may ask for HTTP, but not for WebSocket (section 4.1).
            headers["Allow"] = "GET" if self._reading.method == "HEAD" else ", ".join(_METHODS)
        elif status == HTTPStatus.UPGRADE_REQUIRED:
            headers["Upgrade"] = "websocket"
            headers["Connection"] = "Upgrade, close"
            # "a |Sec-WebSocket-Version| header field indicating the version(s)" (section 4.4)
            headers["Sec-WebSocket-Version"] = "13"
        # The message shows the client's text by repr(): so it is no markup.
        body = f"Failed to open a WebSocket connection: {error}.\n"
        if status == HTTPStatus.UPGRADE_REQUIRED:
            body += _WEBSOCKET_ONLY if isinstance(error, InvalidUpgrade) else _VERSION_13
        answer = self._responding(Response(status, headers, body.encode(errors="backslashreplace")))
        return answer._replace(error=error, remote=True)

    def reject(self, response: Response, *, process: bool = True) -> Answer:
        """Make the answer of a response instead of WebSocket.

        Args:
            response: the response.
            process: whether ``process_response`` is called.
        """
        if response.status < 200:
            raise ValueError(f"an opening handshake cannot be rejected with HTTP status {response.status}")
        answer = self._responding(response, process=process)
        error = InvalidHandshake(f"the request was answered with HTTP status {answer.response.status}")
        return answer._replace(error=error)

    def _failing(self, error: Exception, answer: Answer) -> Answer:
        """Add an event for an error of the application, before all others."""
        return answer._replace(events=(Failure(error, remote=False), *answer.events))

    def _responding(self, response: Response, *, process: bool = True) -> Answer:
        """Answer with a response other than 101, completed by the headers that HTTP requires."""
        complete = make_response(response.status, response.headers, response.body)
        headers = self._complete(Headers(), complete.headers)
        complete = Response(complete.status, headers, complete.body, response.reason)
        # There may be no request: the received bytes may have been none.
        head_only = self._reading.method == "HEAD"
        data = complete.serialize(head_only=head_only)
        try:
            if process:
                complete, data = self._process(complete, data, head_only=head_only)
        except Exception as error:
            # process_response is not called again.
            return self._failing(error, self._responding(_INTERNAL_ERROR, process=False))
        return Answer(complete, data)

    def _process(self, response: Response, data: bytes, *, head_only: bool = False) -> tuple[Response, bytes]:
        """Let ``process_response`` alter a response, and check the result."""
        process_response = self.settings.process_response
        if process_response is None or self.request is None:
            return response, data
        own = own_headers(response.headers)
        altered = process_response(self.request.path, self.request.headers, response)
        if altered is None:
            # The headers may have been altered in place.
            altered = response
        if not isinstance(altered, Response):
            raise TypeError(f"process_response must return a Response or None, not {type(altered).__name__}")
        if response.status != 101:
            complete = make_response(altered.status, altered.headers, altered.body)
            altered = Response(complete.status, complete.headers, complete.body, altered.reason)
        elif altered.status != 101 or own_headers(altered.headers) != own:
            raise ValueError(
                "process_response must leave the status 101 and the headers Upgrade, Connection and "
                "Sec-WebSocket-* as they are: process_request is the place to refuse"
            )
        return altered, altered.serialize(head_only=head_only)

    def _select(self, offered: list[Subprotocol], choose: SelectSubprotocol) -> Subprotocol | None:
        available = [Subprotocol(name) for name in self.settings.subprotocols or ()]
        chosen = choose(offered, available)
        if chosen is not None and chosen not in offered:
            # section 4.2.2, /subprotocol/: the client would fail the connection
            raise ValueError(f"select_subprotocol chose {chosen!r}, which the client did not offer")
        return chosen

    def _extra_headers(self, request: Request, more: HeadersLike) -> Headers | None:
        extra = self.settings.extra_headers
        if callable(extra):
            extra = extra(request.path, request.headers)
        if not (extra or more):
            return None
        headers = Headers(extra or ())
        headers.update(more)
        check_extra_headers(headers)
        return headers

    def _complete(self, headers: Headers, extra: Headers | None) -> Headers:
        """Add to a response's headers those that every response has, and more."""
        if self._date is not None:
            headers.extend("Date", _format_date(int(self._date())))
        if self.settings.server_header is not None:
            headers.extend("Server", self.settings.server_header)
        if extra:
            override_headers(headers, extra)
        return headers


@functools.lru_cache(1)
def _format_date(seconds: int) -> str:
    """Format the value of a ``Date`` header, once for all responses of a second (RFC 9110 section 5.6.7)."""
    # English in every locale, unlike strftime.
    weekday, month, day, clock, year = datetime.fromtimestamp(seconds, UTC).ctime().split()
    return f"{weekday}, {day:0>2} {month} {year} {clock} GMT"


def _unexpected_method(method: str) -> InvalidMessage:
    return InvalidMessage(f"unexpected method {method!r}, expected GET", HTTPStatus.METHOD_NOT_ALLOWED)

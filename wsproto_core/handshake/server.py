"""A server's connection: the opening handshake (RFC 6455 section 4.2), then :class:`.Protocol`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple, Unpack

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
from ..extensions.base import Extension
from ..extensions.permessage_deflate import DEFAULT_SERVER, NAME
from ..http import Headers, Request, Response, make_response
from ..http.headers import HeadersLike
from ..http.reading import RequestReader, check_no_body
from ..lifecycle import Lifecycle
from ..options import NegotiationOptions, SelectSubprotocol, ServerOptions, ServerSettings, resolve
from ..protocol import Protocol
from ..states import Input, Phase
from ..timers import Timer
from ..types import BytesLike, Side, Subprotocol
from .checks import (
    build_response,
    check_extra_headers,
    check_host,
    check_origin,
    check_request,
    override_headers,
    own_headers,
    parse_subprotocol_offers,
    select_subprotocol,
    to_origin_form,
)
from .negotiation import accept_offers

__all__ = ["Answer", "ServerProtocol"]

PARTING = 1.0
"""Seconds that clients without a complete request have to leave a server that is closing."""

_METHODS = ("GET", "HEAD")
"""Those that may ask for something: HEAD for what GET would be answered with, if that is not WebSocket."""

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


class Answer(NamedTuple):
    """An answer to the opening handshake's request that has been made, and not been given."""

    response: Response
    data: bytes
    """The response as it is sent."""
    error: InvalidHandshake | None = None
    """Why there is no connection; ``None`` for status 101."""
    remote: bool = False
    """Whether that is the client's fault."""
    failures: tuple[Failure, ...] = ()
    """Errors of the application, in order."""
    extensions: Sequence[Extension] = ()
    subprotocol: Subprotocol | None = None


class ServerProtocol(Protocol):
    """A server's connection without I/O. See :class:`.Protocol` for how it is driven.

    A request becomes a :class:`.Request` event, which has to be answered by :meth:`accept` or
    :meth:`reject`. It is GET or HEAD, in HTTP/1.1 or HTTP/1.0, and need not ask for WebSocket: an HTTP
    response may be all that is wanted. Its target is a path; one in absolute form is taken apart
    (RFC 9112 section 3.2.2). What is not even HTTP for us is answered without asking, with a
    :class:`.Failure` event. The deadline of the opening handshake runs from the construction.

    Attributes:
        request: the opening handshake's request, once it is there.
        response: the answer that was given.
    """

    _settings: ServerSettings

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes] | None = None,
        date: Callable[[], float] | None = None,
        settings: ServerSettings | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        """
        Args:
            clock: returns the time in seconds; any origin, never going back.
            random: returns as many bytes as it is asked for; ``None`` for ``os.urandom``.
            date: returns the seconds since 1970, for the ``Date`` header of responses; ``None`` for
                a server without a clock (RFC 9110 section 6.6.1).
            settings: options that were parsed before, by :func:`.resolve`; ``None`` for the defaults.
            options: see :data:`~.options.OPTIONS`.

        Raises:
            TypeError: an option is unknown or has the wrong type.
            ValueError: an option's value is not allowed.
        """
        settings = resolve(ServerSettings, options, settings)
        Lifecycle.__init__(self, Side.SERVER, clock, random, settings)
        self._use(settings)
        self._date = date
        # A body is complained of later: another method is told first.
        self._reading = RequestReader(settings.head_limits, body=True)
        self._early = bytearray()  # what the client sends before it has an answer
        self._early_limit = settings.read_limit.high
        self._timers.start(Timer.OPENING, clock(), settings.open_timeout)

    # Inputs

    def receive_eof(self) -> None:
        if self._phase is Phase.CONNECTING:
            self._refuse(InvalidMessage("the client ended the stream before the opening handshake was done"))
        super().receive_eof()

    def connection_lost(self, error: Exception | None = None) -> None:
        if self._phase is Phase.CONNECTING:
            failure = InvalidMessage("the stream was closed before the opening handshake was done")
            failure.__cause__ = error
            self._refuse(failure)
        super().connection_lost(error)

    # Commands

    def configure(self, **options: Unpack[NegotiationOptions]) -> None:
        """Change what the opening handshake goes by, for this connection: the request may tell what.

        Args:
            options: see :data:`~.options.OPTIONS`; what is not given stays as it is.

        Raises:
            InvalidState: the request has been answered, or the client has gone.
            TypeError: an option cannot be changed any more, or has the wrong type.
            ValueError: an option's value is not allowed.
        """
        self._check_unanswered()
        names = NegotiationOptions.__annotations__
        self._use(resolve(ServerSettings, options, self._settings, names))

    def accept(
        self,
        *,
        extra_headers: HeadersLike = (),
        select_subprotocol: SelectSubprotocol = select_subprotocol,
    ) -> Response:
        """Accept the request, if it is what RFC 6455 section 4.2.1 asks for; answer what is wrong if not.

        In that case there is a :class:`.Failure` event, and :attr:`handshake_error` says why. An error
        of ``process_response`` is answered with HTTP status 500.

        Args:
            extra_headers: more headers for the response, after those of the option.
            select_subprotocol: chooses a subprotocol, if there is no option that does; given the
                client's subprotocols and the server's, each of which may be none.

        Returns:
            The response, with status 101 if the connection is open now.

        Raises:
            InvalidState: there is no request, or it has been answered, or the client has gone.
            ValueError: a header cannot be sent, or the chosen subprotocol was not offered.
            Exception: whatever ``select_subprotocol`` raises; the request is not answered then.
                :meth:`answer` makes a refusal of it.
        """
        self._check_unanswered()
        request = self.request
        if request is None:
            raise InvalidState("there is no request yet")
        return self._give(self._accepting(request, extra_headers, select_subprotocol))

    def answer(self, result: object, *, select_subprotocol: SelectSubprotocol = select_subprotocol) -> None:
        """Do what ``process_request`` returned or raised: :meth:`accept`, :meth:`reject`, or nothing.

        An error of ours, there or in what :meth:`accept` calls, becomes HTTP status 500 and a
        :class:`.Failure` event. There is nothing to do for a client that has gone meanwhile.

        In both places, :exc:`.AbortHandshake` means the response that it holds, and
        :exc:`.NegotiationError` HTTP status 400 and a :class:`.Failure` event.

        Args:
            result: ``None`` to accept, a :class:`.Response`, a triple of status, headers and body,
                or an exception.
            select_subprotocol: see :meth:`accept`.
        """
        if self._phase is Phase.CONNECTING:
            self.give_answer(self.prepare_answer(result, select_subprotocol=select_subprotocol))

    def prepare_answer(
        self, result: object, *, select_subprotocol: SelectSubprotocol = select_subprotocol
    ) -> Answer:
        """Make the answer that :meth:`answer` gives, for :meth:`give_answer`; it changes nothing.

        The functions of the application are called here, so that a program with threads need not hold
        a lock meanwhile: other inputs and commands are allowed before the answer is given.

        Args:
            result, select_subprotocol: see :meth:`answer`.

        Raises:
            InvalidState: there is no request.
        """
        request = self.request
        if request is None:
            raise InvalidState("there is no request yet")
        try:
            try:
                return self._follow(result, request, select_subprotocol)
            except AbortHandshake as abort:
                return self._rejecting(make_response(abort.status, abort.headers, abort.body))
            except NegotiationError as error:
                return self._refusing(error, HTTPStatus.BAD_REQUEST)
        except Exception as error:
            return self._failing(error, self._rejecting(_INTERNAL_ERROR))

    def give_answer(self, answer: Answer) -> None:
        """Give the answer that was prepared, unless the request has been answered or the client has gone.

        Args:
            answer: what :meth:`prepare_answer` returned.
        """
        if self._phase is Phase.CONNECTING:
            self._give(answer)

    def shut_down(self) -> None:
        """The server is closing: end the opening handshake, if it is not done.

        A client that has sent nothing loses nothing, such as a browser that keeps a connection in
        reserve: the stream is to be closed at once. Others get HTTP status 503. Those whose request is
        not complete have a second to read that and to leave; so have those that have been given another
        response before, all of which has been written.

        Does nothing if the connection is open, or was.
        """
        if self._phase is Phase.CONNECTING and not self._bytes_received:
            self._refuse(InvalidHandshake("the server was closed before the client sent a request"))
            self._step(Input.EXPIRED)
            return
        if self._phase is Phase.CONNECTING:
            body = b"Failed to open a WebSocket connection: the server is shutting down.\n"
            self.reject(Response(HTTPStatus.SERVICE_UNAVAILABLE, body=body))
            leaves = self.request is None
        else:
            leaves = not self._outbox.unwritten and not self._outbox.queued
        refused = self.handshake_error is not None
        if refused and leaves and self._phase in (Phase.REFUSED, Phase.EOF_SENT, Phase.DRAINING):
            self._timers.shorten(Timer.CLOSING, self._clock(), PARTING)

    def refuse_connection(self, retry_after: int = 10) -> None:
        """Refuse the opening handshake, whether there is a request yet or not, with HTTP status 503 and
        ``Retry-After``: there are too many connections.

        Does nothing if the request has been answered.

        Args:
            retry_after: seconds after which the client may try again (RFC 9110 section 10.2.3).
        """
        if self._phase is Phase.CONNECTING:
            body = b"Failed to open a WebSocket connection: there are too many connections.\n"
            headers = Headers({"Retry-After": str(retry_after)})
            self.reject(Response(HTTPStatus.SERVICE_UNAVAILABLE, headers, body))

    def reject(self, response: Response) -> Response:
        """Answer with an HTTP response instead of WebSocket; the stream ends after it.

        This is possible before there is a request, for a server that shuts down or has no time.

        Args:
            response: with any status but 101; :func:`~.http.make_response` makes a complete one.

        Returns:
            The response, with the headers that all have, as ``process_response`` altered it.

        Raises:
            InvalidState: the request has been answered, or the client has gone.
            ValueError: the response cannot be sent.
        """
        self._check_unanswered()
        return self._give(self._rejecting(response))

    # How it is done

    def _use(self, settings: ServerSettings) -> None:
        if not callable(settings.extra_headers):
            check_extra_headers(Headers(settings.extra_headers or ()))
        self._settings = settings
        self._factories = list(settings.extensions or ())
        if settings.compression and not any(factory.name == NAME for factory in self._factories):
            self._factories.append(DEFAULT_SERVER)

    def _receive_handshake(self, data: BytesLike) -> None:
        if self.request is not None:
            self._keep_early(data)
            return
        try:
            self._reading.receive_data(data)
            if self._reading.request is not None:
                self._requested(self._reading.request)
        except (InvalidMessage, SecurityError, InvalidHeader) as error:
            method = self._reading.method
            if method is None or method in _METHODS:
                self._give(self._refusing(error, 400 if isinstance(error, InvalidHeader) else error.status))
            else:
                # Whatever else is wrong with such a request does not matter.
                self._give(self._refusing(_unexpected_method(method), HTTPStatus.METHOD_NOT_ALLOWED))

    def _requested(self, request: Request) -> None:
        """Judge the request as far as it is HTTP."""
        self.request = request
        self._observer.request(request)
        if request.method not in _METHODS:
            raise _unexpected_method(request.method)
        check_no_body(request.headers)
        # HTTP/1.0 does not know Host.
        if self._reading.version == "1.1" or "Host" in request.headers:
            check_host(request.headers)
        self.request = to_origin_form(request)
        self._notify(self.request)
        self._keep_early(self._reading.trailing_data)

    def _keep_early(self, data: BytesLike) -> None:
        """Keep what comes before the answer: it is WebSocket's if that is 101, and never HTTP."""
        self._early += data
        self.wants_read = len(self._early) < self._early_limit

    def _check_unanswered(self) -> None:
        if self._phase is not Phase.CONNECTING:
            raise InvalidState("the request has been answered, or the client has gone")

    def _select(self, offered: list[Subprotocol], choose: SelectSubprotocol) -> Subprotocol | None:
        available = [Subprotocol(name) for name in self._settings.subprotocols or ()]
        chosen = choose(offered, available)
        if chosen is not None and chosen not in offered:
            # section 4.2.2, /subprotocol/: the client would fail the connection
            raise ValueError(f"select_subprotocol chose {chosen!r}, which the client did not offer")
        return chosen

    def _extra_headers(self, request: Request) -> HeadersLike:
        extra = self._settings.extra_headers
        if callable(extra):
            extra = extra(request.path, request.headers)
        return extra or ()

    def _complete(self, headers: Headers, extra: Headers) -> Headers:
        """Add to a response's headers those that every response has."""
        if self._date is not None:
            headers["Date"] = formatdate(self._date(), usegmt=True)
        if self._settings.server_header is not None:
            headers["Server"] = self._settings.server_header
        override_headers(headers, extra)
        return headers

    # Answers: what makes one changes nothing

    def _follow(self, result: object, request: Request, select_subprotocol: SelectSubprotocol) -> Answer:
        if isinstance(result, Exception):
            raise result
        if result is None:
            return self._accepting(request, (), select_subprotocol)
        if isinstance(result, Response):
            return self._rejecting(result)
        if isinstance(result, tuple) and len(result) == 3:
            return self._rejecting(make_response(*result))
        raise TypeError(
            "process_request must return None, a Response or a tuple of status, headers and body, "
            f"not {type(result).__name__}"
        )

    def _accepting(
        self, request: Request, extra_headers: HeadersLike, select_subprotocol: SelectSubprotocol
    ) -> Answer:
        """Accept a request, or refuse what is wrong."""
        try:
            key = check_request(request.headers)
            if request.method != "GET":
                return self._refusing(_unexpected_method(request.method), HTTPStatus.METHOD_NOT_ALLOWED)
            if self._reading.version != "1.1":
                # "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request"
                # (RFC 9110 section 7.8)
                return self._refusing(
                    InvalidMessage(f"expected HTTP/1.1, got HTTP/{self._reading.version}"),
                    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
                )
            check_origin(request.headers, self._settings.origins)
            offered = parse_subprotocol_offers(request.headers)
            offers = request.headers.get_all("Sec-WebSocket-Extensions")
            extension_header, extensions = accept_offers(offers, self._factories)
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
        subprotocol = self._select(offered, self._settings.select_subprotocol or select_subprotocol)

        headers = Headers()
        build_response(headers, key)
        if extension_header is not None:
            headers["Sec-WebSocket-Extensions"] = extension_header
        if subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = subprotocol
        extra = Headers(self._extra_headers(request))
        extra.update(extra_headers)
        check_extra_headers(extra)
        response = Response(101, self._complete(headers, extra))
        data = response.serialize()
        try:
            response, data = self._process(response, data)
        except Exception as error:
            return self._failing(error, self._rejecting(_INTERNAL_ERROR, process=False))
        return Answer(response, data, extensions=extensions, subprotocol=subprotocol)

    def _refusing(self, error: InvalidHandshake, status: int) -> Answer:
        """Answer a request that is wrong with the status that tells it."""
        headers = Headers()
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            # HEAD may ask for HTTP, but not for WebSocket (section 4.1).
            headers["Allow"] = "GET" if self._reading.method == "HEAD" else ", ".join(_METHODS)
        elif status == HTTPStatus.UPGRADE_REQUIRED:
            headers["Upgrade"] = "websocket"
            headers["Connection"] = "Upgrade, close"
            # "a |Sec-WebSocket-Version| header field indicating the version(s)" (section 4.4)
            headers["Sec-WebSocket-Version"] = "13"
        # What the client sent is shown with repr() in the message: it cannot be taken for markup of ours.
        body = f"Failed to open a WebSocket connection: {error}.\n"
        if status == HTTPStatus.UPGRADE_REQUIRED:
            body += _WEBSOCKET_ONLY if isinstance(error, InvalidUpgrade) else _VERSION_13
        answer = self._responding(Response(status, headers, body.encode(errors="backslashreplace")))
        return answer._replace(error=error, remote=True)

    def _rejecting(self, response: Response, *, process: bool = True) -> Answer:
        if response.status < 200:
            raise ValueError(f"an opening handshake cannot be rejected with HTTP status {response.status}")
        answer = self._responding(response, process=process)
        error = InvalidHandshake(f"the request was answered with HTTP status {answer.response.status}")
        return answer._replace(error=error)

    def _failing(self, error: Exception, answer: Answer) -> Answer:
        """Tell of an error of the application before anything else."""
        return answer._replace(failures=(Failure(error, remote=False), *answer.failures))

    def _responding(self, response: Response, *, process: bool = True) -> Answer:
        """Answer with a response other than 101, completed to what HTTP wants of one."""
        complete = make_response(response.status, response.headers, response.body)
        headers = self._complete(Headers(), complete.headers)
        complete = Response(complete.status, headers, complete.body, response.reason)
        # There may be no request to answer: what came was none.
        head_only = self._reading.method == "HEAD"
        data = complete.serialize(head_only=head_only)
        try:
            if process:
                complete, data = self._process(complete, data, head_only=head_only)
        except Exception as error:
            # It is not asked again.
            return self._failing(error, self._responding(_INTERNAL_ERROR, process=False))
        return Answer(complete, data)

    def _process(self, response: Response, data: bytes, *, head_only: bool = False) -> tuple[Response, bytes]:
        """Let ``process_response`` alter a response, and check what it makes of it."""
        process_response = self._settings.process_response
        if process_response is None or self.request is None:
            return response, data
        own = own_headers(response.headers)
        altered = process_response(self.request.path, self.request.headers, response)
        if altered is None:
            # It may have altered the headers in place.
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

    def _give(self, answer: Answer) -> Response:
        """Give an answer, which decides what becomes of the connection."""
        for failure in answer.failures:
            self._notify(failure)
        self.response = answer.response
        self._observer.response(answer.response)
        self._outbox.open(answer.data)
        if answer.error is None:
            del self._reading
            self._open(answer.extensions, answer.subprotocol)
            early = bytes(self._early)
            self._early.clear()
            # Frames may follow the request in the same segment.
            self._inbox.receive(early)
            self._update_input()
        elif answer.remote:
            self._refuse(answer.error)
        else:
            self.handshake_error = answer.error
            self._step(Input.REFUSED)
        return answer.response

    def _expire_handshake(self) -> None:
        timeout = self._settings.open_timeout
        self._refuse(HandshakeTimeout(f"the opening handshake was not done within {timeout} seconds"))


def _unexpected_method(method: str) -> InvalidMessage:
    return InvalidMessage(f"unexpected method {method!r}, expected GET", HTTPStatus.METHOD_NOT_ALLOWED)

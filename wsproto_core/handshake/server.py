"""A server's connection: the opening handshake (RFC 6455 section 4.2), then :class:`.Protocol`."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Unpack

from ..exceptions import InvalidHandshake, InvalidState
from ..http import Headers, Response
from ..http.headers import HeadersLike
from ..opening import Answer
from ..options import NegotiationOptions, SelectSubprotocol, ServerOptions, ServerSettings, resolve
from ..protocol import Protocol
from ..states import Input
from ..timers import Timer
from ..types import Side, State, StreamAction
from .answers import ServerHandshake
from .headers import select_subprotocol

__all__ = ["Answer", "ServerProtocol"]

_PARTING = 1.0
"""Seconds that clients without a complete request have to leave a server that is closing."""


class ServerProtocol(Protocol):
    """A server's connection without I/O. See :class:`.Protocol` for how it is driven.

    A request becomes a :class:`.Request` event, which has to be answered by :meth:`accept` or
    :meth:`reject`. It is GET or HEAD, in HTTP/1.1 or HTTP/1.0, and need not ask for WebSocket: an HTTP
    response may be enough. Its target is a path; a target in absolute form is converted
    (RFC 9112 section 3.2.2). Bytes that are no such request are answered without a
    :class:`.Request` event, with a :class:`.Failure` event. The deadline of the opening handshake runs
    from the construction.

    Attributes:
        request: the opening handshake's request, once it is there.
        response: the answer that was given.
    """

    __slots__ = ()

    _settings: ServerSettings

    _handshake: ServerHandshake | None

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
        handshake = ServerHandshake(settings, date)
        super().__init__(Side.SERVER, clock=clock, random=random, settings=settings, handshake=handshake)

    # Commands

    def configure(self, **options: Unpack[NegotiationOptions]) -> None:
        """Change options of the opening handshake for this connection, for example by the request's path.

        Args:
            options: see :data:`~.options.OPTIONS`; options that are not given stay as they are.

        Raises:
            InvalidState: the request has been answered, or the client has gone.
            TypeError: an option cannot be changed any more, or has the wrong type.
            ValueError: an option's value is not allowed.
        """
        handshake = self._unanswered()
        names = NegotiationOptions.__annotations__
        self._settings = handshake.settings = resolve(ServerSettings, options, self._settings, names)

    def accept(
        self,
        *,
        extra_headers: HeadersLike = (),
        select_subprotocol: SelectSubprotocol = select_subprotocol,
    ) -> Response:
        """Accept the request, if it is valid by RFC 6455 section 4.2.1; otherwise refuse it.

        A refusal is a :class:`.Failure` event, and :attr:`handshake_error` is the reason. An error
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
            Exception: an error of ``select_subprotocol``; the request is not answered then.
                :meth:`answer` makes a refusal of it.
        """
        return self._give(self._unanswered().accept(extra_headers, select_subprotocol))

    def answer(self, result: object, *, select_subprotocol: SelectSubprotocol = select_subprotocol) -> None:
        """Answer as ``process_request`` returned or raised: :meth:`accept` or :meth:`reject`.

        An error of the application, there or in a function that :meth:`accept` calls, becomes HTTP status 500
        and a :class:`.Failure` event. If the client has gone meanwhile, this does nothing.

        In both places, :exc:`.AbortHandshake` means the response that it holds, and
        :exc:`.NegotiationError` HTTP status 400 and a :class:`.Failure` event.

        Args:
            result: ``None`` to accept, a :class:`.Response`, a triple of status, headers and body,
                or an exception.
            select_subprotocol: see :meth:`accept`.
        """
        if self._opening() is not None:
            self.give_answer(self.prepare_answer(result, select_subprotocol=select_subprotocol))

    def prepare_answer(
        self, result: object, *, select_subprotocol: SelectSubprotocol = select_subprotocol
    ) -> Answer:
        """Make the answer that :meth:`answer` gives, for :meth:`give_answer`; this changes nothing.

        The functions of the application are called here, so that a program with threads need not hold
        a lock meanwhile: other inputs and commands are allowed before the answer is given.

        Args:
            result, select_subprotocol: see :meth:`answer`.

        Raises:
            InvalidState: there is no request, or the connection is open already.
        """
        handshake = self._handshake
        if handshake is None:
            raise InvalidState("the request has been answered")
        return handshake.prepare(result, select_subprotocol)

    def give_answer(self, answer: Answer) -> None:
        """Give the answer that was prepared, unless the request has been answered or the client has gone.

        Args:
            answer: the answer that :meth:`prepare_answer` returned.
        """
        if self._opening() is not None:
            self._give(answer)

    def shut_down(self) -> None:
        """The server is closing: end the opening handshake, if it is not done.

        A client that has sent nothing loses nothing, such as a browser that keeps a connection in
        reserve: the stream is to be closed at once. Others get HTTP status 503. Those whose request is
        not complete have a second to read that and to leave; so have those that have been given another
        response before, all of which has been written.

        Does nothing if the connection is open, or was.
        """
        if self._opening() is not None and not self._bytes_received:
            self._end_handshake(InvalidHandshake("the server was closed before the client sent a request"))
            self._step(Input.EXPIRED)
            return
        if self._opening() is not None:
            body = b"Failed to open a WebSocket connection: the server is shutting down.\n"
            self.reject(Response(HTTPStatus.SERVICE_UNAVAILABLE, body=body))
            leaves = self.request is None
        else:
            leaves = not self._outbox.unwritten and not self._outbox.queued
        refused = self.handshake_error is not None and self.state is State.CLOSING
        if refused and leaves and self.stream_action is not StreamAction.ABORT:
            self._timers.shorten(Timer.CLOSING, self._clock(), _PARTING)

    def refuse_connection(self, retry_after: int = 10) -> None:
        """Refuse the opening handshake, whether there is a request yet or not, with HTTP status 503 and
        ``Retry-After``: there are too many connections.

        Does nothing if the request has been answered.

        Args:
            retry_after: seconds after which the client may try again (RFC 9110 section 10.2.3).
        """
        if self._opening() is not None:
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
        return self._give(self._unanswered().reject(response))

    def _unanswered(self) -> ServerHandshake:
        handshake = self._handshake
        if handshake is None or self._opening() is None:
            raise InvalidState("the request has been answered, or the client has gone")
        return handshake

    def _give(self, answer: Answer) -> Response:
        """Give an answer: it opens the connection, or refuses it."""
        self._end_handshake(answer)
        return answer.response

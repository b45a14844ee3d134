"""Opening handshakes (RFC 6455 section 4): the core reads and checks HTTP, events tell and answer it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from wsproto_core.exceptions import InvalidHandshake, InvalidHeader, InvalidMessage, SecurityError
from wsproto_core.handshake.headers import (
    build_request,
    build_response,
    check_host,
    check_request,
    check_response,
    negotiate_subprotocol_response,
    parse_subprotocol_offers,
)
from wsproto_core.http import Headers as CoreHeaders
from wsproto_core.http import Request as CoreRequest
from wsproto_core.http import Response
from wsproto_core.http.grammar import build_extension, parse_extension
from wsproto_core.http.reading import RequestReader, ResponseReader

from ..shared.parts import ResponseInParts
from .connection import Connection, ConnectionState, ConnectionType
from .events import AcceptConnection, Event, RejectConnection, RejectData, Request
from .extensions import Extension
from .typing import Headers
from .utilities import LocalProtocolError, RemoteProtocolError

__all__ = [
    "WEBSOCKET_UPGRADE",
    "WEBSOCKET_VERSION",
    "H11Handshake",
    "client_extensions_handshake",
    "server_extensions_handshake",
]

WEBSOCKET_VERSION = b"13"
WEBSOCKET_UPGRADE = b"websocket"

# What is said of headers that are missing or wrong.
_WRONG = {
    "Connection": "Missing header, 'Connection: Upgrade'",
    "Upgrade": "Missing header, 'Upgrade: websocket'",
    "Sec-WebSocket-Accept": "Bad accept token",
}

# Headers that are not among the ``extra_headers`` of an event.
_OF_REQUEST = ("host", "sec-websocket-extensions", "sec-websocket-protocol")
_OF_RESPONSE = (
    *("connection", "upgrade", "sec-websocket-accept"),
    *("sec-websocket-extensions", "sec-websocket-protocol"),
)


class H11Handshake:
    """One end of an opening handshake in HTTP/1.1.

    Attributes:
        client: whether it is the client's end.
    """

    def __init__(self, connection_type: ConnectionType) -> None:
        """
        Args:
            connection_type: the end.
        """
        self.client = connection_type is ConnectionType.CLIENT
        self._type = connection_type
        self._state = ConnectionState.CONNECTING
        self._events: deque[Event] = deque()
        self._connection: Connection | None = None
        self._begun = False  # whether bytes have been received
        self._request: Request | None = None
        self._key = ""
        # on a client
        self._response_reader = ResponseReader()
        # on a server
        self._request_reader = RequestReader()
        self._early = b""  # what the client sent before it has an answer
        self._refusal: ResponseInParts | None = None

    @property
    def state(self) -> ConnectionState:
        """The state."""
        return self._state

    @property
    def connection(self) -> Connection | None:
        """The connection, when it is open; ``None`` before that."""
        return self._connection

    def initiate_upgrade_connection(self, headers: Headers, path: bytes | str) -> None:
        """Take a request that another parser has read.

        Args:
            headers: its headers.
            path: its target.

        Raises:
            LocalProtocolError: this is a client.
            RemoteProtocolError: it is not a valid opening handshake.
        """
        if self.client:
            raise LocalProtocolError("Cannot initiate an upgrade connection when acting as the client")
        target = path if isinstance(path, str) else path.decode("ascii", "surrogateescape")
        self._receive_request(CoreRequest(target, _decode(headers)))

    def send(self, event: Event) -> bytes:
        """Return the bytes to send for an event.

        Args:
            event: a :class:`Request` on a client; :class:`AcceptConnection`, :class:`RejectConnection` or
                :class:`RejectData` on a server.

        Raises:
            LocalProtocolError: the state does not allow it, or a header cannot be sent.
        """
        try:
            if isinstance(event, Request) and self.client:
                return self._ask(event)
            if isinstance(event, AcceptConnection) and not self.client:
                return self._accept(event)
            if isinstance(event, RejectConnection) and not self.client:
                return self._reject(event)
            if isinstance(event, RejectData) and not self.client:
                return self._reject_further(event)
        except ValueError as error:
            raise LocalProtocolError(str(error)) from error
        raise LocalProtocolError(f"Event {event} cannot be sent during the handshake")

    def receive_data(self, data: bytes | None) -> None:
        """Take bytes from the peer.

        Args:
            data: the bytes; ``None`` or nothing at the end of the stream.

        Raises:
            RemoteProtocolError: this is not a valid opening handshake, or it is incomplete.
        """
        refused = self.client and self._state is ConnectionState.REJECTING
        if not (refused or self._state is ConnectionState.CONNECTING) or not (data or self._begun):
            return
        self._begun = True
        if not self.client and self._request is not None:
            self._early += data or b""
            return
        reader = self._response_reader if self.client else self._request_reader
        try:
            if data:
                reader.receive_data(data)
            else:
                reader.receive_eof()
        except (InvalidMessage, SecurityError, EOFError) as error:
            status = 400 if isinstance(error, EOFError) else error.status
            raise self._failure("Bad HTTP message", status) from error
        if self.client:
            self._receive_response()
        elif self._request_reader.request is not None:
            if self._request_reader.version != "1.1":
                # RFC 6455 section 4.2.1
                raise self._failure("Request version must be HTTP/1.1", 505)
            self._early = self._request_reader.trailing_data
            self._receive_request(self._request_reader.request)

    def events(self) -> Iterator[Event]:
        """Return an iterator over the events of the bytes that have been received."""
        while self._events:
            yield self._events.popleft()

    def _failure(
        self, message: str, status: int = 400, headers: Headers | None = None
    ) -> RemoteProtocolError:
        """Make the exception for a mistake of the peer: a server can answer, a client cannot."""
        hint = None if self.client else RejectConnection(status, headers or [])
        return RemoteProtocolError(message, hint)

    # Servers

    def _receive_request(self, request: CoreRequest) -> None:
        headers = request.headers
        if request.method != "GET":
            raise self._failure("Request method must be GET", 405)
        try:
            check_host(headers)
            self._key = check_request(headers)
            subprotocols = parse_subprotocol_offers(headers)
            offers = [
                offer for value in headers.get_all("Sec-WebSocket-Extensions") for offer in _split(value)
            ]
            host = headers["Host"].encode("ascii", "surrogateescape").decode("idna")
        except InvalidHeader as error:
            raise self._wrong_header(headers, error) from error
        except UnicodeError as error:
            raise self._failure("Malformed header, 'Host'") from error
        extra = _encode(headers, _OF_REQUEST)
        self._request = Request(host, request.path, offers, extra, list(subprotocols))
        self._events.append(self._request)

    def _wrong_header(self, headers: CoreHeaders, error: InvalidHeader) -> RemoteProtocolError:
        message = _WRONG.get(error.name, f"Missing header, '{error.name}'")
        if error.name != "Sec-WebSocket-Version":
            return self._failure(message)
        # RFC 6455 section 4.2.2
        status = 426 if error.name in headers else 400
        return self._failure(message, status, [(b"Sec-WebSocket-Version", WEBSOCKET_VERSION)])

    def _accept(self, event: AcceptConnection) -> bytes:
        request = self._request
        if request is None or self._state is not ConnectionState.CONNECTING:
            raise LocalProtocolError(f"Connection cannot be accepted in state {self._state}")
        headers = CoreHeaders()
        build_response(headers, self._key)
        if event.subprotocol is not None:
            if event.subprotocol not in request.subprotocols:
                raise LocalProtocolError(f"unexpected subprotocol {event.subprotocol}")
            headers["Sec-WebSocket-Protocol"] = event.subprotocol
        offers = cast("Sequence[str]", request.extensions)
        accepted = server_extensions_handshake(offers, event.extensions)
        if accepted is not None:
            headers["Sec-WebSocket-Extensions"] = accepted.decode("ascii")
        headers.update(_decode(event.extra_headers))
        data = Response(101, headers).serialize()
        self._connection = Connection(self._type, event.extensions, self._early)
        self._state = ConnectionState.OPEN
        return data

    def _reject(self, event: RejectConnection) -> bytes:
        if self._state is not ConnectionState.CONNECTING:
            raise LocalProtocolError(f"Connection cannot be rejected in state {self._state}")
        headers = _decode(event.headers)
        if event.has_body:
            self._refusal = ResponseInParts(event.status_code, headers)
            data = self._refusal.head()
            self._state = ConnectionState.REJECTING
            return data
        data = Response(event.status_code, headers).serialize()
        self._state = ConnectionState.CLOSED
        return data

    def _reject_further(self, event: RejectData) -> bytes:
        if self._refusal is None or self._state is not ConnectionState.REJECTING:
            raise LocalProtocolError(f"Cannot send rejection data in state {self._state}")
        data = self._refusal.part(event.data, not event.body_finished)
        if event.body_finished:
            self._state = ConnectionState.CLOSED
        return data

    # Clients

    def _ask(self, request: Request) -> bytes:
        if self._request is not None:
            raise LocalProtocolError("The request has been sent")
        headers = CoreHeaders(Host=request.host.encode("idna").decode("ascii"))
        key = build_request(headers)
        if request.subprotocols:
            headers["Sec-WebSocket-Protocol"] = ", ".join(request.subprotocols)
        extensions = cast("Sequence[Extension]", request.extensions)
        offers = [(each.name, each.offer()) for each in extensions]
        offered = [_join(name, offer) for name, offer in offers if offer is not False]
        if offered:
            headers["Sec-WebSocket-Extensions"] = ", ".join(offered)
        headers.update(_decode(request.extra_headers))
        data = CoreRequest(request.target, headers).serialize()
        self._key = key
        self._request = request
        return data

    def _receive_response(self) -> None:
        head = self._response_reader.head
        if head is None:
            return
        if head.status == 101:
            self._events.append(self._receive_acceptance(head.headers))
            return
        if self._state is ConnectionState.CONNECTING:
            self._state = ConnectionState.REJECTING
            self._events.append(RejectConnection(head.status, _encode(head.headers), has_body=True))
        response = self._response_reader.response
        if response is not None:
            if response.body:
                self._events.append(RejectData(response.body, body_finished=False))
            self._events.append(RejectData(b"", body_finished=True))
            self._state = ConnectionState.CLOSED

    def _receive_acceptance(self, headers: CoreHeaders) -> AcceptConnection:
        request = self._request
        if request is None:
            raise self._failure("Bad HTTP message")
        try:
            check_response(headers, self._key)
        except InvalidHeader as error:
            raise self._failure(_WRONG[error.name]) from error
        try:
            subprotocol = negotiate_subprotocol_response(headers, request.subprotocols)
        except InvalidHandshake as error:
            selected = ", ".join(headers.get_all("Sec-WebSocket-Protocol"))
            raise self._failure(f"unrecognized subprotocol {selected}") from error
        try:
            values = headers.get_all("Sec-WebSocket-Extensions")
            accepted = [answer for value in values for answer in _split(value)]
        except InvalidHeader as error:
            raise self._failure("Malformed header, 'Sec-WebSocket-Extensions'") from error
        offered = cast("Sequence[Extension]", request.extensions)
        extensions = client_extensions_handshake(accepted, offered)
        trailing_data = self._response_reader.trailing_data
        self._connection = Connection(self._type, extensions, trailing_data)
        self._state = ConnectionState.OPEN
        return AcceptConnection(subprotocol, extensions, _encode(headers, _OF_RESPONSE))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(client={self.client}, state={self.state})"


def server_extensions_handshake(requested: Iterable[str], supported: list[Extension]) -> bytes | None:
    """Accept extensions that a client offers: the first acceptable offer of each.

    Args:
        requested: the offers, each a name and parameters.
        supported: the server's extensions.

    Returns:
        The ``Sec-WebSocket-Extensions`` header of the response; ``None`` for none.
    """
    accepted: dict[str, str] = {}
    for offer in requested:
        name = offer.partition(";")[0].strip()
        for extension in supported:
            if extension.name == name and name not in accepted:
                answer = extension.accept(offer)
                if answer is not None and answer is not False:
                    accepted[name] = _join(name, answer)
    return ", ".join(accepted.values()).encode("ascii") if accepted else None


def client_extensions_handshake(accepted: Iterable[str], supported: Sequence[Extension]) -> list[Extension]:
    """Take the extensions that a server has accepted.

    Args:
        accepted: its answers, each a name and parameters.
        supported: the extensions that were offered.

    Returns:
        The extensions that are in use, in order.

    Raises:
        RemoteProtocolError: one was not offered, or is there twice, or its parameters are not acceptable.
    """
    extensions: list[Extension] = []
    for answer in accepted:
        name = answer.partition(";")[0].strip()
        found = [each for each in supported if each.name == name and each not in extensions]
        if not found:
            raise RemoteProtocolError(f"unrecognized extension {name}")
        found[0].finalize(answer)
        extensions.append(found[0])
    return extensions


def _split(header: str) -> list[str]:
    """Return the extensions of a header, each with its parameters. Some peers send an empty header."""
    return [build_extension([extension]) for extension in parse_extension(header)] if header else []


def _join(name: str, parameters: bool | str) -> str:
    return f"{name}; {parameters}" if isinstance(parameters, str) and parameters else name


def _decode(headers: Headers) -> CoreHeaders:
    """Names and values may be texts, as for h11."""
    fields: Iterable[tuple[bytes | str, bytes | str]] = headers
    return CoreHeaders.decode((_to_bytes(name), _to_bytes(value)) for name, value in fields)


def _to_bytes(text: bytes | str) -> bytes:
    return text.encode("ascii", "surrogateescape") if isinstance(text, str) else text


def _encode(headers: CoreHeaders, without: Sequence[str] = ()) -> Headers:
    return [
        (name.lower().encode("ascii"), value.encode("ascii", "surrogateescape"))
        for name, value in headers.raw_items()
        if name.lower() not in without
    ]

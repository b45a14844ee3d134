"""WebSocket (RFC 6455) as a state machine, without I/O.

Begin with :class:`ServerProtocol` and :class:`ClientProtocol`.
"""

from .client import ClientProtocol
from .events import Close, Event, Failure, Fragment, Late, Ping, Pong
from .exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidState,
    InvalidStatusCode,
    InvalidURI,
    WebSocketException,
)
from .frames import CloseCode, Opcode
from .http import Headers, Request, Response, make_response
from .options import OPTIONS
from .protocol import Protocol
from .server import ServerProtocol
from .statistics import Statistics
from .typing import Data, Origin, Side, State, StreamAction, Subprotocol
from .uri import WebSocketURI, parse_uri
from .version import VERSION

__version__ = VERSION

__all__ = [
    "OPTIONS",
    "ClientProtocol",
    "Close",
    "CloseCode",
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "Data",
    "Event",
    "Failure",
    "Fragment",
    "HandshakeTimeout",
    "Headers",
    "InvalidHandshake",
    "InvalidState",
    "InvalidStatusCode",
    "InvalidURI",
    "Late",
    "Opcode",
    "Origin",
    "Ping",
    "Pong",
    "Protocol",
    "Request",
    "Response",
    "ServerProtocol",
    "Side",
    "State",
    "Statistics",
    "StreamAction",
    "Subprotocol",
    "WebSocketException",
    "WebSocketURI",
    "__version__",
    "make_response",
    "parse_uri",
]

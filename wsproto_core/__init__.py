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
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidState,
    InvalidStatusCode,
    InvalidURI,
    ProxyError,
    RedirectHandshake,
    SecurityError,
    SocksError,
    WebSocketException,
)
from .frames import CloseCode, Opcode
from .http import Headers, Request, Response, make_response
from .options import OPTIONS
from .prepared import PreparedMessage, prepare
from .protocol import Protocol
from .proxy import Proxy, parse_proxy
from .reconnect import ReconnectPolicy, exponential_delays, is_fatal
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
    "InvalidProxy",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidState",
    "InvalidStatusCode",
    "InvalidURI",
    "Late",
    "Opcode",
    "Origin",
    "Ping",
    "Pong",
    "PreparedMessage",
    "Protocol",
    "Proxy",
    "ProxyError",
    "ReconnectPolicy",
    "RedirectHandshake",
    "Request",
    "Response",
    "SecurityError",
    "ServerProtocol",
    "Side",
    "SocksError",
    "State",
    "Statistics",
    "StreamAction",
    "Subprotocol",
    "WebSocketException",
    "WebSocketURI",
    "__version__",
    "exponential_delays",
    "is_fatal",
    "make_response",
    "parse_proxy",
    "parse_uri",
    "prepare",
]

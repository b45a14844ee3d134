"""WebSocket (RFC 6455) as a state machine, without I/O.

Begin with :class:`ServerProtocol` and :class:`ClientProtocol`.
"""

from ._moved import install as _install_earlier_names
from .connect.proxy import Proxy, parse_proxy
from .connect.reconnect import ReconnectPolicy, exponential_delays, is_fatal
from .events import Close, Event, Failure, Fragment, Late, Ping, Pong, TimerOverdue
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
from .handshake.client import ClientProtocol
from .handshake.server import ServerProtocol
from .http import Headers, Request, Response, make_response
from .http.uri import WebSocketURI, parse_uri
from .options import OPTIONS
from .prepared import PreparedMessage, prepare
from .protocol import Protocol
from .statistics import Statistics
from .types import Data, Origin, Side, State, StreamAction, Subprotocol
from .version import VERSION

__version__ = VERSION

_install_earlier_names()

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
    "TimerOverdue",
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

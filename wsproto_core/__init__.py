"""WebSocket (RFC 6455) as a state machine, without I/O.

Begin with :class:`ServerProtocol` and :class:`ClientProtocol`.
"""

from . import exceptions
from ._moved import install as _install_earlier_names
from ._speedups import COMPILED
from ._speedups import install as _install_fast_paths
from .connect.proxy import Proxy, parse_proxy
from .connect.reconnect import ReconnectPolicy, exponential_delays, is_fatal
from .events import Close, Event, Failure, Fragment, Late, Ping, Pong, TimerOverdue
from .exceptions import *  # noqa: F403
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

_install_fast_paths()
_install_earlier_names()

__all__ = [
    "COMPILED",
    "OPTIONS",
    "ClientProtocol",
    "Close",
    "CloseCode",
    "Data",
    "Event",
    "Failure",
    "Fragment",
    "Headers",
    "Late",
    "Opcode",
    "Origin",
    "Ping",
    "Pong",
    "PreparedMessage",
    "Protocol",
    "Proxy",
    "ReconnectPolicy",
    "Request",
    "Response",
    "ServerProtocol",
    "Side",
    "State",
    "Statistics",
    "StreamAction",
    "Subprotocol",
    "TimerOverdue",
    "WebSocketURI",
    "__version__",
    "exponential_delays",
    "is_fatal",
    "make_response",
    "parse_proxy",
    "parse_uri",
    "prepare",
]
__all__ += exceptions.__all__

"""WebSocket clients and servers on asyncio, for programs written for the earlier API.

``from adapters import websockets`` stands for ``import websockets``: the modules, names, arguments and
defaults are those that such programs know. New programs are better off with :mod:`adapters.asyncio`.

The names of :mod:`.headers` and :mod:`.http` are there only. The modules themselves are attributes of
this package, but no part of ``from adapters.websockets import *``: there they would replace modules of
the same name, ``http`` of the standard library for one.
"""

from . import headers as headers
from . import http as http
from .auth import BasicAuthWebSocketServerProtocol, basic_auth_protocol_factory
from .client import Connect, WebSocketClientProtocol, connect, unix_connect
from .exceptions import (
    AbortHandshake,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    DuplicateParameter,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidOrigin,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidState,
    InvalidStatusCode,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
    RedirectHandshake,
    SecurityError,
    WebSocketException,
    WebSocketProtocolError,
)
from .extensions.base import ClientExtensionFactory, Extension, ServerExtensionFactory
from .extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from .framing import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    Frame,
    encode_data,
    parse_close,
    prepare_data,
    serialize_close,
)
from .handshake import build_request, build_response, check_request, check_response
from .protocol import WebSocketCommonProtocol
from .server import Serve, WebSocketServer, WebSocketServerProtocol, serve, unix_serve
from .typing import (
    ConnectionOption,
    Data,
    ExtensionHeader,
    ExtensionParameter,
    HeadersLike,
    Origin,
    Subprotocol,
    UpgradeProtocol,
)
from .uri import WebSocketURI, parse_uri

__all__ = [
    "OP_BINARY",
    "OP_CLOSE",
    "OP_CONT",
    "OP_PING",
    "OP_PONG",
    "OP_TEXT",
    "AbortHandshake",
    "BasicAuthWebSocketServerProtocol",
    "ClientExtensionFactory",
    "ClientPerMessageDeflateFactory",
    "Connect",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionOption",
    "Data",
    "DuplicateParameter",
    "Extension",
    "ExtensionHeader",
    "ExtensionParameter",
    "Frame",
    "HeadersLike",
    "InvalidHandshake",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidMessage",
    "InvalidOrigin",
    "InvalidParameterName",
    "InvalidParameterValue",
    "InvalidState",
    "InvalidStatusCode",
    "InvalidURI",
    "InvalidUpgrade",
    "NegotiationError",
    "Origin",
    "PayloadTooBig",
    "PerMessageDeflate",
    "ProtocolError",
    "RedirectHandshake",
    "SecurityError",
    "Serve",
    "ServerExtensionFactory",
    "ServerPerMessageDeflateFactory",
    "Subprotocol",
    "UpgradeProtocol",
    "WebSocketClientProtocol",
    "WebSocketCommonProtocol",
    "WebSocketException",
    "WebSocketProtocolError",
    "WebSocketServer",
    "WebSocketServerProtocol",
    "WebSocketURI",
    "basic_auth_protocol_factory",
    "build_request",
    "build_response",
    "check_request",
    "check_response",
    "connect",
    "encode_data",
    "parse_close",
    "parse_uri",
    "prepare_data",
    "serialize_close",
    "serve",
    "unix_connect",
    "unix_serve",
]

"""Names that each adapter exports beside its own, so that a program needs one import."""

from wsproto_core import __version__, exceptions
from wsproto_core.exceptions import *  # noqa: F403
from wsproto_core.http import Headers, Request, Response, make_response
from wsproto_core.prepared import PreparedMessage, prepare
from wsproto_core.types import CloseCode, Data, Origin, State, Subprotocol

from .routing import Route, Router
from .tls import TLSInfo

__all__ = [
    "CloseCode",
    "Data",
    "Headers",
    "Origin",
    "PreparedMessage",
    "Request",
    "Response",
    "Route",
    "Router",
    "State",
    "Subprotocol",
    "TLSInfo",
    "__version__",
    "make_response",
    "prepare",
]
__all__ += exceptions.__all__

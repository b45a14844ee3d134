"""HTTP/1.1, as far as the opening handshake needs it: headers, one request, one response.

Values of headers are ``str`` that hold ASCII; other bytes are represented with surrogate escapes.
"""

from .fields import Headers, MultipleValuesError
from .messages import Request, Response, make_response
from .readers import HeadLimits, RequestReader, ResponseReader, check_no_body

__all__ = [
    "HeadLimits",
    "Headers",
    "MultipleValuesError",
    "Request",
    "RequestReader",
    "Response",
    "ResponseReader",
    "check_no_body",
    "make_response",
]

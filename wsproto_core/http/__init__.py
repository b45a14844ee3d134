"""HTTP/1.1, as far as the opening handshake needs it: headers, one request, one response.

Values of headers are ``str`` that hold ASCII; other bytes are represented with surrogate escapes.
"""

from .headers import Headers, HeadersLike, MultipleValuesError
from .messages import Request, Response, make_response

__all__ = ["Headers", "HeadersLike", "MultipleValuesError", "Request", "Response", "make_response"]

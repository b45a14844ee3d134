"""HTTP/1.1, as far as the opening handshake needs it."""

from wsproto_core.http import Headers, MultipleValuesError

from .streams import read_request, read_response

__all__ = ["Headers", "MultipleValuesError", "read_request", "read_response"]

"""HTTP/1.1, as far as the opening handshake needs it."""

from adapters.asyncio.streams import read_request, read_response
from wsproto_core.http import Headers, MultipleValuesError

__all__ = ["Headers", "MultipleValuesError", "read_request", "read_response"]

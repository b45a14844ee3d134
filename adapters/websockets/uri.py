"""WebSocket URIs."""

from wsproto_core.http.uri import WebSocketURI, parse_uri

__all__ = ["WebSocketURI", "parse_uri"]

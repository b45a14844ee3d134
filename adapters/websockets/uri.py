"""WebSocket URIs."""

from wsproto_core.uri import WebSocketURI, parse_uri

__all__ = ["WebSocketURI", "parse_uri"]

"""Extensions of the WebSocket protocol (RFC 6455 section 9)."""

from .base import ClientExtensionFactory, CompressionExtension, EncodingKey, Extension, ServerExtensionFactory

__all__ = [
    "ClientExtensionFactory",
    "CompressionExtension",
    "EncodingKey",
    "Extension",
    "ServerExtensionFactory",
]

"""The types of what is sent, received and negotiated."""

from wsproto_core.typing import (
    ConnectionOption,
    Data,
    ExtensionHeader,
    ExtensionParameter,
    HeadersLike,
    Origin,
    Subprotocol,
    UpgradeProtocol,
)

__all__ = [
    "ConnectionOption",
    "Data",
    "ExtensionHeader",
    "ExtensionParameter",
    "HeadersLike",
    "Origin",
    "Subprotocol",
    "UpgradeProtocol",
]

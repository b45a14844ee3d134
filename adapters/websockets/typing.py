"""The types of what is sent, received and negotiated."""

from wsproto_core.http.headers import HeadersLike
from wsproto_core.types import (
    ConnectionOption,
    Data,
    ExtensionHeader,
    ExtensionParameter,
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

"""Types shared by every module: messages, header values, close codes.

This module imports nothing of the package, so that every other module may import it.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import NewType, TypeAlias

__all__ = [
    "BytesLike",
    "Close",
    "CloseCode",
    "ConnectionOption",
    "Data",
    "ExtensionHeader",
    "ExtensionName",
    "ExtensionParameter",
    "Origin",
    "Side",
    "SocketPath",
    "State",
    "StreamAction",
    "Subprotocol",
    "UpgradeProtocol",
]

Data: TypeAlias = str | bytes
"""A message: ``str`` for text, ``bytes`` for binary."""

BytesLike: TypeAlias = bytes | bytearray | memoryview
"""Bytes-like objects, which are accepted in the place of ``bytes``."""

Origin = NewType("Origin", str)
"""Value of an ``Origin`` header."""

Subprotocol = NewType("Subprotocol", str)
"""A subprotocol in a ``Sec-WebSocket-Protocol`` header."""

ExtensionName = NewType("ExtensionName", str)
"""Name of an extension in a ``Sec-WebSocket-Extensions`` header."""

ConnectionOption = NewType("ConnectionOption", str)
"""A connection option in a ``Connection`` header."""

UpgradeProtocol = NewType("UpgradeProtocol", str)
"""A protocol in an ``Upgrade`` header."""

ExtensionParameter: TypeAlias = tuple[str, str | None]
"""Name and value of an extension's parameter; the value is ``None`` when there is none."""

ExtensionHeader: TypeAlias = tuple[ExtensionName, list[ExtensionParameter]]
"""One extension in a ``Sec-WebSocket-Extensions`` header."""

SocketPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""Path of a Unix socket; a null character at the beginning makes it an abstract name, on Linux."""


class Side(enum.Enum):
    """The two roles of RFC 6455: they differ in the handshake, in masking and in who closes TCP."""

    __hash__ = object.__hash__  # Enum's own method is written in Python

    SERVER = "server"
    CLIENT = "client"


class State(enum.Enum):
    """A connection's state, in the words of RFC 6455 sections 4 and 7."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class StreamAction(enum.Enum):
    """The action for the byte stream after all output has been written."""

    KEEP = "keep"
    """Continue to read and write."""
    SEND_EOF = "send end of file"
    """End the writing half and continue to read. A stream without half-close is closed."""
    CLOSE = "close"
    """Close the stream after all bytes have been written."""
    ABORT = "abort"
    """Close the stream at once; unwritten bytes are discarded."""


class CloseCode(enum.IntEnum):
    """Close codes of RFC 6455 section 7.4.1 and of the IANA registry."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


_CODE_NAMES = {int(code): code.name.lower().replace("_", " ") for code in CloseCode}


@dataclass(frozen=True, slots=True)
class Close:
    """A close frame (RFC 6455 section 5.5.1).

    ``code`` is 1005 when the frame carried none.
    """

    code: int
    reason: str = ""

    def __str__(self) -> str:
        if 3000 <= self.code < 4000:
            name = "registered"
        elif 4000 <= self.code < 5000:
            name = "private use"
        else:
            name = _CODE_NAMES.get(self.code, "unknown")
        return f"{self.code} ({name})" + (f" {self.reason!r}" if self.reason else "")

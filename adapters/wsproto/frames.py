"""The names of a frame, below the extensions: :mod:`.frame_protocol` exports them.

Opcodes and close codes have the names of that library, not those of :mod:`wsproto_core`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple
from typing import Protocol as Interface

from wsproto_core.types import Data

__all__ = [
    "LOCAL_ONLY_CLOSE_REASONS",
    "CloseReason",
    "Endpoint",
    "Frame",
    "Opcode",
    "ParseFailed",
    "RsvBits",
]


class Opcode(IntEnum):
    """What a frame is (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

    def iscontrol(self) -> bool:
        """Whether it is a control frame."""
        return self >= Opcode.CLOSE


class CloseReason(IntEnum):
    """Close codes (RFC 6455 section 7.4.1)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXT = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TLS_HANDSHAKE_FAILED = 1015


LOCAL_ONLY_CLOSE_REASONS = (
    CloseReason.NO_STATUS_RCVD,
    CloseReason.ABNORMAL_CLOSURE,
    CloseReason.TLS_HANDSHAKE_FAILED,
)
"""The close codes that no close frame has."""


class ParseFailed(Exception):
    """The peer broke a rule.

    Attributes:
        code: the close code for it.
    """

    def __init__(self, msg: str, code: int = CloseReason.PROTOCOL_ERROR) -> None:
        """
        Args:
            msg: what is wrong.
            code: the close code for it.
        """
        super().__init__(msg)
        self.code = CloseReason(code)


class RsvBits(NamedTuple):
    """The reserved bits of a frame."""

    rsv1: bool
    rsv2: bool
    rsv3: bool


class Frame(NamedTuple):
    """A frame, or the part of one that has arrived."""

    opcode: Opcode
    """Of a fragment, that of its message."""
    payload: Data | tuple[int, str]
    """Of a close frame, the code and the reason."""
    frame_finished: bool
    """Whether this is all of the frame."""
    message_finished: bool
    """Whether this is the end of the message."""


class Endpoint(Interface):
    """What an extension may know of its connection."""

    client: bool
    """Whether this is the client's end."""

    @property
    def outbound_opcode(self) -> Opcode:
        """The opcode of the message that is being sent."""

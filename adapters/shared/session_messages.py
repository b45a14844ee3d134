"""The messages of the session protocol, between a client that comes back and topics: ``docs/session.md``.

A message is a JSON object. If it carries binary data, it is a binary message of WebSocket: the JSON object, a
line feed, and the data.
"""

from __future__ import annotations

import json
from typing import Any, get_args

from wsproto_core.types import Data

from .positions import Gap, GapReason, Position

__all__ = ["SUBPROTOCOL", "decode_message", "encode_gap", "encode_message", "gap_of", "position_of"]

SUBPROTOCOL = "topics.1"
"""The name of the protocol, and of its version."""


def encode_message(kind: str, data: Data | None = None, **fields: Any) -> Data:
    """Return a message.

    Args:
        kind: its type.
        data: what it carries: ``str`` or ``bytes``; ``None`` for nothing.
        fields: other fields; those that are ``None`` are left out.
    """
    found = {"type": kind, **{name: value for name, value in fields.items() if value is not None}}
    if isinstance(data, str):
        found["text"] = data
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n" + data if isinstance(data, bytes) else text


def decode_message(message: Data) -> tuple[str, dict[str, Any], Data | None]:
    """Return the type of a message, its fields, and what it carries.

    Args:
        message: the message, from a peer.

    Raises:
        ValueError: it is not a message of the protocol.
    """
    data: Data | None = None
    if isinstance(message, bytes):
        head, line_feed, data = message.partition(b"\n")
        if not line_feed:
            raise ValueError("a binary message must begin with a JSON object and a line feed")
        message = head.decode()
    try:
        fields = json.loads(message)
    except RecursionError:
        raise ValueError("the JSON object is nested too deeply") from None
    if not isinstance(fields, dict) or not isinstance(kind := fields.get("type"), str):
        raise ValueError("a message must be a JSON object with a type")
    if data is None:
        data = fields.get("text")
        if data is not None and not isinstance(data, str):
            raise ValueError("the field text must be a text")
    return kind, fields, data


def position_of(fields: dict[str, Any], name: str = "position") -> Position | None:
    """Return a position among the fields of a message; ``None`` if it is not there.

    Raises:
        ValueError: it is not a position.
    """
    text = fields.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f"the field {name} must be a text")
    return Position.parse(text)


def encode_gap(gap: Gap, pattern: str | None) -> Data:
    """Return the message that tells of a gap.

    Args:
        gap: the gap.
        pattern: the pattern of the subscription; ``None`` for one to a topic.
    """
    after, until = (None if each is None else str(each) for each in (gap.after, gap.until))
    return encode_message(
        "gap", topic=gap.topic, pattern=pattern, reason=gap.reason, after=after, until=until
    )


def gap_of(fields: dict[str, Any]) -> Gap:
    """Return the gap that a message tells of.

    Raises:
        ValueError: the fields are not those of a gap.
    """
    topic, reason = fields.get("topic"), fields.get("reason")
    if not isinstance(topic, str) or reason is None or reason not in get_args(GapReason):
        raise ValueError("a gap must have a topic and a reason")
    return Gap(topic, reason, position_of(fields, "after"), position_of(fields, "until"))

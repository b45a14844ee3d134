"""Counters of what a connection has received and sent."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics"]


@dataclass(slots=True)
class Statistics:
    """What has passed since the connection was opened.

    Bytes are those of the stream: the opening handshake and frame headers included, TLS not.
    """

    messages_received: int = 0
    messages_sent: int = 0
    frames_received: int = 0
    frames_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0

"""Statistics of a connection: messages, frames, bytes, compression, round-trip times, backpressure.

The counters cost nothing: the queues count messages, frames and bytes, extensions count what they
compress, and clocks are read only when pongs arrive and when backpressure begins or ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .extensions.base import CompressionExtension, Extension
from .inbox import Inbox
from .keepalive import Keepalive
from .outbox import Outbox

__all__ = ["Statistics", "collect"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What has passed on a connection from its beginning to the moment at which this was asked for."""

    messages_received: int = 0
    """Whole messages received, taken or not."""
    messages_sent: int = 0
    """Whole messages given to be sent."""
    frames_received: int = 0
    """Frames received, control frames included."""
    frames_sent: int = 0
    """Frames made to be sent, control frames included."""
    bytes_received: int = 0
    """Bytes received from the stream: with the opening handshake and frame headers, without TLS."""
    bytes_sent: int = 0
    """Bytes handed to the stream: with the opening handshake and frame headers, without TLS."""
    compressed_bytes_received: int = 0
    """Bytes of payload received in compressed messages, as they came."""
    decompressed_bytes_received: int = 0
    """Bytes of the same messages, decompressed."""
    compressed_bytes_sent: int = 0
    """Bytes of payload sent in compressed messages, as they go."""
    decompressed_bytes_sent: int = 0
    """Bytes of the same messages, before they were compressed."""
    round_trip_time: float | None = None
    """Seconds from the last ping that was answered to its pong; ``None`` before there was one."""
    smoothed_round_trip_time: float | None = None
    """The same over the last pings, in seconds: each new time counts for an eighth, as in RFC 6298."""
    shortest_round_trip_time: float | None = None
    """The shortest of all of them, in seconds."""
    seconds_not_reading: float = 0.0
    """Seconds during which ``wants_read`` was false: the application did not take what was received."""
    seconds_not_writable: float = 0.0
    """Seconds during which ``writable`` was false: the peer, or the network, did not take what was sent."""

    @property
    def compression_ratio_received(self) -> float | None:
        """How many times shorter compression made what was received; ``None`` if nothing was compressed."""
        return _ratio(self.decompressed_bytes_received, self.compressed_bytes_received)

    @property
    def compression_ratio_sent(self) -> float | None:
        """How many times shorter compression made what was sent; ``None`` if nothing was compressed."""
        return _ratio(self.decompressed_bytes_sent, self.compressed_bytes_sent)


def _ratio(before: int, after: int) -> float | None:
    return before / after if after else None


def collect(
    inbox: Inbox,
    outbox: Outbox,
    pings: Keepalive,
    extensions: Sequence[Extension],
    messages_sent: int,
    bytes_received: int,
) -> Statistics:
    """Read all the counters of a connection."""
    found = [extension for extension in extensions if isinstance(extension, CompressionExtension)]
    sums = {name: sum(getattr(each, name) for each in found) for name in CompressionExtension.__slots__}
    return Statistics(
        messages_received=inbox.taken + len(inbox.messages),
        messages_sent=messages_sent + outbox.shared,
        frames_received=inbox.reader.frames,
        frames_sent=outbox.writer.frames + outbox.shared,
        bytes_received=bytes_received,
        bytes_sent=outbox.bytes_sent,
        **sums,
        round_trip_time=pings.latency if pings.shortest is not None else None,
        smoothed_round_trip_time=pings.smoothed,
        shortest_round_trip_time=pings.shortest,
        seconds_not_reading=inbox.stopped.seconds if inbox.stopped else 0.0,
        seconds_not_writable=outbox.blocked.seconds if outbox.blocked else 0.0,
    )

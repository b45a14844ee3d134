"""Answers to pings (RFC 6455 sections 5.5.2 and 5.5.3): which pongs are sent, and how many are kept."""

from __future__ import annotations

__all__ = ["PONGS_KEPT", "Pongs"]

PONGS_KEPT = 2**16
"""Bytes of input for whose pings the pongs are kept, beside those of one read, until they are sent."""


class Pongs(list[bytes]):
    """The payloads of the pongs that are due."""

    __slots__ = ("_since",)

    _since: int  # bytes received at the first of these pings

    def answer(self, payload: bytes, received: int, *, blocked: bool) -> None:
        """Add the pong that is due for a ping.

        Every ping is answered, as peers may wait for each payload, as long as that takes no more room
        than what was read at once. A peer that sends pings and does not read gets one answer: "If an
        endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping
        frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping
        frame." (RFC 6455 section 5.5.3)

        Args:
            payload: the ping's.
            received: bytes received on the connection so far.
            blocked: whether bytes that were handed out have not been written.
        """
        if blocked or (self and received - self._since > PONGS_KEPT):
            self.clear()
        if not self:
            self._since = received
        self.append(payload)

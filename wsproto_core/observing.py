"""Observing what passes on a connection: for logs of frames, and for any other use.

As a rule there is no observer, and then nothing here is called. The reader and the writer of a connection
that has one (:mod:`.messages`) tell it of each frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .codec import MESSAGE_OVERHEAD
from .frames import FIN, Opcode
from .http import Request, Response
from .types import BytesLike, Data

__all__ = ["NOBODY", "Excerpt", "Observer", "ReceivedExcerpts", "excerpt_of"]

# Bytes of a payload that an observer is shown: all of a control frame's.
SHOWN = 128


class Excerpt(NamedTuple):
    """The beginning of a payload: the whole may take any amount of memory."""

    start: bytes
    """Its first bytes, at most 128, unmasked."""
    length: int
    """Bytes in the whole payload."""


def excerpt_of(payload: BytesLike) -> Excerpt:
    """Return the excerpt of a whole payload."""
    return Excerpt(bytes(payload[:SHOWN]), len(payload))


class Observer:
    """Is told of what passes on a connection (:meth:`~.protocol.Protocol.observe`).

    The methods do nothing; override those of interest. They are called while the connection parses or
    builds a frame: an exception in one of them is an error in that.
    """

    def request(self, request: Request) -> None:
        """The opening handshake's request: on a client, as it will be sent."""

    def response(self, response: Response) -> None:
        """The opening handshake's response."""

    def frame_received(self, first: int, payload: Excerpt) -> None:
        """A whole frame has been received; an error in its header is found before that.

        Args:
            first: the frame's first byte: FIN, the reserved bits, the opcode.
            payload: unmasked, not decoded by extensions.
        """

    def message_decoded(self, payload: Excerpt) -> None:
        """A message that extensions have decoded is complete, with this payload."""

    def frame_sent(self, first: int, payload: Excerpt, original: Excerpt) -> None:
        """A frame has been built, and is sent unless the connection fails before.

        Args:
            first: the frame's first byte.
            payload: before it is masked.
            original: before extensions encoded it; the same if none did.
        """


NOBODY = Observer()
"""The observer of a connection that is not observed."""


class ReceivedExcerpts:
    """Makes the excerpts of received frames and decoded messages, and tells an observer of them.

    A :class:`~.messages.MessageReader` that is observed passes on here what it receives.
    """

    __slots__ = ("_decoded", "_encoded", "_frame", "_observer")

    def __init__(self, observer: Observer) -> None:
        """
        Args:
            observer: is told.
        """
        self._observer = observer
        self._encoded = False  # whether extensions decode the message that is being received
        self._frame = _NOTHING
        self._decoded = _NOTHING

    def add_messages(self, messages: Iterable[tuple[Data, int]]) -> None:
        """Tell of messages that came as one frame each, with their sizes in the receive queue."""
        for message, size in messages:
            text = isinstance(message, str)
            start = message[:SHOWN].encode()[:SHOWN] if isinstance(message, str) else message[:SHOWN]
            excerpt = Excerpt(start, size - MESSAGE_OVERHEAD)
            self._observer.frame_received(FIN | (Opcode.TEXT if text else Opcode.BINARY), excerpt)

    def begin_message(self, encoded: bool) -> None:
        """A message begins; ``encoded`` says whether extensions decode it."""
        self._encoded = encoded

    def add_payload(self, first: int, payload: bytes, complete: bool) -> None:
        """A piece of a frame's payload has been received, the last one if ``complete``.

        Args:
            first: the frame's first byte.
        """
        self._frame = _extended(self._frame, payload)
        if complete:
            excerpt, self._frame = self._frame, _NOTHING
            self._observer.frame_received(first, excerpt)

    def add_decoded(self, payload: bytes, final: bool) -> None:
        """A piece of a message has been decoded by extensions, the last one if ``final``."""
        if self._encoded:
            self._decoded = _extended(self._decoded, payload)
            if final:
                excerpt, self._decoded = self._decoded, _NOTHING
                self._observer.message_decoded(excerpt)


_NOTHING = Excerpt(b"", 0)


def _extended(excerpt: Excerpt, payload: bytes) -> Excerpt:
    """Return an excerpt with one more piece of the payload."""
    start = excerpt.start + payload[: SHOWN - len(excerpt.start)]
    return Excerpt(start, excerpt.length + len(payload))

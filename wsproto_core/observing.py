"""Seeing what passes on a connection: for logs of frames, and for whoever else wants to look.

As a rule nobody looks, and then nothing here is called. Whoever looks makes a connection read and write
by the classes below, which see each frame and so have no fast path, and do the rest like their bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .extensions.base import Extension
from .frames import FIN, RESERVED_BITS, Opcode, apply_mask
from .http import Request, Response
from .messages import MessageReader, MessageWriter
from .types import BytesLike

__all__ = ["NOBODY", "Excerpt", "ObservedReader", "ObservedWriter", "Observer"]

SHOWN = 128
"""Bytes of a payload that an observer is shown: all of a control frame's."""


class Excerpt(NamedTuple):
    """The beginning of a payload, for those who look at it: the whole may take any amount of memory."""

    start: bytes
    """Its first bytes, at most 128, unmasked."""
    length: int
    """Bytes in all of it."""


class Observer:
    """Is told what passes on a connection (:meth:`~.protocol.Protocol.observe`).

    Its methods do nothing; override those of interest. They are called in the course of what the
    connection does: an exception in one of them is an error in that.
    """

    def request(self, request: Request) -> None:
        """The opening handshake's request: on a client, as it will be sent."""

    def response(self, response: Response) -> None:
        """The opening handshake's response."""

    def frame_received(self, first: int, payload: Excerpt) -> None:
        """A frame has arrived, as a whole; what is wrong with its header is found before.

        Args:
            first: the frame's first byte: FIN, the reserved bits, the opcode.
            payload: unmasked, as it came.
        """

    def message_decoded(self, payload: Excerpt) -> None:
        """A message that extensions have decoded is complete, with this payload."""

    def frame_sent(self, first: int, payload: Excerpt, original: Excerpt) -> None:
        """A frame has been made, and is sent unless the connection fails before.

        Args:
            first: the frame's first byte.
            payload: before it is masked.
            original: before extensions encoded it; the same if none did.
        """


NOBODY = Observer()
"""Who looks at a connection that nobody looks at."""


class _Collector:
    """Makes an excerpt of a payload that comes in pieces."""

    __slots__ = ("_length", "_start")

    def __init__(self) -> None:
        self._start = b""
        self._length = 0

    @property
    def missing(self) -> int:
        """How many more bytes will be shown, if they come."""
        return SHOWN - len(self._start)

    def add(self, start: bytes, length: int) -> None:
        """Add a piece: what is to be shown of it, and how long it is."""
        self._start += start
        self._length += length

    def take(self) -> Excerpt:
        """Return the excerpt, and begin anew."""
        excerpt = Excerpt(self._start, self._length)
        self._start = b""
        self._length = 0
        return excerpt


class ObservedReader(MessageReader):
    """A reader that tells an observer what it reads."""

    __slots__ = ("_decoded", "_encoded", "_first", "_observer", "_received", "_transforms_all")

    def __init__(self, observer: Observer, **settings: Any) -> None:
        """
        Args:
            observer: whom to tell.
            settings: see :class:`MessageReader`.
        """
        super().__init__(**settings)
        self._observer = observer
        self._first = 0  # first byte of the data frame that is being received
        self._received = _Collector()
        self._decoded = _Collector()
        self._encoded = False  # whether extensions decode the message that is being received
        # Frames on the fast path would not be seen.
        self._transforms_all = self._every_message
        self._every_message = True

    def _begin_data_frame(self, first: int, opcode: int) -> None:
        self._first = first
        if opcode:
            self._encoded = self._transforms_all or first & RESERVED_BITS != 0
        super()._begin_data_frame(first, opcode)

    def _receive_payload(self, data: bytes, position: int) -> int:
        here = min(self._remaining, len(data) - position)
        start = data[position : position + min(here, self._received.missing)]
        self._received.add(apply_mask(start, self._key) if self._key else start, here)
        if here == self._remaining:
            first = FIN | self._opcode if self._opcode >= Opcode.CLOSE else self._first
            self._observer.frame_received(first, self._received.take())
        return super()._receive_payload(data, position)

    def _add_payload(self, payload: bytes, final: bool) -> None:
        if self._encoded:
            self._decoded.add(payload[: self._decoded.missing], len(payload))
            if final:
                self._observer.message_decoded(self._decoded.take())
        super()._add_payload(payload, final)


class ObservedWriter(MessageWriter):
    """A writer that tells an observer what it writes."""

    __slots__ = ("_observer", "_original")

    def __init__(self, observer: Observer, **settings: Any) -> None:
        """
        Args:
            observer: whom to tell.
            settings: see :class:`MessageWriter`.
        """
        super().__init__(**settings)
        self._observer = observer
        self._original: Excerpt | None = None
        # Frames that are shared would go past the observer.
        self.sharing = None

    def _apply_extensions(
        self, payload: bytes, first: bool, fin: bool, compress: bool | None
    ) -> tuple[int, bytes]:
        bits, encoded = super()._apply_extensions(payload, first, fin, compress)
        if encoded != payload:
            self._original = Excerpt(payload[:SHOWN], len(payload))
        return bits, encoded

    def frame(self, first: int, payload: BytesLike) -> list[bytes]:
        excerpt = Excerpt(bytes(payload[:SHOWN]), len(payload))
        original, self._original = self._original or excerpt, None
        self._observer.frame_sent(first, excerpt, original)
        return super().frame(first, payload)


def make_reader(observer: Observer, **settings: Any) -> MessageReader:
    """Make a reader that tells this observer, if that is somebody."""
    return MessageReader(**settings) if observer is NOBODY else ObservedReader(observer, **settings)


def make_writer(observer: Observer, *, random: Any, extensions: Sequence[Extension]) -> MessageWriter:
    """Make a writer that tells this observer, if that is somebody."""
    if observer is NOBODY:
        return MessageWriter(random=random, extensions=extensions)
    return ObservedWriter(observer, random=random, extensions=extensions)

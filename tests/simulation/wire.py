"""A reader of the bytes of one direction, which shares no code with the library: it counts.

It knows the opening handshake's end and the headers of frames (RFC 6455 section 5.2), and it checks what a
peer can see of a sender's order: nothing after a close frame, whole messages, masking by the side.
"""

from __future__ import annotations

__all__ = ["Wire", "WrongBytes"]

CONTINUATION, CLOSE = 0x0, 0x8
FIN, MASKED, RESERVED = 0x80, 0x80, 0x70


class WrongBytes(AssertionError):
    """A sender has broken a rule."""


class Wire:
    """What one side has sent, as far as the other side has read it.

    Attributes:
        messages: number of messages that are complete.
        opened: whether the opening handshake is over.
        refused: whether it ended without a connection: what follows are no frames.
        closed: whether a close frame is complete.
    """

    __slots__ = (
        "_first", "_masked", "_remaining", "_rest", "_within", "closed", "messages", "opened", "refused",
    )  # fmt: skip

    def __init__(self, *, masked: bool, opened: bool) -> None:
        self._masked = masked
        self._rest = b""
        self._remaining = 0
        self._first = 0
        self._within = False
        self.messages = 0
        self.opened = opened
        self.refused = False
        self.closed = False

    def feed(self, data: bytes) -> None:
        """Take bytes in any chunking."""
        if self.refused:
            return
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        if not self.opened:
            head, blank, _ = data.partition(b"\r\n\r\n")
            if not blank:
                self._rest = data
                return
            self.opened = True
            # A request, which the client sends, is a GET; anything but 101 is a refusal.
            if not (self._masked or head.startswith(b"HTTP/1.1 101 ")):
                self.refused = True
                return
            position = len(head) + 4
        self._frames(data, position)

    def _frames(self, data: bytes, position: int) -> None:
        end = len(data)
        if self._remaining:
            used = min(self._remaining, end - position)
            self._remaining -= used
            position += used
            if not self._remaining:
                self._complete()
        while position < end:
            if self.closed:
                raise WrongBytes("bytes follow a close frame")
            size = self._header(data, position, end)
            if not size:
                self._rest = data[position:]
                return
            position += size
            used = min(self._remaining, end - position)
            self._remaining -= used
            position += used
            if not self._remaining:
                self._complete()

    def _header(self, data: bytes, position: int, end: int) -> int:
        """Read a header; return its size, 0 if it is incomplete."""
        if end - position < 2:
            return 0
        first, second = data[position], data[position + 1]
        if bool(second & MASKED) is not self._masked:
            raise WrongBytes(f"a frame is {'not ' if self._masked else ''}masked")
        length = second & 0x7F
        extended = {126: 2, 127: 8}.get(length, 0)
        size = 2 + extended + 4 * self._masked
        if end - position < size:
            return 0
        if extended:
            length = int.from_bytes(data[position + 2 : position + 2 + extended], "big")
        opcode = first & 0x0F
        if opcode < CLOSE and (opcode == CONTINUATION) is not self._within:
            raise WrongBytes(f"opcode {opcode} {'within' if self._within else 'outside of'} a message")
        if opcode >= CLOSE and (length > 125 or not first & FIN or first & RESERVED):
            raise WrongBytes(f"control frame with first byte {first:#x} and {length} bytes of payload")
        self._first = first
        self._remaining = length
        return size

    def _complete(self) -> None:
        opcode, final = self._first & 0x0F, self._first & FIN != 0
        if opcode == CLOSE:
            self.closed = True
        elif opcode < CLOSE:
            self._within = not final
            self.messages += final

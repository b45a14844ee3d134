"""A model of one endpoint of a WebSocket connection, from RFC 6455 and from the documentation alone.

It predicts what an endpoint sends, reports and refuses, frame by frame. It knows no phases and no tables:
what has happened is in a few variables, and everything else follows from them. It shares no code with the
library.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.core.helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close_payload

__all__ = ["ANY_REASON", "CLOSE_TIMEOUT", "MAX_SIZE", "Bad", "Closing", "Model", "Notice"]

MAX_SIZE = 1000
"""Bytes in a message that are received, at most."""

CLOSE_TIMEOUT = 8.0

ANY_REASON = "?"
"""A reason that is the library's to choose."""


class Closing(NamedTuple):
    """A close frame."""

    code: int
    reason: str = ""


class Bad(NamedTuple):
    """Bytes that break a rule."""

    code: int
    """The close code of the failure."""


class Notice(NamedTuple):
    """An event that is no message."""

    kind: str
    """"ping", "pong", "close" or "failure"."""
    value: Any = None


class Model:
    """An endpoint.

    Attributes:
        is_server: which one.
        opened: whether the opening handshake is done.
        sent, received: the close frames.
        failed: whether the connection has failed.
        deferred: what waits behind messages: the peer's close frame, or an error.
        eof_sent, eof_received, closed: the ends of the stream.
        aborting: whether the stream is to be closed at once.
        queue: the messages that the application has not taken.
        notices: the events that it has not taken.
        building: whether a message is being sent in fragments, and whether it is text.
        pings: the payloads of pings without an answer, in order.
        deadline: of closing.
    """

    def __init__(self, *, is_server: bool) -> None:
        self.is_server = is_server
        self.opened = False
        self.sent: Closing | None = None
        self.received: Closing | None = None
        self.failed = False
        self.deferred: Closing | Bad | None = None
        self.eof_sent = False
        self.eof_received = False
        self.closed = False
        self.aborting = False
        self.queue: list[str | bytes] = []
        self.notices: list[Notice] = []
        self.building: bool | None = None
        self.pings: list[bytes] = []
        self.deadline: float | None = None
        self._pongs: list[bytes] = []
        self._frames: list[Frame] = []
        self._close: Closing | None = None
        self._close_written = False
        self._assembling: tuple[int, bytes] | None = None
        self._eof_waits = False

    # What can be seen

    @property
    def parsing(self) -> bool:
        """Whether frames are expected."""
        return self.receiving and self.deferred is None

    @property
    def receiving(self) -> bool:
        """Whether messages may still come, or answers to those that have."""
        return not (self.received or self.failed or self.eof_received or self.closed or self.aborting)

    @property
    def state(self) -> str:
        """The state in the RFC's words."""
        if not self.opened:
            return "connecting"
        if self.closed:
            return "closed"
        return "open" if self.receiving and self.sent is None else "closing"

    @property
    def close_code(self) -> int | None:
        """The close code of section 7.1.5."""
        if self.receiving:
            return None
        return self.received.code if self.received else 1006

    @property
    def action(self) -> str:
        """What is to be done with the stream when all is written: the server ends TCP (section 7.1.1)."""
        if self.aborting:
            return "abort"
        if self.closed or self.eof_received:
            return "close"
        over = (self.received is not None) or self.failed
        return "send end of file" if over and self.is_server and not self.eof_sent else "keep"

    @property
    def reads(self) -> bool:
        """Whether the stream is read."""
        return not (self.deferred or self.eof_received or self.closed or self.aborting)

    @property
    def has_output(self) -> bool:
        """Whether there is something to write."""
        return bool(self._pongs or self._frames or self._close)

    def refusal(self) -> str | None:
        """The name of the exception of a command that needs an open connection."""
        return {"connecting": "InvalidState", "open": None}.get(self.state, "ConnectionClosed")

    # Commands

    def open(self) -> None:
        """The opening handshake is done."""
        self.opened = True

    def send(self, message: str | bytes, *, fin: bool = True) -> None:
        """Send a message or a fragment, which may be sent."""
        text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        opcode = (TEXT if text else BINARY) if self.building is None else CONTINUATION
        self._frames.append(Frame(opcode, payload, fin))
        self.building = None if fin else text

    def ping(self, payload: bytes) -> None:
        """Send a ping."""
        self._frames.append(Frame(PING, payload))
        self.pings.append(payload)

    def pong(self, payload: bytes) -> None:
        """Send a pong that nobody asked for."""
        self._frames.append(Frame(PONG, payload))

    def close(self, close: Closing, now: float) -> None:
        """Begin the closing handshake, unless the connection is closing or closed."""
        self._conclude(now)
        if self.state == "open":
            self._queue_close(close)
            self.deadline = now + CLOSE_TIMEOUT

    def fail(self, close: Closing, now: float) -> None:
        """The application lets the connection fail."""
        self._conclude(now)
        if self.parsing:
            self._drop_output()
            self._fail(close, now)

    def take(self, now: float) -> str | bytes | None:
        """Take a message; to ask for more than there is lets what is deferred take effect."""
        if self.queue:
            return self.queue.pop(0)
        self._conclude(now)
        return None

    # Output

    def write(self) -> list[Frame]:
        """Write everything, in order: pongs, what was sent, the close frame (section 5.5.1)."""
        frames = [*(Frame(PONG, payload) for payload in self._pongs), *self._frames]
        if self._close is not None:
            code, reason = self._close
            payload = b"" if code == 1005 else close_payload(code, reason)
            frames.append(Frame(CLOSE, payload))
            self._close_written = True
        self._pongs, self._frames, self._close = [], [], None
        return frames

    # Input

    def receive(self, item: Frame | Bad, now: float) -> None:
        """Receive a frame, or what is none."""
        if not self.parsing:
            return
        if isinstance(item, Bad):
            self._receive_end(item, now)
        elif item.opcode == PING:
            self.notices.append(Notice("ping", item.payload))
            if not self._close_written:
                self._pongs.append(item.payload)
        elif item.opcode == PONG:
            answered = self.pings[: self.pings.index(item.payload) + 1] if item.payload in self.pings else []
            del self.pings[: len(answered)]
            self.notices.append(Notice("pong", (item.payload, answered)))
        elif item.opcode == CLOSE:
            code = int.from_bytes(item.payload[:2], "big") if item.payload else 1005
            self._receive_end(Closing(code, item.payload[2:].decode()), now)
        else:
            self._receive_data(item, now)

    def _receive_data(self, frame: Frame, now: float) -> None:
        opcode, before = self._assembling or (frame.opcode, b"")
        payload = before + frame.payload
        if (frame.opcode == CONTINUATION) is not (self._assembling is not None):
            self._receive_end(Bad(1002), now)
        elif len(payload) > MAX_SIZE:
            self._receive_end(Bad(1009), now)
        elif not frame.fin:
            self._assembling = (opcode, payload)
        else:
            self._assembling = None
            self.queue.append(payload.decode() if opcode == TEXT else payload)

    def _receive_end(self, end: Closing | Bad, now: float) -> None:
        """Take a close frame or an error; it waits behind messages, so that they can be answered."""
        if self.queue and self.state == "open":
            self.deferred = end
            self.deadline = now + CLOSE_TIMEOUT / 2
        elif isinstance(end, Bad):
            self._drop_output()
            self._fail(Closing(end.code, ANY_REASON), now)
        else:
            self._close_received(end, now)

    def _close_received(self, close: Closing, now: float) -> None:
        self.received = close
        self.notices.append(Notice("close", close))
        # "it typically echos the status code it received" (section 5.5.1)
        self._queue_close(Closing(close.code))
        self.deadline = now + CLOSE_TIMEOUT

    def receive_eof(self, now: float) -> None:
        """The peer has ended its half of the stream."""
        if self.deferred is not None:
            self._eof_waits = True
            return
        if self.parsing:
            self._drop_output()
            self._queue_close(Closing(1002, ANY_REASON))
            self.notices.append(Notice("failure"))
        self.eof_received = True
        if self.deadline is None:
            self.deadline = now + CLOSE_TIMEOUT

    def lose(self, now: float) -> None:
        """The stream is closed in both directions."""
        if self.closed:
            return
        self._conclude(now)
        if self.parsing:
            self.notices.append(Notice("failure"))
        self.closed = True
        self.aborting = False
        self.deadline = None
        self._close = None
        self._drop_output()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self.deferred is not None:
            self._conclude(now)
        elif self.parsing:
            self._fail(Closing(1006), now)
        else:
            self.aborting = True
            self.deadline = None

    def _conclude(self, now: float) -> None:
        """Let what is deferred take effect."""
        end, self.deferred = self.deferred, None
        if isinstance(end, Bad):
            # The answers to the messages before it are sent.
            self._fail(Closing(end.code, ANY_REASON), now)
        elif end is not None:
            self._close_received(end, now)
        if self._eof_waits:
            self._eof_waits = False
            self.receive_eof(now)

    def _fail(self, close: Closing, now: float) -> None:
        """Fail the connection (section 7.1.7)."""
        self._queue_close(close)
        self.failed = True
        self.notices.append(Notice("failure"))
        self.deadline = now + CLOSE_TIMEOUT

    def _queue_close(self, close: Closing) -> None:
        """Send a close frame, the only one."""
        if self.sent is None:
            self.sent = self._close = close

    def _drop_output(self) -> None:
        self._pongs, self._frames = [], []

"""One connection's state machine after the opening handshake, and what both sides share.

It has three inputs, bytes, calls and time, and two outputs, events and bytes. It does no I/O and
reads no clock: see :class:`Protocol` for how it is driven.

Where things are: the phases of a connection are tables in :mod:`.states`, deadlines are in
:mod:`.timers`, frames and messages in :mod:`.frames` and :mod:`.messages`. What remains here is
what joins them: control frames, the closing handshake, the order of output, backpressure.
"""

from __future__ import annotations

import enum
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Unpack

from .events import Event, Failure, Fragment, Late, Ping, Pong
from .exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidState,
    PayloadTooBig,
    ProtocolError,
)
from .extensions.base import Extension
from .frames import (
    FIN,
    MAX_CONTROL_PAYLOAD,
    Opcode,
    encode_data,
    parse_close_frame,
    serialize_close,
    shorten_reason,
)
from .http import Request, Response
from .messages import MessageReader, MessageWriter
from .options import CommonOptions, marks, resolve
from .randomness import random_bytes
from .states import PHASES, TRANSITIONS, ClosingTimer, Input, Phase
from .statistics import Statistics
from .timers import Timer, Timers
from .typing import BytesLike, Close, CloseCode, Data, Side, State, StreamAction, Subprotocol

__all__ = ["Protocol"]

KEPT_EVENTS = 1024
"""Events, besides those of the latest input, that are kept for somebody who never asks for events."""


class _Demand(enum.Enum):
    """What somebody waits for, which decides whether a message under construction may grow."""

    NOTHING = enum.auto()
    MESSAGE = enum.auto()
    FRAGMENT = enum.auto()


class Protocol:
    """A WebSocket connection without I/O.

    Its methods are of four kinds.

    *Inputs* tell what happened: :meth:`receive_data`, :meth:`receive_eof`, :meth:`connection_lost`,
    :meth:`data_sent`, :meth:`eof_sent`, :meth:`handle_timeout`.

    *Commands* ask for something: :meth:`send_text`, :meth:`send_binary`, :meth:`send`,
    :meth:`ping`, :meth:`pong`, :meth:`close`, :meth:`fail`, and a server's ``accept`` and
    ``reject``. They raise :exc:`ConnectionClosed` when it is too late for them.

    *Outputs* are asked for after any of these: :meth:`events` or :meth:`next_message` and
    :meth:`next_fragment`; :meth:`data_to_send`; :meth:`deadline`; :attr:`stream_action`.

    *Getters* are properties and change nothing: :attr:`state`, :attr:`wants_read`, ...

    An embedder repeats this:

    1. Wait until the stream is readable (if :attr:`wants_read`), or writable (if bytes are left to
       write), or :meth:`deadline` has come.
    2. If bytes came, give them to :meth:`receive_data`; at the end of the stream call
       :meth:`receive_eof`; if reading or writing raised, :meth:`connection_lost`.
    3. If bytes were written, call :meth:`data_sent`.
    4. If the deadline has come, call :meth:`handle_timeout`: after 2, so that no peer is blamed for
       bytes that were there to be read.
    5. Handle :meth:`events`.
    6. If all earlier bytes have been written, write :meth:`data_to_send`. Not before: that a peer
       does not read is what keeps the output from growing.
    7. If there is nothing left to write, do what :attr:`stream_action` says, and tell by
       :meth:`eof_sent` or :meth:`connection_lost`.

    The embedding guide in the documentation has this loop as a program.

    This class itself is for a byte stream that has been opened for WebSocket in another way, for
    example by HTTP/2 (RFC 8441): it begins open. :class:`~.client.ClientProtocol` and
    :class:`~.server.ServerProtocol` begin with the opening handshake.
    """

    def __init__(
        self,
        side: Side,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes] | None = None,
        extensions: Sequence[Extension] = (),
        subprotocol: Subprotocol | None = None,
        **options: Unpack[CommonOptions],
    ) -> None:
        """
        Arguments:
            side: whether this is the server or the client.
            clock: returns the time in seconds; any origin, never going back.
            random: returns as many bytes as it is asked for, from a strong source (RFC 6455
                section 10.3); ``None`` for ``os.urandom``, drawn in batches.
            extensions: what was negotiated, in order.
            subprotocol: what was negotiated.
            options: see :data:`~.options.OPTIONS`.

        Raises:
            TypeError: an option is unknown or has the wrong type.
            ValueError: an option's value is not allowed.
        """
        self._setup(side, clock, random, resolve(CommonOptions, options))
        self._open(extensions, subprotocol)

    def _setup(
        self,
        side: Side,
        clock: Callable[[], float],
        random: Callable[[int], bytes] | None,
        options: CommonOptions,
    ) -> None:
        self.side = side
        self.subprotocol: Subprotocol | None = None
        self.extensions: Sequence[Extension] = ()
        self.latency: float = 0.0
        self.request: Request | None = None
        self.response: Response | None = None
        self.handshake_error: Exception | None = None
        self.wants_read = True
        self.writable = True
        self._clock = clock
        self._random = random_bytes if random is None else random
        self._options = options
        self._phase = Phase.CONNECTING
        self._rules = PHASES[self._phase]
        self._timers = Timers()
        self._id: uuid.UUID | None = None
        # receiving
        self._max_queue = marks(options["max_queue"], 2)
        self._read_marks = marks(options["read_limit"], 2)
        self._demand = _Demand.NOTHING
        self._streaming = False
        self._taken = 0
        self._dropping = False  # whether messages have no room any more
        self._notices: deque[tuple[int, Event]] = deque()
        self._bytes_received = 0
        self._make_reader(())
        # sending
        self._write_marks = marks(options["write_limit"], 4)
        self._output: list[bytes] = []
        self._queued = 0  # bytes in the output
        self._unwritten = 0  # bytes handed out and not yet written
        self._bytes_sent = 0
        self._messages_sent = 0
        self._pending_pong: bytes | None = None
        self._pings: dict[bytes, float] = {}
        self._keepalive_queued = False
        self._pong_awaited = False
        self._heard_at_ping = 0
        self._write_timed = False
        self._heard_at_write = 0
        self._make_writer(())
        # closing
        self._close_frame: list[bytes] | None = None
        self._close_given = False
        self._received_close: Close | None = None
        self._sent_close: Close | None = None
        self._received_first: bool | None = None
        self._cause: BaseException | None = None

    def _make_reader(self, extensions: Sequence[Extension]) -> None:
        max_size = self._options["max_size"]
        size, fragment_size = max_size if isinstance(max_size, tuple) else (max_size, None)
        self._reader = MessageReader(
            masked=self.side is Side.SERVER,
            control=self._receive_control,
            max_size=size,
            max_fragment_size=fragment_size,
            max_fragments=self._options["max_fragments"],
            extensions=extensions,
        )
        self._bounded = size is not None

    def _make_writer(self, extensions: Sequence[Extension]) -> None:
        random = self._random if self.side is Side.CLIENT else None
        self._writer = MessageWriter(random=random, extensions=extensions)

    def _open(self, extensions: Sequence[Extension], subprotocol: Subprotocol | None) -> None:
        """The opening handshake is done."""
        self.extensions = tuple(extensions)
        self.subprotocol = subprotocol
        if extensions:
            self._make_reader(extensions)
            self._make_writer(extensions)
        self._step(Input.ACCEPTED)
        self._timers.start(Timer.PING, self._clock(), self._options["ping_interval"])

    # Inputs

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the peer, in any chunking; cost is linear in their number.

        Bytes that mean nothing any more, after an error or a close frame, are dropped. Nothing is
        raised: what is wrong with them becomes a :class:`~.events.Failure` event.
        """
        self._bytes_received += len(data)
        if self._phase is Phase.CONNECTING:
            self._receive_handshake(data)
        elif self._rules.parses:
            self._receive_frames(bytes(data))

    def _receive_handshake(self, data: BytesLike) -> None:
        """Take bytes of the opening handshake: for the classes that have one."""

    def _receive_frames(self, data: bytes) -> None:
        reader = self._reader
        queued = None if self._phase is Phase.OPEN else len(reader.messages)
        while len(self._notices) > KEPT_EVENTS:
            self._notices.popleft()
        try:
            reader.receive(data)
        except (ProtocolError, PayloadTooBig) as error:
            self._fail(error, error.code, shorten_reason(str(error)), remote=True)
        if queued is not None:
            self._drop_beyond_marks(queued)
        elif (
            len(reader.messages) >= self._max_queue.high
            or reader.pending + reader.buffered >= self._read_marks.high
        ) and self._phase is Phase.OPEN:
            self._update_wants_read()

    def receive_eof(self) -> None:
        """The peer has ended its half of the stream."""
        if self._phase in (Phase.OPEN, Phase.CLOSE_SENT):
            where = "within a message" if self._reader.incomplete else "without a close frame"
            # One attempt to tell: it may have ended its sending half only.
            self._give_close(CloseCode.PROTOCOL_ERROR, f"end of stream {where}", drop=True)
            self._set_cause(EOFError(f"the peer ended the stream {where}"), remote=True)
        self._step(Input.EOF_RECEIVED)

    def connection_lost(self, error: Exception | None = None) -> None:
        """The stream is closed in both directions: by us, by a reset, by an error.

        Arguments:
            error: what went wrong, if anything did; it becomes the cause of
                :exc:`ConnectionClosed`.
        """
        if self._phase in (Phase.OPEN, Phase.CLOSE_SENT):
            error = error or EOFError("the stream was closed without a close frame")
            self._set_cause(error, remote=False)
        self._step(Input.LOST)

    def data_sent(self, count: int | None = None) -> None:
        """Bytes that were handed out have been written.

        Arguments:
            count: how many, as far as all of them have not been; ``None`` for all.
        """
        if count is None or count >= self._unwritten:
            self._unwritten = 0
        else:
            self._unwritten -= count
        if self._write_timed and count != 0:
            # Progress: if there is more to write, the deadline is set anew when it is asked for.
            self._stop_timing_writes()
        if not self.writable and self._queued + self._unwritten <= self._write_marks.low:
            self.writable = True

    def eof_sent(self) -> None:
        """The end of file that :attr:`stream_action` asked for has been sent."""
        self._step(Input.EOF_SENT)

    def handle_timeout(self) -> None:
        """The clock may have reached :meth:`deadline`; call it then, rather late than early.

        Give what is readable to :meth:`receive_data` before, or the peer is blamed for it.
        """
        now = self._clock()
        for timer in self._timers.expired(now):
            # What is done about one timer may have stopped the next.
            if self._timers.is_running(timer):
                self._expire(timer, now)

    # Commands

    def send(self, message: Data | BytesLike, *, text: bool | None = None, fin: bool = True) -> None:
        """Send a message: ``str`` as text, bytes-like as binary (RFC 6455 section 5.6).

        Arguments:
            text: ``True`` or ``False`` forces text or binary.
            fin: ``False`` for a fragment that is not the last one; the next call continues the
                message, and its type must be the same.

        Raises:
            ConnectionClosed: a close frame has been sent or received, or the connection failed.
            InvalidState: the opening handshake is not done.
            TypeError: the message is neither ``str`` nor bytes-like, or not of the type of the
                fragments before it.
            UnicodeDecodeError: bytes that are to be sent as text are not UTF-8.
        """
        if self._phase is not Phase.OPEN:
            self._refuse_command()
        self._queue(self._writer.message(message, text=text, fin=fin))
        self._messages_sent += fin

    def send_text(self, message: str | BytesLike, *, fin: bool = True) -> None:
        """Send a text message, or a fragment of one; bytes must be UTF-8. See :meth:`send`."""
        self.send(message, text=True, fin=fin)

    def send_binary(self, message: str | BytesLike, *, fin: bool = True) -> None:
        """Send a binary message, or a fragment of one; a ``str`` is encoded. See :meth:`send`."""
        self.send(message, text=False, fin=fin)

    def end_message(self) -> None:
        """Send the empty last fragment of a message whose fragments have all been sent. See :meth:`send`.

        Raises:
            InvalidState: no fragmented message is being sent.
        """
        if not self._writer.building:
            raise InvalidState("no fragmented message is being sent")
        self.send(b"", text=self._writer.text)

    def ping(self, data: Data | BytesLike | None = None) -> bytes:
        """Send a ping (RFC 6455 section 5.5.2), after all messages given before.

        Arguments:
            data: its payload, at most 125 bytes; ``None`` for four random bytes.

        Returns:
            The payload, by which the :class:`~.events.Pong` event tells it.

        Raises:
            ConnectionClosed, InvalidState: see :meth:`send`.
            ValueError: the payload is too long, or a ping with it is still unanswered.
            RuntimeError: too many pings are unanswered (``max_pings``).
        """
        if self._phase is not Phase.OPEN:
            self._refuse_command()
        limit = self._options["max_pings"]
        if limit is not None and len(self._pings) >= limit:
            raise RuntimeError(f"{limit} pings wait for their pong already")
        if data is None:
            payload = self._unused_payload()
        else:
            payload = _control_payload("ping", data)
            if payload in self._pings:
                raise ValueError(f"a ping with the payload {payload!r} waits for its pong already")
        self._pings[payload] = self._clock()
        self._queue(self._writer.frame(FIN | Opcode.PING, payload))
        return payload

    def pong(self, data: Data | BytesLike = b"") -> None:
        """Send a pong that nobody asked for (RFC 6455 section 5.5.3); pings are answered without it.

        Arguments:
            data: its payload, at most 125 bytes.

        Raises:
            ConnectionClosed, InvalidState: see :meth:`send`.
            ValueError: the payload is too long.
        """
        if self._phase is not Phase.OPEN:
            self._refuse_command()
        self._queue(self._writer.frame(FIN | Opcode.PONG, _control_payload("pong", data)))

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2), after all that was given before.

        Does nothing if the connection is closing or closed already.

        Arguments:
            code: 1000 to 1003, 1007 to 1014, 3000 to 4999; 1005 for a close frame without a code.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidState: the opening handshake is not done.
            ValueError: the code or the reason is not allowed.
        """
        serialize_close(code, reason)
        if self._phase is Phase.CONNECTING:
            self._refuse_command()
        if self._phase is Phase.OPEN:
            self._give_close(code, reason)
            self._step(Input.CLOSE_GIVEN)

    def fail(self, error: BaseException, code: int = CloseCode.INTERNAL_ERROR, reason: str = "") -> None:
        """Fail the connection (RFC 6455 section 7.1.7) for a reason of our own.

        What has not been handed out yet is dropped, received bytes mean nothing any more. Does
        nothing if the connection has failed or is closed already.

        Arguments:
            error: the cause, for :exc:`ConnectionClosed`.
            code: for the close frame, unless one has been given before.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidState: the opening handshake is not done.
            ValueError: the code or the reason is not allowed.
        """
        serialize_close(code, reason)
        if self._phase is Phase.CONNECTING:
            self._refuse_command()
        self._fail(error, code, reason, remote=False)

    # Outputs

    def next_message(self) -> Data | None:
        """Take the next message; ``None`` when there is none yet, which asks for it.

        Raises:
            ConcurrencyError: a message has been taken in part by :meth:`next_fragment`.
        """
        self._check_not_streaming()
        if self._reader.messages:
            return self._take_message()
        self._demand = _Demand.MESSAGE
        if not self.wants_read:
            self._update_wants_read()
        return None

    def next_fragment(self) -> Fragment | None:
        """Take what is there of the next message; ``None`` when that is nothing yet.

        Memory is bounded by ``read_limit``, not by the message, from the first call on.
        """
        reader = self._reader
        if reader.messages:
            self._streaming = False
            return Fragment(self._take_message(), True)
        self._demand = _Demand.FRAGMENT
        piece = reader.take_piece()
        if self._phase is Phase.OPEN:
            self._update_wants_read()
        if piece is None:
            return None
        self._streaming = True
        return Fragment(piece, False)

    def events(self, *, messages: bool = True) -> list[Event]:
        """Take everything that happened since the last call, in order.

        Arguments:
            messages: ``False`` leaves the messages to :meth:`next_message`.

        Raises:
            ConcurrencyError: a message has been taken in part by :meth:`next_fragment`.
        """
        if not messages:
            if not self._notices:
                return []
            events = [event for _, event in self._notices]
            self._notices.clear()
            return events
        self._check_not_streaming()
        notices, self._notices = self._notices, deque()
        events = []
        for position, event in notices:
            events += self._take_messages(position - self._taken)
            events.append(event)
        # One more than there are: it is asked for.
        return events + self._take_messages(len(self._reader.messages) + 1)

    def data_to_send(self) -> list[bytes]:
        """Take the buffers to write, in order; each ends with the end of a frame or of its header.

        Call it only when everything that it gave before has been written.
        """
        output = self._output
        if self._pending_pong is not None:
            # "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to
            # previous Ping frame(s), [it] MAY elect to send a Pong frame for only the most recently
            # processed Ping frame." (section 5.5.3)
            pong = self._writer.frame(FIN | Opcode.PONG, self._pending_pong)
            self._pending_pong = None
            output = pong + output
            self._queued += len(pong[0])
        if self._close_frame is not None:
            output = output + self._close_frame
            self._queued += len(self._close_frame[0])
            self._close_frame = None
            self._close_given = True
        if output:
            self._output = []
            self._unwritten += self._queued
            self._bytes_sent += self._queued
            self._queued = 0
            self._keepalive_queued = False
        return output

    def deadline(self) -> float | None:
        """The time of the clock at which to call :meth:`handle_timeout`, or ``None``."""
        if self._unwritten and self._phase is Phase.OPEN and not self._write_timed:
            # Most bytes are written before anybody asks for a deadline, so that this one is rare.
            self._timers.start(Timer.WRITE, self._clock(), self._options["ping_timeout"])
            self._write_timed = True
            self._heard_at_write = self._bytes_received
        return self._timers.next()

    @property
    def stream_action(self) -> StreamAction:
        """What to do with the stream once everything has been written (RFC 6455 section 7.1.1).

        ABORT does not wait for that.
        """
        return self._rules.server if self.side is Side.SERVER else self._rules.client

    # Getters. Besides these: side, subprotocol, extensions, request, response; latency (seconds, of
    # the last ping that was answered, 0.0 before); handshake_error (why the opening handshake
    # failed, or None); wants_read (whether to read from the stream); writable (whether the bytes
    # that wait to be written are below the high-water mark, or were and are not yet below the low).

    @property
    def state(self) -> State:
        """CONNECTING, OPEN, CLOSING or CLOSED; closed means that the stream is."""
        return self._rules.state

    @property
    def id(self) -> uuid.UUID:
        """A random identifier of this connection, for logs."""
        if self._id is None:
            self._id = uuid.UUID(bytes=self._random(16), version=4)
        return self._id

    @property
    def undelivered(self) -> int:
        """How many messages wait to be taken."""
        return len(self._reader.messages)

    @property
    def queued(self) -> int:
        """How many bytes wait to be handed out, beside control frames that are made when they are."""
        return self._queued

    @property
    def unwritten(self) -> int:
        """How many bytes have been handed out and not been reported by :meth:`data_sent`."""
        return self._unwritten

    @property
    def close_code(self) -> int | None:
        """The close code of RFC 6455 section 7.1.5; ``None`` before it is known.

        The one that was received, 1005 if that close frame had none, 1006 without a close frame.
        """
        if self._received_close is not None:
            return self._received_close.code
        return None if self.receiving else CloseCode.ABNORMAL_CLOSURE

    @property
    def close_reason(self) -> str | None:
        """The reason of RFC 6455 section 7.1.6, or ""; ``None`` before it is known."""
        if self._received_close is not None:
            return self._received_close.reason
        return None if self.receiving else ""

    @property
    def receiving(self) -> bool:
        """Whether messages may still come."""
        return self._rules.parses

    def close_exception(self) -> ConnectionClosed:
        """Make the exception that tells how the connection was closed.

        Raises:
            InvalidState: the connection is not closed yet, and not failed: see :attr:`receiving`.
        """
        code, reason = self.close_code, self.close_reason
        if code is None or reason is None:
            if self._sent_close is None:
                raise InvalidState(f"the connection is {self.state.value}, not closed")
            # Ours is on its way: nothing can be sent, whatever the peer will answer.
            code, reason = self._sent_close.code, self._sent_close.reason
        ok = code in (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY)
        exception = (ConnectionClosedOK if ok else ConnectionClosedError)(
            code,
            reason,
            received=self._received_close,
            sent=self._sent_close,
            received_first=self._received_first,
        )
        exception.__cause__ = self._cause
        return exception

    @property
    def statistics(self) -> Statistics:
        """What has passed so far."""
        return Statistics(
            messages_received=self._taken + len(self._reader.messages),
            messages_sent=self._messages_sent,
            frames_received=self._reader.frames,
            frames_sent=self._writer.frames,
            bytes_received=self._bytes_received,
            bytes_sent=self._bytes_sent,
        )

    # The phases

    def _step(self, cause: Input) -> None:
        """Go to the next phase, if the tables have one."""
        phase = TRANSITIONS[self._phase].get(cause)
        if phase is None:
            return
        self._phase = phase
        self._rules = rules = PHASES[phase]
        timers = self._timers
        timers.stop(Timer.OPENING)
        if rules.state is not State.OPEN:
            timers.stop(Timer.PING)
            timers.stop(Timer.PONG)
            timers.stop(Timer.WRITE)
            # The peer's close frame, or the end of its stream, must be reached; then there is nothing.
            self.wants_read = self.stream_action in (StreamAction.KEEP, StreamAction.SEND_EOF)
        if rules.closing_timer is ClosingTimer.STOP:
            timers.stop(Timer.CLOSING)
        elif rules.closing_timer is ClosingTimer.START or not timers.is_running(Timer.CLOSING):
            timers.start(Timer.CLOSING, self._clock(), self._options["close_timeout"])

    def _refuse_command(self) -> None:
        if self._phase is Phase.CONNECTING:
            raise InvalidState("the opening handshake is not done")
        raise self.close_exception()

    def _set_cause(self, error: BaseException, *, remote: bool) -> None:
        """Remember what went wrong; what it leads to is not the cause."""
        if self._cause is None:
            self._cause = error
        self._notify(Failure(error, remote, self._sent_close))

    def _notify(self, event: Event) -> None:
        self._notices.append((self._taken + len(self._reader.messages), event))

    def _refuse(self, error: Exception) -> None:
        """The opening handshake failed."""
        self.handshake_error = error
        self._set_cause(error, remote=True)
        self._step(Input.REFUSED)

    # Time

    def _expire(self, timer: Timer, now: float) -> None:
        """A deadline has passed. All but one judge the peer, who may be innocent."""
        if timer is Timer.PING:
            self._timers.start(Timer.PING, now, self._options["ping_interval"])
            self._send_keepalive(now)
            return
        if timer is Timer.PONG and self._bytes_received != self._heard_at_ping:
            self._stop_awaiting_pong()
            return
        if timer is Timer.WRITE and self._bytes_received != self._heard_at_write:
            self._stop_timing_writes()
            return
        late = self._timers.forgive(timer, now)
        if late is not None:
            self._notify(Late(timer, late))
        elif timer is Timer.PONG:
            error = TimeoutError(f"nothing received for {self._options['ping_timeout']} seconds after a ping")
            self._fail(error, CloseCode.INTERNAL_ERROR, "keepalive ping timeout", remote=True)
        elif timer is Timer.WRITE:
            error = TimeoutError(f"no progress writing for {self._options['ping_timeout']} seconds")
            self._set_cause(error, remote=True)
            self._step(Input.STALLED)
        else:
            self._expire_handshake(timer)

    def _expire_handshake(self, timer: Timer) -> None:
        """The deadline for closing, or in subclasses for opening, has passed."""
        if self._phase is Phase.CLOSE_SENT:
            error = TimeoutError(f"no close frame received for {self._options['close_timeout']} seconds")
            self._set_cause(error, remote=True)
        self._step(Input.EXPIRED)

    def _send_keepalive(self, now: float) -> None:
        if self._keepalive_queued:
            # The peer does not read: one more ping would say nothing that the last one does not.
            return
        limit = self._options["max_pings"]
        if limit is None or len(self._pings) < limit:
            payload = self._unused_payload()
            self._pings[payload] = now
            self._queue(self._writer.frame(FIN | Opcode.PING, payload))
            self._keepalive_queued = True
        # If there are too many already, any of those asks for life as well.
        if self._pong_awaited and self._bytes_received == self._heard_at_ping:
            return
        self._pong_awaited = True
        self._heard_at_ping = self._bytes_received
        if self.wants_read:
            self._timers.start(Timer.PONG, now, self._options["ping_timeout"])

    def _stop_timing_writes(self) -> None:
        self._write_timed = False
        self._timers.stop(Timer.WRITE)

    def _stop_awaiting_pong(self) -> None:
        self._pong_awaited = False
        self._timers.stop(Timer.PONG)

    def _unused_payload(self) -> bytes:
        payload = self._random(4)
        while payload in self._pings:
            payload = self._random(4)
        return payload

    # Receiving

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.PING:
            if not self._close_given:
                self._pending_pong = payload
            self._notify(Ping(payload))
        elif opcode == Opcode.PONG:
            self._receive_pong(payload)
        else:
            self._receive_close(parse_close_frame(payload))

    def _receive_pong(self, payload: bytes) -> None:
        answered: list[tuple[bytes, float]] = []
        if payload in self._pings:
            now = self._clock()
            # Pings are answered in order, and perhaps only the latest: so the earlier ones are, too.
            for data in list(self._pings):
                answered.append((data, now - self._pings.pop(data)))
                if data == payload:
                    break
            self.latency = answered[-1][1]
        self._notify(Pong(payload, tuple(answered)))

    def _receive_close(self, close: Close) -> None:
        self._received_close = close
        self._notify(close)
        if self._sent_close is None:
            self._received_first = True
            # "it typically echos the status code it received" (section 5.5.1)
            self._give_close(close.code, "")
        else:
            self._received_first = False
        self._step(Input.CLOSE_RECEIVED)

    def _fail(self, error: BaseException, code: int, reason: str, *, remote: bool) -> None:
        """Fail the connection, after every good message before the error."""
        if Input.ERROR not in TRANSITIONS[self._phase]:
            return
        self._give_close(code, reason, drop=True)
        self._set_cause(error, remote=remote)
        self._step(Input.ERROR)
        self._reader.drop_all_but_messages()

    def _update_wants_read(self) -> None:
        """Compare what is undelivered with the marks; they matter while the connection is open."""
        if self._phase is not Phase.OPEN:
            return
        count, size = len(self._reader.messages), self._undelivered()
        if self.wants_read:
            if count >= self._max_queue.high or size >= self._read_marks.high:
                self.wants_read = False
                self._timers.stop(Timer.PONG)
        elif count <= self._max_queue.low and size <= self._read_marks.low:
            self.wants_read = True
            if self._pong_awaited:
                # The pong may have been there all the time, behind what we did not read.
                self._timers.start(Timer.PONG, self._clock(), self._options["ping_timeout"])

    def _undelivered(self) -> int:
        """Bytes that count against ``read_limit``."""
        if self._demand is _Demand.MESSAGE or (self._demand is _Demand.NOTHING and self._bounded):
            return self._reader.pending
        # Nobody asks for the whole of the message under construction.
        return self._reader.pending + self._reader.buffered

    def _drop_beyond_marks(self, queued: int) -> None:
        """Drop of the messages beyond the first ``queued`` those that there is no room for.

        And all that follow: what is delivered must have no gaps.
        """
        reader = self._reader
        dropping = self._dropping
        while len(reader.messages) > queued and (
            dropping
            or len(reader.messages) > self._max_queue.high
            or self._undelivered() > self._read_marks.high
        ):
            reader.drop_last()
            self._dropping = True
        if reader.building and (self._dropping or self._undelivered() > self._read_marks.high):
            reader.drop_building()
            self._dropping = True

    def _check_not_streaming(self) -> None:
        if self._streaming and (self._reader.messages or self.receiving):
            raise ConcurrencyError("a message is being received in pieces: receive its last piece first")

    def _take_messages(self, count: int) -> list[Event]:
        messages: list[Event] = []
        while len(messages) < count and (message := self.next_message()) is not None:
            messages.append(message)
        return messages

    def _take_message(self) -> Data:
        self._taken += 1
        self._demand = _Demand.NOTHING
        message = self._reader.take_message()
        if not self.wants_read:
            self._update_wants_read()
        return message

    # Sending

    def _queue(self, buffers: list[bytes]) -> None:
        for buffer in buffers:
            self._output.append(buffer)
            self._queued += len(buffer)
        if self._queued + self._unwritten > self._write_marks.high:
            self.writable = False

    def _give_close(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Put the close frame behind everything else, or in its place."""
        if drop:
            self._output = []
            self._queued = 0
            self._pending_pong = None
        if self._sent_close is None:
            self._sent_close = Close(code, reason)
            self._close_frame = self._writer.frame(FIN | Opcode.CLOSE, serialize_close(code, reason))


def _control_payload(kind: str, data: Data | BytesLike) -> bytes:
    payload = encode_data(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"{kind} payload is {len(payload)} bytes, at most {MAX_CONTROL_PAYLOAD} fit")
    return payload

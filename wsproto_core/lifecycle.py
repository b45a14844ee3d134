"""The life of a connection: its phases, its deadlines, control frames and the closing handshake.

:class:`Lifecycle` runs from the tables in :mod:`.states`. It is the part of :class:`~.protocol.Protocol` that
the inputs, commands and outputs have in common: the attributes that a phase sets, the end of the opening
handshake, expired timers, control frames, the closing handshake (RFC 6455 section 7), and the getters that
are rarely asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from .closing import GOOD_CODES, NOT_CLOSING, Closing, parse_close_frame, serialize_close, shorten_reason
from .events import Event, Failure, Ping, Pong, TimerOverdue
from .exceptions import ConnectionClosed, InvalidState, PayloadTooBig, ProtocolError
from .extensions.base import Extension
from .frames import Opcode
from .http import Request, Response
from .inbox import Inbox
from .keepalive import Keepalive
from .observing import NOBODY, Observer
from .opening import End, Handshake
from .options import CommonSettings
from .outbox import Outbox
from .randomness import random_bytes
from .states import PHASES, TIMERS, TRANSITIONS, Bytes, ClosingTimer, Input, Phase, Reading, TimerRules
from .statistics import Statistics, collect
from .timers import Timer, Timers
from .types import Close, CloseCode, Side, State, Subprotocol

if TYPE_CHECKING:
    import uuid

__all__ = ["Lifecycle"]

# To look a member up in its class costs more than to compare it.
_OPEN, _SERVER, _CLOSING = State.OPEN, Side.SERVER, Timer.CLOSING
_PARSED, _DROPPED = Bytes.PARSED, Bytes.DROPPED
_BACKPRESSURE, _TO_END = Reading.BACKPRESSURE, Reading.TO_END
_STOP, _START_HALF, _RUN = ClosingTimer.STOP, ClosingTimer.START_HALF, ClosingTimer.RUN

_SLOTS = """
    state receiving has_input has_events wants_read writable stream_action side good_codes extensions
    subprotocol request response handshake_error _phase _handshake _settings _inbox _outbox _timers
    _closing _keepalive _observer _clock _random _id _bytes_received _messages_sent
    _taken_by_events __weakref__
"""


class Lifecycle:
    """The state of a connection, its phases and its deadlines. Treat the attributes as read-only.

    Attributes:
        side: whether this is the server or the client.
        state: CONNECTING, OPEN, CLOSING or CLOSED (RFC 6455 sections 4 and 7); CLOSED means that the
            stream is closed, too.
        receiving: whether messages may still arrive.
        has_input: whether the application can receive something: a message, a piece of one if
            :meth:`~.protocol.Protocol.next_fragment` was asked last, or the end (``not receiving``); or
            whether bytes are left to be decoded, which may give that. While it is false, the application
            waits.
        has_events: whether there are events beside messages.
        wants_read: read backpressure: whether to read from the stream. While it is false, the
            application has to receive messages first, or a server to answer the request.
        writable: write backpressure: whether to send more. It turns false at the high watermark of
            ``write_limit``, and true again at the low one.
        stream_action: what to do with the stream once everything has been written (RFC 6455
            section 7.1.1); ABORT does not wait for that.
        subprotocol: the subprotocol that was negotiated.
        extensions: the extensions that were negotiated, in order.
        request: the opening handshake's request, once it is known.
        response: the response to it, once it is known.
        handshake_error: the reason why the opening handshake failed, or ``None``.
        good_codes: the close codes for which :meth:`close_exception` makes a :exc:`ConnectionClosedOK`:
            1000, 1001 and 1005, unless others are set.
    """

    __slots__ = _SLOTS.split()

    def __init__(
        self,
        side: Side,
        clock: Callable[[], float],
        random: Callable[[int], bytes] | None,
        settings: CommonSettings,
        handshake: Handshake | None,
    ) -> None:
        """
        Args:
            side, clock, random: see :class:`~.protocol.Protocol`.
            settings: the parsed options.
            handshake: the opening handshake, or ``None``.
        """
        self.side = side
        self.good_codes: Collection[int] = GOOD_CODES
        self._observer: Observer = NOBODY
        self._handshake = handshake
        self.subprotocol: Subprotocol | None = None
        self.extensions: Sequence[Extension] = ()
        self.request: Request | None = None
        self.response: Response | None = None
        self.handshake_error: Exception | None = None
        self._clock = clock
        self._random = random_bytes if random is None else random
        self._settings = settings
        self.has_input = self.has_events = False
        self.receiving = True
        self.writable = True
        self._timers = Timers()
        self._id: uuid.UUID | None = None
        self._bytes_received = 0
        self._messages_sent = 0
        keys = self._random if side is Side.CLIENT else None
        self._outbox = Outbox(self, keys, settings.write_limit)
        self._keepalive = Keepalive(self._timers, settings, self._random)
        self._inbox = Inbox(self, settings, masked=side is Side.SERVER)
        self._taken_by_events = False
        self._closing = NOT_CLOSING
        self._enter(Phase.CONNECTING)

    # Getters

    @property
    def send_queue(self) -> Outbox:
        """The send queue, for broadcasts (:mod:`.broadcast`) and for streams that are written at once."""
        return self._outbox

    @property
    def latency(self) -> float:
        """Seconds from the last ping that was answered to its pong; 0.0 before there was one."""
        return self._keepalive.latency

    @property
    def id(self) -> uuid.UUID:
        """A random identifier of this connection, for logs."""
        if self._id is None:
            import uuid  # for logs only

            self._id = uuid.UUID(bytes=self._random(16), version=4)
        return self._id

    @property
    def undelivered(self) -> int:
        """Number of messages in the receive queue."""
        return len(self._inbox.messages)

    @property
    def queued(self) -> int:
        """Bytes in the send queue, without the control frames that are made when it is emptied."""
        return self._outbox.queued

    @property
    def unwritten(self) -> int:
        """Bytes that :meth:`data_to_send` has returned and :meth:`data_sent` has not reported."""
        return self._outbox.unwritten

    @property
    def close_code(self) -> int | None:
        """The close code of RFC 6455 section 7.1.5; ``None`` before it is known.

        The code of the close frame that was received, 1005 if it had none, 1006 without a close frame.
        """
        return None if self.receiving else self._closing.conclusion().code

    @property
    def close_reason(self) -> str | None:
        """The reason of RFC 6455 section 7.1.6, or ""; ``None`` before it is known."""
        return None if self.receiving else self._closing.conclusion().reason

    def close_exception(self) -> ConnectionClosed:
        """Make the exception that describes how the connection was closed.

        Raises:
            InvalidState: the connection is neither closed nor failed: see :attr:`receiving`.
        """
        if self.receiving and self._closing.sent is None:
            raise InvalidState(f"the connection is {self.state.value}, not closed")
        return self._closing.exception(receiving=self.receiving, good_codes=self.good_codes)

    @property
    def statistics(self) -> Statistics:
        """The counters and times of the connection so far."""
        return collect(
            self._inbox,
            self._outbox,
            self._keepalive,
            self.extensions,
            self._messages_sent,
            self._bytes_received,
        )

    # The phases

    def _use_extensions(self, extensions: Sequence[Extension]) -> None:
        self.extensions = tuple(extensions)
        self._inbox.reader.use_extensions(self.extensions, self._observer)
        self._outbox.writer.use_extensions(self.extensions, self._observer)

    def _open(self, extensions: Sequence[Extension], subprotocol: Subprotocol | None) -> None:
        """The opening handshake is done."""
        self.subprotocol = subprotocol
        if extensions:
            self._use_extensions(extensions)
        self._step(Input.ACCEPTED)
        now = self._clock()
        self._keepalive.open(self.extensions, now)
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            data = handshake.trailing_data
            if data:
                # Frames may follow the opening handshake in the same segment.
                self._inbox.receive(data)
                self._update_input()

    def _step(self, cause: Input) -> None:
        """Go to the next phase, if the tables have one."""
        phase = TRANSITIONS[self._phase].get(cause)
        if phase is None:
            return
        self._enter(phase)
        if self.state is not _OPEN and self._outbox.measures:
            # Backpressure of a connection that is closing does not count.
            self._outbox.finish_measuring()

    def _enter(self, phase: Phase) -> None:
        """Set the phase, and do everything that the tables say about it."""
        self._phase = phase
        self.state, received, timers, closing_timer, server, client = PHASES[phase]
        self.stream_action, reading = server if self.side is _SERVER else client
        self._timers.allow(timers)
        accepts_broadcasts = self.state is _OPEN and received is _PARSED
        if accepts_broadcasts is not self._outbox.accepts_broadcasts:
            self._outbox.set_open(accepts_broadcasts)
        if self.state is State.CLOSED:
            # A stream that was lost, or closed at once, has not taken all, and takes nothing more.
            self._outbox.drop_all()
        inbox = self._inbox
        if reading is not _BACKPRESSURE:
            inbox.read_to_end(reading is _TO_END)
        self.wants_read = inbox.wants_read
        receiving = received is not _DROPPED
        if receiving is not self.receiving:
            self.receiving = receiving
            self.has_input = True
            inbox.end()
        if closing_timer is _STOP:
            self._timers.stop(_CLOSING)
        elif closing_timer is not _RUN or not self._timers.is_running(_CLOSING):
            timeout = self._settings.close_timeout
            if closing_timer is _START_HALF and timeout is not None:
                timeout /= 2
            self._timers.start(_CLOSING, self._clock(), timeout)

    def _is_parsing(self) -> bool:
        """Whether the conversation is on: frames are expected, and the peer's close frame."""
        return PHASES[self._phase].received is _PARSED

    def _opening(self) -> Handshake | None:
        """The opening handshake, while it is under way."""
        return self._handshake if self.state is State.CONNECTING else None

    def _check_opened(self) -> None:
        """Refuse a command while the opening handshake is not done."""
        if self.state is State.CONNECTING:
            raise InvalidState("the opening handshake is not done")

    def _check_open(self) -> None:
        """Refuse a command that needs an open connection."""
        self._check_opened()
        if self.state is not State.OPEN:
            raise self._closing.exception(
                receiving=self.receiving, good_codes=self.good_codes, after_close=True
            )

    def _begin_closing(self) -> Closing:
        """Return where to store what ends the connection."""
        if self._closing is NOT_CLOSING:
            self._closing = Closing()
        return self._closing

    def _set_cause(self, error: BaseException, *, remote: bool, lost: bool = True) -> None:
        """Store the first error. In the phase that follows there is no second error."""
        self._begin_closing().fail(error, lost=lost)
        self._notify(Failure(error, remote, self._closing.sent))

    def _receive_handshake(self, handshake: Handshake, data: bytes) -> None:
        """Give bytes to the opening handshake, and do what follows."""
        outcome = handshake.receive_data(data)
        self.request = handshake.request
        self.wants_read = handshake.wants_read
        if handshake.time_left is not None:
            self._timers.shorten(Timer.OPENING, self._clock(), handshake.time_left)
        if isinstance(outcome, Request):
            self._notify(outcome)
        elif outcome is not None:
            self._end_handshake(outcome)

    def _end_handshake(self, end: End) -> None:
        """The opening handshake is done: open the connection, or refuse it."""
        if isinstance(end, Exception):
            self._refuse(end)
            return
        for event in end.events:
            self._notify(event)
        self.response = end.response
        self._observer.response(end.response)
        if end.data:
            self._outbox.open(end.data)
        if end.error is None:
            self._open(end.extensions, end.subprotocol)
        elif end.remote:
            self._refuse(end.error)
        else:
            self.handshake_error = end.error
            self._step(Input.REFUSED)

    def _refuse(self, error: Exception) -> None:
        """The opening handshake failed."""
        self.handshake_error = error
        self._set_cause(error, remote=True, lost=False)
        self._step(Input.REFUSED)

    # Time

    def _expire(self, timer: Timer, now: float) -> None:
        """Do what the tables say about a deadline that has passed."""
        rules = TIMERS[timer]
        if timer is Timer.PONG and self._keepalive.peer_is_alive(self._bytes_received):
            return
        overdue = self._timers.forgive(timer, now) if rules.forgives_lateness else None
        if overdue is not None:
            self._notify(TimerOverdue(timer, overdue))
        elif self._closing.deferred is not None:
            self._conclude()
        elif rules.cause is None:
            (self._send_keepalive if timer is Timer.PING else self._release_idle)(now)
        else:
            self._time_out(rules, rules.cause, self._timers.period(timer))

    def _time_out(self, rules: TimerRules, cause: Input, seconds: float) -> None:
        handshake = self._handshake
        if handshake is not None and rules.error is None:
            self._end_handshake(handshake.expire())
        elif rules.error is not None and self._is_parsing():
            error = TimeoutError(rules.error.format(seconds=seconds))
            if rules.close is not None:
                self._fail(error, rules.close, remote=True, cause=cause)
                return
            self._set_cause(error, remote=True)
        self._step(cause)

    def _send_keepalive(self, now: float) -> None:
        """Send the ping that is due, unless the last one has not been written: the peer does not read."""
        self._keepalive.start(now)
        if self._outbox.ping_unwritten:
            return
        payload = self._keepalive.next_ping(now)
        if payload is None:
            self._ping_written()
        else:
            self._outbox.add_control(Opcode.PING, payload)
            self._outbox.time_ping()

    def _release_idle(self, now: float) -> None:
        self._keepalive.release_idle(now, self._messages_sent + self._inbox.taken + self.undelivered)

    def _ping_written(self) -> None:
        self._keepalive.ping_written(self._clock(), self._bytes_received, reading=self.wants_read)

    # Receiving

    def _notify(self, event: Event) -> None:
        """Add an event that is no message."""
        self._inbox.notify(event)
        self.has_events = True

    def _update_input(self) -> None:
        inbox = self._inbox
        self.has_input = bool(inbox.messages) or not self.receiving or inbox.has_piece

    def _resume(self) -> None:
        """Decode the rest of the received bytes, for which there was no room before."""
        self._inbox.resume()
        self._update_input()

    def _stop_reading(self) -> None:
        """Read backpressure begins: a pong may have arrived behind the bytes that are not read."""
        self.wants_read = False
        self._keepalive.suspend()

    def _resume_reading(self) -> None:
        self.wants_read = True
        self._keepalive.resume(self._clock())

    def _receive_eof(self) -> None:
        """Take the end of the stream; if received bytes wait to be parsed, it takes effect after them."""
        if not self._inbox.end_of_stream(waits=self._closing.deferred is not None):
            # The peer's close frame may be among these bytes.
            return
        if self._is_parsing():
            where = "within a message" if self._inbox.reader.incomplete else "without a close frame"
            # One attempt to tell the peer: it may have ended its sending half only.
            self._queue_close(Close(CloseCode.PROTOCOL_ERROR, f"end of stream {where}"), drop=True)
            self._set_cause(EOFError(f"the peer ended the stream {where}"), remote=True)
        self._step(Input.EOF_RECEIVED)

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.PING:
            self._outbox.answer_ping(payload, self._bytes_received)
            self._notify(Ping(payload))
        elif opcode == Opcode.PONG:
            self._notify(Pong(payload, self._keepalive.answer(payload, self._clock())))
        else:
            self._receive_close(parse_close_frame(payload))

    def _receive_close(self, close: Close) -> None:
        if self._defer(close):
            return
        self._begin_closing().receive(close)
        self._notify(close)
        # "it typically echos the status code it received" (section 5.5.1)
        self._queue_close(Close(close.code) if close.reason else close)
        self._step(Input.CLOSE_RECEIVED)

    def _receive_error(self, error: ProtocolError | PayloadTooBig) -> None:
        if not self._defer(error):
            self._fail(error, Close(error.code, shorten_reason(str(error))), remote=True)

    def _defer(self, end: Close | ProtocolError | PayloadTooBig) -> bool:
        """Defer the peer's close frame, or an error in its input, if messages wait in the receive queue.

        The application can still answer these messages: the answers are sent before the close frame. The
        close frame or the error takes effect when the application asks for more messages, when it
        closes, and after half of ``close_timeout`` at the latest.

        Args:
            end: the close frame or the error.

        Returns:
            Whether it is deferred.
        """
        waits = self.undelivered or self._inbox.collecting
        if not waits or Input.DEFERRED not in TRANSITIONS[self._phase]:
            return False
        self._begin_closing().deferred = end
        self._taken_by_events = False
        self._step(Input.DEFERRED)
        self._inbox.reader.drop_all_but_messages()
        return True

    def _conclude(self) -> None:
        """Let the deferred close frame or error take effect, if there is one."""
        end = self._closing.deferred
        if end is None:
            return
        self._closing.deferred = None
        if isinstance(end, Close):
            self._receive_close(end)
        else:
            self._receive_error(end)
        self._resume()

    def _fail(
        self,
        error: BaseException,
        close: Close,
        *,
        remote: bool,
        payload: bytes = b"",
        cause: Input = Input.ERROR,
    ) -> None:
        """Fail the connection (RFC 6455 section 7.1.7). Messages before the error can still be taken."""
        if cause not in TRANSITIONS[self._phase]:
            return
        # Queued frames are dropped, except for answers to the messages before a deferred error.
        self._queue_close(close, payload, drop=self._is_parsing())
        self._set_cause(error, remote=remote, lost=remote and isinstance(error, TimeoutError))
        self._step(cause)
        self._inbox.reader.drop_all_but_messages()
        self._resume()

    def _queue_close(self, close: Close, payload: bytes = b"", *, drop: bool = False) -> None:
        """Queue a close frame behind all other frames, unless one has been queued.

        Args:
            close: the code and the reason.
            payload: the payload made of them, if it has been made.
            drop: whether the frames that have not been handed out are dropped.
        """
        if drop:
            self._outbox.drop()
        if self._closing.sent is None:
            self._begin_closing().sent = close
            self._outbox.close(payload or serialize_close(close.code, close.reason))

"""One connection's state machine after the opening handshake, and what both sides share.

It has three inputs, bytes, calls and time, and two outputs, events and bytes. It does no I/O and
reads no clock: see :class:`Protocol` for how it is driven.

The phases of a connection are tables in :mod:`.states`, deadlines are in :mod:`.timers`, frames and
messages in :mod:`.frames` and :mod:`.messages`. Here is what joins them: control frames, closing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Unpack

from .closing import Closing
from .events import Event, Failure, Fragment, Late, Ping, Pong
from .exceptions import InvalidState, PayloadTooBig, ProtocolError
from .extensions.base import Extension
from .frames import Opcode, control_payload, parse_close_frame, serialize_close, shorten_reason
from .getters import Getters
from .http import Request, Response
from .inbox import Inbox
from .keepalive import Idleness, Keepalive, Pings
from .limits import watermarks
from .observing import NOBODY, Observer
from .options import CommonOptions, resolve
from .outbox import Outbox
from .prepared import Message
from .randomness import random_bytes
from .states import (
    CLOSE_DEFERRED,
    CONNECTING,
    OPEN,
    PHASES,
    TRANSITIONS,
    ClosingTimer,
    Input,
    Phase,
    PhaseRules,
)
from .timers import Timer, Timers
from .types import BytesLike, Close, CloseCode, Data, Side, State, StreamAction, Subprotocol

__all__ = ["Protocol"]


class Protocol(Getters):
    """A WebSocket connection without I/O. Its methods are of four kinds.

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

    It does not wait as long as a step did something: what was written may have made room to send,
    what was taken may have made room to read, and the end of the stream has events of its own.

    This class itself is for a byte stream that has been opened for WebSocket in another way, for
    example by HTTP/2 (RFC 8441): it begins open. :class:`~.handshake.client.ClientProtocol` and
    :class:`~.handshake.server.ServerProtocol` begin with the opening handshake.
    """

    _observer = NOBODY

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
        Args:
            side: whether this is the server or the client.
            clock: returns the time in seconds; any origin, never going back.
            random: a strong source of bytes (RFC 6455 section 10.3), given their number; ``None``
                for ``os.urandom``, drawn in batches.
            extensions, subprotocol: what was negotiated, in order.
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
        self.request: Request | None = None
        self.response: Response | None = None
        self.handshake_error: Exception | None = None
        self._clock = clock
        self._random = random_bytes if random is None else random
        self._options = options
        self.has_input = False
        self.has_events = False
        self.writable = True
        self._enter(CONNECTING)
        self._timers = Timers()
        self._id: uuid.UUID | None = None
        self._bytes_received = 0
        self._messages_sent = 0
        keys = self._random if side is Side.CLIENT else None
        self._outbox = Outbox(keys, watermarks(options["write_limit"], 4), clock)
        self._pings = Pings(self._random, options["max_pings"])
        self._keepalive = Keepalive(
            self._pings, self._timers, options["ping_interval"], options["ping_timeout"]
        )
        self._inbox = Inbox(
            options,
            masked=side is Side.SERVER,
            control=self._receive_control,
            on_error=self._receive_error,
            on_end=self.receive_eof,
            on_stop=self._stop_reading,
            on_resume=self._resume_reading,
            clock=clock,
        )
        self.wants_read = self._inbox.wants_read
        self._outbox.on_ping_written = self._ping_written
        self._outbox.on_writable = self._set_writable
        self._write_timed = False
        self._taken_by_events = False
        self._idleness = Idleness(self._timers)
        self._closing = Closing()

    def observe(self, observer: Observer) -> None:
        """Tell of the opening handshake and all frames; raise :exc:`InvalidState` if there were any."""
        if self._inbox.begun or self._outbox.writer.frames:
            raise InvalidState("frames have passed already: observe a connection from its beginning")
        self._observer = observer
        self._use_extensions(self.extensions)
        if self.request is not None:
            observer.request(self.request)

    def _use_extensions(self, extensions: Sequence[Extension]) -> None:
        self.extensions = tuple(extensions)
        self._inbox.use_extensions(self.extensions, self._observer)
        self._outbox.use_extensions(self.extensions, self._observer)

    def _open(self, extensions: Sequence[Extension], subprotocol: Subprotocol | None) -> None:
        """The opening handshake is done."""
        self.subprotocol = subprotocol
        if extensions:
            self._use_extensions(extensions)
        self._step(Input.ACCEPTED)
        now = self._clock()
        self._keepalive.start(now)
        self._idleness.start(self.extensions, now)

    # Inputs

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the peer, in any chunking; the cost is linear in their number.

        Nothing is raised: what is wrong with them becomes a :class:`~.events.Failure` event. After
        that, or after a close frame, they are dropped.
        """
        data = data if type(data) is bytes else bytes(data)
        self._bytes_received += len(data)
        if self._phase is CONNECTING:
            self._receive_handshake(data)
        elif self.receiving:
            inbox = self._inbox
            inbox.receive(data)
            self.has_input = bool(inbox.reader.messages) or not self.receiving or inbox.has_piece

    def _receive_handshake(self, data: BytesLike) -> None:
        """Take bytes of the opening handshake: for the classes that have one."""

    def receive_eof(self) -> None:
        """The peer has ended its half of the stream."""
        if not self._inbox.end_of_stream(waits=self._closing.deferred is not None):
            # Its close frame may be among what was received before.
            return
        if self._phase in (OPEN, Phase.CLOSE_SENT):
            where = "within a message" if self._inbox.reader.incomplete else "without a close frame"
            # One attempt to tell: it may have ended its sending half only.
            self._give_close(CloseCode.PROTOCOL_ERROR, f"end of stream {where}", drop=True)
            self._set_cause(EOFError(f"the peer ended the stream {where}"), remote=True)
        self._step(Input.EOF_RECEIVED)

    def connection_lost(self, error: Exception | None = None) -> None:
        """The stream is closed in both directions: by us, by a reset, by an error.

        When a write fails, there may be something left to read: read to the end before.

        Args:
            error: what went wrong, if anything did: the cause of :exc:`ConnectionClosed`.
        """
        self._inbox.read_to_end(False)
        self._resume()
        self._conclude()
        if self._phase in (OPEN, Phase.CLOSE_SENT):
            error = error or EOFError("the stream was closed without a close frame")
            self._set_cause(error, remote=False)
        self._step(Input.LOST)

    def data_sent(self, count: int | None = None) -> None:
        """Bytes that were handed out have been written.

        Args:
            count: how many, as far as all of them have not been; ``None`` for all.
        """
        self._outbox.written(count)
        if self._write_timed and count != 0:
            # Progress: if there is more to write, the deadline is set anew when it is asked for.
            self._stop_timing_writes()

    def eof_sent(self) -> None:
        """The end of file that :attr:`stream_action` asked for has been sent."""
        self._step(Input.EOF_SENT)

    def handle_timeout(self) -> None:
        """The clock may have reached :meth:`deadline`. Nothing happens if it has not.

        Give what is readable to :meth:`receive_data` before, or the peer is blamed for it.
        """
        now = self._clock()
        for timer in self._timers.expired(now):
            # What is done about one timer may have stopped the next.
            if self._timers.is_running(timer):
                self._expire(timer, now)

    # Commands

    def send(
        self,
        message: Message,
        *,
        text: bool | None = None,
        fin: bool = True,
        compress: bool | None = None,
    ) -> None:
        """Send a message: ``str`` as text, bytes-like as binary (RFC 6455 section 5.6), or a prepared one.

        Args:
            text: ``True`` or ``False`` forces text or binary.
            fin: ``False`` for a fragment that is not the last one; the next call continues the
                message, and its type must be the same.
            compress: ``True`` or ``False`` compresses this message or does not, if compression was
                negotiated; ``None`` leaves it to the extension. What the first fragment says holds.

        Raises:
            ConnectionClosed: a close frame has been sent or received, or the connection failed.
            InvalidState: the opening handshake is not done; or a prepared message comes among fragments.
            TypeError: the message is neither ``str`` nor bytes-like, or not of the type of the
                fragments before it.
            UnicodeDecodeError: bytes that are to be sent as text are not UTF-8.
        """
        if self._phase is not OPEN:
            self._check_open()
        outbox = self._outbox
        outbox.add(outbox.writer.message(message, text=text, fin=fin, compress=compress))
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
        writer = self._outbox.writer
        if not writer.building:
            raise InvalidState("no fragmented message is being sent")
        self.send(b"", text=writer.text)

    def ping(self, data: Data | BytesLike | None = None) -> bytes:
        """Send a ping (RFC 6455 section 5.5.2), after all messages given before.

        Args:
            data: its payload, at most 125 bytes; ``None`` for four random bytes.

        Returns:
            The payload, by which the :class:`~.events.Pong` event tells it.

        Raises:
            ConnectionClosed, InvalidState: see :meth:`send`.
            ValueError: the payload is too long, or a ping with it is still unanswered.
            RuntimeError: too many pings are unanswered (``max_pings``).
        """
        if self._phase is not OPEN:
            self._check_open()
        wanted = None if data is None else control_payload("ping", data)
        payload = self._pings.add(wanted, self._clock())
        self._outbox.add_control(Opcode.PING, payload)
        return payload

    def pong(self, data: Data | BytesLike = b"") -> None:
        """Send a pong that nobody asked for (RFC 6455 section 5.5.3), with a payload like a ping's.

        Raises:
            ConnectionClosed, InvalidState, ValueError: see :meth:`ping`.
        """
        if self._phase is not OPEN:
            self._check_open()
        self._outbox.add_control(Opcode.PONG, control_payload("pong", data))

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2), after all that was given before.

        Does nothing if the connection is closing or closed already.

        Args:
            code: 1000 to 1003, 1007 to 1014, 3000 to 4999; 1005 for a close frame without a code.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidState: the opening handshake is not done.
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        serialize_close(code, reason)
        self._check_opened()
        self._conclude()
        if self._phase is OPEN:
            self._give_close(code, reason)
            self._step(Input.CLOSE_GIVEN)
            # The peer's close frame may be behind what nobody wants any more.
            self._resume()

    def fail(self, error: BaseException, code: int = CloseCode.INTERNAL_ERROR, reason: str = "") -> None:
        """Fail the connection (RFC 6455 section 7.1.7) for a reason of our own.

        What has not been handed out is dropped, received bytes mean nothing any more. Does nothing if
        the connection has failed or is closed.

        Args:
            error: the cause, for :exc:`ConnectionClosed`.
            code: for the close frame, unless one has been given before.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidState: the opening handshake is not done.
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        serialize_close(code, reason)
        self._check_opened()
        self._conclude()
        self._fail(error, code, reason, remote=False)

    # Outputs

    def next_message(self) -> Data | None:
        """Take the next message; ``None`` when there is none yet, which asks for it.

        Raises:
            ConcurrencyError: a message has been taken in part by :meth:`next_fragment`.
        """
        inbox = self._inbox
        message = inbox.next_message()
        if message is None and self._phase is CLOSE_DEFERRED:
            self._conclude()
        self.has_input = bool(inbox.reader.messages) or not self.receiving
        return message

    def next_fragment(self) -> Fragment | None:
        """Take what is there of the next message; ``None`` when that is nothing yet.

        Memory is bounded by ``read_limit``, not by the message, from the first call on.
        """
        fragment = self._inbox.next_fragment()
        if fragment is None and self._phase is CLOSE_DEFERRED:
            self._conclude()
        self._update_input()
        return fragment

    def stop_waiting(self) -> None:
        """Whoever asked for a message or a piece of one has given up; nothing is lost by that."""
        self._inbox.stop_waiting()
        self._update_input()

    def events(self, *, messages: bool = True) -> list[Event]:
        """Take everything that happened since the last call, in order.

        Args:
            messages: ``False`` leaves the messages to :meth:`next_message`.

        Raises:
            ConcurrencyError: a message has been taken in part by :meth:`next_fragment`.
        """
        if not messages:
            self.has_events = False
            return self._inbox.notices()
        if self._phase is CLOSE_DEFERRED and not self.undelivered:
            self._conclude()
        events = self._inbox.events()
        self.has_events = False
        self._update_input()
        self._taken_by_events = True
        return events

    def data_to_send(self) -> list[bytes]:
        """Take the buffers to write, in order; each ends with the end of a frame or of its header.

        Call it only when everything that it gave before has been written.
        """
        if self._phase is CLOSE_DEFERRED and self._taken_by_events and not self.undelivered:
            self._conclude()
        return self._outbox.take()

    def deadline(self) -> float | None:
        """The time of the clock at which to call :meth:`handle_timeout`, or ``None``.

        Ask after writing: what has not been written by then has a deadline from then on.
        """
        if self._outbox.unwritten and self._phase is OPEN and not self._write_timed:
            # Most bytes are written before anybody asks for a deadline, so that this one is rare.
            self._timers.start(Timer.WRITE, self._clock(), self._options["ping_timeout"])
            self._write_timed = True
        return self._timers.next()

    # The phases

    def _step(self, cause: Input) -> None:
        """Go to the next phase, if the tables have one."""
        phase = TRANSITIONS[self._phase].get(cause)
        if phase is None:
            return
        rules = self._enter(phase)
        self._outbox.ready = None
        if rules.state is not State.OPEN:
            self._outbox.blocked.finish()
        if phase is not OPEN:
            # Once the stream is to be closed there is nothing to be read.
            ends = self.stream_action not in (StreamAction.KEEP, StreamAction.SEND_EOF)
            self._inbox.read_to_end(not ends and phase is not CLOSE_DEFERRED)
        self.wants_read = self._inbox.wants_read
        if rules.over:
            self._inbox.end()
            self.has_input = True
        timers = self._timers
        timers.stop_all_but(Timer.CLOSING)
        closing_timer = rules.closing_timer
        if closing_timer is ClosingTimer.STOP:
            timers.stop(Timer.CLOSING)
        elif closing_timer is not ClosingTimer.RUN or not timers.is_running(Timer.CLOSING):
            timeout = self._options["close_timeout"]
            if closing_timer is ClosingTimer.START_HALF and timeout is not None:
                timeout /= 2
            timers.start(Timer.CLOSING, self._clock(), timeout)

    def _enter(self, phase: Phase) -> PhaseRules:
        """Set the phase, and what it means to the outside."""
        self._phase = phase
        rules = PHASES[phase]
        self.state = rules.state
        self.receiving = not rules.over
        self.stream_action = rules.server if self.side is Side.SERVER else rules.client
        return rules

    def _check_opened(self) -> None:
        """Refuse a command while the opening handshake is not done."""
        if self._phase is CONNECTING:
            raise InvalidState("the opening handshake is not done")

    def _check_open(self) -> None:
        """Refuse a command that needs an open connection."""
        self._check_opened()
        if self.state is not State.OPEN:
            raise self._closing.exception(
                receiving=self.receiving, good_codes=self.good_codes, after_close=True
            )

    def _set_cause(self, error: BaseException, *, remote: bool, lost: bool = True) -> None:
        """Remember the first error. The phase that it leads to knows no second error."""
        self._closing.fail(error, lost=lost)
        self._notify(Failure(error, remote, self._closing.sent))

    def _refuse(self, error: Exception) -> None:
        """The opening handshake failed."""
        self.handshake_error = error
        self._set_cause(error, remote=True, lost=False)
        self._step(Input.REFUSED)

    # Time

    def _expire(self, timer: Timer, now: float) -> None:
        """A deadline has passed. All but the first two judge the peer, who may be innocent."""
        if timer is Timer.PING:
            payload = self._keepalive.next_ping(now, self._bytes_received)
            if payload is not None:
                self._outbox.add_control(Opcode.PING, payload)
                self._outbox.time_ping()
            return
        if timer is Timer.IDLE:
            self._idleness.expire(now, self._messages_sent + self._inbox.taken + self.undelivered)
            return
        if timer is Timer.PONG and self._keepalive.lives(self._bytes_received):
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
        if self._phase is CLOSE_DEFERRED:
            self._conclude()
            return
        if self._phase is Phase.CLOSE_SENT:
            error = TimeoutError(f"no close frame received for {self._options['close_timeout']} seconds")
            self._set_cause(error, remote=True)
        self._step(Input.EXPIRED)

    def _ping_written(self) -> None:
        self._keepalive.written(self._clock(), self._bytes_received)

    def _stop_timing_writes(self) -> None:
        self._write_timed = False
        self._timers.stop(Timer.WRITE)

    # Receiving

    def _notify(self, event: Event) -> None:
        """Add an event that is no message."""
        self._inbox.notify(event)
        self.has_events = True

    def _update_input(self) -> None:
        inbox = self._inbox
        self.has_input = bool(inbox.reader.messages) or not self.receiving or inbox.has_piece

    def _resume(self) -> None:
        """Go on with what was received and could not be decoded, as there was no room for it."""
        self._inbox.resume()
        self._update_input()

    def _stop_reading(self) -> None:
        """Read backpressure begins: a pong may have come, behind what is not read."""
        self.wants_read = False
        self._keepalive.suspend()

    def _resume_reading(self) -> None:
        self.wants_read = True
        self._keepalive.resume(self._clock())

    def _set_writable(self, writable: bool) -> None:
        self.writable = writable

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.PING:
            self._outbox.answer_ping(payload, self._bytes_received)
            self._notify(Ping(payload))
        elif opcode == Opcode.PONG:
            self._notify(Pong(payload, self._pings.answer(payload, self._clock())))
        else:
            self._receive_close(parse_close_frame(payload))

    def _receive_close(self, close: Close) -> None:
        if self._defer(close):
            return
        self._closing.receive(close)
        self._notify(close)
        # "it typically echos the status code it received" (section 5.5.1)
        self._give_close(close.code, "")
        self._step(Input.CLOSE_RECEIVED)

    def _receive_error(self, error: ProtocolError | PayloadTooBig) -> None:
        if not self._defer(error):
            self._fail(error, error.code, shorten_reason(str(error)), remote=True)

    def _defer(self, end: Close | ProtocolError | PayloadTooBig) -> bool:
        """Let the peer's close frame, or an error in its input, wait behind messages, if there are any.

        The application can still answer them: the answers go out before the close frame. Whoever asks
        for more messages, or closes, makes it take effect; at the latest, half of ``close_timeout`` does.
        """
        waits = self.undelivered or self._inbox.collecting
        if not waits or Input.DEFERRED not in TRANSITIONS[self._phase]:
            return False
        self._closing.deferred = end
        self._taken_by_events = False
        self._step(Input.DEFERRED)
        self._inbox.reader.drop_all_but_messages()
        return True

    def _conclude(self) -> None:
        """Let the close frame or the error take effect that has been deferred, if there is one."""
        end, self._closing.deferred = self._closing.deferred, None
        if end is None:
            return
        if isinstance(end, Close):
            self._receive_close(end)
        else:
            self._receive_error(end)
        self._resume()

    def _fail(self, error: BaseException, code: int, reason: str, *, remote: bool) -> None:
        """Fail the connection, after every good message before the error."""
        if Input.ERROR not in TRANSITIONS[self._phase]:
            return
        # Of what was given before the error was found, answers to deferred messages still go out.
        self._give_close(code, reason, drop=self._phase is not CLOSE_DEFERRED)
        self._set_cause(error, remote=remote, lost=remote and isinstance(error, TimeoutError))
        self._step(Input.ERROR)
        self._inbox.reader.drop_all_but_messages()
        self._resume()

    def _give_close(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Put a close frame behind everything else, or in its place, unless one has been given."""
        if drop:
            self._outbox.drop()
        if self._closing.sent is None:
            self._closing.sent = Close(code, reason)
            self._outbox.close(serialize_close(code, reason))

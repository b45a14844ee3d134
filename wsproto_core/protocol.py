"""The state machine of one WebSocket connection: its inputs, commands and outputs.

It has three inputs, bytes, calls and time, and two outputs, events and bytes. It does no I/O and
reads no clock: see :class:`Protocol` for how it is driven.

The phases, the deadlines and the closing handshake run in :mod:`.lifecycle`, from the tables in
:mod:`.states`; frames and messages are in :mod:`.frames` and :mod:`.messages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

from .closing import serialize_close
from .events import Event, Failure, Fragment
from .exceptions import InvalidState
from .extensions.base import Extension
from .frames import Opcode, control_payload
from .lifecycle import Lifecycle
from .observing import Observer
from .opening import Handshake
from .options import CommonOptions, CommonSettings, resolve
from .prepared import Message
from .states import TRANSITIONS, Input, Phase
from .timers import Timer
from .types import BytesLike, Close, CloseCode, Data, Side, State, Subprotocol

__all__ = ["Protocol"]

# To look a member up in its class costs more than to compare it.
_OPEN = State.OPEN
_WRITE = Timer.WRITE.position


class Protocol(Lifecycle):
    """A WebSocket connection without I/O. Its methods are of four kinds.

    *Inputs* tell the connection what has happened: :meth:`receive_data`, :meth:`buffer_updated`,
    :meth:`receive_eof`, :meth:`connection_lost`, :meth:`data_sent`, :meth:`eof_sent`,
    :meth:`handle_timeout`.

    *Commands* send and close: :meth:`send_text`, :meth:`send_binary`, :meth:`send`,
    :meth:`ping`, :meth:`pong`, :meth:`close`, :meth:`fail`, and a server's ``accept`` and
    ``reject``. They raise :exc:`ConnectionClosed` after the close.

    *Outputs* return the results, after any of these: :meth:`events` or :meth:`next_message` and
    :meth:`next_fragment`; :meth:`data_to_send`; :meth:`get_buffer`; :meth:`deadline`;
    :attr:`stream_action`.

    *Attributes and getters* change nothing: :attr:`state`, :attr:`has_input`, :attr:`wants_read`, ...

    An embedder repeats this:

    1. Wait until the stream is readable (if :attr:`wants_read`), or writable (if bytes are left to
       write), or :meth:`deadline` has come.
    2. If bytes came, give them to :meth:`receive_data`; at the end of the stream call
       :meth:`receive_eof`; if reading or writing raised, :meth:`connection_lost`.
    3. If bytes were written, call :meth:`data_sent`.
    4. If the deadline has come, call :meth:`handle_timeout`: after 2, so that no peer is blamed for
       bytes that were there to be read.
    5. Handle :meth:`events`.
    6. If all earlier bytes have been written, write :meth:`data_to_send`. Not before: so the output
       for a peer that does not read cannot grow.
    7. If there is nothing left to write, do what :attr:`stream_action` says, and report it by
       :meth:`eof_sent` or :meth:`connection_lost`.

    It does not wait as long as a step did something: written bytes may have made room to send, taken
    messages may have made room to read, and the end of the stream has events of its own.

    This class itself is for a byte stream that has been opened for WebSocket in another way, for
    example by HTTP/2 (RFC 8441): it begins open. :class:`~.handshake.client.ClientProtocol` and
    :class:`~.handshake.server.ServerProtocol` begin with the opening handshake.
    """

    __slots__ = ()

    def __init__(
        self,
        side: Side,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes] | None = None,
        extensions: Sequence[Extension] = (),
        subprotocol: Subprotocol | None = None,
        settings: CommonSettings | None = None,
        handshake: Handshake | None = None,
        **options: Unpack[CommonOptions],
    ) -> None:
        """
        Args:
            side: whether this is the server or the client.
            clock: returns the time in seconds; any origin, never going back.
            random: a strong source of bytes (RFC 6455 section 10.3), given their number; ``None``
                for ``os.urandom``, drawn in batches.
            extensions, subprotocol: what was negotiated, in order.
            settings: options that were parsed before, by :func:`.resolve`; ``None`` for the defaults.
            handshake: the opening handshake with which the connection begins; ``None`` for a stream
                that has been opened in another way: the connection is open.
            options: see :data:`~.options.OPTIONS`.

        Raises:
            TypeError: an option is unknown or has the wrong type.
            ValueError: an option's value is not allowed.
        """
        settings = resolve(CommonSettings, options, settings)
        super().__init__(side, clock, random, settings, handshake)
        if handshake is None:
            self._open(extensions, subprotocol)
        else:
            self._timers.start(Timer.OPENING, clock(), settings.open_timeout)

    def observe(self, observer: Observer) -> None:
        """Tell of the opening handshake and all frames; raise :exc:`InvalidState` if there were any."""
        if self._inbox.reader.frames or self._inbox.reader.incomplete or self._outbox.writer.frames:
            raise InvalidState("frames have passed already: observe a connection from its beginning")
        self._observer = observer
        if self._handshake is not None:
            self._handshake.observer = observer
        self._use_extensions(self.extensions)
        if self.request is not None:
            observer.request(self.request)

    # Inputs

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the peer, in any chunking; the cost is linear in their number.

        No exception is raised: an error in the bytes becomes a :class:`~.events.Failure` event. After an
        error or a close frame, bytes are dropped.

        Args:
            data: the bytes.
        """
        data = data if type(data) is bytes else bytes(data)
        self._bytes_received += len(data)
        handshake = self._handshake
        if handshake is not None and self.state is State.CONNECTING:
            self._receive_handshake(handshake, data)
        elif self.receiving:
            inbox = self._inbox
            inbox.receive(data)
            if inbox.messages:
                self.has_input = True
            else:
                self._update_input()

    def get_buffer(self) -> memoryview | None:
        """Return memory into which bytes from the peer can be received, instead of :meth:`receive_data`.

        It is that of a large message that is being received, so that its bytes need not be copied. Write to
        its beginning, and call :meth:`buffer_updated` before any other input; or do not use it.

        Returns:
            The memory; ``None`` if a read that gives ``bytes`` is as good.
        """
        return self._inbox.reader.reserve() if self.receiving else None

    def buffer_updated(self, count: int) -> None:
        """Take the bytes from the peer that have been written into the memory of :meth:`get_buffer`.

        Args:
            count: their number, at least 1. The memory must not be written to after this.
        """
        self._bytes_received += count
        if self.receiving:
            self._inbox.receive(b"", count)
            self._update_input()

    def receive_eof(self) -> None:
        """The peer has ended its half of the stream."""
        if (handshake := self._opening()) is not None:
            self._end_handshake(handshake.receive_eof())
        self._receive_eof()

    def connection_lost(self, error: Exception | None = None) -> None:
        """The stream is closed in both directions: by us, by a reset, by an error.

        Frames that have not been handed out are dropped. When a write fails, bytes may be left to read:
        read to the end before.

        Args:
            error: the error, if there was one: the cause of :exc:`ConnectionClosed`.
        """
        if (handshake := self._opening()) is not None:
            self._end_handshake(handshake.connection_lost(error))
        self._inbox.read_to_end(False)
        self._resume()
        self._conclude()
        if self._is_parsing():
            self._set_cause(error or EOFError("the stream was closed without a close frame"), remote=False)
        self._step(Input.LOST)
        self._inbox.drop_owner()

    def data_sent(self, count: int | None = None) -> None:
        """Bytes that were handed out have been written.

        Args:
            count: the number of bytes; ``None`` if all have been written.
        """
        self._outbox.written(count)
        if count != 0 and self._timers.running[_WRITE] is not None:
            # Progress: if there is more to write, the deadline is set anew when it is asked for.
            self._timers.stop(Timer.WRITE)

    def eof_sent(self) -> None:
        """The end of file that :attr:`stream_action` asked for has been sent."""
        self._step(Input.EOF_SENT)

    def handle_timeout(self) -> None:
        """Handle the deadlines that have passed; before :meth:`deadline`, this does nothing.

        Give readable bytes to :meth:`receive_data` before: otherwise the connection may fail although the
        peer has answered.
        """
        now = self._clock()
        for timer in self._timers.expired(now):
            # One timer's expiry may have stopped the next timer.
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
                negotiated; ``None`` leaves it to the extension. The value of the first fragment counts.

        Raises:
            ConnectionClosed: a close frame has been sent or received, or the connection failed.
            InvalidState: the opening handshake is not done; or a prepared message comes among fragments.
            TypeError: the message is neither ``str`` nor bytes-like, or not of the type of the
                fragments before it.
            UnicodeDecodeError: bytes that are to be sent as text are not UTF-8.
        """
        if self.state is not _OPEN:
            self._check_open()
        self._outbox.add_message(message, text, fin, compress)
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
        if not self._outbox.writer.building:
            raise InvalidState("no fragmented message is being sent")
        self.send(b"", text=self._outbox.writer.text)

    def ping(self, data: Data | BytesLike | None = None) -> bytes:
        """Send a ping (RFC 6455 section 5.5.2), after all queued messages.

        Args:
            data: its payload, at most 125 bytes; ``None`` for four random bytes.

        Returns:
            The payload, which identifies the ping in the :class:`~.events.Pong` event.

        Raises:
            ConnectionClosed, InvalidState: see :meth:`send`.
            ValueError: the payload is too long, or a ping with it is still unanswered.
            RuntimeError: too many pings are unanswered (``max_pings``).
        """
        self._check_open()
        wanted = None if data is None else control_payload("ping", data)
        payload = self._keepalive.add(wanted, self._clock())
        self._outbox.add_control(Opcode.PING, payload)
        return payload

    def pong(self, data: Data | BytesLike = b"") -> None:
        """Send an unsolicited pong (RFC 6455 section 5.5.3).

        Args:
            data: its payload, at most 125 bytes.

        Raises:
            ConnectionClosed, InvalidState, ValueError: see :meth:`ping`.
        """
        self._check_open()
        self._outbox.add_control(Opcode.PONG, control_payload("pong", data))

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2), after all queued frames.

        Does nothing if the connection is closing or closed already.

        Args:
            code: 1000 to 1003, 1007 to 1014, 3000 to 4999; 1005 for a close frame without a code.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidState: the opening handshake is not done.
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        payload = serialize_close(code, reason)
        self._check_opened()
        self._conclude()
        if Input.CLOSE_GIVEN in TRANSITIONS[self._phase]:
            self._queue_close(Close(code, reason), payload)
            self._step(Input.CLOSE_GIVEN)
            # The peer's close frame may be behind bytes for which there was no room.
            self._resume()

    def fail(self, error: BaseException, code: int = CloseCode.INTERNAL_ERROR, reason: str = "") -> None:
        """Fail the connection (RFC 6455 section 7.1.7) because of an error of the application.

        Frames that have not been handed out are dropped, and so are received bytes from now on. Does nothing
        if the connection has failed or is closed.

        Args:
            error: the cause, for :exc:`ConnectionClosed`.
            code: for the close frame, unless one has been queued before.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidState: the opening handshake is not done.
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        payload = serialize_close(code, reason)
        self._check_opened()
        self._conclude()
        self._fail(error, Close(code, reason), payload=payload, remote=False)

    # For programs that share a connection among threads

    def encode(
        self, message: Message, *, text: bool | None = None, fin: bool = True, compress: bool | None = None
    ) -> list[bytes]:
        """Do the first half of :meth:`send`, which may take long, without the lock that guards the protocol.

        No other message may be encoded meanwhile, and :meth:`send_encoded` must follow before the next.
        If it cannot, nothing more may be sent: the next compressed message might refer to this one.

        Args:
            message, text, fin, compress: see :meth:`send`.

        Returns:
            Buffers for :meth:`send_encoded`.

        Raises:
            ConnectionClosed, InvalidState, TypeError, UnicodeDecodeError: see :meth:`send`.
        """
        self._check_open()
        return self._outbox.encode(message, text, fin, compress)

    def send_encoded(self, buffers: list[bytes], *, fin: bool = True) -> None:
        """Do the second half of :meth:`send`, with the lock.

        Args:
            buffers: the buffers that :meth:`encode` returned.
            fin: as it was given to :meth:`encode`.

        Raises:
            ConnectionClosed: the connection has been closed meanwhile, or is closing.
        """
        self._check_open()
        self._outbox.add(buffers)
        self._messages_sent += fin

    def give_up(self, error: Exception) -> None:
        """Close the connection after an exception in the middle of a method, as from a signal handler.

        It is not known how far that method has got. So nothing is parsed and nothing is sent any more;
        complete messages can still be taken. The stream has to be closed. This may be called more than once.

        Args:
            error: the cause, for :exc:`ConnectionClosed`.
        """
        self._inbox.reader.drop_all_but_messages()
        self._timers.allow(())
        if self.state is not State.CLOSED:
            if self._closing.cause is None:
                self._begin_closing().fail(error, lost=False)
            self._notify(Failure(error, False, self._closing.sent))
        self._begin_closing().deferred = None
        self._enter(Phase.CLOSED)

    # Outputs

    def next_message(self) -> Data | None:
        """Take the next message from the receive queue, or ask for it.

        Returns:
            The message; ``None`` if there is none yet.

        Raises:
            ConcurrencyError: a message has been taken in part by :meth:`next_fragment`.
        """
        inbox = self._inbox
        message = inbox.next_message()
        if message is None and self._closing.deferred is not None:
            self._conclude()
        self.has_input = bool(inbox.messages) or not self.receiving or inbox.reader.suspended
        return message

    def next_fragment(self) -> Fragment | None:
        """Take the part of the next message that has arrived, or ask for it.

        From the first call on, ``read_limit`` bounds the memory, not the size of the message.

        Returns:
            The part; ``None`` if nothing has arrived yet.
        """
        fragment = self._inbox.next_fragment()
        if fragment is None and self._closing.deferred is not None:
            self._conclude()
        self._update_input()
        return fragment

    def stop_waiting(self) -> None:
        """Withdraw the request for a message or a piece of one; nothing is lost."""
        self._inbox.stop_waiting()
        self._update_input()

    def events(self, *, messages: bool = True) -> list[Event]:
        """Take all events since the last call, in order.

        Args:
            messages: ``False`` leaves the messages to :meth:`next_message`.

        Returns:
            The events; a message is its own event.

        Raises:
            ConcurrencyError: a message has been taken in part by :meth:`next_fragment`.
        """
        if not messages:
            self.has_events = False
            return self._inbox.notices()
        if self._closing.deferred is not None and not self.undelivered:
            self._conclude()
        events = self._inbox.events()
        self.has_events = False
        self._update_input()
        self._taken_by_events = True
        return events

    def data_to_send(self) -> list[bytes]:
        """Take the buffers to write, in order; each ends with the end of a frame or of its header.

        Call it only when all earlier buffers have been written.
        """
        if self._closing.deferred is not None and self._taken_by_events and not self.undelivered:
            self._conclude()
        return self._outbox.take()

    def deadline(self) -> float | None:
        """Return the time of the clock at which to call :meth:`handle_timeout`, or ``None``.

        Ask after writing: bytes that are unwritten then have a deadline from then on.
        """
        timers = self._timers
        if self._outbox.unwritten and not timers.is_running(Timer.WRITE):
            # Most bytes are written before this method is called, so that this deadline is rare.
            timers.start(Timer.WRITE, self._clock(), self._settings.ping_timeout)
        return timers.next

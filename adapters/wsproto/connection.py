"""A connection after its opening handshake: events into bytes, bytes into events."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from .events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage
from .extensions import Extension
from .frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed
from .utilities import LocalProtocolError

__all__ = ["CLIENT", "SERVER", "Connection", "ConnectionState", "ConnectionType"]


class ConnectionState(Enum):
    """The state of a connection."""

    CONNECTING = 0
    """The opening handshake is not done."""
    OPEN = 1
    """Messages can be sent and received."""
    REMOTE_CLOSING = 2
    """The peer has sent a close frame or broken a rule, and no close frame has been sent."""
    LOCAL_CLOSING = 3
    """A close frame has been sent, and none received."""
    CLOSED = 4
    """Nothing can be sent or received any more."""
    REJECTING = 5
    """The opening handshake has been refused, and the body of the response is not complete."""


class ConnectionType(Enum):
    """The end of a connection."""

    CLIENT = 1
    """The client's."""
    SERVER = 2
    """The server's."""


CLIENT = ConnectionType.CLIENT
SERVER = ConnectionType.SERVER


class Connection:
    """One end of a connection after its opening handshake.

    Attributes:
        client: whether it is the client's end.
    """

    def __init__(
        self,
        connection_type: ConnectionType,
        extensions: list[Extension] | None = None,
        trailing_data: bytes = b"",
    ) -> None:
        """
        Args:
            connection_type: the end.
            extensions: those that were negotiated; ``None`` for none.
            trailing_data: bytes that were received behind the opening handshake.
        """
        self.client = connection_type is ConnectionType.CLIENT
        self._proto = FrameProtocol(self.client, extensions or [])
        self._state = ConnectionState.OPEN
        self._lost = False  # whether the end of the stream has to be told
        self.receive_data(trailing_data)

    @property
    def state(self) -> ConnectionState:
        """The state."""
        return self._state

    def send(self, event: Event) -> bytes:
        """Return the bytes to send for an event.

        Args:
            event: a :class:`Message`, :class:`Ping`, :class:`Pong` or :class:`CloseConnection`.

        Raises:
            LocalProtocolError: the state does not allow it, or a close frame may not have this code.
            TypeError: a message has another type, or a fragment is not of the type of those before.
            ValueError: the payload of a ping or pong is longer than 125 bytes.
        """
        is_open = self._state is ConnectionState.OPEN
        if isinstance(event, Message) and is_open:
            return self._proto.send_data(event.data, event.message_finished)
        if isinstance(event, Ping) and is_open:
            return self._proto.ping(event.payload)
        if isinstance(event, Pong) and is_open:
            return self._proto.pong(event.payload)
        if isinstance(event, CloseConnection) and (is_open or self._state is ConnectionState.REMOTE_CLOSING):
            data = self._proto.close(event.code, event.reason)
            self._state = ConnectionState.LOCAL_CLOSING if is_open else ConnectionState.CLOSED
            return data
        raise LocalProtocolError(f"Event {event} cannot be sent in state {self._state}.")

    def receive_data(self, data: bytes | None) -> None:
        """Take bytes from the peer: :meth:`events` parses them.

        Args:
            data: the bytes; ``None`` at the end of the stream.

        Raises:
            LocalProtocolError: the connection is closed.
        """
        if data is None:
            # "If _The WebSocket Connection is Closed_ and no Close control frame was received", the code is
            # 1006 (RFC 6455 section 7.1.5).
            self._lost = self._state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)
            self._state = ConnectionState.CLOSED
        elif self._state is ConnectionState.CLOSED:
            raise LocalProtocolError("Connection already closed.")
        elif self._state is not ConnectionState.REMOTE_CLOSING:
            self._proto.receive_bytes(data)

    def events(self) -> Iterator[Event]:
        """Return an iterator over the events of the bytes that have been received."""
        try:
            for frame in self._proto.received_frames():
                yield self._event(frame)
        except ParseFailed as error:
            # The program answers as to a close frame, and the peer is told what it did (section 7.1.7).
            self._end()
            yield CloseConnection(error.code, str(error))
        if self._lost:
            self._lost = False
            yield CloseConnection(CloseReason.ABNORMAL_CLOSURE)

    def _event(self, frame: Frame) -> Event:
        payload = frame.payload
        if isinstance(payload, tuple):
            self._end()
            return CloseConnection(*payload)
        if isinstance(payload, str):
            return TextMessage(payload, frame.frame_finished, frame.message_finished)
        if frame.opcode is Opcode.PING:
            return Ping(payload)
        if frame.opcode is Opcode.PONG:
            return Pong(payload)
        return BytesMessage(payload, frame.frame_finished, frame.message_finished)

    def _end(self) -> None:
        """Nothing is received any more."""
        is_open = self._state is ConnectionState.OPEN
        self._state = ConnectionState.REMOTE_CLOSING if is_open else ConnectionState.CLOSED
        self._lost = False

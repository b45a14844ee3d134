"""WebSocket as events, without I/O, for programs written for wsproto 1.

``from adapters import wsproto`` stands for ``import wsproto``: the modules, names and arguments are those
that such programs know. New programs are better off with :mod:`wsproto_core`, which also has the time, the
limits and the order of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import events as events
from . import extensions as extensions
from . import frame_protocol as frame_protocol
from . import typing as typing
from . import utilities as utilities
from .connection import Connection, ConnectionState, ConnectionType
from .events import Event
from .handshake import H11Handshake
from .typing import Headers

__version__ = "1.3.2"
"""The version of wsproto of which this package has the names."""

__all__ = ["Connection", "ConnectionState", "ConnectionType", "WSConnection"]


class WSConnection:
    """One end of a connection, from its opening handshake on.

    Attributes:
        client: whether it is the client's end.
        handshake: the opening handshake.
        connection: the connection when it is open; ``None`` before that.
    """

    def __init__(self, connection_type: ConnectionType) -> None:
        """
        Args:
            connection_type: the end.
        """
        self.client = connection_type is ConnectionType.CLIENT
        self.handshake = H11Handshake(connection_type)
        self.connection: Connection | None = None

    @property
    def state(self) -> ConnectionState:
        """The state."""
        return self.handshake.state if self.connection is None else self.connection.state

    def initiate_upgrade_connection(self, headers: Headers, path: bytes | str) -> None:
        """Take a request that another parser has read: see :meth:`.H11Handshake.initiate_upgrade_connection`.

        Args:
            headers: its headers.
            path: its target.
        """
        self.handshake.initiate_upgrade_connection(headers, path)

    def send(self, event: Event) -> bytes:
        """Return the bytes to send for an event.

        Args:
            event: the event.

        Raises:
            LocalProtocolError: the state does not allow it.
        """
        if self.connection is not None:
            return self.connection.send(event)
        data = self.handshake.send(event)
        self.connection = self.handshake.connection
        return data

    def receive_data(self, data: bytes | None) -> None:
        """Take bytes from the peer: call :meth:`events` after that.

        Args:
            data: the bytes; ``None`` at the end of the stream.

        Raises:
            RemoteProtocolError: the peer broke a rule of the opening handshake.
            LocalProtocolError: the connection is closed.
        """
        if self.connection is not None:
            self.connection.receive_data(data)
        else:
            self.handshake.receive_data(data)
            self.connection = self.handshake.connection

    def events(self) -> Iterator[Event]:
        """Return an iterator over the events of the bytes that have been received."""
        yield from self.handshake.events()
        if self.connection is not None:
            yield from self.connection.events()

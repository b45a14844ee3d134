"""Clients on runtimes with structured concurrency."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, TypeVar, Unpack

from ..client import ClientProtocol
from ..exceptions import HandshakeTimeout
from ..options import (
    ClientOptions,
    ConnectOptions,
    check_alternatives,
    check_names,
    complete_tls,
    split_options,
)
from ..typing import State
from ..uri import WebSocketURI, parse_uri
from .connection import StructuredConnection
from .runtime import Opening, Tasks, Transport

__all__ = ["StructuredClientConnection", "StructuredConnect"]


class StructuredClientConnection(StructuredConnection):
    """A client's connection."""

    protocol: ClientProtocol

    def __init__(self, uri: str | WebSocketURI, **options: Unpack[ConnectOptions]) -> None:
        """
        Arguments:
            uri: a WebSocket URI.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        ours, _ = split_options(ClientOptions, options)
        protocol = ClientProtocol(uri, clock=self.runtime.get_clock(), **ours)
        super().__init__(protocol, options.get("logger"))

    async def wait_opened(self) -> None:
        """Wait until the opening handshake is done.

        Raises:
            InvalidHandshake: it failed.
        """
        await self._wait_until(lambda: self.protocol.state is not State.CONNECTING)
        if self.protocol.handshake_error is not None:
            raise self.protocol.handshake_error


T = TypeVar("T", bound=StructuredClientConnection)


class StructuredConnect(Opening[T], Generic[T]):
    """What ``connect`` returns: an asynchronous context manager; awaitable, if it was given tasks.

    Attributes:
        create: makes the connection object, if no option says what does.
        option_names: those of ``connect``, ours and the adapter's.
        missing_tasks: what is wrong with awaiting it otherwise.
    """

    create: Callable[..., T]
    option_names: Iterable[str]
    missing_tasks: str

    def __init__(self, uri: str, path: str | None, tasks: Tasks | None, options: Any) -> None:
        """
        Arguments:
            uri: a WebSocket URI.
            path: where a Unix socket is; ``None`` for TCP.
            tasks: where the connection lives, if it is awaited.
            options: those of ``connect``.
        """
        self.uri = parse_uri(uri)
        self.options, stream_options = split_options(ConnectOptions, options)
        self.stream_options = complete_tls(self.uri, stream_options)
        check_names(self.option_names, self.stream_options)
        check_alternatives(path=path, **self.stream_options)
        self.path = path
        self.host = self.options.get("host") or self.uri.host
        self.port = self.options.get("port") or self.uri.port
        self._given_tasks = tasks
        self._create: Callable[..., T] = self.options.pop("create_protocol", None) or self.create

    @abstractmethod
    async def _open_transport(self) -> Transport:
        """Connect to the server, TLS included."""

    async def _open(self, tasks: Tasks) -> T:
        connection = self._create(self.uri, **self.options)
        deadline = connection.protocol.deadline()
        transport: Transport | None = None
        with self.runtime.open_scope(math.inf if deadline is None else deadline):
            transport = await self._open_transport()
        if transport is None:
            raise HandshakeTimeout(f"no stream to {self.uri.host} within open_timeout")
        await connection.start(tasks, transport)
        try:
            await connection.wait_opened()
        except BaseException:
            connection.abandon()
            raise
        return connection

    def __await__(self) -> Generator[Any, Any, T]:
        if self._given_tasks is None:
            raise TypeError(self.missing_tasks)
        return self._open(self._given_tasks).__await__()

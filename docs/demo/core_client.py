"""A WebSocket client made from the bare protocol core and a blocking socket.

This is all that it takes to put :class:`~wsproto_core.ClientProtocol` on a transport of one's own:
:meth:`BlockingClient._turn` follows the steps that :class:`~wsproto_core.Protocol` lists. Nothing
in this file knows about frames, masking, fragments or the closing handshake.

It is kept simple. Who waits for something reads the socket; while nobody does, pings are not
answered. And a write blocks, even if the other side waits for us to read first; a complete client
would wait for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from wsproto_core import (
    ClientProtocol,
    CloseCode,
    Data,
    Pong,
    State,
    Statistics,
    StreamAction,
)

P = ParamSpec("P")
T = TypeVar("T")


class BlockingClient:
    """A connection whose methods block.

    Arguments:
        uri: where to connect to: a ``ws:`` URI.
        max_size: limit on a received message in bytes.
    """

    def __init__(self, uri: str, *, max_size: int) -> None:
        self.protocol = ClientProtocol(uri, clock=time.monotonic, max_size=max_size)
        self._messages: deque[Data] = deque()
        self._pongs: dict[bytes, float] = {}
        target = self.protocol.uri
        self._socket = socket.create_connection((target.host, target.port), timeout=10)
        # Small messages shall not wait for larger ones.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while self.protocol.state is State.CONNECTING:
            self._turn()
        if self.protocol.handshake_error is not None:
            self._socket.close()
            raise self.protocol.handshake_error

    def send(self, message: Data) -> None:
        """Send a message."""
        self.protocol.send(message)
        self._write()

    def recv(self) -> Data:
        """Wait for a message."""
        while not self._messages:
            if self.protocol.state is State.CLOSED:
                raise self.protocol.close_exception()
            self._turn()
        return self._messages.popleft()

    def ping(self) -> float:
        """Send a ping, wait for its pong, return the latency in seconds."""
        payload = self.protocol.ping()
        while payload not in self._pongs:
            if self.protocol.state is State.CLOSED:
                raise self.protocol.close_exception()
            self._turn()
        return self._pongs.pop(payload)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Do the closing handshake, and wait until TCP is closed."""
        self.protocol.close(code, reason)
        while self.protocol.state is not State.CLOSED:
            self._turn()

    def abort(self) -> None:
        """Make whoever waits give up; may be called from another thread."""
        with contextlib.suppress(OSError):  # It may be closed already.
            self._socket.shutdown(socket.SHUT_RDWR)

    def _turn(self) -> None:
        """Write what there is to write, wait for bytes or the deadline, see what happened."""
        self._write()
        if self.protocol.state is State.CLOSED:
            return
        deadline = self.protocol.deadline()
        # A timeout of 0 would make the socket non-blocking.
        self._socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
        try:
            data = self._socket.recv(2**16)
        except TimeoutError:
            self.protocol.handle_timeout()
        except OSError as error:
            self._lost(error)
        else:
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
        for event in self.protocol.events():
            match event:
                case str() | bytes():
                    self._messages.append(event)
                case Pong(answered=answered):
                    self._pongs.update(answered)

    def _write(self) -> None:
        """Write everything, then do with the stream what is to be done."""
        protocol = self.protocol
        try:
            if protocol.stream_action is not StreamAction.ABORT and (buffers := protocol.data_to_send()):
                self._socket.sendall(b"".join(buffers))
                protocol.data_sent()
            if protocol.stream_action is StreamAction.SEND_EOF:
                self._socket.shutdown(socket.SHUT_WR)
                protocol.eof_sent()
        except OSError as error:
            self._lost(error)
        if protocol.stream_action in (StreamAction.CLOSE, StreamAction.ABORT):
            self._lost(None)

    def _lost(self, error: OSError | None) -> None:
        self._socket.close()
        self.protocol.connection_lost(error)


class ThreadedClient:
    """The blocking client in a thread of its own, for those who can't wait.

    Its methods are those of the asyncio adapter's connection, so that the demo can use either.
    """

    def __init__(self, thread: ThreadPoolExecutor, client: BlockingClient) -> None:
        self._thread = thread
        self._client = client

    @classmethod
    async def connect(cls, uri: str, *, max_size: int) -> ThreadedClient:
        """Connect to a server."""
        thread = ThreadPoolExecutor(1, "blocking client")
        connecting = functools.partial(BlockingClient, uri, max_size=max_size)
        try:
            return cls(thread, await asyncio.get_running_loop().run_in_executor(thread, connecting))
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def send(self, message: Data) -> None:
        await self._run(self._client.send, message)

    async def recv(self) -> Data:
        return await self._run(self._client.recv)

    async def ping(self) -> asyncio.Future[float]:
        return self._run(self._client.ping)

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        await self._run(self._client.close, code, reason)

    def end(self) -> None:
        """End the thread, whatever it waits for."""
        self._client.abort()
        self._thread.shutdown(wait=False)

    @property
    def close_code(self) -> int | None:
        return self._client.protocol.close_code

    @property
    def statistics(self) -> Statistics:
        return self._client.protocol.statistics

    def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        call = functools.partial(function, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

"""A client's stream: the steps from a URI to the server, through proxies and TLS.

The steps are the same on each runtime. An adapter has the functions for each of them; on threads, their
coroutines block the thread in the place of suspending.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .addresses import (
    ADDRESS_DELAY,
    RETRY_DELAY,
    Address,
    AddressRace,
    begin_connect,
    choose_local,
    look_up_number,
)
from .client import Connecting
from .memory_tls import MemoryTLS, tls_failure
from .tls import client_context
from .tunnels import SocksRuntime, connect_socks

__all__ = ["ClientStream", "SocketClientStream"]


class ClientStream(ABC):
    """A client's stream before there is a connection on it. Each method acts on what is open so far.

    Attributes:
        _getaddrinfo: the runtime's function of this name.
        _socks: the runtime's functions for SOCKS.
    """

    _getaddrinfo: Callable[..., Awaitable[Sequence[Address]]]
    _socks: SocksRuntime

    @abstractmethod
    def use(self, stream: Any) -> None:
        """Begin with a stream or a socket that is connected."""

    @abstractmethod
    async def wait_writable(
        self, sockets: Iterable[socket.socket], seconds: float | None
    ) -> Iterable[socket.socket]:
        """Wait until some of the sockets can be written; return them, each once.

        Args:
            sockets: the sockets.
            seconds: the time after which none is returned; ``None`` for no limit.
        """

    @abstractmethod
    async def sleep(self, seconds: float) -> object:
        """Wait for a time."""

    @abstractmethod
    async def start_tls(self, context: Any, server_hostname: str | None) -> None:
        """Do TLS's handshake.

        Args:
            context: certificates and settings; ``True`` or ``None`` for the default.
            server_hostname: the name that the peer's certificate must have.

        Raises:
            OSError: the handshake failed.
        """

    @abstractmethod
    async def send(self, data: bytes) -> object:
        """Send bytes."""

    @abstractmethod
    async def receive(self) -> bytes:
        """Wait for bytes; return none at the end of the stream."""

    @abstractmethod
    async def close(self) -> object:
        """Close what is open, at once; do nothing if nothing is."""

    async def open(self, connecting: Connecting) -> None:
        """Open the stream to the server, with the server's TLS; close it after an error or a cancellation."""
        try:
            await self._reach_server(connecting)
            if connecting.ssl:
                await self.start_tls(connecting.ssl, connecting.server_hostname)
        except BaseException:
            await self.close()
            raise

    async def _reach_server(self, connecting: Connecting) -> None:
        options, proxy = connecting.stream_options, connecting.proxy
        given = next((options[name] for name in ("stream", "sock") if options.get(name) is not None), None)
        if given is not None:
            self.use(given)
        elif options.get("path") is not None:
            self.use(await connect_unix(options["path"], self.sleep))
        elif proxy is None:
            self.use(await self.connect_tcp(connecting.host, connecting.port, options))
        elif proxy.is_socks:
            # No option of TCP can be given then.
            connect = partial(self.connect_tcp, options={})
            self.use(await connect_socks(self._socks, proxy, connecting.host, connecting.port, connect))
        else:
            self.use(await self.connect_tcp(proxy.host, proxy.port, options))
            if proxy.scheme == "https":
                await self.start_tls(connecting.proxy_ssl, connecting.proxy_server_hostname)
            await self._open_tunnel(connecting)

    async def _open_tunnel(self, connecting: Connecting) -> None:
        """Ask an HTTP proxy for a tunnel."""
        tunnel = connecting.tunnel()
        await self.send(tunnel.request.serialize())
        while not tunnel.open:
            data = await self.receive()
            if data:
                tunnel.receive_data(data)
            else:
                tunnel.receive_eof()

    async def connect_tcp(self, host: str, port: int, options: Mapping[str, Any]) -> socket.socket:
        """Connect a socket to one of a host's addresses, as RFC 8305 says.

        Args:
            host: a name or an address.
            port: the TCP port.
            options: options of ``connect``, among them those of TCP.

        Raises:
            OSError: none of the addresses can be connected to: see :func:`.connect_failure`.
        """
        names = {name: options[name] for name in ("family", "proto", "flags") if name in options}
        given = {name: options[name] for name in ("interleave", "all_errors") if name in options}
        found = await self._look_up(host, port, **names)
        local = options.get("local_addr") or options.get("source_address")
        local = local or (options.get("local_address"), 0)
        if local[0] is not None:
            given["choose_local"] = partial(choose_local, await self._look_up(*local[:2], **names))
        delay = options.get("happy_eyeballs_delay", ADDRESS_DELAY)
        with AddressRace(found, delay=delay, **given) as race:
            while True:
                seconds = race.begin_next()
                sock = race.finish(await self.wait_writable(race.sockets, seconds))
                if sock is not None:
                    return sock

    async def _look_up(self, host: str, port: int, **names: int) -> Sequence[Address]:
        # Event loops look up numbers by threads, too.
        number = look_up_number(host, port, **names)
        return number or await self._getaddrinfo(host, port, type=socket.SOCK_STREAM, **names)


class SocketClientStream(ClientStream):
    """A socket, and TLS in memory over it.

    Attributes:
        sock: the socket, once it is connected.
        tls: the TLS, which may go over the TLS of a proxy; ``None`` without.
        _make_tls: the class of the TLS.
    """

    sock: socket.socket
    tls: MemoryTLS | None = None
    _make_tls: Callable[..., MemoryTLS] = MemoryTLS

    def use(self, stream: socket.socket) -> None:
        self.sock = stream
        stream.setblocking(False)

    @abstractmethod
    async def receive_bytes(self) -> bytes:
        """Wait for bytes of the socket; return none at its end."""

    @abstractmethod
    async def send_bytes(self, data: bytes) -> object:
        """Send bytes by the socket."""

    async def start_tls(self, context: Any, server_hostname: str | None) -> None:
        tls = self._make_tls(client_context(context), self.tls, server_hostname=server_hostname)
        self.tls = tls
        tls.receive(None, decrypt=False)
        await self._send_records()
        while not tls.established:
            tls.receive(await self.receive_bytes(), decrypt=False)
            await self._send_records()

    async def send(self, data: bytes) -> None:
        if self.tls is None:
            await self.send_bytes(data)
        else:
            self.tls.encrypt(data)
            await self._send_records()

    async def _send_records(self) -> None:
        """Send the encrypted bytes of TLS, among them an alert about its error; raise the error."""
        tls = self.tls
        if tls is None:
            return
        records = tls.take_unsent()
        try:
            if records:
                await self.send_bytes(records)
        finally:
            if tls.error is not None:
                raise tls_failure(tls.error)

    async def receive(self) -> bytes:
        while True:
            data = received = await self.receive_bytes()
            if self.tls is not None:
                data = self.tls.receive(received)
                await self._send_records()
            if data or not received:
                return data

    async def close(self) -> None:
        if hasattr(self, "sock"):
            self.sock.close()


async def connect_unix(path: str, sleep: Callable[[float], Awaitable[object]]) -> socket.socket:
    """Connect to a Unix socket.

    Args:
        path: the path of the socket.
        sleep: waits so many seconds.

    Raises:
        OSError: no server listens there.
    """
    while True:
        try:
            return begin_connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
        except BlockingIOError:
            await sleep(RETRY_DELAY)

"""The backplanes on Redis: topics of several processes and machines. They need the extra ``redis``.

:class:`RedisBackplane` is for one server, :class:`RedisClusterBackplane` for a cluster, in which each topic
has its server. Both connect again and again. When one of the connections is lost, the engine is lost.
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

from wsproto_core.types import Data

from ..shared.positions import Position
from .backplane import BackplaneLost, Receiver, Request
from .engine import EngineBackplane
from .history import Entry, Retention, Window
from .redis_server import FAILURES, Server, Settings, deadline

try:
    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.crc import key_slot
    from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError
except ImportError as error:
    raise ImportError(
        f"{__name__} needs redis-py: pip install 'wsproto-core[redis]', "
        "or in a checkout: pip install '.[redis]'"
    ) from error

__all__ = ["RedisBackplane", "RedisClusterBackplane"]

PUBLISHERS = 32
"""Messages that are being published at a time: each takes a connection of the pool, and Redis has a limit on
connections."""

# What a server of a cluster answers in the place of doing something.
_REFUSALS = (AskError, ClusterDownError, MovedError, TryAgainError)

SLOTS = 16384
"""The number of hash slots of a cluster."""


class _RedisBackplane(EngineBackplane):
    """What the backplanes on Redis share."""

    _failures = FAILURES
    _prefix_form = re.compile(r"[0-9A-Za-z_.:-]*")
    _prefix_rule = "may have letters, digits and '_', '.', ':', '-'"
    _sharded: bool

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "topics:",
        timeout: float = 5.0,
        check_interval: float = 5.0,
        durable: bool = False,
        **options: Any,
    ) -> None:
        """
        Args:
            url: the server, or one server of a cluster: ``redis://host:port/database``, ``rediss://`` for
                TLS, ``unix://path``. A cluster has the database 0 alone.
            prefix: the beginning of the names of keys and channels.
            timeout: the deadline in seconds for connecting and for each answer.
            check_interval: the seconds without a message after which the server is asked whether it is there.
            durable: whether the server loses nothing when it restarts (``appendfsync always``, and no other
                server takes its place): then histories keep their epoch.
            options: those of ``redis.asyncio.Redis.from_url``.

        Raises:
            TypeError, ValueError: an argument is not allowed.
        """
        super().__init__(prefix, timeout, check_interval)
        self._settings = Settings(prefix, timeout, check_interval, durable, self._sharded)
        # A command is sent once: nobody knows whether a repeated one is published twice.
        self._redis: Any = Redis.from_url(
            url,
            **{
                # Its deadline for writing loses cancellations with Python 3.11: see deadline().
                "socket_timeout": None,
                "socket_connect_timeout": timeout,
                "retry": Retry(NoBackoff(), 0),
                "retry_on_timeout": False,
                **options,
                "decode_responses": False,
                "protocol": 2,
            },
        )
        self._publishing = asyncio.Semaphore(PUBLISHERS)
        self._servers: list[Server] = []
        # Of a cluster: clients by host and port, and the server of each hash slot.
        self._clients: dict[tuple[str, int], Any] = {}
        self._owners: list[Server | None] = [None] * SLOTS
        # Done with the reason when the servers are not those that there should be connections to.
        self._outdated: asyncio.Future[Exception] | None = None

    async def close(self, receiver: Receiver) -> None:
        await self._disconnect()
        await self._redis.aclose()

    # The connections for live messages

    async def _connect(self) -> None:
        self._servers = await self._find_servers()
        for server in self._servers:
            await server.connect()
        self._outdated = asyncio.get_running_loop().create_future()

    async def _receive(self) -> None:
        """Receive from all servers until one of the connections is lost, and raise the reason."""
        outdated = self._outdated
        assert outdated is not None
        receiving: set[asyncio.Task[NoReturn]] = {
            asyncio.create_task(server.receive()) for server in self._servers
        }
        try:
            waiting: list[asyncio.Future[Any]] = [*receiving, outdated]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in receiving:
                if task.done():
                    task.result()
            raise outdated.result()
        finally:
            pending = receiving
            while pending:
                for task in pending:
                    task.cancel()
                # In Python 3.11, asyncio.wait_for may drop a cancellation, and redis-py uses it.
                _, pending = await asyncio.wait(pending, timeout=0.2)
            for task in receiving:
                if not task.cancelled():
                    task.exception()

    async def _disconnect(self) -> None:
        servers, self._servers = self._servers, []
        self._outdated = None
        for server in servers:
            await server.disconnect()

    def _make_server(self, redis: Any) -> Server:
        return Server(redis, self._settings, self._received, self._heard)

    def _received(self, entry: Entry) -> None:
        assert self._receiver is not None
        self._receiver.received(entry)

    def _heard(self) -> None:
        self._last_heard = time.time()

    # The servers

    @abstractmethod
    async def _find_servers(self) -> list[Server]:
        """Return the servers to connect to."""

    @abstractmethod
    def _server_of(self, topic: str) -> Server | None:
        """Return the server of a topic; ``None`` if there is no connection to it."""

    def _by_server(self, topics: Iterable[str]) -> dict[Server, list[str]]:
        found: dict[Server, list[str]] = {}
        for topic in topics:
            server = self._server_of(topic)
            if server is None:
                raise BackplaneLost(f"there is no connection to the server of {topic!r}")
            found.setdefault(server, []).append(topic)
        return found

    def _failed(self, error: Exception) -> None:
        """A command has failed: connect again if it was sent to a server that is the wrong one by now."""
        if isinstance(error, MovedError) and self._outdated is not None and not self._outdated.done():
            self._outdated.set_result(error)

    # What topics call

    async def publish(self, topic: str, message: Data, retention: Retention | None) -> Position | None:
        async with self._publishing:
            server = self._server_of(topic)
            if server is None:
                raise BackplaneLost("the connection to Redis was lost: the message was not published")
            try:
                async with deadline(self._settings.timeout):
                    return await server.publish(topic, message, retention)
            except _REFUSALS as error:
                self._failed(error)
                raise BackplaneLost(f"the message was not published: {error}") from error
            except FAILURES as error:
                raise BackplaneLost(f"it is not known whether the message was published: {error}") from error

    async def read(self, requests: Mapping[str, Request]) -> Mapping[str, Window]:
        windows: dict[str, Window] = {}
        try:
            for server, topics in self._by_server(requests).items():
                async with deadline(self._settings.timeout):
                    windows |= await server.read({topic: requests[topic] for topic in topics})
        except FAILURES as error:
            self._failed(error)
            raise BackplaneLost(f"reading the history has failed: {error}") from error
        return windows

    async def listen(self, names: Collection[str]) -> None:
        for server, part in self._by_server(names).items():
            await server.listen(part)

    async def ignore(self, names: Collection[str]) -> None:
        for server, part in self._by_server(names).items():
            await server.ignore(part)


class RedisBackplane(_RedisBackplane):
    """Topics of all processes that use the same Redis server, version 7 or newer, on asyncio.

    A process has one connection for live messages, and some for publishing and for reading histories. For a
    cluster, there is :class:`RedisClusterBackplane`.
    """

    _sharded = False

    async def _find_servers(self) -> list[Server]:
        return [self._make_server(self._redis)]

    def _server_of(self, topic: str) -> Server | None:
        return self._servers[0] if self._servers and self._servers[0].connected else None


class RedisClusterBackplane(_RedisBackplane):
    """Topics of all processes that use the same Redis Cluster, version 7 or newer, on asyncio.

    The histories of a topic are on the server that has its hash slot, and live messages go from there to
    subscribers, by sharded publish/subscribe: other servers have nothing to do with them. A process has a
    connection for live messages to each server that is no replica. Sharded channels have no patterns: a
    subscription to a pattern is refused.
    """

    patterns = False
    _sharded = True

    async def _find_servers(self) -> list[Server]:
        slots = await self._find_slots()
        clients, self._clients = self._clients, {}
        owners: list[Server | None] = [None] * SLOTS
        servers: dict[tuple[str, int], Server] = {}
        for first, last, address in slots:
            if address not in servers:
                client = clients.pop(address, None) or self._make_client(*address)
                self._clients[address] = client
                servers[address] = self._make_server(client)
            owners[first : last + 1] = [servers[address]] * (last + 1 - first)
        self._owners = owners
        for client in clients.values():
            await client.aclose()
        return list(servers.values())

    async def _find_slots(self) -> list[tuple[int, int, tuple[str, int]]]:
        """Ask the servers that were there before, then the first one, who has which hash slots."""
        failure: Exception = BackplaneLost("no server of the cluster answers")
        for client in (*self._clients.values(), self._redis):
            try:
                async with deadline(self._settings.timeout):
                    answer = await client.execute_command("CLUSTER", "SLOTS")
            except FAILURES as error:
                failure = error
                continue
            asked = client.connection_pool.connection_kwargs.get("host", "localhost")
            return [
                (int(first), int(last), (host.decode() if host else asked, int(port)))
                for first, last, (host, port, *_), *_ in answer
            ]
        raise failure

    def _make_client(self, host: str, port: int) -> Any:
        pool = self._redis.connection_pool
        options = {**pool.connection_kwargs, "host": host, "port": port}
        return Redis.from_pool(ConnectionPool(connection_class=pool.connection_class, **options))

    def _server_of(self, topic: str) -> Server | None:
        # All keys and the channel of a topic have its name in braces, which decides about the slot.
        server = self._owners[key_slot(topic.encode())]
        return server if server is not None and server.connected else None

    async def close(self, receiver: Receiver) -> None:
        await super().close(receiver)
        for client in self._clients.values():
            await client.aclose()

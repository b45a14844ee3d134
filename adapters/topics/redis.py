"""The backplane on Redis: topics of several processes and machines. It needs the extra ``redis``.

One script adds a message to the history of its topic, trims the history and publishes the message: all of it
happens, or nothing. Live messages come by Redis' own publishing, which loses what it cannot deliver: when the
connection is lost, or a subscriber is too slow. The offsets show that, and the history, a stream, is read.

The script gives a history another epoch when it is lost, when the offset is lost, and when another process of
the server answers than before: a server that has restarted may have lost the end of the history. The script
contains the identifier of the server's process. So a new process of the server does not know it yet, and the
client notices before it publishes anything there.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from wsproto_core.checks import check_seconds
from wsproto_core.connect.reconnect import exponential_delays
from wsproto_core.types import Data

from ..shared.positions import START, Position
from .backplane import Backplane, BackplaneLost, Receiver, Request
from .history import Entry, Retention, Window
from .memory import new_epoch
from .patterns import is_pattern
from .tasks import Tasks

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError, RedisError
except ImportError as error:
    raise ImportError(
        f"{__name__} needs redis-py: pip install 'wsproto-core[redis]', "
        "or in a checkout: pip install '.[redis]'"
    ) from error

__all__ = ["RedisBackplane"]

T = TypeVar("T")

FORGET = 30 * 86400
"""Seconds after which an unused topic is forgotten: its next history has another epoch."""

_PREFIX = re.compile(r"[0-9A-Za-z_.:-]*")

_FAILURES = (RedisError, OSError, EOFError)

PUBLISHERS = 32
"""Messages that are being published at a time: each takes a connection of the pool, and Redis has a limit on
connections."""

# Both scripts have this after the first line. The epoch of a history holds as long as both keys exist and the
# same process of the server answers. ARGV[1] is an epoch that no history has had.
_EPOCH = """
local known = redis.call('HMGET', KEYS[2], 'epoch', 'server')
local epoch = known[1]
if not epoch or known[2] ~= SERVER then
    epoch = ARGV[1]
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', 0, 'server', SERVER)
end
redis.call('EXPIRE', KEYS[2], FORGET)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# The first line lets Redis refuse the script as a whole when it may not use more memory.
# ARGV: epoch, channel, message, entries, milliseconds or 0
_PUBLISH = """
local offset = string.format('%.0f', redis.call('HINCRBY', KEYS[2], 'offset', 1))
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[4], offset .. '-0', 'm', ARGV[3], 't', string.format('%.0f', now))
local age = tonumber(ARGV[5])
if age > 0 then
    local old = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    while old and now - old[2][4] >= age do
        redis.call('XDEL', KEYS[1], old[1])
        old = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    end
    redis.call('PEXPIRE', KEYS[1], age)
else
    redis.call('EXPIRE', KEYS[1], FORGET)
end
redis.call('PUBLISH', ARGV[2], epoch .. ' ' .. offset .. ' ' .. ARGV[3])
return {epoch, offset}
"""

# Messages that are too old are left out up to the first that is not: the clock of the server may have jumped
# between two of them, and the rest has no hole.
# ARGV: epoch, epoch of the position, offset of the position or -1 for no messages, milliseconds or 0
_READ = """
local offset = redis.call('HGET', KEYS[2], 'offset')
local after = tonumber(ARGV[3])
local entries = {}
if after >= 0 then
    if ARGV[2] ~= epoch or after > tonumber(offset) then
        after = 0
    end
    local age = tonumber(ARGV[4])
    local kept = age == 0
    for _, each in ipairs(redis.call('XRANGE', KEYS[1], string.format('%.0f-0', after + 1), '+')) do
        kept = kept or now - each[2][4] < age
        if kept then
            entries[#entries + 1] = each[1]
            entries[#entries + 1] = each[2][2]
        end
    end
end
return {epoch, offset, entries}
"""


class _Script:
    """A script, for one process of the server.

    Attributes:
        code: its text.
        name: the name that Redis gives it.
    """

    def __init__(self, flags: str, code: str, server: str) -> None:
        code = f"#!lua flags={flags}\n{_EPOCH}{code}"
        self.code = code.replace("SERVER", f"'{server}'").replace("FORGET", str(FORGET))
        self.name = hashlib.sha1(self.code.encode(), usedforsecurity=False).hexdigest()


class _Scripts:
    """The scripts, for one process of the server."""

    def __init__(self, server: str) -> None:
        self.publish = _Script("", _PUBLISH, server)
        self.read = _Script("allow-oom", _READ, server)


class RedisBackplane(Backplane):
    """Topics of all processes that use the same Redis server, version 7 or newer, on asyncio.

    A process has one connection for reading, and some for publishing and for reading histories. Redis Cluster
    is not supported.
    """

    runtimes = ("asyncio",)

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
            url: the server: ``redis://host:port/database``, ``rediss://`` for TLS, ``unix://path``.
            prefix: the beginning of the names of keys and channels.
            timeout: the deadline in seconds for connecting and for each answer.
            check_interval: the seconds without a message after which the server is asked whether it is there.
            durable: whether the server loses nothing when it restarts (``appendfsync always``, and no other
                server takes its place): then histories keep their epoch.
            options: those of ``redis.asyncio.Redis.from_url``.

        Raises:
            TypeError, ValueError: an argument is not allowed.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {prefix!r}")
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"prefix may have letters, digits and '_', '.', ':', '-', not {prefix!r}")
        for name, seconds in (("timeout", timeout), ("check_interval", check_interval)):
            if seconds is None:
                raise TypeError(f"{name} must be a number of seconds")
            check_seconds(name, seconds)
        self._prefix = prefix
        self._timeout = timeout
        self._check_interval = check_interval
        self._durable = durable
        # A command is sent once: nobody knows whether a repeated one is published twice.
        self._redis: Any = Redis.from_url(
            url,
            **{
                # Its deadline for writing loses cancellations with Python 3.11: see _deadline.
                "socket_timeout": None,
                "socket_connect_timeout": timeout,
                "retry": Retry(NoBackoff(), 0),
                "retry_on_timeout": False,
                **options,
                "decode_responses": False,
                "protocol": 2,
            },
        )
        self._scripts: _Scripts | None = None
        self._connection: Any = None
        self._publishing = asyncio.Semaphore(PUBLISHERS)
        self._receiver: Receiver | None = None
        self._tried = asyncio.Event()
        self._last_heard: float | None = None
        # Names in commands whose answer is awaited, and what Redis listens to.
        self._expected: dict[tuple[bytes, bytes], asyncio.Future[None]] = {}
        self._channels: set[bytes] = set()
        self._globs: dict[bytes, re.Pattern[bytes]] = {}
        # Patterns by the glob that stands for them: several may have the same.
        self._wanted: dict[bytes, set[str]] = {}

    @property
    def last_heard(self) -> float | None:
        """When the server last sent anything, in seconds since 1970; ``None`` if it never did."""
        return self._last_heard

    async def open(self, receiver: Receiver, tasks: Tasks) -> None:
        if self._receiver is not None:
            raise RuntimeError("a RedisBackplane is for one object of Topics: make one for each")
        self._receiver = receiver
        tasks.start(self._run)
        await self._tried.wait()

    async def close(self, receiver: Receiver) -> None:
        await self._disconnect()
        await self._redis.aclose()

    # The connection for live messages

    async def _run(self) -> None:
        """Connect again and again, and read live messages."""
        assert self._receiver is not None
        delays = exponential_delays(first=0.2, limit=5.0)
        connected = told = False
        while True:
            try:
                await self._connect()
                delays = exponential_delays(first=0.2, limit=5.0)
                connected, told = True, False
                self._receiver.restored()
                self._tried.set()
                await self._receive()
            except _FAILURES as error:
                if connected or not told:
                    self._receiver.lost(error)
                connected, told = False, True
            finally:
                self._tried.set()
                await self._disconnect()
            await asyncio.sleep(next(delays))

    async def _connect(self) -> None:
        async with self._deadline():
            self._scripts = await self._find_server()
        connection = self._redis.connection_pool.make_connection()
        try:
            async with self._deadline():
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Limit a wait for the server."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            raise TimeoutError(f"Redis has not answered for {self._timeout:g} seconds") from error

    async def _find_server(self) -> _Scripts:
        answer = await self._redis.info("server")
        self._last_heard = time.time()
        return _Scripts("durable" if self._durable else str(answer["run_id"]))

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._channels.clear()
        self._globs.clear()
        self._wanted.clear()
        expected, self._expected = self._expected, {}
        for future in expected.values():
            if not future.done():
                future.set_exception(BackplaneLost("the connection to Redis was lost"))
        if connection is not None:
            with suppress(*_FAILURES):
                await connection.disconnect(nowait=True)

    async def _receive(self) -> None:
        connection = self._connection
        asked = False
        while True:
            wait = self._timeout if asked else self._check_interval
            answer = await connection.read_response(disable_decoding=True, timeout=wait)
            if answer is not None:
                self._last_heard = time.time()
                asked = False
                self._take(answer)
            elif asked:
                raise TimeoutError(f"Redis has not answered for {wait:g} seconds")
            else:
                asked = True
                async with self._deadline():
                    await self._send("PING")

    async def _send(self, *command: Any) -> None:
        connection = self._connection
        if connection is None or not connection.is_connected:
            raise BackplaneLost("there is no connection to Redis")
        try:
            await connection.send_command(*command, check_health=False)
        except _FAILURES as error:
            raise BackplaneLost(f"the connection to Redis was lost: {error}") from error

    def _take(self, answer: Any) -> None:
        match answer:
            case [b"message", channel, data]:
                self._take_message(channel, data)
            case [b"pmessage", glob, channel, data]:
                # Redis sends a message once for each channel and pattern that it matches.
                first = next((each for each, regex in self._globs.items() if regex.fullmatch(channel)), None)
                if channel not in self._channels and glob == first:
                    self._take_message(channel, data)
            case [kind, name, _]:
                self._confirm(kind, name)
            case _:
                pass  # the answer to a ping

    def _confirm(self, kind: bytes, name: bytes) -> None:
        if kind == b"subscribe":
            self._channels.add(name)
        elif kind == b"unsubscribe":
            self._channels.discard(name)
        elif kind == b"psubscribe":
            self._globs[name] = re.compile(re.escape(name).replace(rb"\*", b".*"), re.DOTALL)
        elif kind == b"punsubscribe":
            self._globs.pop(name, None)
        future = self._expected.pop((kind, name), None)
        if future is not None and not future.done():
            future.set_result(None)

    def _take_message(self, channel: bytes, data: bytes) -> None:
        assert self._receiver is not None
        try:
            topic = channel.decode().removeprefix(self._prefix)
            epoch, offset, message = data.split(b" ", 2)
            position = None if epoch == b"-" else Position.parse(f"{epoch.decode()}:{offset.decode()}")
            entry = Entry(topic, _decode(message), position)
        except ValueError:
            return  # somebody else has published it
        self._receiver.received(entry)

    # What topics call

    async def publish(self, topic: str, message: Data, retention: Retention | None) -> Position | None:
        data = b"b" + message if isinstance(message, bytes) else b"t" + message.encode()
        async with self._publishing:
            if self._connection is None:
                raise BackplaneLost("the connection to Redis was lost: the message was not published")
            return await self._publish(topic, data, retention)

    async def _publish(self, topic: str, data: bytes, retention: Retention | None) -> Position | None:
        channel = self._prefix + topic
        try:
            if retention is None:
                async with self._deadline():
                    await self._redis.publish(channel, b"- 0 " + data)
                return None
            arguments = (new_epoch(), channel, data, retention.entries, _milliseconds(retention))
            call = partial(self._call, topic=topic, arguments=arguments)
            async with self._deadline():
                answer = await self._with_script(attrgetter("publish"), call)
        except _FAILURES as error:
            raise BackplaneLost(f"it is not known whether the message was published: {error}") from error
        self._last_heard = time.time()
        return Position(answer[0].decode(), int(answer[1]))

    async def _with_script(
        self, choose: Callable[[_Scripts], _Script], call: Callable[[_Script], Awaitable[T]]
    ) -> T:
        """Call a script; give it to the server, if it does not have it, and call it again."""
        if self._scripts is None:
            raise BackplaneLost("there has been no connection to Redis yet")
        try:
            return await call(choose(self._scripts))
        except NoScriptError:
            self._scripts = await self._find_server()
            script = choose(self._scripts)
            await self._redis.script_load(script.code)
            return await call(script)

    def _call(self, script: _Script, topic: str, arguments: tuple[Any, ...], to: Any = None) -> Any:
        keys = [f"{self._prefix}{{{topic}}}:history", f"{self._prefix}{{{topic}}}:position"]
        return (self._redis if to is None else to).evalsha(script.name, 2, *keys, *arguments)

    async def read(self, requests: Mapping[str, Request]) -> Mapping[str, Window]:
        try:
            async with self._deadline():
                return await self._with_script(attrgetter("read"), partial(self._read, requests))
        except _FAILURES as error:
            raise BackplaneLost(f"reading the history has failed: {error}") from error

    async def _read(self, requests: Mapping[str, Request], script: _Script) -> Mapping[str, Window]:
        pipeline = self._redis.pipeline(transaction=False)
        for topic, (after, retention) in requests.items():
            epoch, offset = START if after is None else after
            wanted = -1 if after is None else offset
            arguments = (new_epoch(), epoch, wanted, _milliseconds(retention))
            self._call(script, topic, arguments, pipeline)
        answers = await pipeline.execute()
        self._last_heard = time.time()
        return {topic: _window(topic, answer) for topic, answer in zip(requests, answers, strict=True)}

    async def listen(self, names: Collection[str]) -> None:
        channels = [self._prefix + name for name in names if not is_pattern(name)]
        globs = []
        for name in filter(is_pattern, names):
            glob = self._glob(name)
            self._wanted.setdefault(glob.encode(), set()).add(name)
            if glob.encode() not in self._globs and glob not in globs:
                globs.append(glob)
        await self._change("SUBSCRIBE", channels)
        await self._change("PSUBSCRIBE", globs)

    async def ignore(self, names: Collection[str]) -> None:
        channels = [self._prefix + name for name in names if not is_pattern(name)]
        globs = []
        for name in filter(is_pattern, names):
            glob = self._glob(name)
            wanted = self._wanted.get(glob.encode(), set())
            wanted.discard(name)
            if not wanted:
                self._wanted.pop(glob.encode(), None)
                globs.append(glob)
        await self._change("UNSUBSCRIBE", channels)
        await self._change("PUNSUBSCRIBE", globs)

    def _glob(self, pattern: str) -> str:
        return self._prefix + pattern.replace("**", "*")

    async def _change(self, command: str, names: list[str]) -> None:
        """Subscribe or unsubscribe, and wait for the answers."""
        for start in range(0, len(names), 1000):
            part = names[start : start + 1000]
            futures = []
            for name in part:
                future = asyncio.get_running_loop().create_future()
                self._expected[command.lower().encode(), name.encode()] = future
                futures.append(future)
            try:
                async with self._deadline():
                    await self._send(command, *part)
                    await asyncio.gather(*futures)
            except TimeoutError as error:
                raise BackplaneLost(str(error)) from error


def _milliseconds(retention: Retention) -> int:
    return 0 if retention.seconds is None else max(1, round(retention.seconds * 1000))


def _decode(message: bytes) -> Data:
    kind, data = message[:1], message[1:]
    if kind == b"t":
        return data.decode()
    if kind == b"b":
        return data
    raise ValueError("neither text nor binary")


def _window(topic: str, answer: Any) -> Window:
    epoch, offset, found = answer
    epoch = epoch.decode()
    entries = []
    for identifier, message in zip(found[::2], found[1::2], strict=True):
        entries.append(Entry(topic, _decode(message), Position(epoch, int(identifier.partition(b"-")[0]))))
    return Window(Position(epoch, int(offset)), entries)

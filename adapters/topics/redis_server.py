"""One server of Redis: histories, publishing, and a connection for live messages.

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
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, NoReturn, TypeVar

from wsproto_core.types import Data

from ..shared.positions import START, Position
from .backplane import BackplaneLost, Request
from .history import Entry, Retention, Window
from .memory import new_epoch
from .patterns import is_pattern

try:
    from redis.exceptions import NoScriptError, RedisError
except ImportError as error:
    raise ImportError(
        f"{__name__} needs redis-py: pip install 'wsproto-core[redis]', "
        "or in a checkout: pip install '.[redis]'"
    ) from error

__all__ = ["FAILURES", "Server", "Settings", "deadline"]

T = TypeVar("T")

FORGET = 30 * 86400
"""Seconds after which an unused topic is forgotten: its next history has another epoch."""

FAILURES = (RedisError, OSError, EOFError)

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
redis.call(PUBLISH, ARGV[2], epoch .. ' ' .. offset .. ' ' .. ARGV[3])
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


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Limit a wait for a server.

    Args:
        seconds: the limit.

    Raises:
        TimeoutError: the server has not answered.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TimeoutError(f"Redis has not answered for {seconds:g} seconds") from error


@dataclass(frozen=True, slots=True)
class Settings:
    """What all servers of a backplane share.

    Attributes:
        prefix: the beginning of the names of keys and channels.
        timeout: the deadline in seconds for each answer.
        check_interval: the seconds without a message after which a server is asked whether it is there.
        durable: whether a server loses nothing when it restarts.
        sharded: whether the servers are a cluster: a channel is in the hash slot of the keys of its topic,
            and is published to the subscribers of its server alone.
    """

    prefix: str
    timeout: float
    check_interval: float
    durable: bool
    sharded: bool


class _Script:
    """A script, for one process of the server.

    Attributes:
        code: its text.
        name: the name that Redis gives it.
    """

    def __init__(self, flags: str, code: str, server: str, publish: str) -> None:
        code = f"#!lua flags={flags}\n{_EPOCH}{code}"
        for name, value in (("SERVER", server), ("FORGET", FORGET), ("PUBLISH", publish)):
            code = code.replace(name, f"'{value}'")
        self.code = code
        self.name = hashlib.sha1(self.code.encode(), usedforsecurity=False).hexdigest()


class _Scripts:
    """The scripts, for one process of the server."""

    def __init__(self, server: str, publish: str) -> None:
        self.publish = _Script("", _PUBLISH, server, publish)
        self.read = _Script("allow-oom", _READ, server, publish)


class Server:
    """One server of Redis, from one connection for live messages to the next."""

    def __init__(
        self,
        redis: Any,
        settings: Settings,
        received: Callable[[Entry], object],
        heard: Callable[[], object],
    ) -> None:
        """
        Args:
            redis: the client for commands.
            settings: what all servers of the backplane share.
            received: called with each live message.
            heard: called when the server has sent anything.
        """
        self._heard = heard
        self._redis = redis
        self._settings = settings
        self._received = received
        self._shard = "s" if settings.sharded else ""
        self._scripts: _Scripts | None = None
        self._connection: Any = None
        # Names in commands whose answer is awaited, and what Redis listens to.
        self._expected: dict[tuple[bytes, bytes], asyncio.Future[None]] = {}
        self._channels: set[bytes] = set()
        self._globs: dict[bytes, re.Pattern[bytes]] = {}
        # Patterns by the glob that stands for them: several may have the same.
        self._wanted: dict[bytes, set[str]] = {}

    # The connection for live messages

    async def connect(self) -> None:
        """Connect, and listen to nothing."""
        async with deadline(self._settings.timeout):
            self._scripts = await self._find_process()
        connection = self._redis.connection_pool.make_connection()
        try:
            async with deadline(self._settings.timeout):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection

    @property
    def connected(self) -> bool:
        """Whether there is a connection for live messages, as far as is known."""
        return self._connection is not None

    async def _find_process(self) -> _Scripts:
        answer = await self._redis.info("server")
        self._heard()
        process = "durable" if self._settings.durable else str(answer["run_id"])
        return _Scripts(process, f"{self._shard}publish")

    async def disconnect(self) -> None:
        """End the connection for live messages, if there is one."""
        connection, self._connection = self._connection, None
        self._channels.clear()
        self._globs.clear()
        self._wanted.clear()
        expected, self._expected = self._expected, {}
        for future in expected.values():
            if not future.done():
                future.set_exception(BackplaneLost("the connection to Redis was lost"))
        if connection is not None:
            with suppress(*FAILURES):
                await connection.disconnect(nowait=True)

    async def receive(self) -> NoReturn:
        """Receive live messages until the connection is lost."""
        connection = self._connection
        asked = False
        while True:
            wait = self._settings.timeout if asked else self._settings.check_interval
            answer = await connection.read_response(disable_decoding=True, timeout=wait)
            if answer is not None:
                self._heard()
                asked = False
                self._take(answer)
            elif asked:
                raise TimeoutError(f"Redis has not answered for {wait:g} seconds")
            else:
                asked = True
                async with deadline(self._settings.timeout):
                    await self._send([("PING",)])

    async def _send(self, commands: Sequence[Sequence[str]]) -> None:
        connection = self._connection
        if connection is None or not connection.is_connected:
            raise BackplaneLost("there is no connection to Redis")
        try:
            packed = connection.pack_commands(commands)
            await connection.send_packed_command(packed, check_health=False)
        except FAILURES as error:
            raise BackplaneLost(f"the connection to Redis was lost: {error}") from error

    def _take(self, answer: Any) -> None:
        match answer:
            case [b"message" | b"smessage", channel, data]:
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
        future = self._expected.pop((kind, name), None)
        if kind == b"subscribe":
            self._channels.add(name)
        elif kind == b"unsubscribe":
            self._channels.discard(name)
        elif kind == b"psubscribe":
            self._globs[name] = re.compile(re.escape(name).replace(rb"\*", b".*"), re.DOTALL)
        elif kind == b"punsubscribe":
            self._globs.pop(name, None)
        elif kind == b"sunsubscribe" and future is None:
            raise ConnectionError("a hash slot has moved to another server of the cluster")
        if future is not None and not future.done():
            future.set_result(None)

    def _take_message(self, channel: bytes, data: bytes) -> None:
        try:
            topic = channel.decode().removeprefix(self._settings.prefix).strip("{}")
            epoch, offset, message = data.split(b" ", 2)
            position = None if epoch == b"-" else Position.parse(f"{epoch.decode()}:{offset.decode()}")
            entry = Entry(topic, _decode(message), position)
        except ValueError:
            return  # somebody else has published it
        self._received(entry)

    async def listen(self, names: Collection[str]) -> None:
        """Receive the live messages of topics and patterns: see :meth:`.Backplane.listen`."""
        globs = []
        for name in filter(is_pattern, names):
            glob = self._glob(name)
            self._wanted.setdefault(glob.encode(), set()).add(name)
            if glob.encode() not in self._globs and glob not in globs:
                globs.append(glob)
        await self._change(f"{self._shard}subscribe", self._channels_of(names))
        await self._change("psubscribe", globs)

    async def ignore(self, names: Collection[str]) -> None:
        """Receive no more live messages of topics and patterns: see :meth:`.Backplane.ignore`."""
        globs = []
        for name in filter(is_pattern, names):
            glob = self._glob(name)
            wanted = self._wanted.get(glob.encode(), set())
            wanted.discard(name)
            if not wanted:
                self._wanted.pop(glob.encode(), None)
                globs.append(glob)
        await self._change(f"{self._shard}unsubscribe", self._channels_of(names))
        await self._change("punsubscribe", globs)

    def _channel(self, topic: str) -> str:
        # In a cluster, the part in braces decides about the hash slot.
        return self._settings.prefix + (f"{{{topic}}}" if self._settings.sharded else topic)

    def _channels_of(self, names: Collection[str]) -> list[str]:
        return [self._channel(name) for name in names if not is_pattern(name)]

    def _glob(self, pattern: str) -> str:
        return self._settings.prefix + pattern.replace("**", "*")

    async def _change(self, command: str, names: list[str]) -> None:
        """Subscribe or unsubscribe, and wait for the answers."""
        for start in range(0, len(names), 1000):
            part = names[start : start + 1000]
            futures = []
            for name in part:
                future = asyncio.get_running_loop().create_future()
                self._expected[command.encode(), name.encode()] = future
                futures.append(future)
            # The channels of one command must be in one hash slot.
            verb = command.upper()
            commands = [(verb, name) for name in part] if self._shard else [(verb, *part)]
            try:
                async with deadline(self._settings.timeout):
                    await self._send(commands)
                    await asyncio.gather(*futures)
            except TimeoutError as error:
                raise BackplaneLost(str(error)) from error

    # Commands

    async def publish(self, topic: str, message: Data, retention: Retention | None) -> Position | None:
        """Publish a message: see :meth:`.Backplane.publish`.

        Raises:
            RedisError, OSError, EOFError: it is not known whether the message was published.
        """
        data = b"b" + message if isinstance(message, bytes) else b"t" + message.encode()
        channel = self._channel(topic)
        if retention is None:
            await self._redis.execute_command(f"{self._shard}publish", channel, b"- 0 " + data)
            return None
        arguments = (new_epoch(), channel, data, retention.entries, _milliseconds(retention))
        call = partial(self._call, topic=topic, arguments=arguments)
        answer = await self._with_script(attrgetter("publish"), call)
        self._heard()
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
            self._scripts = await self._find_process()
            script = choose(self._scripts)
            await self._redis.script_load(script.code)
            return await call(script)

    def _call(self, script: _Script, topic: str, arguments: tuple[Any, ...], to: Any = None) -> Any:
        prefix = self._settings.prefix
        keys = [f"{prefix}{{{topic}}}:history", f"{prefix}{{{topic}}}:position"]
        return (self._redis if to is None else to).evalsha(script.name, 2, *keys, *arguments)

    async def read(self, requests: Mapping[str, Request]) -> dict[str, Window]:
        """Read histories: see :meth:`.Backplane.read`.

        Raises:
            RedisError, OSError, EOFError: the server does not answer.
        """
        return await self._with_script(attrgetter("read"), partial(self._read, requests))

    async def _read(self, requests: Mapping[str, Request], script: _Script) -> dict[str, Window]:
        pipeline = self._redis.pipeline(transaction=False)
        for topic, (after, retention) in requests.items():
            epoch, offset = START if after is None else after
            wanted = -1 if after is None else offset
            arguments = (new_epoch(), epoch, wanted, _milliseconds(retention))
            self._call(script, topic, arguments, pipeline)
        answers = await pipeline.execute()
        self._heard()
        return {topic: _window(topic, answer) for topic, answer in zip(requests, answers, strict=True)}


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

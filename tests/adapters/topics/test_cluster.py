"""Topics on Redis Cluster, against three servers. What is not particular to it is in ``test_topics.py``."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.crc import key_slot

from adapters.topics import START, BackplaneLost, Position, Retention, Topics
from adapters.topics.redis import RedisClusterBackplane
from tests.adapters.runtimes import Runtime, make_runtime
from tests.ports import free_port

from .engines import DEADLINE, RedisServer
from .test_topics import HISTORY, Gaps, received, server


def new_server() -> RedisServer:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    return RedisServer(*options, "--cluster-node-timeout", "60000")


def identifier(node: RedisServer) -> str:
    return node.call("CLUSTER", "MYID").split()[1].decode()


class Cluster:
    """Three servers, each with a third of the hash slots."""

    def __init__(self) -> None:
        self.servers = [new_server() for _ in range(3)]
        program = shutil.which("redis-cli")
        assert program is not None
        addresses = [f"127.0.0.1:{each.port}" for each in self.servers]
        command = [program, "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=2 * DEADLINE)
        self.wait()

    def wait(self) -> None:
        """Wait until all servers see that the cluster is complete."""
        deadline = time.monotonic() + 2 * DEADLINE
        while any(b"cluster_state:ok" not in each.call("CLUSTER", "INFO") for each in self.servers):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def backplane(self, **options: Any) -> RedisClusterBackplane:
        url = f"redis://127.0.0.1:{self.servers[0].port}"
        return RedisClusterBackplane(url, **{"timeout": DEADLINE, **options})

    def owner(self, topic: str) -> RedisServer:
        """The server that has the hash slot of a topic."""
        for each in self.servers:
            if not each.call("EXISTS", f"{{{topic}}}").startswith(b"-MOVED"):
                return each
        raise LookupError(topic)

    def clear(self) -> None:
        for each in self.servers:
            each.call("FLUSHALL")

    def stop(self) -> None:
        for each in self.servers:
            each.stop()


@pytest.fixture(params=["asyncio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """The client of Redis works on asyncio alone."""
    return make_runtime(request.param)


@pytest.fixture(scope="module")
def started() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    started.clear()
    return started


def rooms_of(cluster: Cluster) -> list[str]:
    """A topic of each server."""
    found = {cluster.owner(room).port: room for room in map("room.{}".format, range(50))}
    assert len(found) == 3
    return [found[each.port] for each in cluster.servers]


async def test_topics_of_all_servers(runtime: Runtime, cluster: Cluster) -> None:
    """Live messages and histories, of topics with a history and without; channels are those of a shard."""
    rooms = rooms_of(cluster)
    topics_of_all = [name for room in rooms for name in (f"kept.{room}", room)]
    gaps = Gaps()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(cluster.backplane(), history={"kept.**": HISTORY}, on_gap=gaps) as one,
        Topics(cluster.backplane(), history={"kept.**": HISTORY}) as other,
    ):
        for topic in topics_of_all:
            await one.subscribe(ends[0], topic)
        for topic in topics_of_all:
            for number in range(3):
                position = await other.publish(topic, f"{topic} {number}")
                assert (position is None) is not topic.startswith("kept")
        assert sorted(await received(clients[0], 18)) == sorted(
            f"{topic} {number}" for topic in topics_of_all for number in range(3)
        )
        # Whoever comes back gets what the histories have.
        for room in rooms:
            await other.subscribe(ends[1], f"kept.{room}", after=START)
            await one.publish(f"kept.{room}", f"kept.{room} 3")
            assert await received(clients[1], 4) == [f"kept.{room} {number}" for number in range(4)]
        for room in rooms:
            channel = f"topics:{{{room}}}"
            owner = cluster.owner(room)
            assert owner.call("PUBSUB", "SHARDNUMSUB", channel).endswith(b":1\r\n")
            await one.unsubscribe(ends[0], room)
            await runtime.until(
                lambda owner=owner, channel=channel: owner.call("PUBSUB", "SHARDNUMSUB", channel).endswith(
                    b":0\r\n"
                )
            )
        assert gaps == []
        assert one.health.losses == other.health.losses == 0
        assert one.health.last_heard is not None


async def test_patterns_are_refused(runtime: Runtime, cluster: Cluster) -> None:
    async with server(runtime) as ([end], [client]), Topics(cluster.backplane()) as topics:
        with pytest.raises(ValueError, match="RedisClusterBackplane has no patterns"):
            await topics.subscribe(end, "room.*")
        assert topics.health.subscriptions == 0
        await topics.subscribe(end, "room.1")
        await topics.publish("room.1", "still")
        assert await client.recv() == "still"


def move_slot(cluster: Cluster, topic: str, to: RedisServer) -> None:
    """Give the hash slot of a topic to another server, with all keys in it."""
    slot = str(key_slot(topic.encode()))
    source = cluster.owner(topic)
    names = {each.port: identifier(each) for each in cluster.servers}
    assert to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port]) == b"+OK\r\n"
    assert source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", names[to.port]) == b"+OK\r\n"
    keys = re.findall(rb"topics:\S+", source.call("CLUSTER", "GETKEYSINSLOT", slot, "100"))
    assert len(keys) == 2
    answer = source.call("MIGRATE", "127.0.0.1", str(to.port), "", "0", "30000", "KEYS", *keys)
    assert answer == b"+OK\r\n"
    for each in (to, source, *cluster.servers):
        assert each.call("CLUSTER", "SETSLOT", slot, "NODE", names[to.port]) == b"+OK\r\n"


@pytest.mark.parametrize("durable", [True, False])
async def test_slot_that_moves(runtime: Runtime, cluster: Cluster, durable: bool) -> None:
    """The topic has another server: nothing is lost if no server ever loses anything."""
    gaps = Gaps()
    room, *others = rooms_of(cluster)
    source, to = cluster.servers[:2]
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(cluster.backplane(durable=durable), history=HISTORY, on_gap=gaps) as topics,
        Topics(cluster.backplane(durable=durable), history=HISTORY) as other,
    ):
        for each in (room, *others):
            await topics.subscribe(ends[0], each)
        for number in range(3):
            await other.publish(room, str(number))
        assert await received(clients[0], 3) == ["0", "1", "2"]
        move_slot(cluster, room, to)
        try:
            await runtime.until(lambda: topics.health.losses)
            # The server that was there before refuses a message, if the publisher does not know it yet.
            refusals, position = await publish_again(runtime, other, room, "3")
            assert all("not published" in refusal for refusal in refusals)
            await runtime.until(lambda: topics.healthy)
            assert await clients[0].recv() == "3"
            for each in others:
                await other.publish(each, each)
            # They come from two servers, in any order.
            assert sorted(await received(clients[0], 2)) == sorted(others)
            await topics.subscribe(ends[1], room, after=START)
            if durable:
                assert position.offset == 4
                assert gaps == []
                assert await received(clients[1], 4) == ["0", "1", "2", "3"]
            else:
                # Another server answers, which may not have the end of the history.
                assert position.offset == 1
                assert [(gap.topic, gap.reason) for gap in gaps] == [(room, "lost")]
                assert await clients[1].recv() == "3"
        finally:
            move_slot(cluster, room, source)


async def publish_again(
    runtime: Runtime, topics: Topics, room: str, message: str
) -> tuple[list[str], Position]:
    """Publish a message, again and again if it is refused; return the reasons, and its position."""
    refusals: list[str] = []
    while True:
        try:
            position = await topics.publish(room, message)
        except BackplaneLost as error:
            refusals.append(str(error))
            await runtime.sleep(0.05)
        else:
            assert position is not None
            return refusals, position


async def test_server_that_restarts_without_its_data(runtime: Runtime, cluster: Cluster) -> None:
    """Its topics get a gap, and those of the others everything."""
    gaps = Gaps()
    rooms = rooms_of(cluster)
    stopped = cluster.servers[0]
    async with (
        server(runtime, 3) as (ends, clients),
        Topics(cluster.backplane(), history=HISTORY, on_gap=gaps) as topics,
        AsyncExitStack() as stack,
    ):
        for room, end in zip(rooms, ends, strict=True):
            await topics.subscribe(end, room)
            await topics.publish(room, "before")
        stopped.kill()
        stack.callback(cluster.wait)
        await runtime.until(lambda: not topics.healthy)
        with pytest.raises(BackplaneLost, match="not published"):
            await topics.publish(rooms[0], "nowhere")
        stopped.start()
        cluster.wait()
        await runtime.until(lambda: topics.healthy)
        for room, client in zip(rooms, clients, strict=True):
            await topics.publish(room, "after")
            assert await received(client, 2) == ["before", "after"]
        assert [(gap.topic, gap.reason) for gap in gaps] == [(rooms[0], "lost")]


async def test_replica_that_takes_the_place_of_a_server(runtime: Runtime, cluster: Cluster) -> None:
    """It may not have the end of the history."""
    gaps = Gaps()
    room, *others = rooms_of(cluster)
    before = cluster.servers[0]
    replica = new_server()
    async with (
        server(runtime) as ([end], [client]),
        Topics(cluster.backplane(), history=HISTORY, on_gap=gaps) as topics,
        AsyncExitStack() as stack,
    ):
        stack.callback(replica.stop)
        (bus,) = re.findall(rb"@(\d+)", before.call("CLUSTER", "NODES").split(b"myself")[0].splitlines()[-1])
        replica.call("CLUSTER", "MEET", "127.0.0.1", str(before.port), bus)
        known = identifier(before), identifier(replica)
        for node, name in ((replica, known[0]), *((each, known[1]) for each in cluster.servers)):
            await runtime.until(lambda node=node, name=name: name.encode() in node.call("CLUSTER", "NODES"))
        await runtime.until(lambda: replica.call("CLUSTER", "REPLICATE", known[0]) == b"+OK\r\n")
        for each in (room, *others):
            await topics.subscribe(end, each)
        first = await topics.publish(room, "before")
        assert await client.recv() == "before"
        await take_over(runtime, replica)
        await runtime.until(lambda: topics.health.losses)
        _, position = await publish_again(runtime, topics, room, "after")
        assert await client.recv() == "after"
        assert position.offset == 1
        assert [(gap.topic, gap.reason, gap.after) for gap in gaps] == [(room, "lost", first)]
        await take_over(runtime, before)
        for each in cluster.servers:
            each.call("CLUSTER", "FORGET", known[1])


async def take_over(runtime: Runtime, replica: RedisServer) -> None:
    """Let a replica take the place of its server."""
    await runtime.until(lambda: b"master_link_status:up" in replica.call("INFO", "replication"))
    # Without asking the other servers, so that one attempt is enough.
    assert replica.call("CLUSTER", "FAILOVER", "TAKEOVER") == b"+OK\r\n"
    await runtime.until(lambda: b"role:master" in replica.call("INFO", "replication"))


async def test_many_topics(runtime: Runtime, cluster: Cluster) -> None:
    """Many hash slots are subscribed to together, and many histories read together."""
    count = 150
    async with (
        server(runtime) as ([end], [client]),
        Topics(cluster.backplane(), history=Retention(10)) as topics,
    ):
        rooms = [f"room.{number}" for number in range(count)]
        for room in rooms:
            await topics.publish(room, f"{room} 1")
        subscribing = [runtime.spawn(subscribe, topics, end, room) for room in rooms]
        for each in subscribing:
            await each.result()
        assert sorted(await received(client, count)) == sorted(f"{room} 1" for room in rooms)
        for room in rooms:
            await topics.publish(room, f"{room} 2")
        assert sorted(await received(client, count)) == sorted(f"{room} 2" for room in rooms)
        assert topics.health.gaps == 0


async def subscribe(topics: Topics, end: Any, room: str) -> None:
    await topics.subscribe(end, room, after=START, queue=None)


async def test_server_that_is_in_no_cluster(runtime: Runtime, redis: RedisServer) -> None:
    errors: list[Exception | None] = []
    backplane = RedisClusterBackplane(f"redis://127.0.0.1:{redis.port}")
    async with Topics(backplane, on_health=lambda healthy, error: errors.append(error)) as topics:
        assert not topics.healthy
        assert "cluster support disabled" in str(errors[0])

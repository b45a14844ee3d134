"""Engines for the tests of topics. Each gives backplanes to several processes, all of them in this one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

from adapters.topics import Backplane, MemoryBackplane
from tests.ports import free_port

DEADLINE = 30
"""Seconds for a server to start."""


class Engine(ABC):
    """An engine that is running.

    Attributes:
        runtimes: the runtimes on which its backplane works; empty for all.
    """

    runtimes: tuple[str, ...] = ()

    @abstractmethod
    def backplane(self) -> Backplane:
        """Return the backplane for one process."""

    @abstractmethod
    def forget(self, topic: str) -> None:
        """Lose the history of a topic, as by an eviction."""

    def clear(self) -> None:  # noqa: B027
        """Forget all, between two tests."""


class Memory(Engine):
    def __init__(self) -> None:
        self._backplane = MemoryBackplane()

    def backplane(self) -> Backplane:
        return self._backplane

    def forget(self, topic: str) -> None:
        self._backplane.forget(topic)


class Server(Engine):
    """A server of Debian, on loopback.

    Attributes:
        port: its port.
        process: its process.
    """

    runtimes = ("asyncio", "uvloop")
    port: int
    process: subprocess.Popen[bytes]
    _folder: tempfile.TemporaryDirectory[str]

    def kill(self) -> None:
        """End at once."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def pause(self) -> None:
        """Stop, and wait until it has stopped."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        self._folder.cleanup()


class RedisServer(Server):
    """Debian's ``redis-server``; its data is in memory, unless it is told otherwise."""

    def __init__(self, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._program = program
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory()
        self._options = options
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name]
        self.process = subprocess.Popen(
            [*command, "--save", "", *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                if self.call("PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def call(self, *words: str | bytes) -> bytes:
        """Send a command, and return what comes."""
        data = [word.encode() if isinstance(word, str) else word for word in words]
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as sock:
            sock.sendall(b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in data))
            return sock.recv(65536)

    def backplane(self, **options: Any) -> Backplane:
        from adapters.topics.redis import RedisBackplane

        return RedisBackplane(f"redis://127.0.0.1:{self.port}/0", **{"timeout": DEADLINE, **options})

    def forget(self, topic: str) -> None:
        self.call("DEL", f"topics:{{{topic}}}:position", f"topics:{{{topic}}}:history")

    def clear(self) -> None:
        self.call("FLUSHALL")


class NatsServer(Server):
    """Debian's ``nats-server``, with JetStream; its files are in a temporary folder."""

    def __init__(self, settings: str = "", jetstream: str = "") -> None:
        """
        Args:
            settings: more lines of its configuration.
            jetstream: more settings of JetStream.
        """
        program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
        if program is None:
            pytest.skip("nats-server is not installed")
        self._program = program
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory()
        self._configuration = Path(self._folder.name) / "nats.conf"
        self._store = Path(self._folder.name) / "store"
        self._configuration.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream: {{store_dir: "{self._store}", {jetstream}}}\n{settings}\n'
        )
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [self._program, "--config", str(self._configuration)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as sock:
                    if sock.recv(4) == b"INFO":
                        return
            except OSError:
                pass
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def call(self, subject: str, request: Any = None) -> dict[str, Any]:
        """Send a request, and return the answer."""
        payload = b"" if request is None else json.dumps(request).encode()
        with (
            socket.create_connection(("127.0.0.1", self.port), DEADLINE) as sock,
            sock.makefile("rb") as file,
        ):
            sock.sendall(
                b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _INBOX.test 1\r\n'
                + f"PUB {subject} _INBOX.test {len(payload)}\r\n".encode()
                + payload
                + b"\r\n"
            )
            while line := file.readline():
                if line.startswith(b"HMSG"):
                    raise ConnectionError("nobody answers")
                if line.startswith(b"MSG"):
                    answer: dict[str, Any] = json.loads(file.read(int(line.split()[-1])))
                    return answer
        raise ConnectionError("no answer")

    def publish(self, subject: str, payload: bytes) -> None:
        """Publish a message, as other programs do."""
        with (
            socket.create_connection(("127.0.0.1", self.port), DEADLINE) as sock,
            sock.makefile("rb") as file,
        ):
            sock.sendall(
                f"CONNECT {{}}\r\nPUB {subject} {len(payload)}\r\n".encode() + payload + b"\r\nPING\r\n"
            )
            while file.readline() not in (b"PONG\r\n", b""):
                pass

    def streams(self) -> list[str]:
        """Return the names of all streams."""
        return self.call("$JS.API.STREAM.NAMES")["streams"] or []

    def lose_files(self) -> None:
        """Lose all files of JetStream, after the end of the server."""
        shutil.rmtree(self._store)

    def backplane(self, **options: Any) -> Backplane:
        from adapters.topics.nats import NatsBackplane

        return NatsBackplane(f"nats://127.0.0.1:{self.port}", **{"timeout": DEADLINE, **options})

    def forget(self, topic: str) -> None:
        for stream in self.streams():
            request = {"filter": f"topics.kept.{stream.split('-')[1]}.{topic}"}
            self.call(f"$JS.API.STREAM.PURGE.{stream}", request)

    def clear(self) -> None:
        for stream in self.streams():
            self.call(f"$JS.API.STREAM.DELETE.{stream}")


ENGINES: dict[str, type[Engine]] = {"memory": Memory, "redis": RedisServer, "nats": NatsServer}

"""Engines for the tests of topics. Each gives backplanes to several processes, all of them in this one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
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


class RedisServer(Engine):
    """Debian's ``redis-server``, on loopback; its data is in memory, unless it is told otherwise."""

    runtimes = ("asyncio", "uvloop")

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

    def kill(self) -> None:
        """End at once."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        self._folder.cleanup()

    def backplane(self, **options: Any) -> Backplane:
        from adapters.topics.redis import RedisBackplane

        return RedisBackplane(f"redis://127.0.0.1:{self.port}/0", **{"timeout": DEADLINE, **options})

    def forget(self, topic: str) -> None:
        self.call("DEL", f"topics:{{{topic}}}:position", f"topics:{{{topic}}}:history")

    def clear(self) -> None:
        self.call("FLUSHALL")


ENGINES: dict[str, type[Engine]] = {"memory": Memory, "redis": RedisServer}

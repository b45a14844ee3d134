"""Backplanes whose engine is another program: they connect to it again and again."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod

from wsproto_core.checks import check_seconds
from wsproto_core.connect.reconnect import exponential_delays

from .backplane import Backplane, Receiver
from .tasks import Tasks

__all__ = ["EngineBackplane"]


class EngineBackplane(Backplane):
    """What the backplanes on Redis and on NATS share, on asyncio.

    A subclass defines how to connect, how long a connection lasts, and these attributes:

    Attributes:
        _failures: the exceptions that mean that the engine is lost.
        _prefix_form: what a prefix of names matches.
        _prefix_rule: the same in words, for an error.
    """

    runtimes = ("asyncio",)
    _failures: tuple[type[Exception], ...]
    _prefix_form: re.Pattern[str]
    _prefix_rule: str

    def __init__(self, prefix: str, timeout: float, check_interval: float) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {prefix!r}")
        if not self._prefix_form.fullmatch(prefix):
            raise ValueError(f"prefix {self._prefix_rule}, not {prefix!r}")
        for name, seconds in (("timeout", timeout), ("check_interval", check_interval)):
            if seconds is None:
                raise TypeError(f"{name} must be a number of seconds")
            check_seconds(name, seconds)
        self._receiver: Receiver | None = None
        self._tried = asyncio.Event()
        self._last_heard: float | None = None

    @property
    def last_heard(self) -> float | None:
        """When the engine last sent anything, in seconds since 1970; ``None`` if it never did."""
        return self._last_heard

    async def open(self, receiver: Receiver, tasks: Tasks) -> None:
        if self._receiver is not None:
            raise RuntimeError(f"a {type(self).__name__} is for one object of Topics: make one for each")
        self._receiver = receiver
        tasks.start(self._run)
        await self._tried.wait()

    async def _run(self) -> None:
        """Connect again and again, and receive live messages."""
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
            except self._failures as error:
                if connected or not told:
                    self._receiver.lost(error)
                connected, told = False, True
            finally:
                self._tried.set()
                await self._disconnect()
            await asyncio.sleep(next(delays))

    @abstractmethod
    async def _connect(self) -> None:
        """Connect to the engine."""

    @abstractmethod
    async def _receive(self) -> None:
        """Receive live messages until the connection is lost, and raise the reason."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """End the connection, if there is one, or what has been made of it."""

"""A connection to a NATS server by nats-py: requests, subscriptions, and the reason why it has ended.

A connection ends at its first error, and is never used again: nats-py's own reconnecting is off, because what
is published meanwhile is lost, and who makes the next connection has to say so.

Answers have a subject of this connection, ``PREFIX.answers.CONNECTION.NUMBER``. A message that the connection
sends to itself comes back when the server has processed all that was sent before it: so it is known that the
server is there, has a message, or knows a subscription. This is in place of nats-py's requests and flushing:
they wait for their deadline when the connection is lost, and a flush that was cancelled ends the reading.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from .memory import new_epoch

try:
    from nats.aio.client import Client
    from nats.errors import Error
except ImportError as error:
    raise ImportError(
        "adapters.topics.nats needs nats-py: pip install 'wsproto-core[nats]', "
        "or in a checkout: pip install '.[nats]'"
    ) from error

__all__ = ["FAILURES", "Connection", "Received"]

Received = Callable[[str, bytes, Mapping[str, str]], object]
"""Called with the subject, the payload and the headers of a message."""

FAILURES = (Error, OSError)
"""What is raised when the server is lost."""

NO_LIMITS = {"pending_msgs_limit": 0, "pending_bytes_limit": 0}
"""Messages are taken as they come; with limits, nats-py would drop some."""

CLOSING_TIME = 1.0
"""Seconds for sending what is unsent at the end."""


class Connection:
    """A connection.

    Attributes:
        last_heard: when the server last sent anything, in seconds since 1970; ``None`` if it never did.
    """

    def __init__(self, prefix: str, timeout: float, received: Received) -> None:
        """
        Args:
            prefix: the beginning of subjects.
            timeout: the deadline in seconds for connecting and for each answer.
            received: called with each message that is subscribed to.
        """
        self.last_heard: float | None = None
        self._answer_subject = f"{prefix}.answers.{new_epoch()}"
        self._timeout = timeout
        self._received = received
        self._client: Any = Client()
        self._subscriptions: dict[str, Any] = {}
        self._answers: dict[str, asyncio.Future[bytes | None]] = {}
        self._number = 0
        self._ended = asyncio.Event()
        self._error: Exception | None = None

    async def open(self, servers: str | list[str], options: Mapping[str, Any]) -> None:
        """Connect.

        Args:
            servers: the addresses.
            options: those of ``nats.connect``.

        Raises:
            OSError, nats.errors.Error: there is no connection.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._client.connect(
                    servers,
                    **{
                        "connect_timeout": self._timeout,
                        "max_reconnect_attempts": 1,
                        "reconnect_time_wait": 0,
                        **options,
                        "allow_reconnect": False,
                        "no_echo": False,
                        "flush_timeout": self._timeout,
                        "error_cb": self._report,
                        "closed_cb": self._report_end,
                    },
                )
        except FAILURES as error:
            # nats-py says that there are no servers, and before that, why.
            raise ConnectionError(f"there is no connection to NATS: {self._error or error!r}") from error
        # Another of the servers may have failed before.
        self._error = None
        self._ended.clear()
        await self._client.subscribe(f"{self._answer_subject}.*", cb=self._take_answer, **NO_LIMITS)
        await self.check()

    async def close(self) -> None:
        """End the connection; whoever waits for an answer gets an error."""
        self._end(ConnectionError("the connection to NATS was closed"))
        closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(closing)
        finally:
            # Closing that is cancelled would leave tasks of nats-py.
            while not closing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([closing])

    async def _close(self) -> None:
        transport = self._client._transport
        if not transport:
            return  # it was never connected, and nats-py 2.11 cannot close that
        subscriptions = list(self._client._subs.values())
        try:
            with suppress(*FAILURES):
                async with asyncio.timeout(CLOSING_TIME):
                    await self._client.close()
        finally:
            # When its closing fails, nats-py leaves these.
            for subscription in subscriptions:
                subscription._stop_processing()
            transport.close()

    async def run(self, check_interval: float) -> None:
        """Wait for the end of the connection, and look for it.

        Args:
            check_interval: the seconds between two questions whether the server is there.

        Raises:
            OSError, nats.errors.Error: the reason of the end.
        """
        while self._error is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(check_interval):
                    await self._ended.wait()
            if self._error is None:
                await self.check()
        raise self._error

    @property
    def max_payload(self) -> int:
        """The limit of the server on the size of a message with its headers, in bytes."""
        limit: int = self._client.max_payload
        return limit

    # What nats-py calls

    async def _report(self, error: Exception) -> None:
        # The publisher of a message that is not permitted waits in vain, but nothing else is lost.
        if "permissions violation for publish" not in str(error):
            self._end(error)

    async def _report_end(self) -> None:
        self._end(ConnectionError("the connection to NATS was lost"))

    def _end(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._ended.set()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ConnectionError(f"the connection to NATS was lost: {self._error!r}"))

    async def _take_answer(self, message: Any) -> None:
        self.last_heard = time.time()
        future = self._answers.get(message.subject)
        if future is not None and not future.done():
            nobody = (message.headers or {}).get("Status") == "503"
            future.set_result(None if nobody else message.data)

    async def _take(self, message: Any) -> None:
        self.last_heard = time.time()
        self._received(message.subject, message.data, message.headers or {})

    # Requests

    async def send(self, subject: str, payload: bytes) -> None:
        """Send a message, and do not wait for the server.

        Args:
            subject: its subject.
            payload: its payload.

        Raises:
            OSError, nats.errors.Error: the connection is lost.
        """
        await self._client.publish(subject, payload)

    async def ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> bytes | None:
        """Send a request, and return the answer; ``None`` if nobody listens to its subject.

        Args:
            subject: its subject.
            payload: its payload.
            headers: its headers.

        Raises:
            OSError, nats.errors.Error: there was no answer.
        """
        return await self._request(subject, payload, headers)

    async def check(self) -> None:
        """Wait until the server has processed all that was sent before.

        Raises:
            OSError, nats.errors.Error: there was no answer, or the connection has ended.
        """
        await self._request(None, b"", None)
        if self._error is not None:
            raise self._error

    async def _request(
        self, subject: str | None, payload: bytes, headers: Mapping[str, str] | None
    ) -> bytes | None:
        self._number += 1
        reply = f"{self._answer_subject}.{self._number}"
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._answers[reply] = future
        try:
            # Two deadlines: nats-py may lose a cancellation while it sends.
            async with asyncio.timeout(self._timeout):
                await self._client.publish(
                    subject or reply, payload, "" if subject is None else reply, headers=headers
                )
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError as error:
            raise TimeoutError(f"NATS has not answered for {self._timeout:g} seconds") from error
        finally:
            del self._answers[reply]
            if future.done() and not future.cancelled():
                future.exception()

    # Subscriptions

    async def subscribe(self, subject: str) -> None:
        """Receive what is published to a subject from the next :meth:`check` on.

        Args:
            subject: the subject, which may have wildcards.

        Raises:
            OSError, nats.errors.Error: the connection is lost.
        """
        if subject not in self._subscriptions:
            self._subscriptions[subject] = await self._client.subscribe(subject, cb=self._take, **NO_LIMITS)

    async def unsubscribe(self, subject: str) -> None:
        """Receive it no more.

        Args:
            subject: the subject.

        Raises:
            OSError, nats.errors.Error: the connection is lost.
        """
        subscription = self._subscriptions.pop(subject, None)
        if subscription is not None:
            await subscription.unsubscribe()

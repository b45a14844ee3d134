"""A relay between a client and a server that fails at one step of their conversation.

It takes the bytes of each direction apart into steps: the head of the opening handshake, then each frame. One
step of one direction is passed on in another way, or it is the last one.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import NamedTuple

from tests.core.helpers import CLOSE, CONTINUATION, Frame

from .peers import unmask
from .proxies import HOST, Proxy

__all__ = [
    "FAULTS",
    "TO_CLIENT",
    "TO_SERVER",
    "Fault",
    "FaultyRelay",
    "close_code",
    "frames_of",
    "messages_of",
]

TO_SERVER, TO_CLIENT = 0, 1

FAULTS = ("split", "delay", "end", "reset")
"""A step arrives byte by byte; in two parts, with a pause; the direction ends for ever, and the other one
goes on; the stream is reset in both directions."""

PAUSE = 0.03
"""Seconds between two parts of a step that is delayed."""


class Fault(NamedTuple):
    """What happens, in which direction, at which of its steps, and after which share of its bytes."""

    kind: str
    direction: int
    step: int
    share: float = 0.5


class FaultyRelay(Proxy):
    """Passes on what a client and a server send, with a fault.

    Attributes:
        passed: for each direction, the steps that were passed on to their ends.
    """

    scheme = "ws"

    def __init__(self, port: int, fault: Fault | None = None) -> None:
        self.passed: tuple[list[bytes], list[bytes]] = ([], [])
        self._port = port
        self._fault = fault
        super().__init__()

    def handle(self, client: socket.socket) -> None:
        with socket.create_connection((HOST, self._port)) as server:
            ends = (server, client)
            for sock in ends:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._pass_on(ends)
            except ConnectionAbortedError:
                for sock in ends:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pass_on(self, ends: tuple[socket.socket, socket.socket]) -> None:
        """Pass on until both ends have ended their halves, or one is gone."""
        unread = [ends[TO_CLIENT], ends[TO_SERVER]]  # who is read in each direction
        received = [b"", b""]
        reading = {TO_SERVER, TO_CLIENT}
        while reading:
            readable, _, _ = select.select([*(unread[each] for each in reading), self._stopped], [], [])
            if self._stopped in readable:
                return
            for direction in [each for each in reading if unread[each] in readable]:
                data = unread[direction].recv(65536)
                if not data:
                    reading.remove(direction)
                    with contextlib.suppress(OSError):
                        ends[direction].shutdown(socket.SHUT_WR)
                received[direction] += data
                while step := self._next_step(direction, received[direction]):
                    received[direction] = received[direction][len(step) :]
                    self._pass_step(direction, ends[direction], step)

    def _next_step(self, direction: int, data: bytes) -> bytes:
        """Return the next step in the bytes, or nothing if it is incomplete."""
        passed = self.passed[direction]
        if not passed:
            head, end, _ = data.partition(b"\r\n\r\n")
            return head + end if end else b""
        if direction == TO_CLIENT and b" 101 " not in passed[0]:
            return data  # the body of a refusal
        frame = _first_frame(data)
        return data[: frame[1]] if frame else b""

    def _pass_step(self, direction: int, end: socket.socket, step: bytes) -> None:
        fault = self._fault
        number = len(self.passed[direction])
        if fault is None or direction != fault.direction or number < fault.step:
            end.sendall(step)
        elif number > fault.step:
            if fault.kind == "end":
                return  # dropped
            end.sendall(step)
        elif fault.kind == "split":
            for byte in step:
                end.sendall(bytes([byte]))
                time.sleep(0.0001)
        else:
            count = int(len(step) * fault.share)
            end.sendall(step[:count])
            if count == len(step):
                self.passed[direction].append(step)
            if fault.kind == "reset":
                raise ConnectionAbortedError
            if fault.kind == "end":
                end.shutdown(socket.SHUT_WR)
                if count < len(step):
                    self._fault = fault._replace(step=number - 1)  # all that follow are dropped
                return
            time.sleep(PAUSE)
            end.sendall(step[count:])
        self.passed[direction].append(step)


def _first_frame(data: bytes) -> tuple[Frame, int] | None:
    """Return the first frame, of at most 125 bytes, and its size."""
    if len(data) < 2:
        return None
    length = data[1] & 0x7F
    assert length < 126
    start = 6 if data[1] & 0x80 else 2
    if len(data) < start + length:
        return None
    payload = data[start : start + length]
    if start == 6:
        payload = unmask(payload, data[2:6])
    return Frame(data[0] & 0x0F, payload, bool(data[0] & 0x80)), start + length


def frames_of(steps: list[bytes]) -> list[Frame]:
    """The frames among steps that were passed on."""
    return [frame[0] for step in steps[1:] if (frame := _first_frame(step))]


def messages_of(steps: list[bytes]) -> list[str]:
    """The whole text messages among steps that were passed on."""
    messages: list[str] = []
    payload = b""
    for frame in frames_of(steps):
        if frame.opcode <= 2:
            payload = frame.payload if frame.opcode != CONTINUATION else payload + frame.payload
            if frame.fin:
                messages.append(payload.decode())
    return messages


def close_code(steps: list[bytes]) -> int:
    """The code of the close frame among steps that were passed on; 1006 without one (section 7.1.5)."""
    codes = [int.from_bytes(frame.payload[:2], "big") for frame in frames_of(steps) if frame.opcode == CLOSE]
    return codes[0] if codes else 1006

"""What a case is: the steps of a hostile peer, and what is expected of the side that it attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.core.helpers import CLOSE, Frame, close_payload

if TYPE_CHECKING:
    from .driver import Observed

SERVER, CLIENT = "server", "client"
BOTH = (SERVER, CLIENT)

LIMIT = 2**20
"""Bytes in a message: the library's default, and what the servers of `bench/` are given."""


class Header(NamedTuple):
    """The header of a frame without its payload, and without its masking key unless that is asked for."""

    opcode: int
    length: int
    fin: bool = True
    reserved: int = 0
    length_bytes: int | None = None
    wrong_mask: bool = False
    key: bool = False


Part = bytes | Frame | Header


class Send(NamedTuple):
    """Send bytes and frames in one piece."""

    parts: tuple[Part, ...]


class Drip(NamedTuple):
    """Send one byte at a time, and wait in between."""

    data: bytes
    interval: float


class Flood(NamedTuple):
    """Send the same again and again without reading anything, up to a size or until nobody reads it."""

    parts: tuple[Part, ...]
    size: int


class Wait(NamedTuple):
    """Wait until so many `messages` or `pongs` have come."""

    kind: str
    count: int


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class End(NamedTuple):
    """End this half of the stream."""


class Reset(NamedTuple):
    """Close the stream by a reset."""


Step = Send | Drip | Flood | Wait | Pause | End | Reset


def send(*parts: Part) -> Send:
    return Send(parts)


GOODBYE = send(Frame(CLOSE, close_payload(1000)))
"""The end of a case in which nothing may have gone wrong."""


@dataclass(frozen=True)
class Expect:
    """What is expected.

    Attributes:
        close: the codes that a close frame may have; `None` for no close frame.
        status: the statuses that the response may have.
        messages: all messages that come back, in order; `None` for any.
        before: messages that may come back before the connection is failed.
        pongs: the payloads of all pongs, in order; `None` for any.
        closed: whether the stream must end by itself.
        errors: on a client, the exceptions that may be raised.
        says_why: whether the close frame has a reason; other libraries need not give one.
        check: more to look at: returns what is wrong, or nothing.
    """

    close: frozenset[int] | None = None
    status: frozenset[int] | None = None
    messages: tuple[bytes, ...] | None = None
    before: tuple[bytes, ...] = ()
    pongs: tuple[bytes, ...] | None = None
    closed: bool = False
    errors: frozenset[str] = frozenset()
    says_why: bool = False
    check: Callable[[Observed], str] | None = None

    def fault(self, observed: Observed) -> str:
        """Return what the other side did that was wrong; an empty text if nothing was."""
        if self._is_right(observed):
            return "" if self.check is None else self.check(observed)
        return observed.describe() or "nothing"

    def _is_right(self, observed: Observed) -> bool:
        if observed.wrong:
            return False
        if self.status is not None and observed.status not in self.status:
            return False
        if self.status is None and observed.status not in (None, 101):
            return False
        if self.close is not None and observed.close not in self.close:
            return False
        if self.closed and observed.end == "open":
            return False
        if self.pongs is not None and tuple(observed.pongs) != self.pongs:
            return False
        if self.messages is not None:
            return tuple(observed.messages) == self.messages
        return not self.before or tuple(observed.messages) in ((), self.before)


@dataclass(frozen=True, repr=False)
class Case:
    """One kind of hostile input.

    Attributes:
        name: the number of its row, and what it is, in a few words.
        section: of the RFC that decides.
        steps: what is done after the opening handshake, or instead of it.
        expect: of the other side.
        row: the number of the row, or the name of the advisory.
        opened: whether the opening handshake is done before.
        offer: the extensions that are offered to a server.
        answer: the extensions that a client is told have been accepted.
        answering: the steps instead of the opening handshake, given the headers of a client's request.
        path: that is asked for.
        options: of this library's server or client.
        sides: which sides are attacked.
        peers: whether it is played against other libraries.
        bytewise: whether it is also played byte by byte.
        patience: seconds that other libraries get.
        memory: bytes by which the attacked process may grow while it is played.
    """

    name: str
    section: str
    steps: tuple[Step, ...] = ()
    expect: Expect = Expect()
    row: int | str = 0
    opened: bool = True
    offer: str | None = None
    answer: str | None = None
    answering: Callable[[dict[str, str]], tuple[Step, ...]] = lambda headers: ()
    path: str = "/"
    options: Mapping[str, Any] = field(default_factory=dict)
    sides: tuple[str, ...] = BOTH
    peers: bool = True
    bytewise: bool = False
    patience: float = 3.0
    memory: int | None = None

    def __post_init__(self) -> None:
        if not self.row:
            object.__setattr__(self, "row", int(self.name[:2]))

    def __repr__(self) -> str:
        return self.name if isinstance(self.row, int) else f"{self.row} {self.name}"


def failing(code: int | tuple[int, ...], before: tuple[bytes, ...] = ()) -> Expect:
    """The connection is failed with a code."""
    codes = frozenset((code,) if isinstance(code, int) else code)
    return Expect(close=codes, messages=None if before else (), before=before, says_why=True)


def answered(code: int) -> Expect:
    """The close frame of the peer is answered with its code, or without one if that is 1005."""
    return Expect(close=frozenset((code,)), messages=())


def going_on(*messages: bytes, pongs: tuple[bytes, ...] | None = None) -> Expect:
    """Nothing goes wrong: messages come back, and then the close frame."""
    return Expect(close=frozenset((1000,)), messages=messages, pongs=pongs)


def refused(*statuses: int, closed: bool = True) -> Expect:
    """A server refuses the request."""
    return Expect(status=frozenset(statuses), closed=closed)


def raised(*errors: str) -> Expect:
    """A client refuses the response."""
    return Expect(errors=frozenset(errors))

"""What has happened at one endpoint, as it was noted when it happened: the checks derive from it what the
endpoint may see."""

from __future__ import annotations

from typing import Any

from wsproto_core import Close

__all__ = ["Facts"]


class Facts:
    """What has happened at one endpoint. Times are those of its own clock.

    Attributes:
        opened: whether it was open.
        reset: whether it has found the stream reset.
        reset_by_fault: whether something in between has reset it.
        half_closed: whether its half of the stream has been ended behind its back.
        wrote_after_end: whether it has written to that half.
        killed: whether its process has ended.
        aborted: whether it has closed the stream before everything was written and read.
        eof: whether it has read the end of the peer's half.
        heard_at: when it has read bytes last.
        progress_at: when it has written bytes last, or had nothing left to write.
        failed_at: when the first error was there.
        ending_at: when the end began: a close frame of either side, an error, the end of the stream.
        closed_at: when it has closed the stream.
        received_before: messages that its application had received by then.
        decodable: messages that were complete on the wire while it was still parsing.
        late: seconds for which it was not at work, or its clock has jumped, since the end began.
        overdue: seconds of the periods that deadlines were given anew since the end began.
        wanted: the close frames that its application has asked for while it was open, in order.
        own: those of them before which nothing else has ended the conversation.
        closes: the events of close frames that have been received.
        largest: bytes in the largest message that it has sent, or begun to send.
        oversize: the position of the first message that it has sent and the peer may refuse for its size.
        too_large: the position of the first message that the peer must refuse for its size.
        paused: whether its application has stopped receiving for a while.
        failed: whether its application has let the connection fail.
        rejected: whether it is a server that has refused the opening handshake.
    """

    __slots__ = (
        "aborted", "closed_at", "closes", "decodable", "ending_at", "eof", "failed", "failed_at",
        "half_closed", "heard_at", "killed", "largest", "late", "opened", "overdue", "oversize", "own",
        "paused", "progress_at", "received_before", "rejected", "reset", "reset_by_fault", "too_large",
        "wanted", "wrote_after_end",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.opened = False
        self.reset = False
        self.reset_by_fault = False
        self.half_closed = False
        self.wrote_after_end = False
        self.killed = False
        self.aborted = False
        self.eof = False
        self.heard_at = now
        self.progress_at = now
        self.failed_at: float | None = None
        self.ending_at: float | None = None
        self.closed_at: float | None = None
        self.received_before = 0
        self.decodable = 0
        self.late = 0.0
        self.overdue = 0.0
        self.wanted: list[Close] = []
        self.own: list[Close] = []
        self.closes: list[Close] = []
        self.largest = 0
        self.oversize: int | None = None
        self.too_large: int | None = None
        self.paused = False
        self.failed = False
        self.rejected = False

    def __repr__(self) -> str:
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return ", ".join(
            f"{name}={value!r}" for name, value in values.items() if value not in (False, None, [])
        )

"""What must hold in the end, derived from what has happened: :class:`~.facts.Facts`."""

from __future__ import annotations

import math
from typing import Any

from wsproto_core import Close, ConnectionClosed, PayloadTooBig, State, StreamAction

from .endpoint import MESSAGE_OVERHEAD, Endpoint, Violation

__all__ = ["check_both", "check_end", "describe", "is_at_rest", "is_cut", "silence_bound"]

ABNORMAL = 1006


def describe(*ends: Endpoint) -> str:
    """Describe the condition of endpoints, for a violation."""
    return "; ".join(
        f"{end.name} is {end.protocol.state.value}, has sent {len(user.sent)}, received {user.received}, "
        f"has {end.protocol.undelivered} undelivered, {end.protocol.queued} queued, "
        f"{end.protocol.unwritten} unwritten, wants_read={end.protocol.wants_read}, "
        f"writable={end.protocol.writable}, {end.facts}"
        for end in ends
        for user in [_user(end)]
    )


def require(condition: object, what: str, *ends: Endpoint) -> None:
    """Raise a violation unless a condition holds."""
    if not condition:
        raise Violation(f"{what}: {describe(*ends)}")


def _user(end: Endpoint) -> Any:
    return end.user


def _cause(end: Endpoint) -> BaseException | None:
    """The first error; to ask for the whole exception, of which it is the cause, takes longer."""
    return end.protocol._closing.cause


# While it goes on


def is_cut(end: Endpoint) -> bool:
    """Whether what an end sends does not arrive any more, though it is open."""
    return end.outgoing.lost or (end.facts.half_closed and end.protocol.state is State.OPEN)


def is_at_rest(end: Endpoint) -> bool:
    """Whether an open connection has done all there is to do, and would do more if it were asked to."""
    protocol, user, peer = end.protocol, _user(end), _user(end.peer)
    return (
        user.received == len(peer.sent)
        and not user.pings
        and not protocol.undelivered
        and protocol.writable
        and protocol.wants_read
    )


def silence_bound(end: Endpoint) -> float | None:
    """Seconds after which an end must have closed because its peer is silent; ``None`` if it need not."""
    settings: Any = end.protocol._settings
    lost = end.incoming.lost and not end.facts.eof and not end.closed
    if not lost or end.protocol.state is not State.OPEN:
        return None
    if settings.ping_interval is None or settings.ping_timeout is None:
        return None
    # A deadline may be late once, and the ping before may have been written just now.
    bound: float = settings.ping_interval + 4 * settings.ping_timeout + 3 * settings.close_timeout
    return bound


# In the end


def check_end(end: Endpoint) -> None:
    """Check one end on its own, and by what has happened to its peer."""
    protocol, facts = end.protocol, end.facts
    require(protocol.state is State.CLOSED, "not closed", end)
    require(protocol.deadline() is None, "a deadline after the end", end)
    require(protocol.data_to_send() == [], "output after the end", end)
    require(protocol.stream_action is StreamAction.CLOSE, "an action after the end", end)
    require(protocol.undelivered == 0, "messages that cannot be taken", end)
    exception = protocol.close_exception()
    received = exception.received
    require(exception.code == (received.code if received else ABNORMAL), "the wrong code", end)
    require(protocol.close_code == exception.code, "two codes", end)
    require(exception.__cause__ is _cause(end), "another cause", end)
    require(facts.closes == ([received] if received else []), "another close frame in the events", end)
    _check_command(end)
    if facts.opened:
        _check_cause(end)
        _check_own_frame(end)
        _check_messages(end)
        _check_time(end)
    else:
        require(protocol.handshake_error is not None, "not opened without an error", end)


def _check_command(end: Endpoint) -> None:
    """A command raises the documented exception."""
    try:
        end.protocol.send("too late")
    except ConnectionClosed:
        return
    raise Violation("a message can be sent after the end")


def _check_cause(end: Endpoint) -> None:
    """The first error has its reason in what has happened."""
    protocol, facts, peer = end.protocol, end.facts, end.peer
    settings: Any = protocol._settings
    exception = protocol.close_exception()
    cause = exception.__cause__
    require(
        (exception.received is None) is (cause is not None), "a close frame and an error, or neither", end
    )
    require((facts.failed_at is None) is (cause is None), "a failure without an event", end)
    if cause is None or facts.failed_at is None:
        return
    text = str(cause)
    if isinstance(cause, TimeoutError) and text.startswith("no close frame"):
        since, period = facts.ending_at, settings.close_timeout
    elif isinstance(cause, TimeoutError) and text.startswith("nothing received"):
        since, period = facts.heard_at, settings.ping_timeout
    elif isinstance(cause, TimeoutError) and text.startswith("no progress"):
        since, period = facts.progress_at, settings.ping_timeout
    else:
        since, period = -math.inf, 0
    require(since is not None and facts.failed_at - since >= period, f"{text}, but too early", end)
    if isinstance(cause, EOFError):
        reason = facts.killed or (facts.eof and not _ended_well(peer))
    elif isinstance(cause, ConnectionResetError):
        reason = facts.reset and (facts.reset_by_fault or not _ended_well(peer))
    elif isinstance(cause, BrokenPipeError):
        reason = facts.wrote_after_end and facts.half_closed
    elif isinstance(cause, PayloadTooBig):
        reason = peer.facts.oversize is not None
    elif isinstance(cause, RuntimeError):
        reason = facts.failed
    else:
        reason = isinstance(cause, TimeoutError)
    require(reason, f"no reason for {cause!r}", end, peer)


def _ended_well(end: Endpoint) -> bool:
    """Whether an end has sent everything, with its close frame, before it ended the stream."""
    facts = end.facts
    return (
        facts.opened
        and not (facts.half_closed or facts.killed or facts.aborted or facts.reset or facts.wrote_after_end)
        and _cause(end) is None
    )


def _check_own_frame(end: Endpoint) -> None:
    """The close frame that was sent is the right one."""
    facts, closing = end.facts, end.protocol._closing
    sent, received, cause = closing.sent, closing.received, closing.cause
    if end.protocol.close_exception().received_first:
        require(received is not None and sent == Close(received.code), "not the code that was received", end)
        require(not facts.own, "a close frame of its own after the peer's", end)
    elif facts.own:
        require(sent == facts.own[0], f"not {facts.own[0]}", end)
    elif isinstance(cause, PayloadTooBig):
        # The error may be found in bytes that were kept until the application closed.
        require(sent is not None and (sent.code == 1009 or sent in facts.wanted), "not 1009", end)
    elif isinstance(cause, EOFError) and str(cause).startswith("the peer ended"):
        require(sent is not None and sent.code == 1002, "not 1002", end)
    elif isinstance(cause, TimeoutError) and str(cause).startswith("nothing received"):
        require(sent == Close(1011, "keepalive ping timeout"), "not 1011", end)
    else:
        require(sent is None, "a close frame that nobody wanted", end)
    got = end.peer.protocol._closing.received
    require(got is None or got == sent, "the peer has received another close frame", end, end.peer)


def _check_messages(end: Endpoint) -> None:
    """What must have been received has been."""
    facts, user, peer = end.facts, _user(end), end.peer
    sent, received = _user(peer).sent, user.received
    cause = _cause(end)
    too_large = peer.facts.too_large
    require(too_large is None or received <= too_large, "a message that is too large", end, peer)
    if peer.facts.oversize is not None and received >= peer.facts.oversize:
        return
    if _may_drop(end):
        return
    if cause is None:
        # The peer's close frame is behind all of its messages, unless it has dropped them.
        dropped = _cause(peer) is not None
        require(dropped or received == len(sent), "messages before the close frame are lost", end, peer)
    if cause is None or (isinstance(cause, EOFError | OSError) and not isinstance(cause, TimeoutError)):
        require(received == facts.decodable, "messages that were read are lost", end)


def _may_drop(end: Endpoint) -> bool:
    """Whether there may be no room for messages when the connection ends: reading goes on without it."""
    settings: Any = end.protocol._settings
    rest = _user(end.peer).sent[end.facts.received_before :]
    size = sum(len(message.encode() if isinstance(message, str) else message) for message in rest)
    return bool(
        len(rest) > settings.max_queue.high or size + MESSAGE_OVERHEAD * len(rest) > settings.read_limit.high
    )


def _check_time(end: Endpoint) -> None:
    """The end comes within two closing deadlines."""
    facts = end.facts
    settings: Any = end.protocol._settings
    if settings.close_timeout is None or facts.ending_at is None or facts.closed_at is None:
        return
    took = facts.closed_at - facts.ending_at
    bound = 2 * settings.close_timeout + facts.late + facts.overdue
    require(took <= bound, f"closing took {took} seconds, not {bound}", end)


def check_both(client: Endpoint, server: Endpoint, *, prompt: bool) -> None:
    """Check what both ends say of each other.

    Args:
        client, server: the ends.
        prompt: whether nothing can delay anything for as long as the shortest deadline.
    """
    ends = (client, server)
    for end, peer in (ends, ends[::-1]):
        if not (end.facts.opened and peer.facts.opened):
            return
        if not _user(end).pings or _cause(end) is not None or _cause(peer) is not None:
            continue
        ours, theirs = end.protocol.close_exception(), peer.protocol.close_exception()
        if not ours.received_first and theirs.received_first:
            # Pings are answered in order, and these are before the close frame.
            raise Violation(f"pings without an answer: {describe(end, peer)}")
    if prompt and not any(
        end.facts.failed or end.facts.paused or end.facts.oversize is not None for end in ends
    ):
        for end in ends:
            require(_cause(end) is None, "no clean end", client, server)
            require(not end.facts.overdue, "a deadline was late", client, server)

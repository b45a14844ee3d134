"""What a program needs of the state machine that shares a connection among threads.

One lock guards a state machine. It must not be held for long, nor is what an exception leaves behind
that comes in the middle of a method, as from a signal handler. This is a part of the state machine
that has a file of its own, as few embedders need it: it reaches into :class:`.Protocol`.
"""

from __future__ import annotations

from .events import Failure
from .prepared import Message
from .protocol import Protocol
from .states import Phase
from .types import State

__all__ = ["encode", "give_up", "send_encoded"]


def encode(
    protocol: Protocol, message: Message, *, text: bool | None, fin: bool, compress: bool | None
) -> list[bytes]:
    """Do the first half of :meth:`.Protocol.send`, which may take long, without the lock.

    No other message may be encoded meanwhile, and :func:`send_encoded` must follow before the next.
    If it cannot, nothing more may be sent: what is compressed next might refer to this message.

    Arguments and errors: see :meth:`.Protocol.send`.

    Returns:
        Buffers for :func:`send_encoded`.
    """
    if protocol.state is not State.OPEN:
        protocol._check_open()
    return protocol._outbox.encode(message, text, fin, compress)


def send_encoded(protocol: Protocol, buffers: list[bytes], *, fin: bool) -> None:
    """Do the second half of :meth:`.Protocol.send`, with the lock.

    Raises:
        ConnectionClosed: the connection has been closed meanwhile, or is closing.
    """
    if protocol.state is not State.OPEN:
        protocol._check_open()
    protocol._outbox.add(buffers)
    protocol._messages_sent += fin


def give_up(protocol: Protocol, error: Exception) -> None:
    """An exception has come in the middle of a method: the connection is closed, and the stream is lost.

    It cannot be known what was done and what was not. So nothing is parsed and nothing is sent any
    more; messages that are complete can still be taken. This may be called more than once.

    Args:
        error: the cause, for :exc:`.ConnectionClosed`.
    """
    inbox = protocol._inbox
    inbox.drop_all_but_messages()
    protocol._outbox.drop_all()
    protocol._timers.allow(())
    if protocol._phase is not Phase.CLOSED:
        if protocol._closing.cause is None:
            protocol._closing.fail(error, lost=False)
        protocol._notify(Failure(error, False, protocol._closing.sent))
    protocol._closing.deferred = None
    protocol._enter(Phase.CLOSED)

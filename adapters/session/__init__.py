"""A client that stays, on asyncio, trio and anyio: it connects and subscribes again, and gets what it missed.

:class:`Session` is for servers that use :func:`adapters.topics.session.serve_session`. On threads, there is
:class:`adapters.threading.session.Session`.
"""

from ..shared.positions import START, Gap, Position
from .decisions import Message, NotPublished, Refused, SessionEnded, SessionEvent, SessionPhase, Unconfirmed
from .session import Session

__all__ = [
    "START",
    "Gap",
    "Message",
    "NotPublished",
    "Position",
    "Refused",
    "Session",
    "SessionEnded",
    "SessionEvent",
    "SessionPhase",
    "Unconfirmed",
]

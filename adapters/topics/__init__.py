"""Topics: one message for many connections, in one process or in several, and subscribers that come back.

:class:`Topics` works with the connections of asyncio, trio and anyio. It uses an engine that connects
processes, by a backplane, and none of its own.
"""

from ..shared.positions import START, Gap, GapReason, Position
from .backlog import Policy
from .backplane import Backplane, BackplaneLost, Receiver, Request
from .delivery import Subscription
from .history import PLAIN, Entry, Format, Retention, Window
from .memory import MemoryBackplane
from .tasks import Tasks
from .topics import Health, Topics

__all__ = [
    "PLAIN",
    "START",
    "Backplane",
    "BackplaneLost",
    "Entry",
    "Format",
    "Gap",
    "GapReason",
    "Health",
    "MemoryBackplane",
    "Policy",
    "Position",
    "Receiver",
    "Request",
    "Retention",
    "Subscription",
    "Tasks",
    "Topics",
    "Window",
]

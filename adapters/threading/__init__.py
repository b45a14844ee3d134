"""WebSocket clients and servers on blocking sockets and threads."""

from ..shared import public
from ..shared.public import *  # noqa: F403
from . import client, server
from .broadcast import Broadcast, broadcast
from .client import *  # noqa: F403
from .connection import Connection, PongWaiter
from .server import *  # noqa: F403

Ping = PongWaiter
"""Older name of :class:`PongWaiter`."""

__all__ = ["Broadcast", "Connection", "PongWaiter", "broadcast"]
__all__ += public.__all__
__all__ += client.__all__
__all__ += server.__all__

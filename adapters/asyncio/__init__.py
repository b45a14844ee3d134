"""WebSocket clients and servers on asyncio, and on uvloop."""

from ..shared import public
from ..shared.broadcast import Broadcast, broadcast
from ..shared.public import *  # noqa: F403
from . import client, server
from .client import *  # noqa: F403
from .connection import Connection
from .server import *  # noqa: F403

__all__ = ["Broadcast", "Connection", "broadcast"]
__all__ += public.__all__
__all__ += client.__all__
__all__ += server.__all__

"""A client of topics that stays, on asyncio, and on uvloop: see :mod:`adapters.session`."""

from ..session import *  # noqa: F403

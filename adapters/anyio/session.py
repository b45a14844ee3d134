"""A client of topics that stays, on anyio: see :mod:`adapters.session`."""

from ..session import *  # noqa: F403

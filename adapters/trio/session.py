"""A client of topics that stays, on trio: see :mod:`adapters.session`."""

from ..session import *  # noqa: F403

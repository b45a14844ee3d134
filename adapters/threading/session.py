"""A client of topics that stays, on blocking sockets and threads: see :mod:`adapters.session.synchronous`."""

from ..session.synchronous import *  # noqa: F403

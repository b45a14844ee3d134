"""The command line: ``python -m adapters``, installed as ``wsproto-core``.

A command is a module, ``connect_command`` and its like, which :mod:`.entry` imports when it is asked for.
"""

from .entry import main

__all__ = ["main"]

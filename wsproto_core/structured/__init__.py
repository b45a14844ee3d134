"""Connections, clients and servers on runtimes with structured concurrency, as trio and anyio have it.

What is here depends on neither: an adapter provides a :class:`.Runtime`, and streams as
:class:`.Transport`.
"""

"""What adapters share for runtimes with structured concurrency, as trio and anyio have it.

It is no adapter, and knows no runtime: an adapter provides a :class:`.Runtime`, and streams as
:class:`.Transport`. It is not in the core because it starts tasks, reads and writes.
"""

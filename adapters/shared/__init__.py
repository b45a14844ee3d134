"""What all adapters share that handles sockets and streams, and so cannot be in the core.

It is no adapter, and imports no runtime.
"""

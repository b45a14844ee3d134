"""Test tools for applications: clients in memory for ASGI applications and for connection handlers.

There is a module for each kind: :mod:`.asgi` has ``asgi_client``; :mod:`.asyncio`, :mod:`.trio`,
:mod:`.anyio` and :mod:`.threading` have ``handler_client``. The plugin for pytest imports them when a test
asks for a fixture, so that test suites which do not use it do not pay for it: nothing is imported here.
"""

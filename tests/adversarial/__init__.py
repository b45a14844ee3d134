"""Hostile input over sockets: a table of cases, played against every adapter and against other libraries.

- `cases`: what a case is, and what is expected of the side that it attacks.
- `frames`, `compression`, `handshakes`, `life`, `answers`, `advisories`: the cases.
- `rows`: the list of hostile input, and where each of its rows is tested.
- `driver`: plays a case on a blocking socket, and tells what the other side did.
- `program`, `targets`: a server and clients of this library in a process of their own.
- `compare`: plays the cases against the servers of `bench/`, and writes docs/adversarial.md.
"""

import pytest

pytest.register_assert_rewrite("tests.adversarial.playing")

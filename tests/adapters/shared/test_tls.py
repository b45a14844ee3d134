"""The default TLS context of clients, in several threads and processes."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading

import pytest

from adapters.shared import tls

FORK = """
import os, sys, threading
from adapters.shared import tls

held, release = threading.Event(), threading.Event()

def hold():
    # As a thread does that makes the context while another one forks.
    with tls._default_context._lock:
        held.set()
        release.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    tls.client_context(None)
    os._exit(7)
release.set()
thread.join()
assert tls.client_context(True) is tls.client_context(None)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    begun = threading.Barrier(4)

    def create_default_context() -> ssl.SSLContext:
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return made[-1]

    def use() -> None:
        begun.wait()
        used.append(tls.client_context(True))

    monkeypatch.setattr(tls._default_context, "_context", None)
    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    used: list[ssl.SSLContext] = []
    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert used == made * 4
    assert len(made) == 1


def test_given_context_is_used() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert tls.client_context(context) is context


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_fork_while_it_is_made() -> None:
    ignore = ["-W", "ignore::DeprecationWarning"]  # of forking with threads, which is what is tried
    ended = subprocess.run([sys.executable, *ignore, "-c", FORK], timeout=60, check=False)
    assert ended.returncode == 7

"""Programs of the operating system, which tests start on loopback: reverse proxies and proxies.

Each gets a free port and a directory for its configuration, is waited for until it accepts connections,
and is stopped in the end. Whoever runs the tests may be root or not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.ports import free_port

HOST = "127.0.0.1"
CERTIFICATES = Path(__file__).parent.parent / "certificates"

START = 20.0
"""Seconds that a program may take until it listens."""


def find(program: str) -> str:
    """Return the path of a program; skip the test if there is none.

    Debian keeps some where an ordinary user's shell does not look for them.
    """
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"the program {program} is not installed")
    return path


@contextlib.contextmanager
def running(command: Sequence[str], port: int, directory: Path) -> Iterator[None]:
    """A program that is to listen on a port, and is stopped in the end."""
    output = directory / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=directory)
    try:
        deadline = time.monotonic() + START
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                said = output.read_text(errors="replace")
                raise AssertionError(f"{command[0]} does not listen (status {process.poll()}):\n{said}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr warn;

events {{}}

http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;

{configuration}
}}
"""


@contextlib.contextmanager
def nginx(directory: Path, configuration: str, port: int) -> Iterator[None]:
    """nginx, with what is to be in its block ``http``."""
    program = find("nginx")
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, configuration=configuration))
    command = [program, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", "stderr"]
    with running(command, port, directory):
        yield


TINYPROXY = """\
Port {port}
Listen {host}
Timeout 60
MaxClients 20
Allow 127.0.0.1
LogLevel Warning
{credentials}
"""


@contextlib.contextmanager
def tinyproxy(directory: Path, credentials: tuple[str, str] | None = None) -> Iterator[int]:
    """An HTTP proxy; gives its port."""
    program = find("tinyproxy")
    port = free_port()
    basic = "" if credentials is None else f"BasicAuth {' '.join(credentials)}"
    configuration = directory / "tinyproxy.conf"
    configuration.write_text(TINYPROXY.format(port=port, host=HOST, credentials=basic))
    with running([program, "-d", "-c", str(configuration)], port, directory):
        yield port


@contextlib.contextmanager
def microsocks(directory: Path, credentials: tuple[str, str] | None = None) -> Iterator[int]:
    """A proxy that speaks SOCKS 5; gives its port."""
    program = find("microsocks")
    port = free_port()
    command = [program, "-i", HOST, "-p", str(port)]
    if credentials is not None:
        command += ["-u", credentials[0], "-P", credentials[1]]
    with running(command, port, directory):
        yield port

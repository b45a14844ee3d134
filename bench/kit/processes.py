"""Processes of a measurement: start, pin to a processor, measure CPU time and memory, stop."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

BENCH = Path(__file__).parents[1]
ROOT = BENCH.parent
BINARIES = BENCH / "load" / "bin"
WSLOAD = str(BINARIES / "wsload")
WSECHO = str(BINARIES / "wsecho")
LIMITS = str(BINARIES / "limits")
HOST = "127.0.0.1"

_PROCESSORS = sorted(os.sched_getaffinity(0))
SERVER_CPU = _PROCESSORS[0]
CLIENT_CPU = _PROCESSORS[-1]
"""The processors of the two processes; the same one, if there is only one."""

START_TIMEOUT = 20
START_ATTEMPTS = 3
SETTLE = 0.15
"""Seconds between the first connection to a server and its measurement."""

_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a program that imports the library, the servers and the clients."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{BENCH}", **(extra or {})}


def cpu_seconds_of(pid: int) -> float:
    """CPU time of a whole process, of its finished threads, too."""
    # As clock_getcpuclockid(3) does it.
    return time.clock_gettime((~pid << 3) | 2)


def resident_of(pid: int) -> int:
    """Bytes of a process's memory that are resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise StartError("the process has ended")


def pinned(
    command: Sequence[str],
    cpu: int | None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Start a process in the folder ``bench`` on one processor, or on any if it is ``None``."""
    process = subprocess.Popen(
        command, cwd=BENCH, env=environment(env), stdout=stdout, stderr=stderr, text=True
    )
    if cpu is not None:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(process.pid, {cpu})
    return process


class AnswerError(Exception):
    """A process did not answer."""


class Answering:
    """A process that answers each line with a line; a context manager that kills it at the end.

    Attributes:
        pid: its process ID.
    """

    def __init__(self, command: Sequence[str], answer_timeout: float) -> None:
        """
        Args:
            command: what is run in the folder ``bench``.
            answer_timeout: the seconds after which an answer is missing.
        """
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by stop
        self._timeout = answer_timeout
        self._process = subprocess.Popen(
            command,
            cwd=BENCH,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.pid = self._process.pid

    def send(self, line: str) -> None:
        """Send a line; :meth:`answer` returns the answer."""
        assert self._process.stdin
        # If the process has ended, its last line or the error of the answer says why.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def answer(self) -> str:
        """Return the next line.

        Raises:
            AnswerError: it does not come.
        """
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], self._timeout)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self._log.seek(0)
            what = "has ended" if ready else f"has not answered for {self._timeout:g} seconds"
            raise AnswerError(f"{self._process.args!r} {what}: {self._log.read()[-500:].strip()}")
        return line.rstrip("\n")

    def ask(self, line: str) -> str:
        """Send a line, and return the answer."""
        self.send(line)
        return self.answer()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert stream
                stream.close()
        self._log.close()

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class StartError(Exception):
    """A server did not start."""


class Server:
    """A server process that listens on a port; a context manager that kills it at the end.

    Attributes:
        port: where it listens.
        pid: its process ID.
    """

    def __init__(
        self,
        make_command: Callable[[int], Sequence[str]],
        cpu: int | None = SERVER_CPU,
        env: Mapping[str, str] | None = None,
    ) -> None:
        for attempt in range(START_ATTEMPTS):
            self.port = free_port()
            self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by stop
            self._process = pinned(make_command(self.port), cpu, env, self._log.fileno(), self._log.fileno())
            self.pid = self._process.pid
            try:
                self._wait_until_it_listens()
                return
            except StartError as error:
                self.stop()
                # Another process may have taken the port meanwhile.
                if "in use" not in str(error) or attempt == START_ATTEMPTS - 1:
                    raise
            except BaseException:
                self.stop()
                raise

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StartError(self.log() or "nobody listens")
            time.sleep(0.05)
        time.sleep(SETTLE)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((HOST, self.port)) == 0

    def log(self) -> str:
        """Return the last lines that the process printed."""
        self._log.seek(0)
        return self._log.read()[-500:].strip()

    def move_to(self, cpu: int) -> None:
        os.sched_setaffinity(self.pid, {cpu})

    def cpu_seconds(self) -> float:
        """CPU time of the process."""
        return cpu_seconds_of(self.pid)

    def resident(self) -> int:
        """Bytes of memory that are resident."""
        return resident_of(self.pid)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def busy_seconds() -> float:
    """Time that all processors have worked for anybody."""
    user, nice, system, _idle, _iowait, *others = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + sum(others)) / _TICKS


class Disturbance:
    """How much other processes of the machine worked during a measurement.

    Attributes:
        processors: the work of others, in processors; 0.5 is half of one.
        seconds: the length of the measurement.
    """

    processors = 0.0
    seconds = 0.0

    def __init__(self, own_cpu_seconds: float) -> None:
        self._busy = busy_seconds()
        self._own = own_cpu_seconds
        self._start = time.monotonic()

    def end(self, own_cpu_seconds: float) -> None:
        self.seconds = time.monotonic() - self._start
        others = busy_seconds() - self._busy - (own_cpu_seconds - self._own)
        self.processors = round(max(0.0, others) / self.seconds, 3)


def children_cpu_seconds() -> float:
    """CPU time of child processes that have ended and were waited for."""
    times = os.times()
    return times.children_user + times.children_system


def wait_until_quiet(limit: float = 0.25, patience: float = 2.0) -> None:
    """Wait for a while until other processes of the machine do little."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        disturbance = Disturbance(0)
        time.sleep(0.1)
        disturbance.end(0)
        if disturbance.processors <= limit:
            return


@contextlib.contextmanager
def larger_share() -> Iterator[None]:
    """Ask for more than an equal share of the processors while others use them.

    With autogroups, the kernel divides the processors between sessions first, and the nice value of the
    group counts.
    """
    group = Path("/proc/self/autogroup")

    def write(nice: int) -> None:
        with contextlib.suppress(OSError):
            group.write_text(str(nice))

    write(-5)
    try:
        yield
    finally:
        write(0)

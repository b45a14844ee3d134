"""docs/services.md: its program, its units of systemd, its image and its manifests."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.asyncio import ConnectionClosedOK, connect
from tests.ports import free_port

from .samples import DEADLINE, blocks, connected, environment, run, serving, write

PROGRAM = blocks("services.md", "program")["serve.py"]
CONFIGURATIONS = blocks("services.md", "configuration")
COMMANDS = blocks("services.md", "run")
SERVICE = CONFIGURATIONS["websocket@.service"]
SOCKET = CONFIGURATIONS["websocket.socket"]
IMAGE = CONFIGURATIONS["Dockerfile"]
DEPLOYMENT, BALANCER, BUDGET = yaml.safe_load_all(CONFIGURATIONS["kubernetes"])

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")


# The program


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port for the program, in its environment."""
    port = free_port()
    variables = {"HOST": "127.0.0.1", "PORT": str(port), "STOP_DELAY": "0", "DRAIN": "0.2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return port


def status(port: int, path: str) -> int:
    """Return the status of an answer over HTTP."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def wait_for_status(port: int, path: str, expected: int) -> None:
    """Ask until the answer has a status."""
    until = time.monotonic() + DEADLINE
    while status(port, path) != expected:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_health_and_stopping(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGTERM the server is not ready, accepts as before, and closes its connections later."""
    # A time that does not end in this test.
    monkeypatch.setenv("STOP_DELAY", str(10 * DEADLINE))
    write(tmp_path, "serve.py", PROGRAM, {})

    async def main() -> None:
        async with connected(process, f"ws://127.0.0.1:{port}/") as client:
            assert await asyncio.to_thread(status, port, "/live") == 200
            assert await asyncio.to_thread(status, port, "/ready") == 200
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for_status, port, "/ready", 503)
            assert await asyncio.to_thread(status, port, "/live") == 200
            async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as late:
                for each in (client, late):
                    await each.send("hello")
                    assert await each.recv() == "hello"

    with serving(tmp_path, "serve.py") as process:
        run(main)


def test_connections_are_closed_in_order(port: int, tmp_path: Path) -> None:
    write(tmp_path, "serve.py", PROGRAM, {})

    async def main() -> None:
        uri = f"ws://127.0.0.1:{port}/"
        async with connected(process, uri) as one, connected(process, uri) as other:
            process.send_signal(signal.SIGTERM)
            for each in (one, other):
                with pytest.raises(ConnectionClosedOK) as closed:
                    await each.recv()
                assert closed.value.code == 1001

    with serving(tmp_path, "serve.py") as process:
        run(main)
        _, log = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
        assert {line.partition(" ")[0] for line in log.splitlines()} == {"INFO"}
        assert log.count("connection closed: ") == 2


@contextmanager
def activated(folder: Path, listening: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """Run the program with a socket as systemd does: it is file descriptor 3."""
    command = f"LISTEN_PID=$$ LISTEN_FDS=1 exec {shlex.quote(sys.executable)} serve.py 3<&0 </dev/null"
    process = subprocess.Popen(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(),
        stdin=listening,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["TCP", "Unix socket"])
def test_the_socket_of_systemd(kind: str, port: int, tmp_path: Path) -> None:
    """It stays open when the program has ended: who connects then is served by the next one."""
    write(tmp_path, "serve.py", PROGRAM, {})
    if kind == "TCP":
        listening = socket.create_server(("127.0.0.1", port))
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "socket"))
        listening.listen()

    def to_the_socket() -> dict[str, Any]:
        client = socket.socket(listening.family)
        client.connect(listening.getsockname())
        client.setblocking(False)
        return {"sock": client, "proxy": None}

    async def main() -> None:
        async with connect("ws://localhost/", **to_the_socket(), open_timeout=DEADLINE) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            process.send_signal(signal.SIGTERM)
            await client.wait_closed()

    with listening:
        for _ in range(2):
            with activated(tmp_path, listening) as process:
                run(main)
                process.communicate(timeout=DEADLINE)
                assert process.returncode == 0


# Times and limits


def number(pattern: str, text: str) -> int:
    """Return the only number that a text has at this place."""
    (found,) = re.findall(pattern, text)
    return int(found)


CLOSING = 2 * number(r'"close_timeout": (\d+)', PROGRAM)
CONNECTIONS = number(r'"max_connections": ([\d_]+)', PROGRAM)


def test_each_supervisor_waits_long_enough() -> None:
    defaults = [number(rf'"{name}", "(\d+)"', PROGRAM) for name in ("STOP_DELAY", "DRAIN")]
    assert defaults[0] == 0
    assert number(r"TimeoutStopSec=(\d+)", SERVICE) > number(r"DRAIN=(\d+)", SERVICE) + CLOSING

    delay, drain = (number(rf" {name}=(\d+)", IMAGE) for name in ("STOP_DELAY", "DRAIN"))
    assert number(r"--stop-timeout (\d+)", COMMANDS["docker"]) > delay + drain + CLOSING

    pod = DEPLOYMENT["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: int(each["value"]) for each in container["env"]}
    delay = container["lifecycle"]["preStop"]["sleep"]["seconds"] + variables["STOP_DELAY"]
    assert pod["terminationGracePeriodSeconds"] > delay + variables["DRAIN"] + CLOSING


def test_there_are_file_descriptors_for_all_connections() -> None:
    assert number(r"LimitNOFILE=(\d+)", SERVICE) > CONNECTIONS
    assert number(r"--ulimit nofile=(\d+):", COMMANDS["docker"]) > CONNECTIONS


# systemd


def test_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    unit = SERVICE.replace("/srv/websocket/venv/bin/python /srv/websocket/serve.py", "/bin/true")
    assert unit != SERVICE
    for name in ("websocket@1.service", "websocket.service"):
        write(tmp_path, name, unit, {})
    write(tmp_path, "websocket.socket", SOCKET, {})
    assert verify(tmp_path, "websocket@1.service", "websocket.socket") == ""
    write(tmp_path, "websocket@1.service", unit, {"TimeoutStopSec": "TimeoutToStop"})
    assert "TimeoutToStop" in verify(tmp_path, "websocket@1.service")


def verify(folder: Path, *units: str) -> str:
    """Return what systemd says about units: nothing if they are right."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *(f"./{unit}" for unit in units)],
        cwd=folder,
        # Units of the machine that these refer to may have faults of their own.
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )
    return "".join(line for line in done.stderr.splitlines(keepends=True) if "websocket" in line)


def test_commands_of_systemd() -> None:
    """They would change the machine; but they name the units of the page, and the folder of the program."""
    units = re.findall(r"websocket\S*", COMMANDS["systemd"] + COMMANDS["socket"])
    assert {re.sub(r"@\d", "@", unit) for unit in units} == {
        "websocket@",
        "websocket.socket",
        "websocket.service",
    }
    interpreter, program = re.findall(r"ExecStart=(\S+) (\S+)", SERVICE)[0]
    environment_folder = interpreter.removesuffix("/bin/python")
    assert (
        f"python3 -m venv {environment_folder}\n{environment_folder}/bin/pip install " in COMMANDS["install"]
    )
    assert program.startswith(re.findall(r"cp serve\.py (\S+)", COMMANDS["install"])[0])


# Docker


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in IMAGE.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_image() -> None:
    """The signal reaches the program, which is copied there, in the environment that was made."""
    last = dict(instructions())
    interpreter, program = ast.literal_eval(last["CMD"])
    assert last["STOPSIGNAL"] == "SIGTERM"
    copies = [arguments for instruction, arguments in instructions() if instruction == "COPY"]
    assert f"serve.py {program.rpartition('/')[0]}/" in copies
    folder = interpreter.removesuffix("/bin/python")
    assert f"--from=build {folder} {folder}" in copies
    installation, user = (arguments for instruction, arguments in instructions() if instruction == "RUN")
    assert installation.startswith(f"python -m venv {folder} && {folder}/bin/pip install ")
    assert f"--uid {last['USER']} " in user
    assert f"PORT={last['EXPOSE']} " in last["ENV"]
    # Both stages have the same version of Python, or the environment would not work in the second one.
    versions = re.findall(r"^FROM python:(\d\.\d+)", IMAGE, re.MULTILINE)
    assert len(versions) == 2
    assert len(set(versions)) == 1


def test_health_check_of_the_image(port: int, tmp_path: Path) -> None:
    check = ast.literal_eval(dict(instructions())["HEALTHCHECK"].partition("CMD ")[2])
    write(tmp_path, "serve.py", PROGRAM, {})

    def is_healthy() -> bool:
        command = [sys.executable, *check[1:-1], check[-1].replace("8765", str(port))]
        variables = {**environment(), "no_proxy": "*"}
        return subprocess.run(command, env=variables, stderr=subprocess.DEVNULL, check=False).returncode == 0

    async def main() -> None:
        async with connected(process, f"ws://127.0.0.1:{port}/"):
            assert await asyncio.to_thread(is_healthy)

    assert not is_healthy()
    with serving(tmp_path, "serve.py") as process:
        run(main)


# Kubernetes


FIELDS: dict[str, Any] = {
    "replicas": int,
    "selector": {"matchLabels": {"app": str}},
    "strategy": {"rollingUpdate": {"maxUnavailable": int, "maxSurge": int}},
    "template": {
        "metadata": {"labels": {"app": str}},
        "spec": {
            "terminationGracePeriodSeconds": int,
            "securityContext": {"runAsNonRoot": bool, "runAsUser": int},
            "containers": [
                {
                    "name": str,
                    "image": str,
                    "env": [{"name": str, "value": str}],
                    "ports": [{"name": str, "containerPort": int}],
                    "readinessProbe": {
                        "httpGet": {"path": str, "port": str},
                        "periodSeconds": int,
                        "failureThreshold": int,
                    },
                    "livenessProbe": {
                        "httpGet": {"path": str, "port": str},
                        "periodSeconds": int,
                        "failureThreshold": int,
                    },
                    "lifecycle": {"preStop": {"sleep": {"seconds": int}}},
                    "resources": {
                        "requests": {"cpu": str, "memory": str},
                        "limits": {"memory": str},
                    },
                }
            ],
        },
    },
}
"""The fields of a Deployment that the page uses, and their types in the schema of Kubernetes 1.37."""


def wrong_fields(value: Any, fields: Any, place: str = "spec") -> list[str]:
    """Return the places where a manifest has an unknown field, or a value of the wrong type."""
    if isinstance(fields, dict) and isinstance(value, dict):
        unknown = [f"{place}.{name}" for name in value if name not in fields]
        known = [name for name in value if name in fields]
        return unknown + [
            wrong for name in known for wrong in wrong_fields(value[name], fields[name], f"{place}.{name}")
        ]
    if isinstance(fields, list) and isinstance(value, list):
        return [wrong for each in value for wrong in wrong_fields(each, fields[0], place)]
    return [] if isinstance(fields, type) and type(value) is fields else [place]


def test_fields_of_the_manifest() -> None:
    assert wrong_fields(DEPLOYMENT["spec"], FIELDS) == []
    assert wrong_fields({"replicas": "3", "selectr": {}}, FIELDS) == ["spec.selectr", "spec.replicas"]
    for manifest, kind, version in (
        (DEPLOYMENT, "Deployment", "apps/v1"),
        (BALANCER, "Service", "v1"),
        (BUDGET, "PodDisruptionBudget", "policy/v1"),
    ):
        assert manifest.keys() == {"apiVersion", "kind", "metadata", "spec"}
        assert (manifest["kind"], manifest["apiVersion"]) == (kind, version)
        assert manifest["metadata"] == {"name": "websocket"}


def test_manifests_belong_together() -> None:
    specification = DEPLOYMENT["spec"]
    labels = specification["template"]["metadata"]["labels"]
    assert specification["selector"]["matchLabels"] == labels
    assert BALANCER["spec"]["selector"] == BUDGET["spec"]["selector"]["matchLabels"] == labels
    assert BUDGET["spec"]["minAvailable"] < specification["replicas"]
    (container,) = specification["template"]["spec"]["containers"]
    (container_port,) = container["ports"]
    image = dict(instructions())
    assert str(container_port["containerPort"]) == image["EXPOSE"]
    assert str(specification["template"]["spec"]["securityContext"]["runAsUser"]) == image["USER"]
    ports = {BALANCER["spec"]["ports"][0]["targetPort"]}
    ports |= {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("readiness", "liveness")}
    assert ports == {container_port["name"]}


def test_probes(port: int, tmp_path: Path) -> None:
    """Kubernetes asks for paths that the program answers."""
    (container,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]
    paths = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("readiness", "liveness")]
    write(tmp_path, "serve.py", PROGRAM, {})

    async def main() -> None:
        async with connected(process, f"ws://127.0.0.1:{port}/"):
            assert [await asyncio.to_thread(status, port, path) for path in paths] == [200, 200]
            # Another path without an upgrade is a mistake of the client.
            assert await asyncio.to_thread(status, port, "/other") == 426

    with serving(tmp_path, "serve.py") as process:
        run(main)

"""The driver: libFuzzer for the targets in C, atheris (libFuzzer for Python) for those in Python.

Each target runs in a process of its own, one after the other. New inputs that reach new code are kept in
``build/fuzz/corpus``, so that the next run goes on with them; an input that breaks a rule, in
``build/fuzz/crashes``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["BUILD", "CORPUS", "NATIVE", "build_native", "reproduce_native", "run"]

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
DICTIONARY = ROOT / "fuzz" / "websocket.dict"
BUILD = ROOT / "build" / "fuzz"

NATIVE = ("c_mask", "c_utf8", "c_frame")
"""The targets in C, which are the names of the files in ``fuzz/native``."""

SANITIZED = [
    *("-std=c11", "-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined"),
    *("-Wall", "-Wextra", "-Werror"),
]

LONGEST_INPUT = 4096
MEGABYTES = 2048
SECONDS_FOR_ONE_INPUT = 60

# What libFuzzer prints at the end.
EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def build_native(target: str, folder: Path, *, fuzzer: bool) -> Path:
    """Build a target in C with AddressSanitizer and UBSan.

    Args:
        target: its name.
        folder: where to.
        fuzzer: whether with libFuzzer, by clang; otherwise by any compiler, with ``main.c``.

    Returns:
        The program.
    """
    native = ROOT / "fuzz" / "native"
    program = folder / target
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC") or ("clang" if fuzzer else "gcc")
    sources = [native / f"{target}.c", *([] if fuzzer else [native / "main.c"])]
    sanitizers = "-fsanitize=address,undefined" + (",fuzzer" if fuzzer else "")
    subprocess.run([compiler, *SANITIZED, sanitizers, *sources, "-o", program], check=True)
    return program


def reproduce_native(target: str, files: Sequence[Path]) -> int:
    """Play inputs with a target in C; return the exit status."""
    return subprocess.run([build_native(target, BUILD / "bin", fuzzer=True), *files]).returncode


def missing(target: str) -> str | None:
    """Return what is missing to run a target, or ``None``."""
    if target in NATIVE:
        return None if shutil.which(os.environ.get("CC") or "clang") else "clang"
    probe = [sys.executable, "-c", "import atheris"]
    return "atheris" if subprocess.run(probe, stderr=subprocess.DEVNULL).returncode else None


def command(target: str) -> list[str | Path]:
    """Return the command that runs a target, without libFuzzer's options."""
    if target in NATIVE:
        return [build_native(target, BUILD / "bin", fuzzer=True)]
    return [sys.executable, "-m", "fuzz.atheris_target", target]


def run(targets: Sequence[str], seconds: float, log: Path) -> int:
    """Run targets for an equal time each; return 1 if an input breaks a rule or nothing could run."""
    reasons = {target: missing(target) for target in targets}
    possible = [target for target in targets if reasons[target] is None]
    for target in targets:
        if reasons[target] is not None:
            print(f"{target}: not run, because {reasons[target]} is not installed")
    found = [run_one(target, max(1, round(seconds / len(possible))), log) for target in possible]
    return int(any(found) or not possible)


def run_one(target: str, seconds: int, log: Path) -> bool:
    """Run a target; return whether an input breaks a rule."""
    kept, crashes = BUILD / "corpus" / target, BUILD / "crashes" / target
    for folder in (kept, crashes, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    options = [
        f"-max_total_time={seconds}",
        f"-dict={DICTIONARY}",
        f"-artifact_prefix={crashes}/",
        f"-max_len={LONGEST_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-timeout={SECONDS_FOR_ONE_INPUT}",
        f"-report_slow_units={SECONDS_FOR_ONE_INPUT}",
        "-print_final_stats=1",
    ]
    # Which branch is taken is seen in the pure Python of the core; one target compares both.
    environment = os.environ | {"WSPROTO_CORE_PURE": "" if target == "halves" else "1"}
    started = time.monotonic()
    process = subprocess.run(
        [*command(target), *options, kept, CORPUS / target],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    took = time.monotonic() - started
    executions = EXECUTIONS.search(process.stdout)
    findings = sorted(set(crashes.iterdir()) - before)
    line = (
        f"{time.strftime('%Y-%m-%d %H:%M')} {target}: {took:.0f} seconds, "
        f"{executions[1] if executions else 'unknown'} executions, {len(findings)} findings"
    )
    print(line, flush=True)
    with log.open("a", encoding="utf-8") as file:
        print(line, file=file)
    if process.returncode:
        print(process.stdout[-5000:])
    for finding in findings:
        name = finding.relative_to(ROOT)
        print(f"To reproduce it: {Path(sys.executable)} -m fuzz reproduce {target} {name}", flush=True)
    return process.returncode != 0

"""The targets of ``fuzz/``, without a fuzzer: the corpus, what once broke a rule, and inputs made of both.

``fuzz/corpus`` has the seeds of each target, ``tests/fuzz/crashes`` the inputs that a fuzzer has found.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import seeds
from fuzz.running import CORPUS, NATIVE, build_native
from fuzz.targets import TARGETS, load

CRASHES = Path(__file__).parent / "crashes"

EXAMPLES = {"conversation": 100, "frames": 120, "request": 120, "response": 120}
"""Inputs that are tried: a conversation takes milliseconds."""

every_target = pytest.mark.parametrize("target", TARGETS)


def files(target: str) -> list[Path]:
    """Return the inputs of a target that are kept."""
    return [*sorted((CORPUS / target).iterdir()), *sorted((CRASHES / target).glob("*"))]


@every_target
def test_corpus(target: str) -> None:
    fuzz = load(target)
    inputs = files(target)
    assert len(inputs) > 5
    for file in inputs:
        try:
            fuzz(file.read_bytes())
        except Exception as error:
            error.add_note(f"The input is {file}.")
            raise


@st.composite
def mutations(draw: st.DrawFn, target: str) -> bytes:
    """Inputs like those of the corpus: with other bytes, parts of others, and any bytes."""
    inputs = [file.read_bytes() for file in files(target)]
    data = bytearray(draw(st.sampled_from(inputs)))
    if draw(st.booleans()):
        other = draw(st.sampled_from(inputs))
        position = draw(st.integers(0, len(data)))
        data[position:] = other[draw(st.integers(0, len(other))) :]
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 1, 1, 3]))
        data[position : position + length] = draw(st.binary(max_size=4))
    return bytes(data)


@every_target
def test_mutations(target: str) -> None:
    fuzz = load(target)

    @settings(
        max_examples=EXAMPLES.get(target, 200),
        suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow],
    )
    @given(mutations(target))
    def check(data: bytes) -> None:
        fuzz(data)

    check()


@every_target
def test_any_bytes(target: str) -> None:
    fuzz = load(target)

    @settings(max_examples=EXAMPLES.get(target, 200))
    @given(st.binary(max_size=200))
    def check(data: bytes) -> None:
        fuzz(data)

    check()


@pytest.mark.parametrize("target", NATIVE)
def test_native(target: str, tmp_path: Path) -> None:
    """The targets in C, with AddressSanitizer and UBSan, by the compiler of the extension module."""
    program = build_native(target, tmp_path, fuzzer=False)
    subprocess.run([program, "10000", *files(target)], check=True)


@pytest.mark.parametrize("target", [*TARGETS, *NATIVE])
def test_seeds_are_those_of_the_script(target: str) -> None:
    assert {file.name: file.read_bytes() for file in (CORPUS / target).iterdir()} == seeds.make(target)


def test_crashes_belong_to_targets() -> None:
    assert {folder.name for folder in CRASHES.iterdir() if folder.is_dir()} <= {*TARGETS, *NATIVE}

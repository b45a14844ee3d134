"""A browser for the tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from .devtools import Chromium


@pytest.fixture(scope="package")
def chromium() -> Iterator[Chromium]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    with Chromium(executable) as running:
        yield running

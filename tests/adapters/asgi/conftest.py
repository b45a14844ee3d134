"""Applications on uvicorn, on both event loops; the opening handshake on both HTTP implementations."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def _plain_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what uvicorn's default configuration does to its loggers, in this process and in any order."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "level", logging.NOTSET)


@pytest.fixture(params=["h11", "httptools"])
def http(request: pytest.FixtureRequest) -> str:
    """The HTTP implementation of uvicorn."""
    return str(request.param)

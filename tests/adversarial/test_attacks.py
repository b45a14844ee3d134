"""All cases over a socket, against a server and a client of every adapter."""

from __future__ import annotations

import socket

import pytest

from .cases import CLIENT, SERVER, Case
from .playing import is_for, play_on_client, play_on_server
from .rows import CASES
from .targets import Target


def cases(side: str) -> list[object]:
    """The cases for a side, those that are small also byte by byte."""
    return [
        pytest.param(case, bytewise, id=f"{case!r}{' bytewise' * bytewise}")
        for case in CASES
        if is_for(case, side)
        for bytewise in ((False, True) if case.bytewise else (False,))
    ]


@pytest.mark.parametrize(("case", "bytewise"), cases(SERVER))
def test_server(target: Target, case: Case, bytewise: bool) -> None:
    target.command("ended")
    play_on_server(target, case, bytewise)
    ended = target.command("ended")
    if case.row == 33:
        # RFC 6455 section 7.1.5: the connection was lost, and the application is told why.
        assert [each["code"] for each in ended] == [1006]
        assert all(each["cause"] for each in ended) or case.name.startswith("33-end-between")
    assert not target.command("errors")


@pytest.mark.parametrize(("case", "bytewise"), cases(CLIENT))
def test_client(target: Target, listener: tuple[socket.socket, str], case: Case, bytewise: bool) -> None:
    ended = play_on_client(target, case, *listener, bytewise)
    if case.row == 33:
        assert ended["code"] == 1006
    assert not target.command("errors")

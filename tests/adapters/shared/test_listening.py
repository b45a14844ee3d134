"""Sockets that listen: what every adapter takes from :mod:`adapters.shared.listening`."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from adapters.shared import listening
from adapters.shared.listening import (
    accept_now,
    bind_tcp,
    hosts_of,
    listen,
    stop_listening,
    usable_hosts,
)

HOST = "127.0.0.1"


def found(*hosts: str, port: int = 0) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


def test_hosts() -> None:
    assert hosts_of(None) == hosts_of("") == [None]
    assert hosts_of("localhost") == ["localhost"]
    assert hosts_of(("a", "")) == ["a", None]


def test_hosts_are_in_figures_and_each_once() -> None:
    assert usable_hosts(found(HOST, "127.0.0.2", HOST, "198.51.100.1", port=1)) == [HOST, "127.0.0.2"]
    with pytest.raises(OSError, match=r"198\.51\.100\.1") as raised:
        usable_hosts(found("198.51.100.1", "198.51.100.2"))
    assert raised.value.errno == errno.EADDRNOTAVAIL


def test_hosts_on_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its zone, the address would be that of another link (RFC 4007)."""

    class Bound(socket.socket):
        def getsockname(self) -> Any:
            return ("fe80::1", 0, 0, 2)

    monkeypatch.setattr(listening, "_bind", lambda family, address: Bound())
    addresses = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2))]
    assert usable_hosts(addresses) == ["fe80::1%2"]


def test_family_without_use(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIPv6(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **options: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no such family")
            super().__init__(family, *args, **options)

    monkeypatch.setattr(socket, "socket", NoIPv6)
    six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0))]
    assert usable_hosts(six + found(HOST)) == [HOST]
    with pytest.raises(OSError, match=r"cannot listen on \('::1', 0, 0, 0\): no such family"):
        bind_tcp(six)


def test_all_are_bound_or_none() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bind_tcp(found("127.0.0.2", HOST, port=port))
        (sock,) = bind_tcp(found("127.0.0.2", port=port))
        sock.close()


def test_all_listen_or_none() -> None:
    free, bound = bind_tcp(found("127.0.0.2", HOST))
    (other,) = bind_tcp(found(HOST, port=bound.getsockname()[1]))
    listen([other], 1)
    with other, pytest.raises(OSError, match="in use"):
        listen([free, bound], 1)
    assert free.fileno() == bound.fileno() == -1


def test_ports_that_are_shared() -> None:
    (first,) = bind_tcp(found(HOST), reuse_port=True)
    with first:
        listen([first], 1)
        (second,) = bind_tcp(found(HOST, port=first.getsockname()[1]), reuse_port=True)
        with second:
            listen([second], 1)


# Accepting


class FailingListener(socket.socket):
    """A socket that listens, and whose ``accept`` fails."""

    def __init__(self, error: int) -> None:
        super().__init__()
        self._failure = OSError(error, "no")

    def accept(self) -> Any:
        raise self._failure


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN])
def test_nothing_to_accept(error: int) -> None:
    with FailingListener(error) as listener:
        assert accept_now(listener) is None


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.EBADF, errno.ENOMEM])
def test_failure_to_accept(error: int) -> None:
    with FailingListener(error) as listener, pytest.raises(OSError, match="no") as raised:
        accept_now(listener)
    assert raised.value.errno == error


def test_listening_goes_on_without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when the listener is closed: the end of a server must not fail."""

    def fail(*arguments: Any) -> Any:
        raise OSError(errno.EMFILE, "no descriptors")

    with socket.create_server((HOST, 0)) as listener:
        with monkeypatch.context() as patch:
            patch.setattr(listening.socket, "socket", fail)
            stop_listening(listener)
        with socket.create_connection(listener.getsockname()):
            pass


def test_listening_ends_for_this_process_alone() -> None:
    with socket.create_server((HOST, 0)) as listener, listener.dup() as of_another_process:
        address, descriptor = listener.getsockname(), listener.fileno()
        stop_listening(listener)
        assert listener.fileno() == descriptor
        assert not listener.get_inheritable()
        with pytest.raises(OSError, match="Invalid argument"):
            listener.accept()
        with socket.create_connection(address) as client, of_another_process.accept()[0] as accepted:
            accepted.sendall(b"a")
            assert client.recv(1) == b"a"
        of_another_process.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)

"""Which address of a host is tried next, and which error stands for those of all."""

from __future__ import annotations

import errno
import select
import socket

import pytest

from adapters.shared.addresses import AddressRace, connect_failure, in_order, look_up_number, refusal

SIX, FOUR = socket.AF_INET6, socket.AF_INET


def found(*addresses: tuple[int, int]) -> list[tuple[int, int, int, str, int]]:
    return [(family, socket.SOCK_STREAM, 0, "", number) for family, number in addresses]


@pytest.mark.parametrize(
    ("addresses", "first_count", "expected"),
    [
        ([(SIX, 1), (SIX, 2), (SIX, 3), (FOUR, 1), (FOUR, 2)], 1, [0, 3, 1, 4, 2]),
        ([(FOUR, 1), (SIX, 1), (SIX, 2)], 1, [0, 1, 2]),
        ([(SIX, 1), (SIX, 2), (SIX, 3), (FOUR, 1)], 2, [0, 1, 3, 2]),
        ([(SIX, 1), (FOUR, 1)], 5, [0, 1]),
        ([(FOUR, 1), (FOUR, 2)], 1, [0, 1]),
        ([], 1, []),
    ],
)
def test_families_alternate(addresses: list[tuple[int, int]], first_count: int, expected: list[int]) -> None:
    given = found(*addresses)
    assert in_order(given, first_count) == [given[index] for index in expected]


def test_first_error_that_says_more() -> None:
    (six, four, other) = found((SIX, 1), (FOUR, 2), (FOUR, 3))
    errors = [
        refusal(errno.ENETUNREACH, six),
        refusal(errno.ECONNREFUSED, four),
        refusal(errno.ETIMEDOUT, other),
    ]
    failure = connect_failure(errors)
    assert type(failure) is ConnectionRefusedError
    assert failure.errno == errno.ECONNREFUSED
    first, second = failure.__notes__
    assert "Network is unreachable: 1" in first
    assert "timed out: 3" in second


def test_first_error_if_none_says_more() -> None:
    (six, four) = found((SIX, 1), (FOUR, 2))
    errors = [refusal(errno.ENETUNREACH, six), refusal(errno.EADDRNOTAVAIL, four)]
    assert connect_failure(errors) is errors[0]


def test_numbers_take_no_lookup() -> None:
    (address,) = look_up_number("127.0.0.1", 80) or ()
    assert address[4] == ("127.0.0.1", 80)
    (address,) = look_up_number("::1", 80) or ()
    assert address[4] == ("::1", 80, 0, 0)
    assert look_up_number("localhost", 80) is None
    assert look_up_number("127.0.0.1", 80, socket.AF_INET6) is None


def test_race_to_the_addresses_of_a_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        addresses = [(FOUR, socket.SOCK_STREAM, 0, "", each.getsockname()) for each in (listener, other)]
        with AddressRace(addresses, delay=0.5) as race:
            assert race.begin_next() == 0.5
            assert race.begin_next() == 0.5
            first, second = race.sockets
            assert race.begin_next() is None
            assert race.finish([]) is None
            select.select([], [second], [])
            assert race.finish([second]) is second
            assert list(race.sockets) == [first]
        assert first.fileno() == -1
        with second:
            assert second.getpeername() == other.getsockname()


def test_race_to_addresses_that_cannot_be_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = (FOUR, socket.SOCK_STREAM, 0, "", listener.getsockname())
    with AddressRace([address], delay=None) as race, pytest.raises(ConnectionRefusedError):
        run_to_the_end(race)


def run_to_the_end(race: AddressRace) -> None:
    # Some systems refuse the connection at once, others when the socket can be written.
    while True:
        assert race.begin_next() is None
        select.select([], list(race.sockets), [])
        assert race.finish(list(race.sockets)) is None

"""The list of hostile input: what each row must get, and the tests that hold it.

A row is held by its cases, by other tests, or by both. The other tests are named by patterns, a file and a
function each, and most run on every adapter as well: those in `tests/adapters/contract`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import advisories, answers, compression, frames, handshakes, life
from .cases import Case

CASES: list[Case] = [
    *frames.CASES,
    *compression.CASES,
    *handshakes.CASES,
    *answers.CASES,
    *life.CASES,
    *advisories.CASES,
]

ROOT = Path(__file__).parents[2]

CORE = "tests/core/test_adversarial.py"
DEFLATE = "tests/core/test_adversarial_compression.py"
CONTRACT = "tests/adapters/contract"
HERE = "tests/adversarial/test_others.py"


class Row(NamedTuple):
    """Attributes: its number or name, what is sent, what it must get, and tests besides its cases."""

    key: int | str
    title: str
    answer: str
    tests: tuple[str, ...] = ()

    @property
    def cases(self) -> list[Case]:
        return [case for case in CASES if case.row == self.key]


ROWS = [
    # Frames
    Row(1, "Unmasked frame from a client, masked frame from a server", "1002", (f"{CORE}::test_row_01_*",)),
    Row(2, "Reserved opcodes", "1002, at the header", (f"{CORE}::test_row_02_*",)),
    Row(3, "Reserved bits without an extension", "1002, at the header", (f"{CORE}::test_row_03_*",)),
    Row(4, "RSV1 on a control frame or a continuation", "1002", (f"{CORE}::test_row_04_*",)),
    Row(
        5,
        "Control frame that is too long or fragmented",
        "1002, at the header",
        (f"{CORE}::test_row_05_*",),
    ),
    Row(6, "Length that is not in its shortest form", "1002", (f"{CORE}::test_row_06_*",)),
    Row(
        7,
        "Length with the top bit set, or over the limit",
        "1002 or 1009, at the header; no memory for what has not come",
        (f"{CORE}::test_row_07_*",),
    ),
    Row(
        8,
        "Continuation without a start, message within a message",
        "1002",
        (f"{CORE}::test_row_08_*",),
    ),
    Row(
        9,
        "Twenty thousand tiny fragments",
        "1009; the count begins again with each message",
        (f"{CORE}::test_row_09_*", f"{CONTRACT}/test_limits.py::test_too_many_fragments_fail_with_1009"),
    ),
    Row(
        10,
        "A byte at a time, and ten thousand frames at once",
        "the same messages, linear time, bounded memory",
        (f"{CORE}::test_row_10_*", "tests/test_bench.py::test_work_is_in_proportion"),
    ),
    Row(
        11,
        "Data after a close frame, a close in a message, two closes",
        "ignored",
        (
            f"{CORE}::test_row_11_*",
            f"{CONTRACT}/test_adversarial.py::test_row_11_*",
            f"{CONTRACT}/test_closing.py::test_both_ends_close_at_once",
        ),
    ),
    Row(
        12,
        "Close codes and reasons that are not allowed",
        "1002, 1007; an empty close is answered empty",
        (f"{CORE}::test_row_12_*",),
    ),
    Row(
        13,
        "Text that is not UTF-8",
        "1007 at the first bad byte",
        (f"{CORE}::test_row_13_*",),
    ),
    Row(
        14,
        "Ping flood from a peer that never reads",
        "bounded memory; a peer that reads gets every pong",
        (
            f"{CORE}::test_row_14_*",
            f"{CONTRACT}/test_backpressure.py::test_ping_flood_from_a_peer_that_never_reads",
        ),
    ),
    Row(
        15,
        "Pongs that nobody asked for, pings without an answer",
        "ignored; a limit",
        (f"{CORE}::test_row_15_*", f"{CONTRACT}/test_pings.py::test_too_many_pings_are_refused"),
    ),
    # Compression
    Row(16, "Inflate bomb", "1009, with memory near the limit", (f"{DEFLATE}::test_row_16_*",)),
    Row(
        17,
        "Message over the limit, on the wire or inflated",
        "1009",
        (f"{DEFLATE}::test_row_17_*", f"{CONTRACT}/test_compression.py::test_limit_holds_after_inflating"),
    ),
    Row(
        18,
        "Control frames between compressed fragments",
        "answered, and the message arrives",
        (f"{DEFLATE}::test_row_18_*",),
    ),
    Row(
        19,
        "Final blocks, several blocks, empty messages",
        "the right message, and the next one",
        (f"{DEFLATE}::test_row_19_*",),
    ),
    Row(
        20,
        "What is not deflate; a window smaller than was used",
        "1007 or 1002; never a wrong message",
        (f"{DEFLATE}::test_row_20_*",),
    ),
    Row(
        21,
        "Parameters of the extension",
        "declined, or negotiated exactly",
        (f"{DEFLATE}::test_row_21_*", "tests/core/test_permessage_deflate.py::test_*"),
    ),
    Row(
        22,
        "Compressed frame without compression; a cancelled message",
        "1002; the contexts stay together",
        (
            f"{DEFLATE}::test_row_22_*",
            f"{CONTRACT}/test_compression.py::test_timeouts_of_send_leave_the_contexts_together",
        ),
    ),
    # Opening handshake
    Row(23, "Unusual `Connection` and `Upgrade`", "accepted", (f"{CORE}::test_row_23_*",)),
    Row(24, "`Host` or key missing or twice", "400", (f"{CORE}::test_row_24_*",)),
    Row(
        25,
        "Other versions, methods and versions of HTTP",
        "426 with `Sec-WebSocket-Version: 13`, 405, 505",
        (f"{CORE}::test_row_25_*",),
    ),
    Row(
        26,
        "Many headers, long lines, large heads",
        "431 or 400, and the stream is closed",
        (f"{CORE}::test_row_26_*", f"{CONTRACT}/test_opening.py::test_limits_on_the_head"),
    ),
    Row(27, "Control characters, bare line feeds", "400; accepted", (f"{CORE}::test_row_27_*",)),
    Row(
        28,
        "Body on the request, a second request, an early frame",
        "400; never parsed as HTTP; delivered",
        (
            f"{CORE}::test_row_28_*",
            f"{CONTRACT}/test_serving.py::test_frames_after_a_request_that_is_refused_are_not_parsed",
        ),
    ),
    Row(
        29,
        "Peer that sends nothing, or a byte a second",
        "the opening deadline",
        (f"{CORE}::test_row_29_*", f"{CONTRACT}/test_opening.py::test_server_that_answers_a_byte_at_a_time"),
    ),
    Row(
        30,
        "CR, LF or NUL in what is to be sent",
        "refused with an error where it is given",
        (f"{CORE}::test_row_30_*", f"{CONTRACT}/test_adversarial.py::test_row_30_*"),
    ),
    Row(
        31,
        "Wrong answers to a client",
        "an exception; redirects never lead from TLS to none",
        (
            f"{CORE}::test_row_31_*",
            f"{CONTRACT}/test_redirects.py::test_never_from_tls_to_none",
            f"{CONTRACT}/test_redirects.py::test_another_origin_gets_no_credentials",
            f"{CONTRACT}/test_proxies.py::test_answer_of_a_hostile_proxy",
        ),
    ),
    Row(
        32,
        "Guessing HTTP Basic credentials by time",
        "all are compared in constant time",
        ("tests/adapters/shared/test_authentication.py::test_row_32_*", f"{HERE}::test_row_32_*"),
    ),
    # Life and death of a connection
    Row(
        33,
        "No answer to a close, resets, ends of file",
        "the closing deadline; 1006 with the cause",
        (
            f"{CORE}::test_row_33_*",
            f"{CONTRACT}/test_closing.py::test_client_that_never_answers_the_close",
            f"{CONTRACT}/test_closing.py::test_server_that_never_answers_the_close",
            f"{CONTRACT}/test_closing.py::test_server_ends_tcp_first_and_aborts_when_the_client_never_does",
            f"{CONTRACT}/test_broken_streams.py::test_*",
            f"{CONTRACT}/test_adversarial.py::test_random_bytes_harm_nobody",
            f"{CONTRACT}/test_adversarial.py::test_frames_cut_anywhere_harm_nobody",
        ),
    ),
    Row(
        34,
        "Error or cancellation in a fragmented send, concurrent calls",
        "no message is mixed up or cut",
        (
            f"{CORE}::test_row_34_*",
            f"{CONTRACT}/test_fragments.py::test_error_in_an_iterable",
            f"{CONTRACT}/test_cancellation.py::test_cancelled_send_of_fragments_fails_the_connection",
            f"{CONTRACT}/test_closing.py::test_every_call_after_the_close_says_how_it_was_closed",
            f"{CONTRACT}/test_concurrency.py::test_*",
        ),
    ),
    Row(
        35,
        "Guessing masking keys and handshake keys",
        "a strong source, no key twice",
        (f"{CORE}::test_row_35_*", "tests/core/test_randomness.py::test_*", f"{HERE}::test_row_35_*"),
    ),
    Row(
        36,
        "Slow readers, and peers that do not read",
        "bounded memory; nobody else is delayed; given up without progress",
        (
            f"{CORE}::test_row_36_*",
            f"{CONTRACT}/test_slow_readers.py::test_it_is_never_given_up",
            f"{CONTRACT}/test_write_stall.py::test_*",
            f"{CONTRACT}/test_broadcast.py::test_slow_one_*",
            f"{CONTRACT}/test_backpressure.py::test_slow_client_does_not_delay_the_others",
        ),
    ),
    Row(
        37,
        "Peer that leaves while a task sends in a loop",
        "the next `send` raises; the last close code is told",
        (
            f"{CONTRACT}/test_leaving_peers.py::test_*",
            f"{CONTRACT}/test_last_words.py::test_*",
            f"{CONTRACT}/test_closed_loops.py::test_*",
        ),
    ),
    Row(
        38,
        "Floods",
        "other tasks and connections get their turn",
        (
            f"{CONTRACT}/test_floods.py::test_*",
            f"{CONTRACT}/test_turns.py::test_*",
            "tests/test_bench.py::test_others_get_their_turn",
            "tests/adapters/test_threading_fairness.py::test_*",
        ),
    ),
    Row(
        39,
        "Peer that stops within an opening, on TLS or without",
        "the opening deadline; its place is free; closing a server does not wait",
        (
            f"{CONTRACT}/test_opening_deadline.py::test_*",
            f"{CONTRACT}/test_max_connections.py::test_*",
            f"{CONTRACT}/test_stopping.py::test_*",
        ),
    ),
    Row(
        40,
        "Ctrl-C, signal handlers, cancellations",
        "nothing is sent twice, no lock is held, nothing leaks",
        (
            f"{CONTRACT}/test_cancellation.py::test_*",
            f"{CONTRACT}/test_blocks.py::test_*",
            "tests/adapters/test_threading_interruptions.py::test_*",
            "tests/adapters/test_asyncio_cancellation.py::test_*",
        ),
    ),
    Row(
        41,
        "Growth of bytes, messages, waiters, connections, pings, routes",
        "twice the work for twice as many",
        (
            f"{CONTRACT}/test_growth.py::test_*",
            "tests/adapters/test_threading_growth.py::test_*",
            "tests/adapters/shared/test_routing_steps.py::test_*",
            "tests/test_bench.py::test_work_is_in_proportion",
        ),
    ),
    Row(
        42,
        "No file descriptor left",
        "connections go on; the server accepts again when there are some",
        (f"{HERE}::test_row_42_*", "tests/adapters/test_threading_descriptors.py::test_*"),
    ),
    Row(
        43,
        "Unusual targets, other protocols",
        "the right path, or 400 at once",
        (f"{CONTRACT}/test_other_http.py::test_*", "tests/core/test_request_forms.py::test_*"),
    ),
    Row(
        44,
        "Answers of real servers",
        "the connection works, or an exception says why not",
        (f"{CONTRACT}/test_other_http.py::test_answers_*", f"{CONTRACT}/test_common_servers.py::test_*"),
    ),
    # Advisories
    Row("websockets CVE-2018-1000518", "Inflating passes the limit on a message", "1009"),
    Row(
        "websockets CVE-2021-33880",
        "HTTP Basic credentials are compared in a time that tells how much of them is right",
        "constant time",
        (f"{HERE}::test_row_32_*", "tests/adapters/shared/test_authentication.py::test_row_32_*"),
    ),
    Row(
        "ws CVE-2021-32640",
        "A regular expression on `Sec-WebSocket-Protocol` takes very long",
        "linear time",
        (f"{CORE}::test_advisory_a_long_list_of_subprotocols",),
    ),
    Row("ws CVE-2024-37890", "Many headers crash the server", "431 or 400"),
    Row(
        "ws CVE-2026-48779",
        "Tiny fragments and chunks take much memory; a counter is never reset",
        "1009, bounded memory; the count begins again",
    ),
    Row(
        "aiohttp CVE-2026-54274",
        "Incomplete frames pass the limit",
        "1009",
        (f"{CORE}::test_advisory_an_incomplete_frame_passes_no_limit",),
    ),
    Row("aiohttp CVE-2026-59881", "A client inflates what was not negotiated", "1002"),
    Row(
        "aiohttp CVE-2026-69243",
        "A request is smuggled through the upgrade",
        "refused, or read as frames",
        (f"{CORE}::test_advisory_smuggling_*",),
    ),
    Row("undici CVE-2026-1526", "Inflate bomb", "1009, with memory near the limit"),
    Row(
        "undici CVE-2026-1527",
        "CR and LF in the request for the upgrade",
        "an error where it is given",
        (f"{CONTRACT}/test_adversarial.py::test_row_30_*",),
    ),
    Row("undici CVE-2026-1528", "Length of 64 bits", "1009, 1002"),
    Row("undici CVE-2026-2229", "A bad `server_max_window_bits` crashes the client", "an exception"),
    Row("tungstenite CVE-2023-43669", "Long headers take quadratic time", "431 or 400, an exception"),
    Row("gorilla CVE-2020-27813", "The sum of lengths overflows", "1009"),
    Row(
        "websocket-driver CVE-2026-54466",
        "A length of any number of bytes",
        "1002, 400",
    ),
    Row("autobahn GHSA-hxp9-w8x3-p566", "Compression passes the limit on a message", "1009"),
    Row(
        "civetweb CVE-2026-29035",
        "Compression writes beyond the end of a buffer",
        "the right message",
        ("tests/core/test_speedups.py::test_*",),
    ),
    Row("tornado#2391", "Inflate bomb", "1009, with memory near the limit"),
]


def tests_in(path: Path) -> Iterator[str]:
    """The names of the test functions in a file."""
    yield from re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)


def matches(pattern: str) -> list[str]:
    """The test functions that a pattern names."""
    file, _, name = pattern.partition("::")
    path = ROOT / file
    return [each for each in tests_in(path) if fnmatch.fnmatch(each, name)] if path.is_file() else []

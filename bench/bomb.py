"""Peak memory for a message that would inflate a thousandfold:  python bench/bomb.py [MEBIBYTES]

Half a megabyte that would become MEBIBYTES (512) is received in reads of 64 KiB, by a server and by a
client, as binary and as text, by somebody who waits for the whole message and by nobody. Each case has
a process of its own, whose peak is reset before. The limit is what ``max_size`` is by default. Ends
with an error if the connection does not, or if more than twice the limit was needed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

from measuring import LIBRARIES, environment, print_head, print_row

from wsproto_core import Failure, Protocol, Side
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate
from wsproto_core.options import OPTIONS

READ = 2**16
LIMIT: int = OPTIONS["max_size"].default


def bomb(size: int, opcode: int, masked: bool) -> bytes:
    """Return a frame; a masking key of zeros leaves its payload as it is."""
    import zlib

    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = b"\x20" * 2**20
    payload = b"".join(compressor.compress(block) for _ in range(size // len(block)))
    payload += compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
    header = bytes((0xC0 | opcode, masked << 7 | 127)) + len(payload).to_bytes(8, "big")
    return header + bytes(4 * masked) + payload


def peak() -> int:
    """The most bytes that this process has had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def measure(side: Side, wanted: bool) -> dict[str, float]:
    """Receive what is on standard input; return by how many bytes the peak rose, and the seconds."""

    def make() -> Protocol:
        extension = PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False)
        return Protocol(side, clock=time.monotonic, extensions=[extension])

    stream = sys.stdin.buffer
    # The first bytes also go to another connection, which takes what is needed once.
    head = stream.read(100)
    make().receive_data(head)
    protocol = make()
    if wanted and protocol.next_message() is not None:
        raise AssertionError("a message came before it was sent")
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    start = time.process_time()
    protocol.receive_data(head)
    while data := stream.read(READ):
        protocol.receive_data(data)
    seconds = time.process_time() - start
    *_, failure = protocol.events()
    if not isinstance(failure, Failure) or failure.close is None or failure.close.code != 1009:
        raise AssertionError(f"expected close code 1009, got {failure!r}")
    return {"peak": peak() - before, "seconds": seconds}


def main(size: int) -> None:
    print(f"A message that would inflate to {size // 2**20} MiB, max_size {LIMIT // 1024} KiB\n")
    print_head("library", "side", "message", "asked for", "peak, KiB", "of max_size", "time, ms")
    worst = 0.0
    bombs = {
        (opcode, side): bomb(size, opcode, side is Side.SERVER) for opcode, side in product((1, 2), Side)
    }
    for library, side, opcode, wanted in product(LIBRARIES, Side, (2, 1), (True, False)):
        command = [sys.executable, __file__, "measure", side.value, str(int(wanted))]
        done = subprocess.run(
            command, input=bombs[opcode, side], stdout=-1, check=True, env=environment(library)
        )
        figures = json.loads(done.stdout)
        ratio = figures["peak"] / LIMIT
        worst = max(worst, ratio)
        cells = [library, side.value, "binary" if opcode == 2 else "text", "yes" if wanted else "no"]
        cells += [f"{figures['peak'] / 1024:.0f}", f"{ratio:.2f}", f"{figures['seconds'] * 1000:.1f}"]
        print_row(cells)
    if worst >= 2:
        sys.exit(f"the peak rose by {worst:.2f} times max_size")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", side, wanted]:
            print(json.dumps(measure(Side(side), wanted == "1")))
        case [mebibytes]:
            main(int(mebibytes) * 2**20)
        case _:
            main(512 * 2**20)

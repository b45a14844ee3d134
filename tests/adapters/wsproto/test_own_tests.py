"""wsproto's own tests, from its source distribution, run with this package in the place of wsproto."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.adapters.asgi.sdists import sources

INTERNAL = "is about a class that the documentation of wsproto does not have, and that programs do not use"
HOOKS = (
    "calls the hooks between the parser and the compression of wsproto, which nothing else calls: here, the "
    "core compresses"
)
REASON = "wants an empty reason phrase in the status line of a response"
STRICT = "wants unknown parameters to be accepted, which RFC 7692 section 7.1 forbids"
SPLIT = (
    "wants the FIN bit of a frame that has not arrived in full, which is known inside of the parser only: a "
    "program sees whether the message is finished"
)

DIFFERENT = {
    "TestBuffer": INTERNAL,
    "TestMessageDecoder": INTERNAL,
    "test_frame_protocol.test_xor_mask_simple": INTERNAL,
    "TestFrameDecoder.test_partial_message_frames": SPLIT,
    "TestFrameDecoder.test_long_message_sliced": SPLIT,
    "TestFrameDecoderExtensions.test_header_error_handling": (
        "wants an extension to be asked about a pong with a reserved bit: extensions see data frames only, "
        "and a control frame has no reserved bits (RFC 7692 section 6.1)"
    ),
    "TestPerMessageDeflate.test_finalize_ignores_rubbish": STRICT,
    "TestPerMessageDeflate.test_accept_ignores_rubbish": STRICT,
    "TestPerMessageDeflate.test_inbound_uncompressed_control_frame": HOOKS,
    "TestPerMessageDeflate.test_inbound_compressed_control_frame": HOOKS,
    "TestPerMessageDeflate.test_inbound_compressed_continuation_frame": HOOKS,
    "TestPerMessageDeflate.test_inbound_uncompressed_data_frame": HOOKS,
    "TestPerMessageDeflate.test_client_inbound_compressed_single_data_frame": HOOKS,
    "TestPerMessageDeflate.test_client_inbound_compressed_multiple_data_frames": HOOKS,
    "TestPerMessageDeflate.test_client_decompress_after_uncompressible_frame": HOOKS,
    "TestPerMessageDeflate.test_inbound_bad_zlib_payload": HOOKS,
    "TestPerMessageDeflate.test_inbound_bad_zlib_decoder_end_state": HOOKS,
    "TestPerMessageDeflate.test_decompressor_reset": HOOKS,
    "TestPerMessageDeflate.test_outbound_compress_single_frame": HOOKS,
    "TestPerMessageDeflate.test_outbound_compress_multiple_frames": HOOKS,
    "TestPerMessageDeflate.test_compressor_reset": HOOKS,
    "test_client.test_broken_handshake": (
        "wants a response with status 102 to be a refusal: a client has to wait for the final response "
        "(RFC 9110 section 15.2)"
    ),
    "test_server.test_handshake_rejection": REASON,
    "test_server.test_handshake_rejection_with_body": REASON,
}
"""Tests, or classes of tests, that want something else, with the reason."""

FEWEST = 160
"""Tests that pass, at least."""


@pytest.mark.skipif(importlib.metadata.version("wsproto") != "1.3.2", reason="these are the tests of 1.3.2")
def test_own_tests_of_wsproto(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["-p", "redirecting", "-p", "no:cacheprovider", "-o", "addopts=", "--quiet", "--tb=short"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", "tests"],
        cwd=sources("wsproto"),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = set()
    passed = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        test = re.sub(r"\[.*", "", case.attrib["name"])
        group = case.attrib["classname"].rpartition(".")[2]  # the class, or the module
        names = {group, f"{group}.{test}"}
        if {child.tag for child in case} & {"failure", "error"}:
            failed.update(names & DIFFERENT.keys() or {f"{group}.{test}"})
        else:
            passed += 1
    assert failed == DIFFERENT.keys(), result.stdout[-10_000:]
    assert passed >= FEWEST

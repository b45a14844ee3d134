"""See connection.c."""

from collections.abc import Callable
from typing import Any

def use_classes(
    connection: type,
    turn_queue: type,
    tls_transport: type,
    memory_tls: type,
    current_task: Callable[..., Any],
    /,
    *,
    turn: int,
    call: int,
    at_once: int,
    gathered: int,
    read_size: int,
) -> None: ...

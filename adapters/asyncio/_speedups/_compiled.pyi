"""See connection.c."""

def use_classes(
    connection: type,
    turn_queue: type,
    tls_transport: type,
    memory_tls: type,
    /,
    *,
    turn: int,
    call: int,
    at_once: int,
    gathered: int,
    read_size: int,
) -> None: ...
def use_events(websocket_protocol: type, accepted: object, /) -> None: ...

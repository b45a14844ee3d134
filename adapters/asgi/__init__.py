"""WebSocket for ASGI applications on uvicorn: ``uvicorn app:app --ws adapters.asgi:WebSocketProtocol``.

It needs the extra ``asgi``.
"""

try:
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"{__name__} needs uvicorn: pip install 'wsproto-core[asgi]', or in a checkout: pip install '.[asgi]'"
    ) from error

from .connection import WebSocketProtocol
from .settings import ConfigureOptions, ProtocolOptions

__all__ = ["ConfigureOptions", "ProtocolOptions", "WebSocketProtocol"]

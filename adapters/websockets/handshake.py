"""The headers of the opening handshake: build and check them."""

from wsproto_core.handshake.headers import build_request, build_response, check_request, check_response

__all__ = ["build_request", "build_response", "check_request", "check_response"]

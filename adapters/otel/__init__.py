"""OpenTelemetry: a span a connection, and metrics, on every adapter; it needs the extra ``otel``.

:class:`Telemetry` makes connection classes that report, for ``create_protocol``. Nothing else in the library
knows of this package, so a program that does not use it pays nothing for it.
"""

try:
    import opentelemetry.trace  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"{__name__} needs opentelemetry-api: pip install 'wsproto-core[otel]', "
        "or in a checkout: pip install '.[otel]'"
    ) from error

from .telemetry import Telemetry, span_of

__all__ = ["Telemetry", "span_of"]

"""Errors of Redis on appending, as metrics labels and as the 503 of the reply."""

from __future__ import annotations

from redis.exceptions import ConnectionError, TimeoutError

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock_common.process.metrics import GatewayMetrics

__all__ = ["kind_of", "unavailable"]


def kind_of(error: Exception) -> str:
    """One of `QUEUE_ERRORS`."""
    if isinstance(error, TimeoutError):
        return "timeout"
    text = str(error).upper()
    known = (kind for kind in ("oom", "misconf", "readonly", "loading") if kind.upper() in text)
    return next(known, "connection" if isinstance(error, ConnectionError) else "other")


def unavailable(error: Exception, metrics: GatewayMetrics) -> Transient:
    """The 503 for an error of Redis; also counts it."""
    kind = kind_of(error)
    metrics.append_errors.labels(kind).inc()
    return Transient(
        f"the queue cannot take batches now ({kind})", code=ErrorCode[f"QUEUE_{kind.upper()}"]
    )

"""What Redis says when it cannot take a batch, in the words of the metrics and of the answer."""

from __future__ import annotations

from redis.exceptions import ConnectionError, TimeoutError

from penstock.errors import Transient
from penstock_common.metrics import GatewayMetrics

__all__ = ["kind_of", "unavailable"]


def kind_of(error: Exception) -> str:
    """One of `QUEUE_ERRORS`."""
    if isinstance(error, TimeoutError):
        return "timeout"
    text = str(error).upper()
    known = (kind for kind in ("oom", "misconf", "readonly", "loading") if kind.upper() in text)
    return next(known, "connection" if isinstance(error, ConnectionError) else "other")


def unavailable(error: Exception, metrics: GatewayMetrics) -> Transient:
    """The 503 that stands for an error of Redis, counted."""
    kind = kind_of(error)
    metrics.append_errors.labels(kind).inc()
    return Transient(f"the queue cannot take batches now ({kind})", code=f"queue_{kind}")

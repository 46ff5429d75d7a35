"""What a run wants of system metrics: kept in its spool's meta file, where the sampler finds it."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from penstock import __version__
from penstock.spool.meta import Meta, boot_id, pid_namespace

__all__ = [
    "DEFAULT_LIMIT_BYTES",
    "MIN_INTERVAL_S",
    "SYSTEM_RANK",
    "interval_of",
    "limit_of",
    "sampler_name",
    "wish",
]

SYSTEM_RANK = 2**30
"""`penstock.wire.SYSTEM_RANK`, which neither a training process nor the sampler needs to load; a test compares
the two."""
DEFAULT_LIMIT_BYTES = 2 << 30
MIN_INTERVAL_S = 0.5
_MAX_INTERVAL_S = 3_600.0


def wish(interval_s: float, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> dict[str, Any]:
    """The wish of this process's run: a row every `interval_s`, by the sampler that can see this process, as long
    as the root's spools take less than `limit_bytes`."""
    interval_s = min(max(interval_s, MIN_INTERVAL_S), _MAX_INTERVAL_S)
    return {"interval_s": interval_s, "sampler": sampler_name(), "limit_bytes": limit_bytes}


def sampler_name() -> str:
    """Names the sampler of this process among those of a root.

    A sampler sees the processes of its own container. In a job of Slurm's it may see only that job's GPUs, and
    ends with the job. Versions of Penstock do not share one.
    """
    seen = (__version__, pid_namespace(), os.environ.get("SLURM_JOB_ID", ""))
    return hashlib.sha256("\0".join(seen).encode(errors="replace")).hexdigest()[:16]


def interval_of(meta: Meta, sampler: str) -> float | None:
    """The interval that a writer wants from this sampler; None if it wants nothing from it."""
    if meta.parent or meta.boot_id != boot_id() or meta.system.get("sampler") != sampler:
        return None
    interval_s = meta.system.get("interval_s")
    return float(interval_s) if isinstance(interval_s, (int, float)) else None


def limit_of(meta: Meta) -> int:
    """The limit of the root, as this writer states it."""
    limit_bytes = meta.system.get("limit_bytes")
    return limit_bytes if isinstance(limit_bytes, int) else DEFAULT_LIMIT_BYTES

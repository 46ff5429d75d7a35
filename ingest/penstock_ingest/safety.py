"""Whether Redis is configured not to lose data: checked before a gateway accepts batches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["problem_of"]

_MIN_VERSION = (6, 2)


def problem_of(info: Mapping[str, Any]) -> str:
    """Why this Redis may lose data, from its `INFO`; '' if it is safe."""
    version = str(info.get("redis_version", "of unknown version"))
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _MIN_VERSION:
        return f"Redis {version} is older than 6.2"
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        return f"maxmemory-policy is {policy}, not noeviction"
    if not info.get("maxmemory"):
        return "maxmemory is 0: Redis would grow until the system ends it"
    if not info.get("aof_enabled"):
        return "appendonly is off: a restart would lose what is queued"
    if info.get("aof_last_write_status", "ok") != "ok":
        return "Redis cannot write its append-only file: is its disk full?"
    return ""

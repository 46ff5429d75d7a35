"""The sign of life that a worker writes to Redis every few seconds, and gateways read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

__all__ = ["SIGN_EVERY_S", "SIGN_TTL_S", "WorkerSign"]

SIGN_EVERY_S = 3.0
SIGN_TTL_S = 15


@dataclass(frozen=True, slots=True)
class WorkerSign:
    """Durations as of the time of writing: no two machines' clocks are compared.

    `retrying`: the error that the worker is retrying, if any; `turned_s`: how long ago its loop last
    turned; `idle_s`: how long ago each of its shards last had a commit, or was acquired.
    """

    retrying: str = ""
    turned_s: float = 0.0
    idle_s: Mapping[int, float] = field(default_factory=dict)

    def dump(self) -> bytes:
        idle = {str(shard): round(seconds, 1) for shard, seconds in self.idle_s.items()}
        return orjson.dumps({"retrying": self.retrying, "turned": self.turned_s, "idle": idle})

    @classmethod
    def load(cls, text: bytes) -> WorkerSign | None:
        """None if it cannot be parsed."""
        try:
            fields = orjson.loads(text)
            idle = {int(shard): float(seconds) for shard, seconds in fields["idle"].items()}
            return cls(str(fields["retrying"]), float(fields["turned"]), idle)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

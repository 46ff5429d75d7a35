"""What a worker says of its work every few seconds, in Redis, and what gateways read there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

__all__ = ["SIGN_EVERY_S", "SIGN_TTL_S", "WorkerSign"]

SIGN_EVERY_S = 3.0
SIGN_TTL_S = 15


@dataclass(frozen=True, slots=True)
class WorkerSign:
    """Durations are as of when it was said: no two machines' clocks are compared.

    `retrying` is what the worker waits for, if it does; `turned_s` how long ago its loop last turned;
    `idle_s` how long ago each of its shards last had something committed, or was taken.
    """

    retrying: str = ""
    turned_s: float = 0.0
    idle_s: Mapping[int, float] = field(default_factory=dict)

    def dump(self) -> bytes:
        idle = {str(shard): round(seconds, 1) for shard, seconds in self.idle_s.items()}
        return orjson.dumps({"retrying": self.retrying, "turned": self.turned_s, "idle": idle})

    @classmethod
    def load(cls, text: bytes) -> WorkerSign | None:
        """None for what cannot be read."""
        try:
            fields = orjson.loads(text)
            idle = {int(shard): float(seconds) for shard, seconds in fields["idle"].items()}
            return cls(str(fields["retrying"]), float(fields["turned"]), idle)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

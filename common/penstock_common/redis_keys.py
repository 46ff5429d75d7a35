"""Every Redis key that Penstock uses, and which shard a run belongs to. No key is spelled elsewhere.

A shard's keys share a hash tag, so that one script may touch all of them on a Redis Cluster.
"""

from __future__ import annotations

import hashlib
import zlib

__all__ = ["SHARDS", "RedisKeys", "run_path", "shard_of", "split_writer_key", "writer_key"]

SHARDS = 16
"""Fixed while streams hold entries: a run's entries must stay in one stream."""


def run_path(entity: str, project: str, run: str) -> str:
    """`entity/project/run`: names hold no slash, so this is unambiguous."""
    return f"{entity}/{project}/{run}"


def writer_key(path: str, writer: str) -> str:
    """One string for (run, writer): the hash field that holds its position."""
    return f"{path}/{writer}"


def split_writer_key(key: str) -> tuple[str, str, str, str]:
    """(entity, project, run, writer) of a `writer_key`."""
    entity, project, run, writer = key.split("/")
    return entity, project, run, writer


def shard_of(path: str) -> int:
    """The shard, 0 … 15, of a run path."""
    return zlib.crc32(path.encode()) % SHARDS


class RedisKeys:
    """The keys of one installation, which all start with `prefix`."""

    def __init__(self, prefix: str = "penstock") -> None:
        self.prefix = prefix

    def _shard(self, shard: int, what: str) -> str:
        return f"{self.prefix}:{{s{shard}}}:{what}"

    def stream(self, shard: int) -> str:
        """Stream of batches that are not yet committed."""
        return self._shard(shard, "stream")

    def pending(self, shard: int) -> str:
        """Hash `seq/writer_key` -> entry id of each batch in the stream, by which the gateway
        dedupes repeats; `p` and the id for a batch that is parked."""
        return self._shard(shard, "seen")

    def committed(self, shard: int) -> str:
        """Hash writer key -> highest number below which everything is in the store (a cache)."""
        return self._shard(shard, "committed")

    def incarnation(self, shard: int) -> str:
        """Random string, set when first needed: gone if this Redis lost its data."""
        return self._shard(shard, "incarnation")

    def lease(self, shard: int) -> str:
        """`worker:epoch` of the shard's owner, with a time to live."""
        return self._shard(shard, "lease")

    def epoch(self, shard: int) -> str:
        return self._shard(shard, "epoch")

    def failures(self, shard: int) -> str:
        """Hash entry id -> how often its processing failed."""
        return self._shard(shard, "failures")

    def dead(self, shard: int) -> str:
        """Dead letters: stream of batches that could not be processed, with the reason."""
        return self._shard(shard, "dead")

    def dead_seqs(self, shard: int) -> str:
        """Hash writer key -> numbers of its dead-lettered batches, `seq,seq,…` (a cache)."""
        return self._shard(shard, "dead-marks")

    def digests(self, shard: int) -> str:
        """Hash writer key -> digests of its last committed batches, `seq=hex16;…` (a cache)."""
        return self._shard(shard, "digests")

    def parked(self, shard: int) -> str:
        """Stream of the batches of parked writers."""
        return self._shard(shard, "parked")

    def parked_bytes(self, shard: int) -> str:
        """Hash writer key -> bytes of its parked batches, and '' -> of all. A writer that is in it is
        parked, even if it has none."""
        return self._shard(shard, "parked-bytes")

    def parked_why(self, shard: int) -> str:
        """Hash writer key -> when it was parked (µs) and why."""
        return self._shard(shard, "parked-why")

    def dead_letters_in_row(self, shard: int) -> str:
        """Hash writer key -> its dead letters since a batch of it was last stored."""
        return self._shard(shard, "letters-in-row")

    def failing(self, shard: int) -> str:
        """Set of the run paths that had a failure since anything was last stored."""
        return self._shard(shard, "failing")

    def obsolete(self, shard: int) -> tuple[str, ...]:
        """What earlier versions kept and nobody reads any more."""
        return self._shard(shard, "settled"), self._shard(shard, "dead-at")

    def tried(self, shard: int) -> str:
        """Owners in a row that neither committed anything nor gave the shard up: they died."""
        return self._shard(shard, "tried")

    def heartbeats(self, shard: int) -> str:
        """Hash run path -> when a client last said that the run's process lives, in µs."""
        return self._shard(shard, "heartbeats")

    def http_seq(self, shard: int) -> str:
        """Hash run path -> last number given to a JSON request of that run."""
        return self._shard(shard, "http")

    def idempotency(self, shard: int, path: str, key: str) -> str:
        """What an `Idempotency-Key` of a run was answered with."""
        digest = hashlib.sha256(f"{path}\n{key}".encode()).hexdigest()[:32]
        return self._shard(shard, f"idempotency:{digest}")

    def alert_pause(self, path: str, title: str) -> str:
        """Set while alerts of this title of a run are dropped."""
        digest = hashlib.sha256(f"{path}\n{title}".encode()).hexdigest()[:32]
        return f"{self.prefix}:alert-pause:{digest}"

    def workers(self) -> str:
        """Sorted set of live workers by the time of their last sign of life."""
        return f"{self.prefix}:workers"

    def worker(self, name: str) -> str:
        """What a worker last said of its work, with a time to live."""
        return f"{self.prefix}:worker:{name}"

    def problems(self) -> str:
        """Hash `code/subject` -> JSON [since, until, text] of what is wrong with the installation."""
        return f"{self.prefix}:problems"

    def worker_faults(self) -> str:
        """How often in a row workers ended because whatever they read failed."""
        return f"{self.prefix}:worker-faults"

    def store(self) -> str:
        """Id of the point store that workers commit to."""
        return f"{self.prefix}:store"

    def clock(self) -> str:
        """A time in µs that store and catalog know as well: a copy of theirs that is older than
        this was put in their place."""
        return f"{self.prefix}:clock"

    def at_bound(self) -> str:
        """Sorted set of `runs|writers entity[/project[/run]]` that have as many as they may have, each
        with the time (s) until which that holds unless it is said again."""
        return f"{self.prefix}:at-bound"

    def live_channel(self) -> str:
        """Pub/sub channel on which workers say what they committed."""
        return f"{self.prefix}:live"

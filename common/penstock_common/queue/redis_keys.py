"""All Redis keys of Penstock, and the shard of a run. Keys are spelled here only; the method names are
the current words, the keys keep the ones of the first release.

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
        """Hash writer key -> committed position (offset): everything up to it is in the store (a cache)."""
        return self._shard(shard, "committed")

    def bell(self, shard: int) -> str:
        """List with an item while somebody wants what is queued here committed soon."""
        return self._shard(shard, "bell")

    def incarnation(self, shard: int) -> str:
        """Random string, set when first needed: missing if this Redis lost its data."""
        return self._shard(shard, "incarnation")

    def lease(self, shard: int) -> str:
        """`worker:epoch` of the shard's owner, with a time to live."""
        return self._shard(shard, "lease")

    def epoch(self, shard: int) -> str:
        return self._shard(shard, "epoch")

    def failures(self, shard: int) -> str:
        """Hash entry id -> how often it was tried."""
        return self._shard(shard, "failures")

    def alone(self, shard: int) -> str:
        """Id of the entry that was tried last while its worker read nothing else; ` searching` after it
        if that looks for others, too. Or of the one that it died of, and how many it had read with it."""
        return self._shard(shard, "alone")

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
        """Hash writer key -> bytes of its parked batches, and '' -> of all. Writers in it are parked, even
        without batches."""
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
        """Keys of earlier versions that are no longer read."""
        return self._shard(shard, "settled"), self._shard(shard, "dead-at")

    def tried(self, shard: int) -> str:
        """Number of owners in a row that died: they neither committed anything nor released the shard."""
        return self._shard(shard, "tried")

    def heartbeats(self, shard: int) -> str:
        """Hash run path -> time of the last heartbeat of the run's process, in µs."""
        return self._shard(shard, "heartbeats")

    def http_seq(self, shard: int) -> str:
        """Hash run path -> last number assigned to a JSON request of that run."""
        return self._shard(shard, "http")

    def idempotency(self, shard: int, path: str, key: str) -> str:
        """The number and digest recorded for an `Idempotency-Key` of a run."""
        digest = hashlib.sha256(f"{path}\n{key}".encode()).hexdigest()[:32]
        return self._shard(shard, f"idempotency:{digest}")

    def alert_pause(self, path: str, title: str) -> str:
        """Exists while a run's alerts with this title are dropped."""
        digest = hashlib.sha256(f"{path}\n{title}".encode()).hexdigest()[:32]
        return f"{self.prefix}:alert-pause:{digest}"

    def stream_lock(self, path: str, client: str) -> str:
        """Exists while lines of this client of a run are being stored."""
        digest = hashlib.sha256(f"{path}\n{client}".encode()).hexdigest()[:32]
        return f"{self.prefix}:stream-lock:{digest}"

    def workers(self) -> str:
        """Sorted set of live workers by the time of their last sign of life."""
        return f"{self.prefix}:workers"

    def worker(self, name: str) -> str:
        """A worker's last sign of life, with a time to live."""
        return f"{self.prefix}:worker:{name}"

    def problems(self) -> str:
        """Hash `code/subject` -> JSON [since, until, text, entity] of a problem."""
        return f"{self.prefix}:problems"

    def worker_faults(self) -> str:
        """How often in a row workers exited because everything they read failed."""
        return f"{self.prefix}:worker-faults"

    def store(self) -> str:
        """Id of the point store that workers commit to."""
        return f"{self.prefix}:store"

    def clock(self) -> str:
        """A time in µs that store and catalog know as well: if theirs is older, they were replaced by an
        older copy."""
        return f"{self.prefix}:clock"

    def watched(self) -> str:
        """Exists while somebody reads what runs log, with a time to live: workers commit often then."""
        return f"{self.prefix}:watched"

    def at_bound(self) -> str:
        """Sorted set of bounds that are reached, `runs|writers entity[/project[/run]]`, each with the time
        (s) until which that holds unless it is renewed."""
        return f"{self.prefix}:at-bound"

    def live_channel(self) -> str:
        """Pub/sub channel on which workers announce what they committed."""
        return f"{self.prefix}:live"

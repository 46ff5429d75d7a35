"""Recovers JSON rows from the damaged part of a queue's file, their only copy.

All other batches are kept by their clients, which send them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from penstock_common.queue.entries import REQUIRED, pending_field
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_server.queue_file.commands import encode

__all__ = ["QueuedRows", "fresh_numbers", "rows_in"]

_QUEUE_WRITER = b"http-"


@dataclass(frozen=True, slots=True)
class QueuedRows:
    """One request's rows: the original stream entry with its id."""

    stream: bytes
    id: bytes
    fields: list[bytes]

    def commands(self, keys: RedisKeys) -> bytes:
        """The command that restores it. Its number stays the same, so that rows already stored are
        deduplicated."""
        for shard in range(SHARDS):
            stream = keys.stream(shard).encode()
            # Rows of a parked writer are retried once.
            if self.stream in (stream, keys.parked(shard).encode()):
                field = pending_field(dict(zip(self.fields[::2], self.fields[1::2], strict=True)))
                pending = encode("HSET", keys.pending(shard), field, self.id)
                return encode("XADD", stream, self.id, *self.fields) + pending
        return encode("XADD", self.stream, self.id, *self.fields)


def rows_in(commands: Iterable[list[bytes]]) -> list[QueuedRows]:
    """The rows that these commands add to a stream and do not remove again."""
    found: dict[tuple[bytes, bytes], QueuedRows] = {}
    for name, *arguments in commands:
        match name.upper():
            case b"XADD" if _is_rows(arguments):
                stream, entry, *fields = arguments
                found[stream, entry] = QueuedRows(stream, entry, fields)
            case b"XDEL" if arguments:
                for entry in arguments[1:]:
                    found.pop((arguments[0], entry), None)
    return list(found.values())


def fresh_numbers(keys: RedisKeys) -> bytes:
    """Commands that make JSON rows continue under a new writer name: the old one's last numbers may be
    lost, and a number used twice would be taken for a repeat."""
    shards = range(SHARDS)
    return (
        encode("SELECT", "0")
        + encode("DEL", *(keys.incarnation(shard) for shard in shards))
        + encode("DEL", *(keys.http_seq(shard) for shard in shards))
    )


def _is_rows(arguments: list[bytes]) -> bool:
    if len(arguments) < 4 or len(arguments) % 2:
        return False
    fields = dict(zip(arguments[2::2], arguments[3::2], strict=True))
    if not fields.keys() >= REQUIRED:
        return False
    *_, writer = pending_field(fields).rpartition(b"/")
    return writer.startswith(_QUEUE_WRITER)

"""An entry of the queue: a batch in a shard's stream, among its parked ones, or as a dead letter.

Its fields are declared here, and nowhere else: the scripts, the worker, the commands for dead letters and
the repair of the queue's file have their names from here. Names are on disk and never change. Scripts that
move an entry keep fields that they do not know, and `decode` skips them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.wire import DEFAULT_LIMITS
from penstock_common.queue.measure import decoded_bytes

__all__ = [
    "FIELDS",
    "LAYOUT",
    "NAMES",
    "REQUIRED",
    "Entry",
    "EntryField",
    "decode",
    "encode",
    "pending_field",
    "writer_of",
]


class EntryField(NamedTuple):
    """A field of an entry in Redis. `kind`: str in UTF-8, int in decimal digits, bytes as they are, or bool
    as `1`. `since`: the first layout with it. If `is_optional`, it is absent where it would be 0, '' or
    false."""

    name: str
    kind: type
    since: int
    is_optional: bool
    meaning: str


LAYOUT = 3
"""The layout that gateways write. 1 is the first; 2 adds decoded sizes and entries to drop; 3 when the
writer began."""

FIELDS: dict[str, EntryField] = {
    "writer": EntryField("w", str, 1, False, "the writer key, `entity/project/run/writer`"),
    "seq": EntryField("s", int, 1, False, "the batch's number"),
    "raw": EntryField("b", bytes, 1, False, "the batch as it was received, perhaps compressed"),
    "received": EntryField("t", int, 1, False, "when the gateway got it, in µs"),
    "decoded": EntryField("n", int, 2, False, "its bytes once decoded"),
    "elements": EntryField("e", int, 2, False, "the number of objects that decoding creates"),
    "began": EntryField("a", int, 3, True, "when its writer started, in µs by the server's clock"),
    "is_dropped": EntryField("d", bool, 2, True, "an operator dropped it"),
    "is_replay": EntryField("r", bool, 1, True, "a dead letter that is retried"),
    "reason": EntryField("reason", str, 1, True, "why it is a dead letter"),
}
"""The fields by what `Entry` calls them, in the order in which they are added."""

NAMES = {attribute: field.name for attribute, field in FIELDS.items()}
_WRITER, _SEQ, _RAW, _RECEIVED, _DECODED, _ELEMENTS, _BEGAN, _DROPPED, _REPLAY, _REASON = (
    name.encode() for name in NAMES.values()
)
REQUIRED = frozenset((_WRITER, _SEQ, _RAW, _RECEIVED))
"""Names of the fields that every entry has."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch in a stream of this shard, under this id."""

    shard: int
    id: bytes
    writer: str
    seq: int
    raw: bytes
    received: int
    """When the gateway got it, in µs."""
    is_replay: bool = False
    """A dead letter that is retried."""
    is_dropped: bool = False
    """An operator dropped it."""
    decoded: int = 0
    """Its bytes once decoded."""
    elements: int = 0
    """The number of objects that decoding creates; 0 if unknown."""
    began: int = 0
    """When its writer started, in µs by the server's clock; 0 if unknown."""
    reason: str = ""
    """Why it is a dead letter; '' if it is none."""


def decode(shard: int, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """The entry with these fields, of any layout. Sizes that an older gateway did not record are measured:
    its bytes exactly, its elements from above."""
    raw = fields[_RAW]
    size, elements = fields.get(_DECODED), fields.get(_ELEMENTS)
    decoded = int(size) if size is not None else decoded_bytes(raw)
    return Entry(
        shard,
        entry_id,
        fields[_WRITER].decode(),
        int(fields[_SEQ]),
        raw,
        int(fields[_RECEIVED]),
        _REPLAY in fields,
        _DROPPED in fields,
        decoded,
        # Nothing has more elements than bytes.
        int(elements) if elements is not None else min(decoded, DEFAULT_LIMITS.elements),
        int(fields.get(_BEGAN, 0)),
        fields[_REASON].decode(errors="replace") if _REASON in fields else "",
    )


def encode(entry: Entry, layout: int = LAYOUT) -> dict[Any, Any]:
    """The fields of an entry as the append script adds them, then those of entries that were moved; of an
    earlier `layout`, only those that it has. Names and values are str, int or bytes, as Redis takes them."""
    fields: dict[Any, Any] = {}
    for attribute, field in FIELDS.items():
        value = getattr(entry, attribute)
        if field.since <= layout and (value or not field.is_optional):
            fields[field.name] = int(value) if field.kind is bool else value
    return fields


def writer_of(fields: Mapping[bytes, bytes]) -> str:
    """The writer key of the entry with these fields."""
    return fields[_WRITER].decode()


def pending_field(fields: Mapping[bytes, bytes]) -> bytes:
    """The field of the hash `pending` for the entry with these fields."""
    return fields[_SEQ] + b"/" + fields[_WRITER]

"""The wire format: what a client sends to `POST /v1/batches`. Defined here and nowhere else.

A body is one or more batches, each behind a little-endian u32 with its length. A batch is a
msgpack map, or a zstd frame of one, so that the gateway can append the bytes of each unchanged:

    {v: 1, entity?, project, run, writer, writer_started, rank, seq, acked, sent_at,
     frames: [{keys: [str], steps: i64[n], times: i64[n], values: f64[k*n], ints?: u8[k]}],
     records: [{t: str, ...}], client?: {...}}

Columns are msgpack `bin`, little-endian. `values` is key-major: all n values of the first key,
then those of the second. Times are microseconds since 1970 UTC. `ints[i]` = 1 says that every value
of key i was an integer. NaN and ±Inf are data. A (key, step) pair should appear once per batch; if
it does not, the later frame wins, then the later row.

This module imports neither numpy nor any I/O: the gateway checks batches with it, and
`import penstock` must stay light. Every length, count and name is checked against `Limits` before
memory is taken in proportion to what the sender claims.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack
import zstandard

from penstock.errors import Rejected

__all__ = [
    "CONTENT_TYPE",
    "RECORD_TYPES",
    "VERSION",
    "Batch",
    "Frame",
    "Limits",
    "check_name",
    "decode_batch",
    "decompress",
    "encode_batch",
    "join_batches",
    "split_body",
]

VERSION = 1
SUPPORTED_VERSIONS = (1,)
CONTENT_TYPE = "application/msgpack"
MAX_STEP = 2**53
"""Steps lie strictly between -2^53 and 2^53, so that JSON and JavaScript carry them exactly."""

RECORD_TYPES = frozenset(
    {"run", "config", "summary", "state", "value", "console", "define_metric", "alert"}
)
"""What a record can be:

`run` {name?, group?, job_type?, tags?, notes?, host?, program?, python?} describes the run;
`config` / `summary` {update: {key: JSON value}} set top-level keys, later (seq, index) wins;
`state` {state: running | finished | failed | crashed, exit_code?};
`value` {key, step, time, kind, json} is a logged value that is not a number (kind: string, bool,
null, list, dict, histogram, image …; json: its JSON text);
`console` {stream, line, text, time}; `define_metric` {metric, …}; `alert` {time, title, text, …}.
"""

_LENGTH = struct.Struct("<I")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_NAME_FORBIDDEN = frozenset(map(chr, (*range(32), 127))) | {"/", "\\"}


@dataclass(frozen=True)
class Limits:
    """What one request may claim. Larger claims are refused before memory is taken for them.

    `elements` counts the entries of all maps and lists of a batch together: a few bytes of nested
    empty maps would otherwise become a hundred times their size in Python objects.
    """

    body_bytes: int = 16 * 2**20
    decoded_bytes: int = 64 * 2**20
    compression_ratio: int = 100
    batches: int = 1_024
    keys_per_frame: int = 20_000
    frames_per_batch: int = 10_000
    points_per_batch: int = 2_000_000
    records_per_batch: int = 100_000
    elements: int = 1_000_000
    key_bytes: int = 512
    name_bytes: int = 128


DEFAULT_LIMITS = Limits()


class Frame(NamedTuple):
    """Keys that were logged together at the same n steps."""

    keys: list[str]
    steps: bytes
    times: bytes
    values: bytes
    ints: bytes | None = None

    @property
    def rows(self) -> int:
        """n, the number of steps."""
        return len(self.steps) // 8

    @property
    def points(self) -> int:
        """k * n, the number of points."""
        return len(self.values) // 8


@dataclass(slots=True)
class Batch:
    """What one writer sends under one number. `project`, `run` and `writer` name the sender;
    `seq` counts 1, 2, 3 … without gaps."""

    project: str
    run: str
    writer: str
    seq: int
    writer_started: int = 0
    entity: str | None = None
    rank: int = 0
    acked: int = 0
    sent_at: int = 0
    frames: list[Frame] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    client: dict[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> int:
        return sum(frame.points for frame in self.frames)


def encode_batch(batch: Batch, *, compress: bool = False) -> bytes:
    """The bytes of one batch; with `compress`, as a zstd frame (level 1) of its own."""
    fields: dict[str, Any] = {
        "v": VERSION,
        "project": batch.project,
        "run": batch.run,
        "writer": batch.writer,
        "writer_started": batch.writer_started,
        "rank": batch.rank,
        "seq": batch.seq,
        "acked": batch.acked,
        "sent_at": batch.sent_at,
        "frames": [_frame_fields(frame) for frame in batch.frames],
        "records": batch.records,
        "client": batch.client,
    }
    if batch.entity is not None:
        fields["entity"] = batch.entity
    raw: bytes = msgpack.packb(fields)
    return zstandard.ZstdCompressor(level=1).compress(raw) if compress else raw


def _frame_fields(frame: Frame) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "keys": frame.keys,
        "steps": frame.steps,
        "times": frame.times,
        "values": frame.values,
    }
    if frame.ints is not None:
        fields["ints"] = frame.ints
    return fields


def join_batches(batches: Iterable[bytes]) -> bytes:
    """A request body: each batch behind its length."""
    parts: list[bytes] = []
    for raw in batches:
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def split_body(body: bytes, limits: Limits = DEFAULT_LIMITS) -> list[bytes]:
    """The encoded batches of a request body, in order.

    Raises `Rejected` if a length runs past the end, or the body is empty or too long.
    """
    if len(body) > limits.body_bytes:
        raise too_large("body_too_large", len(body), limits.body_bytes, "bytes in the body")
    return list(_batches_in(body, limits))


def _batches_in(body: bytes, limits: Limits) -> Iterator[bytes]:
    offset, count = 0, 0
    while offset < len(body) or count == 0:
        if offset + 4 > len(body):
            raise _bad("bad_framing", "the body ends inside a batch's length", _FRAMING_HINT)
        (length,) = _LENGTH.unpack_from(body, offset)
        offset += 4
        if length == 0 or offset + length > len(body):
            raise _bad(
                "bad_framing",
                f"a batch claims {length} bytes, {len(body) - offset} are left in the body",
                _FRAMING_HINT,
            )
        count += 1
        if count > limits.batches:
            raise too_large("too_many_batches", count, limits.batches, "batches in the body")
        yield body[offset : offset + length]
        offset += length


def decompress(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The msgpack bytes of an encoded batch, whether it was compressed or not.

    Never holds more than `limits.decoded_bytes`, whatever the frame's header claims.
    """
    if raw[:4] != _ZSTD_MAGIC:
        return raw
    allowed = min(limits.decoded_bytes, len(raw) * limits.compression_ratio)
    try:
        claimed = zstandard.frame_content_size(raw)
        if claimed > allowed:
            raise too_large("batch_too_large", claimed, allowed, "bytes after decompression")
        decoder = zstandard.ZstdDecompressor().decompressobj()
        parts, size = [], 0
        # In steps, so that a frame without a declared size cannot expand unseen.
        for start in range(0, len(raw), 65_536):
            part = decoder.decompress(raw[start : start + 65_536])
            size += len(part)
            if size > allowed:
                raise too_large("batch_too_large", size, allowed, "bytes after decompression")
            parts.append(part)
        if not decoder.eof or decoder.unused_data:
            raise _bad("bad_compression", "the zstd frame is cut short or has bytes after it")
    except zstandard.ZstdError as error:
        raise _bad("bad_compression", f"the zstd frame cannot be read: {error}") from None
    return b"".join(parts)


def decode_batch(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Batch:
    """The checked batch in `raw`, compressed or not.

    Raises `Rejected` with a message that names the field. Columns stay bytes: read them with
    `np.frombuffer(frame.values, "<f8").reshape(len(frame.keys), frame.rows)`.
    """
    fields = _unpack(decompress(raw, limits), limits)
    version = fields.get("v")
    if version not in SUPPORTED_VERSIONS or isinstance(version, bool):
        raise Rejected(
            f"wire version {version!r} is not known here",
            code="unknown_version",
            status=415,
            hint=f"This server speaks {list(SUPPORTED_VERSIONS)}; update the older side.",
        )
    batch = Batch(
        project=check_name("project", fields.get("project"), limits),
        run=check_name("run", fields.get("run"), limits),
        writer=check_name("writer", fields.get("writer"), limits),
        seq=_integer(fields, "seq", 1, 2**32 - 1),
        writer_started=_integer(fields, "writer_started", 0, 2**63 - 1, 0),
        entity=_optional_name(fields, limits),
        rank=_integer(fields, "rank", 0, 2**31 - 1, 0),
        acked=_integer(fields, "acked", 0, 2**32 - 1, 0),
        sent_at=_integer(fields, "sent_at", 0, 2**63 - 1, 0),
        frames=[_frame(i, f, limits) for i, f in enumerate(_list(fields, "frames"))],
        records=[_record(i, r, limits) for i, r in enumerate(_list(fields, "records"))],
        client=_map(fields, "client"),
    )
    if batch.acked >= batch.seq:
        raise _bad("bad_field", f"acked ({batch.acked}) must be below seq ({batch.seq})")
    if len(batch.frames) > limits.frames_per_batch:
        raise too_large("too_many_frames", len(batch.frames), limits.frames_per_batch, "frames")
    if len(batch.records) > limits.records_per_batch:
        raise too_large("too_many_records", len(batch.records), limits.records_per_batch, "records")
    if batch.points > limits.points_per_batch:
        raise too_large("too_many_points", batch.points, limits.points_per_batch, "points")
    return batch


def check_name(what: str, value: object, limits: Limits = DEFAULT_LIMITS) -> str:
    """`value` if it can name an entity, project, run or writer; else raises `Rejected`."""
    if not isinstance(value, str) or not value:
        raise _bad("bad_name", f"{what} must be a non-empty string, got {_show(value)}")
    # UTF-8 takes at most four bytes per character: only long names need encoding to be measured.
    if len(value) * 4 > limits.name_bytes and len(value.encode()) > limits.name_bytes:
        raise _bad("bad_name", f"{what} is longer than {limits.name_bytes} bytes")
    if not _NAME_FORBIDDEN.isdisjoint(value) or value in (".", "..") or value != value.strip():
        raise _bad(
            "bad_name",
            f"{what} {_show(value)} has a slash, a control character, or space at an end",
            "Use letters, digits, space, '.', '_' and '-'.",
        )
    return value


class _ElementBudget:
    """A msgpack hook that refuses the batch once its maps and lists hold too much."""

    def __init__(self, elements: int) -> None:
        self.allowed = elements
        self.left = elements

    def spend(self, container: Any) -> Any:
        self.left -= 1 + len(container)
        if self.left < 0:
            raise too_large("too_many_elements", self.allowed + 1, self.allowed, "elements")
        return container


def _unpack(data: bytes, limits: Limits) -> dict[str, Any]:
    budget = _ElementBudget(limits.elements)
    try:
        fields = msgpack.unpackb(
            data,
            max_bin_len=len(data),
            max_str_len=len(data),
            max_array_len=max(
                limits.keys_per_frame, limits.frames_per_batch, limits.records_per_batch
            ),
            max_map_len=100_000,
            max_ext_len=0,
            object_hook=budget.spend,
            list_hook=budget.spend,
        )
    except UnicodeDecodeError:
        raise _bad("bad_utf8", "a string is not valid UTF-8") from None
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise _bad("bad_msgpack", f"the batch is not valid msgpack: {reason}") from None
    if not isinstance(fields, dict):
        raise _bad("bad_msgpack", f"a batch is a map, got {_show(fields)}")
    return fields


def _frame(index: int, fields: object, limits: Limits) -> Frame:
    where = f"frames[{index}]"
    if not isinstance(fields, dict):
        raise _bad("bad_frame", f"{where} must be a map, got {_show(fields)}")
    keys = fields.get("keys")
    if not isinstance(keys, list) or not keys:
        raise _bad("bad_frame", f"{where}.keys must be a non-empty list of strings")
    if len(keys) > limits.keys_per_frame:
        raise too_large("too_many_keys", len(keys), limits.keys_per_frame, f"keys in {where}")
    _check_keys(where, keys, limits)
    steps, times = _column(where, fields, "steps"), _column(where, fields, "times")
    values = _column(where, fields, "values")
    rows = len(steps) // 8
    if rows == 0:
        raise _bad("bad_frame", f"{where} has no rows")
    if len(times) != len(steps):
        raise _bad("bad_column", f"{where}.times has {len(times)} bytes, steps {len(steps)}")
    if len(values) != len(keys) * len(steps):
        raise _bad(
            "bad_column",
            f"{where}.values has {len(values)} bytes, {len(keys)} keys x {rows} steps "
            f"need {len(keys) * len(steps)}",
        )
    _check_steps(where, steps)
    ints = fields.get("ints")
    if ints is not None and (not isinstance(ints, bytes) or len(ints) != len(keys)):
        raise _bad("bad_column", f"{where}.ints must be {len(keys)} bytes, one per key")
    return Frame(keys, steps, times, values, ints)


_CHECKED_SETS = 1_024
_checked: dict[tuple[str, ...], None] = {}
"""Lists of keys that were found good under the default limits: clients send the same ones over and
over, and looking one up costs a third of checking it."""


def _check_keys(where: str, keys: list[Any], limits: Limits) -> None:
    try:
        names = tuple(keys)
        if names in _checked and limits is DEFAULT_LIMITS:
            return
        joined = "".join(names)
    except TypeError:
        raise _bad("bad_key", f"{where}.keys has an entry that is not a string") from None
    # One look at all keys together is enough for nearly every frame.
    if not joined.isprintable() or max(map(len, keys)) * 4 > limits.key_bytes:
        for key in keys:
            check_key(f"{where}.keys", key, limits)
    if "" in keys:
        raise _bad("bad_key", f"{where}.keys has an empty key")
    if len(set(keys)) != len(keys):
        raise _bad("bad_key", f"{where}.keys names a key twice")
    if limits is DEFAULT_LIMITS and len(keys) <= _CHECKED_SETS:
        if len(_checked) >= _CHECKED_SETS:
            _checked.clear()
        _checked[names] = None


def check_key(where: str, key: object, limits: Limits = DEFAULT_LIMITS) -> str:
    """`key` if it can name a metric; else raises `Rejected`."""
    if not isinstance(key, str) or not key:
        raise _bad("bad_key", f"{where}: a key must be a non-empty string, got {_show(key)}")
    if len(key) * 4 > limits.key_bytes and len(key.encode()) > limits.key_bytes:
        raise _bad("bad_key", f"{where}: a key is longer than {limits.key_bytes} bytes")
    if any(c < " " or c == "\x7f" for c in key):
        raise _bad("bad_key", f"{where}: {_show(key)} has a control character")
    return key


def _check_steps(where: str, steps: bytes) -> None:
    # As a list: walking a memoryview twice makes every number twice.
    column = memoryview(steps).cast("q").tolist()
    if max(column) >= MAX_STEP or min(column) <= -MAX_STEP:
        raise _bad("bad_step", f"{where}.steps must lie strictly between -2^53 and 2^53")


def _column(where: str, fields: Mapping[Any, Any], name: str) -> bytes:
    column = fields.get(name)
    if not isinstance(column, bytes) or len(column) % 8:
        raise _bad(
            "bad_column",
            f"{where}.{name} must be msgpack bin of 8-byte numbers, got {_show(column)}",
            "Columns are raw little-endian bytes: i64 for steps and times, f64 for values.",
        )
    return column


def _record(index: int, record: object, limits: Limits) -> dict[str, Any]:
    where = f"records[{index}]"
    if not isinstance(record, dict) or record.get("t") not in RECORD_TYPES:
        raise _bad("bad_record", f"{where} must be a map with t in {sorted(RECORD_TYPES)}")
    kind = record["t"]
    if kind in ("config", "summary") and not _is_str_map(record.get("update")):
        raise _bad("bad_record", f"{where}.update must be a map with string keys")
    if kind == "value":
        check_key(where, record.get("key"), limits)
        _integer(record, "step", 1 - MAX_STEP, MAX_STEP - 1)
        _integer(record, "time", 0, 2**63 - 1)
        for name in ("kind", "json"):
            if not isinstance(record.get(name), str):
                raise _bad("bad_record", f"{where}.{name} must be a string")
    if kind == "console":
        _integer(record, "line", 0, 2**63 - 1)
        _integer(record, "time", 0, 2**63 - 1)
        for name in ("stream", "text"):
            if not isinstance(record.get(name), str):
                raise _bad("bad_record", f"{where}.{name} must be a string")
    if kind == "alert":
        _integer(record, "time", 0, MAX_STEP - 1)
    if kind == "state" and record.get("state") not in _STATES:
        raise _bad("bad_record", f"{where}.state must be one of {sorted(_STATES)}")
    return record


_STATES = frozenset({"running", "finished", "failed", "crashed", "preempting"})


def _is_str_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _integer(
    fields: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None
) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _bad("bad_field", f"{name} must be an integer in [{low}, {high}], got {_show(value)}")
    return value


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list):
        raise _bad("bad_field", f"{name} must be a list, got {_show(value)}")
    return value


def _map(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise _bad("bad_field", f"{name} must be a map, got {_show(value)}")
    return value


def _optional_name(fields: Mapping[str, Any], limits: Limits) -> str | None:
    entity = fields.get("entity")
    return None if entity is None else check_name("entity", entity, limits)


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_FRAMING_HINT = (
    "A body is batches one after another, each behind its length as a little-endian u32."
)


def _bad(code: str, message: str, hint: str = "") -> Rejected:
    return Rejected(message, code=code, hint=hint or "See docs/wire.md for the format.")


def too_large(code: str, got: int, allowed: int, what: str) -> Rejected:
    """The refusal (413) of a request that claims more than a limit allows."""
    return Rejected(
        f"{got} {what}, at most {allowed} are accepted",
        code=code,
        status=413,
        hint="Send it in smaller batches.",
    )

"""A batch and its encoding: msgpack maps and columns, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgpack

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire.compression import compress as compressed
from penstock.wire.field_types import is_plain
from penstock.wire.framing import decompress
from penstock.wire.limits import DEFAULT_LIMITS, MAX_STEP, Limits, bad, show, too_large
from penstock.wire.names import check_keys, check_name
from penstock.wire.records import problem_of

__all__ = [
    "VERSION",
    "Batch",
    "DecodedSize",
    "Frame",
    "Start",
    "decode_batch",
    "decode_batches",
    "encode_batch",
]

VERSION = 1
SUPPORTED_VERSIONS = (1,)
_STARTS = frozenset({"resume", "beside"})


class Frame(NamedTuple):
    """Keys logged together at the same n steps."""

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


class Start(NamedTuple):
    """How a writer took up its run: `resume` from `step`, `beside` others, or '' (it did not say)."""

    kind: str = ""
    step: int = 0


class DecodedSize(NamedTuple):
    """The cost of decoding a batch."""

    bytes: int
    """The length of its msgpack."""
    elements: int
    """Containers and all their entries: the Python objects that decoding creates."""


@dataclass(slots=True)
class Batch:
    """What one writer sends under one number. `project`, `run` and `writer` name the sender; `seq`
    counts from 1 without gaps."""

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
    records: Sequence[Mapping[str, Any]] = field(default_factory=list)
    client: dict[str, Any] = field(default_factory=dict)
    start: Start = Start()  # noqa: RUF009 (immutable)
    decoded: DecodedSize = field(default=DecodedSize(0, 0), compare=False)

    @property
    def points(self) -> int:
        points = 0
        for frame in self.frames:  # a generator would take longer for the one or two that most have
            points += frame.points
        return points


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
    if batch.start.kind:
        fields["start"] = batch.start._asdict()
    raw: bytes = msgpack.packb(fields)
    return compressed(raw, level=1) if compress else raw


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


def decode_batch(raw: bytes, limits: Limits = DEFAULT_LIMITS, *, strict: bool = True) -> Batch:
    """The checked batch in `raw`, compressed or not; records are checked only if `strict`.

    Raises `Rejected` with the name of the field. Columns stay bytes: read them with
    `np.frombuffer(frame.values, "<f8").reshape(len(frame.keys), frame.rows)`.
    """
    data = decompress(raw, limits)
    fields = _unpack(data, limits)
    version = fields.get("v")
    if version not in SUPPORTED_VERSIONS or isinstance(version, bool):
        raise Rejected(
            f"wire version {show(version)} is not supported",
            code=ErrorCode.UNKNOWN_VERSION,
            hint=f"This server supports {list(SUPPORTED_VERSIONS)}; upgrade the older side.",
            supported=SUPPORTED_VERSIONS,
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
        records=_list(fields, "records"),
        client=_map(fields, "client"),
    )
    if "start" in fields:
        batch.start = _start(_map(fields, "start"))
    if batch.acked >= batch.seq:
        raise bad(ErrorCode.BAD_FIELD, f"acked ({batch.acked}) must be below seq ({batch.seq})")
    if len(batch.frames) > limits.frames_per_batch:
        raise too_large(
            ErrorCode.TOO_MANY_FRAMES, len(batch.frames), limits.frames_per_batch, "frames"
        )
    if len(batch.records) > limits.records_per_batch:
        raise too_large(
            ErrorCode.TOO_MANY_RECORDS, len(batch.records), limits.records_per_batch, "records"
        )
    if batch.points > limits.points_per_batch:
        raise too_large(ErrorCode.TOO_MANY_POINTS, batch.points, limits.points_per_batch, "points")
    if strict:
        for index, record in enumerate(batch.records):
            problem = problem_of(record)
            if problem is not None:
                raise bad(ErrorCode.BAD_RECORD, f"records[{index}]{problem}")
        if batch.client and not is_plain(batch.client):
            raise bad(
                ErrorCode.BAD_FIELD, "client must be plain data: no bytes, not nested too deeply"
            )
    elements = 0
    for frame in batch.frames:
        elements += 6 + len(frame.keys)
    if batch.records or batch.client:
        elements += _count([batch.records, batch.client])
    batch.decoded = DecodedSize(len(data), elements)
    return batch


def _start(fields: dict[str, Any]) -> Start:
    """Kinds of newer clients count as none."""
    kind = fields.get("kind")
    return Start(kind, _integer(fields, "step", 0, MAX_STEP, 0)) if kind in _STARTS else Start()


def _count(level: list[Any]) -> int:
    """The containers in `level` and all their entries, at any depth."""
    elements = 0
    while level:
        inner: list[Any] = []
        for each in level:
            elements += 1 + len(each)
            values = each.values() if isinstance(each, dict) else each
            inner += [value for value in values if isinstance(value, dict | list)]
        level = inner
    return elements


def decode_batches(raws: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> list[Batch]:
    """The checked batches of one body. The limits on bytes and elements apply to all of them together:
    many small frames take as much memory as a large one."""
    if len(raws) == 1:
        return [decode_batch(raws[0], limits)]
    batches = []
    left = limits
    for raw in raws:
        batch = decode_batch(raw, left)
        batches.append(batch)
        left = replace(
            left,
            decoded_bytes=left.decoded_bytes - batch.decoded.bytes,
            elements=left.elements - batch.decoded.elements,
        )
    return batches


class _ElementBudget:
    """A msgpack hook that refuses a batch whose maps and lists have too many entries."""

    def __init__(self, elements: int) -> None:
        self.allowed = elements
        self.left = elements

    def spend(self, container: Any) -> Any:
        self.left -= 1 + len(container)
        if self.left < 0:
            raise too_large(ErrorCode.TOO_MANY_ELEMENTS, self.allowed + 1, self.allowed, "elements")
        return container


def _unpack(data: bytes, limits: Limits) -> dict[str, Any]:
    budget = _ElementBudget(limits.elements)
    # Every element takes at least a byte: input shorter than the budget cannot exceed it, and a
    # call for each list and map would double the cost.
    spend = budget.spend if 2 * len(data) > limits.elements else None
    try:
        fields = msgpack.unpackb(
            data,
            max_bin_len=len(data),
            max_str_len=len(data),
            max_array_len=limits.elements,
            max_map_len=limits.elements,
            max_ext_len=0,
            object_hook=spend,
            list_hook=spend,
        )
    except UnicodeDecodeError:
        raise bad(ErrorCode.BAD_UTF8, "a string is not valid UTF-8") from None
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        reason = str(error) or type(error).__name__
        count, _, rest = reason.partition(" exceeds max_")
        # A single list or map is too long, not only claimed to be.
        if rest.startswith(("array", "map")) and count.isdigit() and int(count) <= len(data):
            allowed = limits.elements
            raise too_large(ErrorCode.TOO_MANY_ELEMENTS, int(count), allowed, "elements") from None
        raise bad(ErrorCode.BAD_MSGPACK, f"the batch is not valid msgpack: {reason}") from None
    if not isinstance(fields, dict):
        raise bad(ErrorCode.BAD_MSGPACK, f"a batch is a map, got {show(fields)}")
    return fields


def _frame(index: int, fields: object, limits: Limits) -> Frame:
    where = f"frames[{index}]"
    if not isinstance(fields, dict):
        raise bad(ErrorCode.BAD_FRAME, f"{where} must be a map, got {show(fields)}")
    keys = fields.get("keys")
    if not isinstance(keys, list) or not keys:
        raise bad(ErrorCode.BAD_FRAME, f"{where}.keys must be a non-empty list of strings")
    if len(keys) > limits.keys_per_frame:
        raise too_large(
            ErrorCode.TOO_MANY_KEYS, len(keys), limits.keys_per_frame, f"keys in {where}"
        )
    check_keys(where, keys, limits)
    steps, times = _column(where, fields, "steps"), _column(where, fields, "times")
    values = _column(where, fields, "values")
    rows = len(steps) // 8
    if rows == 0:
        raise bad(ErrorCode.BAD_FRAME, f"{where} has no rows")
    if len(times) != len(steps):
        raise bad(ErrorCode.BAD_COLUMN, f"{where}.times has {len(times)} bytes, steps {len(steps)}")
    if len(values) != len(keys) * len(steps):
        raise bad(
            ErrorCode.BAD_COLUMN,
            f"{where}.values has {len(values)} bytes, {len(keys)} keys x {rows} steps "
            f"need {len(keys) * len(steps)}",
        )
    _check_steps(where, steps)
    ints = fields.get("ints")
    if ints is not None and (not isinstance(ints, bytes) or len(ints) != len(keys)):
        raise bad(ErrorCode.BAD_COLUMN, f"{where}.ints must be {len(keys)} bytes, one per key")
    return Frame(keys, steps, times, values, ints)


def _check_steps(where: str, steps: bytes) -> None:
    # As a list: iterating over a memoryview twice creates every number twice.
    column = memoryview(steps).cast("q").tolist()
    if max(column) >= MAX_STEP or min(column) <= -MAX_STEP:
        raise bad(ErrorCode.BAD_STEP, f"{where}.steps must be strictly between -2^53 and 2^53")


def _column(where: str, fields: Mapping[Any, Any], name: str) -> bytes:
    column = fields.get(name)
    if not isinstance(column, bytes) or len(column) % 8:
        raise bad(
            ErrorCode.BAD_COLUMN,
            f"{where}.{name} must be msgpack bin of 8-byte numbers, got {show(column)}",
            "Columns are raw little-endian bytes: i64 for steps and times, f64 for values.",
        )
    return column


def _integer(
    fields: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None
) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise bad(
            ErrorCode.BAD_FIELD, f"{name} must be an integer in [{low}, {high}], got {show(value)}"
        )
    return value


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list):
        raise bad(ErrorCode.BAD_FIELD, f"{name} must be a list, got {show(value)}")
    return value


def _map(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise bad(ErrorCode.BAD_FIELD, f"{name} must be a map, got {show(value)}")
    return value


def _optional_name(fields: Mapping[str, Any], limits: Limits) -> str | None:
    entity = fields.get("entity")
    return None if entity is None else check_name("entity", entity, limits)

"""The hot path: `log()` packs a row into the mapped spool and returns.

When `log` has returned, the row is in the page cache and survives `kill -9` of this process. Rows of
plain values (exactly float, int, bool, str, None, np.float64, and lists and dicts of them) take the
fast path, a microsecond or two; everything else goes to the slow path, which never raises. Safe to
call from threads, from signal handlers and after a fork.
"""

from __future__ import annotations

import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any

import msgpack

from penstock.notices import NOTICES
from penstock.spool.record import PAYLOAD_HEAD, RECORD_HEAD, PayloadKind
from penstock.spool.segment import NO_SEGMENT, Segment
from penstock.spool.shapes import Shape, Shapes
from penstock.spool.spool_folder import Spool

__all__ = ["MAX_KEYS", "MAX_KEY_BYTES", "NoRoom", "Unusual", "Writer", "is_key"]

MAX_KEYS = 20_000
MAX_KEY_BYTES = 512
MAX_STEP = 2**53
RESERVED_KEYS = frozenset({"_step", "_timestamp", "_runtime"})
_MAX_PAYLOAD_BYTES = 6 << 20
"""Larger rows are cut by value, as no batch could carry them."""
_ROOM_POLL_S = 0.05
_INTERJECT_S = 1.0

_CONTAINERS = frozenset({list, dict})

# Bound once, to keep look-ups off the hot path.
_ROW = int(PayloadKind.ROW)
_pack_payload_head = PAYLOAD_HEAD.pack
_pack_record_head_into = RECORD_HEAD.pack_into
_crc32 = zlib.crc32


class Unusual(Exception):
    """A row that the fast path does not handle."""


class NoRoom(Exception):
    """A row that cannot be stored: the spool is full, or the run is finished."""


class Writer:
    """Appends one run's rows and records to a spool, which `open_spool` creates when it is needed.

    `slow_path(data, step, commit)` handles the rows that the fast path refuses.
    """

    def __init__(
        self,
        open_spool: Callable[[], Spool],
        slow_path: Callable[[object, Any, bool | None], None],
    ) -> None:
        self.step = 0
        """The step of the next `log` call without `step`."""
        self.dropped_rows = 0
        self.lower_rows = 0
        """Rows whose step was lower than the one before: they may have replaced earlier ones."""
        self._open_spool = open_spool
        self._slow_path = slow_path
        self._pack: Callable[[Any], bytes] = msgpack.Packer(
            strict_types=True, default=_plain_float
        ).pack
        self._lock = threading.RLock()
        self._busy = False
        self._waits_for_room = False
        self._deferred: list[Callable[[], None]] = []
        self._closed = False
        self._spool: Spool | None = None
        self._segment: Segment = NO_SEGMENT
        self._shapes = Shapes()
        self._shape = Shape(0, [])
        self._keys: list[str] | None = None

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:  # fmt: skip
        """Log a row; see `penstock.runs.run.Run.log`."""
        try:
            if type(data) is not dict:
                raise Unusual("not exactly a dict")
            values = [*data.values()]
            with self._lock:
                if self._busy:  # a signal handler logs during its thread's own `log`
                    row = dict(data)
                    self._deferred.append(lambda: self.log(row, step, commit))
                    return
                self._busy = True
                try:
                    keys = [*data]
                    if keys != self._keys:
                        self._enter_shape(keys)
                        if self._shape.nests is None:
                            self._shape.nests = not _CONTAINERS.isdisjoint(map(type, values))
                    shape = self._shape
                    if shape.nests and not all(map(_is_shallow, values)):
                        raise Unusual("lists and dicts of lists and dicts are looked at one by one")
                    body = self._pack(values)
                    row_step = self.step if step is None else self._given_step(step, commit)
                    now = time_ns()
                    payload = _pack_payload_head(_ROW, shape.number, row_step, now) + body
                    segment = self._segment
                    offset = segment.position
                    start = offset + 8
                    size = len(payload)
                    end = start + size
                    if end <= segment.limit:
                        try:
                            segment.buffer[start:end] = payload
                            _pack_record_head_into(segment.buffer, offset, size, _crc32(payload))
                            segment.position = (end + 7) & -8
                        except BaseException:
                            segment.seal()  # interrupted midway: nothing is overwritten
                            raise
                    else:
                        if size > _MAX_PAYLOAD_BYTES:
                            raise Unusual("its values are looked at one by one")
                        self._append(payload)
                    if step is None and commit is not False:
                        self.step = row_step + 1
                    shape.last = values
                    shape.time_ns = now
                finally:
                    self._busy = False
            if self._deferred:
                self._run_deferred()
        except NoRoom as reason:
            self.drop(str(reason))
        except Exception:  # the seam: training continues whatever is wrong with a row
            try:
                self._slow_path(data, step, commit)
            except RecursionError:  # the caller has used up the stack
                self.dropped_rows += 1

    def append_row(self, row: dict[str, Any], step: int, at_ns: int) -> None:
        """Append a row of plain values unchanged, regardless of the step counter.

        Raises `NoRoom`, `Unusual`, or msgpack's errors for values that are not plain.
        """

        def append() -> None:
            self._enter_shape(list(row))
            values = list(row.values())
            head = _pack_payload_head(_ROW, self._shape.number, step, at_ns)
            self._append(head + self._pack(values))
            self._shape.last, self._shape.time_ns = values, at_ns

        self._alone(append)

    def append_record(self, record: dict[str, Any]) -> None:
        """Append a wire record, `{t: …}`. Raises `NoRoom`. What msgpack cannot encode becomes text,
        and lone surrogates become question marks; nothing else is lost."""
        body = msgpack.packb(record, default=str, unicode_errors="replace")
        payload = _pack_payload_head(PayloadKind.RECORD, 0, 0, time_ns()) + body
        self._alone(lambda: self._append(payload))

    def take_step(self, step: int | None, commit: bool | None) -> int:
        """A row's step by the rules of `log`. Raises `Unusual` for an impossible one."""
        with self._lock:
            if self._spool is None and not self._closed:  # after a fork: where to continue counting
                self.spool()
            taken = self.step if step is None else self._given_step(step, commit)
            if step is None and commit is not False:
                self.step = taken + 1
            return taken

    def drop(self, reason: str) -> None:
        """Count a row that is not stored, with a warning."""
        self.dropped_rows += 1
        NOTICES.warn(f"drop: {reason}", f"a logged row was dropped: {reason}", is_located=True)

    def summary(self) -> dict[str, Any]:
        """The last value of each key, or the aggregates requested with `define_metric`."""
        with self._lock:
            return self._shapes.summary()

    def learn(self, record: dict[str, Any]) -> None:
        """Apply a wire record's rule for a metric's summary."""
        with self._lock:
            self._shapes.learn(record)
            self._keys = None

    def drop_row(self, data: Mapping[str, Any]) -> None:
        """Count a row that is not stored; the summary still has its values."""
        self.dropped_rows += 1
        self._shapes.note({**data})

    @property
    def lock(self) -> threading.RLock:
        """Held during an append."""
        return self._lock

    @property
    def interrupted(self) -> bool:
        """Whether the caller is a signal handler that interrupted its thread's own `log`."""
        with self._lock:
            return self._busy

    def interject(self, action: Callable[[], None]) -> bool:
        """For a signal handler: do this now. Returns False if the signal interrupted its thread's own
        `log`: then it is done right afterwards, or not at all while `log` waits for space, since
        that may take long."""
        if not self._lock.acquire(timeout=_INTERJECT_S):
            return True
        try:
            if self._waits_for_room:
                return True
            if self._busy:
                self._deferred.append(action)
                return False
            action()
            return True
        finally:
            self._lock.release()

    @property
    def has_spool(self) -> bool:
        return self._spool is not None

    @property
    def id(self) -> str:
        """The writer's id; empty while there is no spool."""
        return "" if self._spool is None else self._spool.writer

    def spool(self) -> Spool:
        """The current spool, created if there is none. Raises OSError if that fails."""
        with self._lock:
            if self._spool is None:
                self._spool = self._open_spool()
                self._switch_to(self._spool.first)
                self.step = max(self.step, self._spool.next_step)
            return self._spool

    def close(self) -> None:
        """Append END and release the spool. Rows logged later are dropped, with a warning."""
        with self._lock:
            self._run_deferred()
            if self._spool is not None:
                try:
                    self._append(
                        _pack_payload_head(PayloadKind.END, 0, self.dropped_rows, time_ns())
                    )
                except NoRoom:
                    self.drop("no space for the last record")
                self._spool.close(self._segment)
            self._closed = True
            self._spool, self._segment, self._keys = None, NO_SEGMENT, None

    def forget_after_fork(self) -> None:
        """In a forked child: the spool is the parent's; the next row opens one of the child's."""
        self._lock = threading.RLock()
        self._busy = False
        self._deferred = []
        self._segment.forget()
        if self._spool is not None:
            self._spool.abandon()
        self._spool, self._segment, self._keys = None, NO_SEGMENT, None
        self._shapes.undeclare()

    def _given_step(self, step: int, commit: bool | None) -> int:
        if not -MAX_STEP < step < MAX_STEP:
            raise Unusual(f"step {step} is outside ±2^53")
        if step >= self.step:
            self.step = step + 1 if commit else step
        else:
            self.lower_rows += 1
        return step

    def _enter_shape(self, keys: list[str]) -> None:
        self._keys = None
        shape = self._shape = self._shapes.known.get(tuple(keys)) or self._new_shape(keys)
        self._make_room(len(shape.payload))
        if shape.segment != self._segment.sequence:
            self._declare(shape)
        self._keys = shape.keys

    def _new_shape(self, keys: list[str]) -> Shape:
        if not keys or len(keys) > MAX_KEYS or not all(map(is_key, keys)):
            raise Unusual("these keys are not valid for a row")
        return self._shapes.add(keys)

    def _declare(self, shape: Shape) -> None:
        self._segment.write(shape.payload)
        shape.segment = self._segment.sequence

    def _append(self, payload: bytes) -> None:
        self._make_room(len(payload))
        try:
            self._segment.write(payload)
        except OSError as error:
            raise NoRoom(f"cannot write to the spool: {error.strerror}") from None

    def _make_room(self, payload_bytes: int) -> None:
        """Make sure that the current segment has space for a payload and, if it is new, contains the
        current shape. Raises `NoRoom`."""
        if self._segment.fits(payload_bytes):
            return
        if self._closed:
            raise NoRoom("the run is finished")
        spool, shape = self.spool(), self._shape
        need = payload_bytes + len(shape.payload) + 2 * RECORD_HEAD.size
        while not self._segment.fits(need):
            segment = spool.next_segment(need)
            if segment is not None:
                self._switch_to(segment)
            elif spool.options.on_full == "block":
                NOTICES.warn("block", "the spool is full; waiting for the server to receive data")
                self._waits_for_room = True
                try:
                    time.sleep(_ROOM_POLL_S)
                finally:
                    self._waits_for_room = False
            else:
                raise NoRoom(_no_room(spool))
        if shape.number and shape.segment != self._segment.sequence:
            self._declare(shape)
            self._keys = shape.keys

    def _switch_to(self, segment: Segment) -> None:
        before, self._segment = self._segment, segment
        self._keys = None
        if self._spool is not None:
            self._spool.retire(before)

    def _alone(self, action: Callable[[], None]) -> None:
        with self._lock:
            if self._busy:
                self._deferred.append(action)
                return
            self._busy = True
            try:
                action()
            finally:
                self._busy = False
        self._run_deferred()

    def _run_deferred(self) -> None:
        while self._deferred:
            self._deferred.pop(0)()


def _no_room(spool: Spool) -> str:
    if spool.problem:
        return f"{spool.root} cannot take more: {spool.problem}"
    return f"{spool.root} is full or has reached its limit"


def _is_shallow(value: Any) -> bool:
    """Whether it contains no lists or dicts: a few of them can represent billions of entries."""
    if type(value) is list:
        return _CONTAINERS.isdisjoint(map(type, value))
    return type(value) is not dict or _CONTAINERS.isdisjoint(map(type, value.values()))


def is_key(key: object) -> bool:
    """Whether `key` is a valid metric name unchanged."""
    return (
        type(key) is str
        and key not in RESERVED_KEYS
        and 0 < _utf8_bytes(key) <= MAX_KEY_BYTES
        and (key.isprintable() or not any(c < " " or c == "\x7f" for c in key))
    )


def _utf8_bytes(text: str) -> int:
    """Its length as UTF-8; 0 for invalid text with lone surrogates."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _plain_float(value: Any) -> float:
    """msgpack's hook for values that are not exactly plain: np.float64 is a float, nothing else is."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.float64:
        return float(value)
    raise Unusual(f"{type(value).__name__} is not a plain value")

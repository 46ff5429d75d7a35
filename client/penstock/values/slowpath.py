"""Handles rows that the fast path does not: odd keys, odd values, and values not available yet.

Everything here is counted and reported once; nothing raises into the training loop, except with the
setting `strict`. Values that require calls into users' objects are read by a separate thread, which
appends them under the step and time of their `log` call; the rest of the row is appended at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from penstock.spool.writer import MAX_KEYS, RESERVED_KEYS, NoRoom, Unusual, Writer, is_key
from penstock.values.aside import Aside, reason_of
from penstock.values.objects import members, opened
from penstock.values.repairs import Noter, Repairs
from penstock.values.trees import split, without_later
from penstock.values.walk import LEFT_OUT, Copies, Later, Walk, quick, type_name

__all__ = ["NotARow", "SlowPath"]

_MAX_ROW_BYTES = 4 << 20
_MAX_ROW_COPY_BYTES = 64 << 20
_MAX_COPY_BYTES = 256 << 20
"""Bytes of arrays copied for one row, and for all waiting ones; further arrays are read later, with
their content of then."""
_WHOLE = ("numpy", "torch", "jax", "jaxlib", "tensorflow")


class NotARow(TypeError, ValueError):
    """What was given to `log` is no row, or its step no step."""


_NOT_OURS = (NotARow, Unusual, RecursionError, MemoryError)
"""Errors that the row or its surroundings are to blame for."""


class SlowPath:
    """Handles any row and any value of a record. `writer` is set right after construction, since the
    two refer to each other."""

    writer: Writer

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.repairs = Repairs(self._record_notice)
        self.aside = Aside(self._note_fault)

    def __call__(self, data: object, step: Any, commit: bool | None) -> None:
        try:
            self._take(data, step, commit)
        except NoRoom as reason:
            self.writer.drop(str(reason))
        except Exception as error:  # the seam: training continues whatever is wrong with a row
            if self.strict:
                raise
            self._give_up(error)

    def _insist(self, note: Noter) -> None:
        """With `strict`, a value that cannot be stored as it is raises."""
        if self.strict and note.first:
            raise NotARow(note.first)

    def _give_up(self, error: Exception) -> None:
        """Drop a row, and say why on the terminal and on the run's page."""
        try:
            if isinstance(error, _NOT_OURS):
                reason = str(error) or reason_of(error)
                self.writer.drop(reason)
                self.repairs.note("log", f"row dropped: {reason}", "", is_said=True)
            else:
                self.writer.dropped_rows += 1
                self.repairs.fault("log", error)
        except Exception:  # no memory or stack is left for that
            self.writer.dropped_rows += 1

    def append_aside(self, read: Callable[[], dict[str, Any]]) -> bool:
        """Append a row of plain values under the present step and time, once the side thread has called
        `read` for it. False if too much is waiting."""
        note, at_ns = self.repairs.noter(), time.time_ns()
        step = self.writer.take_step(None, commit=False)
        return self.aside.put(None, lambda _: self._append_later(read(), step, at_ns, note))

    def drain(self, timeout_s: float) -> bool:
        """Wait until no value is pending; False if that takes too long."""
        return self.aside.drain(timeout_s)

    def forget_after_fork(self) -> None:
        self.aside = Aside(self._note_fault)
        self.repairs.forget_after_fork()

    def record(
        self, fields: dict[str, Any], append: Callable[[dict[str, Any]], None], where: str
    ) -> None:
        """Append the fields of a record as plain values, once all have been read. `where` names the
        record in notices."""
        note = self.repairs.noter()
        plain: dict[str, Any] = {}
        pending = 0
        for name, value in fields.items():
            walk = self._walk(note, as_list=True)
            kept = walk.whole(f"{where}.{name}", value)
            pending += walk.pending
            if kept is not LEFT_OUT:
                plain[name] = kept
        self._insist(note)
        if not pending:
            append(plain)
            return
        note.fix()
        if not self.aside.put(plain, append):
            note(where, "partly left out: too many values are waiting to be read")
            append(
                {n: kept for n, v in plain.items() if (kept := without_later(v)) is not LEFT_OUT}
            )

    def update(
        self, where: str, values: dict[Any, Any], append: Callable[[dict[str, Any]], None],
        still: Callable[[str], bool],
    ) -> None:  # fmt: skip
        """Append entries of config or summary: plain ones at once, others when they have been read.
        `still(name)` then says whether the entry has not been set again."""
        note = self.repairs.noter()
        now: dict[str, Any] = {}
        later: list[tuple[str, Any, Any]] = []
        for key, value in values.items():
            walk = self._walk(note, as_list=True, tells=where == "summary")
            name = walk.key(where, key)
            shown = name if type(name) is str else "a key"
            kept = walk.whole(f"{where}.{shown}", value)
            if kept is LEFT_OUT:
                continue
            if not walk.pending:
                now[name] = kept
                continue
            partly = LEFT_OUT if type(name) is Later else without_later(kept)
            if partly is not LEFT_OUT and partly:
                now[name] = partly
            later.append((f"{where}.{shown}", name, kept))
        self._insist(note)
        if now:  # first, since later reads add to it
            append(now)
        for path, name, kept in later:
            note.fix()
            meant = _always if type(name) is Later else still
            if not self.aside.put({name: kept}, partial(self._append_if, append, meant)):
                note(path, "left out: too many values are waiting to be read")

    def _append_if(
        self,
        append: Callable[[dict[str, Any]], None],
        meant: Callable[[str], bool],
        found: dict[str, Any],
    ) -> None:
        with self.writer.lock:  # nothing sets it again between the check and the record
            kept = {name: value for name, value in found.items() if meant(name)}
            if kept:
                append(kept)

    def resolved(self, where: str, value: Any) -> Any:
        """A plain value, after waiting some seconds if necessary; None if it cannot be read."""
        note = self.repairs.noter()
        walk = self._walk(note, as_list=True)
        kept = walk.whole(where, value)
        if walk.pending:
            note.fix()
            kept = self.aside.ask(kept)
        return None if kept is LEFT_OUT else kept

    def fields_of(self, where: str, value: Any) -> dict[Any, Any]:
        """The entries of a mapping or an object with fields, unconverted. Entries that cannot be read
        within some seconds are left out with a notice."""
        if issubclass(type(value), dict):
            return dict([*dict.items(value)])
        note = self.repairs.noter()
        note.fix()
        walk = self._walk(note, as_list=True)
        found: dict[Any, Any] = {}

        def read() -> None:
            for name, part in _parts(walk, where, value).items():
                try:
                    found[name] = part.read() if type(part) is Later else part
                except Exception as error:  # an unreadable field
                    note(f"{where}.{name}", f"left out: {reason_of(error)}")

        self.aside.ask(walk.later(where, type(value), read, 0))
        return dict([*found.items()])

    def _walk(
        self, note: Noter, *,
        as_list: bool, tells: bool = False, copies: Copies | None = None,
    ) -> Walk:  # fmt: skip
        return Walk(note, opened, as_list=as_list, copies=copies or self._copies(), tells=tells)

    def _copies(self) -> Copies:
        return Copies(min(_MAX_ROW_COPY_BYTES, _MAX_COPY_BYTES - self.aside.held))

    def _take(self, data: object, step: Any, commit: bool | None) -> None:
        note = self.repairs.noter()
        if not issubclass(type(data), dict):
            if not _is_mapping(type(data)):
                raise NotARow(f"log() takes a dict, got {type_name(type(data))}")
            data = self.fields_of("log", data)
        tree, copied = self._tree([*dict.items(data)], note)  # type: ignore[arg-type]
        self._insist(note)
        now, later = split(tree)
        flat = _flat(now)
        at_ns = _time_ns(flat.get("_timestamp"))
        row_step = self.writer.take_step(None if step is None else self._step(step), commit)
        self._append(flat, row_step, at_ns, note)
        self._insist(note)
        if not later:
            return
        note.fix()
        if not self.aside.put(
            later, lambda kept: self._append_later(kept, row_step, at_ns, note), copied
        ):
            for name in later:
                note(
                    name if type(name) is str else "a key",
                    "left out: too many values are waiting to be read",
                )

    def _tree(self, items: list[tuple[Any, Any]], note: Noter) -> tuple[dict[Any, Any], int]:
        """The row with plain values and `Later`s, and the bytes of arrays copied for it; each value has
        its own size limit."""
        tree: dict[Any, Any] = {}
        odd: list[tuple[Any, Any]] = []
        for key, value in items:
            if type(key) is str and key.isascii():
                kept = _quick(value)
                if kept is not LEFT_OUT:
                    tree[key] = kept
                    continue
            odd.append((key, value))
        if not odd:
            return tree, 0
        copies = self._copies()
        for key, value in sorted(odd, key=lambda item: type(item[0]) is not str):
            walk = self._walk(note, as_list=False, copies=copies, tells=True)
            name = walk.key("", key)
            shown = name if type(name) is str else "a key"
            if name in tree:
                note(shown, "left out: another key in the row has this name")
                continue
            kept = walk.whole(shown, value)
            if kept is not LEFT_OUT:
                tree[name] = kept
        return tree, copies.taken

    def _append_later(self, row: dict[str, Any], step: int, at_ns: int, note: Noter) -> None:
        try:
            self._append(_flat(row), step, at_ns, note)
        except NoRoom as reason:
            self.writer.drop(str(reason))

    def _append(self, flat: dict[str, Any], step: int, at_ns: int, note: Noter) -> None:
        part: dict[str, Any] = {}
        size = 0
        row: dict[str, Any] = {}
        for key, value in flat.items():
            name = _usable_key(key, note)
            if name is None:
                continue
            if name in row and name != key:
                note(name, "left out: another key in the row has this name")
                continue
            row[name] = value
        for name, value in row.items():
            cost = _size(value)
            if part and (len(part) >= MAX_KEYS or size + cost > _MAX_ROW_BYTES):
                self.writer.append_row(part, step, at_ns)
                part, size = {}, 0
            part[name] = value
            size += cost
        if part:
            self.writer.append_row(part, step, at_ns)

    def _step(self, step: Any) -> int:
        """Accepts whole numbers of any type: np.int64, a 0-d tensor, 3.0. Raises NotARow."""
        try:
            return self._integer(step)
        except Exception as error:  # the seam to users' objects
            raise NotARow(f"step must be a whole number: {reason_of(error)}") from error

    def _integer(self, step: Any) -> int:
        kind = type(step)
        if issubclass(kind, int):
            return int.__int__(step)
        if issubclass(kind, float):
            number: Any = float.__float__(step)
        elif kind.__module__.partition(".")[0] in _WHOLE:
            number = step.item() if hasattr(step, "item") else int(step)
        else:
            number = self.resolved("step", step)
        if type(number) not in (int, float) or int(number) != number:
            raise ValueError(f"not {number!r}")
        return int(number)

    def _note_fault(self, error: Exception) -> None:
        self.repairs.fault("values", error)

    def _record_notice(self, fields: dict[str, str]) -> bool:
        try:
            self.writer.append_record({"t": "run", **fields})
        except Exception:  # no run yet, a finished one, or a full disk: reported elsewhere
            return False
        return True


def _is_mapping(kind: type) -> bool:
    try:
        return issubclass(kind, Mapping)
    except Exception:  # a metaclass of the user's
        return False


def _quick(value: Any, depth: int = 0) -> Any:
    """Like `quick`, also for small dicts of such values."""
    if type(value) is not dict:
        return quick(value)
    if depth >= 4 or len(value) > 1_000:
        return LEFT_OUT
    kept: dict[str, Any] = {}
    for key, inner in [*value.items()]:
        found = _quick(inner, depth + 1) if type(key) is str and key.isascii() else LEFT_OUT
        if found is LEFT_OUT:
            return LEFT_OUT
        kept[key] = found
    return kept


def _flat(tree: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Like `values.flatten`, but a literal dotted name wins over a composed one."""
    flat: dict[str, Any] = {}
    nested: list[tuple[str, dict[str, Any]]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if type(value) is dict and value and "_type" not in value and depth < 32:
            nested.append((name, value))
        else:
            flat[name] = value
    for name, value in nested:
        for inner, each in _flat(value, f"{name}.", depth + 1).items():
            flat.setdefault(inner, each)
    return flat


def _size(value: Any) -> int:
    """Approximately how many bytes it takes in a row."""
    if type(value) is str:
        return len(value) if value.isascii() else 4 * len(value)
    if type(value) is list:
        return 9 + sum(map(_size, value))
    if type(value) is dict:
        return 9 + sum(len(key) + _size(each) for key, each in value.items())
    return 9


def _usable_key(key: str, note: Noter) -> str | None:
    if is_key(key):
        return key
    if key in RESERVED_KEYS:
        return None
    from penstock.wire.fitting import fit_key  # noqa: PLC0415  (rare: keeps `init` cheap)

    mended = fit_key(key).strip() or "_"
    note(mended, "renamed: this key is not a valid metric name")
    return mended


def _time_ns(timestamp: Any) -> int:
    if type(timestamp) in (int, float) and 0 < timestamp < 2**33:
        return int(timestamp * 1e9)
    return time.time_ns()


def _always(name: str) -> bool:
    return True


def _parts(walk: Walk, where: str, value: Any) -> dict[Any, Any]:
    parts = members(walk, where, value)
    if parts is not None:
        return parts
    return dict(vars(value)) if hasattr(value, "__dict__") else dict(value)

"""Fits values to the limits: only what a batch may not contain is cut, repaired or left out, before
the batch is numbered, with a notice on the run.

Pure and deterministic: a rebuilt batch has the same digest. Any change of what is cut is a new version
of the `RULES`; a batch cut by older rules is rebuilt by those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from penstock.wire.batch import Batch, Frame, decode_batch
from penstock.wire.field_types import (
    MAX_DEPTH,
    MAX_FIELD_CHARS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    Choice,
    FieldType,
    Flag,
    Integer,
    JsonText,
    KeyName,
    Map,
    Text,
    Texts,
)
from penstock.wire.limits import DEFAULT_LIMITS, Limits
from penstock.wire.records import RECORDS, kind_of, problem_of

__all__ = ["RECORD_ROOM", "RULES", "Fitter", "Room", "decode_stored", "fit_all", "fit_key"]

RULES = 2
"""The version of the cutting rules; 0: none. 1: values are cut. 2: also, keys logged at the same steps
share a frame."""

_NOTICE = "notice "
"""Prefix of the `run` record's fields that say what was cut."""
_MAX_NOTICES = 20
_MAX_PREVIEW_CHARS = 120
_ENTRY_BYTES = 9  # msgpack's maximum for a number, or for the header of a string or list
_FITTED_DEPTH = MAX_DEPTH  # including two for the record and its map


@dataclass(slots=True)
class Room:
    """The remaining capacity."""

    bytes: int
    elements: int

    def holds(self, used: Room) -> bool:
        return used.bytes <= self.bytes and used.elements <= self.elements

    def take(self, size: int, elements: int = 1) -> bool:
        """Whether this much fits; if so, it is deducted."""
        if size > self.bytes or elements > self.elements:
            return False
        self.bytes -= size
        self.elements -= elements
        return True


RECORD_ROOM = (9 * 2**20, 500_000)
"""Bytes and elements of a record, so that any record fits into a batch on its own."""


class _Unfit(Exception):
    """A value to leave out, with the reason."""


class Fitter:
    """Fits frames and records into batches, and collects notices for the run."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._notices: dict[str, tuple[str, int]] = {}
        self._more = 0

    def record(self, record: Any, room: Room | None = None) -> dict[str, Any] | None:
        """The record as it may be sent; None if nothing of it is left. Without `room` its size is not
        limited, and a valid record is returned unchanged."""
        # Most are valid unchanged, and the walk below takes longer.
        if room is None or _is_flat(record):
            is_good = problem_of(record) is None
            if is_good and (room is None or _take_flat(record, room)):
                return record  # type: ignore[no-any-return]
        said = kind_of(record)
        if said is None:
            self.note("record", "left out: not a record")
            return None
        kind = _clean(said)
        fields = RECORDS.get(kind, {})
        fitted: dict[str, Any] = {"t": kind}
        room = room or Room(1 << 60, 1 << 60)
        room.take(_ENTRY_BYTES + len(kind), 2)
        for name, value in record.items():
            if name == "t":
                continue
            try:
                if name in fields:
                    if value is not None:
                        value = self._field(_where(record, name), fields[name].type, value, room)
                elif type(name) is str and len(name) <= MAX_FIELD_CHARS:
                    value = self._plain(_where(record, name), value, room, 2)
                else:
                    raise _Unfit("its name is too long or not text")
            except _Unfit as reason:
                self.note(_where(record, name), f"left out: {reason}")
                continue
            fitted[_clean(name)] = value
        for name, field in fields.items():
            if field.required and fitted.get(name) is None:
                if field.fallback is None:
                    if name not in record:
                        self.note(_where(record, name), f"a {kind} without it was left out")
                    return None
                fitted[name] = field.fallback
        return fitted

    def frame(self, frame: Frame, room: Room | None = None) -> Iterator[Frame]:
        """The frame with valid keys, split into several if it has too many."""
        width = self._limits.keys_per_frame
        rows = len(frame.steps)
        room = room or Room(1 << 60, 1 << 60)
        if self._is_good(frame.keys) and room.take(
            4 * sum(map(len, frame.keys)) + (_ENTRY_BYTES + rows) * len(frame.keys), len(frame.keys)
        ):
            yield frame
            return
        keys = [fit_key(key, self._limits) for key in frame.keys]
        kept: dict[str, int] = {}
        for index, (key, before) in enumerate(zip(keys, frame.keys, strict=True)):
            if key != before:
                self.note(key, f"renamed: {_preview(before)} is not a valid metric name")
            if key in kept:
                self.note(key, "left out: another key in the row has this name")
            elif room.take(4 * len(key) + _ENTRY_BYTES + rows, 1):
                kept[key] = index
            else:
                self.note(key, "left out: the row is too large")
        if len(kept) == len(frame.keys) <= width:
            yield frame if keys == frame.keys else frame._replace(keys=keys)
            return
        names = list(kept)
        for start in range(0, len(names), width):
            part = names[start : start + width]
            at = [kept[key] for key in part]
            yield Frame(
                part,
                frame.steps,
                frame.times,
                b"".join(frame.values[each * rows : (each + 1) * rows] for each in at),
                None if frame.ints is None else bytes(frame.ints[each] for each in at),
            )

    def _is_good(self, keys: list[str]) -> bool:
        """Whether all of these are valid unchanged, as nearly always; checks them together."""
        joined = "".join(keys)
        return (
            joined.isascii()
            and joined.isprintable()
            and "" not in keys
            and max(map(len, keys)) <= self._limits.key_bytes
            and len({*keys}) == len(keys) <= self._limits.keys_per_frame
        )

    def note(self, where: str, reason: str) -> None:
        """Note once what happened to a value."""
        where = _preview(where)
        if where in self._notices:
            said, count = self._notices[where]
            self._notices[where] = (said, count + 1)
        elif len(self._notices) < _MAX_NOTICES:
            self._notices[where] = (reason, 1)
        else:
            self._more += 1

    def notices(self) -> Iterator[dict[str, Any]]:
        """A record with the notices since the last call, if there are any."""
        if self._notices:
            fields = {
                f"{_NOTICE}{where}": reason if count == 1 else f"{reason} ({count} times)"
                for where, (reason, count) in self._notices.items()
            }
            if self._more:
                fields[f"{_NOTICE}more"] = f"{self._more} more values were cut or left out"
            yield {"t": "run", **fields}
        self._notices, self._more = {}, 0

    def _field(self, where: str, kind: FieldType, value: Any, room: Room) -> Any:
        match kind:
            case Text(most):
                if isinstance(value, (bool, int, float)):
                    value = str(value)
                if type(value) is not str:
                    raise _Unfit(f"expected text, not {_kind(value)}")
                return self._text(where, value, most, room)
            case Texts(most):
                entries = value if type(value) is list else [value]
                if len(entries) > most:
                    self.note(where, f"cut to its first {most:,} entries")
                return [
                    self._field(where, Text(MAX_NAME_CHARS), each, room)
                    for each in entries[:most]
                    if isinstance(each, (str, int, float))
                ]
            case Integer():
                whole = int(value) if type(value) is bool or _is_whole(value) else value
                if not kind.fits(whole) or not room.take(_ENTRY_BYTES):
                    raise _Unfit(f"expected {kind.words}, not {_preview(value)}")
                return whole
            case Flag():
                return bool(value)
            case KeyName():
                if type(value) is not str:
                    raise _Unfit(f"expected a text key, not {_kind(value)}")
                key = fit_key(value, self._limits)
                if key != value:
                    self.note(key, f"renamed: {_preview(value)} is not a valid metric name")
                room.take(4 * len(key))
                return key
            case JsonText():
                if not kind.fits(value):
                    raise _Unfit(f"expected {kind.words}")
                if not room.take(_bytes(value)):
                    raise _Unfit(f"{len(value):,} characters are too many")
                return value
            case Map():
                if type(value) is not dict:
                    raise _Unfit(f"expected a map, not {_kind(value)}")
                return self._map(where, value, room)
            case Choice():
                if not kind.fits(value):
                    raise _Unfit(f"expected {kind.words}, not {_preview(value)}")
                return value

    def _map(self, where: str, entries: dict[Any, Any], room: Room) -> dict[str, Any]:
        """Fit entries one by one, leaving out only those that do not fit."""
        fitted = {}
        for name, value in entries.items():
            label = where.partition(".")[0] + f".{_preview(name)}"
            key = _clean(str(name))
            before = (room.bytes, room.elements)
            try:
                if len(key) > MAX_FIELD_CHARS:
                    raise _Unfit(f"its name has {len(key):,} characters")
                if not room.take(_bytes(key) + _ENTRY_BYTES):
                    raise _Unfit("there are too many entries")
                fitted[key] = self._plain(label, value, room, 2)
            except _Unfit as reason:
                room.bytes, room.elements = before
                self.note(label, f"left out: {reason}")
        return fitted

    def _plain(self, where: str, value: Any, room: Room, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(where, value, MAX_TEXT_CHARS, room)
        if value is None or kind in (bool, int, float):
            if kind is int and not -(2**63) <= value < 2**64:
                if abs(value) >= 10**308:
                    raise _Unfit("it has too many digits")
                value = float(value)
            if not room.take(_ENTRY_BYTES):
                raise _Unfit("it is too large")
            return value
        if kind in (bytes, bytearray, memoryview):
            raise _Unfit("bytes are not text")
        if kind not in (list, tuple, dict):
            return self._text(where, str(value), MAX_TEXT_CHARS, room)
        if depth >= _FITTED_DEPTH:
            raise _Unfit(f"it is nested deeper than {_FITTED_DEPTH} levels")
        if not room.take(_ENTRY_BYTES * (1 + len(value)), 1 + len(value)):
            raise _Unfit(f"it has {len(value):,} entries, or is too large")
        if kind is not dict:
            return [self._plain(where, each, room, depth + 1) for each in value]
        fitted = {}
        for name, each in value.items():
            key = _clean(str(name))[:MAX_FIELD_CHARS]
            if not room.take(_bytes(key), 0):
                raise _Unfit("it is too large")
            fitted[key] = self._plain(where, each, room, depth + 1)
        return fitted

    def _text(self, where: str, text: str, most: int, room: Room) -> str:
        if len(text) > most:
            self.note(where, f"cut to {most:,} of {len(text):,} characters")
            text = text[:most]
        text = _clean(text)
        if not room.take(_bytes(text) + _ENTRY_BYTES):
            raise _Unfit(f"{len(text):,} characters are too many")
        return text


def fit_key(key: str, limits: Limits = DEFAULT_LIMITS) -> str:
    """The key, or a replacement if it is not a valid metric name."""
    if key.isascii() and key.isprintable() and 0 < len(key) <= limits.key_bytes:
        return key
    clean = "".join(" " if c < " " or c == "\x7f" else c for c in key) or "_"
    raw = clean.encode(errors="replace")
    if len(raw) <= limits.key_bytes:
        return raw.decode()
    mark = f"…{blake2b(raw, digest_size=6).hexdigest()}"
    room = limits.key_bytes - len(mark.encode())
    return raw[:room].decode(errors="ignore") + mark


def decode_stored(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Batch:
    """Decode a batch accepted by this version or an older, less strict one: invalid records are
    repaired, and unknown ones skipped, with a notice."""
    batch = decode_batch(raw, limits, strict=False)
    fitter, records = Fitter(limits), []
    for record in batch.records:
        fitted = fitter.record(record)
        if fitted is not None and fitted["t"] in RECORDS:
            records.append(fitted)
        elif fitted is not None:
            fitter.note(
                f"record {fitted['t']}", "skipped: this server does not know this kind of record"
            )
    batch.records = [*records, *fitter.notices()]
    return batch


def fit_all(
    frames: Iterable[Frame], records: Iterable[Any], room: Room, limits: Limits = DEFAULT_LIMITS
) -> tuple[list[Frame], list[dict[str, Any]]]:
    """One batch's frames and records within `room`, with a record that says what was cut."""
    fitter = Fitter(limits)
    fitted = [part for frame in frames for part in fitter.frame(frame, room)]
    kept = [each for record in records if (each := fitter.record(record, room)) is not None]
    return fitted, [*kept, *fitter.notices()]


def _clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, with question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _where(record: dict[Any, Any], name: Any) -> str:
    """The user's name for the value."""
    kind = record.get("t")
    if kind == "value" and type(record.get("key")) is str:
        return str(record["key"])
    return f"{_preview(kind)}.{_preview(name)}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _is_whole(value: Any) -> bool:
    return type(value) is float and value.is_integer()


def _preview(value: Any) -> str:
    text = value if type(value) is str else str(value) if _is_small(value) else _kind(value)
    clean = "".join(" " if c < " " or c == "\x7f" else c for c in text[: 2 * _MAX_PREVIEW_CHARS])
    return _clean(clean if len(clean) <= _MAX_PREVIEW_CHARS else f"{clean[:_MAX_PREVIEW_CHARS]}…")


def _is_flat(record: Any) -> bool:
    """Whether it is of a kind without lists and maps."""
    return type(record) is dict and record.get("t") in ("value", "console")


def _take_flat(record: dict[str, Any], room: Room) -> bool:
    """Whether a valid record fits; if so, its size is deducted."""
    size = 2 * _ENTRY_BYTES * len(record)
    try:
        for value in record.values():
            if type(value) is str:
                size += len(value) if value.isascii() else len(value.encode())
            elif type(value) in (list, dict):
                return False
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return room.take(size, 1 + 2 * len(record))


def _is_small(value: Any) -> bool:
    return value is None or type(value) in (bool, float) or (type(value) is int and value < 2**64)

"""A run's records: config, summary, name, alerts and so on.

Nothing here raises into the training loop: what cannot be recorded is reported once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from penstock.spool.writer import NoRoom, Writer
from penstock.values.slowpath import SlowPath

__all__ = ["SHORT_CHARS", "FieldSender", "Recorder"]

_MAX_RECORD_BYTES = 4 << 20
_MAX_RECORD_ENTRIES = 100_000
SHORT_CHARS = 4_096
"""Any field for text takes this many characters."""


class Recorder:
    """Appends the records of one run; none while `is_off`."""

    def __init__(self, writer: Writer, slow_path: SlowPath, *, is_off: bool = False) -> None:
        self.slow_path = slow_path
        self._writer = writer
        self.is_off = is_off

    def record(self, kind: str, **fields: Any) -> None:
        """Append a record of plain values immediately."""
        if self.is_off:
            return
        try:
            record = {"t": kind, **fields}
            self._writer.append_record(record)
            if kind == "define_metric":
                self._writer.learn(record)
        except NoRoom as reason:
            self._writer.drop(str(reason))
        except Exception as error:  # the seam: training continues in any case
            self._fail(kind, error)

    def state(self, state: str, *, is_primary: bool, **others: Any) -> None:
        """Append the run's state. What a rank above 0 says counts only if no rank 0 takes part, so one that
        starts late revives no crashed run."""
        self.record("state" if is_primary else "rank_state", state=state, **others)

    def say(self, kind: str, **fields: Any) -> None:
        """Append a record of any values: now, or after pending ones have been read."""
        if self.is_off:
            return
        try:
            self.slow_path.record(
                fields, lambda plain: self.record(kind, **self._fitting(kind, plain)), kind
            )
        except Exception as error:  # the seam, as above
            self._fail(kind, error)

    def update(self, kind: str, values: dict[Any, Any], still: Callable[[str], bool]) -> None:
        """Append entries of config or summary, in as many records as they need."""
        if self.is_off:
            return
        try:
            self.slow_path.update(kind, values, lambda update: self._update(kind, update), still)
        except Exception as error:  # the seam, as above
            self._fail(kind, error)

    def _fail(self, kind: str, error: Exception) -> None:
        if self.slow_path.strict:
            raise error
        with contextlib.suppress(Exception):  # no memory or stack is left for that
            self.slow_path.repairs.fault(kind, error)

    def _fitting(self, kind: str, plain: dict[str, Any]) -> dict[str, Any]:
        """The fields, with text of limited length where text is expected."""
        if all(_is_short(value) or name == "tags" for name, value in plain.items()):
            return plain
        # Rare, and `init` stays cheap.
        from penstock.wire.field_types import Text  # noqa: PLC0415
        from penstock.wire.records import RECORDS  # noqa: PLC0415

        declared = RECORDS.get(kind, {})
        fitting = {}
        for name, value in plain.items():
            fitting[name] = value
            field = declared.get(name)
            if field is not None and isinstance(field.type, Text) and value is not None:
                text, most = _text(value), field.type.most
                if len(text) > most:
                    note = f"cut to {most:,} of {len(text):,} characters"
                    self.slow_path.repairs.noter()(f"{kind}.{name}", note)
                fitting[name] = text[:most]
        return fitting

    def _update(self, kind: str, update: dict[str, Any]) -> None:
        part: dict[str, Any] = {}
        size = entries = 0
        for name, value in update.items():
            cost, count = _cost(value)
            if part and (size + cost > _MAX_RECORD_BYTES or entries + count > _MAX_RECORD_ENTRIES):
                self.record(kind, update=part)
                part, size, entries = {}, 0, 0
            part[name] = value
            size, entries = size + cost + len(name), entries + count
        if part:
            self.record(kind, update=part)


class FieldSender:
    """Sends changes of config or summary (`kind`); see `penstock.values.fields.Sender`."""

    def __init__(self, recorder: Recorder, kind: str) -> None:
        self._recorder = recorder
        self._kind = kind

    def fields_of(self, where: str, value: Any) -> dict[Any, Any]:
        return self._recorder.slow_path.fields_of(where, value)

    def send(self, values: dict[Any, Any], still: Callable[[str], bool]) -> None:
        self._recorder.update(self._kind, values, still)


def _is_short(value: Any) -> bool:
    return value is None or (type(value) is str and len(value) <= SHORT_CHARS)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    return json.dumps(value, ensure_ascii=False) if type(value) in (list, dict) else str(value)


def _cost(value: Any) -> tuple[int, int]:
    """The approximate bytes and entries of a plain value."""
    if type(value) is str:
        return (len(value) if value.isascii() else 4 * len(value)), 1
    if type(value) is dict:
        inner = [_cost(each) for each in value.values()]
        return sum(size for size, _ in inner) + sum(map(len, value)), 1 + sum(n for _, n in inner)
    if type(value) is list:
        inner = [_cost(each) for each in value]
        return sum(size for size, _ in inner), 1 + sum(count for _, count in inner)
    return 9, 1

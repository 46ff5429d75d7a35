"""Turns records of batches into rows of the stores, and rows into columns. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import orjson

from penstock.wire import Batch
from penstock.wire.records import (
    AlertRecord,
    RunChangeRecord,
    ValueRecord,
    is_run_change,
    known_records,
)
from penstock_storage.contracts.interface import RunChange
from penstock_storage.readers.alerts import ALERT_KEY
from penstock_workers.batches.fold import Columns

__all__ = ["change_of", "changes_of", "columns_of", "value_of"]

_TEXT = frozenset({"kind", "json", "stream", "text"})
_TYPES = {
    "key": np.uint32, "run": np.uint32, "lane": np.uint16, "seq": np.uint32,
    "digest": np.uint64, "points": np.uint32, "records": np.uint32,
}  # fmt: skip


def value_of(record: ValueRecord | AlertRecord) -> tuple[str, int, str, str]:
    """Key, step, kind and JSON of a value or an alert."""
    if record["t"] == "value":
        return record["key"], record["step"], record["kind"], record["json"]
    text = {name: value for name, value in record.items() if name != "t"}
    return ALERT_KEY, record["time"], "alert", orjson.dumps(text).decode()


def change_of(
    run: int, writer: str, seq: int, index: int, record: RunChangeRecord, *, is_late: bool = False
) -> RunChange:
    """The change of the run that any other record makes; `is_late`: see `RunChange`."""
    kind: str = record["t"]
    if record["t"] == "config" or record["t"] == "summary":
        update = record["update"]
        if record.get("whole") is True:
            kind = f"{kind}_whole"
        elif record["t"] == "summary" and isinstance(ways := record.get("fold"), dict):
            kind = "summary_fold"
            update = {k: {"value": value, "ways": ways.get(k)} for k, value in update.items()}
    else:
        update = {name: value for name, value in record.items() if name != "t"}
    return RunChange(run, writer, seq, index, kind, update, is_late)


def changes_of(
    run: int, writer: str, batch: Batch, *, edited: Collection[str] = (), is_late: bool = False
) -> list[RunChange]:
    """All changes of the run that a batch makes. `edited`: keys of its summary that an edit set, and that
    count no longer once they are logged again."""
    changes = []
    if edited and (logged := _logged_keys(batch) & set(edited)):
        update = dict.fromkeys(logged)
        changes.append(RunChange(run, writer, batch.seq, -1, "logged", update, is_late))
    for index, record in enumerate(known_records(batch.records)):
        if is_run_change(record):
            changes.append(change_of(run, writer, batch.seq, index, record, is_late=is_late))
    return changes


def _logged_keys(batch: Batch) -> set[str]:
    """The keys of which a batch has numbers or values."""
    values = (record["key"] for record in known_records(batch.records) if record["t"] == "value")
    return {*values, *(key for frame in batch.frames for key in frame.keys)}


def columns_of(rows: list[Any], names: tuple[str, ...]) -> Columns:
    if not rows:
        return {}
    return {
        name: list(column) if name in _TEXT else np.array(column, _TYPES.get(name, np.int64))
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }

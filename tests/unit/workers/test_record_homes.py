"""Each kind of record is kept where its declaration says, and in one place only."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.wire import Batch
from penstock.wire.records import RECORD_HOMES, RECORDS, RecordHome, is_run_change, known_records
from penstock_workers.batches.records import changes_of, value_of

GOOD: dict[str, dict[str, Any]] = {
    "run": {"name": "a"},
    "config": {"update": {"lr": 0.1}},
    "summary": {"update": {"loss": 1}},
    "state": {"state": "finished"},
    "rank_state": {"state": "finished"},
    "value": {"key": "a", "step": 1, "time": 1, "kind": "list", "json": "[1]"},
    "console": {"line": 1, "stream": "stdout", "time": 0, "text": "x"},
    "define_metric": {"name": "a"},
    "alert": {"time": 5, "title": "t"},
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_has_one_home(kind: str) -> None:
    batch = Batch("p", "r", "w", 1, records=[{"t": kind, **GOOD[kind]}])
    (record,) = known_records(batch.records)
    home = RECORD_HOMES[kind]
    assert len(changes_of(1, "w", batch)) == (home is RecordHome.RUN) == is_run_change(record)
    is_value = record["t"] == "value" or record["t"] == "alert"
    assert is_value == (home is RecordHome.VALUES)
    if record["t"] == "value" or record["t"] == "alert":
        assert value_of(record)[0]


def test_kinds_of_later_versions_have_none_yet() -> None:
    later = {"t": "later", "any": [1]}
    assert not [*known_records([later, {"t": []}, {}])]
    assert not changes_of(1, "w", Batch("p", "r", "w", 1, records=[later]))

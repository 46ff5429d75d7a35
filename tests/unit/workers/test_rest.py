"""When a worker lets batches gather, and how much it commits at once."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock_common.process.settings import WorkerSettings
from penstock_workers import worker as module
from penstock_workers.commits import commit
from penstock_workers.worker import Worker


def worker(**parts: Any) -> Any:
    settings = SimpleNamespace(commit_interval_s=0.25, commit_rest_s=5.0)
    other = SimpleNamespace()
    known = {"queue": other, "quarantine": other, "compaction": other} | parts
    names = (
        "queue", "leases", "resolver", "committer", "quarantine", "compaction", "clock", "mender", "sign",
        "recorder", "metrics",
    )  # fmt: skip
    return Worker(cast("Any", settings), *(known.get(name, other) for name in names))


@pytest.mark.parametrize("reason", ["", "behind", "watched", "busy", "not quiet"])
def test_batches_gather_unless_there_is_a_reason_not_to(reason: str) -> None:
    made = worker(
        queue=SimpleNamespace(is_watched=reason == "watched"),
        compaction=SimpleNamespace(is_behind=reason == "behind"),
        quarantine=SimpleNamespace(is_quiet=reason != "not quiet"),
    )
    made._pace.is_busy = reason == "busy"
    assert made._may_rest is not bool(reason)


def test_a_full_commit_is_one_insert() -> None:
    """A second one, of the few points that are left, costs the store as much as the first."""
    points = next(each.default for each in fields(WorkerSettings) if each.name == "commit_points")
    assert isinstance(points, int)
    smallest = 8  # bytes of a decoded point
    assert points * module._BYTES_PER_POINT <= smallest * commit._MAX_INSERT_ROWS

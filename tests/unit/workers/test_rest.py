"""When a worker lets batches gather, what it knows afterwards, and how much it commits at once."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.settings import WorkerSettings
from penstock_workers import worker as module
from penstock_workers.batches.known_state import KnownState
from penstock_workers.commits import commit
from penstock_workers.worker import Worker


def worker(**parts: Any) -> Any:
    settings = SimpleNamespace(commit_interval_s=0.25, commit_rest_s=5.0)
    other = SimpleNamespace()
    known = {"queue": other, "quarantine": other, "compaction": other} | parts
    names = (
        "queue", "leases", "state", "committer", "quarantine", "compaction", "clock", "mender", "sign",
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


@pytest.mark.parametrize("change", ["", "another store", "forgotten"])
async def test_what_is_read_after_a_rest_is_judged_by_what_is_known_then(change: str) -> None:
    """While a worker rests, its store may be mended or replaced: what it knew of batches no longer holds,
    and those that clients send again would be dropped as repeats."""
    clock = SimpleNamespace(store="first", require_check=lambda: None)
    nothing_asked: Any = None
    state = KnownState(nothing_asked, nothing_asked)
    queue = SimpleNamespace(store="first", has_more=False)
    read = SimpleNamespace(shards=[0], is_isolated=False, is_counted=False, entry_id="")
    entry = SimpleNamespace(decoded=1, shard=0, is_dropped=False)
    made = worker(
        clock=clock,
        state=state,
        queue=queue,
        leases=SimpleNamespace(epochs={0: 1}),
        quarantine=SimpleNamespace(next_read=lambda epochs: read),
        recorder=SimpleNamespace(reads=lambda *_, **__: None),
        sign=SimpleNamespace(turned=lambda *_: None),
        metrics=WorkerMetrics(),
    )
    prepared = []

    async def nothing(*_: Any) -> None:
        pass

    async def rest(stop: asyncio.Event) -> bool:
        if change == "another store":
            clock.store = queue.store = "second"
        if change == "forgotten":
            state.invalidate("store_mended")
        return False

    async def entries(*_: Any) -> list[Any]:
        return [entry]

    async def prepare(*_: Any) -> None:
        prepared.append(entry)

    made._tend = made._gather = nothing
    made._rest, made._read, made._prepare = rest, entries, prepare
    await made._turn(asyncio.Event())
    assert bool(prepared) is not bool(change)


@pytest.mark.parametrize("rings", [False, True])
async def test_who_waits_for_a_commit_does_not_wait_for_a_trickle(rings: bool) -> None:
    waited = []

    async def wait(shards: Any, timeout_s: float) -> bool:
        waited.append(timeout_s)
        if not rings:
            await asyncio.sleep(timeout_s)
        return rings

    made = worker(
        queue=SimpleNamespace(wait=wait),
        leases=SimpleNamespace(epochs={0: 1}),
        compaction=SimpleNamespace(is_behind=False),
        quarantine=SimpleNamespace(is_narrowing=False),
    )
    made._pace = SimpleNamespace(gather_s=0.0, trickle_s=0.3)
    began = asyncio.get_running_loop().time()
    await made._gather(SimpleNamespace(is_isolated=False), asyncio.Event())
    assert waited == [0.3]
    assert (asyncio.get_running_loop().time() - began < 0.3) is rings

"""When a worker lets batches gather, what may be judged afterwards, and how much it commits at once."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock_common.process.settings import WorkerSettings
from penstock_workers.batches.known_state import KnownState
from penstock_workers.commits import commit
from penstock_workers.shards.reads import Read
from penstock_workers.turns import reader as module
from penstock_workers.turns.holdings import Holdings
from penstock_workers.turns.reader import Reader, Reading


def reader(**parts: Any) -> Any:
    other = SimpleNamespace()
    names = ("queue", "leases", "quarantine", "pace", "metrics")
    return Reader(WorkerSettings(), *(cast("Any", parts.get(name, other)) for name in names))


@pytest.mark.parametrize("reason", ["", "behind", "watched", "busy", "not quiet"])
async def test_batches_gather_unless_there_is_a_reason_not_to(reason: str) -> None:
    async def entries(*_: object) -> list[Any]:
        return []

    made = reader(
        queue=SimpleNamespace(
            is_watched=reason == "watched", has_more=reason == "behind", store="", read=entries
        ),
        leases=SimpleNamespace(epochs={0: 1}),
        quarantine=SimpleNamespace(
            is_quiet=reason != "not quiet",
            is_narrowing=False,
            next_read=lambda _: Read([0]),
            selections=lambda _: [],
        ),
        pace=SimpleNamespace(
            is_busy=reason == "busy", rest_s=5.0, gather_s=0.0, trickle_s=0.0,
            read=lambda: None, found=lambda _: None,
        ),
    )  # fmt: skip
    await made.read(asyncio.Event())
    assert made.is_behind is (reason == "behind")
    assert made.rest_s == (0.0 if reason else 5.0)


def test_a_full_commit_is_one_insert() -> None:
    """A second one, of the few points that are left, costs the store as much as the first."""
    points = next(each.default for each in fields(WorkerSettings) if each.name == "commit_points")
    assert isinstance(points, int)
    smallest = 8  # bytes of a decoded point
    assert points * module._BYTES_PER_POINT <= smallest * commit._MAX_INSERT_ROWS


@pytest.mark.parametrize("change", ["", "another store", "no store", "forgotten"])
def test_what_is_read_after_a_rest_is_judged_by_what_is_known_then(change: str) -> None:
    """While a worker rests, its store may be mended or replaced: what it knew of batches no longer holds,
    and those that clients send again would be dropped as repeats."""
    checks: list[str] = []
    nothing_asked: Any = None
    state = KnownState(nothing_asked, nothing_asked)
    clock = SimpleNamespace(store="second", require_check=lambda: checks.append(change))
    other = nothing_asked
    holdings = Holdings(other, other, cast("Any", clock), state, other, other, other, other, other)
    if change == "forgotten":
        state.invalidate("store_mended")
    found = {"another store": "second", "no store": None}.get(change, "first")
    reading = Reading(Read([0]), [], {0: 1}, found)
    assert holdings.may_judge(reading, "first") is not bool(change)
    assert state.is_stale is bool(change)
    assert bool(checks) is ("store" in change)


@pytest.mark.parametrize("rings", [False, True])
async def test_who_waits_for_a_commit_does_not_wait_for_a_trickle(rings: bool) -> None:
    waited = []

    async def wait(shards: Any, timeout_s: float) -> bool:
        waited.append(timeout_s)
        if not rings:
            await asyncio.sleep(timeout_s)
        return rings

    made = reader(
        queue=SimpleNamespace(wait=wait),
        leases=SimpleNamespace(epochs={0: 1}),
        quarantine=SimpleNamespace(is_narrowing=False),
        pace=SimpleNamespace(gather_s=0.0, trickle_s=0.3),
    )
    began = asyncio.get_running_loop().time()
    await made._gather(SimpleNamespace(is_isolated=False), asyncio.Event())
    assert waited == [0.3]
    assert (asyncio.get_running_loop().time() - began < 0.3) is rings

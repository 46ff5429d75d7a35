"""There is at most one commit in hand, and its error is raised once."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.errors import Transient
from penstock_workers.shards.reads import Read
from penstock_workers.sign import Sign
from penstock_workers.turns.commit_in_hand import CommitInHand

NOTHING: Any = None
PREPARED = cast("Any", SimpleNamespace())


def failing() -> CommitInHand:
    """One whose commits fail, since the store is away."""

    async def commit(_: object) -> set[int]:
        raise Transient("away", code="store")

    return CommitInHand(
        cast("Any", SimpleNamespace(commit=commit)),
        cast("Any", SimpleNamespace(commit_in_hand=asyncio.Lock())),
        NOTHING,
        NOTHING,
        NOTHING,
        cast("Any", SimpleNamespace(started=lambda: None)),
        cast("Any", SimpleNamespace(committing=nullcontext)),
        cast("Any", SimpleNamespace(turned=lambda _: None)),
        NOTHING,
    )


async def test_a_second_one_has_to_wait() -> None:
    commit = failing()
    commit.start(Read([3]), PREPARED)
    with pytest.raises(RuntimeError):
        commit.start(Read([4]), PREPARED)
    assert commit.read == Read([3])
    await commit.give_up()


async def test_a_failure_is_raised_once() -> None:
    commit = failing()
    commit.start(Read([3]), PREPARED)
    with pytest.raises(Transient):
        await commit.finish()
    await commit.finish()


async def test_one_that_is_given_up_raises_nothing() -> None:
    commit = failing()
    await commit.give_up()
    commit.start(Read([3]), PREPARED)
    await commit.give_up()
    await commit.finish()


def test_retries_are_counted_until_something_is_committed() -> None:
    """Batches that fail say nothing of the stores."""
    part = SimpleNamespace(beat=lambda *_: None)
    watchdog = SimpleNamespace(patience_s=1.0, part=lambda *_: part)
    keys = SimpleNamespace(worker=str)
    sign = Sign(NOTHING, cast("Any", keys), "me", {}, cast("Any", watchdog))
    assert [sign.waits("Transient") for _ in range(2)] == [1, 2]
    sign.progressed()
    assert sign.waits("Transient") == 3
    sign.committed([0])
    assert sign.waits("Transient") == 1

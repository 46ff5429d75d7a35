"""Attempts of a run, edits, and processes beside each other: what is stored is shown, and no clock decides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.marks import first_of
from support.stack import Stack, eventually, running_stack

from penstock.wire import AGE_HEADER, Batch, Frame, Start, encode_batch
from penstock_storage.contracts.interface import RunChange, RunRef

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

HOUR_US = 3_600_000_000
NOW_US = 1_795_000_000_000_000
"""The time on the training's machine; the server's clock differs."""
_numbers = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


class Process:
    """A process that logs `a` to a run, from a step on; its machine's clock is off by `clock_us`."""

    def __init__(
        self,
        stack: Stack,
        run: str,
        *,
        age_us: int | None,
        start: Start | None = None,
        rank: int = 0,
        clock_us: int = 0,
    ) -> None:
        self.stack, self.run, self.start, self.rank = stack, run, start or Start(), rank
        self.age_us, self.clock_us = age_us, clock_us
        self.writer = f"w{next(_numbers)}"
        self.started = NOW_US + clock_us - (age_us or 0)
        self.seq = 0

    async def log(
        self, steps: range, value: float, *records: dict[str, Any], after_us: int = 0
    ) -> bytes:
        """Log and store these rows, at a time so long after it began; returns the batch."""
        self.seq += 1
        frames = []
        if steps:
            column = np.array(steps, "<i8")
            times = np.full(len(steps), self.started + after_us, "<i8")
            values = np.full(len(steps), value, "<f8")
            frames = [Frame(["a"], column.tobytes(), times.tobytes(), values.tobytes())]
        batch = encode_batch(
            Batch(
                project="p", run=self.run, writer=self.writer, seq=self.seq,
                writer_started=self.started, rank=self.rank, frames=frames,
                records=list(records), start=self.start,
            )
        )  # fmt: skip
        await self.send(batch)
        return batch

    async def send(self, batch: bytes) -> None:
        headers = {} if self.age_us is None else {AGE_HEADER: str(self.age_us)}
        status, reply = await self.stack.post(batch, headers=headers)
        assert status == 202, reply
        await self.stack.drained()


def new_run() -> str:
    return f"r{next(_numbers)}"


async def call(stack: Stack, method: str, path: str, payload: Any = None) -> Any:
    url = f"{stack.urls[0]}/v1/{path}"
    async with stack.session.request(method, url, json=payload) as reply:
        assert reply.status == 200, await reply.text()
        text = await reply.text()
    return (
        [json.loads(line) for line in text.splitlines()] if "history" in path else json.loads(text)
    )


async def shown(stack: Stack, run: str, lanes: str = "latest") -> dict[int, list[float]]:
    """The values of `a` in the history, by step."""
    found: dict[int, list[float]] = {}
    for row in await call(stack, "GET", f"runs/local/p/{run}/history?lanes={lanes}"):
        found.setdefault(row["_step"], []).append(row["a"])
    return found


def by_value(found: dict[int, list[float]]) -> dict[float, list[int]]:
    """The first and last step of each value."""
    steps: dict[float, list[int]] = {}
    for step, values in sorted(found.items()):
        for value in values:
            steps.setdefault(value, []).append(step)
    return {value: [each[0], each[-1]] for value, each in steps.items()}


async def of_run(stack: Stack, run: str) -> dict[str, Any]:
    found: dict[str, Any] = await call(stack, "GET", f"runs/local/p/{run}")
    return found


@pytest.mark.parametrize("clock_us", first_of(0, HOUR_US, -HOUR_US))
async def test_an_edit_counts_until_the_run_says_something_else(
    stack: Stack, clock_us: int
) -> None:
    run = new_run()
    training = Process(stack, run, age_us=0, clock_us=clock_us)
    summary = {"t": "summary", "update": {"x": 67, "y": 1}}
    first = await training.log(range(5), 1.0, {"t": "run", "name": "mine", "tags": ["a"]}, summary)
    await call(stack, "PATCH", f"runs/local/p/{run}", {"name": "edited", "tags": ["b"]})
    assert (await of_run(stack, run))["name"] == "edited"
    await training.log(
        range(5, 9), 1.0, {"t": "summary", "update": {"x": 99}}, {"t": "run", "tags": ["c"]}
    )
    found = await of_run(stack, run)
    assert (found["name"], found["tags"]) == ("edited", ["c"])
    assert (found["summary"]["x"], found["summary"]["y"]) == (99, 1)
    # A repeat is no news.
    await call(stack, "PATCH", f"runs/local/p/{run}", {"tags": ["d"]})
    await training.send(first)
    assert (await of_run(stack, run))["tags"] == ["d"]


async def test_an_edited_summary_counts_until_its_key_is_logged_again(stack: Stack) -> None:
    run = new_run()
    training = Process(stack, run, age_us=0)
    await training.log(range(5), 1.0)
    number = (await stack.catalog.numbers_of([RunRef("local", "p", run)]))[
        RunRef("local", "p", run)
    ]
    edit = RunChange.edit(number, "summary", {"a": 67.0, "best": 3})
    await stack.catalog.apply_changes([edit], 1)
    assert (await of_run(stack, run))["summary"]["a"] == 67.0

    async def is_logged_again() -> bool:
        await training.log(range(5 * training.seq, 5 * training.seq + 5), 2.0)
        return bool((await of_run(stack, run))["summary"]["a"] == 2.0)

    await eventually(is_logged_again)  # workers learn of edits within a second
    assert (await of_run(stack, run))["summary"]["best"] == 3


@pytest.mark.parametrize("is_first", [True, False])
async def test_an_older_attempt_that_is_synced_late_takes_nothing_away(
    stack: Stack, is_first: bool
) -> None:
    """It trained offline, on a machine whose clock is ahead; the one that resumed it may be heard first."""
    run = new_run()
    older = Process(stack, run, age_us=HOUR_US, clock_us=5 * HOUR_US)
    resumed = Process(stack, run, age_us=HOUR_US // 2, start=Start("resume", 100))

    async def old() -> None:
        await older.log(range(120), 1.0, {"t": "config", "update": {"lr": 1, "only": 1}})
        await older.log(range(0), 1.0, {"t": "state", "state": "crashed"})

    async def new() -> None:
        await resumed.log(range(100, 150), 2.0, {"t": "config", "update": {"lr": 2}})
        await resumed.log(range(0), 2.0, {"t": "state", "state": "finished"})

    for attempt in (old, new) if is_first else (new, old):
        await attempt()
    assert by_value(await shown(stack, run)) == {1.0: [0, 99], 2.0: [100, 149]}
    found = await of_run(stack, run)
    assert (found["state"], found["config"]) == ("finished", {"lr": 2, "only": 1})
    assert len(await shown(stack, run, "all")) == 150


async def test_a_child_that_logs_a_row_hides_none_of_its_parents(stack: Stack) -> None:
    run = new_run()
    await Process(stack, run, age_us=1_000_000).log(range(50), 1.0)
    await Process(stack, run, age_us=0, start=Start("beside")).log(range(10, 11), 5.0)
    assert by_value(await shown(stack, run)) == {1.0: [0, 49]}
    assert (await shown(stack, run, "all"))[10] == [1.0, 5.0]


async def test_an_evaluation_of_a_run_that_goes_on_hides_nothing(stack: Stack) -> None:
    """It says that it resumes the run, but the training logs on."""
    run = new_run()
    training = Process(stack, run, age_us=HOUR_US)
    await training.log(range(50), 1.0)
    evaluation = Process(stack, run, age_us=HOUR_US // 2, start=Start("resume", 50))
    await evaluation.log(range(50, 52), 5.0, {"t": "summary", "update": {"best": 5}})
    await training.log(
        range(50, 100), 1.0, {"t": "summary", "update": {"x": 1}}, after_us=HOUR_US * 3 // 4
    )
    await training.log(range(0), 1.0, {"t": "state", "state": "finished"})
    found = await of_run(stack, run)
    assert (found["state"], found["summary"]["x"], found["summary"]["best"]) == ("finished", 1, 5)
    assert by_value(await shown(stack, run)) == {1.0: [0, 99]}
    assert (await shown(stack, run, "all"))[50] == [1.0, 5.0]


async def test_a_client_that_says_nothing_starts_over_from_its_first_step(stack: Stack) -> None:
    run = new_run()
    await Process(stack, run, age_us=None).log(range(50), 1.0)
    await Process(stack, run, age_us=None, clock_us=1_000_000).log(range(20, 30), 2.0)
    assert by_value(await shown(stack, run)) == {1.0: [0, 19], 2.0: [20, 29]}


async def test_ranks_are_left_alone_by_the_restart_of_another(stack: Stack) -> None:
    run = new_run()
    for rank in (0, 1):
        await Process(stack, run, age_us=HOUR_US, rank=rank).log(range(50), 1.0 + rank)
    await Process(stack, run, age_us=0, rank=1, start=Start("resume", 30)).log(range(30, 40), 9.0)
    everything = await shown(stack, run, "all")
    assert everything[45] == [1.0, 2.0]
    assert by_value(await shown(stack, run)) == {1.0: [0, 49]}


async def test_a_run_that_waited_on_its_machine_is_as_old_as_its_training(stack: Stack) -> None:
    fresh, old = new_run(), new_run()
    await Process(stack, fresh, age_us=0).log(range(5), 1.0)
    await Process(stack, old, age_us=24 * 7 * HOUR_US).log(range(5), 1.0)
    apart_s = (await of_run(stack, fresh))["created_at"] - (await of_run(stack, old))["created_at"]
    assert apart_s == pytest.approx(7 * 86_400, abs=60)

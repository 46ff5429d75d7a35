"""Tables of projects: read once, then what changed; bounded; one user at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from support.run_texts import run_text

from penstock_storage.contracts.interface import RunText
from penstock_storage.search import index
from penstock_storage.search.index import RunIndex, uninterrupted


def changed_run(number: int, tick: int, config: str = '{"a":1}') -> RunText:
    return run_text(number, tick=tick, config=config)


class Changes:
    """A catalog that knows what changed, and notes what it is asked."""

    def __init__(self) -> None:
        self.rows: list[RunText] = []
        self.asked: list[tuple[int, int]] = []
        self.deleted_at = -1

    async def deleted_since(self, project: int, tick: int) -> int | None:
        return self.deleted_at if self.deleted_at > tick >= 0 else None

    async def runs_since(self, project: int, tick: int) -> AsyncGenerator[Sequence[RunText], None]:
        self.asked.append((project, tick))
        for row in self.rows:
            if row.tick > tick or row.tick == 0:
                yield [row]


async def test_only_what_changed_is_read() -> None:
    changes: Any = Changes()
    changes.rows = [changed_run(1, 3), changed_run(2, 5)]
    runs = RunIndex(changes)
    async with runs.table(7) as table:
        assert len(table) == 2
    changes.rows += [changed_run(3, 6), changed_run(4, 0)]
    for _ in range(2):
        async with runs.table(7) as table:
            assert len(table) == 4
    assert changes.asked == [(7, -1), (7, 5), (7, 6)]


async def test_a_table_forgets_what_was_deleted_and_is_read_once_more() -> None:
    changes: Any = Changes()
    changes.rows = [changed_run(1, 3), changed_run(2, 5)]
    runs = RunIndex(changes)
    async with runs.table(7):
        pass
    del changes.rows[1]
    changes.deleted_at = 6
    for _ in range(2):
        async with runs.table(7) as table:
            assert table.numbers.tolist() == [1]
    assert changes.asked == [(7, -1), (7, -1), (7, 6)]


async def test_tables_not_used_for_longest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: Any = Changes()
    changes.rows = [changed_run(1, 1)]
    runs = RunIndex(changes)
    monkeypatch.setattr(index, "_MAX_TABLES", 2)
    for project in (1, 2, 1, 3, 1, 2):
        async with runs.table(project):
            pass
    # 3 pushed 2 out, then 2 pushed 3 out; 1 stayed.
    assert changes.asked == [(1, -1), (2, -1), (1, 1), (3, -1), (1, 1), (2, -1)]


async def test_a_cancelled_user_keeps_the_table_until_its_thread_is_done() -> None:
    changes: Any = Changes()
    changes.rows = [changed_run(1, 1)]
    runs = RunIndex(changes)
    began, may_end = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        may_end.wait(20)

    async def use() -> None:
        async with runs.table(1):
            await uninterrupted(work)

    first = asyncio.create_task(use())
    await asyncio.to_thread(began.wait, 20)
    first.cancel()
    second = asyncio.create_task(use())
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(changes.asked) == 1  # the second still waits for the table
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_run_whose_config_grows_all_the_time_leaves_no_shapes_behind() -> None:
    changes: Any = Changes()
    runs = RunIndex(changes)
    for tick in range(1, 150):
        config = "{" + ",".join(f'"k{n}":1' for n in range(tick)) + "}"
        changes.rows = [changed_run(1, tick, config)]
        async with runs.table(7) as table:
            assert len(table.paths("config")) == tick
            shapes = len(table._sections["config"]._known_shapes)
            assert shapes < 110

"""Questions in groups: each gets its own answer or error, and nobody is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from penstock_common.process.batcher import Batcher


class Work:
    """Doubles numbers; negative ones are refused, and 13 brings its whole group down."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    async def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(numbers))
        await asyncio.sleep(0)
        if 13 in numbers:
            raise OSError("down")
        return [ValueError("negative") if n < 0 else 2 * n for n in numbers]


async def test_many_share_few_turns_and_each_gets_its_own() -> None:
    work = Work()
    batcher = Batcher(work)
    assert await asyncio.gather(*map(batcher.submit, range(20, 1_220))) == list(range(40, 2_440, 2))
    assert len(work.groups) < 10
    assert sorted(n for group in work.groups for n in group) == list(range(20, 1_220))


async def test_an_error_is_its_owners_or_its_groups() -> None:
    batcher = Batcher(Work())
    found = await asyncio.gather(*map(batcher.submit, (1, -1, 2)), return_exceptions=True)
    assert [str(each) for each in found] == ["2", "negative", "4"]
    found = await asyncio.gather(*map(batcher.submit, (4, 13, 5)), return_exceptions=True)
    # The first one found nobody to share its turn with.
    assert [str(each) for each in found] == ["8", "down", "down"]
    assert await batcher.submit(5) == 10


async def test_of_one_key_the_oldest_is_answered_first() -> None:
    work = Work()
    batcher = Batcher(work, key=lambda number: number % 10)
    assert await asyncio.gather(*map(batcher.submit, (1, 11, 2, 21))) == [2, 22, 4, 42]
    assert all(len({n % 10 for n in group}) == len(group) for group in work.groups)
    assert [n for group in work.groups for n in group if n % 10 == 1] == [1, 11, 21]


async def test_one_that_leaves_holds_nobody_up() -> None:
    batcher = Batcher(Work())
    asked = [asyncio.create_task(batcher.submit(n)) for n in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()
    asked[2].cancel()
    assert [await asked[n] for n in (1, 3, 4)] == [2, 6, 8]
    with pytest.raises(asyncio.CancelledError):
        await asked[0]

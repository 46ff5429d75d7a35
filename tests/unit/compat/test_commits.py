"""Waiting for commits: it ends when they are stored; an error that nobody expected, or a queue that was
replaced, is answered, not waited out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from penstock.errors import Transient
from penstock_compat.wandb.stream.commits import Commits
from penstock_ingest.positions import WriterName, WriterPosition, WriterPositions

QUEUED = WriterPosition("local", "p", "r", "w", queued=7, committed=None, queue="one")


class Broken(WriterPositions):
    """Positions that cannot be read, for an unexpected reason."""

    def __init__(self) -> None:
        self.looks = 0

    async def fetch(
        self, writers: Sequence[WriterName], alive: Sequence[WriterName] = ()
    ) -> list[WriterPosition]:
        self.looks += 1
        raise ValueError("not a number")


class Answers(WriterPositions):
    """Positions that move on with each look."""

    def __init__(self, *answers: tuple[int | None, str]) -> None:
        self.answers = list(answers)

    async def fetch(
        self, writers: Sequence[WriterName], alive: Sequence[WriterName] = ()
    ) -> list[WriterPosition]:
        committed, queue = self.answers.pop(0)
        return [WriterPosition(*name, 0, committed, queue, [7]) for name in writers]


async def test_it_ends_when_its_number_is_reached() -> None:
    answers = Answers((None, "one"), (6, "one"), (7, "one"), (8, "one"))
    assert await Commits(answers).wait([replace(QUEUED, queued=3), QUEUED], 30) == {7}
    assert len(answers.answers) == 1


async def test_what_another_queue_has_stored_is_not_what_was_sent() -> None:
    with pytest.raises(Transient, match="lost its data"):
        await Commits(Answers((6, "one"), (9, "two"))).wait([QUEUED], 30)


async def test_an_unexpected_error_is_answered_to_all_who_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    positions = Broken()
    commits = Commits(positions)
    for _ in range(2):  # and the next request looks again
        with pytest.raises(ValueError, match="not a number"):
            await commits.wait([QUEUED], timeout_s=30)
    assert positions.looks == 2
    assert "Traceback" in caplog.text

"""Waiting for commits: an error that nobody expected is answered, not waited out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from penstock_compat.wandb.stream.commits import Commits
from penstock_ingest.marks import Mark, Marks, WriterName

NAME = WriterName("local", "p", "r", "w")


class Broken(Marks):
    """Marks that cannot be read for a reason of their own."""

    def __init__(self) -> None:
        self.looks = 0

    async def look(
        self, writers: Sequence[WriterName], alive: Sequence[WriterName] = ()
    ) -> list[Mark]:
        self.looks += 1
        raise ValueError("not a number")


async def test_an_unexpected_error_is_answered_to_all_who_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    marks = Broken()
    commits = Commits(marks)
    for _ in range(2):  # and the next request looks again
        with pytest.raises(ValueError, match="not a number"):
            await commits.wait([(NAME, 1)], timeout_s=30)
    assert marks.looks == 2
    assert "Traceback" in caplog.text

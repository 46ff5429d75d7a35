"""Waiting for commits: an error that nobody expected is answered, not waited out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from penstock_compat.wandb.stream.commits import Commits
from penstock_ingest.positions import WriterName, WriterPosition, WriterPositions

NAME = WriterName("local", "p", "r", "w")


class Broken(WriterPositions):
    """Positions that cannot be read, for an unexpected reason."""

    def __init__(self) -> None:
        self.looks = 0

    async def fetch(
        self, writers: Sequence[WriterName], alive: Sequence[WriterName] = ()
    ) -> list[WriterPosition]:
        self.looks += 1
        raise ValueError("not a number")


async def test_an_unexpected_error_is_answered_to_all_who_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    positions = Broken()
    commits = Commits(positions)
    for _ in range(2):  # and the next request looks again
        with pytest.raises(ValueError, match="not a number"):
            await commits.wait([(NAME, 1)], timeout_s=30)
    assert positions.looks == 2
    assert "Traceback" in caplog.text

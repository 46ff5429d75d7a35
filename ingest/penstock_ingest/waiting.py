"""`POST /v1/batches?wait=committed`: reply only once the batches are stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from penstock_ingest.positions import WriterName, WriterPosition, WriterPositions
from penstock_ingest.status import ServerStatus

__all__ = ["CommitWait", "is_stored"]

_MIN_PAUSE_S, _MAX_PAUSE_S = 0.02, 0.25


class CommitWait:
    """Polls writers' positions until the queued batches are stored."""

    def __init__(self, positions: WriterPositions, status: ServerStatus) -> None:
        self._positions = positions
        self._status = status

    async def until_stored(
        self, queued: Sequence[WriterPosition], timeout_s: float
    ) -> list[WriterPosition]:
        """The positions once all batches are stored or dead, the time is over, or this process has to
        shut down.

        Raises `Transient` if Redis does not answer: then the outcome is unknown.
        """
        deadline = time.monotonic() + timeout_s
        found, pause_s = list(queued), _MIN_PAUSE_S
        while not all(map(_is_done, found)):
            if time.monotonic() + pause_s > deadline or self._status.is_draining:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(_MAX_PAUSE_S, 1.5 * pause_s)
            names = [WriterName(m.entity, m.project, m.run, m.writer) for m in queued]
            found = await self._positions.fetch(names)
            for position, sent in zip(found, queued, strict=True):
                position.queued = sent.queued
        return found


def is_stored(positions: Sequence[WriterPosition]) -> bool:
    """Whether the store has everything up to what was queued."""
    return all(
        _is_done(position) and position.queued not in position.dead for position in positions
    )


def _is_done(position: WriterPosition) -> bool:
    """Whether the queued batch is stored or dead: nothing more will happen to it."""
    return (position.committed or 0) >= position.queued or position.queued in position.dead

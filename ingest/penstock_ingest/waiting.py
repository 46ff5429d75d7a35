"""`POST /v1/batches?wait=committed`: answer only once the store has what was sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from penstock_common.checks import refusal
from penstock_ingest.marks import Mark, Marks, WriterName
from penstock_ingest.operations import Wait
from penstock_ingest.status import ServerStatus

__all__ = ["CommitWait", "checked_wait", "is_stored"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.25


def checked_wait(query: Mapping[str, str]) -> Wait:
    """What a request's query asks for. Raises `Rejected` if it is no such query."""
    try:
        return Wait.model_validate(dict(query))
    except ValidationError as error:
        raise refusal(error, "query") from None


class CommitWait:
    """Follows writers' marks until the store has what was queued."""

    def __init__(self, marks: Marks, status: ServerStatus) -> None:
        self._marks = marks
        self._status = status

    async def until_stored(self, queued: Sequence[Mark], timeout_s: float) -> list[Mark]:
        """The marks as they are once all of them are settled, or the time is over, or this process
        is told to leave.

        Raises `Transient` if Redis does not answer: then nobody knows.
        """
        deadline = time.monotonic() + timeout_s
        found, pause_s = list(queued), _FIRST_PAUSE_S
        while not all(map(_is_settled, found)):
            if time.monotonic() + pause_s > deadline or self._status.is_draining:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 1.5 * pause_s)
            names = [WriterName(m.entity, m.project, m.run, m.writer) for m in queued]
            found = await self._marks.look(names)
            for mark, sent in zip(found, queued, strict=True):
                mark.queued = sent.queued
        return found


def is_stored(marks: Sequence[Mark]) -> bool:
    """Whether the store has everything up to what was queued."""
    return all(_is_settled(mark) and mark.queued not in mark.dead for mark in marks)


def _is_settled(mark: Mark) -> bool:
    """Nothing more will happen to it: it is stored, or was put aside."""
    return (mark.committed or 0) >= mark.queued or mark.queued in mark.dead

"""Waits until batches are stored: all requests' positions are polled together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock_ingest.positions import WriterName, WriterPosition, WriterPositions

__all__ = ["Commits"]

_LOG = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.02


@dataclass(slots=True)
class _Waiting:
    """One request, and the last position of each writer that it waits for."""

    last: dict[WriterName, WriterPosition]
    done: asyncio.Future[set[int]]
    dead: set[int] = field(default_factory=set)


class Commits:
    """Notifies the requests of one process when their batches are stored."""

    def __init__(self, positions: WriterPositions) -> None:
        self._positions = positions
        self._waiting: list[_Waiting] = []
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, queued: Iterable[WriterPosition], timeout_s: float) -> set[int]:
        """Wait until the batches with these numbers, and all before them, are stored; returns the numbers
        of those that became dead letters.

        Raises `Transient` if that takes too long, the queue cannot be read, or it lost its data meanwhile:
        what is stored then of a writer that others use too may be theirs.
        """
        last: dict[WriterName, WriterPosition] = {}
        for position in queued:
            name = WriterName(position.entity, position.project, position.run, position.writer)
            if name not in last or position.queued > last[name].queued:
                last[name] = position
        if not last:
            return set()
        waiting = _Waiting(last, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="wandb-commits")
            self._looking.add_done_callback(self._looked)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting.done
        except TimeoutError:
            raise Transient(
                f"the lines were queued but not stored within {timeout_s:.0f} s",
                code=ErrorCode.NOT_COMMITTED,
                retry_after_s=2,
            ) from None
        finally:
            self._waiting.remove(waiting)

    def _looked(self, looking: asyncio.Task[None]) -> None:
        """Pass an unexpected error to all waiting requests, so that none waits in vain."""
        error = None if looking.cancelled() else looking.exception()
        if error is not None:
            _LOG.error("commits_not_seen", exc_info=error)
            for each in self._waiting:
                if not each.done.done():
                    each.done.set_exception(error)

    async def _look(self) -> None:
        while self._waiting:
            started = time.monotonic()
            names = list({name for each in self._waiting for name in each.last})
            try:
                positions = await self._positions.fetch(names)
            except Transient as error:
                for each in self._waiting:
                    if not each.done.done():
                        each.done.set_exception(error)
            else:
                stored = dict(zip(names, positions, strict=True))
                for each in self._waiting:
                    if each.last.keys() <= stored.keys() and not each.done.done():
                        _compare(each, stored)
            await asyncio.sleep(max(0.0, _LOOK_EVERY_S - (time.monotonic() - started)))


def _compare(waiting: _Waiting, stored: dict[WriterName, WriterPosition]) -> None:
    """End this wait if its batches are stored or lost."""
    pairs = [(stored[name], queued) for name, queued in waiting.last.items()]
    waiting.dead |= {queued.queued for now, queued in pairs if queued.queued in now.dead}
    if any(now.queue != queued.queue for now, queued in pairs):
        waiting.done.set_exception(
            Transient(
                "the queue lost its data; send the lines again", code=ErrorCode.QUEUE_REPLACED
            )
        )
    elif all((now.committed or 0) >= queued.queued for now, queued in pairs):
        waiting.done.set_result(waiting.dead)

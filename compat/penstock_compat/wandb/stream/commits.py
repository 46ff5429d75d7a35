"""Waits until batches are stored: all requests' positions are polled together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from penstock.errors import Transient
from penstock_ingest.positions import WriterName, WriterPositions

__all__ = ["Commits"]

_LOG = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.02


@dataclass(slots=True)
class _Waiting:
    """One request, and each writer's last number that it waits for."""

    numbers: dict[WriterName, int]
    done: asyncio.Future[set[int]]
    dead: set[int] = field(default_factory=set)


class Commits:
    """Notifies the requests of one process when their batches are stored."""

    def __init__(self, positions: WriterPositions) -> None:
        self._positions = positions
        self._waiting: list[_Waiting] = []
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, numbers: Iterable[tuple[WriterName, int]], timeout_s: float) -> set[int]:
        """Wait until these numbers and all before them are stored; returns those that became dead
        letters.

        Raises `Transient` if that takes too long or the queue cannot be read.
        """
        last: dict[WriterName, int] = {}
        for name, number in numbers:
            last[name] = max(number, last.get(name, 0))
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
                code="not_committed",
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
            names = list({name for each in self._waiting for name in each.numbers})
            try:
                positions = await self._positions.fetch(names)
            except Transient as error:
                for each in self._waiting:
                    if not each.done.done():
                        each.done.set_exception(error)
            else:
                stored = dict(zip(names, positions, strict=True))
                for each in self._waiting:
                    found = [stored[name] for name in each.numbers if name in stored]
                    if len(found) < len(each.numbers):
                        continue  # it arrived during the poll
                    for position, (_, number) in zip(found, each.numbers.items(), strict=True):
                        each.dead |= {dead for dead in position.dead if dead == number}
                    is_stored = all(
                        (position.committed or 0) >= number
                        for position, number in zip(found, each.numbers.values(), strict=True)
                    )
                    if is_stored and not each.done.done():
                        each.done.set_result(each.dead)
            await asyncio.sleep(max(0.0, _LOOK_EVERY_S - (time.monotonic() - started)))

"""Request batching: requests that come while a batch is being worked on go into the next batch.

What costs the same for one as for hundreds, such as a catalog's transaction, is done once for all
that wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Batcher"]

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

_MAX_BATCH = 500


@dataclass(frozen=True, slots=True, eq=False)
class _Pending(Generic[RequestT, ResultT]):
    request: RequestT
    result: asyncio.Future[ResultT]


class Batcher(Generic[RequestT, ResultT]):
    """Works on requests in batches.

    `work` takes a batch and returns one result for each request, in order. A result that is an
    exception is raised to its own caller; what `work` itself raises is raised to all of them. Of
    requests with the same `key` only the oldest is in a batch: it is answered before the next one.
    """

    def __init__(
        self,
        work: Callable[[Sequence[RequestT]], Awaitable[Sequence[ResultT | Exception]]],
        *,
        key: Callable[[RequestT], Hashable] = id,
    ) -> None:
        self._work = work
        self._key = key
        self._waiting: list[_Pending[RequestT, ResultT]] = []
        self._turn = asyncio.Lock()

    async def submit(self, request: RequestT) -> ResultT:
        """The request's result. The caller that has the turn works for all that wait."""
        pending: _Pending[RequestT, ResultT] = _Pending(
            request, asyncio.get_running_loop().create_future()
        )
        self._waiting.append(pending)
        try:
            async with self._turn:
                while not pending.result.done():
                    await self._take_turn()
            return await pending.result
        finally:
            # A caller that left is not waited for; one whose request failed has its error.
            if pending in self._waiting:
                self._waiting.remove(pending)
            pending.result.cancel()

    async def _take_turn(self) -> None:
        oldest = {self._key(each.request): each for each in reversed(self._waiting)}
        batch = [each for each in self._waiting if oldest[self._key(each.request)] is each]
        batch = batch[:_MAX_BATCH]
        try:
            results: Sequence[ResultT | Exception] = await self._work(
                [each.request for each in batch]
            )
        except Exception as error:
            # A seam: every request in the batch is answered, each with an error of its own.
            results = [error] * len(batch)
        for each, result in zip(batch, results, strict=True):
            if each.result.done():
                continue
            if isinstance(result, Exception):
                each.result.set_exception(result)
            else:
                each.result.set_result(result)
        self._waiting = [each for each in self._waiting if not each.result.done()]

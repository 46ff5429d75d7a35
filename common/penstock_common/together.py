"""Working in groups: questions that come while the last ones are worked on share the next turn.

What costs the same for one as for hundreds, such as a catalog's transaction, is done once for all
that wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Together"]

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")

_MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Generic[QuestionT, AnswerT]):
    question: QuestionT
    answer: asyncio.Future[AnswerT]


class Together(Generic[QuestionT, AnswerT]):
    """Answers questions in groups.

    `work` answers a group: one answer for each, in order; one that is an exception is raised to whom
    it belongs, and one that `work` raises to all. Of questions with the same `key` only the oldest is
    in a group: it is to be answered before the next is asked.
    """

    def __init__(
        self,
        work: Callable[[Sequence[QuestionT]], Awaitable[Sequence[AnswerT | Exception]]],
        *,
        key: Callable[[QuestionT], Hashable] = id,
    ) -> None:
        self._work = work
        self._key = key
        self._waiting: list[_Asked[QuestionT, AnswerT]] = []
        self._turn = asyncio.Lock()

    async def ask(self, question: QuestionT) -> AnswerT:
        """The answer. Whoever has the turn works for all that wait."""
        asked: _Asked[QuestionT, AnswerT] = _Asked(
            question, asyncio.get_running_loop().create_future()
        )
        self._waiting.append(asked)
        try:
            async with self._turn:
                while not asked.answer.done():
                    await self._take_turn()
            return await asked.answer
        finally:
            # One that left is not waited for; one that failed has been told.
            if asked in self._waiting:
                self._waiting.remove(asked)
            asked.answer.cancel()

    async def _take_turn(self) -> None:
        oldest = {self._key(each.question): each for each in reversed(self._waiting)}
        group = [each for each in self._waiting if oldest[self._key(each.question)] is each]
        group = group[:_MOST_AT_ONCE]
        try:
            answers: Sequence[AnswerT | Exception] = await self._work(
                [each.question for each in group]
            )
        except Exception as error:
            # A seam: everyone in the group is answered, each request with an error of its own.
            answers = [error] * len(group)
        for each, answer in zip(group, answers, strict=True):
            if each.answer.done():
                continue
            if isinstance(answer, Exception):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)
        self._waiting = [each for each in self._waiting if not each.answer.done()]

"""Work on batches in a thread that must not stand still: a hostile batch may make it hang."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from penstock_common.queue.entries import Entry

__all__ = ["StallLimit", "Unusable", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")
_LOOKS = 5


class Unusable(Exception):
    """Batches could not be decoded or folded (see its cause); only they can be at fault."""

    entry: Entry | None = None
    """The one that was being worked on, if they are worked on one by one."""


@dataclass(frozen=True, slots=True)
class StallLimit:
    """How long work may go on without a step. `steps` is their number so far; `on_step` is called now and
    then while it grows. Thousands of batches may take long on a slow machine, and none of them hangs."""

    seconds: float
    steps: Callable[[], int]
    on_step: Callable[[], None]


async def in_thread(
    limit: StallLimit, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run this in a thread. One that hangs, or holds the interpreter, cannot be stopped, so the process
    exits; the next owner of its shards counts that as a failure."""
    faulthandler.dump_traceback_later(limit.seconds, exit=True)
    steps, done = limit.steps(), asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        while not done.done():
            await asyncio.wait({done}, timeout=limit.seconds / _LOOKS)
            before, steps = steps, limit.steps()
            if steps > before:
                faulthandler.dump_traceback_later(limit.seconds, exit=True)
                limit.on_step()
        return done.result()
    except Exception as error:
        raise Unusable from error
    finally:
        faulthandler.cancel_dump_traceback_later()

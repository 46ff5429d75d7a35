"""Work on batches in a thread, for a bounded time: a hostile batch may make it hang."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from penstock_workers.queue import Entry

__all__ = ["Unusable", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class Unusable(Exception):
    """Batches could not be decoded or folded (see its cause); only they can be at fault."""

    entry: Entry | None = None
    """The one that was being worked on, if they are worked on one by one."""


async def in_thread(timeout_s: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run this in a thread, within the time limit. A thread that hangs, or holds the interpreter, cannot
    be stopped, so the process exits; the next owner of its shards counts that as a failure."""
    faulthandler.dump_traceback_later(timeout_s, exit=True)
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except Exception as error:
        raise Unusable from error
    finally:
        faulthandler.cancel_dump_traceback_later()

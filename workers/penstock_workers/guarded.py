"""A main loop with background tasks: when one of them fails, the process exits at once.

A worker without one of its tasks would keep its shards and do half of its work, or none. Nothing is
lost by exiting: queued batches stay queued, and the next owner of the shards continues from there.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn

__all__ = ["FAILED", "run_guarded"]

_LOG = logging.getLogger(__name__)
FAILED = 1
"""Exit status after a failed task."""

_MAX_END_S = 10.0
_CANCEL_EVERY_S = 0.5


async def run_guarded(
    main: Coroutine[Any, Any, None],
    background: Mapping[str, Coroutine[Any, Any, None]],
    *,
    die: Callable[[], NoReturn] = lambda: os._exit(FAILED),
) -> None:
    """Run `main` to its end, then cancel the background tasks and wait for them.

    If anything raises, or a background task ends by itself, the process exits without waiting for
    the others, which may ignore their cancellation.
    """
    work = asyncio.create_task(main, name="main loop")
    beside = [asyncio.create_task(each, name=name) for name, each in background.items()]
    done, _ = await asyncio.wait([work, *beside], return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in done if task is not work or _error(task) is not None]
    for task in failed:
        _LOG.critical("task_failed task=%s", task.get_name(), exc_info=_error(task))
    if failed:
        die()
    if not await _end(set(beside)):
        die()


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def _end(pending: set[asyncio.Task[None]]) -> bool:
    """Cancel them until they end: a cancellation can get lost in a call to Redis that is just ending,
    and the loop around that call would continue. False if they do not end."""
    for _ in range(round(_MAX_END_S / _CANCEL_EVERY_S)):
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_CANCEL_EVERY_S)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                _LOG.warning("task_failed_at_end task=%s", task.get_name(), exc_info=error)
        if not pending:
            return True
    _LOG.critical("tasks_do_not_end tasks=%s", ",".join(task.get_name() for task in pending))
    return False

"""Forks: runs that continue from a step of another run, with a copy of its history up to there.

The history is copied through the normal logging path. Numbers and contents of the batches depend only
on the two runs, so an interrupted copy continues where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.stream.batches import TranslatedBatches, WriterIdentity, make_batches
from penstock_compat.wandb.stream.commits import Commits
from penstock_compat.wandb.stream.post import Lines, Post
from penstock_ingest.positions import WriterName
from penstock_storage.contracts.interface import RunRef, RunRow
from penstock_storage.readers.history import HistoryQuery, origin_us, read_history

__all__ = ["FORKED", "branch_point", "copy_history"]

FORKED = "forked_from"
"""In a fork's `info`, once its history is complete: the run and step it was forked from."""

_MAX_LINES = 20_000
_FILES = 500
_MEDIA = "media/%"
_TIMEOUT_S = 300.0


def branch_point(rest: dict[str, Any]) -> tuple[str, int] | None:
    """The run and step to fork from, according to the config's `_wandb` part."""
    found = (rest.get("_wandb") or {}).get("branch_point")
    if not isinstance(found, dict):
        return None
    run, step = found.get("run_id"), found.get("step")
    if not isinstance(run, str) or not isinstance(step, int | float) or step != int(step):
        return None
    return run, int(step)


async def copy_history(context: RequestContext, child: RunRow, run: str, step: int) -> None:
    """Copy the history of another run of its project to `child`, up to and including this step.

    Raises `Rejected` if there is no such run, `Transient` if the copy is not stored in time.
    """
    deps = context.deps
    parent = await deps.catalog.run(RunRef(child.entity, child.project, run))
    if parent is None:
        raise Rejected(
            f"could not find run {child.entity}/{child.project}/{run} to fork from",
            code=ErrorCode.NOT_FOUND,
        )
    ref = RunRef(child.entity, child.project, child.run)
    name = WriterName(*ref, f"wandb-{child.created_at:x}-fork")
    [position] = await deps.positions.fetch([name])
    seq, queued = 0, []
    async for lines in _lines(context, parent, step):
        post = Post(history=Lines(0, lines))
        writer = WriterIdentity(ref, name.writer, 0, seq + 1, child.created_at)
        made: TranslatedBatches = await asyncio.to_thread(make_batches, post, writer, deps.limits)
        for each in made.batches:
            seq = each.seq
            if seq > (position.committed or 0):
                appended = await deps.appender.append(*name, seq, each.raw, each.decoded)
                queued = [appended.position]
    await Commits(deps.positions).wait(queued, _TIMEOUT_S)
    await _copy_media(context, parent, child)


async def _copy_media(context: RequestContext, parent: RunRow, child: RunRow) -> None:
    """Give the fork the files that its history refers to; their contents are shared."""
    files, last = context.deps.files, None
    while page := await files.list(parent.number, pattern=_MEDIA, after=last, limit=_FILES):
        for file in page:
            await files.put(child.number, file)
        last = page[-1].name


async def _lines(context: RequestContext, parent: RunRow, step: int) -> AsyncIterator[list[str]]:
    """A run's history as chunks of lines; `_runtime` only where it was logged."""
    deps = context.deps
    names = await deps.catalog.keys(parent.project_number)
    lanes = await deps.catalog.lanes([parent.number])
    query = HistoryQuery(
        run=parent.number,
        lanes=lanes,
        names={number: name for name, number in names.items()},
        hi=step + 1,
        origin_us=origin_us(parent, lanes),
        is_bare=True,
    )
    rest, waiting = b"", list[str]()
    async with aclosing(read_history(deps.store, query)) as chunks:
        async for chunk in chunks:
            *whole, rest = (rest + chunk).split(b"\n")
            waiting += [line.decode() for line in whole if line]
            while len(waiting) >= _MAX_LINES:
                yield waiting[:_MAX_LINES]
                waiting = waiting[_MAX_LINES:]
    if waiting:
        yield waiting

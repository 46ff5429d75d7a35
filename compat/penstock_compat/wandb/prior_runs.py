"""Prior runs that `wandb.sweep(prior_runs=…)` adds to a sweep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from penstock_compat.wandb.graphql.nodes import connection
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.filters import parse_api_filter
from penstock_compat.wandb.runs.run import RunNode
from penstock_compat.wandb.values import loads_map
from penstock_storage.contracts.interface import RunChange, RunRow
from penstock_storage.contracts.sweep_rows import SweepRow
from penstock_storage.search.finder import Question

__all__ = ["add_prior_runs", "prior_runs"]

_MAX_RUNS = 1_000
_NAMED = 10


async def add_prior_runs(context: RequestContext, sweep: SweepRow, filters: str) -> list[str]:
    """Add the project's runs that match a filter (JSON) to the sweep; a run that already belongs to a
    sweep stays in it. Returns warnings. Raises `Rejected` if the filter is invalid."""
    wanted = loads_map("priorRunsFilters", filters)
    deps = context.deps
    question = Question(
        filter=await asyncio.to_thread(parse_api_filter, wanted, sweep.entity), limit=_MAX_RUNS
    )
    found = await deps.finder.find(sweep.project_number, question)
    rows = await deps.catalog.run_rows(found.numbers)
    # The search returns the newest first; they are added in order of creation.
    chosen = [rows[number] for number in reversed(found.numbers) if number in rows]
    await deps.sweeps.add_prior_runs(sweep, [row.number for row in chosen])
    now = time.time_ns() // 1000
    changes = [
        RunChange.edit(row.number, "run", {"sweep": sweep.sweep})
        for row in chosen
        if not row.info.get("sweep")
    ]
    if changes:
        await deps.catalog.apply_changes(changes, now)
    return _warnings(wanted, chosen, found.total)


async def prior_runs(context: RequestContext, sweep: SweepRow) -> dict[str, Any]:
    """The sweep's prior runs as a connection, in the order in which they were added."""
    added = await context.deps.sweeps.prior_runs(sweep)
    rows = await context.deps.catalog.run_rows([run.number for run in added])
    nodes = [RunNode(context, rows[run.number]) for run in added if run.number in rows]
    return connection("Run", nodes, totalCount=len(nodes))


def _warnings(wanted: dict[str, Any], chosen: Sequence[RunRow], total: int) -> list[str]:
    """Warnings: named runs that do not exist, and runs beyond the limit."""
    have = {row.run for row in chosen}
    either = wanted.get("$or")
    named = [
        each["name"]
        for each in (either if isinstance(either, list) else [])
        if isinstance(each, dict) and isinstance(each.get("name"), str)
    ]
    warnings: list[str] = []
    if missing := [name for name in named if name not in have]:
        some = ", ".join(map(repr, missing[:_NAMED])) + (", …" if len(missing) > _NAMED else "")
        warnings.append(f"prior runs not found in the project: {some}")
    elif not chosen:
        warnings.append("no runs in the project match the prior runs' filter")
    if total > len(chosen):
        warnings.append(f"only {len(chosen):,} of {total:,} prior runs were added")
    return warnings

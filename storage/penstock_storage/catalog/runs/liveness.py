"""Liveness of runs: those that have not ended, but without a recent sign of life."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.tables import GOING_ON, projects, runs
from penstock_storage.contracts.interface import RunNumber, RunRef

__all__ = ["refs_of", "silent_runs"]

_names = select(runs.c.number, projects.c.entity, projects.c.project, runs.c.run).join(
    projects, runs.c.project == projects.c.number
)
# As literals: with parameters, no database would use the partial index.
_GOES_ON = runs.c.state.in_([literal_column(f"'{state}'") for state in GOING_ON])


async def silent_runs(connection: AsyncConnection, before: int) -> dict[RunRef, RunNumber]:
    """The running runs without a sign of life since `before`, with their numbers."""
    query = _names.where(_GOES_ON, runs.c.updated_at < before)
    return {RunRef(*name): number for number, *name in await connection.execute(query)}


async def refs_of(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, RunRef]:
    """The names of these runs."""
    found: dict[int, RunRef] = {}
    for chunk in chunks(numbers):
        query = _names.where(runs.c.number.in_(chunk))
        found |= {number: RunRef(*name) for number, *name in await connection.execute(query)}
    return found

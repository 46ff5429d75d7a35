"""Deletes runs, and answers clients that still log to a deleted one.

`run.delete()` of the public API sends `deleteRun(input: {id, deleteArtifacts})` with the run's opaque
id. The protocol has no mutation for several runs, for moving a run, or for deleting or renaming a
project (except registries).
"""

from __future__ import annotations

from typing import Any

from penstock.errors import Rejected
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.mutations import find_run, run_number
from penstock_storage.interface import Catalog, RunRef
from penstock_storage.removal import Removal

__all__ = ["DeletionMutations", "is_deleted", "refuse_deleted"]


class DeletionMutations(Node):
    """Root fields for deleting runs."""

    context: RequestContext

    @field
    async def delete_run(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete a run permanently. Its artifacts stay, even with `deleteArtifacts`. Idempotent."""
        deps, id = self.context.deps, str(input.get("id") or "")
        if not await self._is_gone(id):
            row = await find_run(self.context, id)
            await Removal(deps.catalog, deps.redis, deps.keys).delete_runs([row.number])
        return {
            "__typename": "DeleteRunPayload",
            "clientMutationId": input.get("clientMutationId"),
            "success": True,
        }

    async def _is_gone(self, id: str) -> bool:
        """Whether this is a deleted run of an entity that the key may write to."""
        found = await self.context.deps.catalog.tombstones_by_run([run_number(id)])
        return any(
            not each.moved_to and self.context.principal.may_write(each.ref.entity)
            for each in found
        )


async def is_deleted(catalog: Catalog, ref: RunRef) -> bool:
    """Whether a run with this name was deleted or moved and not created again. Call it only for a
    missing run, since it queries the catalog."""
    return bool(await catalog.tombstones_of([ref])) and not await catalog.numbers_of([ref])


async def refuse_deleted(catalog: Catalog, ref: RunRef) -> None:
    """Raises `Rejected` (410) for a deleted run: its client then gives it up and its script
    continues."""
    if await is_deleted(catalog, ref):
        raise Rejected(
            f"run {ref.entity}/{ref.project}/{ref.run} was deleted", code="deleted", status=410
        )

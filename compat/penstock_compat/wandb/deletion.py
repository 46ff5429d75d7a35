"""Deletes runs.

`run.delete()` of the public API sends `deleteRun(input: {id, deleteArtifacts})` with the run's opaque
id. The protocol has no mutation for several runs, for moving a run, or for deleting or renaming a
project (except registries).
"""

from __future__ import annotations

from typing import Any

from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.mutations import find_run, run_number
from penstock_storage.removal import Removal

__all__ = ["DeletionMutations"]


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

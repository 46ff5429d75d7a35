"""Deleting runs.

`run.delete()` of the public API sends `deleteRun(input: {id, deleteArtifacts})`, where `id` is the
run's opaque id; there is no mutation for several runs, none that moves a run, and none that deletes
or renames a project (registries have their own).
"""

from __future__ import annotations

from typing import Any

from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.mutations import find_run, run_number
from penstock_storage.removal import Removal

__all__ = ["DeletionMutations"]


class DeletionMutations(Node):
    """Root fields that delete."""

    context: RequestContext

    @field
    async def delete_run(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete a run for good. What artifacts it logged stays, whatever `deleteArtifacts` says.

        A run that is deleted already stays so: that is what was asked for.
        """
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
        """Whether this was a run, and was deleted, of an entity that the key may write to."""
        found = await self.context.deps.catalog.tombstones_by_run([run_number(id)])
        return any(
            not each.moved_to and self.context.principal.may_write(each.ref.entity)
            for each in found
        )

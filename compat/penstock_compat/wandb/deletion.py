"""Deleting runs, and what a client is told that still logs to one.

`run.delete()` of the public API sends `deleteRun(input: {id, deleteArtifacts})`, where `id` is the
run's opaque id; there is no mutation for several runs, none that moves a run, and none that deletes
or renames a project (registries have their own).
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


async def is_deleted(catalog: Catalog, ref: RunRef) -> bool:
    """Whether a run of this name was deleted or moved, and there is no later one. To be asked only
    of a run that is not there: it costs a look into the catalog."""
    return bool(await catalog.tombstones_of([ref])) and not await catalog.numbers_of([ref])


async def refuse_deleted(catalog: Catalog, ref: RunRef) -> None:
    """Raises `Rejected` (410) for a run that was deleted: its client then gives it up, and its script
    goes on."""
    if await is_deleted(catalog, ref):
        raise Rejected(
            f"run {ref.entity}/{ref.project}/{ref.run} was deleted", code="deleted", status=410
        )

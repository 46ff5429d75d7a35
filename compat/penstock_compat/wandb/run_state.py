"""Run state that logging clients ask for: deleted, or asked to stop by a user."""

from __future__ import annotations

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import RunRef

__all__ = ["STOP", "refuse_deleted"]

STOP = "stop_requested"
"""In a run's info: a user asked it to stop."""


async def _is_deleted(catalog: Catalog, ref: RunRef) -> bool:
    """Whether a run of this name was deleted or moved, and there is no later one. Ask only for a run
    that does not exist: it costs a query of the catalog."""
    return bool(await catalog.tombstones_of([ref])) and not await catalog.numbers_of([ref])


async def refuse_deleted(catalog: Catalog, ref: RunRef) -> None:
    """Raises `Rejected` (410) for a deleted run: its client then gives it up, and its script goes on."""
    if await _is_deleted(catalog, ref):
        raise Rejected(
            f"run {ref.entity}/{ref.project}/{ref.run} was deleted", code=ErrorCode.DELETED
        )

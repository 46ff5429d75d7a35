"""Names of writers, as the worker uses them."""

from __future__ import annotations

from penstock_common.queue.redis_keys import split_writer_key
from penstock_storage.contracts.interface import RunRef

__all__ = ["WriterName", "writer_name"]

WriterName = tuple[RunRef, str]
"""A run, and a writer of it."""


def writer_name(key: str) -> WriterName:
    """The run and the writer of a writer key."""
    entity, project, run, writer = split_writer_key(key)
    return RunRef(entity, project, run), writer

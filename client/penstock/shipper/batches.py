"""Builds the bytes of a batch from its cut: always the same bytes, in any process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.errors import Rejected
from penstock.link import is_loopback
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut
from penstock.shipper.gather import ALL_SEGMENTS, Gathered, gather
from penstock.shipper.loss_notices import notice_records
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.spool.meta import Meta
from penstock.wire import (
    DEFAULT_LIMITS,
    Batch,
    Frame,
    Room,
    Start,
    batch_digest,
    decode_batch,
    encode_batch,
    fit_all,
)
from penstock.wire.compression import expand
from penstock.wire.records import STATE_KINDS

__all__ = ["NO_LIMITS", "BatchBuilder", "content_of"]

log = logging.getLogger(__name__)

_BATCH_ROOM = (12 * 2**20, 900_000)
"""Bytes and elements: with these, any batch stays within a body's limits, compressed or not."""
_ANY = replace(DEFAULT_LIMITS, decoded_bytes=2**30, elements=10**8)
"""Earlier versions may have cut larger batches."""
NO_LIMITS = BatchLimits(1 << 60, 1 << 60, 1 << 60, 1 << 60, 1 << 60)


def content_of(
    cut: Cut, found: Gathered | None, rejects: Rejects, *, is_primary: bool = True
) -> tuple[list[Frame], Sequence[Mapping[str, Any]]]:
    """A batch's frames and records by the rules with which it was cut. Raises OSError."""
    if cut.kind == "crashed":
        return [], [{"t": "state" if is_primary else "rank_state", "state": "crashed"}]
    if cut.kind == "again":
        batch = _rejected(rejects, cut.source)
        frames = batch.frames
        records: Sequence[Mapping[str, Any]] = [
            each for each in batch.records if cut.state or not _is_state(each)
        ]
    elif found is not None:
        frames, records = found.columns.batch()
        if cut.fold.get("said"):
            records = [*records, cut.fold["said"]]
    else:
        return [], []
    return fit_all(frames, records, Room(*_BATCH_ROOM)) if cut.rules else (frames, records)


def _rejected(rejects: Rejects, source: int) -> Batch:
    """A rejected batch. Raises OSError, including for an undecodable one."""
    try:
        return decode_batch(expand(rejects.read(source)), _ANY, strict=False)
    except (Rejected, ValueError) as error:
        raise OSError(f"rejected batch {source} cannot be read: {error}") from None


def _is_state(record: Any) -> bool:
    return isinstance(record, dict) and record.get("t") in STATE_KINDS


class BatchBuilder:
    """Builds the batches of one spool; caches the last one, which is usually requested next."""

    def __init__(self, meta: Meta, reader: SpoolReader) -> None:
        self._meta = meta
        self._reader = reader
        self._rejects = Rejects(reader.folder)
        self._compress = not is_loopback(meta.base_url)
        self._built: tuple[Cut, bytes] | None = None

    def encode(self, cut: Cut, found: Gathered | None) -> tuple[bytes, str]:
        """The bytes of a batch as sent, and the digest of their content."""
        batch = Batch(
            project=self._meta.project,
            run=self._meta.run,
            writer=self._meta.writer,
            seq=cut.seq,
            writer_started=self._meta.writer_started,
            entity=self._meta.entity,
            rank=self._meta.rank,
            acked=cut.released,
            sent_at=cut.sent_at,
            client=cut.client,
            start=Start(self._meta.start, self._meta.start_step),
        )
        batch.frames, records = content_of(cut, found, self._rejects, is_primary=self._meta.primary)
        batch.records = [*records, *notice_records(cut)]
        plain = encode_batch(batch)
        digest = batch_digest(plain)
        return encode_batch(batch, compress=True) if self._compress else plain, digest

    def built(self, cut: Cut) -> tuple[bytes, str]:
        """The same, built from the spool. Raises OSError."""
        found = None
        if cut.kind == "rows":
            found = gather(
                self._reader,
                cut.start,
                NO_LIMITS,
                stop=cut.end,
                complete_to=ALL_SEGMENTS,
                rules=cut.rules,
            )
        return self.encode(cut, found)

    def rejected(self, source: int) -> tuple[str, int]:
        """The last state and the number of points of a rejected batch. Raises OSError."""
        batch = _rejected(self._rejects, source)
        states = [str(each.get("state")) for each in batch.records if _is_state(each)]
        return next(reversed(states), ""), batch.points

    def remember(self, cut: Cut, raw: bytes) -> None:
        self._built = (cut, raw)

    def forget(self) -> None:
        """Drop the cached batch."""
        self._built = None

    def bytes_of(self, cut: Cut) -> bytes:
        """Raises OSError if the spool cannot be read."""
        if self._built is not None and self._built[0] == cut:
            return self._built[1]
        raw, digest = self.built(cut)
        if cut.digest and digest != cut.digest:
            log.error("%s: batch %d no longer matches its cut", self._meta.run, cut.seq)
        self._built = (cut, raw)
        return raw

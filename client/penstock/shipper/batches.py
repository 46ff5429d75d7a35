"""The bytes of a batch, from its cut: the same whenever and by whomever they are built."""

from __future__ import annotations

import logging

from penstock.link import is_loopback
from penstock.meta import Meta
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut
from penstock.shipper.gather import Gathered, gather
from penstock.shipper.reader import SpoolReader
from penstock.wire import Batch, batch_digest, encode_batch

__all__ = ["NO_LIMITS", "BatchBuilder"]

log = logging.getLogger(__name__)

NO_LIMITS = BatchLimits(1 << 60, 1 << 60, 1 << 60, 1 << 60, 1 << 60)


class BatchBuilder:
    """Builds the batches of one spool; remembers the last one, which is mostly the one wanted."""

    def __init__(self, meta: Meta, reader: SpoolReader) -> None:
        self._meta = meta
        self._reader = reader
        self._compress = not is_loopback(meta.base_url)
        self._built: tuple[Cut, bytes] | None = None

    def encode(self, cut: Cut, found: Gathered | None) -> tuple[bytes, str]:
        """The bytes of a batch as they are sent, and the digest of what they hold."""
        batch = Batch(
            project=self._meta.project,
            run=self._meta.run,
            writer=self._meta.writer,
            seq=cut.seq,
            writer_started=self._meta.writer_started,
            entity=self._meta.entity,
            rank=self._meta.rank,
            acked=cut.acked,
            sent_at=cut.sent_at,
            client=cut.client,
        )
        if cut.kind == "crashed":
            batch.records = [{"t": "state", "state": "crashed"}]
        elif found is not None:
            batch.frames, batch.records = found.columns.batch()
        plain = encode_batch(batch)
        digest = batch_digest(plain)
        return encode_batch(batch, compress=True) if self._compress else plain, digest

    def remember(self, cut: Cut, raw: bytes) -> None:
        self._built = (cut, raw)

    def forget(self) -> None:
        """Take no more memory for the last one."""
        self._built = None

    def bytes_of(self, cut: Cut) -> bytes:
        """Raises OSError if the spool cannot be read."""
        if self._built is not None and self._built[0] == cut:
            return self._built[1]
        found = None
        if cut.kind == "rows":
            found = gather(self._reader, cut.start, NO_LIMITS, stop=cut.end, abandoned=True)
        raw, digest = self.encode(cut, found)
        if cut.digest and digest != cut.digest:
            log.error("%s: batch %d is no longer what was cut", self._meta.run, cut.seq)
        self._built = (cut, raw)
        return raw

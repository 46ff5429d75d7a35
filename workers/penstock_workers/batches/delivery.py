"""Queue entries, decoded. The flight recorder knows which one is being worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from penstock.wire import Batch, Limits, batch_digest, decode_stored, decompress
from penstock_common.queue.entries import Entry
from penstock_workers.batches.writer_names import WriterName, writer_name
from penstock_workers.shards.flight_recorder import FlightRecorder

__all__ = ["Delivery", "decoded", "noted"]

_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A batch as it was delivered, and the 64-bit digest of its bytes. `name`: whose it is now."""

    entry: Entry
    name: WriterName
    batch: Batch
    digest: int


def decoded(entries: Iterable[Entry], recorder: FlightRecorder) -> list[Delivery]:
    """These entries' batches. Raises `Rejected` for one that cannot be decoded."""
    deliveries = []
    for entry in entries:
        recorder.note(entry)
        data = decompress(entry.raw, _LIMITS)
        digest = int(batch_digest(data)[:16], 16)
        batch = decode_stored(data, _LIMITS)
        deliveries.append(Delivery(entry, writer_name(entry.writer), batch, digest))
    recorder.clear()
    return deliveries


def noted(deliveries: Iterable[Delivery], recorder: FlightRecorder) -> Iterator[Delivery]:
    """These, each noted while it is worked on."""
    for delivery in deliveries:
        recorder.note(delivery.entry)
        yield delivery
    recorder.clear()

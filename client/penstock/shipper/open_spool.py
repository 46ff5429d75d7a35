"""A spool as the shipper has it open: what the stages of its sender share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.shipper.batches import BatchBuilder
from penstock.shipper.cuts import CutLog
from penstock.shipper.delivery import Delivery
from penstock.shipper.mending import mend
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.shipper.report import Report
from penstock.spool.meta import Meta, load_meta

__all__ = ["OpenSpool"]


@dataclass(frozen=True, slots=True)
class OpenSpool:
    """The files of one spool, repaired if necessary, and how far it has been delivered."""

    folder: Path
    meta: Meta
    reader: SpoolReader
    rejects: Rejects
    cuts: CutLog
    builder: BatchBuilder
    delivery: Delivery
    report: Report

    @classmethod
    def of(cls, folder: Path) -> OpenSpool:
        """Raises OSError or ValueError if the spool cannot be read."""
        meta = load_meta(folder)
        reader, rejects = SpoolReader(folder), Rejects(folder)
        cuts, delivery = mend(meta.run, reader, rejects)
        return cls(
            folder=folder,
            meta=meta,
            reader=reader,
            rejects=rejects,
            cuts=cuts,
            builder=BatchBuilder(meta, reader),
            delivery=delivery,
            report=Report(folder, meta.run, delivery),
        )

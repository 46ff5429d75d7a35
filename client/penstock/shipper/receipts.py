"""Receipts of deleted spools: which batches were sent, with their digests.

`<root>/receipts/<writer>.receipt`, private, msgpack in zstd. Receipts let `penstock verify` compare
sent data with the store long after the data itself was deleted. They are kept for 30 days, at most
10,000 of them, and do not count as spool.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack

from penstock.shipper.cuts import Cut, CutLog
from penstock.shipper.reader import SpoolReader
from penstock.shipper.sums import KeySum, Sums, holds_all, sums_of
from penstock.spool.meta import Meta, load_meta
from penstock.spool.progress import Progress, load_progress
from penstock.spool.root import folder_bytes, spools_in
from penstock.wire import Batch, batch_digest, encode_batch
from penstock.wire.compression import compress, expand

__all__ = ["UNKNOWN", "Receipt", "cuts_of", "keep_receipt", "receipts_in", "store_receipt"]

log = logging.getLogger(__name__)

UNKNOWN = "0" * 16
"""The digest of a batch whose cut was damaged and rebuilt, possibly with other bytes."""

_FOLDER = "receipts"
_SUFFIX = ".receipt"
_VERSION = 1
_MAX_AGE_S = 30 * 86_400.0
_MAX_RECEIPTS = 10_000
_MAX_SUMMED_BYTES = 16 << 20
"""Before deleting a small spool, the shipper reads it once more to record each key's sums."""


@dataclass(frozen=True)
class Receipt:
    """What one writer sent. `digests` are 16 hexadecimal digits and `points` counts before repeats
    within a batch were dropped; both by number, from 1. `voided`: numbers without data because
    their batch was refused (`refused`) or split. `dropped`: rows for which there was no space."""

    base_url: str
    entity: str | None
    project: str
    run: str
    writer: str
    rank: int
    started: int
    digests: list[str]
    points: list[int]
    voided: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    dropped: int = 0
    damaged_bytes: int = 0
    is_complete: bool = False
    """Whether everything was committed when this was written."""
    sums: Sums | None = None

    @property
    def batches(self) -> int:
        return len(self.digests)

    @classmethod
    def of_spool(cls, folder: Path) -> Receipt:
        """A spool's current receipt. Raises OSError or ValueError if the spool cannot be read."""
        meta, progress, cuts = load_meta(folder), load_progress(folder), cuts_of(folder)
        return cls._of(folder, meta, progress, cuts)

    @classmethod
    def _of(cls, folder: Path, meta: Meta, progress: Progress, cuts: dict[int, Cut]) -> Receipt:
        ordered = [cuts[seq] for seq in sorted(cuts)]
        kept = {int(path.stem) for path in folder.glob("rejected/*.batch")}
        return cls(
            base_url=meta.base_url,
            entity=meta.entity,
            project=meta.project,
            run=meta.run,
            writer=meta.writer,
            rank=meta.rank,
            started=meta.writer_started,
            digests=[_digest(meta, cut)[:16] for cut in ordered],
            points=[cut.points for cut in ordered],
            voided=[cut.seq for cut in ordered if cut.kind == "void"],
            refused=sorted(kept - set(progress.dead)),
            dropped=progress.dropped,
            damaged_bytes=progress.damaged_bytes,
            is_complete=progress.done,
        )


def keep_receipt(root: Path, folder: Path) -> None:
    """Write a receipt for a spool about to be deleted. Never fails: the spool is deleted anyway."""
    try:
        receipt = Receipt.of_spool(folder)
        cuts = cuts_of(folder)
        if folder_bytes(folder) <= _MAX_SUMMED_BYTES and holds_all(folder, cuts):
            receipt = replace(receipt, sums=sums_of(folder, cuts))
        store_receipt(root, receipt)
        _prune(root / _FOLDER)
    except Exception:  # the seam: stored data needs no receipt
        log.exception("%s: the receipt could not be stored", folder.name)


def receipts_in(root: Path) -> Iterator[tuple[Receipt, Path | None]]:
    """Every receipt, and for each existing spool the spool and its current receipt."""
    spooled = set()
    for folder in spools_in(root):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            receipt = Receipt.of_spool(folder)
            spooled.add(receipt.writer)
            yield receipt, folder
    for path in sorted((root / _FOLDER).glob(f"*{_SUFFIX}")):
        if path.stem not in spooled:
            with contextlib.suppress(OSError, ValueError):
                yield _load(path.read_bytes()), None


def cuts_of(folder: Path) -> dict[int, Cut]:
    """The cuts of a spool by number, read without changing anything."""
    return CutLog(folder, SpoolReader(folder).first(), load_progress(folder).cut).cuts


def _digest(meta: Meta, cut: Cut) -> str:
    """The digest of a batch; for a voided number, that of an empty batch."""
    if cut.rebuilt:
        return UNKNOWN
    if cut.digest:
        return cut.digest
    batch = Batch(
        project=meta.project,
        run=meta.run,
        writer=meta.writer,
        seq=cut.seq,
        writer_started=meta.writer_started,
        entity=meta.entity,
        rank=meta.rank,
        acked=cut.released,
        sent_at=cut.sent_at,
        client=cut.client,
    )
    return batch_digest(encode_batch(batch))


def store_receipt(root: Path, receipt: Receipt) -> None:
    """Write a receipt atomically."""
    folder = root / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    fields = {name: value for name, value in asdict(receipt).items() if name != "sums"}
    fields["digests"] = bytes.fromhex("".join(receipt.digests))
    if receipt.sums is not None:
        fields["sums"] = [receipt.sums.points, receipt.sums.values]
    packed = msgpack.packb({"v": _VERSION, **fields})
    final = folder / f"{receipt.writer}{_SUFFIX}"
    unfinished = final.with_suffix(f".{os.getpid()}.tmp")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(compress(packed))
    unfinished.rename(final)


def _load(data: bytes) -> Receipt:
    """Raises ValueError if this is not a receipt, or one of a newer version."""
    try:
        fields: dict[str, Any] = msgpack.unpackb(expand(data))
        if fields.pop("v") != _VERSION:
            raise ValueError("the receipt has another version")
        digests = fields.pop("digests").hex()
        sums = fields.pop("sums", None)
        return Receipt(
            **fields,
            digests=[digests[at : at + 16] for at in range(0, len(digests), 16)],
            sums=None if sums is None else Sums(*map(_sums, sums)),
        )
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"no receipt: {error}") from None


def _sums(found: dict[str, list[Any]]) -> dict[str, KeySum]:
    return {key: KeySum(*own) for key, own in found.items()}


def _prune(folder: Path) -> None:
    ages = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            ages.append((path.stat().st_mtime, path))
    ages.sort(reverse=True)
    oldest = time.time() - _MAX_AGE_S
    for place, (changed_at, path) in enumerate(ages):
        if place >= _MAX_RECEIPTS or changed_at < oldest:
            path.unlink(missing_ok=True)

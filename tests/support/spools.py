"""Spools for the client's tests: made for real, in a folder of the test, and read back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.ledger import Ledger, cells

from penstock.link import Link
from penstock.shipper.circuit_breaker import CircuitBreaker
from penstock.shipper.columns import BatchLimits, Columns
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import Cycle, Record, SpoolReader, SpoolRow
from penstock.shipper.sender import SpoolSender
from penstock.spool.meta import Meta
from penstock.spool.record import PayloadKind
from penstock.spool.spool_folder import Spool, SpoolOptions
from penstock.spool.writer import Writer
from penstock.values.slowpath import SlowPath
from penstock.wire import Batch

__all__ = [
    "UNLIMITED",
    "Senders",
    "columns_of",
    "drive",
    "new_writer",
    "points_in",
    "read_batch",
    "rows_in",
    "wait_until",
]

UNLIMITED = BatchLimits(1 << 60, 1 << 60, 1 << 60, 1 << 60, 1 << 60)


def new_writer(
    root: Path,
    base_url: str = "http://127.0.0.1:9",
    options: SpoolOptions | None = None,
    *,
    strict: bool = False,
    **meta: Any,
) -> Writer:
    """A writer with a spool under `root`."""
    fields = {"api_key": "good", "entity": None, "project": "p", "run": "r", **meta}

    def open_spool() -> Spool:
        started = time.time_ns() // 1_000
        described = Meta(
            base_url=base_url, writer=os.urandom(16).hex(), writer_started=started, **fields
        )
        return Spool(root, described, options or SpoolOptions())

    slow_path = SlowPath(strict=strict)
    writer = slow_path.writer = Writer(open_spool, slow_path)
    writer.spool()
    return writer


def read_batch(folder: Path, *, abandoned: bool = True) -> Batch:
    """All of a spool as one batch; works on a live one too."""
    reader = SpoolReader(folder)
    found = gather(reader, reader.first(), UNLIMITED, complete_to=ALL_SEGMENTS if abandoned else 0)
    reader.close()
    frames, records = found.columns.batch()
    return Batch(project="p", run="r", writer="w", seq=1, frames=frames, records=records)


def points_in(folder: Path) -> dict[tuple[str, int], float]:
    """(key, step) → value of all that can be read from a spool."""
    return {
        (key, step): value
        for frame in read_batch(folder).frames
        for key, step, value in cells(frame)
    }


def rows_in(folder: Path) -> Iterator[tuple[int, int]]:
    """(step, number of keys) of every readable row, in the order it was written."""
    reader = SpoolReader(folder)
    position = reader.first()
    while True:
        data = reader.chunk(position)
        if not data:
            following = reader.following(position)
            if following is None:
                break
            position = following
            continue
        for item in reader.records(data, position, lambda keys: 1 << 30):
            if isinstance(item, Record):
                assert item.kind != PayloadKind.ROW
                end = item.end
            elif isinstance(item, SpoolRow):
                yield item.step, len(item.keys)
                end = item.end
            elif isinstance(item, Cycle):
                for turn in zip(*(run.steps.tolist() for run in item.runs), strict=True):
                    yield from zip(turn, (len(run.keys) for run in item.runs), strict=True)
                end = item.end
            else:
                yield from ((step, len(item.keys)) for step in item.steps.tolist())
                end = position.offset + item.rows.size
            position = position._replace(offset=end)
    reader.close()


class Senders:
    """Makes senders to one ledger, and closes what they opened."""

    def __init__(self, ledger: Ledger) -> None:
        self._link = Link(ledger.url, None, {})
        self._made: list[SpoolSender] = []

    def __call__(self, folder: Path) -> SpoolSender:
        self._made.append(SpoolSender(folder, self._link, CircuitBreaker()))
        return self._made[-1]

    def close(self) -> None:
        for sender in self._made:
            sender.close()
        self._link.close()


def drive(sender: SpoolSender, until: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Let a sender take its turns until something is so."""
    deadline = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline, sender.progress
        time.sleep(min(max(sender.turn(), 0.0), 0.02))


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def columns_of(writer: Writer, limits: BatchLimits = UNLIMITED) -> Columns:
    """What a writer's spool gives in one go, while it is open."""
    reader = SpoolReader(writer.spool().folder)
    found = gather(reader, reader.first(), limits)
    reader.close()
    return found.columns

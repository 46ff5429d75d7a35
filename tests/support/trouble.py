"""What an honest installation has to live with beside its usual load: very wide runs, data that
compresses far beyond the usual, and somebody else's batches that cannot be processed.

Each is a patient load of its own, with the ledger at its end. The poison comes from another entity:
some of its batches fail, one of its runs fails throughout, and some end or hang the worker. Once the
cause is gone, one command brings all of it back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import ledger
from benchmarks.generate import Shape
from benchmarks.ledger import Ledger
from loadtests.patient import PatientLoad

__all__ = ["Beside", "Poison", "beside"]

_WIDE = Shape(runs=4, keys=20_000, rows=1, awkward=False)
_COMPRESSIBLE = Shape(runs=8, keys=200, rows=100, awkward=False, constant=True)
_POISONED = Shape(runs=4, keys=3, rows=10, awkward=False, first_run=90_000)
_ALL_FAIL, _SOME_FAIL, _SOME_KILL, _SOME_HANG = (f"run{90_000 + number}" for number in range(4))
_FAR = 100_000


@dataclass
class Poison:
    """Failpoints of the worker, in a folder that its installation was started with."""

    folder: Path
    rng: random.Random

    def set(self) -> None:
        """From now on these fail, every time that they are tried."""
        lines = [f"error unprocessable for {_ALL_FAIL}"]
        for run, fault, gap in (
            (_SOME_FAIL, "error unprocessable", 40),
            (_SOME_KILL, "exit 139", 1_500),
            (_SOME_HANG, "sleep 600", 3_000),
        ):
            seq = 0
            while seq < _FAR:
                seq += self.rng.randrange(gap // 2, gap * 2)
                lines.append(f"{fault} for {run} {seq}")
        (self.folder / "worker.batch").write_text("\n".join(lines))

    def clear(self) -> None:
        """The cause is gone."""
        (self.folder / "worker.batch").unlink(missing_ok=True)


@dataclass
class Beside:
    """The loads, and whose they are: (load, its task)."""

    store_url: str
    store_token: str
    _running: list[tuple[PatientLoad, asyncio.Task[None]]] = field(default_factory=list)

    def start(self, load: PatientLoad) -> None:
        self._running.append((load, asyncio.create_task(load.run())))

    def look(self) -> None:
        """Raises what a load ended of, if one has."""
        for _, task in self._running:
            if task.done():
                task.result()
                raise AssertionError("a load ended too early")

    @property
    def batches(self) -> int:
        return sum(load.batches for load, _ in self._running)

    @property
    def committed(self) -> int:
        return sum(load.committed for load, _ in self._running)

    async def settle(self, timeout_s: float) -> dict[str, Ledger]:
        """Stop them, wait until all is stored, and compare each.

        A dead letter is the only thing that may be missing, and only where it was said to be one: a
        queue whose data is deleted takes its letters along, and the client's own copy is what is left.
        """
        found = {}
        for load, _ in self._running:
            load.stop()
        for load, task in self._running:
            async with asyncio.timeout(timeout_s):
                await task
            each = found[load.project] = await ledger.check(
                self.store_url, self.store_token, load.shape, load.sent, load.project
            )
            said = sum(map(len, load.dead.values())) * load.shape.points
            each.missing = max(0, each.missing - said)
        return found

    async def end(self) -> None:
        for _, task in self._running:
            task.cancel()
        await asyncio.gather(*(task for _, task in self._running), return_exceptions=True)


@asynccontextmanager
async def beside(
    url: str, honest_key: str, other_key: str, store_url: str, store_token: str
) -> AsyncIterator[Beside]:
    """All three loads, until the end of the block. `other_key` is another entity's."""
    loads = Beside(store_url, store_token)
    loads.start(PatientLoad(url, honest_key, "wide", _WIDE, interval_s=10.0))
    loads.start(PatientLoad(url, honest_key, "compressible", _COMPRESSIBLE, interval_s=10.0))
    loads.start(PatientLoad(url, other_key, "poison", _POISONED, interval_s=0.2))
    try:
        yield loads
    finally:
        await loads.end()

"""What every fault is let loose on: generated batches and real trainings at once, and one ledger.

The trainings log through the real client into real spools, shipped by a shipper of their own; the
generated batches come from a sender that behaves like a client. When the fault is over the load must
get through by itself, and the ledger must find every point once, unaltered, and none besides.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ledger
from benchmarks.generate import Shape
from loadtests.native import Training, check_attempts
from loadtests.patient import PatientLoad
from loadtests.trainer import TrainerPlan
from support.altered import command

from penstock.runs.launch import is_shipper_running

__all__ = ["FaultLoad", "fault_load", "start_shipper"]

_SHAPE = Shape(runs=4, keys=10, rows=5, writers=2)
_DRAIN_S = 90.0
_TESTS = Path(__file__).parents[1]


@dataclass
class FaultLoad:
    """The load of one test. `report` is what it was, for the table."""

    training: Training
    generated: PatientLoad
    store_url: str
    store_token: str
    sending: asyncio.Task[None]
    report: str = ""

    async def flowing(self, batches: int = 80, timeout_s: float = 30.0) -> None:
        """Wait until so many more batches are sent and so many committed, and the trainings log."""
        made, committed = self.generated.batches, self.generated.committed
        points = self.training.points
        async with asyncio.timeout(timeout_s):
            while (
                self.generated.batches < made + batches
                or self.generated.committed < committed + batches // 2
                or self.training.points < points + 100
            ):
                self._look()
                await asyncio.sleep(0.02)

    async def until(self, what: str, timeout_s: float = 30.0) -> None:
        """Wait until a counter of the generated load (`refused`, `broken`, `repeats`) goes up."""
        before = getattr(self.generated, what)
        async with asyncio.timeout(timeout_s):
            while getattr(self.generated, what) == before:
                self._look()
                await asyncio.sleep(0.02)

    async def settle(self, timeout_s: float = _DRAIN_S) -> ledger.Ledger:
        """Stop the load, wait until all of it is stored, and compare."""
        started = time.monotonic()
        self.generated.stop()
        async with asyncio.timeout(timeout_s):
            await asyncio.to_thread(self.training.stop, timeout_s)
            await self.sending
            await asyncio.to_thread(self.training.wait_stored, timeout_s)
        shape, sent = self.generated.shape, self.generated.sent
        project = self.generated.project
        found = await ledger.check(self.store_url, self.store_token, shape, sent, project)
        native = await check_attempts(self.store_url, self.store_token, [self.training])
        for name in ("points", "missing", "duplicate", "altered", "phantom"):
            setattr(found, name, getattr(found, name) + getattr(native, name))
        self.report = (
            f"{self.generated.batches} batches + {self.training.points:,} logged points; "
            f"stored {time.monotonic() - started:.1f} s after its end"
        )
        return found

    def _look(self) -> None:
        if self.sending.done():
            self.sending.result()
            raise AssertionError("the generated load ended too early")
        assert self.training.now.process.poll() is None, "the training died"


@asynccontextmanager
async def fault_load(
    url: str,
    api_key: str,
    store_url: str,
    store_token: str,
    folder: Path,
    *,
    stalled_s: float = 900.0,
    clock: Path | None = None,
    shape: Shape = _SHAPE,
) -> AsyncIterator[FaultLoad]:
    """A running load of both kinds against one server, under names that follow from `folder`."""
    name = folder.name
    root = folder / "spool"
    root.mkdir(mode=0o700, parents=True)
    plan = TrainerPlan(project=f"{name}-native", seed=len(name))
    training = Training(folder, root, plan, url, api_key)
    shipper = start_shipper(root, stalled_s=stalled_s, clock=clock)
    generated = PatientLoad(url, api_key, name, shape, stalled_s=stalled_s)
    sending = asyncio.create_task(generated.run())
    try:
        await asyncio.to_thread(training.start)
        load = FaultLoad(training, generated, store_url, store_token, sending)
        await load.flowing()
        yield load
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await asyncio.to_thread(training.end)
        if shipper.poll() is None:
            shipper.kill()
        shipper.wait()


def start_shipper(
    root: Path,
    *,
    stalled_s: float = 900.0,
    heartbeat_s: float | None = None,
    clock: Path | None = None,
) -> subprocess.Popen[bytes]:
    """The root's shipper, before any training would start one."""
    environ = {**os.environ, "PYTHONPATH": str(_TESTS)}
    process = subprocess.Popen(
        command(
            *("penstock.shipper", str(root), "--idle-exit", "600"),
            stalled_s=stalled_s,
            heartbeat_s=heartbeat_s,
            clock=clock,
        ),
        env=environ,
        cwd=_TESTS.parent,
    )
    deadline = time.monotonic() + _DRAIN_S
    while not (root.is_dir() and is_shipper_running(root)):  # else the training would start its own
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process

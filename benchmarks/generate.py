"""Generated batches that can be reproduced: every value follows from (seed, run, writer, seq).

The mix resembles training metrics: 70 % of the keys float32-born noise, 10 % smooth curves, 10 % counters,
10 % constants, wall times with jitter. Awkward cases are added: repeated steps, late steps,
NaN and infinities, two writers per run. A `constant` shape logs the same value repeatedly, like a
metric that never changes, and is compressed: such batches shrink more than a hundredfold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstock.wire import Batch, Frame, encode_batch

__all__ = ["Shape", "WriterPlan", "batch_bytes", "expected", "plans"]

_EPOCH_US = 1_700_000_000_000_000
_KEYS_MIXED = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of the load: `keys` x `rows` points per batch, from `runs` x `writers` writers; runs are
    named by their number, starting with `first_run`."""

    runs: int
    keys: int
    rows: int
    writers: int = 1
    seed: int = 1
    awkward: bool = True
    constant: bool = False
    first_run: int = 0

    @property
    def points(self) -> int:
        return self.keys * self.rows


@dataclass(frozen=True, slots=True)
class WriterPlan:
    """One writer: which run, and which of the run's writers."""

    run: int
    writer: int

    @property
    def run_name(self) -> str:
        return f"run{self.run:05d}"

    @property
    def name(self) -> str:
        return f"writer{self.writer}"


def plans(shape: Shape) -> list[WriterPlan]:
    runs = range(shape.first_run, shape.first_run + shape.runs)
    return [WriterPlan(run, writer) for run in runs for writer in range(shape.writers)]


def key_names(shape: Shape) -> list[str]:
    return [f"group{i % 7}/metric{i}" for i in range(shape.keys)]


def columns(
    shape: Shape, plan: WriterPlan, seq: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """(steps, times, values of keys x rows) of one batch."""
    rng = np.random.Generator(
        np.random.Philox(key=[shape.seed << 32 | plan.run, plan.writer << 32 | seq])
    )
    first = (seq - 1) * shape.rows
    steps = np.arange(first, first + shape.rows, dtype=np.int64)
    values = rng.random((shape.keys, shape.rows), dtype=np.float32).astype(np.float64)
    if shape.awkward and seq % 5 == 0 and shape.rows > 2:
        steps[-1] = steps[0]  # a step logged twice in one batch
    if shape.awkward and seq % 7 == 0 and first > 3:
        steps[0] = first - 3  # a step of the batch before, logged again, late
    if shape.awkward and seq % 11 == 0:
        values[seq % shape.keys, 0] = [np.nan, np.inf, -np.inf][seq % 3]
    for key in range(7, shape.keys, _KEYS_MIXED):
        values[key] = np.exp(-steps / 5e4) + key
    for key in range(8, shape.keys, _KEYS_MIXED):
        values[key] = steps
    for key in range(9, shape.keys, _KEYS_MIXED):
        values[key] = 3e-4
    jitter = rng.integers(0, 20_000, shape.rows)
    if shape.constant:
        values[:], jitter[:] = 3e-4, 0
    return steps, _EPOCH_US + steps * 100_000 + jitter, values


def batch_bytes(shape: Shape, plan: WriterPlan, seq: int, *, project: str, acked: int = 0) -> bytes:
    """The encoded batch."""
    steps, times, values = columns(shape, plan, seq)
    frame = Frame(key_names(shape), steps.tobytes(), times.tobytes(), values.tobytes())
    return encode_batch(
        Batch(
            project=project,
            run=plan.run_name,
            writer=plan.name,
            seq=seq,
            writer_started=_EPOCH_US + plan.writer,
            rank=plan.writer,
            acked=min(acked, seq - 1),
            frames=[frame],
        ),
        compress=shape.constant,
    )


def expected(
    shape: Shape, plan: WriterPlan, batches: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The data that the store must have for a writer: its distinct steps in order, and keys x steps values,
    the last one logged for each."""
    parts = [columns(shape, plan, seq) for seq in range(1, batches + 1)]
    steps = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[2] for part in parts], axis=1)
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[:, order]
    last = np.append(steps[1:] != steps[:-1], True)
    return steps[last], values[:, last]

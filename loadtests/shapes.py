"""The shapes of load: kinds of senders, and their number over time. Plain numbers, no locust."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.generate import Shape

__all__ = ["SHAPES", "Kind", "LoadShape", "load_shape"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of user: every user is the only writer of its own run.

    `period_s` is the time between batches, 0 = as fast as responses arrive; `creates` whether the run
    is created with `POST /v1/runs` first. `share` is its share of the users; `first_run` keeps the runs
    of two kinds apart.
    """

    name: str
    project: str
    batch: Shape
    period_s: float = 1.0
    creates: bool = False
    share: float = 1.0
    first_run: int = 0


@dataclass(frozen=True, slots=True)
class LoadShape:
    """The course of a load. `steps` are (fraction of the time at which the step ends, users, users per second
    to start or stop); `kinds_from` is the step from which each kind takes part."""

    text: str
    kinds: tuple[Kind, ...]
    steps: tuple[tuple[float, int, float], ...]
    kinds_from: tuple[int, ...] = (0,)

    def at(self, part: float) -> int | None:
        """The index of the step at this fraction of the time; None after the last one."""
        return next((i for i, (until, *_) in enumerate(self.steps) if part < until), None)


_SWEEP = Shape(runs=100_000, keys=20, rows=10)
_FLOOD = Shape(runs=100_000, keys=100, rows=100, seed=2)

SHAPES = {
    "steady": LoadShape(
        "100 runs, 20 keys at 10 Hz each, a batch per second",
        (Kind("steady", "load-steady", _SWEEP),),
        ((1.0, 100, 100.0),),
    ),
    "burst": LoadShape(
        "40 runs; in the middle third 200",
        (Kind("burst", "load-burst", _SWEEP),),
        ((0.34, 40, 200.0), (0.67, 200, 400.0), (1.0, 40, 400.0)),
    ),
    "sweep": LoadShape(
        "300 runs created at once, then 20 keys at 10 Hz each",
        (Kind("sweep", "load-sweep", _SWEEP, creates=True),),
        ((1.0, 300, 1_000.0),),
    ),
    "noisy": LoadShape(
        "30 quiet runs; after a third of the time, 6 runs of another project send all they can",
        (
            Kind("quiet", "load-quiet", _SWEEP, share=30),
            Kind("flood", "load-flood", _FLOOD, period_s=0.0, share=6, first_run=50_000),
        ),
        ((0.34, 30, 100.0), (1.0, 36, 100.0)),
        kinds_from=(0, 1),
    ),
}


def load_shape(name: str, suffix: str = "") -> LoadShape:
    """The shape of this name, its projects' names with a suffix: a second load on one server is new
    data, not a repetition of the first."""
    shape = SHAPES[name]
    kinds = tuple(replace(kind, project=kind.project + suffix) for kind in shape.kinds)
    return replace(shape, kinds=kinds)

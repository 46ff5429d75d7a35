"""The shapes of load: who sends what, and how many of them when. Plain numbers, no locust here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.generate import Shape

__all__ = ["SHAPES", "Kind", "LoadShape", "load_shape"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of user: every user is one writer of a run of its own.

    `period_s` is the time from batch to batch, 0 = as fast as answers come; `creates` whether the run
    is made with `POST /v1/runs` first. `share` is of the users of a shape; `first_run` keeps the runs
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
    """What a load looks like. `steps` are (part of the time until which, users, users per second to
    start or stop); `kinds_from` says from which step on each kind is there."""

    text: str
    kinds: tuple[Kind, ...]
    steps: tuple[tuple[float, int, float], ...]
    kinds_from: tuple[int, ...] = (0,)

    def at(self, part: float) -> int | None:
        """The number of the step at this part of the time; None after the last one."""
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
    """The shape of this name, its projects' names with a suffix: a second load of one server is new
    data, not a repetition of the first."""
    shape = SHAPES[name]
    kinds = tuple(replace(kind, project=kind.project + suffix) for kind in shape.kinds)
    return replace(shape, kinds=kinds)

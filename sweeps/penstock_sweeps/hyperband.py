"""Early stopping: successive halving over the number of times the metric was logged.

A *bracket* is such a number. Once a run has logged the metric that often, its best value so far is
compared with those of all runs that reached the bracket: it continues if it is among the best 1/eta.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Hyperband", "rungs_of", "should_stop"]

_MAX_BRACKETS = 64
_MAX_ITERATION = 10**9


@dataclass(frozen=True, slots=True)
class Hyperband:
    """With `min_iter` the brackets are min_iter, min_iter·eta, min_iter·eta² … (up to `max_iter`, if
    given); otherwise max_iter/eta, max_iter/eta² …, `s` of them. `strict`: the value at the bracket
    counts; otherwise the best value the run has reached since."""

    min_iter: int | None
    max_iter: int | None
    s: int | None
    eta: float
    strict: bool = False

    @property
    def brackets(self) -> list[int]:
        """In ascending order, without repeats, each at least 1."""
        if self.min_iter is not None:
            farthest = self.max_iter or _MAX_ITERATION
            steps = (self.min_iter * self.eta**power for power in range(_MAX_BRACKETS))
            found = {int(step) for step in steps if step <= farthest}
        else:
            assert self.max_iter is not None  # noqa: S101  (the configuration was checked)
            count = min(self.s or 1, _MAX_BRACKETS)
            found = {int(self.max_iter / self.eta**power) for power in range(1, count + 1)}
        return sorted(bracket for bracket in found if bracket >= 1)


def rungs_of(
    rule: Hyperband, goal: str, curve: Sequence[float], known: Mapping[str, float]
) -> dict[str, float]:
    """The best value of a curve (the metric's finite logged values) at each bracket it has reached;
    known entries stay."""
    best = max if goal == "maximize" else min
    found = dict(known)
    for bracket in rule.brackets:
        name = str(bracket)
        if len(curve) >= bracket and name not in found:
            found[name] = best(curve[:bracket])
    return found


def should_stop(
    rule: Hyperband,
    goal: str,
    mine: Mapping[str, float],
    everyone: Iterable[Mapping[str, float]],
    value: float | None,
) -> bool:
    """Whether the run with these rungs falls behind at a bracket. `everyone`: the rungs of all trials,
    including its own. `value`: its best value so far."""
    sign = -1.0 if goal == "maximize" else 1.0
    others = list(everyone)
    reached = [bracket for bracket in rule.brackets if str(bracket) in mine]
    for bracket in reached if rule.strict else reached[-1:]:
        name = str(bracket)
        there = sorted(sign * rungs[name] for rungs in others if name in rungs)
        if len(there) < rule.eta:
            continue  # too few to judge
        worst_kept = there[max(1, math.floor(len(there) / rule.eta)) - 1]
        own = sign * mine[name]
        if not rule.strict and value is not None:
            own = min(own, sign * value)
        if own > worst_kept:
            return True
    return False

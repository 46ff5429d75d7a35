"""Monitors sweeps: their trials' values, which trials to stop, and whether a sweep is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from penstock.errors import PenstockError
from penstock_storage.contracts.sweep_rows import Lesson, SweepCatalog, SweepRow, TrialRow
from penstock_sweeps.configuration import SweepConfiguration
from penstock_sweeps.hyperband import Hyperband, rungs_of, should_stop
from penstock_sweeps.metrics import TrialMetrics

__all__ = ["Watch"]

_LOG = logging.getLogger(__name__)
_GOING_ON = frozenset({"running", "preempting"})
_NO_RUN_AFTER_US = 600_000_000
"""An ended trial whose run does not exist after this time never had one."""
_SETTLED_AFTER_US = 600_000_000
"""How long after its agent reported its end a trial is settled even if its run's state says running:
the run's last data may still be in transit."""
_RUNS_AT_ONCE = 2_000


class Watch:
    """Learns from the runs of one sweep after another."""

    def __init__(self, catalog: SweepCatalog, metrics: TrialMetrics) -> None:
        self._catalog = catalog
        self._metrics = metrics

    async def look(self, sweep: SweepRow, configuration: SweepConfiguration) -> None:
        """Store new results. While the stores do not respond, nothing is stored."""
        try:
            await self._look(sweep, configuration)
        except PenstockError as error:
            _LOG.warning("sweep_not_looked_at sweep=%s reason=%s", sweep.sweep, error)
        except Exception:
            # A problem of this sweep or its runs must not affect other sweeps or agents.
            _LOG.exception("sweep_unreadable sweep=%s", sweep.sweep)

    async def _look(self, sweep: SweepRow, configuration: SweepConfiguration) -> None:
        open_ = await self._catalog.unsettled(sweep.number)
        now = time.time_ns() // 1000
        lessons: list[Lesson] = []
        for start in range(0, len(open_), _RUNS_AT_ONCE):
            lessons += await self._learn(sweep, configuration, open_[start : start + _RUNS_AT_ONCE])
        cap = configuration.cap
        done = cap is not None and sweep.drawn >= cap
        if lessons or (done and sweep.state == "RUNNING"):
            await self._catalog.learn(sweep.number, lessons, done, now)

    async def _learn(
        self, sweep: SweepRow, configuration: SweepConfiguration, trials: Sequence[TrialRow]
    ) -> list[Lesson]:
        project, metric, goal = sweep.project_number, configuration.metric, configuration.goal
        runs = [trial.run_number for trial in trials if trial.run_number is not None]
        values: dict[int, float] = {}
        curves: dict[int, list[float]] = {}
        rule = configuration.hyperband
        if metric and runs:
            values = await self._metrics.values(project, runs, metric, goal)
            if rule is not None and rule.brackets:
                farthest = rule.brackets[-1]
                curves = await self._metrics.curves(project, runs, metric, farthest)
        rungs = {
            trial.index: rungs_of(rule, goal, curves.get(trial.run_number or -1, ()), trial.rungs)
            if rule is not None
            else trial.rungs
            for trial in trials
        }
        behind = await self._behind(sweep, configuration, rule, trials, rungs, curves)
        now = time.time_ns() // 1000
        found = (
            Lesson(
                trial.index,
                _state(trial, now),
                values.get(trial.run_number or -1, trial.value),
                rungs[trial.index],
                trial.stop or trial.index in behind,
            )
            for trial in trials
        )
        return [
            lesson for lesson, trial in zip(found, trials, strict=True) if _is_new(lesson, trial)
        ]

    async def _behind(
        self,
        sweep: SweepRow,
        configuration: SweepConfiguration,
        rule: Hyperband | None,
        trials: Sequence[TrialRow],
        rungs: dict[int, dict[str, float]],
        curves: dict[int, list[float]],
    ) -> set[int]:
        """The trials that hyperband stops now."""
        going_on = [
            trial for trial in trials if trial.run_state in _GOING_ON and rungs[trial.index]
        ]
        if rule is None or not going_on:
            return set()
        # Settled trials come from the catalog, with the others' new results on top.
        everyone = await self._catalog.rungs(sweep.number)
        fresh = [rungs[trial.index] for trial in trials if rungs[trial.index] != trial.rungs]
        stale = [trial.rungs for trial in trials if rungs[trial.index] != trial.rungs]
        for old in stale:
            if old in everyone:
                everyone.remove(old)
        everyone += fresh
        best = max if configuration.goal == "maximize" else min
        return {
            trial.index
            for trial in going_on
            if should_stop(
                rule,
                configuration.goal,
                rungs[trial.index],
                everyone,
                best(curves.get(trial.run_number or -1, ()), default=None),
            )
        }


def _state(trial: TrialRow, now: int) -> str:
    """A trial's new state from its run. All data of a run that has ended is in the store: its value
    will not change any more."""
    if trial.run_state is None and trial.state == "running":
        return "settled"  # its run was deleted
    if trial.run_state is None:
        is_late = trial.state == "ended" and now - trial.ended_at > _NO_RUN_AFTER_US
        return "settled" if is_late else trial.state
    if trial.run_state not in _GOING_ON:
        return "settled"
    if trial.state == "ended":
        return "settled" if now - trial.ended_at > _SETTLED_AFTER_US else "ended"
    return "running"


def _is_new(lesson: Lesson, trial: TrialRow) -> bool:
    return (
        lesson.state != trial.state
        or lesson.value != trial.value
        or lesson.rungs != trial.rungs
        or lesson.stop != trial.stop
    )

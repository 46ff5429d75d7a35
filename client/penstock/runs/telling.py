"""What a script says of its run besides rows: rules for metrics, alerts, and models to watch."""

from __future__ import annotations

import time
from typing import Any

from penstock.runs.described import Described
from penstock.runs.metrics import AlertLevel, AlertPace, MetricDefinition
from penstock.values.arguments import text_of

__all__ = ["Telling"]


class Telling(Described):
    """The part of a run that takes it."""

    _alert_pace: AlertPace

    def define_metric(
        self,
        name: str,
        step_metric: Any = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        overwrite: bool | None = None,
        **options: Any,
    ) -> MetricDefinition:
        """Define how a metric, or every metric that matches a pattern like `val/*`, is treated.

        summary: min, max, mean, best, first, last, none, or several; the metric's entry in the run's
        summary on the server, such as `{"max": 0.9}`. goal: minimize or maximize, for best.
        step_metric: the metric used as its x axis. All of it is stored with the run.
        """
        if isinstance(step_metric, MetricDefinition):
            step_metric = step_metric.name
        rule = {
            "step_metric": step_metric,
            "step_sync": step_sync,
            "hidden": hidden,
            "summary": summary,
        }
        stated = {"name": name, **rule, "overwrite": overwrite, **options}
        given = {key: value for key, value in stated.items() if value is not None}
        self._recorder.say("define_metric", **given)
        if step_sync is None:
            step_sync = step_metric is not None
        parts = tuple(summary.split(",")) if isinstance(summary, str) else None
        return MetricDefinition(name, step_metric, step_sync, hidden, parts)

    def alert(
        self, title: str, text: str = "", level: Any = None, wait_duration: Any = None
    ) -> None:
        """Record an alert with the run, unless one with this title was recorded less than `wait_duration` ago
        (seconds or a timedelta; a minute by default). level: INFO (default), WARN or ERROR."""
        title = text_of(self._slow_path, "alert.title", title) or ""
        if self._alert_pace.lets_through(title, wait_duration):
            now_us = time.time_ns() // 1_000
            if isinstance(level, AlertLevel):
                level = level.value
            level = "INFO" if level is None else level  # not `or`: its truth may be anything
            self._recorder.say("alert", title=title, text=text, level=level, time=now_us)

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: str | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Record the gradients, the parameters, or all of models every `log_freq` batches."""
        _watching().watch(self, models, criterion, log, log_freq, idx, log_graph)

    def unwatch(self, models: Any = None) -> None:
        """Undo `watch` for these models, or all."""
        _watching().unwatch(self, models)


def _watching() -> Any:
    """What watches models; loaded with the first of them."""
    from importlib import import_module  # noqa: PLC0415  (only here)

    return import_module("penstock.watching.watch")

"""Bayesian search with Optuna's tree-structured Parzen estimator.

The study is rebuilt from the catalog's trials each time, so that any process can continue another's
and nothing is lost with a process.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from penstock_sweeps.distributions import Categorical
from penstock_sweeps.space import Space

__all__ = ["BEST", "LATEST", "Known", "KnownTrial", "propose"]

BEST, LATEST = 100, 400
"""How many of the best and of the latest trials are used: more would hardly change the result."""

STARTUP = 10
"""How many trials are drawn at random before the estimator is used."""


class KnownTrial(Protocol):
    """What the search knows about a trial: its point, its value, and its state (as in a trial row)."""

    @property
    def point(self) -> Mapping[str, float]: ...

    @property
    def value(self) -> float | None: ...

    @property
    def state(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Known:
    """A prior run in the form of a trial."""

    point: dict[str, float]
    value: float
    state: str = "settled"


optuna.logging.set_verbosity(optuna.logging.ERROR)


def propose(
    space: Space, goal: str, trials: Sequence[KnownTrial], sweep: str, salt: str
) -> dict[str, float]:
    """The next point to try, given these trials. Deterministic for the same `salt`. Takes tens of
    milliseconds: do not call it on an event loop."""
    distributions = _distributions(space)
    if not distributions:
        return {}
    digest = hashlib.sha256(f"{sweep}/{salt}".encode()).digest()
    with warnings.catch_warnings():
        # The sampler options below are marked experimental.
        warnings.simplefilter("ignore")
        sampler = TPESampler(
            n_startup_trials=STARTUP,
            multivariate=True,
            constant_liar=True,
            seed=int.from_bytes(digest[:4]),
        )
        study = optuna.create_study(
            direction="maximize" if goal == "maximize" else "minimize", sampler=sampler
        )
        study.add_trials(
            [known for trial in trials if (known := _known(trial, distributions)) is not None]
        )
        proposed = study.ask(dict(distributions))
    return {name: float(value) for name, value in proposed.params.items()}


def _distributions(space: Space) -> Mapping[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {}
    for each in space.parameters:
        if each.is_constant:
            continue
        if isinstance(each.distribution, Categorical):
            found[each.name] = CategoricalDistribution(range(len(each.distribution.values)))
        else:
            found[each.name] = FloatDistribution(0.0, 1.0)
    return found


def _known(trial: KnownTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial | None:
    """The trial for the study: a running one counts with its value so far, or as a point to avoid.
    None for a trial from another space or without a value."""
    if trial.point.keys() != distributions.keys():
        return None
    params: dict[str, float | int] = {}
    for name, place in trial.point.items():
        distribution = distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            params[name] = int(place)
            fits = int(place) in distribution.choices
        else:
            params[name] = place
            fits = 0 <= place <= 1
        if not fits:
            return None
    is_known = trial.value is not None and math.isfinite(trial.value)
    if not is_known and trial.state not in ("given", "running"):
        return None
    return create_trial(
        state=TrialState.COMPLETE if is_known else TrialState.RUNNING,
        params=params,
        distributions=dict(distributions),
        value=trial.value if is_known else None,
    )
